"""Managed networks: /1.0/networks, and what stands behind it in the kernel."""
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

from helpers import net
from helpers.daemon import REFERENCE, eventually

URL = "/1.0/networks"
GO_CLIENT = "/usr/bin/lxc"
V4, V6 = "192.0.2.1/24", "2001:db8::1/64"
BOTH = {"ipv4.address": V4, "ipv6.address": V6}
NONE = {"ipv4.address": "none", "ipv6.address": "none"}


@pytest.fixture(scope="module")
def daemon(bare_daemon):
    """No image is needed here."""
    return bare_daemon


@pytest.fixture(autouse=True)
def no_networks(daemon):
    """Each test begins and ends without managed networks, and leaves nothing of them."""
    yield
    if not daemon.alive:
        daemon.start()
    daemon.api.put("/1.0/profiles/default", {"devices": {}, "config": {}, "description": ""})
    for network in managed(daemon.api):
        reply = daemon.api.delete(f"{URL}/{network}")
        assert reply.status == 200, reply
    assert not [n for n, l in net.links().items() if l.get("linkinfo", {}).get("info_kind") == "bridge"]
    assert not list((daemon.dir / "networks").glob("*"))
    eventually(lambda: not any(net.dnsmasq(n) for n in ("br0", "br1", "br2")), what="no dnsmasq is left")


def managed(api):
    return sorted(n["name"] for n in api.get(f"{URL}?recursion=1") if n["managed"])


def create(api, name="br0", config=None, **more):
    reply = api.post(URL, {"name": name, "config": BOTH if config is None else config, **more})
    assert reply.status == 201, reply
    return reply


def config_of(api, name="br0"):
    return api.get(f"{URL}/{name}")["config"]


def change(api, name="br0", **config):
    """PATCH keys; underscores stand for dots."""
    return api.patch(f"{URL}/{name}", {"config": {k.replace("_", "."): v for k, v in config.items()}})


@pytest.fixture
def br0(api):
    create(api)
    return "br0"


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


# --- dnsmasq ---

def test_arguments_of_dnsmasq(api):
    """T12, T13"""
    create(api, config={**BOTH, "ipv4.dhcp.ranges": "192.0.2.100-192.0.2.110,192.0.2.120-192.0.2.130", "ipv4.dhcp.gateway": "192.0.2.9",
                        "ipv4.dhcp.expiry": "7h", "dns.search": "example.org", "dns.domain": "zz", "bridge.mtu": "1400"})
    (_, words), = net.dnsmasq("br0").items()
    for word in ("--dhcp-option-force=3,192.0.2.9", "--dhcp-option-force=26,1400", "--dhcp-option-force=119,example.org",
                 "192.0.2.100,192.0.2.110,7h", "192.0.2.120,192.0.2.130,7h", "::,constructor:br0,ra-stateless,ra-names",
                 "_gateway.zz,br0", "/zz/"):
        assert word in words, (word, words)
    for config, word in (({"ipv6.dhcp.stateful": "true"}, "2001:db8::2,2001:db8::ffff:ffff:ffff:ffff,64,1h"),
                         ({"ipv6.dhcp.stateful": "true", "ipv6.dhcp.ranges": "2001:db8::10-2001:db8::20"}, "2001:db8::10,2001:db8::20,64,1h"),
                         ({"ipv6.dhcp": "false", "ipv6.dhcp.ranges": "", "ipv6.dhcp.stateful": ""}, "::,constructor:br0,ra-only")):
        assert api.patch(f"{URL}/br0", {"config": config}).status == 200
        (_, words), = net.dnsmasq("br0").items()
        assert word in words, (word, words)


@pytest.mark.ours
def test_dnsmasq_comes_back(api, br0):
    """T16"""
    (pid, _), = net.dnsmasq("br0").items()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: net.dnsmasq("br0").keys() - {pid}, timeout=15, what="another dnsmasq")
    assert [w for w in api.get("/1.0/warnings?recursion=1") if "br0" in w["last_message"] + w["entity_url"]]


def test_leases_of_the_network_itself(api, br0):
    """T19, as far as it goes without instances."""
    got = [(l["hostname"], l["hwaddr"], l["address"], l["type"]) for l in api.get(f"{URL}/br0/leases")]
    assert got == [("br0.gw", "", "192.0.2.1", "gateway"), ("br0.gw", "", "2001:db8::1", "gateway")]


# --- rules ---

@pytest.fixture
def hosts(api):
    """A guest on br0 and a machine elsewhere, which has no route to the guest's subnet."""
    guest, far = net.Host("port0"), net.Host("uplink")
    net.run("ip", "addr", "add", "203.0.113.1/24", "dev", "uplink")
    far.address("203.0.113.9/24")
    far.run("ip", "route", "add", "198.51.100.200", "via", "203.0.113.1")
    guest.address("192.0.2.10/24", "192.0.2.1")
    yield guest, far
    guest.close()
    far.close()


ASK = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.connect(("203.0.113.9", 7)); s.send(b"x")
try:
    print(s.recv(100).decode())
except OSError as e:
    print(type(e).__name__)
"""
ANSWER = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("203.0.113.9", 7)); s.settimeout(10); print("ready", flush=True)
while True:
    _, who = s.recvfrom(100)
    try:
        s.sendto(who[0].encode(), who)
    except OSError:
        pass  # no way back
"""


@pytest.fixture
def answering(hosts):
    """The far machine answers with the address that it sees."""
    server = subprocess.Popen(["nsenter", f"--net=/proc/{hosts[1].process.pid}/ns/net", "/usr/bin/python3", "-c", ANSWER],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout.readline() == "ready\n"
    yield hosts[0]
    server.kill()
    server.wait()


def plug(guest):
    net.run("ip", "link", "set", guest.port, "master", "br0")


def names_of_rules():
    return {c for c in net.chains() if c.endswith(".br0")}


@pytest.mark.ours
def test_rules_follow_the_keys(api):
    """T9"""
    create(api, config={**BOTH, "ipv4.nat": "true", "ipv6.nat": "true"})
    assert names_of_rules() == {"pstrt.br0", "fwd.br0", "in.br0", "out.br0"}
    text = net.chains()
    assert "hook postrouting priority 100" in text["pstrt.br0"] and "hook forward priority 0" in text["fwd.br0"]
    assert api.patch(f"{URL}/br0", {"config": {"ipv4.firewall": "false", "ipv6.firewall": "false"}}).status == 200
    assert names_of_rules() == {"pstrt.br0"}
    assert api.patch(f"{URL}/br0", {"config": {"ipv4.nat": "false", "ipv6.nat": "false"}}).status == 200
    assert names_of_rules() == set()
    assert api.patch(f"{URL}/br0", {"config": {"ipv4.firewall": "true", "ipv4.nat": "true"}}).status == 200
    assert api.post(f"{URL}/br0", {"name": "br1"}).status == 201
    assert names_of_rules() == set() and {"pstrt.br1", "fwd.br1"} <= set(net.chains())
    assert api.delete(f"{URL}/br1").status == 200
    assert not [c for c in net.chains() if c.endswith(".br1")]


def test_masquerade_and_nat_address(api, hosts, answering):
    """T11"""
    create(api, config={"ipv4.address": V4, "ipv6.address": "none", "ipv4.nat": "true"})
    plug(answering)
    assert eventually(lambda: answering.python(ASK) == "203.0.113.1")
    assert api.patch(f"{URL}/br0", {"config": {"ipv4.nat.address": "198.51.100.200"}}).status == 200
    assert answering.python(ASK) == "198.51.100.200"
    assert api.patch(f"{URL}/br0", {"config": {"ipv4.nat": "false"}}).status == 200
    assert answering.python(ASK) in ("timeout", "TimeoutError"), "no way back to the subnet without translation"
    hosts[1].run("ip", "route", "add", "192.0.2.0/24", "via", "203.0.113.1")
    assert answering.python(ASK) == "192.0.2.10"


ASK_DNS = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.connect(("192.0.2.1", 53))
s.send(bytes.fromhex("000101000001000000000000085f67617465776179036c78640000010001"))
try:
    print(socket.inet_ntoa(s.recv(512)[-4:]))
except OSError as e:
    print(type(e).__name__)
"""


def test_routing_refused(api, answering):
    """T10"""
    create(api, config={"ipv4.address": V4, "ipv6.address": "none", "ipv4.nat": "true", "ipv4.routing": "false"})
    plug(answering)
    eventually(lambda: answering.python(ASK_DNS) == "192.0.2.1", what="names are answered")
    assert answering.python(ASK) == "ConnectionRefusedError"
    assert answering.python(ASK_DNS) == "192.0.2.1"


@pytest.mark.ours
def test_rules_are_there_throughout_a_change(api, br0):
    """T17: whoever looks at any moment sees them."""
    assert api.patch(f"{URL}/br0", {"config": {"ipv4.nat": "true"}}).status == 200
    missing, stop = [], threading.Event()

    def watch():
        while not stop.is_set():
            if not {"fwd.br0", "pstrt.br0"} <= set(net.chains()):
                missing.append(time.monotonic())
    watcher = threading.Thread(target=watch)
    watcher.start()
    for n in range(10):
        assert api.patch(f"{URL}/br0", {"config": {"ipv4.address": f"192.0.2.{n + 1}/24"}}).status == 200
    stop.set()
    watcher.join()
    assert not missing


@pytest.mark.ours
def test_rules_after_a_crash_are_those_of_before(daemon, api, br0):
    """T23"""
    before = net.chains()
    daemon.kill()
    daemon.start()
    assert net.chains() == before and before


# --- the daemon's life ---

def test_networks_outlive_the_daemon(daemon, api, br0):
    """T23"""
    index = net.link("br0")["ifindex"]
    for sig in (signal.SIGTERM, signal.SIGKILL):
        daemon.stop(sig)
        assert net.link("br0")["ifindex"] == index and net.addresses("br0") == {V4, V6} and len(net.dnsmasq("br0")) == 1
        daemon.start()
        assert net.link("br0")["ifindex"] == index and net.addresses("br0") == {V4, V6}
        assert eventually(lambda: len(net.dnsmasq("br0")) == 1)
        assert api.get(f"{URL}/br0")["status"] == "Created"


@pytest.mark.ours
def test_what_others_changed_is_put_right_at_start(daemon, api, br0):
    daemon.stop()
    net.run("ip", "addr", "flush", "dev", "br0")
    net.run("ip", "addr", "add", "203.0.113.1/24", "dev", "br0")
    net.run("ip", "link", "set", "br0", "down")
    daemon.start()
    assert net.addresses("br0") == {V4, V6} and "UP" in net.link("br0")["flags"]


@pytest.mark.ours
def test_foreign_interface_is_not_taken_at_start(daemon, api, br0):
    daemon.stop()
    net.run("ip", "link", "del", "br0")
    net.run("ip", "link", "add", "br0", "type", "bridge")
    net.run("ip", "addr", "add", "203.0.113.1/24", "dev", "br0")
    daemon.start()
    try:
        assert net.addresses("br0") == {"203.0.113.1/24"}
        got = api.get(f"{URL}/br0")
        assert got["status"] == "Unavailable" and got["managed"]
        warning, = [w for w in api.get("/1.0/warnings?recursion=1") if w["type"] == "Network unavailable"]
        assert warning["last_message"] == 'Network interface "br0" already exists' and warning["status"] == "new"
        # deleting the network leaves what is not ours
        assert api.delete(f"{URL}/br0").status == 200
        assert net.addresses("br0") == {"203.0.113.1/24"}
        assert [w["status"] for w in api.get("/1.0/warnings?recursion=1") if w["type"] == "Network unavailable"] == ["resolved"]
    finally:
        net.run("ip", "link", "del", "br0")


@pytest.mark.ours
def test_unavailable_network_is_there_after_a_change(daemon, api, br0):
    daemon.stop()
    net.run("ip", "link", "del", "br0")
    net.run("ip", "link", "add", "br0", "type", "bridge")
    daemon.start()
    assert api.get(f"{URL}/br0")["status"] == "Unavailable"
    assert change(api, dns_domain="zz").status == 400
    assert api.get(f"{URL}/br0")["status"] == "Unavailable" and "dns.domain" not in config_of(api)
    net.run("ip", "link", "del", "br0")
    assert change(api, dns_domain="zz").status == 200
    assert api.get(f"{URL}/br0")["status"] == "Created" and net.addresses("br0") == {V4, V6}


@pytest.mark.ours
def test_failed_rename_is_undone(daemon, api, br0):
    index = net.link("br0")["ifindex"]
    (daemon.dir / "networks/br1").write_text("a file where the folder should go")
    try:
        assert api.post(f"{URL}/br0", {"name": "br1"}).status == 500
    finally:
        (daemon.dir / "networks/br1").unlink()
    got = api.get(f"{URL}/br0")
    assert got["status"] == "Created" and managed(api) == ["br0"] and not net.link("br1")
    assert net.addresses("br0") == {V4, V6} and len(net.dnsmasq("br0")) == 1 and net.link("br0")["ifindex"] != index
    assert api.post(f"{URL}/br0", {"name": "br1"}).status == 201


@pytest.mark.ours
def test_unavailable_network_is_tried_again(daemon, api, br0):
    """Takes a minute."""
    daemon.stop()
    net.run("ip", "link", "del", "br0")
    net.run("ip", "link", "add", "br0", "type", "bridge")
    daemon.start()
    assert api.get(f"{URL}/br0")["status"] == "Unavailable"
    net.run("ip", "link", "del", "br0")
    eventually(lambda: api.get(f"{URL}/br0")["status"] == "Created", timeout=75, what="the network is there")
    assert net.addresses("br0") == {V4, V6}
    assert [w["status"] for w in api.get("/1.0/warnings?recursion=1") if w["type"] == "Network unavailable"] == ["resolved"]


@pytest.mark.ours
def test_shutdown_takes_networks_down(daemon, api, br0):
    assert daemon.stop(signal.SIGPWR) == 0
    assert not net.link("br0") and not net.dnsmasq("br0")
    daemon.start()
    assert net.addresses("br0") == {V4, V6} and len(net.dnsmasq("br0")) == 1


REQUESTS = {
    "create": lambda api: api.post(URL, {"name": "br1", "config": {"ipv4.address": "198.51.100.1/24", "ipv6.address": "none"}}),
    "update": lambda api: api.patch(f"{URL}/br0", {"config": {"ipv4.address": "192.0.2.7/24", "dns.domain": "zz"}}),
    "rename": lambda api: api.post(f"{URL}/br0", {"name": "br2"}),
    "delete": lambda api: api.delete(f"{URL}/br0"),
}


@pytest.mark.ours
@pytest.mark.parametrize("what", REQUESTS)
def test_killed_in_the_middle(daemon, api, what):
    """Whenever the daemon dies, the next one has each network whole or not at all."""
    def ask():
        try:
            REQUESTS[what](api)
        except (OSError, http.client.HTTPException):
            pass  # that is what it is about
    for delay in (0, 2, 5, 10, 20, 35, 60, 100):
        if "br0" not in managed(api):
            for left in managed(api):
                assert api.delete(f"{URL}/{left}").status == 200
            create(api)
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(delay / 1000)
        daemon.kill()
        asking.join()
        daemon.start()
        names = managed(api)
        assert len(names) in ((1,) if what in ("update", "rename") else (0, 1, 2)), names
        bridges = sorted(n for n, l in net.links().items() if l.get("linkinfo", {}).get("info_kind") == "bridge")
        assert bridges == names, (delay, bridges)
        assert sorted(p.name for p in (daemon.dir / "networks").iterdir()) == names
        for network in names:
            got = api.get(f"{URL}/{network}")
            assert got["status"] == "Created"
            assert got["config"]["ipv4.address"] in net.addresses(network)
            (_, words), = eventually(lambda: net.dnsmasq(network)).items()
            assert ("zz" in words) == (got["config"].get("dns.domain") == "zz")
        for gone in {"br0", "br1", "br2"} - set(names):
            assert not net.dnsmasq(gone), (delay, gone)
        assert {c.rsplit(".", 1)[1] for c in net.chains()} == set(names)
        if "br1" in names:
            assert api.delete(f"{URL}/br1").status == 200


@pytest.mark.ours
def test_change_is_finished_before_the_daemon_ends(daemon, api, br0):
    """SIGTERM in the middle: the network is as the old or the new row says when the daemon is gone, and nobody starts it again."""
    for n in range(6):
        wanted = f"192.0.2.{n + 11}/24"

        def ask():
            try:
                api.patch(f"{URL}/br0", {"config": {"ipv4.address": wanted}})
            except (OSError, http.client.HTTPException):
                pass  # the daemon may be gone before it answers
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(n * 0.008)
        assert daemon.stop() == 0
        asking.join()
        here, served = net.addresses("br0"), net.dnsmasq("br0")
        daemon.start()
        assert config_of(api)["ipv4.address"] in here and net.dnsmasq("br0").keys() == served.keys()


@pytest.mark.ours
def test_many_at_once(api):
    """Changes wait for one another; none is lost and nothing is made twice."""
    replies = []

    def ask(n):
        replies.append(api.post(URL, {"name": f"br{n % 2}", "config": NONE}).status)
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) == [201, 201, 400, 400, 400, 400, 400, 400]
    assert managed(api) == ["br0", "br1"]
