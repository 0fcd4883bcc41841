"""Instances between servers: ours to ours, ours to Debian's lxd 5.0.2 and back, by both clients, in all modes; and what goes wrong."""
import contextlib
import os
import pathlib
import subprocess

import pytest

from helpers import images, tls, trees
from helpers.daemon import BIN, Daemon, eventually

pytestmark = pytest.mark.ours
GO_CLIENT = "/usr/bin/lxc"
REFERENCE_LXD = "/usr/bin/lxd"
PORTS = {"o": 18443, "p": 18444, "r": 18445}  # two of ours, and the reference


def prepare(daemon, port):
    daemon.setup()
    if not daemon.api.get("/1.0/images"):
        daemon.upload(images.busybox(), "bb")
    reply = daemon.api.patch("/1.0", {"config": {"core.https_address": f"127.0.0.1:{port}", "core.trust_password": "sesame"}})
    assert reply.status == 200, reply


def source_of(daemon, name, privileged=False):
    """A stopped container whose tree has everything."""
    config = {"security.privileged": "true"} if privileged else {}
    daemon.api.done(daemon.api.create(name, {**config, "user.mark": "yes"}))
    trees.fill(rootfs(daemon, name), devices=privileged or daemon.reference)
    if not daemon.reference:
        trees.add_acls(rootfs(daemon, name))


def rootfs(daemon, name):
    return daemon.dir / "storage-pools" / "default" / "containers" / name / "rootfs"


@pytest.fixture(scope="module")
def servers(daemon, tmp_path_factory):
    """{"o": ours, "p": ours, "r": the reference, if installed}, each with the stopped containers `plain` and `priv`."""
    made = {"o": daemon}
    try:
        for key in "pr":
            if key == "r" and not os.path.exists(REFERENCE_LXD):
                continue
            made[key] = Daemon(f"{daemon.root}-{key}", reference=key == "r")
            made[key].prefix = daemon.prefix
            made[key].start()
        for key, server in made.items():
            prepare(server, PORTS[key])
            for name, privileged in (("plain", False), ("priv", True)):
                source_of(server, f"{daemon.prefix}{name}", privileged)
        yield made
        for key, server in made.items():
            assert server.alive, f"{key} died:\n{server.log()}"
            assert leftovers(server) == []
    finally:
        for key, server in made.items():
            if key == "o":
                continue
            if server.alive:
                with contextlib.suppress(Exception):
                    server.remove_all()
                server.stop(timeout=60)
            server.cleanup()


class LxcClient:
    def __init__(self, program, daemon):
        self.program, self.daemon, self.conf = program, daemon, str(daemon.root / f"conf-{pathlib.Path(program).parent.name}")

    def __call__(self, *args, **kwargs):
        return self.daemon.lxc(*args, program=self.program, LXD_CONF=self.conf, **kwargs)


@pytest.fixture(scope="module", params=["ours", "go"])
def lxc(request, servers):
    if request.param == "go" and not os.path.exists(GO_CLIENT):
        pytest.skip("Debian's lxd-client is not installed")
    client = LxcClient(GO_CLIENT if request.param == "go" else str(BIN / "lxc"), servers["o"])
    tls.make_certificate(client.conf, "client")  # as each would make it: client.crt, client.key
    for key in servers:
        client("remote", "add", key, f"127.0.0.1:{PORTS[key]}", "--accept-certificate", "--password", "sesame")
    return client


@pytest.fixture
def fresh(servers):
    name = servers["o"].new_name()
    yield name
    for server in servers.values():
        if server.alive:
            server.api.remove(name)


def leftovers(daemon):
    """Staged trees, and folders of instances that the API does not know."""
    if daemon.reference:
        return []
    pool = daemon.dir / "storage-pools" / "default"
    known = {url.rsplit("/", 1)[1] for url in daemon.api.get("/1.0/instances")}
    return [str(p) for p in (pool / "staging").iterdir()] + [p.name for p in (pool / "containers").iterdir() if p.name not in known]


def gone(daemon, name):
    """The instance was never there, for all that can be seen."""
    assert daemon.api.request("GET", f"/1.0/instances/{name}").status == 404
    eventually(lambda: leftovers(daemon) == [], what=f"nothing is left over: {leftovers(daemon)}")


def needs(servers, *keys):
    for key in keys:
        if key not in servers:
            pytest.skip("Debian's lxd is not installed")


def same_tree(servers, source, target, one, other, privileged):
    """@source, @target: keys. What the protocol of 5.0.2 loses (names of one inode, ACLs) is left out where it takes part."""
    ours = "r" not in (source, target)
    kept = {"links": ours, "acls": ours, "devices": privileged or target == "r"}
    a = trees.manifest(rootfs(servers[source], one), **kept)
    b = trees.manifest(rootfs(servers[target], other), **kept)
    if not ours:
        for tree in (a, b):  # without its ACL the group bits of this file are another thing
            tree.pop(b"suid")
    assert trees.differences(a, b) == []
    if not kept["devices"]:
        assert not (rootfs(servers[target], other) / "disk-node").exists()


PAIRS = ["op", "or", "ro"]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("mode,privileged", [("pull", False), ("push", False), ("relay", False), ("pull", True)],
                         ids=["pull", "push", "relay", "pull-privileged"])
def test_copy(servers, lxc, fresh, mode, pair, privileged):
    source, target = pair
    needs(servers, source, target)
    name = f"{servers['o'].prefix}{'priv' if privileged else 'plain'}"
    lxc("copy", f"{source}:{name}", f"{target}:{fresh}", "--mode", mode)
    same_tree(servers, source, target, name, fresh, privileged)
    before, after = (servers[key].api.get(f"/1.0/instances/{n}") for key, n in ((source, name), (target, fresh)))
    assert after["config"]["user.mark"] == "yes" and after["profiles"] == before["profiles"]
    assert after["config"]["volatile.base_image"] == before["config"]["volatile.base_image"]
    assert after["config"]["volatile.uuid"] != before["config"]["volatile.uuid"]
    assert after["config"]["volatile.apply_template"] == "copy"
    # owners are right where it counts: inside
    api = servers[target].api
    api.done(api.state(fresh, "start"))
    assert api.sh(fresh, "stat -c '%u:%g %a' /plain /suid /empty-dir").split("\n")[:3] == [
        "1000:1001 640", "5:6 6775" if pair == "op" or servers[source].reference is False else "5:6 6755", "33:44 2750"]
    assert api.sh(fresh, "cat /plain") == "hello\n"


@pytest.mark.parametrize("mode", ["pull", "push", "relay"])
@pytest.mark.parametrize("pair", PAIRS)
def test_move(servers, lxc, fresh, mode, pair):
    """The same instance on another server: identity and addresses stay, the original goes."""
    source, target = pair
    needs(servers, source, target)
    api, other = servers[source].api, servers[target].api
    api.done(api.create(fresh, {"user.mark": "moved"}, {"eth0": {"type": "nic", "nictype": "p2p"}}))
    before = api.get(f"/1.0/instances/{fresh}")
    lxc("move", f"{source}:{fresh}", f"{target}:", "--mode", mode)
    after = other.get(f"/1.0/instances/{fresh}")
    assert api.request("GET", f"/1.0/instances/{fresh}").status == 404
    for key in ("volatile.uuid", "volatile.eth0.hwaddr", "volatile.cloud-init.instance-id", "user.mark"):
        assert after["config"][key] == before["config"][key], key
    assert "volatile.last_state.power" not in after["config"]
    if source != "r":
        gone(servers[source], fresh)


def test_overrides(servers, lxc, fresh):
    api = servers["p"].api
    assert api.post("/1.0/profiles", {"name": fresh, "config": {"user.from": "profile"}}).status == 201
    name = f"{servers['o'].prefix}plain"
    lxc("copy", f"o:{name}", f"p:{fresh}", "-c", "user.mark=changed", "-c", "limits.memory=64MiB", "-d", "root,type=disk", "-d", "root,path=/",
        "-d", "root,pool=default", "-p", fresh, "-e", "--instance-only", "--stateless")
    got = api.get(f"/1.0/instances/{fresh}")
    assert got["config"]["user.mark"] == "changed" and got["config"]["limits.memory"] == "64MiB"
    assert got["profiles"] == [fresh] and got["ephemeral"] is True and got["devices"]["root"]["pool"] == "default"
    api.remove(fresh)
    lxc("copy", f"o:{name}", f"p:{fresh}", "--no-profiles", "-s", "default")
    got = api.get(f"/1.0/instances/{fresh}")
    assert got["profiles"] == [] and got["devices"]["root"] == {"type": "disk", "path": "/", "pool": "default"} and not got["ephemeral"]
    api.remove(fresh)
    api.delete(f"/1.0/profiles/{fresh}")


def test_target_without_name(servers, lxc):
    name = f"{servers['o'].prefix}plain"
    servers["p"].api.remove(name)
    lxc("copy", f"o:{name}", "p:")
    same_tree(servers, "o", "p", name, name, False)


@pytest.mark.parametrize("mode", ["pull", "push", "relay"])
@pytest.mark.parametrize("pair", PAIRS)
def test_name_is_taken(servers, lxc, fresh, mode, pair):
    source, target = pair
    needs(servers, source, target)
    api = servers[target].api
    api.done(api.create(fresh, {"user.mark": "mine"}))
    result = lxc("copy", f"{source}:{servers['o'].prefix}plain", f"{target}:{fresh}", "--mode", mode, check=False)
    assert result.returncode == 1 and "already exists" in result.stderr, result
    assert api.get(f"/1.0/instances/{fresh}")["config"]["user.mark"] == "mine"
    assert leftovers(servers[target]) == []


@pytest.mark.parametrize("mode", ["pull", "push", "relay"])
@pytest.mark.parametrize("pair", ["op", "ro"])
def test_what_the_target_refuses(servers, lxc, fresh, mode, pair):
    """Pool, profile and configuration are judged by the target's commit point, before anything is sent."""
    source, target = pair
    needs(servers, source, target)
    name = f"{source}:{servers['o'].prefix}plain"
    for options, text in ((["-s", "nowhere"], "nowhere"), (["-p", "nobody"], "nobody"), (["-c", "no.such=key"], "no.such")):
        result = lxc("copy", name, f"{target}:{fresh}", "--mode", mode, *options, check=False)
        assert result.returncode == 1 and text in result.stderr, result
        gone(servers[target], fresh)


def test_running_source(servers, lxc, fresh):
    api = servers["o"].api
    api.launch(fresh)
    for options in ([], ["--stateless"]):
        result = lxc("copy", f"o:{fresh}", "p:", *options, check=False)
        assert result.returncode == 1 and "stop" in result.stderr, result
    result = lxc("move", f"o:{fresh}", "p:", check=False)
    assert result.returncode == 1 and api.get(f"/1.0/instances/{fresh}")["status"] == "Running"
    gone(servers["p"], fresh)


def test_running_reference_source(servers, lxc, fresh):
    needs(servers, "r")
    api = servers["r"].api
    api.launch(fresh)
    result = lxc("copy", f"r:{fresh}", "o:", "--stateless", check=False)
    assert result.returncode == 1 and "stop it first" in result.stderr, result
    gone(servers["o"], fresh)


def test_snapshots_of_the_reference(servers, lxc, fresh):
    needs(servers, "r")
    api = servers["r"].api
    api.done(api.create(fresh))
    api.done(api.post(f"/1.0/instances/{fresh}/snapshots", {"name": "s0"}))
    result = lxc("copy", f"r:{fresh}", "o:", check=False)
    assert result.returncode == 1 and "--instance-only" in result.stderr and "1 snapshots" in result.stderr, result
    gone(servers["o"], fresh)
    lxc("copy", f"r:{fresh}", "o:", "--instance-only")
    assert servers["o"].api.get(f"/1.0/instances/{fresh}")["status"] == "Stopped"


def test_nobody_listens(servers, lxc, fresh):
    """The server that has to be connected to has no address, and the client none either."""
    api = servers["o"].api
    assert api.patch("/1.0", {"config": {"core.https_address": ""}}).status == 200
    try:
        name = f"{servers['o'].prefix}plain"
        result = lxc("copy", name, f"p:{fresh}", check=False)
        assert result.returncode == 1 and "The source server isn't listening on the network" in result.stderr, result
        result = lxc("copy", f"p:{servers['o'].prefix}priv", f"local:{fresh}", "--mode", "push", check=False)
        assert result.returncode == 1 and "The target server isn't listening on the network" in result.stderr, result
        lxc("copy", name, f"p:{fresh}", "--mode", "push")
        servers["p"].api.remove(fresh)
        lxc("copy", name, f"p:{fresh}", "--mode", "relay")
    finally:
        assert api.patch("/1.0", {"config": {"core.https_address": f"127.0.0.1:{PORTS['o']}"}}).status == 200
    same_tree(servers, "o", "p", name, fresh, False)


def test_a_disk_that_is_full(servers, lxc, fresh):
    small = servers["p"].root / "small"
    small.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", small], check=True)
    api = servers["p"].api
    try:
        assert api.post("/1.0/storage-pools", {"name": "small", "driver": "dir", "config": {"source": str(small)}}).status == 201
        for mode in ("pull", "push", "relay"):
            result = lxc("copy", f"o:{servers['o'].prefix}plain", f"p:{fresh}", "-s", "small", "--mode", mode, check=False)
            assert result.returncode == 1 and "No space left on device" in result.stderr, result
            assert api.request("GET", f"/1.0/instances/{fresh}").status == 404
            assert list((small / "staging").iterdir()) == [] == list((small / "containers").iterdir())
        assert api.delete("/1.0/storage-pools/small").status == 200
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)
