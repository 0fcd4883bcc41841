"""Managed networks while they are served: dnsmasq, rules with traffic, and the life and death of the daemon."""
import http.client
import os
import signal
import subprocess
import threading
import time

import pytest

from helpers import net
from helpers.daemon import REFERENCE, eventually
from helpers.networks import BOTH, NONE, URL, V4, V6, br0, bridges, change, config_of, create, daemon, managed, no_networks  # noqa: F401


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


@pytest.fixture(params=["nftables", "xtables"])
def driver(request, api):
    """With each of the two kinds of packet filters."""
    if REFERENCE:
        if request.param == "xtables":
            pytest.skip("the reference chooses by itself")
        yield request.param
        return
    reply = api.patch("/1.0", {"config": {"core.firewall_driver": request.param}})
    assert reply.status == 200, reply
    yield request.param
    assert api.patch("/1.0", {"config": {"core.firewall_driver": ""}}).status == 200


def test_masquerade_and_nat_address(api, driver, hosts, answering):
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


def test_routing_refused(api, driver, answering):
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
        assert bridges() == names, delay
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


@pytest.mark.ours
def test_killed_while_it_starts(daemon, api, br0):
    create(api, "br1", config={"ipv4.address": "198.51.100.1/24", "ipv6.address": "none", "ipv4.nat": "true"})
    rules = net.chains()
    for delay in (5, 10, 20, 30, 50, 80, 120):
        daemon.stop()
        for network in ("br0", "br1"):
            for pid in net.dnsmasq(network):
                os.kill(pid, signal.SIGKILL)  # so that there is something to do
        net.run("ip", "link", "del", "br1")
        process = daemon.spawn()
        time.sleep(delay / 1000)
        process.kill()
        process.wait()
        daemon.start()
        assert [api.get(f"{URL}/{n}")["status"] for n in ("br0", "br1")] == ["Created", "Created"]
        assert net.addresses("br0") == {V4, V6} and net.addresses("br1") == {"198.51.100.1/24"}
        assert [len(net.dnsmasq(n)) for n in ("br0", "br1")] == [1, 1] and net.chains() == rules
