"""restricted=true: by every route that makes or changes instances and profiles; and who may change it."""
import pytest

from helpers import tls
from helpers.projects import URL, in_project, project, with_root  # noqa: F401 (a fixture)

pytestmark = pytest.mark.ours

# what a restricted project refuses unless it says otherwise: the key or device, and the text
KEYS = [
    ({"security.privileged": "true"}, "Privileged containers are forbidden"),
    ({"security.nesting": "true"}, "Container nesting is forbidden"),
    ({"raw.lxc": "lxc.environment=A=b"}, 'Use of low-level config "raw.lxc"'),
    ({"raw.idmap": "both 1000 1000"}, 'Use of low-level "raw.idmap" element 0'),
    ({"security.idmap.size": "70000"}, 'Use of low-level config "security.idmap.size"'),
    ({"security.syscalls.deny_default": "false"}, "cannot be turned off"),
]
DEVICES = [
    ({"type": "disk", "path": "/x", "source": "/tmp"}, "Attaching disks not backed by a pool is forbidden"),
    ({"type": "nic", "nictype": "p2p"}, "Only managed network devices are allowed"),
    ({"type": "unix-char", "path": "/dev/null"}, "Unix character devices are forbidden"),
    ({"type": "unix-char", "source": "/dev/zero", "path": "/dev/x"}, "Unix character devices are forbidden"),
    ({"type": "unix-block", "path": "/dev/x", "major": "1", "minor": "1"}, "Unix block devices are forbidden"),
]
ALL = [(key, {}, text) for key, text in KEYS] + [({}, {"d": device}, text) for device, text in DEVICES]
IDS = [next(iter(c), None) or d["d"]["type"] + str(len(d["d"])) for c, d, _ in ALL]


@pytest.fixture
def inside(project):
    return in_project(project, "pr1", {"restricted": "true"})


def restrict(api, **keys):
    return api.patch(f"{URL}/pr1", {"config": {f"restricted.{k}": v for k, v in keys.items()}})


def test_ordinary_work(api, inside, name):
    inside.launch(name, {"user.x": "1", "limits.memory": "64MiB", "environment.A": "b"})
    assert inside.sh(name, "echo $A") == "b\n"
    assert inside.patch(f"/1.0/instances/{name}", {"config": {"user.x": "2"}}).status == 200
    whole = inside.get(f"/1.0/instances/{name}")
    inside.done(inside.put(f"/1.0/instances/{name}", whole))
    inside.done(inside.state(name, "restart", force=True))
    inside.done(inside.state(name, "stop", force=True))


@pytest.mark.parametrize("config, devices, text", ALL, ids=IDS)
def test_create(inside, name, config, devices, text):
    error = inside.failure(inside.create(name, config, devices))
    assert text in error, error
    assert inside.request("GET", f"/1.0/instances/{name}").status == 404
    error = inside.failure(inside.post("/1.0/instances", {"name": name, "source": {"type": "none"}, "config": config, "devices": devices}))
    assert text in error, error


@pytest.mark.parametrize("config, devices, text", ALL, ids=IDS)
def test_edit_and_profiles(api, inside, name, config, devices, text):
    inside.done(inside.create(name))
    before = inside.get(f"/1.0/instances/{name}")
    reply = inside.patch(f"/1.0/instances/{name}", {"config": config, "devices": devices})
    assert reply.status == 403 and text in reply.error, reply
    changed = {**before, "config": {**before["config"], **config}, "devices": {**before["devices"], **devices}}
    assert text in inside.failure(inside.put(f"/1.0/instances/{name}", changed))
    assert inside.get(f"/1.0/instances/{name}") == before
    # profiles, used or not
    profile = inside.get("/1.0/profiles/default")
    reply = inside.patch("/1.0/profiles/default", {"config": config, "devices": {**profile["devices"], **devices}})
    assert reply.status == 403 and text in reply.error, reply
    reply = inside.put("/1.0/profiles/default", {"config": config, "devices": {**profile["devices"], **devices}})
    assert reply.status == 403 and text in reply.error, reply
    assert inside.get("/1.0/profiles/default") == profile
    reply = inside.post("/1.0/profiles", {"name": "bad", "config": config, "devices": devices})
    assert reply.status == 403 and text in reply.error and 'on profile "bad"' in reply.error, reply
    assert inside.request("GET", "/1.0/profiles/bad").status == 404


@pytest.mark.parametrize("config, devices, text", ALL, ids=IDS)
def test_a_copy_within(api, inside, name, daemon, config, devices, text):
    inside.done(inside.create(name))
    other = daemon.new_name()
    error = inside.failure(inside.post("/1.0/instances", {"name": other, "source": {"type": "copy", "source": name},
                                                          "config": config, "devices": devices}))
    assert text in error, error
    assert inside.request("GET", f"/1.0/instances/{other}").status == 404


@pytest.mark.parametrize("config, devices, text", ALL, ids=IDS)
def test_from_another_server(inside, name, config, devices, text):
    """What is sent here is judged before a byte of it is taken."""
    error = inside.failure(inside.post("/1.0/instances", {"name": name, "source": {"type": "migration", "mode": "push"},
                                                          "config": config, "devices": devices}))
    assert text in error, error
    assert inside.get("/1.0/instances") == []


@pytest.mark.parametrize("config, devices, text", ALL, ids=IDS)
def test_restricting_profiles_that_are_there(api, project, config, devices, text):
    inside = in_project(project, "pr1")
    assert inside.post("/1.0/profiles", {"name": "bad", "config": config, "devices": devices}).status == 201
    reply = api.patch(f"{URL}/pr1", {"config": {"restricted": "true"}})
    assert reply.status == 403 and text in reply.error and 'on profile "bad"' in reply.error
    assert inside.delete("/1.0/profiles/bad").status == 200
    assert api.patch(f"{URL}/pr1", {"config": {"restricted": "true"}}).status == 200


@pytest.mark.parametrize("config, devices, text", [ALL[0], ALL[2], ALL[-1]])
def test_restricting_what_is_there(api, project, name, config, devices, text):
    inside = in_project(project, "pr1")
    inside.done(inside.create(name, config, devices))
    reply = api.patch(f"{URL}/pr1", {"config": {"restricted": "true"}})
    assert reply.status == 403 and text in reply.error and f'"{name}"' in reply.error, reply
    assert "restricted" not in api.get(f"{URL}/pr1")["config"]
    inside.remove(name)
    assert api.patch(f"{URL}/pr1", {"config": {"restricted": "true"}}).status == 200


def test_projects_without_profiles_of_their_own(api, project):
    reply = api.post(URL, {"name": "pr1", "config": {"restricted": "true", "features.profiles": "false"}})
    assert reply.status == 400 and reply.error == "Projects without their own profiles cannot be restricted"
    project("pr1", {"features.profiles": "false"})
    reply = api.patch(f"{URL}/pr1", {"config": {"restricted": "true"}})
    assert reply.status == 400 and reply.error == "Projects without their own profiles cannot be restricted"


def test_allowing(api, inside, name):
    """What a key allows can be had; taking it back is refused while somebody has it."""
    assert restrict(api, **{"containers.nesting": "allow", "devices.unix-char": "allow"}).status == 200
    inside.launch(name, {"security.nesting": "true"}, {"d": {"type": "unix-char", "path": "/dev/full", "major": "1", "minor": "7"}})
    reply = restrict(api, **{"containers.nesting": "block"})
    assert reply.status == 403 and f'on container "{name}" of project "pr1": Container nesting is forbidden' in reply.error
    reply = restrict(api, **{"devices.unix-char": ""})
    assert reply.status == 403 and "Unix character devices are forbidden" in reply.error


def test_volatile_keys(inside, name):
    assert "volatile.eth0.host_name" in inside.failure(inside.create(name, {"volatile.eth0.host_name": "lo"}))
    inside.done(inside.create(name))
    reply = inside.patch(f"/1.0/instances/{name}", {"config": {"volatile.eth0.host_name": "lo"}})
    assert reply.status == 403 and 'Use of low-level config "volatile.eth0.host_name"' in reply.error
    reply = inside.patch(f"/1.0/instances/{name}", {"config": {"volatile.uuid": "1"}})
    assert reply.status == 403
    assert inside.patch(f"/1.0/instances/{name}", {"config": {"volatile.eth0.hwaddr": "00:16:3e:00:00:01"}}).status == 200


def test_networks(daemon, api, inside, name):
    for net, address in (("rbr0", "192.0.2.1/24"), ("rbr1", "198.51.100.1/24")):
        reply = api.post("/1.0/networks", {"name": net, "config": {"ipv4.address": address, "ipv6.address": "none"}})
        assert reply.status == 201, reply
    try:
        # managed ones only
        assert inside.get("/1.0/networks") == ["/1.0/networks/rbr0?project=pr1", "/1.0/networks/rbr1?project=pr1"]
        assert inside.request("GET", "/1.0/networks/lo").status == 404
        assert restrict(api, **{"networks.access": "rbr1"}).status == 200
        assert [n["name"] for n in inside.get("/1.0/networks?recursion=1")] == ["rbr1"]
        for path in ("", "/state", "/leases"):
            assert inside.request("GET", f"/1.0/networks/rbr0{path}").status == 404
        assert inside.request("DELETE", "/1.0/networks/rbr0").status == 404
        nic = {"type": "nic", "network": "rbr0"}
        assert "Network not allowed in project" in inside.failure(inside.create(name, devices={"eth0": nic}))
        error = inside.failure(inside.create(name, devices={"eth0": {"type": "nic", "nictype": "bridged", "parent": "rbr0"}}))
        assert "Only managed network devices are allowed" in error
        error = inside.failure(inside.create(name, devices={"eth0": {"type": "nic", "network": "rbr1", "ipv4.routes": "203.0.113.0/24"}}))
        assert "not within restricted.networks.subnets" in error
        inside.done(inside.create(name, devices={"eth0": {"type": "nic", "network": "rbr1"}}))
        reply = restrict(api, **{"networks.access": "rbr0"})
        assert reply.status == 403 and "Network not allowed in project" in reply.error
    finally:
        inside.remove(name)
        for net in ("rbr0", "rbr1"):
            assert api.delete(f"/1.0/networks/{net}").status == 200


@pytest.mark.parametrize("readonly", ["false", "true"])
def test_disk_paths(daemon, api, inside, name, readonly):
    """Below the named paths, and no symbolic link leads out of them, however late it is made."""
    allowed, secret = daemon.root / "allowed", daemon.root / "secret"
    for folder, word in ((allowed, "open"), (allowed / "sub", "sub"), (secret, "secret")):
        folder.mkdir(exist_ok=True)
        (folder / "word").write_text(word)
    disk = lambda path: {"d": {"type": "disk", "source": str(path), "path": "/mnt", "readonly": readonly}}
    assert restrict(api, **{"devices.disk": "allow", "devices.disk.paths": str(allowed)}).status == 200
    for bad in (secret, allowed / ".." / "secret", daemon.root, f"{allowed}x"):
        assert "not allowed" in inside.failure(inside.create(name, devices=disk(bad)))
    inside.done(inside.create(name, devices=disk(allowed / "sub")))
    inside.done(inside.state(name, "start"))
    assert inside.sh(name, "cat /mnt/word") == "sub"
    # while it runs
    (allowed / "link").symlink_to(secret)
    reply = inside.patch(f"/1.0/instances/{name}", {"devices": disk(allowed / "link")})
    assert reply.status == 400 and "symbolic links are not followed" in reply.error
    assert inside.sh(name, "cat /mnt/word") == "sub"
    assert inside.patch(f"/1.0/instances/{name}", {"devices": disk(allowed)}).status == 200
    assert inside.sh(name, "cat /mnt/word") == "open"
    # at the next start
    inside.done(inside.state(name, "stop", force=True))
    assert inside.patch(f"/1.0/instances/{name}", {"devices": disk(allowed / "link")}).status == 200
    assert "symbolic links are not followed" in inside.failure(inside.state(name, "start"))
    (allowed / "link").unlink()
    (allowed / "link").mkdir()
    inside.done(inside.state(name, "start"))
    assert inside.sh(name, "ls /mnt") == ""
    inside.remove(name)
    # (without paths, anything goes)
    assert restrict(api, **{"devices.disk.paths": ""}).status == 200
    (allowed / "link").rmdir()
    (allowed / "link").symlink_to(secret)
    inside.launch(name, devices=disk(allowed / "link"))
    assert inside.sh(name, "cat /mnt/word") == "secret"
    inside.remove(name)
    (allowed / "link").unlink()


def test_features_of_a_restricted_project(api, inside):
    reply = api.patch(f"{URL}/pr1", {"config": {"features.profiles": "false"}})
    assert reply.status == 400
    assert api.get(f"{URL}/pr1")["config"]["features.profiles"] == "true"
