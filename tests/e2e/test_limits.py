"""Resource limits reach the container's control groups, at start and live."""
import glob
import os
import re

import pytest

from helpers.daemon import REFERENCE


def cgroup_file(api, name, *candidates):
    """The content of the first control file (version 1 or 2 name) that the container's init is under."""
    pid = api.get(f"/1.0/instances/{name}/state")["pid"]
    paths = {}
    for line in open(f"/proc/{pid}/cgroup"):
        _, controllers, path = line.rstrip("\n").split(":", 2)
        for controller in (controllers.split(",") if controllers else [""]):
            paths[controller] = path
    for candidate in candidates:
        controller = candidate.split(".")[0]
        for top in (f"/sys/fs/cgroup/{controller}{paths.get(controller, '/nowhere')}", f"/sys/fs/cgroup{paths.get('', '')}",
                    f"/sys/fs/cgroup/unified{paths.get('', '')}"):
            # init may have moved itself below the group that carries the limit
            while len(top) > len("/sys/fs/cgroup/x"):
                if os.path.exists(f"{top}/{candidate}") and name in top:
                    value = open(f"{top}/{candidate}").read().strip()
                    if value not in ("max", "9223372036854771712"):
                        return value
                top = os.path.dirname(top)
    return None


def patch(api, name, **config):
    reply = api.patch(f"/1.0/instances/{name}", {"config": {k.replace("__", "."): v for k, v in config.items()}})
    assert reply.status == 200, reply


MEMORY = ("memory.limit_in_bytes", "memory.max")


def test_memory(api, name):
    api.launch(name, {"limits.memory": "100MiB"})
    assert cgroup_file(api, name, *MEMORY) == str(100 << 20)
    patch(api, name, limits__memory="50MiB")
    assert cgroup_file(api, name, *MEMORY) == str(50 << 20)
    assert api.run(name, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1")[0] != 0  # cannot have 200 MB
    assert api.get(f"/1.0/instances/{name}")["status"] == "Running"


def test_memory_in_percent(api, name):
    total = int(re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo").read()).group(1)) * 1024
    api.launch(name, {"limits.memory": "10%"})
    assert abs(int(cgroup_file(api, name, *MEMORY)) - total / 10) < total / 100


def test_processes(api, name):
    api.launch(name, {"limits.processes": "20"})
    assert cgroup_file(api, name, "pids.max") == "20"
    assert api.run(name, "sh", "-c", "for i in $(seq 40); do sleep 5 & done")[0] != 0
    patch(api, name, limits__processes="200")
    assert cgroup_file(api, name, "pids.max") == "200"


def test_cpu_set(api, name):
    if os.cpu_count() < 2:
        pytest.skip("needs two processors")
    api.launch(name, {"limits.cpu": "1-1"})
    assert cgroup_file(api, name, "cpuset.cpus") == "1"
    assert api.sh(name, "nproc").strip() == "1"


def test_cpu_count(api, name):
    api.launch(name, {"limits.cpu": "1"})
    assert len(cgroup_file(api, name, "cpuset.cpus").split(",")) == 1
    assert api.sh(name, "nproc").strip() == "1"


def test_cpu_allowance(api, name):
    api.launch(name, {"limits.cpu.allowance": "25ms/100ms"})
    assert cgroup_file(api, name, "cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"
    patch(api, name, **{"limits__cpu__allowance": "50%"})
    assert cgroup_file(api, name, "cpu.shares", "cpu.weight") in ("512", "50")


def test_kernel_limits(api, name):
    api.launch(name, {"limits.kernel.nofile": "300:400"})
    assert re.search(r"Max open files\s+300\s+400", api.sh(name, "cat /proc/1/limits"))


@pytest.mark.parametrize("key, value", [
    ("limits.memory", "12q"), ("limits.memory", "-1"), ("limits.memory", "0"), ("limits.memory", "101%x"), ("limits.processes", "many"),
    ("limits.cpu", "0-"), ("limits.cpu", "x"), ("limits.cpu.allowance", "ten"), ("limits.cpu.priority", "11"),
    ("limits.memory.enforce", "maybe"), ("limits.kernel.nonsense", "1"),
])
def test_bad_values_are_refused(api, name, key, value):
    if REFERENCE and (key, value) in (("limits.memory", "-1"), ("limits.memory", "0"), ("limits.kernel.nonsense", "1")):
        pytest.skip("the reference takes it")
    assert api.failure(api.create(name, {key: value}))
    assert api.request("GET", f"/1.0/instances/{name}").status == 404


def test_a_refused_live_change_changes_nothing(api, name):
    api.launch(name, {"limits.memory": "100MiB"})
    reply = api.patch(f"/1.0/instances/{name}", {"config": {"limits.memory": "12q"}})
    assert reply.status >= 400
    assert cgroup_file(api, name, *MEMORY) == str(100 << 20)
    assert api.get(f"/1.0/instances/{name}")["config"]["limits.memory"] == "100MiB"


def test_limits_survive_a_restart_of_the_container(api, name):
    api.launch(name, {"limits.memory": "100MiB"})
    api.done(api.state(name, "restart", force=True))
    assert cgroup_file(api, name, *MEMORY) == str(100 << 20)


def test_no_limit_no_control_file_touched(api, running):
    assert cgroup_file(api, running, *MEMORY) is None
    assert glob.glob("/sys/fs/cgroup/*")


def test_sysctl(api, name):
    api.launch(name, {"linux.sysctl.net.ipv4.ip_forward": "1"})
    assert api.sh(name, "cat /proc/sys/net/ipv4/ip_forward").strip() == "1"
