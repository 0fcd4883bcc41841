"""Managed networks: /1.0/networks, and what stands behind it in the kernel."""
import json
import os
import pathlib
import re
import subprocess
import time

import pytest

from helpers import net
from helpers.daemon import REFERENCE, eventually
from helpers.networks import BOTH, NONE, URL, V4, V6, br0, change, config_of, create, daemon, managed, no_networks  # noqa: F401

GO_CLIENT = "/usr/bin/lxc"


@pytest.fixture
def pair():
    """A pair of free interfaces of the host, like the two ends of a NIC."""
    net.run("ip", "link", "add", "h0", "type", "veth", "peer", "name", "g0")
    yield "h0", "g0"
    subprocess.run(["ip", "link", "del", "h0"], check=False, stderr=subprocess.DEVNULL)


# --- creation ---

def test_create_with_addresses(api, br0):
    """T1"""
    got = api.get(f"{URL}/br0")
    assert got["config"] == BOTH or REFERENCE
    assert {k: v for k, v in got["config"].items() if not k.startswith("volatile")} == BOTH
    assert (got["name"], got["type"], got["managed"], got["status"], got["locations"]) == ("br0", "bridge", True, "Created", ["none"])
    assert got["description"] == "" and not got["used_by"]
    link = net.link("br0")
    assert "UP" in link["flags"] and link["address"].startswith("00:16:3e:")
    assert net.addresses("br0") == {V4, V6}
    assert f"{URL}/br0" in api.get(URL)


def test_create_with_the_existing_go_client(daemon):
    """T1, and the commands beside it."""
    if not os.path.exists(GO_CLIENT):
        pytest.skip("Debian's lxd-client is not installed")
    lxc = lambda *words, **kw: daemon.lxc("network", *words, program=GO_CLIENT, **kw)
    made = lxc("create", "br0", f"ipv4.address={V4}", f"ipv6.address={V6}")
    assert made.stdout == "Network br0 created\n"
    assert net.addresses("br0") == {V4, V6}
    lxc("set", "br0", "dns.domain=zz")
    assert lxc("get", "br0", "dns.domain").stdout == "zz\n"
    lxc("unset", "br0", "dns.domain")
    assert lxc("get", "br0", "dns.domain").stdout.strip() == ""
    assert re.search(r"br0\s*\|\s*bridge\s*\|\s*YES\s*\|\s*192.0.2.1/24\s*\|\s*2001:db8::1/64\s*\|\s*\|\s*0\s*\|\s*CREATED", lxc("list").stdout)
    assert "GATEWAY" in lxc("list-leases", "br0").stdout
    info = lxc("info", "br0").stdout
    for line in ("Name: br0", "MTU: 1500", "State: up", "Type: broadcast", "Bridge:", "STP: false"):
        assert line in info
    edited = lxc("show", "br0").stdout.replace("description: \"\"", "description: edited")
    lxc("edit", "br0", stdin=edited)
    assert daemon.api.get(f"{URL}/br0")["description"] == "edited"
    assert lxc("rename", "br0", "br1").stdout == "Network br0 renamed to br1\n"
    assert lxc("delete", "br1").stdout == "Network br1 deleted\n"
    failed = lxc("create", "br0", "zz=1", check=False)
    assert failed.returncode == 1 and 'Invalid option for network "br0" option "zz"' in failed.stderr


def test_defaults_are_filled_where_nothing_is_said(api):
    """T2"""
    create(api, config={"ipv4.address": "none"})
    config = config_of(api)
    assert re.fullmatch(r"fd42:[0-9a-f:]+::1/64", config["ipv6.address"])
    assert config["ipv6.nat"] == "true" and config["ipv4.address"] == "none" and "ipv4.nat" not in config
    create(api, "br1", config={})
    config = config_of(api, "br1")
    assert re.fullmatch(r"10\.\d+\.\d+\.1/24", config["ipv4.address"]) and config["ipv4.nat"] == "true"


def test_network_without_addresses(daemon, api):
    """T3"""
    create(api, config=NONE)
    assert net.addresses("br0") == set() and net.sysctl("ipv6/conf/br0/disable_ipv6") == "1"
    assert not net.dnsmasq("br0")
    assert api.get(f"{URL}/br0/state")["addresses"] == []
    assert api.get(f"{URL}/br0/leases") == []


@pytest.mark.parametrize("name, status, text", [
    ("x", 400, "Network interface is too short (minimum 2 characters)"),
    ("sixteen-letters-", 400, "Network interface is too long (maximum 15 characters)"),
    ("a b", 400, "Network interface contains invalid characters"),
    ("a/b", 400, "Network interface contains invalid characters"),
    ("lo", 400, 'Network interface "lo" already exists'),
    ("br0", 400, "The network already exists"),
    ("", 400, "No name provided"),
])
def test_bad_names(api, br0, name, status, text):
    """T4, T7"""
    before = net.links()
    reply = api.post(URL, {"name": name, "config": NONE})
    assert reply.error.endswith(text)
    assert reply.status == status or REFERENCE
    assert managed(api) == ["br0"] and net.links().keys() == before.keys()


def test_bad_type(api):
    reply = api.post(URL, {"name": "br0", "type": "zz"})
    assert reply.status == 400 and "Unknown driver" in reply.error and managed(api) == []


BAD_CONFIG = [
    ({"zz": "1"}, 'Invalid option for network "br0" option "zz"'),
    ({"bridge.mtu": "500"}, 'Invalid value for network "br0" option "bridge.mtu": Out of MTU range (1280-16384) "500"'),
    ({"ipv4.address": "192.0.2.0/24"}, 'Not a usable IPv4 address "192.0.2.0/24"'),
    ({"ipv4.address": "foo"}, "invalid CIDR address: foo"),
    ({"ipv4.dhcp.ranges": "1.2.3.4"}, 'Item "1.2.3.4": IP range must contain start and end IP addresses'),
    ({"bridge.driver": "foo"}, 'Invalid value "foo" (not one of [native openvswitch])'),
    ({"bridge.hwaddr": "zz"}, "Invalid MAC address, must be 6 bytes of hex separated by colons"),
    ({"ipv4.nat": "maybe"}, "Invalid value for a boolean"),
]


@pytest.mark.parametrize("config, text", BAD_CONFIG)
def test_bad_configuration(api, br0, config, text):
    """T5"""
    served = net.dnsmasq("br0")
    reply = api.patch(f"{URL}/br0", {"config": config})
    assert text in reply.error and (reply.status == 400 or REFERENCE)
    assert {k: v for k, v in config_of(api).items() if not k.startswith("volatile")} == BOTH
    assert net.dnsmasq("br0").keys() == served.keys()
    reply = api.post(URL, {"name": "br1", "config": config})
    assert text.replace("br0", "br1") in reply.error and managed(api) == ["br0"] and not net.link("br1")


@pytest.mark.ours
@pytest.mark.parametrize("config, text", [
    ({"security.acls": "a"}, "Network ACLs are not supported by this server yet"),
    ({"bridge.driver": "openvswitch"}, "Open vSwitch bridges are not supported"),
    ({"bridge.mode": "fan"}, "Fan bridges are not supported"),
    ({"tunnel.a.protocol": "gre"}, "Tunnels between bridges are not supported"),
    ({"ipv4.dhcp.ranges": "198.51.100.2-198.51.100.9"}, 'is not within the subnet 192.0.2.0/24'),
    ({"ipv6.address": "none", "ipv4.address": "none", "bridge.hwaddr": "00:16:3e:00:00:01", "bridge.external_interfaces": "h0"},
     'Cannot use "bridge.hwaddr" with "bridge.external_interfaces"'),
])
def test_what_is_missing_is_said(api, br0, config, text):
    reply = api.patch(f"{URL}/br0", {"config": config})
    assert reply.status == 400 and text in reply.error
    assert config_of(api) == BOTH


@pytest.mark.ours
def test_subnets_are_chosen_beside_all_that_is_used(api, pair):
    net.run("ip", "link", "set", "h0", "up")
    net.run("ip", "route", "add", "10.0.0.0/9", "dev", "h0")
    create(api, config={"ipv6.address": "none"})
    assert int(config_of(api)["ipv4.address"].split(".")[1]) >= 128
    net.run("ip", "route", "add", "10.128.0.0/9", "dev", "h0", "table", "100")
    reply = api.post(URL, {"name": "br1", "config": {"ipv6.address": "none"}})
    assert reply.error == "Failed to automatically find an unused IPv4 subnet, manual configuration required"
    net.run("ip", "route", "del", "10.128.0.0/9", "dev", "h0", "table", "100")
    net.run("ip", "addr", "add", "10.200.0.1/8", "dev", "h0")
    assert api.post(URL, {"name": "br1", "config": {"ipv6.address": "none"}}).status == 500
    net.run("ip", "addr", "flush", "dev", "h0")
    net.run("ip", "route", "flush", "dev", "h0")
    # a network that is down counts as well
    create(api, "br1", config={"ipv4.address": "10.0.0.1/8", "ipv6.address": "none"})
    net.run("ip", "link", "del", "br1")
    assert api.post(URL, {"name": "br2", "config": {"ipv6.address": "none"}}).status == 500
    assert managed(api) == ["br0", "br1"]


@pytest.mark.ours
def test_no_packet_is_sent_for_an_automatic_subnet(api, pair):
    net.run("ip", "link", "set", "h0", "up")
    net.run("ip", "link", "set", "g0", "up")
    net.run("ip", "addr", "add", "203.0.113.1/24", "dev", "h0")
    net.run("ip", "route", "add", "default", "via", "203.0.113.9")
    time.sleep(0.3)
    sent = lambda: int(pathlib.Path("/sys/class/net/h0/statistics/tx_packets").read_text())
    arp = lambda: [n for n in net.ip("neigh", "show", "dev", "h0") if n["dst"] == "203.0.113.9"]
    create(api, config={"ipv6.address": "none"})
    assert arp() == [], "somebody was asked for"
    assert sent() < 20


# --- envelopes ---

def test_envelopes(api):
    """T7"""
    reply = create(api, description="text")
    assert reply.headers["Location"] == f"{URL}/br0"
    assert (reply.json["status_code"], reply.json["metadata"], reply.json["type"]) == (200, None, "sync")
    assert api.get(f"{URL}/br0")["description"] == "text"
    again = api.post(URL, {"name": "br0", "config": BOTH})
    assert (again.status, again.error) == (400, "The network already exists")
    deleted = api.delete(f"{URL}/br0")
    assert deleted.status == 200 and deleted.metadata == {}
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        reply = api.request(method, f"{URL}/br0", None if method in ("GET", "DELETE") else {"config": {}})
        assert reply.status == 404 and reply.error.endswith("Network not found"), (method, reply)
    assert api.post(f"{URL}/br0", {"name": "br1"}).status == 404
    assert api.request("GET", f"{URL}/br0/leases").status == 404
    assert api.request("GET", f"{URL}/br0/state").error == 'Network interface "br0" not found'


def test_put_and_patch(api):
    """T8"""
    create(api, config={**BOTH, "user.a": "1", "dns.search": "example.org"}, description="keep")
    reply = api.request("GET", f"{URL}/br0")
    tag = reply.headers["ETag"]
    assert api.patch(f"{URL}/br0", {"config": {"dns.domain": "zz"}, **({"description": "keep"} if REFERENCE else {})}).status == 200
    got = api.get(f"{URL}/br0")
    assert got["config"]["dns.domain"] == "zz" and got["config"]["user.a"] == "1" and got["config"]["dns.search"] == "example.org"
    assert got["description"] == "keep"
    stale = api.put(f"{URL}/br0", {"config": BOTH}, headers={"If-Match": tag})
    assert stale.status == 412 and stale.error.startswith("ETag doesn't match")
    fresh = api.request("GET", f"{URL}/br0").headers["ETag"]
    reply = api.put(f"{URL}/br0", {"config": BOTH, "description": "new"}, headers={"If-Match": fresh})
    assert reply.status == 200 and reply.metadata == {}
    got = api.get(f"{URL}/br0")
    assert "user.a" not in got["config"] and "dns.domain" not in got["config"] and got["description"] == "new"
    assert change(api, dns_domain="x").status == 200 and change(api, dns_domain="").status == 200
    assert "dns.domain" not in config_of(api)


def test_interfaces_that_are_not_ours(api, pair):
    net.run("ip", "link", "add", "foreign", "type", "bridge")
    try:
        got = {n["name"]: n for n in api.get(f"{URL}?recursion=1")}
        assert (got["lo"]["type"], got["foreign"]["type"], got["h0"]["type"]) == ("loopback", "bridge", "unknown")
        assert not any(got[n]["managed"] for n in ("lo", "foreign", "h0"))
        assert got["foreign"]["status"] == "" and got["foreign"]["locations"] is None and got["foreign"]["config"] == {}
        assert api.get(f"{URL}/lo")["type"] == "loopback"
        assert api.get(f"{URL}/lo/state")["type"] == "loopback"
        assert api.get(f"{URL}/foreign/state")["bridge"]["upper_devices"] == []
        for reply in (api.put(f"{URL}/foreign", {"config": {}}), api.delete(f"{URL}/foreign"), api.post(f"{URL}/foreign", {"name": "br1"})):
            assert reply.status == 404, reply
        assert api.request("GET", f"{URL}/foreign/leases").status == 404
        taken = api.post(URL, {"name": "foreign", "config": NONE})
        assert taken.error == 'Network interface "foreign" already exists' and net.link("foreign")
        net.run("ip", "link", "set", "h0", "name", "veth0")
        assert f"{URL}/veth0" not in api.get(URL) and api.request("GET", f"{URL}/veth0").status == 404
    finally:
        net.run("ip", "link", "del", "foreign")
        subprocess.run(["ip", "link", "del", "veth0"], check=False, stderr=subprocess.DEVNULL)


def test_state(api, br0):
    got = api.get(f"{URL}/br0/state")
    assert {(a["family"], a["address"], a["netmask"], a["scope"]) for a in got["addresses"] if a["scope"] == "global"} == {
        ("inet", "192.0.2.1", "24", "global"), ("inet6", "2001:db8::1", "64", "global")}
    assert (got["mtu"], got["state"], got["type"]) == (1500, "up", "broadcast")
    assert got["hwaddr"] == net.link("br0")["address"]
    assert set(got["counters"]) >= {"bytes_received", "bytes_sent", "packets_received", "packets_sent"}
    assert got["bond"] is None and got["vlan"] is None and got["ovn"] is None
    assert got["bridge"]["id"] == "8000." + got["hwaddr"].replace(":", "") and got["bridge"]["stp"] is False
    assert got["bridge"]["forward_delay"] == 1500


@pytest.mark.ours
def test_events_tell_of_what_was_done_and_of_nothing_else(daemon, api):
    stream = api.websocket("/1.0/events?type=lifecycle")
    create(api)
    change(api, zz="1")
    change(api, user_x="1")
    api.post(f"{URL}/br0", {"name": "br1"})
    api.delete(f"{URL}/br1")
    seen = [json.loads(stream.recv()[1])["metadata"] for _ in range(4)]
    stream.close()
    assert [(e["action"], e["source"]) for e in seen] == [
        ("network-created", f"{URL}/br0"), ("network-updated", f"{URL}/br0"), ("network-renamed", f"{URL}/br1"), ("network-deleted", f"{URL}/br1")]
    assert seen[2]["context"] == {"old_name": "br0"}


# --- use ---

def test_used_network_stays(daemon, api, br0):
    """T6"""
    nic = {"eth0": {"type": "nic", "network": "br0", "name": "eth0"}}
    assert api.put("/1.0/profiles/default", {"devices": nic, "config": {}, "description": ""}).status == 200
    assert api.get(f"{URL}/br0")["used_by"] == ["/1.0/profiles/default"]
    reply = api.delete(f"{URL}/br0")
    assert (reply.status, reply.error) == (400, "The network is currently in use")
    reply = api.post(f"{URL}/br0", {"name": "br1"})
    assert (reply.status, reply.error) == (400, "Network is currently in use")
    assert api.put("/1.0/profiles/default", {"devices": {}, "config": {}, "description": ""}).status == 200
    (pid, _), = net.dnsmasq("br0").items()
    reply = api.post(f"{URL}/br0", {"name": "br1"})
    assert reply.status == 201 and reply.headers["Location"] == f"{URL}/br1"
    assert managed(api) == ["br1"] and not net.link("br0") and net.addresses("br1") == {V4, V6}
    assert sorted(p.name for p in (daemon.dir / "networks").iterdir()) == ["br1"]
    assert not net.dnsmasq("br0") and len(net.dnsmasq("br1")) == 1 and pid not in net.dnsmasq("br1")


def test_bad_renames(api, br0):
    create(api, "br1", config=NONE)
    for name, text in (("", "New network name not provided"), ("br1", 'Network "br1" already exists'),
                       ("lo", 'Network interface "lo" already exists'), ("a b", "contains invalid characters")):
        reply = api.post(f"{URL}/br0", {"name": name})
        assert reply.status >= 400 and text in reply.error, reply
    assert managed(api) == ["br0", "br1"] and net.addresses("br0") == {V4, V6} and net.dnsmasq("br0")


# --- changes of a running network ---

def test_what_changes_nothing_touches_nothing(api, br0):
    """T15"""
    served = net.dnsmasq("br0")
    assert api.patch(f"{URL}/br0", {"description": "x", "config": {"user.x": "y"}}).status == 200
    assert net.dnsmasq("br0").keys() == served.keys()
    got = api.get(f"{URL}/br0")
    assert got["description"] == "x" and got["config"]["user.x"] == "y"


def test_failed_change_leaves_the_old_network(daemon, api, br0):
    """T14"""
    reply = change(api, raw_dnsmasq="bad-option", dns_domain="zz")
    assert reply.status >= 400
    assert 'The DNS and DHCP service exited prematurely: Process exited with non-zero value 1 ("dnsmasq: bad option at line 1 of ' in reply.error
    assert {k: v for k, v in config_of(api).items() if not k.startswith("volatile")} == BOTH
    (pid, words), = net.dnsmasq("br0").items()
    assert "zz" not in words
    create(api, "br1", config={"ipv4.address": "198.51.100.1/24", "ipv6.address": "none"})  # fine beside it
    reply = api.post(URL, {"name": "br2", "config": {**NONE, "ipv4.address": "203.0.113.1/24", "raw.dnsmasq": "bad-option"}})
    assert "bad option" in reply.error and managed(api) == ["br0", "br1"]
    assert not net.link("br2") and not (daemon.dir / "networks/br2").exists()


def test_failed_change_of_addresses_is_undone(api, br0, pair):
    net.run("ip", "addr", "add", "203.0.113.1/24", "dev", "g0")
    reply = api.patch(
        f"{URL}/br0", {"config": {"ipv4.address": "198.51.100.1/24", "bridge.mtu": "1400", "bridge.external_interfaces": "g0"}})
    assert "Only unconfigured network interfaces can be bridged" in reply.error
    assert net.addresses("br0") == {V4, V6} and net.link("br0")["mtu"] == 1500 and "master" not in net.link("g0")


def test_addresses_routes_and_mtu_follow(api, br0, pair):
    """T17, without instances: a port stays, and so do the routes of NICs."""
    net.run("ip", "link", "set", "h0", "master", "br0", "up")
    net.run("ip", "link", "set", "g0", "up")
    eventually(lambda: "LOWER_UP" in net.link("br0")["flags"])
    net.run("ip", "route", "add", "203.0.113.0/24", "dev", "br0")  # protocol boot, like those of NICs
    net.run("ip", "-6", "route", "add", "2001:db8:77::/64", "dev", "br0")
    kept = lambda: ("203.0.113.0/24" in [r["dst"] for r in net.routes()]
                    and "2001:db8:77::/64" in [r["dst"] for r in net.routes(6)])
    assert api.patch(f"{URL}/br0", {"config": {"ipv4.routes": "198.51.100.0/25, 198.51.100.128/26", "ipv6.routes": "2001:db8:9::/60"}}).status == 200
    mine = {r["dst"]: r for r in net.routes() + net.routes(6) if r["dev"] == "br0" and r.get("protocol") == "static"}
    assert set(mine) == {"198.51.100.0/25", "198.51.100.128/26", "2001:db8:9::/60"} and kept()
    assert api.patch(f"{URL}/br0", {"config": {"ipv4.routes": "198.51.100.128/26", "ipv4.address": "192.0.2.2/24", "bridge.mtu": "1400"}}).status == 200
    assert net.addresses("br0") == {"192.0.2.2/24", V6} and net.link("br0")["mtu"] == 1400
    assert [r["dst"] for r in net.routes() if r.get("protocol") == "static"] == ["198.51.100.128/26"] and kept()
    assert net.link("h0")["master"] == "br0" and "UP" in net.link("br0")["flags"]
    assert change(api, ipv6_address="none", ipv6_routes="").status == 200
    assert net.addresses("br0") == {"192.0.2.2/24"} and net.sysctl("ipv6/conf/br0/disable_ipv6") == "1"
    assert change(api, ipv6_address=V6, bridge_mtu="").status == 200
    assert net.addresses("br0") == {"192.0.2.2/24", V6} and net.link("br0")["mtu"] == 1500


def test_hardware_address_stays(daemon, api, br0):
    """T18"""
    mac = lambda: net.link("br0")["address"]
    first = mac()
    assert change(api, dns_domain="zz").status == 200 and mac() == first
    daemon.restart()
    assert mac() == first
    net.run("ip", "link", "del", "br0")
    daemon.restart()
    assert mac() == first and net.addresses("br0") == {V4, V6}
    assert change(api, bridge_hwaddr="00:16:3e:01:02:03").status == 200 and mac() == "00:16:3e:01:02:03"
    assert change(api, bridge_hwaddr="").status == 200 and mac() == first or REFERENCE
    assert api.delete(f"{URL}/br0").status == 200
    create(api)
    assert mac() != first


def test_external_interfaces(api, br0, pair):
    """T20"""
    set_to = lambda value: api.patch(f"{URL}/br0", {"config": {"bridge.external_interfaces": value}})
    assert set_to("h0, not-there").status == 200
    assert net.link("h0")["master"] == "br0" and ("UP" in net.link("h0")["flags"] or REFERENCE)
    assert set_to("").status == 200 and "master" not in net.link("h0")
    net.run("ip", "addr", "add", "203.0.113.1/24", "dev", "g0")
    reply = set_to("h0,g0")
    assert "Only unconfigured network interfaces can be bridged" in reply.error and "bridge.external_interfaces" not in config_of(api)
    assert "master" not in net.link("h0") or REFERENCE
    if REFERENCE:
        return
    net.run("ip", "link", "add", "other", "type", "bridge")
    try:
        net.run("ip", "link", "set", "h0", "master", "other")
        assert set_to("h0").status == 400 and net.link("h0")["master"] == "other", "it is somebody else's port"
    finally:
        net.run("ip", "link", "del", "other")


def test_advertisements_and_forwarding(api, pair):
    """T21"""
    net.sysctl("ipv6/conf/all/forwarding", 0)
    net.sysctl("ipv6/conf/h0/accept_ra", 1)
    net.sysctl("ipv6/conf/g0/accept_ra", 0)
    before = net.sysctl("ipv6/conf/default/accept_ra")
    create(api)
    assert net.sysctl("ipv6/conf/h0/accept_ra") == "2" and net.sysctl("ipv6/conf/g0/accept_ra") == "0"
    assert net.sysctl("ipv4/ip_forward") == "1" and net.sysctl("ipv6/conf/all/forwarding") == "1"
    if not REFERENCE:
        assert net.sysctl("ipv6/conf/br0/accept_ra") == "0" and net.sysctl("ipv6/conf/default/accept_ra") == before


@pytest.mark.ours
def test_advertisement_from_a_port_gives_the_host_no_route(api, br0, pair):
    """T22; the same frame does so where the setting is not ours."""
    net.run("ip", "link", "set", "h0", "master", "br0", "up")
    net.run("ip", "link", "set", "g0", "up")
    eventually(lambda: "LOWER_UP" in net.link("br0")["flags"])
    frame = net.router_advertisement("00:16:3e:00:00:99", "fe80::99")
    learnt = lambda: [r for r in net.routes(6, "default") if r.get("dev") == "br0"]
    for _ in range(5):
        net.send("g0", frame)
        time.sleep(0.05)
    assert learnt() == []
    net.sysctl("ipv6/conf/br0/accept_ra", 2)

    def control():
        net.send("g0", frame)
        return learnt()
    eventually(control, what="the control frame gives a route")
    assert change(api, dns_domain="zz").status == 200  # and a change puts the setting back
    assert net.sysctl("ipv6/conf/br0/accept_ra") == "0"
