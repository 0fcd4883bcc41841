"""Copies and moves between projects: checked as if made there, and whole whenever the daemon is killed."""
import pathlib
import threading
import time

import pytest

from helpers import tls
from helpers.client import OURS, ClientProgram
from helpers.projects import URL, in_project, project, with_root  # noqa: F401 (a fixture)

pytestmark = pytest.mark.ours
GO = pathlib.Path("/usr/bin/lxc")


def copy(target, name, source, project, **more):
    return target.post("/1.0/instances", {"name": name, "source": {"type": "copy", "source": source, "project": project}, **more})


def move(source, name, project, to=None):
    return source.post(f"/1.0/instances/{name}", {"name": to or name, "project": project, "migration": True})


@pytest.fixture
def pair(project):
    return in_project(project, "pr1"), in_project(project, "pr2")


def test_move(daemon, api, pair, name):
    one, two = pair
    one.launch(name, {"user.x": "1"})
    one.sh(name, "echo data > /root/data")
    assert "stop it first" in one.failure(move(one, name, "pr2"))
    one.done(one.state(name, "stop", force=True))
    before = one.get(f"/1.0/instances/{name}")
    one.done(move(one, name, "pr2"))
    assert one.request("GET", f"/1.0/instances/{name}").status == 404
    after = two.get(f"/1.0/instances/{name}")
    assert after.pop("project") == "pr2" and before.pop("project") == "pr1" and after == before
    assert api.get(f"{URL}/pr1")["used_by"] == ["/1.0/profiles/default?project=pr1"]
    two.done(two.state(name, "start"))
    assert two.sh(name, "cat /root/data") == "data\n"
    # over a restart of the daemon, and to the default project under another name
    daemon.restart()
    assert two.sh(name, "cat /root/data") == "data\n"
    two.done(two.state(name, "stop", force=True))
    other = daemon.new_name()
    two.done(move(two, name, "default", to=other))
    api.done(api.state(other, "start"))
    assert api.sh(other, "cat /root/data") == "data\n"
    api.remove(other)


def test_move_refused(api, pair, name):
    one, two = pair
    one.done(one.create(name))
    reply = move(one, name, "nope")
    assert reply.status == 404 and reply.error == 'Failed loading project "nope": Project not found'
    assert move(one, name, "pr1").status == 400
    assert move(one, name, "pr2", to="a_b").status == 400
    two.done(two.create(name))
    assert "already in use" in one.failure(move(one, name, "pr2"))
    two.remove(name)
    # what the target's profiles, limits and restrictions ask
    assert one.post("/1.0/profiles", {"name": "mine"}).status == 201
    assert one.patch(f"/1.0/instances/{name}", {"profiles": ["default", "mine"]}).status == 200
    assert 'Requested profile "mine" doesn\'t exist' in one.failure(move(one, name, "pr2"))
    assert one.patch(f"/1.0/instances/{name}", {"profiles": ["default"]}).status == 200
    assert api.patch(f"{URL}/pr2", {"config": {"limits.containers": "0"}}).status == 200
    assert "Reached maximum number of instances" in one.failure(move(one, name, "pr2"))
    assert api.patch(f"{URL}/pr2", {"config": {"limits.containers": "", "limits.memory": "1GiB"}}).status == 200
    assert 'has no "limits.memory" config' in one.failure(move(one, name, "pr2"))
    assert api.patch(f"{URL}/pr2", {"config": {"limits.memory": "", "restricted": "true"}}).status == 200
    assert one.patch(f"/1.0/instances/{name}", {"config": {"security.privileged": "true"}}).status == 200
    assert "Privileged containers are forbidden" in one.failure(move(one, name, "pr2"))
    assert one.patch(f"/1.0/instances/{name}", {"config": {"security.privileged": ""}, "devices": {
        "d": {"type": "disk", "source": "/tmp", "path": "/x"}}}).status == 200
    assert "Attaching disks not backed by a pool is forbidden" in one.failure(move(one, name, "pr2"))
    # nothing has happened to it
    assert two.get("/1.0/instances") == [] and one.get(f"/1.0/instances/{name}")["status"] == "Stopped"
    one.done(one.state(name, "start"))


def test_copy(api, pair, name, daemon):
    one, two = pair
    one.launch(name, {"user.x": "1"})
    one.sh(name, "echo data > /root/data; sync")
    one.done(one.state(name, "stop", force=True))
    two.done(copy(two, name, name, "pr1"))
    assert two.get(f"/1.0/instances/{name}")["config"]["user.x"] == "1"
    two.done(two.state(name, "start"))
    assert two.sh(name, "cat /root/data") == "data\n"
    uuids = {p.get(f"/1.0/instances/{name}")["config"]["volatile.uuid"] for p in pair}
    assert len(uuids) == 2
    other = daemon.new_name()
    assert copy(two, other, name, "nope").status == 404
    assert copy(two, other, "nosuch", "pr1").status == 404
    # the original's settings count on the target
    assert one.patch(f"/1.0/instances/{name}", {"config": {"security.nesting": "true"}}).status == 200
    assert api.patch(f"{URL}/pr2", {"config": {"restricted": "true"}}).status == 200
    assert "Container nesting is forbidden" in two.failure(copy(two, other, name, "pr1"))
    assert "Container nesting is forbidden" in two.failure(copy(two, other, name, "pr1", config={"security.nesting": "true"}))
    two.done(copy(two, other, name, "pr1", config={"security.nesting": "false", "volatile.eth0.host_name": "lo"}))
    assert "volatile.eth0.host_name" not in two.get(f"/1.0/instances/{other}")["config"]
    assert api.patch(f"{URL}/pr2", {"config": {"limits.containers": "2"}}).status == 200
    assert "Reached maximum number of instances" in two.failure(copy(two, daemon.new_name(), name, "pr1", config={"security.nesting": "false"}))


def test_whoever_holds_nothing_in_the_other_project(daemon, api, pair, name):
    """A certificate of the default project: other projects are the same to it whether they are there or not."""
    one, _ = pair
    one.done(one.create(name))
    assert api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443"}}).status == 200
    certificate = tls.make_certificate(daemon.root / "certs", "restricted")
    reply = api.post("/1.0/certificates", {"type": "client", "certificate": certificate.base64, "restricted": True, "projects": ["default"]})
    assert reply.status == 201, reply
    client = tls.TlsClient(certificate)
    mine = daemon.new_name()
    api.done(api.create(mine))
    bodies = set()
    for project in ("pr1", "nosuch"):
        for reply in (copy(client, daemon.new_name(), name, project), move(client, mine, project)):
            assert reply.status == 403
            bodies.add(reply.body)
    assert len(bodies) == 1
    # lists show what is in its own
    assert client.get("/1.0/instances?all-projects=true") == [f"/1.0/instances/{mine}"]
    assert [i["name"] for i in client.get("/1.0/instances?all-projects=true&recursion=1")] == [mine]
    assert [i["name"] for i in client.get("/1.0/instances?all-projects=true&recursion=2&filter=status eq stopped".replace(" ", "%20"))] == [mine]
    assert client.get("/1.0/projects") == ["/1.0/projects/default"]
    used = client.get("/1.0/storage-pools/default")["used_by"]
    assert f"/1.0/instances/{mine}" in used and not [u for u in used if "project=" in u]
    assert [u for u in api.get("/1.0/storage-pools/default")["used_by"] if "project=pr1" in u]
    bodies = {client.request("GET", f"/1.0/projects/{p}{end}").body for p in ("pr1", "nosuch") for end in ("", "/state")}
    bodies |= {client.request(m, f"/1.0/projects/{p}", {"config": {}}).body for p in ("pr1", "nosuch") for m in ("PUT", "PATCH", "DELETE")}
    assert len(bodies) == 1
    api.remove(mine)
    assert api.delete(reply_url(api)).status == 200
    assert api.patch("/1.0", {"config": {"core.https_address": ""}}).status == 200


def reply_url(api):
    (url,) = api.get("/1.0/certificates")
    return url


@pytest.mark.parametrize("moment", [0, 0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.02, 0.05])
def test_killed_while_moving(daemon, api, pair, name, moment):
    one, two = pair
    one.done(one.create(name))

    def ask():
        try:
            move(one, name, "pr2")
        except Exception:  # noqa: BLE001 (the daemon dies under it)
            pass

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(moment)
    daemon.kill()
    thread.join()
    daemon.start()
    there = [p for p in pair if p.request("GET", f"/1.0/instances/{name}").status == 200]
    assert len(there) == 1
    (where,) = there
    where.done(where.state(name, "start"))
    assert where.sh(name, "echo whole") == "whole\n"
    where.remove(name)
    trees = [p for p in (daemon.dir / "storage-pools").rglob(f"*{name}*") if "/rootfs/" not in str(p)]
    assert trees == []


def test_many_moves_at_once(api, pair, daemon):
    """No more than the limit, and each instance is in exactly one project."""
    one, two = pair
    names = [daemon.new_name() for _ in range(6)]
    for n in names:
        one.done(one.create(n))
    assert api.patch(f"{URL}/pr2", {"config": {"limits.instances": "2"}}).status == 200
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(one.wait(move(one, n, "pr2"))["status"])) for n in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == ["Failure"] * 4 + ["Success"] * 2
    assert len(two.get("/1.0/instances")) == 2 and len(one.get("/1.0/instances")) == 4


@pytest.mark.parametrize("program", [OURS, GO], ids=["ours", "go"])
def test_clients(daemon, api, pair, name, program):
    if not program.exists():
        pytest.skip(f"{program} is not installed")
    one, two = pair
    lxc = ClientProgram(daemon, program, daemon.root / f"client-{daemon.new_name()}", key=False)
    other = daemon.new_name()
    lxc("init", "bb", name, "--project", "pr1", "-c", "user.x=1")
    lxc("copy", name, other, "--project", "pr1", "--target-project", "pr2")
    assert two.get(f"/1.0/instances/{other}")["config"]["user.x"] == "1"
    assert one.get("/1.0/instances") == [f"/1.0/instances/{name}?project=pr1"]
    lxc("move", name, name, "--project", "pr1", "--target-project", "pr2")
    assert one.get("/1.0/instances") == []
    assert lxc("list", "--project", "pr2", "-f", "csv", "-c", "n")[0].split() == sorted([name, other])
    assert "Error: " in lxc.error("move", name, name, "--project", "pr2", "--target-project", "nope")
