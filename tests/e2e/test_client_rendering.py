"""What the clients print of objects that a made-up server shows, odd ones among them: ours as written here, and the same as Debian's Go client. Needs no daemon."""
import os
import pathlib
import subprocess

import pytest

from helpers.client import OURS
from helpers.fakelxd import SERVER, FakeLxd, error, sync

GO_CLIENT = "/usr/bin/lxc"
EXPECTED = pathlib.Path(__file__).parent / "data" / "network_rendering.txt"


def network(name, kind="bridge", managed=True, **fields):
    return {"config": {}, "description": "", "name": name, "type": kind, "used_by": [], "managed": managed, "status": "Created" if managed else "",
            "locations": ["none"] if managed else None, **fields}


NETWORKS = [
    network("n10", used_by=["/1.0/profiles/p", "/1.0/instances/c"], config={"ipv4.address": "192.0.2.1/24", "ipv6.address": "none"}),
    network("n9", description="two\nlines, \"and\" more", status="Unavailable"), network("eth0", "physical", False), network("bond0", "bond", False),
    network("lo", "loopback", False), network("odd", "unknown", False), network("v5", "vlan", False), network("N1"), network("a-b"), network("a.b"),
]
COUNTERS = {"bytes_received": 0, "bytes_sent": 999, "packets_received": 18446744073, "packets_sent": 1}
ADDRESSES = [{"family": "inet", "address": "192.0.2.9", "netmask": "24", "scope": "global"},
             {"family": "inet6", "address": "2001:db8::9", "netmask": "64", "scope": "global"},
             {"family": "inet6", "address": "fe80::9", "netmask": "64", "scope": "link"}]


def state(**fields):
    return {"addresses": [], "counters": COUNTERS, "hwaddr": "00:16:3e:00:00:01", "mtu": 1500, "state": "up", "type": "broadcast", "bond": None,
            "bridge": None, "vlan": None, "ovn": None, **fields}


BRIDGE = {"id": "8000.00163e000001", "stp": False, "forward_delay": 1500, "vlan_default": 1, "vlan_filtering": True, "upper_devices": ["veth1", "veth0"]}
BOND = {"mode": "802.3ad", "transmit_policy": "layer2", "up_delay": 1, "down_delay": 2, "mii_frequency": 100, "mii_state": "up", "lower_devices": ["eth1", "eth2"]}
STATES = {"n10": state(addresses=ADDRESSES, bridge=BRIDGE), "bond0": state(bond=BOND, addresses=ADDRESSES[:1]), "v5": state(vlan={"lower_device": "eth0", "vid": 5}),
          "lo": state(hwaddr="", type="loopback", mtu=65536, state="down", counters={**COUNTERS, "bytes_sent": 1000, "bytes_received": 123456789}),
          "o0": state(ovn={"chassis": "host1"})}
LEASES = [{"hostname": "c10", "hwaddr": "00:16:3e:00:00:02", "address": "192.0.2.10", "type": "static", "location": ""},
          {"hostname": "c9", "hwaddr": "", "address": "2001:db8::10", "type": "dynamic", "location": ""},
          {"hostname": "c9", "hwaddr": "", "address": "192.0.2.9", "type": "dynamic", "location": ""},
          {"hostname": "", "hwaddr": "00:16:3e:00:00:01", "address": "192.0.2.11", "type": "dynamic", "location": ""},
          {"hostname": "n.gw", "hwaddr": "", "address": "192.0.2.1", "type": "gateway", "location": ""}]


def nic(addresses, **fields):
    return {"addresses": addresses, "counters": COUNTERS, "hwaddr": "00:16:3e:00:00:01", "host_name": "veth1", "mtu": 1500, "state": "up", "type": "broadcast", **fields}


def instance(name, **networks):
    return {"architecture": "x86_64", "config": {}, "created_at": "2026-01-01T00:00:00Z", "description": "", "devices": {}, "ephemeral": False, "expanded_config": {},
            "expanded_devices": {}, "last_used_at": "2026-01-01T00:00:00Z", "location": "none", "name": name, "profiles": [], "project": "default", "stateful": False,
            "status": "Running", "status_code": 103, "type": "container", "snapshots": [], "backups": [],
            "state": {"status": "Running", "status_code": 103, "cpu": {"usage": 0}, "disk": {}, "memory": {"usage": 0, "usage_peak": 0, "swap_usage": 0, "swap_usage_peak": 0},
                      "network": networks, "pid": 5, "processes": 1}}


def more(*addresses):
    return [{"family": "inet6" if ":" in a else "inet", "address": a, "netmask": "24", "scope": "global"} for a in addresses]


INSTANCES = [
    instance("c1", lo=nic([{"family": "inet", "address": "127.0.0.1", "netmask": "8", "scope": "local"}], hwaddr="", host_name="", state="down", type="loopback"),
             eth1=nic(more("192.0.2.10", "198.51.100.1", "192.0.2.9"), mtu=0), eth0=nic(ADDRESSES + more("2001:db8::1", "2001:db8:ff::1"))),
    instance("c2", eth0=nic([], host_name="")), instance("c3"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fake")
    extensions = ["network", "network_leases", "network_state", "instance_get_full", "network_state_vlan", "network_state_ovn", "network_bridge_info",
                  "clustering", "container_full", "api_filtering", "instances", "projects", "instance_nic_network"]
    routes = {"GET /1.0": (200, sync({**SERVER, "auth_methods": ["tls"], "api_extensions": extensions, "environment": {**SERVER["environment"], "server_clustered": False}})),
              "GET /1.0/networks": (200, sync(NETWORKS)), "GET /1.0/networks/n/leases": (200, sync(LEASES)), "GET /1.0/networks/empty/leases": (200, sync([])),
              "GET /1.0/instances": (200, sync(INSTANCES)), "GET /1.0/networks/n": (404, error(404, "Network not found"))}
    routes.update({f"GET /1.0/networks/{n['name']}": (200, sync(n)) for n in NETWORKS})
    routes.update({f"GET /1.0/networks/{name}/state": (200, sync(s)) for name, s in STATES.items()})
    routes.update({f"GET /1.0/instances/{i['name']}": (200, sync(i)) for i in INSTANCES})
    fake = FakeLxd(routes=routes, socket=directory / "unix.socket")
    yield fake
    fake.stop()


@pytest.fixture(scope="module", params=["ours", "go"])
def lxc(request, server, tmp_path_factory):
    program = OURS if request.param == "ours" else GO_CLIENT
    if not os.path.exists(program):
        pytest.skip(f"{program} is not installed")
    home = tmp_path_factory.mktemp("home")
    env = {**os.environ, "HOME": str(home), "LXD_CONF": str(home / "conf"), "LXD_DIR": str(server.server.server_address).rsplit("/", 1)[0], "TZ": "UTC"}

    def run(*args):
        result = subprocess.run([program, *args], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        return result.stdout if result.returncode == 0 else result.stderr

    run.program = program
    run("remote", "list")
    return run
COMMANDS = [line[2:] for line in EXPECTED.read_text().splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def expected():
    """{command: output} of the file, which was written by Debian's client 5.0.2."""
    parts = EXPECTED.read_text().split("$ lxc ")[1:]
    return {"lxc " + part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


@pytest.mark.parametrize("command", COMMANDS)
def test_output(lxc, expected, command):
    out, text = lxc(*command.split()[1:]), expected[command]
    if lxc.program == GO_CLIENT and " info c" in command:   # its interfaces come in random order
        out, text = sorted(out.splitlines()), sorted(text.splitlines())
    assert out == text
