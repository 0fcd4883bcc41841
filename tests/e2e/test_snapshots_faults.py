"""Snapshots when writing to the database fails at one step, when others work on the same instance, and what may not happen then."""
import contextlib
import os
import sqlite3
import threading
import time

import pytest

from helpers.daemon import eventually
from test_snapshots import rootfs, snapshot, snapshots, volumes

pytestmark = pytest.mark.ours

PHASES = {"moving": 3, "restoring": 4}


@pytest.fixture
def faults(daemon):
    """Makes writes fail by triggers; they go with the next start of the daemon (which has the database for itself)."""
    def with_database(work):
        daemon.stop()
        with contextlib.closing(sqlite3.connect(daemon.dir / "database/lxd.db")) as db:
            work(db)
            db.commit()
        daemon.start()

    def make(*triggers):
        def work(db):
            for k, trigger in enumerate(triggers):
                db.execute(f"CREATE TRIGGER fault{k} BEFORE {trigger} BEGIN SELECT RAISE(FAIL, 'no room'); END")
        with_database(work)

    def mend():
        def work(db):
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
                db.execute(f"DROP TRIGGER {name}")
        with_database(work)

    make.mend = mend
    yield make
    mend()


@pytest.fixture
def restorable(daemon, api, name):
    """Has a snapshot "s" of then, and is what it is now."""
    api.done(api.create(name, config={"user.a": "then"}))
    (rootfs(daemon, name) / "etc/mark").write_text("then")
    snapshot(api, name, "s")
    (rootfs(daemon, name) / "etc/mark").write_text("now")
    assert api.patch(f"/1.0/instances/{name}", {"config": {"user.a": "now"}}).status == 200
    return name


def is_as(daemon, api, name, when):
    assert (rootfs(daemon, name) / "etc/mark").read_text() == when
    assert api.get(f"/1.0/instances/{name}")["config"]["user.a"] == when
    assert os.listdir(daemon.dir / "storage-pools/default/staging") == []


def leaving(phase, more=""):
    return f"UPDATE OF phase ON instances WHEN OLD.phase={PHASES[phase]} AND NEW.phase=0 {more}"


def test_a_restore_that_cannot_be_written_down(daemon, api, restorable, faults):
    faults(leaving("restoring", "AND NEW.config <> OLD.config"))
    assert "no room" in api.failure(api.put(f"/1.0/instances/{restorable}", {"restore": "s"}))
    is_as(daemon, api, restorable, "now")
    api.done(api.state(restorable, "start"))
    assert "no room" in api.failure(api.put(f"/1.0/instances/{restorable}", {"restore": "s"}))
    assert api.get(f"/1.0/instances/{restorable}")["status"] == "Running"
    # nothing of it is carried out later
    faults.mend()
    is_as(daemon, api, restorable, "now")
    assert api.get(f"/1.0/instances/{restorable}")["status"] == "Running"
    api.done(api.put(f"/1.0/instances/{restorable}", {"restore": "s"}))
    is_as(daemon, api, restorable, "then")


@pytest.mark.parametrize("running", [False, True])
def test_a_restore_that_can_be_neither_written_down_nor_undone(daemon, api, restorable, faults, running):
    """Nobody works on it until a restart has put in order what it is."""
    other = daemon.new_name()
    api.done(api.create(other))
    if running:
        api.done(api.state(restorable, "start"))
    faults(leaving("restoring"))
    url = f"/1.0/instances/{restorable}"
    assert "no room" in api.failure(api.put(url, {"restore": "s"}))
    for method, path, body in (("GET", url, None), ("PUT", f"{url}/state", {"action": "start"}), ("DELETE", url, None)):
        assert api.request(method, path, body).status == 404, method
    assert api.get(f"/1.0/instances/{other}")["name"] == other
    faults.mend()
    is_as(daemon, api, restorable, "now")
    assert snapshots(api, restorable) == ["s"] and api.get(url)["status"] == "Stopped"
    api.done(api.state(restorable, "start"))
    api.remove(other)


def test_a_snapshot_that_can_be_neither_made_nor_undone(daemon, api, name, faults):
    api.done(api.create(name))
    unless = "(SELECT count(*) FROM instance_snapshots WHERE name='enough') = 0"
    faults(f"UPDATE OF phase ON instance_snapshots WHEN NEW.name='snap0' AND {unless}",
           f"DELETE ON instance_snapshots WHEN OLD.name='snap0' AND {unless}")
    url = f"/1.0/instances/{name}/snapshots"
    assert "no room" in api.failure(api.post(url, {}))
    assert api.get(url) == [] and volumes(daemon) == []
    # others are made beside it, also those whose names count on
    snapshot(api, name)
    snapshot(api, name, "enough")
    assert snapshots(api, name) == ["snap1", "enough"]
    # and when it can be, it is put in order without a restart
    snapshot(api, name, "snap0")
    assert snapshots(api, name) == ["snap1", "enough", "snap0"] and len(volumes(daemon)) == 3
    faults.mend()
    api.remove(name)
    assert volumes(daemon) == []


def test_a_snapshot_whose_row_cannot_be_removed(daemon, api, name, faults):
    api.done(api.create(name))
    snapshot(api, name, "s")
    snapshot(api, name, "t")
    faults("DELETE ON instance_snapshots WHEN OLD.name='s'")
    assert "no room" in api.failure(api.delete(f"/1.0/instances/{name}/snapshots/s"))
    assert snapshots(api, name) == ["t"]
    # copies have what is there
    api.done(api.post("/1.0/instances", {"name": f"{name}-2", "source": {"type": "copy", "source": name}}))
    assert snapshots(api, f"{name}-2") == ["t"]
    faults.mend()
    assert snapshots(api, name) == ["t"] and len(volumes(daemon)) == 2
    api.remove(f"{name}-2")


@pytest.mark.parametrize("both", [False, True])
def test_a_rename_that_cannot_be_written_down(daemon, api, restorable, faults, both):
    """@both: nor can it be undone."""
    faults(leaving("moving") if both else "UPDATE OF name ON instances WHEN NEW.name LIKE '%-new'")
    url = f"/1.0/instances/{restorable}"
    assert "no room" in api.failure(api.post(url, {"name": f"{restorable}-new"}))
    assert api.request("GET", f"{url}-new").status == 404
    assert api.request("GET", url).status == (404 if both else 200)
    if both:
        faults.mend()
    is_as(daemon, api, restorable, "now")
    api.done(api.state(restorable, "start"))
    assert snapshots(api, restorable) == ["s"]


def test_a_paused_container_stays_paused(daemon, api, name):
    """A daemon that is killed while it makes a snapshot lets go on only what it has held still."""
    api.launch(name)
    api.done(api.state(name, "freeze"))
    (rootfs(daemon, name) / "large").write_bytes(os.urandom(64 << 20))
    for moment in (5, 15, 30):
        assert api.post(f"/1.0/instances/{name}/snapshots", {"name": "s"}).status == 202
        time.sleep(moment / 1000)
        daemon.kill()
        daemon.start()
        assert api.get(f"/1.0/instances/{name}")["status"] == "Frozen", moment
        if snapshots(api, name):
            api.done(api.delete(f"/1.0/instances/{name}/snapshots/s"))
        assert volumes(daemon) == []
    api.done(api.state(name, "unfreeze"))


def test_a_restore_behind_a_container_that_ends(daemon, api, name):
    """What follows its end is done first, as what it was: an instance that is not ephemeral now is not removed."""
    api.launch(name, ephemeral=True)
    snapshot(api, name, "s")
    url = f"/1.0/instances/{name}"
    for _ in range(8):
        current = api.get(url)
        put = {key: current[key] for key in ("architecture", "config", "devices", "description", "profiles")}
        assert api.put(url, {**put, "ephemeral": False}).status in (200, 202)
        eventually(lambda: not api.get(url)["ephemeral"], what="it is not ephemeral")
        pid = api.get(f"{url}/state")["pid"]
        os.kill(pid, 9)
        while api.get(url)["status"] == "Running":
            pass
        reply = api.put(url, {"restore": "s"})
        api.done(reply)
        assert api.get(url)["ephemeral"] is True  # as it was then
        api.done(api.state(name, "start"))


def test_restarts_at_once(api, name):
    """Two of one ephemeral container: whatever one of them says, it is there afterwards."""
    api.launch(name, ephemeral=True)
    for _ in range(5):
        replies = []
        threads = [threading.Thread(target=lambda: replies.append(api.wait(api.state(name, "restart", force=True)))) for _ in range(3)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert api.get(f"/1.0/instances/{name}")["name"] == name, replies
        eventually(lambda: api.get(f"/1.0/instances/{name}")["status"] == "Running", what="it runs")


def test_a_copy_is_shifted_as_its_original(api, restorable):
    """What the client says of it counts for nothing, whatever the source."""
    lie = '[{"Isuid":true,"Isgid":true,"Hostid":7000000,"Nsid":0,"Maprange":65536}]'
    key = "volatile.last_state.idmap"
    for k, source in enumerate((restorable, f"{restorable}/s")):
        api.done(api.post("/1.0/instances", {"name": f"{restorable}-{k}", "config": {key: lie, "volatile.idmap.base": "7"},
                                             "source": {"type": "copy", "source": source}}))
        config = api.get(f"/1.0/instances/{restorable}-{k}")["config"]
        assert config[key] == api.get(f"/1.0/instances/{restorable}")["config"][key] and config["volatile.idmap.base"] != "7"
        api.remove(f"{restorable}-{k}")


def test_a_snapshot_is_removed_while_it_is_read(daemon, api, name):
    """Nobody waits for who reads it; a copy is whole, or it fails."""
    api.done(api.create(name))
    for k in range(40):
        (rootfs(daemon, name) / f"part{k:02}").write_bytes(os.urandom(2 << 20))
    outcomes = set()
    for delay in (0, 10, 20, 40, 80, 500):
        snapshot(api, name, "s")
        copy = api.post("/1.0/instances", {"name": f"{name}-2", "source": {"type": "copy", "source": f"{name}/s"}})
        time.sleep(delay / 1000)
        api.done(api.delete(f"/1.0/instances/{name}/snapshots/s"))
        done = api.wait(copy)
        outcomes.add(done["status"])
        if done["status"] == "Success":
            assert len(list(rootfs(daemon, f"{name}-2").glob("part*"))) == 40, delay
            api.remove(f"{name}-2")
        else:
            assert api.request("GET", f"/1.0/instances/{name}-2").status == 404
    assert "Success" in outcomes and volumes(daemon) == []


def test_profiles_that_are_renamed(api, name):
    """A snapshot names them by their new names, as its instance does."""
    assert api.post("/1.0/profiles", {"name": "p-old", "config": {"user.p": "1"}}).status == 201
    api.done(api.create(name, profiles=["default", "p-old"]))
    snapshot(api, name, "s")
    url = f"/1.0/instances/{name}"
    current = api.get(url)
    put = {key: current[key] for key in ("architecture", "config", "devices", "description", "ephemeral")}
    assert api.put(url, {**put, "profiles": ["default"]}).status in (200, 202)
    assert api.post("/1.0/profiles/p-old", {"name": "p-new"}).status == 201
    assert api.get(f"{url}/snapshots/s")["profiles"] == ["default", "p-new"]
    api.done(api.put(url, {"restore": "s"}))
    assert api.get(url)["expanded_config"]["user.p"] == "1"
    api.remove(name)
    assert api.delete("/1.0/profiles/p-new").status == 200
