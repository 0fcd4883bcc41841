"""Start, stop, restart, freeze, unfreeze, and what GET state tells."""
import os
import time

import pytest

from helpers.daemon import eventually


def status(api, name):
    return api.get(f"/1.0/instances/{name}")["status"]


@pytest.fixture
def started(api, name):
    api.launch(name)
    return name


def test_start_and_state(api, started):
    api.sh(started, "ip link set lo up")
    instance = api.get(f"/1.0/instances/{started}")
    assert (instance["status"], instance["status_code"]) == ("Running", 103)
    state = api.get(f"/1.0/instances/{started}/state")
    assert (state["status"], state["status_code"]) == ("Running", 103)
    assert state["pid"] > 1 and state["processes"] >= 1
    assert state["network"]["lo"]["addresses"][0] == {"family": "inet", "address": "127.0.0.1", "netmask": "8", "scope": "local"}
    assert state["network"]["lo"]["type"] == "loopback"
    assert state["memory"]["usage"] > 0 and state["cpu"]["usage"] > 0
    assert not instance["last_used_at"].startswith("1970")


def test_state_of_a_stopped_instance(api, name):
    api.done(api.create(name))
    state = api.get(f"/1.0/instances/{name}/state")
    assert (state["status"], state["pid"], state["processes"], state["network"]) == ("Stopped", 0, 0, None)
    assert state["cpu"]["usage"] == 0 and state["memory"]["usage"] == 0


def test_start_twice(api, started):
    assert api.failure(api.state(started, "start")) == "The instance is already running"


def test_stop_by_force(api, started):
    begin = time.monotonic()
    api.done(api.state(started, "stop", force=True))
    assert time.monotonic() - begin < 10
    assert status(api, started) == "Stopped"
    assert api.failure(api.state(started, "stop", force=True)) == "The instance is already stopped"


def test_clean_stop(api, started):
    api.done(api.state(started, "stop", timeout=20))
    assert status(api, started) == "Stopped"


def test_clean_stop_that_times_out_leaves_it_running(api, started):
    api.sh(started, "printf '#!/bin/sh\\ntrap : PWR INT TERM HUP USR1 USR2\\nwhile :; do sleep 1; done\\n' >/sbin/deaf; chmod 755 /sbin/deaf")
    api.done(api.state(started, "stop", force=True))
    assert api.patch(f"/1.0/instances/{started}", {"config": {"raw.lxc": "lxc.init.cmd = /sbin/deaf"}}).status == 200
    api.done(api.state(started, "start"))
    operation = api.wait(api.state(started, "stop", timeout=1))
    assert operation["status"] == "Failure" and operation["err"]
    assert status(api, started) == "Running"
    api.done(api.state(started, "stop", timeout=0, force=True))


def test_restart_by_force(api, started):
    before = api.get(f"/1.0/instances/{started}/state")["pid"]
    api.done(api.state(started, "restart", force=True))
    assert status(api, started) == "Running"
    assert api.get(f"/1.0/instances/{started}/state")["pid"] != before


def test_clean_restart(api, started):
    before = api.get(f"/1.0/instances/{started}/state")["pid"]
    api.done(api.state(started, "restart", timeout=20))
    eventually(lambda: status(api, started) == "Running", what="running after a restart")
    assert api.get(f"/1.0/instances/{started}/state")["pid"] not in (0, before)


def test_freeze_and_unfreeze(api, started):
    api.done(api.state(started, "freeze"))
    instance = api.get(f"/1.0/instances/{started}")
    assert (instance["status"], instance["status_code"]) == ("Frozen", 110)
    reply = api.post(f"/1.0/instances/{started}/exec", {"command": ["true"]})
    assert reply.status == 400 and reply.error == "Instance is frozen"
    assert api.failure(api.state(started, "freeze")) == "The container is already frozen"
    api.done(api.state(started, "unfreeze"))
    assert status(api, started) == "Running"
    assert api.failure(api.state(started, "unfreeze")) == "The container is already running"
    assert api.sh(started, "echo thawed") == "thawed\n"


def test_frozen_container_can_be_stopped(api, started):
    api.done(api.state(started, "freeze"))
    api.done(api.state(started, "stop", force=True))
    assert status(api, started) == "Stopped"


def test_freeze_of_a_stopped_instance_fails(api, name):
    api.done(api.create(name))
    assert api.failure(api.state(name, "freeze"))
    assert status(api, name) == "Stopped"


def test_unknown_action(api, started):
    reply = api.state(started, "zap")
    assert reply.status == 400 and reply.error == "Unknown action: 'zap'"


def test_ephemeral_is_deleted_at_stop(daemon, api, name):
    api.launch(name, ephemeral=True)
    api.done(api.state(name, "stop", force=True))
    eventually(lambda: api.request("GET", f"/1.0/instances/{name}").status == 404, what="ephemeral instance is gone")
    assert [p for p in daemon.dir.glob(f"storage-pools/default/**/{name}*")] == []


def test_poweroff_from_inside(api, started):
    api.wait(api.post(f"/1.0/instances/{started}/exec", {"command": ["poweroff", "-f"], "wait-for-websocket": False}))
    eventually(lambda: status(api, started) == "Stopped", what="stopped after poweroff")
    eventually(lambda: api.wait(api.state(started, "start"))["status"] == "Success", what="a start after poweroff")


def test_reboot_from_inside(api, started):
    before = api.get(f"/1.0/instances/{started}/state")["pid"]
    api.wait(api.post(f"/1.0/instances/{started}/exec", {"command": ["reboot", "-f"], "wait-for-websocket": False}))
    eventually(lambda: api.get(f"/1.0/instances/{started}/state")["pid"] not in (0, before), what="a new init after reboot")
    assert status(api, started) == "Running"


def test_bulk_stop_and_start(daemon, api, name):
    other = daemon.new_name()
    api.launch(name)
    api.launch(other)
    api.done(api.put("/1.0/instances", {"state": {"action": "stop", "force": True}}))
    assert {status(api, name), status(api, other)} == {"Stopped"}
    api.done(api.put("/1.0/instances", {"state": {"action": "start"}}))
    assert {status(api, name), status(api, other)} == {"Running"}
    api.remove(other)


def test_a_failing_start_names_its_cause_and_leaves_nothing(daemon, api, name):
    api.done(api.create(name, {"raw.lxc": "lxc.init.cmd = /no/such/init"}))
    assert api.failure(api.state(name, "start"))
    assert status(api, name) == "Stopped"
    log = api.request("GET", f"/1.0/instances/{name}/logs/lxc.log")
    assert log.status == 200 and b"/no/such/init" in log.body
    eventually(lambda: not [p for p in daemon.mounts() if name in p], what="mounts of a failed start are gone")


@pytest.mark.ours
def test_a_failing_start_says_step_path_and_errno(daemon, api, name):
    source = daemon.root / "mounted"
    source.mkdir()
    api.done(api.create(name, devices={"d": {"type": "disk", "source": str(source), "path": "/mnt"}}))
    source.rmdir()
    error = api.failure(api.state(name, "start"))
    assert str(source) in error and '"d"' in error, error


def test_hostname_pid_and_namespaces(api, started):
    assert api.sh(started, "hostname").strip() == started
    assert api.sh(started, "cat /proc/1/comm").strip() == "init"
    assert api.sh(started, "id -u; id -g").split() == ["0", "0"]
    assert "Seccomp:\t2" in api.sh(started, "cat /proc/1/status")
    assert api.run(started, "mount", "-t", "proc", "proc", "/mnt")[0] in (0, 1)
    assert api.run(started, "mknod", "/dev/sda9", "b", "8", "9")[0] != 0
    assert api.run(started, "sh", "-c", "echo 1 > /proc/sys/kernel/panic")[0] != 0


def test_init_inherits_no_descriptor_of_ours(api, started):
    pid = api.get(f"/1.0/instances/{started}/state")["pid"]
    links = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    foreign = {fd: link for fd, link in links.items() if int(fd) > 2 and not link.startswith(("/dev/", "anon_inode:"))}
    assert foreign == {}, links


@pytest.mark.ours
def test_an_init_that_ends_at_once(daemon, api):
    """Whether it has started is a matter of luck then; nothing of it is left in any case."""
    for command in ("/bin/true", "/bin/sh -c 'exit 3'", "/bin/sh -c 'sleep 0.01'", "/bin/sh -c 'sleep 0.03'") * 2:
        fresh = daemon.new_name()
        api.done(api.create(fresh, {"raw.lxc": f"lxc.init.cmd = {command}"}))
        api.wait(api.state(fresh, "start"))
        eventually(lambda: api.get(f"/1.0/instances/{fresh}")["status"] == "Stopped", what="it has stopped")
        eventually(lambda: not daemon.cgroups(fresh), what="its control groups are gone")
        api.remove(fresh)
