"""The audit log of a real daemon, and `lxd audit verify`: every edit is named, nothing acknowledged is lost, a full disk is no damage."""
import hashlib
import itertools
import json
import os
import pathlib
import random
import sqlite3
import subprocess
import threading
import time

import pytest

from helpers import tls
from helpers.daemon import Daemon, eventually

pytestmark = pytest.mark.ours
numbers = itertools.count()


@pytest.fixture
def daemon():
    """A daemon of its own for each test: most of them damage it."""
    one = Daemon(pathlib.Path(f"/var/tmp/lxd-e2e-audit-{time.time_ns() % 10**10}"))
    one.start()
    yield one
    if one.alive:
        one.kill()
    one.cleanup()


def change(daemon, value, timeout=60):
    """Something that the log must hold: a server key changes."""
    return daemon.api.request("PATCH", "/1.0", {"config": {"core.https_allowed_origin": value}}, timeout=timeout)


def fill(daemon, n):
    for _ in range(n):
        assert change(daemon, f"https://{next(numbers)}.example").status == 200


def log_path(daemon):
    return daemon.dir / "logs/audit.log"


def entries(daemon, name="audit.log"):
    return [json.loads(line) for line in (daemon.dir / "logs" / name).read_text().splitlines()]


def all_entries(daemon):
    """With those of files that were rotated away: a fast machine fills one in a second."""
    names = [path.name for path in (daemon.dir / "logs").glob("audit.log*")]
    return sorted((entry for name in names for entry in entries(daemon, name)), key=lambda entry: entry["seq"])


def verify(daemon):
    return daemon.admin("audit", "verify", check=False)


def assert_ok(daemon, count):
    result = verify(daemon)
    assert (result.returncode, result.stderr) == (0, ""), result
    assert result.stdout.startswith("OK: entries 1 to %d," % count), result


def assert_damaged(daemon, *texts):
    result = verify(daemon)
    assert result.returncode == 1 and result.stderr.startswith("Error: The audit log is damaged: "), result
    for text in texts:
        assert text in result.stdout, result
    return result


def warnings(daemon):
    return daemon.api.get("/1.0/warnings?recursion=1")


def test_entry(daemon):
    assert verify(daemon).stdout == "OK: no entries yet\n"
    fill(daemon, 1)
    [entry] = entries(daemon)
    assert list(entry) == ["seq", "event", "time", "verdict", "protocol", "identity", "address", "method", "path", "detail",
                           "count", "prev", "hash"]
    assert {k: entry[k] for k in ("seq", "event", "verdict", "protocol", "identity", "address", "method", "path", "detail")} == {
        "seq": 1, "event": "config-changed", "verdict": "allowed", "protocol": "unix", "identity": "root", "address": "@",
        "method": "PATCH", "path": "/1.0", "detail": "core.https_allowed_origin"}
    assert log_path(daemon).stat().st_mode & 0o7777 == 0o600
    assert "example" not in log_path(daemon).read_text()


def test_verify_beside_the_daemon_and_without_it(daemon):
    fill(daemon, 5)
    assert_ok(daemon, 5)
    daemon.stop()
    assert_ok(daemon, 5)
    before = {p: p.read_bytes() for p in (daemon.dir / "logs").iterdir() if p.is_file()}
    verify(daemon)
    assert before == {p: p.read_bytes() for p in (daemon.dir / "logs").iterdir() if p.is_file()}
    daemon.start()
    fill(daemon, 2)
    assert_ok(daemon, 7)
    assert warnings(daemon) == []


def test_verify_while_entries_are_written(daemon):
    stop = threading.Event()

    def work():
        i = 0
        while not stop.is_set():
            i += 1
            change(daemon, f"https://{threading.get_ident()}-{i}.example")
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            result = verify(daemon)
            assert result.returncode == 0, result
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert_ok(daemon, all_entries(daemon)[-1]["seq"])


def edit(lines):
    lines[2] = lines[2].replace(b"allowed", b"allowee")
    return lines


DAMAGE = {
    "byte": (edit, "audit.log line 3: entry 3 was changed"),
    "line": (lambda x: x[:2] + x[3:], "audit.log line 3: is entry 4; entries 3 to 3 are missing before it"),
    "first": (lambda x: x[1:], "audit.log line 1: is entry 2; entries 1 to 1 are missing before it"),
    "tail": (lambda x: x[:-2], "entries 5 to 6 are missing at the end"),
    "all": (lambda x: [], "entries 1 to 6 are missing at the end"),
    "swap": (lambda x: x[:1] + [x[2], x[1]] + x[3:], "audit.log line 3: is entry 2, where entry 4 should be"),
    "twice": (lambda x: x[:2] + x[1:], "audit.log line 3: is entry 2, where entry 3 should be"),
    "rubbish": (lambda x: x[:2] + [b"hello\n"] + x[2:], "audit.log line 3: is not an entry of this log"),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("running", [True, False])
def test_damage_is_found(daemon, kind, running):
    how, text = DAMAGE[kind]
    fill(daemon, 6)
    if not running:
        daemon.stop()
    lines = log_path(daemon).read_bytes().splitlines(keepends=True)
    log_path(daemon).write_bytes(b"".join(how(lines)))
    assert_damaged(daemon, text)
    if running:
        daemon.kill()
    # the daemon starts all the same, says so, and goes on with a new chain; the damage stays visible
    daemon.start()
    [warning] = warnings(daemon)
    assert (warning["type"], warning["severity"], warning["status"]) == ("Audit log damaged", "high", "new"), warning
    [segment] = [e for e in entries(daemon) if e["event"] == "audit-segment"]
    assert segment["prev"] == "0" * 64 and segment["seq"] > 6 and segment["detail"] == warning["last_message"]
    assert (daemon.dir / "logs/audit.log.1").read_bytes() == b"".join(how(lines))
    fill(daemon, 2)
    assert_damaged(daemon, "begins a new chain: the daemon found the log damaged before it")
    daemon.restart()
    assert [w["count"] for w in warnings(daemon)] == [1]
    assert [e["event"] for e in entries(daemon)].count("audit-segment") == 1
    # whoever looks at the server is told
    told = daemon.lxc("info").stderr
    assert told.startswith("Warning: Audit log damaged: "), told
    daemon.lxc("warning", "acknowledge", warning["uuid"])
    assert daemon.lxc("info").stderr == ""


def test_entry_added_beside_the_daemon(daemon):
    fill(daemon, 3)
    with open(log_path(daemon), "ab") as f:
        f.write(b'{"seq":4,"event":"nothing"}\n')
    assert_damaged(daemon, "is not an entry")
    fill(daemon, 1)
    [warning] = warnings(daemon)
    assert "cut or added to while the daemon ran" in warning["last_message"]


def test_lost_database(daemon):
    fill(daemon, 70)
    daemon.stop()
    subprocess.run(["/usr/bin/python3", "-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM audit'); c.commit()",
                    str(daemon.dir / "database/lxd.db")], check=True)
    assert_damaged(daemon, "more than a crash can leave")
    daemon.start()
    assert [w["type"] for w in warnings(daemon)] == ["Audit log damaged"]
    assert entries(daemon)[0]["seq"] == 71


def test_kill_under_load(daemon):
    acknowledged = 0
    for round_ in range(8):
        done = []

        def work(me):
            for i in range(1000):
                try:
                    if change(daemon, f"https://{round_}-{me}-{i}.example", timeout=5).status != 200:
                        return
                except Exception:  # the daemon is gone
                    return
                done.append(1)
        threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.05, 0.4))
        daemon.kill()
        for thread in threads:
            thread.join()
        acknowledged += len(done)
        # the dead daemon's log: nothing acknowledged is missing, nothing counts as damage
        result = verify(daemon)
        assert result.returncode == 0, result
        daemon.start()
        assert warnings(daemon) == []
        written = all_entries(daemon)
        assert len([e for e in written if e["event"] == "config-changed"]) >= acknowledged
        assert_ok(daemon, written[-1]["seq"])
    assert acknowledged > 20


def test_torn_entry_is_healed_and_said(daemon):
    fill(daemon, 3)
    daemon.kill()
    with open(log_path(daemon), "ab") as f:
        f.write(b'{"seq":4,"event":"conf')
    result = verify(daemon)
    assert result.returncode == 0 and "Note: the log ends in 22 bytes of an entry that was never finished" in result.stdout, result
    daemon.start()
    last = entries(daemon)[-1]
    assert last["event"] == "audit-healed" and "22 bytes of a torn entry were cut off" in last["detail"], last
    assert_ok(daemon, 4)
    assert warnings(daemon) == []


def forge(daemon, size):
    """What root can do and the documentation says: lengthen log and database so that they fit. Fills files without thousands of syncs."""
    lines = log_path(daemon).read_bytes().splitlines(keepends=True)
    last = json.loads(lines[-1])
    seq, prev, total = last["seq"], last["hash"], 0
    with open(log_path(daemon), "ab") as f:
        while total < size:
            seq += 1
            text = b'{"seq":%d,"event":"padding","detail":"%s","prev":"%s' % (seq, b"x" * 1500, prev.encode())
            prev = hashlib.sha256(text).hexdigest()
            total += f.write(text + b'","hash":"%s"}\n' % prev.encode())
    connection = sqlite3.connect(daemon.dir / "database/lxd.db")
    connection.execute("UPDATE audit SET head=?, count=?", (prev, seq))
    connection.commit()
    connection.close()
    return seq


def test_rotation_and_missing_file(daemon):
    """A large file is rotated; the chain goes on; beyond eight the oldest goes; without one of the others there is a gap."""
    fill(daemon, 1)
    rotated = [daemon.dir / f"logs/audit.log.{i}" for i in range(1, 10)]
    for i in range(9):
        daemon.stop()
        count = forge(daemon, 2 << 20)
        daemon.start()
        fill(daemon, 1)
        result = verify(daemon)
        first = json.loads(rotated[min(i, 7)].open().readline())["seq"]
        assert (result.returncode, result.stdout) == (0, f"OK: entries {first} to {count + 1}, none changed, none missing\n"), result
        assert [p.exists() for p in rotated] == [k <= i for k in range(8)] + [False]
        assert rotated[0].stat().st_mode & 0o7777 == 0o600
    assert first > 1000 and warnings(daemon) == []
    daemon.stop()
    for path in rotated[:8]:
        path.rename(daemon.root / "aside")
        assert_damaged(daemon, "missing")
        (daemon.root / "aside").rename(path)
    assert verify(daemon).returncode == 0


def test_strangers_cannot_fill_it(daemon):
    """Denials beyond a rate are counted; the count is there when the daemon ends."""
    assert daemon.api.patch("/1.0", {"config": {"core.https_address": "127.0.0.1:8443"}}).status == 200
    eventually(lambda: tls.TlsClient().request("GET", "/1.0").status == 200, what="the daemon listens")
    for _ in range(150):
        assert tls.TlsClient().request("GET", "/1.0/instances").status == 403
    denied = [e for e in entries(daemon) if e["event"] == "request-denied"]
    assert 0 < len(denied) <= 61
    assert {(e["verdict"], e["protocol"], e["path"], e["address"].rsplit(":", 1)[0]) for e in denied} == {
        ("denied", "none", "/1.0/instances", "127.0.0.1")}
    daemon.stop()
    [summary] = [e for e in entries(daemon) if e["event"] == "audit-summary"]
    assert summary["count"] + len(denied) == 150
    assert f"from 127.0.0.1 ({summary['count']})" in summary["detail"], summary
    assert verify(daemon).returncode == 0


def test_full_disk():
    """On a disk of its own that gets full: the change is refused, and nothing is damaged when there is room again."""
    root = pathlib.Path(f"/var/tmp/lxd-e2e-auditfull-{time.time_ns() % 10**10}")
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", root], check=True)
    daemon = Daemon(root / "d")
    daemon.log_path = pathlib.Path(f"{root}.log")
    try:
        daemon.start()
        fill(daemon, 3)
        filler = os.open(root / "filler", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError, match="No space"):
            while True:
                os.write(filler, b"x" * 4096)
        os.close(filler)
        statuses = [change(daemon, f"https://full-{i}.example").status for i in range(30)]
        refused = [s for s in statuses if s != 200]
        assert refused and set(refused) <= {507, 500}, statuses
        assert daemon.api.get("/1.0")["config"].get("core.https_allowed_origin") is not None
        result = verify(daemon)
        assert result.returncode == 0, result
        (root / "filler").unlink()
        fill(daemon, 2)
        assert verify(daemon).returncode == 0
        daemon.restart(9)
        assert verify(daemon).returncode == 0
        assert [w["type"] for w in warnings(daemon) if "udit" in w["type"]] == []
    finally:
        if daemon.alive:
            daemon.kill()
        eventually(lambda: subprocess.run(["umount", root]).returncode == 0, what="the small disk is free")
        root.rmdir()
        daemon.log_path.unlink(missing_ok=True)


def test_help_and_bad_usage(daemon):
    assert "lxd audit verify" in daemon.admin("audit", "--help").stdout
    for args in (["audit"], ["audit", "foo"], ["audit", "verify", "x"], ["audit", "verify", "--bogus"]):
        result = daemon.admin(*args, check=False)
        assert result.returncode == 1 and result.stderr.startswith("Error: "), result
