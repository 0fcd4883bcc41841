"""Privileged containers, nesting, seccomp policies, device access, and many commands at once, through the daemon."""
import concurrent.futures
import os
import re
import stat

import pytest

from helpers.daemon import eventually


def status(api, name, field):
    return re.search(rf"^{field}:\s+(.*)$", api.sh(name, "cat /proc/self/status"), re.M).group(1).strip()


def init_pid(api, name):
    return api.get(f"/1.0/instances/{name}/state")["pid"]


def test_privileged(api, name):
    api.launch(name, {"security.privileged": "true"})
    pid = init_pid(api, name)
    assert open(f"/proc/{pid}/uid_map").read().split() == ["0", "0", "4294967295"]
    bounding = int(status(api, name, "CapBnd"), 16)
    for capability in (16, 17, 25, 32, 33):  # sys_module, sys_rawio, sys_time, mac_override, mac_admin
        assert not bounding & 1 << capability, capability
    assert bounding & 1 << 21  # sys_admin
    assert int(status(api, name, "CapEff"), 16) == bounding
    assert status(api, name, "Seccomp") == "2"
    api.done(api.state(name, "restart", force=True))
    api.done(api.state(name, "stop", force=True))


def test_privileged_device_access(api, name):
    if not os.path.isdir("/sys/fs/cgroup/devices"):
        pytest.skip("reads the first version's list of allowed devices")
    api.launch(name, {"security.privileged": "true"})
    allowed = api.sh(name, "mknod /tmp/zero c 1 5 && head -c 3 /tmp/zero | wc -c").strip()
    assert allowed == "3"
    api.sh(name, "mknod /tmp/mem c 1 1")  # the node may be made ...
    assert api.run(name, "head", "-c", "1", "/tmp/mem")[0] != 0  # ... but not opened
    assert "a *:* rwm" not in open(f"/sys/fs/cgroup/devices/lxc.payload.{lxc_name(api, name)}/devices.list").read()


def lxc_name(api, name):
    for line in open(f"/proc/{init_pid(api, name)}/cgroup"):
        found = re.search(r"lxc\.payload\.([^/\n]+)", line)
        if found:
            return found.group(1)
    raise AssertionError("not in a group of its own")


def test_privileged_gets_device_nodes(api, name):
    api.launch(name, {"security.privileged": "true"}, devices={
        "full": {"type": "unix-char", "path": "/dev/myfull", "source": "/dev/full", "mode": "0640", "uid": "7"}})
    node = api.sh(name, "stat -c '%t %T %u %a' /dev/myfull").split()
    assert node == ["1", "7", "7", "640"]
    assert api.run(name, "sh", "-c", "echo x >/dev/myfull")[0] != 0  # ENOSPC
    assert api.sh(name, "head -c 2 /dev/myfull | wc -c").strip() == "2"


def test_nesting(api, name):
    api.launch(name, {"security.nesting": "true"})
    assert api.run(name, "sh", "-c", "test -d /dev/.lxc/proc/1 && test -d /dev/.lxc/sys/class")[0] == 0


def test_syscalls_deny(api, name):
    api.launch(name, {"security.syscalls.deny": "mkdir errno 1\nmkdirat errno 1"})
    assert api.run(name, "mkdir", "/tmp/x")[0] != 0
    assert api.run(name, "touch", "/tmp/y")[0] == 0


def test_raw_seccomp(api, name):
    api.launch(name, {"raw.seccomp": "2\ndenylist\n[all]\nsymlink errno 1\nsymlinkat errno 1\n"})
    assert api.run(name, "ln", "-s", "a", "/tmp/x")[0] != 0
    assert api.run(name, "mkdir", "/tmp/y")[0] == 0


def test_syscalls_allow(api, name):
    """Everything but one call, in words of the other kind of list."""
    table = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
    if not os.path.exists(table):
        pytest.skip(f"takes the names from {table}")
    calls = re.findall(r"__NR_(\w+)", open(table).read())
    api.launch(name, {"security.syscalls.allow": "\n".join(c for c in calls if c not in ("sethostname", "uretprobe", "uprobe"))})
    assert status(api, name, "Seccomp") == "2"
    assert api.run(name, "touch", "/tmp/y")[0] == 0
    assert api.run(name, "hostname", "other")[0] != 0  # killed


def test_no_seccomp(api, name):
    api.launch(name, {"security.syscalls.deny_default": "false"})
    assert status(api, name, "Seccomp") == "0"


def test_twenty_commands_at_once(api, running):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(lambda i: api.run(running, "sh", "-c", f"sleep 0.2; exit {i}")[0], range(20)))
    assert codes == list(range(20))
    assert eventually(lambda: api.get(f"/1.0/instances/{running}/state")["processes"] <= 2)


def test_null_device_is_not_given_away(api, running):
    """A command without input and output has /dev/null of the host, which must keep its owner."""
    assert api.run(running, "true")[0] == 0
    st = os.stat("/dev/null")
    assert st.st_uid == 0 and stat.S_IMODE(st.st_mode) == 0o666


@pytest.mark.ours
@pytest.mark.parametrize("config", [{}, {"security.privileged": "true"}, {"limits.memory": "200MiB", "limits.kernel.nofile": "100:200"},
                                    {"security.nesting": "true", "environment.A": "b", "linux.sysctl.net.ipv4.ip_forward": "1"}])
def test_commands_join_by_the_note(api, name, daemon, config):
    """The fast way is taken for what the daemon itself configures; liblxc joins only for what raw.lxc adds."""
    if os.path.isdir("/sys/module/apparmor") or os.path.isdir("/sys/fs/selinux"):
        pytest.skip("a security module labels processes here: liblxc joins")
    api.launch(name, config)
    assert list(daemon.dir.glob(f"logs/{name}/lxc.conf.join"))
    assert api.run(name, "true")[0] == 0

# Device nodes in the tree


def test_nodes_in_the_tree_do_not_open_without_privileges(daemon, api, name):
    """Left from days when the container was privileged, or from a hostile sender: the file system knows no devices."""
    api.done(api.create(name))
    root = daemon.dir / "storage-pools" / "default" / "containers" / name / "rootfs"
    os.mknod(root / "full", 0o20666, os.makedev(1, 7))
    os.chmod(root / "full", 0o666)
    api.done(api.state(name, "start"))
    status, _, err = api.run(name, "sh", "-c", "cat /full")
    assert status != 0 and "ermission denied" in err, (status, err)
    assert api.run(name, "sh", "-c", "head -c 1 /dev/zero | wc -c")[1].strip() == "1"
