"""Routed and p2p NICs: a container there can send from its own addresses only, and the host believes nothing that it advertises."""
import contextlib
import pathlib
import socket
import time

import pytest

from helpers import bridged, frames
from helpers.lan import resolve, run

pytestmark = pytest.mark.ours
OWN4, OWN6, ROUTED4, ROUTED6 = "192.0.2.50", "2001:db8::50", "198.51.100.7", "2001:db8:9::5"
ROUTED = {"type": "nic", "nictype": "routed", "name": "eth0", "parent": "br0", "host_name": "vethrouted",
          "ipv4.address": OWN4, "ipv6.address": OWN6, "ipv4.routes": "198.51.100.0/24", "ipv6.routes": "2001:db8:9::/64"}
NDP = ("net.ipv6.conf.all.proxy_ndp", "net.ipv6.conf.br0.proxy_ndp")


def sysctl(name, value=None):
    path = pathlib.Path("/proc/sys", name.replace(".", "/"))
    if value is not None:
        path.write_text(f"{value}\n")
    return path.read_text().strip()


@pytest.fixture(scope="module", params=bridged.DRIVERS)
def daemon_with_network(request, daemon):
    bridged.use_driver(daemon, request.param)
    bridged.create_network(daemon, "br0")
    neighbour = daemon.new_name()
    daemon.api.launch(neighbour, devices={"eth0": bridged.nic("br0")})
    daemon.neighbour = neighbour
    yield daemon
    daemon.api.remove(neighbour)
    assert daemon.api.delete("/1.0/networks/br0").status == 200


@pytest.fixture(scope="module")
def routed(daemon_with_network):
    daemon, name = daemon_with_network, daemon_with_network.new_name()
    daemon.api.done(daemon.api.create(name, devices={"eth0": ROUTED}))
    for key in NDP:
        sysctl(key, 1)
    daemon.api.done(daemon.api.state(name, "start"))
    yield name
    daemon.api.remove(name)


class Router:
    """A routed container as sender; the host's stack, and B behind its bridge, as receivers."""

    def __init__(self, daemon, name):
        self.sender = bridged.port(daemon, name, (f"{OWN4}/32",))
        self.b = bridged.port(daemon, daemon.neighbour, bridged.ADDRESSES["b"])
        self.mac = pathlib.Path(f"/sys/class/net/{self.sender.host_end}/address").read_text().strip()
        self.host = {family: socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for family in (socket.AF_INET, socket.AF_INET6)}
        self.host[socket.AF_INET6].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for sock in self.host.values():
            sock.bind(("", 9999))
        self.count = 0
        for address in ("192.0.2.3", "2001:db8::3"):
            resolve(address, "br0")

    def reaches(self, source, target, own_mac=None, wait=0.1):
        """Whether a UDP packet from @source arrives at @target: "host" or "b", within @wait seconds."""
        self.count += 1
        mark = b"routed%06d" % self.count
        family, version = (socket.AF_INET6, 6) if ":" in source else (socket.AF_INET, 4)
        to = {("host", 4): "192.0.2.1", ("host", 6): "2001:db8::1", ("b", 4): "192.0.2.3", ("b", 6): "2001:db8::3"}[target, version]
        packet = (frames.ipv4_udp(source, to, mark, port=9999) if version == 4
                  else frames.ipv6_udp(self.count, source, to, port=9999, payload=mark))
        self.b.watcher.take()
        self.sender.send(frames.ether(own_mac or self.sender.mac, frames.IPV4 if version == 4 else frames.IPV6, packet, self.mac))
        end = time.monotonic() + wait
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                if target == "host" and mark in self.host[family].recv(2048):
                    return True
            if target == "b" and any(mark in frame for frame in self.b.watcher.take()):
                return True
            time.sleep(0.005)
        return False

    def close(self):
        self.sender.close()
        self.b.close()
        for sock in self.host.values():
            sock.close()


@pytest.fixture(scope="module")
def router(daemon_with_network, routed):
    made = Router(daemon_with_network, routed)
    yield made
    made.close()


def test_a_start_without_proxy_ndp_is_refused(daemon_with_network):
    daemon, name = daemon_with_network, daemon_with_network.new_name()
    for key in NDP:
        sysctl(key, 0)
    try:
        daemon.api.done(daemon.api.create(name, devices={"eth0": ROUTED}))
        error = daemon.api.failure(daemon.api.state(name, "start"))
        assert "Routed mode requires sysctl net.ipv6.conf.all.proxy_ndp=1" in error
        assert not pathlib.Path("/sys/class/net/vethrouted").exists()
    finally:
        daemon.api.remove(name)


def test_host_side(daemon_with_network, routed):
    with open("/proc/sys/net/ipv4/conf/vethrouted/rp_filter", encoding="ascii") as file:
        assert file.read().strip() == "1"
    assert sysctl("net.ipv6.conf.vethrouted.accept_ra") == "0"
    addresses = run("ip", "-oneline", "address", "show", "dev", "vethrouted")
    assert "169.254.0.1/32" in addresses and "fe80::1/128" in addresses
    assert "dev vethrouted" in run("ip", "route", "show", OWN4) and "dev vethrouted" in run("ip", "-6", "route", "show", OWN6)
    proxies = run("ip", "neighbour", "show", "proxy") + run("ip", "-6", "neighbour", "show", "proxy")
    assert f"{OWN4} dev br0" in proxies and f"{OWN6} dev br0" in proxies


def test_container_side(daemon_with_network, routed):
    space = bridged.namespace(daemon_with_network, routed)
    addresses = space.run("ip", "-oneline", "address", "show", "dev", "eth0")
    assert f"{OWN4}/32" in addresses and f"{OWN6}/128" in addresses
    assert "default via 169.254.0.1" in space.run("ip", "route") and "default via fe80::1" in space.run("ip", "-6", "route")
    space.close()


@pytest.mark.parametrize("source", [OWN4, OWN6, ROUTED4, ROUTED6])
def test_own_sources_pass(router, source):
    assert router.reaches(source, "host", wait=3)
    assert router.reaches(source, "b", wait=3)


def test_other_hardware_addresses_pass(router):
    assert router.reaches(OWN4, "host", "02:00:5e:00:00:01", wait=3)


@pytest.mark.parametrize("source", ["192.0.2.99", "192.0.2.3", "192.0.2.1", "203.0.113.77", "0.0.0.0", "169.254.0.9",
                                    "2001:db8::99", "2001:db8::3", "2001:db8::1", "2001:db8:77::1", "::"])
def test_foreign_sources_pass_nowhere(router, source):
    assert not router.reaches(source, "host")
    assert not router.reaches(source, "b")


def test_link_local_is_for_the_host_only(router):
    link = frames.eui64(router.sender.mac)
    assert router.reaches(link, "host", wait=3)
    assert not router.reaches(link, "b")


def advertise(port):
    """A router advertisement that would give whoever takes it a default route and an address; the host must not."""
    view = lambda: [run("ip", "-6", "route", "show", "table", "all"), run("ip", "-6", "-oneline", "address", "show", "scope", "global")]
    before = view()
    link = frames.eui64(port.mac)
    packet = frames.router_advertisement(1, link, lifetime=1800, prefix="2001:db8:bad::")
    port.send(frames.ether(port.mac, frames.IPV6, packet, "33:33:00:00:00:01"))
    time.sleep(0.2)
    assert view() == before


def test_advertisements_have_no_effect(router):
    advertise(router.sender)


def test_advertisements_from_p2p_have_no_effect(daemon_with_network):
    daemon, name = daemon_with_network, daemon_with_network.new_name()
    daemon.api.launch(name, devices={"eth0": {"type": "nic", "nictype": "p2p", "name": "eth0", "host_name": "vethp2p"}})
    port = bridged.port(daemon, name, ("192.0.2.60/32",))
    try:
        assert sysctl("net.ipv6.conf.vethp2p.accept_ra") == "0"
        advertise(port)
    finally:
        port.close()
        daemon.api.remove(name)


def test_all_goes_with_the_container(daemon_with_network):
    daemon, name = daemon_with_network, daemon_with_network.new_name()
    device = {**ROUTED, "ipv4.address": "192.0.2.51", "ipv6.address": "2001:db8::51", "host_name": "vethgone", "ipv4.routes": "203.0.113.0/24",
              "ipv6.routes": "2001:db8:8::/64"}
    before = bridged.ruleset()
    daemon.api.launch(name, devices={"eth0": device})
    assert bridged.ruleset() != before
    daemon.api.remove(name)
    assert bridged.ruleset() == before
    left = run("ip", "neighbour", "show", "proxy") + run("ip", "-6", "neighbour", "show", "proxy") + run("ip", "route") + run("ip", "-6", "route")
    assert "192.0.2.51" not in left and "2001:db8::51" not in left and "203.0.113.0" not in left
    assert not pathlib.Path("/sys/class/net/vethgone").exists()
