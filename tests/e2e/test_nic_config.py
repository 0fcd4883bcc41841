"""What may be configured of NICs on managed networks, what is refused and then changes nothing, and what DHCP and DNS are
told of them. The test cases T24 to T30, T37 and T38 of the network specification, as far as they are about configuration."""
import os
import re

import pytest

from helpers import client, dns, net
from helpers.daemon import eventually

NETWORK = "/1.0/networks/br0"
V4, V6 = "192.0.2.1/24", "2001:db8::1/64"
MAC = re.compile("00:16:3e(:[0-9a-f]{2}){3}")
NIC = {"type": "nic", "network": "br0"}
GO_CLIENT = "/usr/bin/lxc"
LEASE_SCRIPT = """#!/bin/sh
[ "$1" = bound ] && ip addr flush dev $interface && ip addr add $ip/24 dev $interface && echo "$ip" > /lease
exit 0
"""


@pytest.fixture(scope="module", autouse=True)
def br0(daemon):
    reply = daemon.api.post("/1.0/networks", {"name": "br0", "config": {"ipv4.address": V4, "ipv6.address": V6, "ipv4.nat": "false"}})
    assert reply.status == 201, reply
    yield "br0"
    reply = daemon.api.delete(NETWORK)
    assert reply.status == 200, (reply, daemon.api.get(NETWORK)["used_by"])


@pytest.fixture
def pair(daemon):
    """Two instance names."""
    names = [daemon.new_name(), daemon.new_name()]
    yield names
    for name in names:
        daemon.api.remove(name)


def url(name):
    return f"/1.0/instances/{name}"


def make(api, name, nic=None, **more):
    """A stopped instance with the device eth0."""
    api.done(api.create(name, devices={"eth0": {**NIC, **(nic or {})}, **more}))


def change(api, name, devices, remove=()):
    """Sets devices; a dict of options each."""
    instance = api.get(url(name))
    instance["devices"].update(devices)
    for device in remove:
        del instance["devices"][device]
    return api.put(url(name), instance)


def volatile(api, name):
    return {k.removeprefix("volatile."): v for k, v in api.get(url(name))["config"].items()
            if re.fullmatch(r"volatile\..*\.(hwaddr|name|host_name)", k)}


def entry(daemon, name, device="eth0"):
    """The host entry's line, or None."""
    path = daemon.dir / "networks/br0/dnsmasq.hosts" / f"{name}.{device}"
    return path.read_text().strip() if path.exists() else None


def set_network(api, **config):
    """PATCH keys; underscores stand for dots."""
    reply = api.patch(NETWORK, {"config": {k.replace("_", "."): v for k, v in config.items()}})
    assert reply.status == 200, reply


def ask_for_lease(api, name):
    """The address that DHCP gives to the container's eth0."""
    api.sh(name, f"cat > /script << 'X'\n{LEASE_SCRIPT}\nX\nchmod +x /script; rm -f /lease")
    return api.sh(name, "ip link set eth0 up; busybox udhcpc -i eth0 -n -q -s /script -t 5 -T 1 >&2; cat /lease").strip()


# --- volatile keys


def test_volatile_keys_come_with_the_device_and_go_with_it(daemon, api, name):
    """T24"""
    make(api, name)
    kept = volatile(api, name)
    assert set(kept) == {"eth0.hwaddr", "eth0.name"} and MAC.fullmatch(kept["eth0.hwaddr"]) and kept["eth0.name"] == "eth0"
    assert entry(daemon, name) == f"{kept['eth0.hwaddr']},{name}"
    api.done(change(api, name, {"lan": {"type": "nic", "nictype": "p2p"}}))
    more = volatile(api, name)
    assert more == {**kept, "lan.hwaddr": more["lan.hwaddr"], "lan.name": "eth1"} and more["lan.hwaddr"] != kept["eth0.hwaddr"]
    api.done(change(api, name, {}, remove=["lan"]))
    assert volatile(api, name) == kept
    api.done(change(api, name, {}, remove=["eth0"]))
    assert volatile(api, name) == {} and entry(daemon, name) is None


def test_a_configured_address_replaces_the_made_up_one(daemon, api, name):
    make(api, name)
    old = volatile(api, name)["eth0.hwaddr"]
    api.done(change(api, name, {"eth0": {**NIC, "hwaddr": "00:16:3E:00:00:aa", "name": "net7"}}))
    assert volatile(api, name) == {}
    assert entry(daemon, name) == f"00:16:3e:00:00:aa,{name}"
    api.done(change(api, name, {"eth0": NIC}))
    assert volatile(api, name)["eth0.hwaddr"] not in (old, "00:16:3e:00:00:aa")


def test_a_copy_has_addresses_of_its_own(daemon, api, pair):
    one, two = pair
    make(api, one)
    same = {k: api.get(url(one))[k] for k in ("devices", "profiles")}
    api.done(api.post("/1.0/instances", {"name": two, "source": {"type": "copy", "source": one}, **same}))
    assert volatile(api, one)["eth0.hwaddr"] != volatile(api, two)["eth0.hwaddr"]
    assert entry(daemon, two) == f"{volatile(api, two)['eth0.hwaddr']},{two}"


def test_running_has_one_key_more(api, name):
    make(api, name)
    kept = volatile(api, name)
    api.done(api.state(name, "start"))
    host = volatile(api, name)["eth0.host_name"]
    assert re.fullmatch("veth[0-9a-f]{8}", host)
    link = net.link(host)
    assert link["master"] == "br0" and net.sysctl(f"ipv6/conf/{host}/disable_ipv6") == "1" and net.sysctl(f"ipv6/conf/{host}/accept_ra") == "0"
    api.done(api.state(name, "stop", force=True))
    assert volatile(api, name) == kept and net.link(host) is None


# --- host entries


def test_entries_follow_a_rename_and_a_delete(daemon, api, pair):
    one, two = pair
    make(api, one, {"ipv4.address": "192.0.2.10"})
    mac = volatile(api, one)["eth0.hwaddr"]
    api.done(api.post(url(one), {"name": two}))
    assert entry(daemon, one) is None and entry(daemon, two) == f"{mac},192.0.2.10,{two}"
    api.remove(two)
    assert entry(daemon, two) is None


def test_entries_follow_a_profile(daemon, api, name):
    api.done(api.create(name, profiles=["default"]))
    profile = api.get("/1.0/profiles/default")
    try:
        assert api.put("/1.0/profiles/default", {**profile, "devices": {**profile["devices"], "e-1": NIC}}).status == 200
        mac = volatile(api, name)["e-1.hwaddr"]
        assert entry(daemon, name, "e--1") == f"{mac},{name}"
    finally:
        assert api.put("/1.0/profiles/default", profile).status == 200
    assert entry(daemon, name, "e--1") is None and volatile(api, name) == {}


def test_entries_are_made_anew_with_the_network(daemon, api, name):
    make(api, name, {"ipv4.address": "192.0.2.10"})
    mac = volatile(api, name)["eth0.hwaddr"]
    path = daemon.dir / "networks/br0/dnsmasq.hosts"
    (path / "gone.eth0").write_text("00:16:3e:00:00:01,gone\n")
    try:
        set_network(api, dns_mode="none")
        assert entry(daemon, name) == f"{mac},192.0.2.10" and not (path / "gone.eth0").exists()
    finally:
        set_network(api, dns_mode="")
    assert entry(daemon, name) == f"{mac},192.0.2.10,{name}"
    (path / f"{name}.eth0").unlink()
    daemon.restart()
    assert entry(daemon, name) == f"{mac},192.0.2.10,{name}"


def test_none_is_never_written(daemon, api, name):
    make(api, name, {"ipv4.address": "none", "security.ipv4_filtering": "true"})
    assert entry(daemon, name) == f"{volatile(api, name)['eth0.hwaddr']},{name}"


@pytest.mark.ours
def test_static_address_is_what_dhcp_gives(daemon, api, name):
    """T26; lesson 6: also when another lease is there already"""
    make(api, name)
    api.done(api.state(name, "start"))
    first = ask_for_lease(api, name)
    assert first.startswith("192.0.2.")
    static = "192.0.2.10" if first != "192.0.2.10" else "192.0.2.11"
    api.done(change(api, name, {"eth0": {**NIC, "ipv4.address": static}}))
    assert entry(daemon, name) == f"{volatile(api, name)['eth0.hwaddr']},{static},{name}"
    eventually(lambda: first not in {l["address"] for l in api.get(f"{NETWORK}/leases")}, what="the old lease is given back")
    assert ask_for_lease(api, name) == static
    eventually(lambda: dns.ask("192.0.2.1", f"{name}.lxd") == (dns.NOERROR, [static]), what="the name is known")


def test_removed_nic_gives_its_lease_back(daemon, api, name):
    make(api, name)
    api.done(api.state(name, "start"))
    address = ask_for_lease(api, name)
    assert address in {l["address"] for l in api.get(f"{NETWORK}/leases")}
    api.done(change(api, name, {}, remove=["eth0"]))
    leases = daemon.dir / "networks/br0/dnsmasq.leases"
    eventually(lambda: address not in leases.read_text(), what="the lease is given back")


# --- refusals

STATIC = [
    ({"ipv4.address": "198.51.100.1"}, 'Device IP address "198.51.100.1" not within network "br0" subnet'),
    ({"ipv4.address": "192.0.2.1"}, 'IP address "192.0.2.1" is assigned to parent managed network device "br0"'),
    ({"ipv4.address": "none"}, "Cannot have ipv4.address as none unless using security.ipv4_filtering"),
    ({"ipv6.address": "2001:db8::10"}, 'Cannot specify "ipv6.address" when DHCP or "ipv6.dhcp.stateful" are disabled '
                                       '(unless using security.ipv6_filtering) on network "br0"'),
    ({"foo": "bar"}, 'Invalid device option "foo"'),
    ({"security.mac_filtering": "maybe"}, 'Invalid value for device option "security.mac_filtering"'),
    ({"security.ipv4_filtering": "2"}, 'Invalid value for device option "security.ipv4_filtering"'),
    ({"security.ipv6_filtering": "oui"}, 'Invalid value for device option "security.ipv6_filtering"'),
    ({"limits.ingress": "12q"}, 'Invalid value for device option "limits.ingress"'),
    ({"nictype": "bridged"}, 'Cannot use "nictype" property in conjunction with "network" property'),
    ({"parent": "br0"}, 'Cannot use "parent" property in conjunction with "network" property'),
    ({"mtu": "1400"}, 'Cannot use "mtu" property in conjunction with "network" property'),
    ({"hwaddr": "00:16:3e"}, "Invalid MAC address, must be 6 bytes of hex separated by colons"),
    ({"host_name": "a/b"}, "Network interface contains invalid characters"),
    ({"vlan": "5"}, "needs VLAN filtering"),
    ({"network": "nope"}, 'Failed loading device "eth0": Failed to load network "nope" for project "default": Network not found'),
    ({"network": "", "nictype": "sriov"}, 'Failed loading device "eth0": Unsupported device type'),
    ({"network": "", "nictype": "bridged"}, 'Invalid value for device option "parent": Required value'),
    ({"network": "", "nictype": "bridged", "parent": "nobr", "security.ipv4_filtering": "true"},
     "IPv4 filtering requires a manually specified ipv4.address when using an unmanaged parent bridge"),
    ({"network": "", "nictype": "bridged", "parent": "nobr", "ipv4.address": "192.0.2.9"},
     "Cannot use manually specified ipv4.address when using unmanaged parent bridge"),
]


@pytest.fixture(scope="module")
def victim(daemon, br0):
    """A running instance with a NIC that works, whatever is tried with it."""
    fresh = daemon.new_name()
    daemon.api.launch(fresh, devices={"eth0": {**NIC, "ipv4.address": "192.0.2.3"}})
    daemon.api.sh(fresh, "ip link set eth0 up; ip addr add 192.0.2.3/24 dev eth0")
    yield fresh
    daemon.api.remove(fresh)


def assert_untouched(daemon, name, before):
    assert daemon.api.get(url(name))["devices"] == before["devices"]
    assert volatile(daemon.api, name) == {k.removeprefix("volatile."): v for k, v in before["config"].items()
                                          if re.fullmatch(r"volatile\..*\.(hwaddr|name|host_name)", k)}
    daemon.api.sh(name, "ping -c 1 -W 2 192.0.2.1")


@pytest.mark.ours
@pytest.mark.parametrize(("options", "text"), STATIC, ids=[text[:40] for _, text in STATIC])
def test_refused_and_nothing_changes(daemon, api, victim, options, text):
    """T27, T38: on a running instance, at creation, and in a profile"""
    before = api.get(url(victim))
    nic = {k: v for k, v in {**NIC, **options}.items() if v}
    error = api.failure(change(api, victim, {"eth0": nic}))
    assert error.startswith('Invalid devices: Device validation failed for "eth0": ') and text in error
    assert_untouched(daemon, victim, before)
    assert text in api.failure(api.create(f"{victim}x", devices={"eth0": nic}))
    assert api.request("GET", url(f"{victim}x")).status == 404
    reply = api.post("/1.0/profiles", {"name": "bad", "devices": {"eth0": nic}})
    assert reply.status == 400 and text in reply.error
    assert api.request("GET", "/1.0/profiles/bad").status == 404


@pytest.mark.ours
def test_what_another_instance_has_is_refused(daemon, api, victim, name):
    """T27: by creation, copy, update and profile; the other's NIC works on"""
    before = api.get(url(victim))
    mac = volatile(api, victim)["eth0.hwaddr"]
    make(api, name)
    mine = api.get(url(name))
    for option, value, text in (("ipv4.address", "192.0.2.3", 'IP address "192.0.2.3" already defined on another NIC'),
                                ("hwaddr", mac, f'MAC address "{mac}" already defined on another NIC')):
        nic = {**NIC, option: value}
        error = api.failure(api.create(f"{name}x", devices={"eth0": nic}))
        assert error.endswith(f'Failed add validation for device "eth0": {text}')
        assert api.failure(change(api, name, {"eth0": nic})) == f'Failed update validation for device "eth0": {text}'
        assert api.get(url(name))["devices"] == mine["devices"]
    error = api.failure(api.post("/1.0/instances", {"name": f"{name}x", "source": {"type": "copy", "source": victim}}))
    assert 'IP address "192.0.2.3" already defined on another NIC' in error
    assert api.request("GET", url(f"{name}x")).status == 404
    assert_untouched(daemon, victim, before)


@pytest.mark.ours
def test_profile_that_makes_its_users_conflict_is_refused(api, pair):
    profile = api.get("/1.0/profiles/default")
    for name in pair:
        api.done(api.create(name, profiles=["default"]))
    with_nic = {**profile, "devices": {**profile["devices"], "eth0": NIC}}
    try:
        assert api.put("/1.0/profiles/default", with_nic).status == 200
        with_address = {**NIC, "ipv4.address": "192.0.2.40"}
        reply = api.put("/1.0/profiles/default", {**profile, "devices": {**profile["devices"], "eth0": with_address}})
        assert reply.status == 409 and 'IP address "192.0.2.40" already defined on another NIC' in reply.error
        assert api.get("/1.0/profiles/default")["devices"]["eth0"] == NIC
    finally:
        assert api.put("/1.0/profiles/default", profile).status == 200


def test_second_nic_on_one_network(api, name):
    """T28"""
    make(api, name)
    reply = change(api, name, {"eth1": NIC})
    assert api.failure(reply).endswith(f'Instance DNS name "{name.lower()}" already used on network')
    set_network(api, dns_mode="none")
    try:
        api.done(change(api, name, {"eth1": NIC}))
        api.done(change(api, name, {}, remove=["eth1"]))
    finally:
        set_network(api, dns_mode="")


@pytest.mark.ours
def test_names_in_dns_know_no_case(api, pair):
    one, two = pair[0], pair[0].upper()
    make(api, one)
    assert f'Instance DNS name "{one.lower()}" already used' in api.failure(api.create(two, devices={"eth0": NIC}))
    make(api, pair[1])
    assert f'Instance DNS name "{one.lower()}" already used' in api.failure(api.post(url(pair[1]), {"name": two}))
    assert api.get(url(pair[1]))["name"] == pair[1]


@pytest.mark.ours
def test_names_inside_are_unique(api, name):
    make(api, name)
    error = api.failure(change(api, name, {"lan": {"type": "nic", "nictype": "p2p", "name": "eth0"}}))
    assert error.endswith('Duplicate NIC name detected "eth0"')
    error = api.failure(change(api, name, {"a": {"type": "nic", "nictype": "p2p", "name": "x1"},
                                           "b": {"type": "nic", "nictype": "p2p", "name": "x1"}}))
    assert error == 'Invalid expanded devices: Device validation failed for "b": Duplicate NIC name detected "x1"'


@pytest.mark.ours
def test_network_change_that_shuts_an_address_out(api, victim):
    reply = api.patch(NETWORK, {"config": {"ipv4.address": "198.51.100.1/24"}})
    assert reply.status == 400 and reply.error == (f'Device IP address "192.0.2.3" not within network "br0" subnet (device "eth0" of '
                                                   f'instance "{victim}")')
    assert api.get(NETWORK)["config"]["ipv4.address"] == V4


@pytest.mark.ours
def test_many_at_once_share_no_address(api, daemon):
    """Two changes at the same time: one wins."""
    names = [daemon.new_name() for _ in range(6)]
    for name in names:
        make(api, name)
    replies = [change(api, name, {"eth0": {**NIC, "ipv4.address": "192.0.2.50"}}) for name in names]
    results = [api.wait(reply)["status"] for reply in replies]
    assert results.count("Success") == 1
    assert sum(api.get(url(name))["devices"]["eth0"].get("ipv4.address") == "192.0.2.50" for name in names) == 1
    for name in names:
        api.remove(name)


# --- addresses for filters


@pytest.mark.ours
def test_filtered_nic_gets_an_address_that_stays(daemon, api, name):
    """T29"""
    make(api, name, {"security.ipv4_filtering": "true", "security.ipv6_filtering": "true"})
    api.done(api.state(name, "start"))
    mac, v4, v6, instance = entry(daemon, name).split(",")
    assert mac == volatile(api, name)["eth0.hwaddr"] and v4.startswith("192.0.2.") and instance == name
    assert "ipv4.address" not in api.get(url(name))["devices"]["eth0"]
    assert v4 in net.run("nft", "-nn", "list", "table", "bridge", "lxd")
    assert ask_for_lease(api, name) == v4
    api.done(api.state(name, "restart", force=True))
    assert entry(daemon, name) == f"{mac},{v4},{v6},{name}"
    daemon.restart()
    assert entry(daemon, name) == f"{mac},{v4},{v6},{name}"
    # off, and on again on the running instance
    api.done(change(api, name, {"eth0": NIC}))
    assert entry(daemon, name) == f"{mac},{name}"
    api.done(change(api, name, {"eth0": {**NIC, "security.ipv4_filtering": "true"}}))
    assert entry(daemon, name).split(",")[1].startswith("192.0.2.")


@pytest.mark.ours
def test_filter_without_an_address_to_give_starts_blocked(daemon, api, name):
    """T30"""
    set_network(api, ipv4_dhcp="false", ipv6_dhcp="false")
    try:
        make(api, name, {"security.ipv4_filtering": "true", "security.ipv6_filtering": "true"})
        api.done(api.state(name, "start"))
        assert entry(daemon, name) == f"{volatile(api, name)['eth0.hwaddr']},{name}"
        status, _, _ = api.run(name, "sh", "-c", "ip link set eth0 up; ip addr add 192.0.2.77/24 dev eth0; ping -c 1 -W 1 192.0.2.1")
        assert status != 0
    finally:
        api.remove(name)
        set_network(api, ipv4_dhcp="", ipv6_dhcp="")


# --- commands


@pytest.fixture(params=["lxc", GO_CLIENT], ids=["ours", "go"])
def lxc(request, daemon, tmp_path):
    program = client.OURS if request.param == "lxc" else request.param
    if not os.path.exists(program):
        pytest.skip(f"{program} is not installed")
    return client.ClientProgram(daemon, program, tmp_path / "client", key=False)


def test_device_commands(daemon, api, name, lxc):
    """T37"""
    profile = api.get("/1.0/profiles/default")
    nic = {**NIC, "security.mac_filtering": "true", "limits.max": "10Mbit"}
    assert api.put("/1.0/profiles/default", {**profile, "devices": {**profile["devices"], "eth0": nic}}).status == 200
    try:
        api.done(api.create(name, profiles=["default"]))
        wrong = "Device from profile(s) cannot be modified for individual instance. Override device or modify profile instead"
        assert wrong in lxc.error("config", "device", "set", name, "eth0", "limits.max=1Mbit")
        assert "Device from profile(s) cannot be removed" in lxc.error("config", "device", "remove", name, "eth0")
        assert "Device from profile(s) cannot be retrieved" in lxc.error("config", "device", "get", name, "eth0", "limits.max")
        assert f"Device eth0 overridden for {name}" in lxc("config", "device", "override", name, "eth0", "ipv4.address=192.0.2.60")[0]
        assert api.get(url(name))["devices"] == {"eth0": {**nic, "ipv4.address": "192.0.2.60"}}
        assert "The device already exists" in lxc.error("config", "device", "override", name, "eth0")
        assert "The device already exists" in lxc.error("config", "device", "add", name, "eth0", "nic", "network=br0")
        lxc("config", "device", "set", name, "eth0", "ipv4.address=192.0.2.61")
        assert lxc("config", "device", "get", name, "eth0", "ipv4.address")[0] == "192.0.2.61\n"
        assert "192.0.2.61" in entry(daemon, name)
        assert "not within network" in lxc.error("config", "device", "set", name, "eth0", "ipv4.address=203.0.113.1")
        lxc("config", "device", "unset", name, "eth0", "ipv4.address")
        assert lxc("config", "device", "list", name)[0] == "eth0\n"
        assert f"Device eth0 removed from {name}" in lxc("config", "device", "remove", name, "eth0")[0]
        assert api.get(url(name))["devices"] == {} and api.get(url(name))["expanded_devices"]["eth0"] == nic
        assert "The profile device doesn't exist" in lxc.error("config", "device", "override", name, "zz")
        assert "already used on network" in lxc.error("network", "attach", "br0", name, "eth5")
    finally:
        api.remove(name)
        assert api.put("/1.0/profiles/default", profile).status == 200


@pytest.mark.ours
def test_copy_command_can_give_another_address(daemon, api, pair, lxc):
    one, two = pair
    make(api, one, {"ipv4.address": "192.0.2.70"})
    assert 'IP address "192.0.2.70" already defined on another NIC' in lxc.error("copy", one, two)
    assert api.request("GET", url(two)).status == 404
    lxc("copy", one, two, "-d", "eth0,ipv4.address=192.0.2.71")
    assert "192.0.2.71" in entry(daemon, two) and "192.0.2.70" in entry(daemon, one)
