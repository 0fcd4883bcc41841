"""Snapshots: made, listed, renamed, restored, removed; what is refused; and what a killed daemon leaves."""
import json
import os
import pathlib
import time

import pytest

from helpers.client import OURS, ClientProgram
from helpers.projects import in_project, project  # noqa: F401 (a fixture)

NEVER = "0001-01-01T00:00:00Z"


def snapshot(api, name, snap=None, **more):
    return api.done(api.post(f"/1.0/instances/{name}/snapshots", {"name": snap, **more} if snap else more))


def snapshots(api, name):
    return [s["name"] for s in api.get(f"/1.0/instances/{name}/snapshots?recursion=1")]


def volumes(daemon):
    return sorted(os.listdir(daemon.dir / "storage-pools/default/containers-snapshots"))


@pytest.fixture
def stopped(daemon, api, name):
    api.done(api.create(name, config={"user.a": "1"}))
    return name


def rootfs(daemon, name):
    return daemon.dir / "storage-pools/default/containers" / name / "rootfs"


def test_life(daemon, api, stopped):
    url = f"/1.0/instances/{stopped}/snapshots"
    assert api.get(url) == [] and api.get(f"/1.0/instances/{stopped}?recursion=1")["snapshots"] is None
    events = api.websocket("/1.0/events?type=lifecycle")
    snapshot(api, stopped)
    snapshot(api, stopped, "other", expires_at="2090-01-02T03:04:05Z")
    assert api.get(url) == [f"{url}/snap0", f"{url}/other"]
    assert api.get(url.replace("instances", "containers", 1))[0].startswith(f"/1.0/containers/{stopped}/snapshots/")
    first = api.get(f"{url}/snap0")
    assert list(first) == ["expires_at", "architecture", "config", "created_at", "devices", "ephemeral", "expanded_config",
                           "expanded_devices", "last_used_at", "name", "profiles", "stateful", "size"]
    assert (first["name"], first["expires_at"], first["stateful"], first["size"]) == ("snap0", NEVER, False, -1)
    assert first["config"]["user.a"] == "1" and first["expanded_devices"]["root"]["path"] == "/"
    assert api.get(f"{url}/other")["expires_at"] == "2090-01-02T03:04:05Z"
    assert [s["name"] for s in api.get(f"/1.0/instances/{stopped}?recursion=1")["snapshots"]] == ["snap0", "other"]
    listed = {i["name"]: i for i in api.get("/1.0/instances?recursion=2")}[stopped]
    assert len(listed["snapshots"]) == 2 and "state" in listed
    assert len(volumes(daemon)) == 2

    reply = api.done(api.post(f"{url}/other", {"name": "renamed"}))
    assert reply["description"] == "Renaming snapshot" and f"{url}/other" in reply["resources"]["instances_snapshots"]
    etag = api.request("GET", f"{url}/renamed").headers["ETag"]
    api.done(api.put(f"{url}/renamed", {"expires_at": "2080-01-01T00:00:00Z"}, headers={"If-Match": etag}))
    assert api.put(f"{url}/renamed", {"expires_at": NEVER}, headers={"If-Match": etag}).status == 412
    api.done(api.patch(f"{url}/renamed", {}))
    assert api.get(f"{url}/renamed")["expires_at"] == "2080-01-01T00:00:00Z"
    api.done(api.patch(f"{url}/renamed", {"expires_at": None}))
    api.done(api.delete(f"{url}/snap0"))
    assert snapshots(api, stopped) == ["renamed"] and len(volumes(daemon)) == 1
    actions = []
    while not actions or actions[-1] != "instance-snapshot-deleted":
        event = json.loads(events.recv()[1])["metadata"]
        actions.append(event["action"])
        assert event["source"].startswith(url)
    assert actions == ["instance-snapshot-created"] * 2 + ["instance-snapshot-renamed"] + ["instance-snapshot-updated"] * 3 + ["instance-snapshot-deleted"]
    events.close()
    api.remove(stopped)
    assert volumes(daemon) == []


def test_restore(daemon, api, stopped):
    root = rootfs(daemon, stopped)
    (root / "etc/then").write_text("then")
    os.chown(root / "etc/then", 1000000, 1000000)
    snapshot(api, stopped, "s")
    before = api.get(f"/1.0/instances/{stopped}")
    (root / "etc/then").unlink()
    (root / "etc/now").write_text("now")
    assert api.patch(f"/1.0/instances/{stopped}", {"config": {"user.a": "2", "user.b": "3"}, "description": "stays"}).status == 200
    operation = api.done(api.put(f"/1.0/instances/{stopped}", {"restore": "s"}))
    assert operation["description"] == "Restoring snapshot"
    assert (root / "etc/then").read_text() == "then" and (root / "etc/then").stat().st_uid == 1000000
    assert not (root / "etc/now").exists()
    after = api.get(f"/1.0/instances/{stopped}")
    assert after["config"] == before["config"] and after["description"] == "stays"
    assert snapshots(api, stopped) == ["s"] and os.listdir(daemon.dir / "storage-pools/default/staging") == []
    # it starts, and its snapshot is still what it was
    api.done(api.state(stopped, "start"))
    api.sh(stopped, "test \"$(cat /etc/then)\" = then")


def test_of_a_running_instance(daemon, api, name):
    """It is held still meanwhile, goes on, and a restore starts it again."""
    api.launch(name)
    api.sh(name, "echo one > /root/f")
    snapshot(api, name, "s")
    assert api.get(f"/1.0/instances/{name}")["status"] == "Running"
    pid = api.get(f"/1.0/instances/{name}/state")["pid"]
    api.sh(name, "echo two > /root/f; touch /root/g")
    api.done(api.put(f"/1.0/instances/{name}", {"restore": "s"}))
    state = api.get(f"/1.0/instances/{name}/state")
    assert state["status"] == "Running" and state["pid"] != pid
    api.sh(name, "test \"$(cat /root/f)\" = one && test ! -e /root/g")


def test_an_ephemeral_one_survives_its_restore(api, name):
    api.launch(name, ephemeral=True)
    snapshot(api, name, "s")
    api.done(api.put(f"/1.0/instances/{name}", {"restore": "s"}))
    assert api.get(f"/1.0/instances/{name}")["status"] == "Running"


@pytest.mark.parametrize("body,text", [
    ({"name": "a/b"}, 'Invalid snapshot name: Cannot contain "/"'), ({"name": "a b"}, "Invalid snapshot name"), ({"name": ".."}, "snapshot name"),
    ({"name": "x", "stateful": True}, "CRIU"), ({"name": "x", "expires_at": "soon"}, "expires_at"), ({"name": 5}, "name"),
])
def test_bad_bodies(api, running, body, text):
    reply = api.post(f"/1.0/instances/{running}/snapshots", body)
    assert reply.status == 400 and text in reply.error, reply
    assert api.get(f"/1.0/instances/{running}/snapshots") == []


def test_what_is_not_there(api, stopped):
    url = f"/1.0/instances/{stopped}/snapshots"
    snapshot(api, stopped, "s")
    assert "already exists" in api.failure(api.post(url, {"name": "s"}))
    for method, path, body in (("GET", f"{url}/x", None), ("PUT", f"{url}/x", {}), ("PATCH", f"{url}/x", {}), ("POST", f"{url}/x", {"name": "y"}),
                               ("DELETE", f"{url}/x", None)):
        reply = api.request(method, path, body)
        assert reply.status == 404 and reply.error == "Snapshot not found", (method, reply)
    assert api.request("GET", "/1.0/instances/nosuch/snapshots").status == 404
    assert api.failure(api.put(f"/1.0/instances/{stopped}", {"restore": "x"})) == f"Snapshot {stopped}/x does not exist"
    snapshot(api, stopped, "t")
    assert api.post(f"{url}/t", {"name": "s"}).status == 409 and api.post(f"{url}/t", {"name": "a/b"}).status == 400
    assert snapshots(api, stopped) == ["s", "t"]


def test_patterns(api, name):
    api.done(api.create(name, config={"snapshots.pattern": "x%d", "snapshots.expiry": "1d"}))
    for _ in range(2):
        snapshot(api, name)
    snapshot(api, name, "x7")
    snapshot(api, name)
    assert snapshots(api, name) == ["x0", "x1", "x7", "x8"]
    expires = api.get(f"/1.0/instances/{name}/snapshots/x0")["expires_at"]
    assert expires != NEVER
    snapshot(api, name, "kept", expires_at=NEVER)
    assert api.get(f"/1.0/instances/{name}/snapshots/kept")["expires_at"] == NEVER
    assert api.patch(f"/1.0/instances/{name}", {"config": {"snapshots.pattern": "{{ creation_date|date:'20060102' }}"}}).status == 200
    for _ in range(2):
        snapshot(api, name)
    today = time.strftime("%Y%m%d", time.gmtime())
    assert snapshots(api, name)[-2:] == [today, f"{today}-0"]
    for bad in ("{{ other }}", "{{ creation_date", "%d%d", "{{ creation_date|upper }}", "{% if x %}"):
        assert api.patch(f"/1.0/instances/{name}", {"config": {"snapshots.pattern": bad}}).status == 400, bad
    assert api.patch(f"/1.0/instances/{name}", {"config": {"snapshots.expiry": "soon"}}).status == 400


def test_projects_say_whether(api, daemon, project):
    """Class Z: by every route to it; and a restore is a change of the instance like any other."""
    inside = in_project(project, "pr")
    name = daemon.new_name()
    inside.done(inside.create(name, config={"security.privileged": "true"}))
    snapshot(inside, name, "s")
    inside.done(inside.put(f"/1.0/instances/{name}", {**{k: v for k, v in inside.get(f"/1.0/instances/{name}").items()
                                                         if k in ("architecture", "devices", "profiles", "ephemeral", "description")},
                                                      "config": {k: v for k, v in inside.get(f"/1.0/instances/{name}")["config"].items()
                                                                 if k != "security.privileged"}}))
    assert api.patch("/1.0/projects/pr", {"config": {"restricted": "true"}}).status == 200
    reply = inside.post(f"/1.0/instances/{name}/snapshots", {"name": "t"})
    assert reply.status == 403 and "doesn't allow for snapshot creation" in reply.error, reply
    assert "forbidden" in inside.failure(inside.put(f"/1.0/instances/{name}", {"restore": "s"})).lower()
    assert "security.privileged" not in inside.get(f"/1.0/instances/{name}")["config"]
    assert api.patch("/1.0/projects/pr", {"config": {"restricted.snapshots": "allow"}}).status == 200
    snapshot(inside, name, "t")
    assert inside.get(f"/1.0/instances/{name}/snapshots") == [f"/1.0/instances/{name}/snapshots/{s}?project=pr" for s in ("s", "t")]


def test_they_follow_the_instance(daemon, api, stopped, project):
    """A rename and a move to another project touch none of them."""
    snapshot(api, stopped, "s")
    there, new = volumes(daemon), daemon.new_name()
    api.done(api.post(f"/1.0/instances/{stopped}", {"name": new}))
    assert snapshots(api, new) == ["s"]
    inside = in_project(project, "pr")
    api.done(api.post(f"/1.0/instances/{new}", {"name": new, "project": "pr"}))
    assert snapshots(inside, new) == ["s"] and volumes(daemon) == there
    inside.done(inside.put(f"/1.0/instances/{new}", {"restore": "s"}))
    daemon.restart()
    assert snapshots(inside, new) == ["s"]


# --- copies ---

def test_copies(daemon, api, stopped):
    """Of a snapshot alone; of an instance with its snapshots, or without."""
    (rootfs(daemon, stopped) / "etc/mark").write_text("then")
    snapshot(api, stopped, "s", expires_at="2090-01-01T00:00:00Z")
    (rootfs(daemon, stopped) / "etc/mark").write_text("now")
    assert api.patch(f"/1.0/instances/{stopped}", {"config": {"user.a": "2"}}).status == 200
    snapshot(api, stopped, "t")

    def copy(**source):
        name = daemon.new_name()
        reply = api.post("/1.0/instances", {"name": name, "source": {"type": "copy", **source}})
        assert reply.status == 202, reply
        api.done(reply)
        return name

    of_s = copy(source=f"{stopped}/s")
    assert api.get(f"/1.0/instances/{of_s}")["config"]["user.a"] == "1" and snapshots(api, of_s) == []
    assert (rootfs(daemon, of_s) / "etc/mark").read_text() == "then"
    alone = copy(source=stopped, instance_only=True)
    assert snapshots(api, alone) == [] and snapshots(api, copy(source=stopped, container_only=True)) == []
    whole = copy(source=stopped)
    assert snapshots(api, whole) == ["s", "t"]
    assert api.get(f"/1.0/instances/{whole}/snapshots/s")["expires_at"] == "2090-01-01T00:00:00Z"
    api.remove(stopped)
    api.done(api.put(f"/1.0/instances/{whole}", {"restore": "s"}))
    assert (rootfs(daemon, whole) / "etc/mark").read_text() == "then"
    api.done(api.state(whole, "start"))
    api.sh(whole, "test \"$(cat /etc/mark)\" = then")
    assert api.post("/1.0/instances", {"name": "x1", "source": {"type": "copy", "source": f"{whole}/nope"}}).status == 404
    api.remove(whole)
    assert volumes(daemon) == []


def test_copies_and_moves_into_projects_without_them(api, daemon, project, stopped):
    """Class Z: no way brings snapshots into a project that does not allow them."""
    snapshot(api, stopped, "s")
    inside = in_project(project, "pr", {"restricted": "true"})
    source = {"type": "copy", "source": stopped, "project": "default"}
    reply = inside.post("/1.0/instances", {"name": "c1", "source": source})
    assert reply.status == 403 and "snapshot creation" in reply.error, reply
    assert "snapshot creation" in api.failure(api.post(f"/1.0/instances/{stopped}", {"name": stopped, "project": "pr"}))
    inside.done(inside.post("/1.0/instances", {"name": "c1", "source": {**source, "instance_only": True}}))
    assert snapshots(inside, "c1") == []


def test_they_are_not_lost_on_the_way_to_another_server(api, stopped):
    snapshot(api, stopped, "s")
    reply = api.post(f"/1.0/instances/{stopped}", {"name": stopped, "migration": True})
    assert reply.status == 400 and "--instance-only" in reply.error, reply


def test_publishing(daemon, api, stopped):
    (rootfs(daemon, stopped) / "etc/mark").write_text("then")
    snapshot(api, stopped, "s")
    (rootfs(daemon, stopped) / "etc/mark").write_text("now")
    api.done(api.state(stopped, "start"))  # no matter
    operation = api.done(api.post("/1.0/images", {"source": {"type": "snapshot", "name": f"{stopped}/s"}, "compression_algorithm": "none"}))
    fingerprint, name = operation["metadata"]["fingerprint"], daemon.new_name()
    api.done(api.post("/1.0/instances", {"name": name, "source": {"type": "image", "fingerprint": fingerprint}}))
    assert (rootfs(daemon, name) / "etc/mark").read_text() == "then"
    assert api.post("/1.0/images", {"source": {"type": "snapshot", "name": f"{stopped}/x"}}).status == 404
    api.done(api.delete(f"/1.0/images/{fingerprint}"))


# --- by the clock ---

def test_schedule_and_expiry(daemon, api):
    """One minute of it: who is due, who is not, and what has expired."""
    runs, rests, wants, old = (daemon.new_name() for _ in range(4))
    while time.time() % 60 > 40:  # all of them are there before the minute ends
        time.sleep(0.5)
    every = {"snapshots.schedule": "* * * * *", "snapshots.pattern": "auto%d"}
    api.launch(runs, config=every)
    api.done(api.create(rests, config=every))
    api.done(api.create(wants, config={**every, "snapshots.schedule.stopped": "true"}))
    api.done(api.create(old, config={"snapshots.schedule": "@never, * * * * *"}))
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    snapshot(api, old, "gone", expires_at=soon)
    snapshot(api, old, "kept")
    events = api.websocket("/1.0/events?type=lifecycle")
    seen = set()
    deadline = time.monotonic() + 75
    while time.monotonic() < deadline and len(seen) < 3:
        event = json.loads(events.recv(80)[1])["metadata"]
        if event["action"].startswith("instance-snapshot-"):
            seen.add((event["action"].rsplit("-", 1)[1], event["source"].split("/", 3)[3]))
    events.close()
    assert {("created", f"{runs}/snapshots/auto0"), ("created", f"{wants}/snapshots/auto0"), ("deleted", f"{old}/snapshots/gone")} <= seen
    assert snapshots(api, rests) == [] and snapshots(api, old) == ["kept"]
    assert api.get(f"/1.0/instances/{runs}")["status"] == "Running"
    for one in (runs, rests, wants, old):
        api.remove(one)


def test_at_startup(api, name):
    api.launch(name, config={"snapshots.schedule": "@startup"})
    assert snapshots(api, name) == ["snap0"]
    for bad in ("* * * *", "@sometimes", "61 * * * *"):
        reply = api.patch(f"/1.0/instances/{name}", {"config": {"snapshots.schedule": bad}})
        assert reply.status == 400, bad


# --- crashes ---

@pytest.mark.parametrize("work", ["create", "create-running", "restore", "delete", "delete-instance", "copy"])
def test_killed_meanwhile(daemon, api, work):
    """At moments all over the work: afterwards the snapshot is there whole or not at all, and nothing is left over."""
    for moment in (0, 1, 2, 3, 4, 6, 8, 11, 15, 20, 30):
        name = daemon.new_name()
        if work == "create-running":
            api.launch(name)
        else:
            api.done(api.create(name))
            (rootfs(daemon, name) / "etc/mark").write_text("then")
        url = f"/1.0/instances/{name}"
        if not work.startswith("create"):
            snapshot(api, name, "s")
        if work == "restore":
            (rootfs(daemon, name) / "etc/mark").write_text("now")
            assert api.patch(url, {"config": {"user.x": "now"}}).status == 200
        method, path, body = {"create": ("POST", f"{url}/snapshots", {"name": "s"}), "create-running": ("POST", f"{url}/snapshots", {"name": "s"}),
                              "restore": ("PUT", url, {"restore": "s"}), "delete": ("DELETE", f"{url}/snapshots/s", None),
                              "delete-instance": ("DELETE", url, None),
                              "copy": ("POST", "/1.0/instances", {"name": f"{name}-2", "source": {"type": "copy", "source": name}})}[work]
        assert api.request(method, path, body).status == 202
        time.sleep(moment / 1000)
        daemon.kill()
        daemon.start()
        staging = daemon.dir / "storage-pools/default/staging"
        assert os.listdir(staging) == [], moment
        if work == "delete-instance" and api.request("GET", url).status == 404:
            assert volumes(daemon) == [], moment
            continue
        copied = api.request("GET", f"{url}-2").status == 200
        assert len(volumes(daemon)) == len(snapshots(api, name)) * (2 if copied else 1), moment
        if copied:
            assert snapshots(api, f"{name}-2") == ["s"]
            api.remove(f"{name}-2")
        if work == "restore":
            mark, config = (rootfs(daemon, name) / "etc/mark").read_text(), api.get(url)["config"]
            assert (mark == "then") == ("user.x" not in config), (moment, mark, config)
        if work == "create-running":
            assert api.get(url)["status"] == "Running", moment
        api.remove(name)
        assert volumes(daemon) == [], moment


# --- clients ---

GO = pathlib.Path("/usr/bin/lxc")
CLIENTS = {"ours": OURS, "go": GO}


@pytest.mark.parametrize("which", CLIENTS)
def test_commands(daemon, api, stopped, which):
    if not CLIENTS[which].exists():
        pytest.skip(f"{CLIENTS[which]} is not installed")
    lxc = ClientProgram(daemon, CLIENTS[which], daemon.root / f"client-{which}-{daemon.new_name()}", key=False)
    assert lxc("snapshot", stopped) == ("", "") and lxc("snapshot", stopped, "foo") == ("", "")
    assert "already exists" in lxc("snapshot", stopped, "foo", code=1)[1]
    assert lxc("snapshot", stopped, "foo", "--reuse") == ("", "")
    assert snapshots(api, stopped) == ["snap0", "foo"]
    shown = lxc("info", stopped)[0]
    assert "Snapshots:" in shown and "TAKEN AT" in shown and "snap0" in shown
    assert lxc("list", stopped, "-c", "nS", "-f", "csv")[0] == f"{stopped},2\n"
    assert f"Snapshot {stopped}/nope does not exist" in lxc("restore", stopped, "nope", code=1)[1]
    assert lxc("restore", stopped, "foo") == ("", "")
    assert lxc("rename", f"{stopped}/foo", f"{stopped}/bar") == ("", "")
    assert "parent must be the same" in lxc("rename", f"{stopped}/bar", "c2/bar", code=1)[1]
    assert "expires_at" in lxc("config", "show", f"{stopped}/bar")[0]
    assert lxc("delete", f"{stopped}/bar") == ("", "")
    assert snapshots(api, stopped) == ["snap0"]
