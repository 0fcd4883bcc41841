"""Migration without a client: the test ties two servers together, or is one of them. What breaks, and what a hostile server can do."""
import contextlib
import os
import subprocess
import threading
import time

import pytest

from helpers import tls, trees
from helpers.daemon import Daemon, eventually
from helpers.migration import Tie
from test_migration import PAIRS, PORTS, fresh, gone, leftovers, needs, prepare, rootfs, same_tree, servers  # noqa: F401  fixtures

pytestmark = pytest.mark.ours


@pytest.fixture
def plain(servers):
    return f"{servers['o'].prefix}plain"


@contextlib.contextmanager
def tie(servers, source, name, target, new_name, **kwargs):
    t = Tie(servers[source].api, name, servers[target].api, new_name, **kwargs)
    try:
        yield t
    finally:
        t.close()


@pytest.mark.parametrize("pair", PAIRS)
def test_both_sides_succeed(servers, plain, fresh, pair):
    source, target = pair
    needs(servers, source, target)
    with tie(servers, source, plain, target, fresh) as t:
        ends = t.results()
        assert [e["status"] for e in ends] == ["Success", "Success"], ends
        assert t.seen[-1][0] == "target" or any(side == "target" and payload[:2] == b"\x08\x01" for side, _, payload in t.seen)
    same_tree(servers, source, target, plain, fresh, False)


def test_progress_and_operations(servers, plain, fresh):
    with tie(servers, "o", plain, "p", fresh, hold_after=100_000) as t:
        assert t.held.wait(20)
        for api, op, text in ((servers["o"].api, t.source_op, "Migrating instance"), (servers["p"].api, t.target_op, "Creating instance")):
            assert op["class"] == "websocket" and op["description"] == text and op["may_cancel"] is True
            shown = api.get(f"/1.0/operations/{op['id']}")
            assert {"control", "fs"} <= set(shown["metadata"])
            progress = lambda api=api, op=op: api.get(f"/1.0/operations/{op['id']}")["metadata"].get("fs_progress")
            assert "/s)" in eventually(progress, what="progress is shown")
        # not there yet
        assert servers["p"].api.request("GET", f"/1.0/instances/{fresh}").status == 404
        assert fresh not in " ".join(servers["p"].api.get("/1.0/instances"))
        t.go.set()
        assert [e["status"] for e in t.results()] == ["Success", "Success"]


@pytest.mark.parametrize("hold", [0, 3000, 300_000, 2_000_000])
@pytest.mark.parametrize("pair", PAIRS)
def test_connection_cut(servers, plain, fresh, pair, hold):
    source, target = pair
    needs(servers, source, target)
    with tie(servers, source, plain, target, fresh, hold_after=hold) as t:
        assert t.held.wait(20)
        t.cut()
        ends = t.results()
    for end in ends:
        assert end is None or end["status"] == "Failure", ends
    if target != "r":
        assert ends[1]["err"]
        gone(servers[target], fresh)
    assert servers[source].api.get(f"/1.0/instances/{plain}")["status"] == "Stopped"


@pytest.mark.parametrize("side", ["source", "target"])
def test_cancel(servers, plain, fresh, side):
    with tie(servers, "o", plain, "p", fresh, hold_after=100_000) as t:
        assert t.held.wait(20)
        api, op = (servers["o"].api, t.source_op) if side == "source" else (servers["p"].api, t.target_op)
        assert api.request("DELETE", f"/1.0/operations/{op['id']}").status == 200
        t.go.set()
        ends = t.results()
        assert ends[side == "target"]["status"] == "Cancelled" and ends[side == "source"]["status"] == "Failure", ends
        assert "cancelled" in ends[side == "source"]["err"], "the other side is told why"
    gone(servers["p"], fresh)


def test_source_is_deleted_meanwhile(servers, fresh):
    """The deletion waits for the transfer, which therefore is complete; then the source is gone."""
    api, other = servers["o"].api, fresh + "x"
    api.done(api.create(fresh))
    trees.fill(rootfs(servers["o"], fresh))
    wanted = trees.manifest(rootfs(servers["o"], fresh), devices=False)
    try:
        with tie(servers, "o", fresh, "p", other, hold_after=500_000) as t:
            assert t.held.wait(20)
            deletion = api.delete(f"/1.0/instances/{fresh}")
            assert deletion.status == 202
            time.sleep(0.5)
            assert api.get(deletion.json["operation"])["status"] == "Running"
            t.go.set()
            assert [e["status"] for e in t.results()] == ["Success", "Success"]
            api.done(deletion)
        gone(servers["o"], fresh)
        got = trees.manifest(rootfs(servers["p"], other), devices=False)
        for key in (b".",):
            wanted[key].pop("mtime"), got[key].pop("mtime")
        assert trees.differences(wanted, got) == []
    finally:
        servers["p"].api.remove(other)


def test_source_is_gone_before_it_begins(servers, fresh):
    api = servers["o"].api
    api.done(api.create(fresh))
    op = api.post(f"/1.0/instances/{fresh}", {"migration": True}).json["metadata"]
    api.done(api.delete(f"/1.0/instances/{fresh}"))
    sockets = [api.websocket(f"/1.0/operations/{op['id']}/websocket?secret={op['metadata'][k]}") for k in ("control", "fs")]
    try:
        _, payload = sockets[0].recv()
        assert b"Instance not found" in payload
        end = api.request("GET", f"/1.0/operations/{op['id']}/wait?timeout=20").metadata
        assert end["status"] == "Failure" and end["err"] == "Instance not found"
    finally:
        for s in sockets:
            s.close()


@pytest.mark.parametrize("hold", [0, 3000, 2_000_000])
@pytest.mark.parametrize("victim", ["source", "target"])
def test_kill_9(servers, plain, fresh, victim, hold):
    key = "o" if victim == "source" else "p"
    with tie(servers, "o", plain, "p", fresh, hold_after=hold) as t:
        assert t.held.wait(20)
        servers[key].kill()
        t.cut()
        servers[key].start()
        other, op = (servers["p"].api, t.target_op) if victim == "source" else (servers["o"].api, t.source_op)
        end = other.request("GET", f"/1.0/operations/{op['id']}/wait?timeout=30", timeout=40).metadata
        assert end["status"] == "Failure" and end["err"], end
    gone(servers["p"], fresh)
    assert leftovers(servers["o"]) == []
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "lxd-transfer" not in processes
    with tie(servers, "o", plain, "p", fresh) as t:
        assert [e["status"] for e in t.results()] == ["Success", "Success"]
    same_tree(servers, "o", "p", plain, fresh, False)


def test_secrets(servers, plain, fresh):
    """Good once, each for one socket, and nobody else's business."""
    api = servers["o"].api
    op = api.post(f"/1.0/instances/{plain}", {"migration": True}).json["metadata"]
    path = f"/1.0/operations/{op['id']}/websocket"
    secrets = op["metadata"]
    assert len(secrets["control"]) == len(secrets["fs"]) == 64 and secrets["control"] != secrets["fs"]
    events = api.get(f"/1.0/operations/{op['id']}")
    assert events["metadata"]["control"] == secrets["control"]
    nobody = tls.TlsClient(port=PORTS["o"])
    stranger = tls.TlsClient(tls.make_certificate(servers["o"].root / "certs", "stranger"), port=PORTS["o"])
    for client in (nobody, stranger, servers["o"].api):
        for secret in ("", "x", secrets["control"][:-1], secrets["control"] + "0", secrets["control"].upper().replace("0", "1")):
            with pytest.raises(Exception) as refused:
                client.websocket(f"{path}?secret={secret}")
            assert getattr(refused.value, "status", 0) in (400, 403, 500), refused.value
        assert client.request("GET", f"{path}?secret={secrets['fs']}").status in (400, 403), "not a websocket"
    first = nobody.websocket(f"{path}?secret={secrets['control']}")
    for client in (nobody, api):
        with pytest.raises(Exception) as refused:
            client.websocket(f"{path}?secret={secrets['control']}")
        assert refused.value.status == 403
    api.websocket(f"{path}?secret={secrets['fs']}").close()  # the requests that were no websockets have not used it up
    first.close()
    assert api.request("GET", f"/1.0/operations/{op['id']}/wait?timeout=40", timeout=60).metadata["status"] == "Failure"


def test_nobody_connects(servers, plain, fresh):
    """After ten seconds the operation ends by itself, and the name is free again."""
    source = servers["o"].api.post(f"/1.0/instances/{plain}", {"migration": True})
    request = {"name": fresh, "type": "container", "config": {}, "profiles": ["default"], "source": {"type": "migration", "mode": "push"}}
    target = servers["p"].api.post("/1.0/instances", request)
    taken = servers["p"].api.post("/1.0/instances", request)
    assert taken.status == 409 and "already exists" in taken.error
    for api, reply in ((servers["o"].api, source), (servers["p"].api, target)):
        assert api.failure(reply, timeout=20) == "Timed out waiting for connections"
    gone(servers["p"], fresh)
    again = servers["p"].api.post("/1.0/instances", request)
    assert again.status == 202
    servers["p"].api.request("DELETE", again.json["operation"])
    servers["p"].api.wait(again)


BAD_SOURCES = [
    ({"mode": "zz"}, 501, 'Mode "zz" not implemented'),
    ({"mode": "pull"}, 400, "Missing the operation"),
    ({"mode": "pull", "operation": "http://127.0.0.1/1.0/operations/x"}, 400, "only https"),
    ({"mode": "pull", "operation": "https://127.0.0.1:99999/1.0/operations/x"}, 400, "port"),
    ({"mode": "pull", "operation": "https://u:p@127.0.0.1/1.0/operations/x"}, 400, "user name"),
    ({"mode": "pull", "operation": "https://127.0.0.1/etc/passwd"}, 400, "not the URL of an operation"),
    ({"mode": "pull", "operation": "https://127.0.0.1/1.0/operations/x?y=z"}, 400, "not the URL of an operation"),
    ({"mode": "pull", "operation": "https://127.0.0.1/1.0/operations/x"}, 400, "Missing control secret"),
    ({"mode": "pull", "operation": "https://127.0.0.1/1.0/operations/x", "secrets": {"control": "a"}}, 400, "Missing fs secret"),
    ({"mode": "pull", "operation": "https://127.0.0.1/1.0/operations/x", "secrets": {"control": "a", "fs": "b"}, "certificate": "junk"}, 400, "PEM"),
    ({"mode": "push", "live": True}, 400, "Live migration"),
    ({"mode": "push", "refresh": True}, 400, "Refreshing"),
]


@pytest.mark.parametrize("source,status,text", BAD_SOURCES, ids=[f"{k}" for k in range(len(BAD_SOURCES))])
def test_bad_requests(servers, fresh, source, status, text):
    api = servers["o"].api
    reply = api.post("/1.0/instances", {"name": fresh, "config": {}, "profiles": ["default"], "source": {"type": "migration", **source}})
    assert reply.status == status and text in reply.error, reply
    gone(servers["o"], fresh)


@pytest.mark.parametrize("certificate", ["right", "other", "none"])
def test_whom_the_sink_believes(servers, plain, fresh, certificate):
    """The pinned certificate and no other; without one the system's authorities, which do not know our servers."""
    pem = {"right": servers["o"].api.get("/1.0")["environment"]["certificate"],
           "other": servers["p"].api.get("/1.0")["environment"]["certificate"], "none": ""}[certificate]
    op = servers["o"].api.post(f"/1.0/instances/{plain}", {"migration": True}).json["metadata"]
    reply = servers["p"].api.post("/1.0/instances", {
        "name": fresh, "config": {}, "profiles": ["default"], "source": {
            "type": "migration", "mode": "pull", "operation": f"https://127.0.0.1:{PORTS['o']}/1.0/operations/{op['id']}",
            "secrets": op["metadata"], "certificate": pem}})
    end = servers["p"].api.wait(reply)
    if certificate == "right":
        assert end["status"] == "Success", end
        return
    assert end["status"] == "Failure" and "Connect to the other server's operation" in end["err"], end
    gone(servers["p"], fresh)
    servers["o"].api.request("DELETE", f"/1.0/operations/{op['id']}")


class Hostile:
    """A source that the test plays, against our sink in push mode."""

    def __init__(self, api, name, **more):
        self.api = api
        reply = api.post("/1.0/instances", {"name": name, "type": "container", "config": {}, "profiles": ["default"],
                                            "source": {"type": "migration", "mode": "push"}, **more})
        assert reply.status == 202, reply
        self.op = reply.json["metadata"]
        self.control, self.fs = (api.websocket(f"/1.0/operations/{self.op['id']}/websocket?secret={self.op['metadata'][k]}")
                                 for k in ("control", "fs"))

    def end(self):
        return self.api.request("GET", f"/1.0/operations/{self.op['id']}/wait?timeout=40", timeout=50).metadata


OFFER = b"\x08\x008\x00B\x08\x08\x01\x10\x01\x18\x01 \x01h\x01"


@pytest.mark.parametrize("message,text", [
    (b"", "Invalid migration header"), (b"\xff" * 40, "Invalid migration header"), (b"\x08\x00", "too old"),
    (b"\x08\x00\x12\x04boom", "boom"), (b"\x08\x01\x12\x00", "ends the migration before"), (OFFER + b"\x10\x02", "running"),
    (OFFER + b"\x22\x02s0", "snapshots"), (OFFER + b"\x1a\x02\x08\x01", "Invalid migration header"), (b"\x00" * (2 << 20), ""),
], ids=range(9))
def test_hostile_header(servers, fresh, message, text):
    h = Hostile(servers["o"].api, fresh)
    with contextlib.suppress(OSError):
        h.control.send(message)
    end = h.end()
    assert end["status"] == "Failure" and text in end["err"], end
    gone(servers["o"], fresh)


@pytest.mark.parametrize("noise", [b"\x00" * 100, b"\xff" * 100_000, b"\x20\x00\x00\x00" + os.urandom(50_000), None], ids=["zeros", "ones", "random", "text"])
def test_hostile_stream(servers, fresh, noise):
    h = Hostile(servers["o"].api, fresh)
    h.control.send(OFFER)
    assert h.control.recv()[1][:2] == b"\x08\x00"
    with contextlib.suppress(OSError):
        if noise is None:
            h.fs.send_text("this is not binary")
        else:
            h.fs.send(noise)
            h.fs.barrier()
    end = h.end()
    assert end["status"] == "Failure" and "Transfer of the files failed" in end["err"], end
    gone(servers["o"], fresh)


def test_control_flood(servers, fresh):
    h = Hostile(servers["o"].api, fresh)
    h.control.send(OFFER)
    with contextlib.suppress(OSError):
        for _ in range(100_000):
            h.control.send(b"\x08\x01\x12\x00")
    assert h.end()["status"] == "Failure"
    gone(servers["o"], fresh)


def rsync_from(folder, h):
    """A real sender outside of any jail, into the sink."""
    relay = folder.parent / "relay.py"
    relay.write_text("import os,threading\ndef c(a,b):\n while True:\n  d=os.read(a,65536)\n  if not d: break\n  os.write(b,d)\n"
                     "threading.Thread(target=c,args=(0,211),daemon=True).start()\nc(210,1)\n")
    to_peer, from_peer = os.pipe(), os.pipe()
    os.dup2(from_peer[0], 210)
    os.dup2(to_peer[1], 211)
    sender = subprocess.Popen(["rsync", "-a", "--numeric-ids", "--xattrs", "--compress", f"--rsh=/usr/bin/python3 {relay}", f"{folder}/", "x:/"],
                              pass_fds=(210, 211), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for fd in (210, 211, from_peer[0], to_peer[1]):
        os.close(fd)

    def up():
        with contextlib.suppress(OSError):
            while data := os.read(to_peer[0], 65536):
                h.fs.send(data)
            h.fs.barrier()

    def down():
        with contextlib.suppress(OSError, TypeError):
            while (frame := h.fs.recv(60)) and frame != (1, b""):
                os.write(from_peer[1], frame[1])
        os.close(from_peer[1])
    for fn in (up, down):
        threading.Thread(target=fn, daemon=True).start()
    return sender


def root_is_a_link(folder, victim):
    (folder / "rootfs").symlink_to(victim)


def root_is_a_file(folder, victim):
    (folder / "rootfs").write_text("x")


def no_root(folder, victim):
    (folder / "metadata.yaml").write_text("x")
    (folder / "rootfs").symlink_to("nowhere")


def templates_are_a_link(folder, victim):
    (folder / "rootfs").mkdir()
    (folder / "templates").symlink_to(victim)


def template_is_a_link(folder, victim):
    (folder / "rootfs").mkdir()
    (folder / "templates").mkdir()
    (folder / "templates" / "t.tpl").symlink_to(victim / "kept")


def template_is_a_device(folder, victim):
    (folder / "rootfs").mkdir()
    (folder / "templates").mkdir()
    os.mknod(folder / "templates" / "t.tpl", 0o20666, os.makedev(1, 3))


def metadata_is_a_link(folder, victim):
    (folder / "rootfs").mkdir()
    (folder / "metadata.yaml").symlink_to(victim / "kept")


@pytest.mark.parametrize("make", [root_is_a_link, root_is_a_file, no_root, templates_are_a_link, template_is_a_link, template_is_a_device, metadata_is_a_link],
                         ids=lambda f: f.__name__)
def test_hostile_volume(servers, fresh, tmp_path, make):
    victim, folder = tmp_path / "victim", tmp_path / "volume"
    victim.mkdir()
    folder.mkdir()
    (victim / "kept").write_text("safe")
    make(folder, victim)
    h = Hostile(servers["o"].api, fresh)
    h.control.send(OFFER)
    h.control.recv()
    sender = rsync_from(folder, h)
    end = h.end()
    sender.kill()
    sender.wait()
    assert end["status"] == "Failure" and "eceived" in end["err"], end
    assert [p.name for p in victim.iterdir()] == ["kept"] and (victim / "kept").read_text() == "safe"
    gone(servers["o"], fresh)


def test_what_lies_beside_the_root_is_dropped(servers, fresh, tmp_path):
    folder = tmp_path / "volume"
    (folder / "rootfs").mkdir(parents=True)
    (folder / "rootfs" / "f").write_text("x")
    (folder / "backup.yaml").write_text("secret: of the other server")
    (folder / "other").mkdir()
    os.chmod(folder, 0o777)
    os.chown(folder, 1000, 1000)
    h = Hostile(servers["o"].api, fresh)
    h.control.send(OFFER)
    h.control.recv()
    sender = rsync_from(folder, h)
    assert h.end()["status"] == "Success"
    sender.kill()
    sender.wait()
    volume = rootfs(servers["o"], fresh).parent
    assert sorted(p.name for p in volume.iterdir()) == ["rootfs", "templates"]
    st = os.stat(volume)
    assert (st.st_mode & 0o7777, st.st_uid, st.st_gid) == (0o100, 0, 0)


def test_shifted_source(servers, fresh):
    """A source that keeps its files shifted on disk: the map travels along, and the owners are right inside."""
    needs(servers, "r")
    shifted = Daemon(f"{servers['o'].root}-s", reference=True)
    shifted.extra_env = {"LXD_IDMAPPED_MOUNTS_DISABLE": "1"}
    name = fresh + "s"
    try:
        shifted.start()
        prepare(shifted, 18446)
        shifted.api.done(shifted.api.create(name))
        trees.fill(rootfs(shifted, name), devices=False)
        shifted.api.done(shifted.api.state(name, "start"))
        shifted.api.done(shifted.api.state(name, "stop", force=True))
        if os.stat(rootfs(shifted, name) / "plain").st_uid == 1000:
            pytest.skip("the reference does not shift here")
        t = Tie(shifted.api, name, servers["o"].api, fresh)
        try:
            assert [e["status"] for e in t.results()] == ["Success", "Success"]
        finally:
            t.close()
        api = servers["o"].api
        assert "Hostid" in api.get(f"/1.0/instances/{fresh}")["config"]["volatile.last_state.idmap"]
        api.done(api.state(fresh, "start"))
        assert api.sh(fresh, "stat -c %u:%g /plain /suid /bin/busybox").split() == ["1000:1001", "5:6", "0:0"]
        api.done(api.state(fresh, "stop", force=True))
        # and on to the next server
        t = Tie(api, fresh, servers["p"].api, fresh)
        try:
            assert [e["status"] for e in t.results()] == ["Success", "Success"]
        finally:
            t.close()
        servers["p"].api.done(servers["p"].api.state(fresh, "start"))
        assert servers["p"].api.sh(fresh, "stat -c %u:%g /plain").split() == ["1000:1001"]
    finally:
        if shifted.alive:
            shifted.api.remove(name)
            shifted.stop(timeout=60)
        shifted.cleanup()
