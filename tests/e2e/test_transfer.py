"""lxd-transfer alone: what two of them carry from one tree to another, and what a hostile sender can do to the receiver."""
import contextlib
import os
import pathlib
import select
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from helpers import trees
from helpers.daemon import BIN, eventually

pytestmark = pytest.mark.ours
TRANSFER = BIN / "lxd-transfer"
RECEIVER_CAPS = sum(1 << n for n in (0, 1, 3, 4, 27, 31))  # chown, dac_override, fowner, fsetid, mknod, setfcap
SENDER_CAPS = 1 << 2  # dac_read_search


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="lxd-e2e-transfer-") as path:
        root = pathlib.Path(path)
        for name in ("source", "target", "victim"):
            (root / name).mkdir()
        yield root
        subprocess.run(["chattr", "-R", "-i", path], check=False, capture_output=True)


@contextlib.contextmanager
def program(mode, folder, *features, **kwargs):
    """lxd-transfer with its pipes; the folder is its fd 3."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    high = os.dup2(fd, 200)
    os.close(fd)
    p = subprocess.Popen([TRANSFER, mode, *features], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         preexec_fn=lambda: os.dup2(high, 3), pass_fds=(3,), **kwargs)
    os.close(high)
    try:
        yield p
    finally:
        if p.poll() is None:
            p.kill()
        p.wait()
        for stream in (p.stdin, p.stdout, p.stderr):
            with contextlib.suppress(OSError):
                stream.close()


def pump(source, sink, change=lambda data: data):
    """Bytes from one pipe to the other until the end; @change sees them on the way."""
    with contextlib.suppress(OSError, ValueError):
        while True:
            data = os.read(source.fileno(), 65536)
            if not data:
                break
            sink.write(change(data))
            sink.flush()
    with contextlib.suppress(OSError, ValueError):
        sink.close()


def connect(sender, receiver, change=lambda data: data):
    threads = [threading.Thread(target=pump, args=(sender.stdout, receiver.stdin, change), daemon=True),
               threading.Thread(target=pump, args=(receiver.stdout, sender.stdin), daemon=True)]
    for thread in threads:
        thread.start()
    return threads


def carry(source, target, *features, change=lambda data: data, timeout=60):
    """(exit code, stderr) of both sides."""
    with program("send", source, *features) as s, program("receive", target, *features) as r:
        connect(s, r, change)
        r.wait(timeout)
        with contextlib.suppress(subprocess.TimeoutExpired):
            s.wait(10)
        if s.poll() is None:
            s.kill()
        return (s.wait(), s.stderr.read().decode()), (r.returncode, r.stderr.read().decode())


@pytest.mark.parametrize("features", [["xattrs", "hardlinks", "acls"], ["xattrs", "compress", "hardlinks", "acls"],
                                      ["xattrs", "compress"], ["xattrs"]], ids="-".join)
def test_everything_arrives(place, features):
    trees.fill(place / "source")
    trees.add_acls(place / "source")
    sent, received = carry(place / "source", place / "target", *features)
    assert (sent, received) == ((0, ""), (0, ""))
    keep = {"links": "hardlinks" in features, "acls": "acls" in features}
    one, other = trees.manifest(place / "source", **keep), trees.manifest(place / "target", **keep)
    if "acls" not in features:  # the group bits of a file with an ACL are its mask
        one.pop(b"suid"), other.pop(b"suid")
    assert trees.differences(one, other) == []


def test_host_attributes_stay_at_home(place):
    """Attributes of the host's security modules and overlay mounts are neither sent nor set."""
    (place / "source" / "f").write_text("x")
    os.setxattr(place / "source" / "f", "trusted.overlay.opaque", b"y")
    os.setxattr(place / "source" / "f", "user.mine", b"z")
    assert carry(place / "source", place / "target", "xattrs") == ((0, ""), (0, ""))
    assert [n for n in os.listxattr(place / "target" / "f") if n != "security.selinux"] == ["user.mine"]


def rsync_sender(folder, *options):
    """A sender outside of any jail, as another server runs one; its peer is our pipes."""
    relay = "import os,sys,threading\ndef c(a,b):\n while True:\n  d=os.read(a,65536)\n  if not d: break\n  os.write(b,d)\n" \
            "threading.Thread(target=c,args=(0,211),daemon=True).start()\nc(210,1)\n"
    path = folder.parent / "relay.py"
    path.write_text(relay)
    to_peer, from_peer = os.pipe(), os.pipe()
    os.dup2(from_peer[0], 210)
    os.dup2(to_peer[1], 211)
    p = subprocess.Popen(["rsync", "-a", "--numeric-ids", *options, f"--rsh=/usr/bin/python3 {path}", f"{folder}/", "x:/"],
                         pass_fds=(210, 211), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for fd in (210, 211, from_peer[0], to_peer[1]):
        os.close(fd)
    p.stdout, p.stdin = os.fdopen(to_peer[0], "rb", 0), os.fdopen(from_peer[1], "wb", 0)
    return p


def attack(place, change, *options, features=("xattrs",)):
    """What the receiver makes of a real sender's stream with @change applied."""
    sender = rsync_sender(place / "source", *options)
    with program("receive", place / "target", *features) as r:
        connect(sender, r, change)
        try:
            r.wait(20)
        except subprocess.TimeoutExpired:
            r.kill()
        sender.kill()
        sender.wait()
        sender.stderr.close()
        return r.wait()


def outside(place):
    """All that is beside the target, and must not change."""
    return {name: trees.manifest(place / name) for name in ("source", "victim")} | {
        "names": sorted(p.name for p in place.iterdir() if p.name != "relay.py")}


NAMES = {  # same length as "XXEVILXX-file"
    "upwards": b"../victim/abc",
    "far-upwards": b"../../../../x",
    "absolute": b"/var/tmp/xxxx",
    "through-dot": b"./../victim/a",
    "inner-upwards": b"d/../../vic/a",
    "double": b"//..//..///ab",
    "nothing": b"/////////////",
    "dots": b"..///////////",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_that_lead_out(place, name):
    assert len(name) == len(b"XXEVILXX-file")
    (place / "source" / "XXEVILXX-file").write_text("evil")
    (place / "source" / "d").mkdir()
    (place / "victim" / "kept").write_text("safe")
    before = outside(place)
    seen = []

    def change(data):
        seen.append(data.count(b"XXEVILXX-file"))
        return data.replace(b"XXEVILXX-file", name)

    attack(place, change, "--xattrs")
    assert sum(seen), "the name was not in the stream as plain text"
    assert outside(place) == before
    assert not pathlib.Path("/var/tmp/xxxx").exists() and not pathlib.Path("/x").exists()


@pytest.mark.parametrize("link", ["victim-absolute", "victim-relative", "usr", "root"])
def test_symbolic_links_lead_nowhere(place, link):
    """The list says that a file lies in a folder which the same list has as a symbolic link."""
    target = {"victim-absolute": str(place / "victim"), "victim-relative": "../victim", "usr": "/usr", "root": "/"}[link]
    (place / "victim" / "kept").write_text("safe")
    (place / "source" / "aaaa").symlink_to(target)
    (place / "source" / "bbbb").mkdir()
    (place / "source" / "bbbb" / "planted-by-test").write_text("evil")
    before = outside(place)
    attack(place, lambda data: data.replace(b"bbbb", b"aaaa"), "--xattrs")
    assert outside(place) == before
    for folder in ("/usr", "/", "/var/tmp"):
        assert not pathlib.Path(folder, "planted-by-test").exists()


def test_a_link_that_is_already_there(place):
    """A second run into a tree that holds links: still nothing outside is written, or read back."""
    (place / "victim" / "secret").write_text("safe")
    (place / "target" / "dir").symlink_to(place / "victim")
    (place / "source" / "dir").mkdir()
    (place / "source" / "dir" / "secret").write_text("evil")
    before = outside(place)
    attack(place, lambda data: data)
    assert outside(place) == before
    assert (place / "victim" / "secret").read_text() == "safe"


@pytest.mark.parametrize("noise", [b"", b"\x00", b"\xff" * 64, b"SSH-2.0\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x20\x00\x00\x00" + b"\xff" * 4096,
                                   b"\x20\x00\x00\x00" + bytes(range(256)) * 64])
def test_no_rsync_at_all(place, noise):
    with program("receive", place / "target") as r:
        with contextlib.suppress(BrokenPipeError):
            r.stdin.write(noise)
            r.stdin.close()
        assert r.wait(20) not in (0, 125)
        assert r.stderr.read()
    assert list((place / "target").iterdir()) == []


@pytest.mark.parametrize("at", [10, 200, 1000, 5000, 60000])
def test_flipped_bytes(place, at):
    """A stream that is damaged somewhere: the receiver fails or copes, and stays inside."""
    trees.fill(place / "source")
    before = outside(place)
    done = [0]

    def change(data):
        start, done[0] = done[0], done[0] + len(data)
        if start <= at < done[0]:
            data = bytearray(data)
            for k in range(at - start, min(at - start + 8, len(data))):
                data[k] ^= 0x5a
        return bytes(data)

    attack(place, change, "--xattrs")
    assert outside(place) == before


def status(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def inner(p):
    """Process ids of the jail: the children of @p and theirs."""
    found, queue = [], [p.pid]
    while queue:
        pid = queue.pop()
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found += children
        queue += children
    return found


@pytest.mark.parametrize("mode", ["receive", "send"])
def test_confinement(place, mode):
    (place / "source" / "f").write_text("x")
    wanted = 2 if mode == "send" else 1  # the sender has the relay beside it
    with program(mode, place / ("source" if mode == "send" else "target"), "xattrs") as p:
        def ready():
            pids = inner(p)
            return pids if len(pids) >= wanted and all(status(pid)["Seccomp"] == "2" for pid in pids) else None
        for pid in eventually(ready, what="the jail is closed"):
            eventually(lambda: pathlib.Path(f"/proc/{pid}/exe").resolve().name in ("rsync", "lxd-transfer"))
            s = status(pid)
            caps = SENDER_CAPS if mode == "send" else RECEIVER_CAPS
            assert s["NoNewPrivs"] == "1" and s["Groups"].split() == []
            for which in ("CapEff", "CapPrm", "CapBnd"):
                assert int(s[which], 16) == caps, which
            for which in ("CapInh", "CapAmb"):
                assert int(s[which], 16) == 0
            for space in ("mnt", "pid", "net", "ipc", "uts"):
                assert os.readlink(f"/proc/{pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}"), space
            mounts = {line.split()[4]: line.split() for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()}
            assert set(mounts) - {"/lib", "/lib32", "/lib64", "/bin"} == {"/", "/usr", "/tree", "/lxd-transfer"}
            for point, fields in mounts.items():
                options = fields[5].split(",")
                assert ("rw" in options) == (point == "/tree" and mode == "receive"), (point, options)
                assert {"nosuid", "nodev"} <= set(options)
            assert "noexec" in mounts["/tree"][5]
            for fd in os.listdir(f"/proc/{pid}/fd"):
                assert os.readlink(f"/proc/{pid}/fd/{fd}").split(":")[0] in ("pipe", "socket", "/dev/null"), fd


def test_the_jail_dies_with_its_owner(place):
    with program("receive", place / "target") as p:
        pids = eventually(lambda: inner(p), what="the jail is there")
        os.kill(p.pid, signal.SIGKILL)
        p.wait()
        for pid in pids:
            eventually(lambda: not pathlib.Path(f"/proc/{pid}").exists(), what=f"process {pid} has ended")


@pytest.mark.parametrize("arguments", [[], ["take"], ["send", "everything"], ["receive", "-e"]])
def test_bad_arguments(arguments):
    result = subprocess.run([TRANSFER, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10)
    assert result.returncode == 125 and result.stderr.count("\n") == 1
