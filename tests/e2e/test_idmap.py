"""User namespaces: shared, isolated and raw maps, privileged and nesting containers."""
import json
import os
import re

import pytest


def map_of(api, name, key="current"):
    """[(host, container, count)] of the user ids."""
    rows = json.loads(api.get(f"/1.0/instances/{name}")["config"][f"volatile.idmap.{key}"])
    return [(row["Hostid"], row["Nsid"], row["Maprange"]) for row in rows if row["Isuid"]]


def kernel_map(api, name, kind="uid"):
    pid = api.get(f"/1.0/instances/{name}/state")["pid"]
    with open(f"/proc/{pid}/{kind}_map") as text:
        return [tuple(int(n) for n in line.split()) for line in text]


def base_range():
    """root's first subordinate range of this machine, or the kernel default that stands in for it."""
    try:
        for line in open("/etc/subuid"):
            user, start, count = line.strip().split(":")
            if user == "root" and int(count) >= 65536:
                return int(start), int(count)
    except OSError:
        pass
    return 1000000, 1000000000


def test_shared_map_is_the_whole_base_range(api, running):
    start, count = base_range()
    assert map_of(api, running) == [(start, 0, count)]
    assert kernel_map(api, running) == [(0, start, count)] == kernel_map(api, running, "gid")
    assert api.get(f"/1.0/instances/{running}")["config"]["volatile.idmap.base"] == "0"


def test_isolated_maps_overlap_nobodys(daemon, api):
    names = [daemon.new_name() for _ in range(3)]
    try:
        for name in names[:2]:
            api.launch(name, {"security.idmap.isolated": "true"})
        api.done(api.state(names[0], "stop", force=True))  # a stopped one keeps its range
        api.launch(names[2], {"security.idmap.isolated": "true"})
        ranges = sorted((host, host + count) for name in names for host, _, count in map_of(api, name, "next"))
        start, _ = base_range()
        assert all(end - begin == 65536 for begin, end in ranges)
        assert all(a[1] <= b[0] for a, b in zip(ranges, ranges[1:])), ranges
        assert ranges[0][0] >= start + 65536
        assert api.sh(names[2], "stat -c %u /bin/busybox; id -u").split() == ["0", "0"]
        before = map_of(api, names[0], "next")
        api.done(api.state(names[0], "start"))
        assert map_of(api, names[0]) == before
    finally:
        for name in names:
            api.remove(name)


def test_size_and_base(api, name):
    start, _ = base_range()
    api.launch(name, {"security.idmap.isolated": "true", "security.idmap.size": "100000", "security.idmap.base": str(start + 300000)})
    assert kernel_map(api, name) == [(0, start + 300000, 100000)]


@pytest.mark.parametrize("config", [{"security.idmap.size": "-1"}, {"security.idmap.base": "x"}, {"security.idmap.isolated": "perhaps"},
                                    {"security.idmap.size": "4294967296"}])
def test_bad_values(api, name, config):
    assert api.failure(api.create(name, config))


@pytest.mark.ours
def test_a_size_that_does_not_fit(api, name):
    reply = api.create(name, {"security.idmap.isolated": "true", "security.idmap.size": "4000000000"})
    assert "Not enough uid/gid available" in api.failure(reply)


@pytest.mark.ours
def test_raw_idmap_punches_a_hole(api, name):
    start, count = base_range()
    api.launch(name, {"raw.idmap": "both 1000 1000"})
    assert sorted(kernel_map(api, name)) == [(0, start, 1000), (1000, 1000, 1), (1001, start + 1001, count - 1001)]
    pid = api.get(f"/1.0/instances/{name}/state")["pid"]
    api.sh(name, "touch /tmp/f; chown 1000 /tmp/f")
    assert os.stat(f"/proc/{pid}/root/tmp/f").st_uid == 1000


@pytest.mark.parametrize("text", ["both 1000", "nobody 1 1", "uid 1-5 1-3", "uid a b", "both 1000 1000 1"])
def test_bad_raw_idmaps(api, name, text):
    assert api.failure(api.create(name, {"raw.idmap": text}))
    assert api.request("GET", f"/1.0/instances/{name}").status == 404


def test_changing_to_isolated_takes_effect_at_the_next_start(api, name):
    api.launch(name)
    api.sh(name, "touch /root/mine; chown 5:6 /root/mine")
    shared = kernel_map(api, name)
    assert api.patch(f"/1.0/instances/{name}", {"config": {"security.idmap.isolated": "true"}}).status == 200
    assert kernel_map(api, name) == shared
    api.done(api.state(name, "restart", force=True))
    assert kernel_map(api, name) != shared
    assert api.sh(name, "stat -c '%u %g' /root/mine /bin/busybox").split() == ["5", "6", "0", "0"]


def test_privileged(api, name):
    api.launch(name, {"security.privileged": "true"})
    assert kernel_map(api, name)[0][:2] == (0, 0)
    config = api.get(f"/1.0/instances/{name}")["config"]
    assert config["volatile.idmap.next"] == "[]"
    assert os.readlink(f"/proc/{api.get(f'/1.0/instances/{name}/state')['pid']}/ns/user") == os.readlink("/proc/self/ns/user")
    # Still without the capabilities that would let it out, and without devices.
    effective = int(re.search(r"CapEff:\s+(\w+)", api.sh(name, "cat /proc/1/status")).group(1), 16)
    for bit in (16, 17, 25):  # sys_module, sys_rawio, sys_time
        assert not effective >> bit & 1
    api.sh(name, "mknod /tmp/mem c 1 1")
    assert api.run(name, "sh", "-c", "exec 3</tmp/mem")[0] != 0
    assert api.run(name, "sh", "-c", "echo x > /dev/null && head -c1 /dev/zero >/dev/null")[0] == 0


def test_switch_to_privileged_and_back_keeps_owners(api, name):
    api.launch(name)
    api.sh(name, "touch /root/mine; chown 5:6 /root/mine")
    for value in ("true", "false"):
        api.done(api.state(name, "stop", force=True))
        assert api.patch(f"/1.0/instances/{name}", {"config": {"security.privileged": value}}).status == 200
        api.done(api.state(name, "start"))
        assert api.sh(name, "stat -c '%u %g' /root/mine /bin/busybox").split() == ["5", "6", "0", "0"]


def test_nesting(api, name, running):
    api.launch(name, {"security.nesting": "true"})
    assert api.sh(name, "ls -d /dev/.lxc/proc /dev/.lxc/sys").split() == ["/dev/.lxc/proc", "/dev/.lxc/sys"]
    assert api.run(running, "ls", "-d", "/dev/.lxc/proc")[0] != 0


def test_denied_syscalls(api, name, running):
    policy = "Seccomp:\t2"
    assert policy in api.sh(running, "cat /proc/self/status")
    api.launch(name, {"security.syscalls.deny": "sync errno 13"})
    assert policy in api.sh(name, "cat /proc/self/status")


def test_exclusive_syscall_keys(api, name):
    reply = api.create(name, {"raw.seccomp": "2\ndenylist\n", "security.syscalls.deny": "sync"})
    assert "mutually exclusive" in api.failure(reply)
