"""Real clients of a network: DHCP, DNS, SLAAC and DHCPv6, with filters and without."""
import json
import pathlib
import time

import pytest

from helpers import bridged, dns, frames
from helpers.daemon import eventually
from helpers.lan import run

SCRIPT = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip address replace $ip/$mask dev $interface
echo "$ip router=$router dns=$dns domain=$domain lease=$lease"
"""


@pytest.fixture(scope="module", autouse=True)
def networks(daemon):
    """br0: SLAAC and stateless DHCPv6, an upstream server that is not there; br1: stateful DHCPv6; br2: names as clients wish."""
    bridged.create_network(daemon, "br0", **{"ipv4.dhcp.ranges": "192.0.2.100-192.0.2.200", "raw.dnsmasq": "server=192.0.2.250"})
    bridged.create_network(daemon, "br1", **{"ipv4.address": "none", "ipv6.address": "2001:db8:1::1/64", "ipv6.dhcp.stateful": "true"})
    bridged.create_network(daemon, "br2", **{"ipv4.address": "198.51.100.1/24", "ipv6.address": "2001:db8:2::1/64", "ipv6.dhcp.stateful": "true",
                                      "dns.mode": "dynamic"})
    yield
    daemon.remove_all()
    for name in ("br0", "br1", "br2"):
        assert daemon.api.delete(f"/1.0/networks/{name}").status == 200


@pytest.fixture
def launch(daemon):
    """Starts containers on a network; they go after the test."""
    made = []

    def start(network="br0", **keys):
        name = daemon.new_name()
        made.append(name)
        daemon.api.launch(name, devices={"eth0": bridged.nic(network, **{key.replace("__", "-").replace("_", ".").replace("-", "_"): value for key, value in keys.items()})})
        return name
    yield start
    for name in made:
        daemon.api.remove(name)


def mac(daemon, instance):
    return bridged.config(daemon, instance)["volatile.eth0.hwaddr"]


def dhcp(daemon, instance, *options):
    """Busybox's DHCP client in the container; gives what it was told."""
    daemon.api.sh(instance, f"cat >/tmp/bound <<'END'\n{SCRIPT}END\nchmod +x /tmp/bound; ip link set eth0 up")
    status, out, err = daemon.api.run(instance, "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-s", "/tmp/bound", *options)
    assert status == 0, (out, err)
    line = next(line for line in out.splitlines() if "router=" in line)
    return line.split()[0], dict(word.split("=", 1) for word in line.split()[1:])


def dhcp6(daemon, instance, *options):
    """Debian's dhcpcd on the container's interface; gives its addresses."""
    space = bridged.namespace(daemon, instance)
    private = "mount -t tmpfs none /run && mount -t tmpfs none /var/lib/dhcpcd && exec dhcpcd -6 -1 -B -t 10 -f /dev/null -c /bin/true --ia_na=1 \"$@\" eth0"
    space.run("ip", "link", "set", "eth0", "up")
    space.run("unshare", "-m", "sh", "-c", private, "dhcpcd", *options, check=False)
    found = addresses(space)
    space.close()
    return found


def addresses(space, family="-6"):
    shown = json.loads(space.run("ip", "-json", family, "address", "show", "dev", "eth0", "scope", "global") or "[]")
    return [entry["local"] for link in shown for entry in link.get("addr_info", []) if "local" in entry and not entry.get("tentative")]


# DHCPv4

def test_dhcp_gives_address_router_and_names(daemon, launch):
    name = launch()
    address, told = dhcp(daemon, name)
    assert 100 <= int(address.rsplit(".", 1)[1]) <= 200 and address.startswith("192.0.2.")
    assert told == {"router": "192.0.2.1", "dns": "192.0.2.1", "domain": "lxd", "lease": "3600"}
    assert daemon.api.run(name, "ping", "-c", "1", "-W", "2", "192.0.2.1")[0] == 0
    leases = daemon.api.get("/1.0/networks/br0/leases")
    assert (name, address, "dynamic") in [(lease["hostname"], lease["address"], lease["type"]) for lease in leases]


def test_dhcp_gives_a_static_address(daemon, launch):
    assert dhcp(daemon, launch(ipv4_address="192.0.2.10"))[0] == "192.0.2.10"


@pytest.mark.ours
@pytest.mark.parametrize("driver", bridged.DRIVERS)
def test_dhcp_through_filters(daemon, launch, driver):
    """The filter allows what DHCP gives, whether an address was asked for or not."""
    bridged.use_driver(daemon, driver)
    for keys in ({}, {"ipv4_address": "192.0.2.11"}):
        name = launch(security_ipv4__filtering="true", **keys)
        address, _ = dhcp(daemon, name)
        assert address == keys.get("ipv4_address", address)
        assert daemon.api.run(name, "ping", "-c", "1", "-W", "2", "192.0.2.1")[0] == 0


# DNS

def test_names_of_containers(daemon, launch):
    name = launch()
    address, _ = dhcp(daemon, name)
    link = frames.eui64(mac(daemon, name), "2001:db8::")
    assert dns.ask("192.0.2.1", f"{name}.lxd") == (dns.NOERROR, [address])
    eventually(lambda: dns.ask("192.0.2.1", f"{name}.lxd", dns.AAAA) == (dns.NOERROR, [link]), what="the name of the SLAAC address")
    assert dns.ask("192.0.2.1", "_gateway.lxd") == (dns.NOERROR, ["192.0.2.1"])
    assert dns.ask("2001:db8::1", "_gateway.lxd", dns.AAAA) == (dns.NOERROR, ["2001:db8::1"])
    assert address in daemon.api.sh(name, f"nslookup {name}.lxd 192.0.2.1")


def test_unknown_names_are_asked_nobody_else(daemon):
    """The server upstream is looked for when a name lies elsewhere, and not for a name of the network."""
    run("ip", "neighbour", "flush", "dev", "br0")
    looked_for = lambda: run("ip", "neighbour", "show", "192.0.2.250", "dev", "br0", "nud", "all")
    assert dns.ask("192.0.2.1", "nobody.lxd") == (dns.NXDOMAIN, [])
    assert not looked_for()
    eventually(lambda: dns.ask("192.0.2.1", "www.example.org", timeout=0.3) or looked_for(), what="the question goes upstream")


def test_no_name_can_be_taken_with_dhcp(daemon, launch):
    """B asks for an address under A's name: DNS goes on to give A's address, and B's for B's own name."""
    a, b = launch(), launch()
    truth, _ = dhcp(daemon, a)
    address, _ = dhcp(daemon, b, "-x", f"hostname:{a}", "-F", a)
    assert address != truth
    assert dns.ask("192.0.2.1", f"{a}.lxd") == (dns.NOERROR, [truth])
    assert dns.ask("192.0.2.1", f"{b}.lxd") == (dns.NOERROR, [address])
    address, _ = dhcp(daemon, b, "-x", "hostname:_gateway", "-F", "evil")
    assert dns.ask("192.0.2.1", "_gateway.lxd") == (dns.NOERROR, ["192.0.2.1"])
    assert dns.ask("192.0.2.1", "evil.lxd") == (dns.NXDOMAIN, [])


def pretend(daemon, attacker, victim_address, **who):
    """Sends DHCP messages from a container in the name of another: asks for another address, and gives the old one back."""
    port = bridged.port(daemon, attacker, ("192.0.2.66/24",))
    gateway = pathlib.Path("/sys/class/net/br0/address").read_text().strip()
    for kind, more in ((frames.DHCP_DISCOVER, {}), (frames.DHCP_REQUEST, {"server": "192.0.2.1"})):
        message = frames.dhcp(kind, number=7, requested="192.0.2.177", **more, **who)
        port.send(frames.ether(port.mac, frames.IPV4, frames.ipv4_udp("0.0.0.0", "255.255.255.255", message, 68, 67)))
        time.sleep(0.2)
    for pieces in (1024, 32):  # whole, and in pieces the first of which ends before the hardware address
        message = frames.dhcp(frames.DHCP_RELEASE, number=8, client=victim_address, server="192.0.2.1", **who)
        packet = frames.ipv4_udp("192.0.2.66", "192.0.2.1", message, 68, 67)
        port.send(*(frames.ether(port.mac, frames.IPV4, piece, gateway) for piece in frames.ipv4_fragments(packet, 8, pieces)))
        time.sleep(0.2)
    port.close()


@pytest.mark.ours
@pytest.mark.parametrize("driver", bridged.DRIVERS)
def test_no_lease_can_be_taken(daemon, launch, driver):
    """With the identifier of another container: never. With its hardware address in the message: not by a container with a filter."""
    bridged.use_driver(daemon, driver)
    victim, free, filtered = launch(), launch(), launch(security_mac__filtering="true")
    truth, _ = dhcp(daemon, victim)
    for attacker in (free, filtered):
        pretend(daemon, attacker, truth, mac=mac(daemon, attacker), identifier=mac(daemon, victim))
        assert dns.ask("192.0.2.1", f"{victim}.lxd") == (dns.NOERROR, [truth])
    pretend(daemon, filtered, truth, mac=mac(daemon, victim))
    assert dns.ask("192.0.2.1", f"{victim}.lxd") == (dns.NOERROR, [truth])
    pretend(daemon, free, truth, mac=mac(daemon, victim))
    assert dns.ask("192.0.2.1", f"{victim}.lxd") != (dns.NOERROR, [truth])


def test_dynamic_mode_takes_the_clients_names(daemon, launch):
    name = launch("br2")
    address, _ = dhcp(daemon, name, "-x", "hostname:chosen")
    assert dns.ask("198.51.100.1", "chosen.lxd") == (dns.NOERROR, [address])
    given = dhcp6(daemon, name, "-h", "other", "-F", "both")
    code, found = dns.ask("198.51.100.1", "other.lxd", dns.AAAA)
    assert code == dns.NOERROR and found and set(found) <= set(given)


# IPv6

@pytest.mark.parametrize("filtering", ["false", pytest.param("true", marks=pytest.mark.ours)])
def test_slaac(daemon, launch, filtering):
    """The kernel in the container gives itself the EUI-64 address, and reaches the host with it."""
    name = launch(security_ipv6__filtering=filtering)
    space = bridged.namespace(daemon, name)
    space.run("ip", "link", "set", "eth0", "up")
    own = frames.eui64(mac(daemon, name), "2001:db8::")
    eventually(lambda: addresses(space) == [own], what=f"the address {own}: {addresses(space)}")
    eventually(lambda: "default via fe80::" in space.run("ip", "-6", "route"), what="a default route")
    assert daemon.api.run(name, "ping", "-c", "1", "-W", "2", "2001:db8::1")[0] == 0
    space.close()


def test_dhcpv6(daemon, launch):
    assert "2001:db8:1::10" in dhcp6(daemon, launch("br1", ipv6_address="2001:db8:1::10"))


@pytest.mark.ours
@pytest.mark.parametrize("driver", bridged.DRIVERS)
def test_dhcpv6_through_filters(daemon, launch, driver):
    """Also when the host does not know the container's link-local address (any more)."""
    bridged.use_driver(daemon, driver)
    name = launch("br1", ipv6_address="2001:db8:1::11", security_ipv6__filtering="true")
    run("ip", "-6", "neighbour", "flush", "dev", "br1")
    assert dhcp6(daemon, name) == ["2001:db8:1::11"]
    assert daemon.api.run(name, "ping", "-c", "1", "-W", "2", "2001:db8:1::1")[0] == 0


def test_no_name_can_be_taken_with_dhcpv6(daemon, launch):
    a, b = launch("br1", ipv6_address="2001:db8:1::20"), launch("br1", ipv6_address="2001:db8:1::21")
    assert "2001:db8:1::20" in dhcp6(daemon, a)
    assert "2001:db8:1::21" in dhcp6(daemon, b, "-h", a, "-F", "both")
    assert dns.ask("2001:db8:1::1", f"{a}.lxd", dns.AAAA) == (dns.NOERROR, ["2001:db8:1::20"])
