"""Managed networks with instances on them: who uses one, what it gives away, and what changes do to those that run."""
import signal
import threading
import time

import pytest

from helpers import net
from helpers.daemon import REFERENCE, eventually

URL = "/1.0/networks"
NETWORK = f"{URL}/br0"
NIC = {"type": "nic", "network": "br0", "name": "eth0"}
LEASE_SCRIPT = """#!/bin/sh
[ "$1" = bound ] && ip addr flush dev $interface && ip addr add $ip/24 dev $interface && ip route add default via $router && echo "$ip" > /lease
exit 0
"""


@pytest.fixture(autouse=True)
def br0(daemon):
    reply = daemon.api.post(URL, {"name": "br0", "config": {"ipv4.address": "192.0.2.1/24", "ipv6.address": "2001:db8::1/64"}})
    assert reply.status == 201, reply
    yield "br0"
    if not daemon.alive:
        daemon.start()
    for instance in daemon.api.get("/1.0/instances"):
        daemon.api.remove(instance.rsplit("/", 1)[1])
    reply = daemon.api.delete(NETWORK)
    assert reply.status == 200, reply


def with_address(api, name, number):
    """A running container with fixed addresses on br0."""
    api.launch(name, devices={"eth0": NIC})
    api.sh(name, f"ip link set eth0 up; ip addr add 192.0.2.{number}/24 dev eth0; ip route add default via 192.0.2.1")
    return api.get(f"/1.0/instances/{name}")["config"]["volatile.eth0.host_name"]


def reaches(api, name, address):
    return api.run(name, "busybox", "ping", "-c", "1", "-W", "1", address)[0] == 0


@pytest.fixture
def pair(daemon):
    """Two running containers that reach each other."""
    names = [daemon.new_name(), daemon.new_name()]
    for number, name in enumerate(names, start=10):
        with_address(daemon.api, name, number)
    eventually(lambda: reaches(daemon.api, names[0], "192.0.2.11"), what="the two reach each other")
    return names


def test_users(daemon, api, name):
    """T6: instances, by themselves and by their profile."""
    api.done(api.create(name, devices={"eth0": NIC}))
    used = api.get(NETWORK)["used_by"]
    assert used == [f"/1.0/instances/{name}"]
    assert (api.delete(NETWORK).error, api.post(NETWORK, {"name": "br1"}).error) == (
        "The network is currently in use", "Network is currently in use")
    instance = api.get(f"/1.0/instances/{name}")
    del instance["devices"]["eth0"]
    api.done(api.put(f"/1.0/instances/{name}", instance))
    assert not api.get(NETWORK)["used_by"]
    profile = api.get("/1.0/profiles/default")
    assert api.patch("/1.0/profiles/default", {"devices": {**profile["devices"], "eth0": NIC}}).status == 200
    try:
        assert sorted(api.get(NETWORK)["used_by"]) == [f"/1.0/instances/{name}", "/1.0/profiles/default"]
        assert api.delete(NETWORK).status == 400
    finally:
        assert api.put("/1.0/profiles/default", profile).status == 200
    assert not api.get(NETWORK)["used_by"]


def test_leases(api, name):
    """T19"""
    host = with_address(api, name, 10)
    mac = api.get(f"/1.0/instances/{name}")["config"]["volatile.eth0.hwaddr"]
    eui = net.eui64("2001:db8::/64", mac)
    shown = lambda: [(l["hostname"], l["hwaddr"], l["address"], l["type"]) for l in api.get(f"{NETWORK}/leases")]
    gateways = [("br0.gw", "", "192.0.2.1", "gateway"), ("br0.gw", "", "2001:db8::1", "gateway")]
    assert shown() == [*gateways, (name, mac, eui, "dynamic")]
    api.sh(name, f"cat > /script << 'X'\n{LEASE_SCRIPT}\nX\nchmod +x /script; busybox udhcpc -i eth0 -n -q -s /script -t 5 -T 1 >&2")
    leased = api.sh(name, "cat /lease").strip()
    assert set(shown()) == {*gateways, (name, mac, eui, "dynamic"), (name, mac, leased, "dynamic")}
    instance = api.get(f"/1.0/instances/{name}")
    instance["devices"]["eth0"]["ipv4.address"] = "192.0.2.77"
    api.done(api.put(f"/1.0/instances/{name}", instance))
    assert (name, mac, "192.0.2.77", "static") in shown()
    api.done(api.state(name, "stop", force=True))
    assert {(name, mac, "192.0.2.77", "static"), (name, mac, eui, "dynamic")} <= set(shown()), "also while it is stopped"
    assert not net.link(host)
    stateful = api.patch(NETWORK, {"config": {"ipv6.dhcp.stateful": "true"}})
    assert stateful.status == 200 and (name, mac, eui, "dynamic") not in shown()


def test_change_under_running_instances(api, pair):
    """T17"""
    a, b = pair
    hosts = [api.get(f"/1.0/instances/{n}")["config"]["volatile.eth0.host_name"] for n in pair]
    instance = api.get(f"/1.0/instances/{a}")
    instance["devices"]["eth0"]["ipv4.routes"] = "198.51.100.0/24"
    api.done(api.put(f"/1.0/instances/{a}", instance))
    route = lambda: [r for r in net.routes() if r["dst"] == "198.51.100.0/24" and r["dev"] == "br0"]
    assert route()
    lost, stop = [], threading.Event()

    def watch():
        while not stop.is_set():
            if not reaches(api, b, "192.0.2.10"):
                lost.append(time.monotonic())
    watcher = threading.Thread(target=watch)
    watcher.start()
    for config in ({"dns.domain": "zz"}, {"ipv4.nat": "true"}, {"ipv4.dhcp.ranges": "192.0.2.50-192.0.2.60"}, {"ipv6.address": "none"},
                   {"ipv4.address": "192.0.2.2/24"}, {"ipv4.address": "192.0.2.1/24", "ipv6.address": "2001:db8::1/64"}):
        assert api.patch(NETWORK, {"config": config}).status == 200
        assert route(), config
        assert [net.link(h)["master"] for h in hosts] == ["br0", "br0"]
    stop.set()
    watcher.join()
    assert not lost
    assert [api.get(f"/1.0/instances/{n}")["status"] for n in pair] == ["Running", "Running"]


def test_instances_outlive_the_daemon_with_their_network(daemon, api, pair):
    """T23"""
    a, _ = pair
    rules = net.chains()
    for sig in (signal.SIGKILL, signal.SIGTERM):
        daemon.stop(sig)
        pid = next(iter(net.dnsmasq("br0")))
        daemon.start()
        assert reaches(api, a, "192.0.2.11") and reaches(api, a, "192.0.2.1")
        assert len(net.dnsmasq("br0")) == 1 and (pid in net.dnsmasq("br0") or REFERENCE)
        assert net.chains() == rules or REFERENCE


@pytest.mark.ours
def test_instance_of_a_network_that_is_not_there(daemon, api, name):
    """It cannot start, says why, and (after at most a minute) runs by itself when the network is back."""
    api.launch(name, config={"boot.autostart": "true"}, devices={"eth0": NIC})
    api.done(api.state(name, "stop", force=True))
    daemon.stop()
    net.run("ip", "link", "del", "br0")
    net.run("ip", "link", "add", "br0", "type", "bridge")
    daemon.start()
    assert api.get(NETWORK)["status"] == "Unavailable"
    eventually(lambda: "cannot start instance at boot" in daemon.log(), what="its start at boot has failed")
    assert api.failure(api.state(name, "start")).endswith('Network "br0" unavailable on this server')
    net.run("ip", "link", "del", "br0")
    eventually(lambda: api.get(f"/1.0/instances/{name}")["status"] == "Running", timeout=75, what="it runs by itself")
    assert net.link(api.get(f"/1.0/instances/{name}")["config"]["volatile.eth0.host_name"])["master"] == "br0"


@pytest.mark.ours
def test_shutdown_and_boot(daemon, api, name):
    """All goes in order, and comes back in order."""
    api.launch(name, devices={"eth0": NIC})
    assert daemon.stop(signal.SIGPWR, timeout=60) == 0
    assert not net.link("br0") and not net.dnsmasq("br0") and not net.chains()
    daemon.start()
    eventually(lambda: api.get(f"/1.0/instances/{name}")["status"] == "Running", timeout=20, what="it runs again")
    assert net.link(api.get(f"/1.0/instances/{name}")["config"]["volatile.eth0.host_name"])["master"] == "br0"


@pytest.mark.ours
def test_advertisement_from_an_instance_gives_the_host_no_route(api, name):
    """T21, T22, from inside."""
    host = with_address(api, name, 10)
    assert net.sysctl(f"ipv6/conf/{host}/accept_ra") == "0" and net.sysctl("ipv6/conf/br0/accept_ra") == "0"
    pid = api.get(f"/1.0/instances/{name}/state")["pid"]
    mac = api.get(f"/1.0/instances/{name}")["config"]["volatile.eth0.hwaddr"]
    for _ in range(3):
        net.run("nsenter", f"--net=/proc/{pid}/ns/net", "/usr/bin/python3", "-c",
                f"import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0)); "
                f"s.send(bytes.fromhex('{net.router_advertisement(mac, 'fe80::99').hex()}'))")
        time.sleep(0.1)
    assert net.routes(6, "default") == []
