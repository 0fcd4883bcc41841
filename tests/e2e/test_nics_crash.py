"""SIGKILL of the daemon while NICs are made, changed and removed; after a restart each is as its configuration says, once."""
import itertools
import os
import signal

import pytest

from helpers import nics
from helpers.daemon import eventually
from test_crash import crash_during
from test_nics import FILTERS, host_entry, managed, network, url  # noqa: F401 (network is a fixture)

pytestmark = pytest.mark.ours
MOMENTS = [0.001, 0.003, 0.005, 0.008, 0.011, 0.014, 0.017, 0.020, 0.025, 0.030, 0.040, 0.060, 0.100, 0.200]
MOVED_AT = [m / 1000 for m in range(2, 40, 3)]
FILTERED = managed(**FILTERS, **{"ipv4.routes": "192.0.2.128/25", "limits.egress": "100Mbit"})
ROUTED = {"type": "nic", "nictype": "routed", "parent": "mbr0", "name": "eth1", "ipv4.address": "198.51.100.200"}


@pytest.fixture(autouse=True)
def parent_routes(network):  # noqa: F811
    nics.set_sysctl("ipv4", "mbr0", "forwarding", 1)


def rules_about(name):
    """{chain: how often it is defined} in all our tables."""
    heads = [line.split()[1] for line in nics.ruleset().splitlines() if line.strip().startswith("chain ") and f"{name}." in line]
    return {chain: heads.count(chain) for chain in heads}


def wanted(devices):
    """What the host must have for these NICs: chains by device, routes, proxies."""
    filtered = {d for d, options in devices.items() if "security.mac_filtering" in options}
    routed = {d for d, options in devices.items() if options.get("nictype") == "routed"}
    limited = {d for d, options in devices.items() if "limits.egress" in options}
    return filtered, routed, limited, sorted(options["ipv4.routes"] for options in devices.values() if "ipv4.routes" in options)


def check(daemon, name, expected=None):
    """All is there for the NICs of a running instance, once; nothing for one that does not run."""
    api = daemon.api
    instance = api.get(url(name))
    running = instance["status"] == "Running"
    devices = {d: o for d, o in instance["devices"].items() if o["type"] == "nic"} if running else {}
    if expected is not None:
        assert devices in expected, devices
    hosts = {d: instance["config"].get(f"volatile.{d}.host_name") for d in devices}
    assert nics.made_links() == sorted(hosts.values())
    assert all(nics.link(h)["operstate"] == "UP" for h in hosts.values())
    filtered, routed, limited, routes = wanted(devices)
    rules = rules_about(name)
    assert {c.rsplit(".", 1)[1] for c in rules if c.startswith(("in.", "fwd."))} == filtered, rules
    assert {c.rsplit(".", 1)[1] for c in rules if c.startswith("prert.")} == routed, rules
    assert {c.rsplit(".", 1)[1] for c in rules if c.startswith("rate.")} == limited, rules
    assert set(rules.values()) <= {1}, rules
    assert nics.routes("dev", "mbr0", "proto", "boot") == routes
    assert nics.proxies("mbr0") == (["198.51.100.200"] if routed else [])
    if running:
        assert sorted(api.get(f"{url(name)}/state")["network"]) == sorted([*devices, "lo"])
    else:
        assert [k for k in instance["config"] if k.endswith(".host_name") or (k.startswith("volatile.eth") and ".last_state." in k)] == []


def change_request(api, name, devices):
    instance = api.get(url(name))
    instance["devices"] = {k: v for k, v in instance["devices"].items() if v["type"] != "nic"} | devices
    return "PUT", url(name), instance


def finish(daemon, name):
    daemon.api.remove(name)
    assert nics.made_links() == [] and rules_about(name) == {} and nics.proxies("mbr0") == []
    assert nics.routes("dev", "mbr0", "proto", "boot") == [] and host_entry(daemon, f"{name}.eth0") is None


@pytest.mark.parametrize("moment", MOMENTS)
def test_start(daemon, api, name, moment):
    api.done(api.create(name, devices={"eth0": FILTERED, "eth1": ROUTED}))
    crash_during(daemon, moment, ("PUT", f"{url(name)}/state", {"action": "start"}))
    check(daemon, name)
    if api.get(url(name))["status"] == "Stopped":
        api.done(api.state(name, "start"))
        check(daemon, name)
    finish(daemon, name)


@pytest.mark.parametrize("moment", MOMENTS[::2])
def test_stop(daemon, api, name, moment):
    api.launch(name, devices={"eth0": FILTERED, "eth1": ROUTED})
    crash_during(daemon, moment, ("PUT", f"{url(name)}/state", {"action": "stop", "force": True}))
    eventually(lambda: api.get(url(name))["status"] == "Running" or "volatile.eth0.host_name" not in api.get(url(name))["config"], what="cleaned up")
    check(daemon, name)
    finish(daemon, name)


CHANGES = {
    "add": ({}, {"eth0": FILTERED}),
    "add routed": ({}, {"eth1": ROUTED}),
    "remove": ({"eth0": FILTERED}, {}),
    "remove routed": ({"eth1": ROUTED}, {}),
    "replug": ({"eth0": FILTERED}, {"eth0": {**FILTERED, "hwaddr": "00:16:3e:01:02:03"}}),
    "filter on": ({"eth0": managed()}, {"eth0": FILTERED}),
    "filter off": ({"eth0": FILTERED}, {"eth0": managed()}),
    "routes": ({"eth0": FILTERED}, {"eth0": {**FILTERED, "ipv4.routes": "192.0.2.0/26"}}),
}


@pytest.mark.parametrize("what, moment", [*itertools.product(CHANGES, MOMENTS[::2]), *(("replug", m / 1000) for m in range(13, 38, 2))])
def test_change(daemon, api, name, what, moment):
    """A NIC of which the host's side was not finished is plugged in anew."""
    before, after = CHANGES[what]
    api.launch(name, devices=before)
    pid = api.get(f"{url(name)}/state")["pid"]
    crash_during(daemon, moment, change_request(api, name, after))
    check(daemon, name, [before, after])
    assert api.get(f"{url(name)}/state")["pid"] == pid
    api.done(api.put(*change_request(api, name, after)[1:]))
    check(daemon, name, [after])
    finish(daemon, name)


@pytest.mark.parametrize("moment", MOMENTS[::4])
def test_container_ends_while_the_daemon_is_down_in_a_change(daemon, api, name, moment):
    api.launch(name, devices={"eth0": FILTERED})
    pid = api.get(f"{url(name)}/state")["pid"]
    start, daemon.start = daemon.start, lambda: None
    try:
        crash_during(daemon, moment, change_request(api, name, {"eth0": {**FILTERED, "hwaddr": "00:16:3e:01:02:03"}, "eth1": ROUTED}))
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), what="init has ended")
    finally:
        daemon.start = start
    daemon.start()
    eventually(lambda: "volatile.eth0.host_name" not in api.get(url(name))["config"], what="cleaned up")
    check(daemon, name)
    finish(daemon, name)


MACVLAN = {"type": "nic", "nictype": "macvlan", "parent": "mbr0", "name": "eth2"}
MACVLAN_CHANGES = {
    "add": ({}, {"eth2": MACVLAN}),
    "remove": ({"eth2": MACVLAN}, {}),
    "replug": ({"eth2": MACVLAN}, {"eth2": {**MACVLAN, "hwaddr": "00:16:3e:01:02:04"}}),
}


def check_macvlan(daemon, name, expected):
    """It is in the container, once, with its address, or nowhere."""
    api = daemon.api
    instance = api.get(url(name))
    devices = {d: o for d, o in instance["devices"].items() if o["type"] == "nic"}
    assert devices in expected, devices
    assert nics.made_links() == []
    inside = {d: state["hwaddr"] for d, state in api.get(f"{url(name)}/state")["network"].items() if d != "lo"}
    config = instance["config"]
    assert inside == {d: o.get("hwaddr") or config[f"volatile.{d}.hwaddr"] for d, o in devices.items()}
    assert sorted(k for k in config if k.endswith(".host_name")) == [f"volatile.{d}.host_name" for d in devices]


@pytest.mark.parametrize("what, moment", itertools.product(MACVLAN_CHANGES, MOVED_AT))
def test_change_of_a_macvlan(daemon, api, name, what, moment):
    before, after = MACVLAN_CHANGES[what]
    api.launch(name, devices=before)
    crash_during(daemon, moment, change_request(api, name, after))
    check_macvlan(daemon, name, [before, after])
    api.done(api.put(*change_request(api, name, after)[1:]))
    check_macvlan(daemon, name, [after])
    api.remove(name)
    assert nics.made_links() == []


@pytest.mark.parametrize("restart", [False, True], ids=["no restart", "restart"])
def test_a_disguised_macvlan_is_taken_out(daemon, api, name, restart):
    """Root in the container has given it another name and address; a restart of the daemon leaves it, removing the device takes it away."""
    api.launch(name, devices={"eth2": MACVLAN})
    api.sh(name, "ip link set eth2 down && ip link set eth2 address 02:00:00:00:00:07 && ip link set eth2 name mine && ip link set mine up")
    if restart:
        daemon.kill()
        daemon.start()
    assert {d: s["hwaddr"] for d, s in api.get(f"{url(name)}/state")["network"].items() if d != "lo"} == {"mine": "02:00:00:00:00:07"}
    api.done(api.put(*change_request(api, name, {})[1:]))
    assert sorted(api.get(f"{url(name)}/state")["network"]) == ["lo"]
    api.remove(name)
