"""The daemon as a process: start, second start, restart, shutdown, and a machine that fails it."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest

from conftest import make_daemon
from helpers import images
from helpers.daemon import BIN, REFERENCE, eventually
from helpers.squatter import squatter


@pytest.fixture
def spare():
    """A daemon of its own that is not started yet."""
    daemon = make_daemon("daemon-spare")
    yield daemon
    if daemon.alive:
        daemon.remove_all()
        daemon.stop()
    daemon.cleanup()


def state(daemon, name):
    return daemon.api.get(f"/1.0/instances/{name}/state")


def test_version_and_help():
    for option in ("--version", "--help"):
        result = subprocess.run([BIN / "lxd", option], capture_output=True, text=True)
        assert result.returncode == 0 and result.stdout.strip()
    assert subprocess.run([BIN / "lxd", "--no-such-flag"], capture_output=True).returncode == 1


def test_second_daemon_is_refused(daemon):
    second = subprocess.run([BIN / "lxd", "--group", "root"], env=daemon.env(), capture_output=True, text=True, timeout=60)
    assert second.returncode != 0 and second.stderr.strip()
    assert daemon.alive and daemon.api.get("/1.0")["environment"]["server_pid"] == daemon.process.pid


def test_stale_socket_is_replaced(spare):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(spare.dir / "unix.socket"))
    spare.start()
    assert spare.api.get("/1.0")["api_status"] == "stable"


def test_waitready(spare):
    result = spare.admin("waitready", "--timeout", "1", check=False)
    assert result.returncode == 1 and "LXD still not running after 1s timeout" in result.stderr
    spare.process = spare.spawn()
    assert spare.admin("waitready", "--timeout", "30").returncode == 0
    assert spare.api.get("/1.0")["auth"] == "trusted"


def test_unknown_group_is_an_error(spare):
    result = subprocess.run([BIN / "lxd", "--group", "no-such-group"], env=spare.env(), capture_output=True, text=True, timeout=60)
    assert result.returncode != 0 and "no-such-group" in result.stderr + spare.log()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_containers_go_on_without_the_daemon(daemon, api, name, sig):
    api.launch(name)
    api.sh(name, "echo before > /root/file")
    before = state(daemon, name)
    process, daemon.process = daemon.process, None
    process.send_signal(sig)
    status = process.wait(30)
    assert status == (-9 if sig == signal.SIGKILL else 0)
    assert os.path.exists(f"/proc/{before['pid']}")
    daemon.start()
    after = state(daemon, name)
    assert (after["status"], after["pid"]) == ("Running", before["pid"])
    assert api.sh(name, "cat /root/file") == "before\n"
    api.done(api.state(name, "stop", force=True))
    assert state(daemon, name)["status"] == "Stopped"


def test_a_frozen_container_is_found_frozen(daemon, api, name):
    api.launch(name)
    api.done(api.state(name, "freeze"))
    daemon.restart(signal.SIGKILL)
    assert state(daemon, name)["status"] == "Frozen"
    api.done(api.state(name, "unfreeze"))
    assert api.sh(name, "echo ok") == "ok\n"


@pytest.mark.ours
def test_a_container_that_ended_meanwhile_is_found_stopped(daemon, api, name):
    api.launch(name)
    pid = state(daemon, name)["pid"]
    daemon.kill()
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    daemon.start()
    assert state(daemon, name)["status"] == "Stopped"
    eventually(lambda: not [m for m in daemon.mounts() if name in m], what="mounts are gone")
    api.done(api.state(name, "start"))
    assert api.sh(name, "echo ok") == "ok\n"


@pytest.mark.ours
def test_a_foreign_process_is_not_adopted(daemon, api, name):
    """Whoever holds the socket of a container that does not run can name any process as its first."""
    other = daemon.new_name()
    api.launch(other)
    api.done(api.create(name))
    victim = state(daemon, other)["pid"]
    for init in (victim, 0):
        with squatter(daemon.dir / "containers" / name / "command", 65534, init):
            begin = time.monotonic()
            daemon.restart()
            assert (state(daemon, name)["status"], state(daemon, name)["pid"]) == ("Stopped", 0)
            assert state(daemon, other)["pid"] == victim
            assert f"The control socket of container {name} is held by uid 65534" in api.failure(api.state(name, "start"))
            assert time.monotonic() - begin < 20
        assert state(daemon, name)["status"] == "Stopped"
    api.done(api.state(name, "start"))
    assert api.sh(name, "echo started") == "started\n"


def test_a_running_exec_survives_nothing_but_its_container_does(daemon, api, name):
    api.launch(name)
    api.post(f"/1.0/instances/{name}/exec", {"command": ["sleep", "60"], "wait-for-websocket": False})
    daemon.restart(signal.SIGKILL)
    assert api.sh(name, "echo ok") == "ok\n"


def test_shutdown_stops_containers_and_start_brings_them_back(spare):
    spare.start()
    spare.setup()
    spare.upload(images.busybox(), "bb")
    names = [spare.new_name() for _ in range(3)]
    for name in names[:2]:
        spare.api.launch(name)
    spare.api.done(spare.api.create(names[2]))
    pids = [state(spare, name)["pid"] for name in names[:2]]
    assert spare.admin("shutdown", timeout=120).returncode == 0
    assert spare.process.wait(30) == 0
    spare.process = None
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    spare.start()
    eventually(lambda: [state(spare, name)["status"] for name in names] == ["Running", "Running", "Stopped"], timeout=30,
               what="those that ran run again")


@pytest.mark.ours
def test_shutdown_leaves_no_mount(spare):
    spare.start()
    spare.setup()
    spare.upload(images.busybox(), "bb")
    spare.api.launch(spare.new_name())
    spare.admin("shutdown", timeout=120)
    spare.process.wait(30)
    spare.process = None
    assert spare.mounts() == []
    spare.start()


def failing_start(daemon, timeout=60):
    """Starts a daemon that must give up by itself; its exit status and what it said."""
    process = daemon.spawn()
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"it did not give up:\n{daemon.log()}")
    return status, daemon.log()


@pytest.mark.ours
def test_read_only_directory(spare):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "ro", spare.dir], check=True)
    try:
        status, log = failing_start(spare)
        assert status != 0 and "Read-only file system" in log and str(spare.dir) in log
    finally:
        subprocess.run(["umount", spare.dir], check=True)


@pytest.mark.ours
def test_missing_directory_that_cannot_be_made(spare):
    shutil.rmtree(spare.dir)
    spare.dir.write_text("a file")
    status, log = failing_start(spare)
    assert status != 0 and str(spare.dir) in log
    spare.dir.unlink()
    spare.dir.mkdir()


@pytest.mark.ours
def test_damaged_database(spare):
    spare.start()
    spare.setup()
    spare.stop()
    path = spare.dir / "database" / "lxd.db"
    good = path.read_bytes()
    for suffix in ("-wal", "-shm"):
        pathlib.Path(str(path) + suffix).unlink(missing_ok=True)
    bad = b"not a database at all, " * 2000
    path.write_bytes(bad)
    status, log = failing_start(spare)
    assert status != 0 and "lxd.db" in log
    assert path.read_bytes() == bad, "the damaged file must be left for its owner to look at"
    path.write_bytes(good)
    spare.start()
    assert spare.api.get("/1.0/storage-pools/default")["name"] == "default"


@pytest.mark.ours
def test_database_of_a_newer_version(spare):
    spare.start()
    spare.stop()
    path = spare.dir / "database" / "lxd.db"
    subprocess.run(["/usr/bin/python3", "-c", "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); "
                    "db.execute('PRAGMA user_version = 999999'); db.commit()", path], check=True)
    before = path.read_bytes()
    status, log = failing_start(spare)
    assert status != 0 and "lxd.db" in log, log
    assert path.read_bytes() == before


@pytest.mark.ours
def test_full_disk(spare):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "small", spare.dir], check=True)
    try:
        spare.start()
        spare.setup()
        spare.upload(images.busybox(), "bb")
        name = spare.new_name()
        spare.api.done(spare.api.create(name))
        before = spare.api.get("/1.0/instances?recursion=1")
        (spare.dir / "filler").write_bytes(b"")
        with open(spare.dir / "filler", "wb") as filler:
            try:
                while True:
                    filler.write(bytes(65536))
                    filler.flush()
            except OSError:
                pass
        error = spare.api.failure(spare.api.create(spare.new_name()))
        assert "No space left on device" in error, error
        error = spare.api.failure(spare.api.post("/1.0/images", images.busybox("none", label="full"),
                                                 headers={"Content-Type": "application/octet-stream"}))
        assert "No space left on device" in error, error
        assert spare.alive and spare.api.get("/1.0/instances?recursion=1") == before
        (spare.dir / "filler").unlink()
        spare.restart()
        assert spare.api.get("/1.0/instances?recursion=1") == before
        other = spare.new_name()
        spare.api.done(spare.api.create(other))
        spare.remove_all()
        spare.stop()
    finally:
        if spare.alive:
            spare.kill()
        subprocess.run(["umount", "--lazy", spare.dir], check=True)


def test_log_file(spare):
    spare.start("--logfile", str(spare.root / "given.log"))
    spare.stop()
    assert (spare.root / "given.log").exists() or REFERENCE


def test_socket_path_from_the_environment(spare):
    path = spare.root / "other.socket"
    env = spare.env(LXD_SOCKET=str(path))
    with open(spare.log_path, "ab") as log:
        spare.process = subprocess.Popen([BIN / "lxd", "--group", "root"], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    spare.api.socket_path = str(path)
    spare.wait_ready()
    result = subprocess.run([BIN / "lxc", "query", "/1.0"], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert result.returncode == 0, result


@pytest.mark.ours
def test_shutdown_timeout_bounds_the_wait_for_operations(daemon, api, name):
    api.launch(name)
    assert api.patch("/1.0", {"config": {"core.shutdown_timeout": "0"}}).status == 200
    assert api.post(f"/1.0/instances/{name}/exec", {"command": ["sleep", "100"], "wait-for-websocket": False}).status == 202
    try:
        assert daemon.stop(timeout=5) == 0  # five minutes without the key
    finally:
        daemon.start()
        api.patch("/1.0", {"config": {"core.shutdown_timeout": ""}})
    assert api.get(f"/1.0/instances/{name}")["status"] == "Running"
