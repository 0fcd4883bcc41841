"""What a container can make others believe: raw frames from inside it, watched on the bridge, at its neighbour and in the forwarding table."""
import pathlib
import time

import pytest

from helpers import bridged, frames
from helpers.lan import believe_at_once, neighbour, resolve, run
from helpers.truth_table import COLUMNS, MAC, ROWS, check, differences, row

pytestmark = pytest.mark.ours
FILTERED = list(COLUMNS)[1:]


@pytest.fixture(scope="module", params=bridged.DRIVERS)
def pair(request, daemon):
    bridged.use_driver(daemon, request.param)
    made = bridged.Pair(daemon, "br0", request.param)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def unmanaged(pair):
    made = bridged.Pair(pair.daemon, "brplain", pair.driver, managed=False)
    yield made
    made.remove()


# The truth table

def test_every_frame_arrives_without_filters(pair):
    pair.restart(pair.keys("none"))
    with pair.lan() as lan:
        check(lan, "none")


@pytest.mark.parametrize("column", FILTERED)
def test_started_with_filters(pair, column):
    pair.restart(pair.keys(column))
    with pair.lan() as lan:
        check(lan, column)


def test_changed_while_running(pair):
    """From each column to the next without a restart, and the host end stays."""
    pair.restart(pair.keys("none"))
    before = bridged.host_end(pair.daemon, pair.a)
    with pair.lan() as lan:
        for column in [*FILTERED, "46", "none", "n46", "mac", "none"]:
            pair.set(pair.keys(column))
            check(lan, column)
    assert bridged.host_end(pair.daemon, pair.a) == before


@pytest.mark.parametrize("column", ["none", "46"])
def test_sent_by_a_program_in_the_container(pair, column):
    """The container's own root sends the frames: no help from outside is needed, and none helps against the filter."""
    daemon = pair.daemon
    program = bridged.build_sender(daemon.root)
    pair.stop()
    share = daemon.root / "share"
    share.mkdir(exist_ok=True)
    (share / "send-frames").write_bytes(program.read_bytes())
    (share / "send-frames").chmod(0o755)
    pair.restart(pair.keys(column))
    daemon.api.done(bridged.set_device(daemon, pair.a, "share", {"type": "disk", "source": str(share), "path": "/share", "readonly": "true"}))

    def send(*sent):
        (share / "frames").write_bytes(bridged.pack(sent))
        assert daemon.api.run(pair.a, "/share/send-frames", "eth0", "/share/frames")[0] == 0

    with pair.lan() as lan:
        check(lan, column, send)


def test_added_while_running(pair):
    """A network card that comes later has its filter, too."""
    pair.restart(pair.keys("none"))
    bridged.set_devices(pair.daemon, pair.a, {})
    bridged.set_devices(pair.daemon, pair.a, {"eth0": pair.keys("46")})
    with pair.lan() as lan:
        check(lan, "46")


def test_set_in_a_profile(pair):
    """What a profile says of its network card holds at once for those that have it."""
    api, name, host_end = pair.daemon.api, "filters", None
    profile = lambda column: {"devices": {"eth0": pair.keys(column)}, "config": {}, "description": ""}
    pair.stop()
    assert api.post("/1.0/profiles", {"name": name, **profile("none")}).status == 201
    try:
        bridged.set_devices(pair.daemon, pair.a, {}, profiles=["default", name])
        pair.start()
        with pair.lan() as lan:
            host_end = lan.a.host_end
            for column in ("none", "46", "mac", "none"):
                assert api.put(f"/1.0/profiles/{name}", profile(column)).status == 200
                check(lan, column)
        assert bridged.host_end(pair.daemon, pair.a) == host_end
    finally:
        pair.stop()
        bridged.set_devices(pair.daemon, pair.a, {"eth0": pair.keys("none")}, profiles=["default"])
        assert api.delete(f"/1.0/profiles/{name}").status == 200


# To the bridge's own hardware address; and what is seen on its way to iptables.
BRIDGE_ONLY = ("ipv4 own source, unicast", "na foreign behind routing header")


@pytest.mark.parametrize("column", ["mac", "v4", "v6", "46", "n46"])
def test_on_a_bridge_that_nobody_manages(pair, unmanaged, column):
    """The host serves no DHCP there: what only the host gets otherwise reaches servers on other ports, too."""
    pair.stop()  # both have the same routes
    unmanaged.restart(unmanaged.keys(column))
    with unmanaged.lan() as lan:
        assert differences(lan, column) == [f"{column}: {row.name}: seen at HP, not H" for row in ROWS
                                            if row.expected(column, lan.xtables) == "H" and row.name not in BRIDGE_ONLY]
    unmanaged.stop()


def test_ip_filters_check_hardware_addresses_whatever_mac_filtering_says(pair):
    pair.restart(pair.keys("46", **{MAC: "false"}))
    with pair.lan() as lan:
        check(lan, "46")


def test_routes_widen_what_is_let_through(pair):
    """The addresses of ipv4.routes and ipv6.routes, from the change on that sets them to the one that takes them away."""
    routes = {"ipv4.routes": "", "ipv6.routes": ""}
    builders = [row(name) for name in ("ipv4 source in ipv4.routes", "arp in ipv4.routes", "ipv6 source in ipv6.routes", "na target in ipv6.routes",
                                       "ipv4 source outside", "ipv6 source outside", "ipv4 own source", "ipv6 own source")]
    without = {key: value for key, value in pair.keys("46").items() if key not in routes}
    pair.restart(without)
    with pair.lan() as lan:
        assert [result.ports for result in lan.shoot(builders)] == [""] * 6 + ["HP"] * 2
        pair.set(pair.keys("46"))
        assert [result.ports for result in lan.shoot(builders)] == ["HP"] * 4 + [""] * 2 + ["HP"] * 2
        pair.set(without)
        assert [result.ports for result in lan.shoot(builders)] == [""] * 6 + ["HP"] * 2


def test_what_is_sent_to_a_filtered_container_is_not_filtered(pair):
    """B may send anything, and A gets it; but nobody takes a filtered container's place in the forwarding table."""
    pair.restart(pair.keys("46"))
    with pair.lan() as lan, lan.reversed() as from_b:
        check(from_b, "none", kept=[lan.a.mac])


def test_the_neighbours_place_stays_its_own(pair):
    """With B's hardware address as source, by ordinary frames and by those that bridges keep to themselves."""
    pair.restart(pair.keys("mac"))
    group = lambda craft: craft.eth(frames.LLDP, frames.lldp(craft.mark), craft.neighbour_mac, "01:80:c2:00:00:0e")
    with pair.lan() as lan:
        lan.alive()
        assert lan.forwarding()[lan.b.mac] == lan.b.host_end
        for build in (row("ipv4 own source, neighbour's ethernet"), group):
            result = lan.send_one(build)
            assert result.ports == "" and not result.learned
            assert lan.forwarding()[lan.b.mac] == lan.b.host_end


# What others remember

def claims(lan, address, build):
    """B and the host know who has @address; @build claims it for A. Gives what they believe then."""
    at_b = address in (lan.names.gateway4, lan.names.gateway6)
    victim = (address, "eth0", lan.b.namespace) if at_b else (address, lan.bridge)
    for known in (lan.names.neighbour4, lan.names.neighbour6, lan.names.neighbour_link):
        resolve(known, lan.bridge)
    for known in (lan.names.gateway4, lan.names.gateway6):
        resolve(known, "eth0", lan.b.namespace)
    time.sleep(0.1)  # until all that they say of it has been said
    before = neighbour(*victim)
    result = lan.send_one(build)
    return before, neighbour(*victim), result


CLAIMS = {
    "the gateway's IPv6 address": ("gateway6", lambda c: c.na(c.gateway6, c.own6, c.own_mac)),
    "the gateway's IPv4 address": ("gateway4", lambda c: c.arp(2, c.own_mac, c.gateway4, c.neighbour4, target_mac=c.neighbour_mac)),
    "the neighbour's IPv6 address": ("neighbour6", lambda c: c.na(c.neighbour6, c.own6, c.own_mac)),
    "the neighbour's link-local address": ("neighbour_link", row("rs link-local of the neighbour")),
    "the neighbour's IPv4 address": ("neighbour4", lambda c: c.arp(2, c.own_mac, c.neighbour4, c.gateway4, target_mac=c.gateway_mac)),
}


@pytest.mark.parametrize("column", ["none", "46"])
def test_nobody_can_be_told_that_an_address_moved(pair, column):
    """Each claim succeeds without filters; with them the caches of the host and of B keep the truth."""
    pair.restart(pair.keys(column))
    with pair.lan() as lan:
        believe_at_once("br0")
        with lan.b.namespace:
            believe_at_once("eth0")
        for what, (address, build) in CLAIMS.items():
            run("ip", "neighbour", "flush", "dev", "br0")
            lan.b.run("ip", "neighbour", "flush", "dev", "eth0")
            truth = lan.mac if address.startswith("gateway") else lan.b.mac
            before, after, result = claims(lan, getattr(lan.names, address), build)
            assert before == truth, what
            assert after == (lan.a.mac if column == "none" else truth), what
            assert result.ports == ("HP" if column == "none" else ""), what


def reached(pair, *addresses):
    """Which of @addresses answer A's ping within a second."""
    script = "".join(f"ping -c 1 -W 1 {address} >/dev/null 2>&1 && echo {address} & " for address in addresses) + "wait"
    return set(pair.daemon.api.sh(pair.a, script).split())


def test_only_the_own_addresses_reach_others(pair):
    pair.restart(pair.keys("46"))
    others = {"192.0.2.1", "192.0.2.3", "2001:db8::1", "2001:db8::3"}
    with pair.lan() as lan:
        assert reached(pair, *others) == others
        for old, new in (("192.0.2.10/24", "192.0.2.99/24"), ("2001:db8::10/64", "2001:db8::99/64")):
            lan.a.run("ip", "address", "delete", old, "dev", "eth0")
            lan.a.run("ip", "address", "add", new, "dev", "eth0", *(["nodad"] if ":" in new else []))
        for address in ("192.0.2.1", "2001:db8::1"):
            lan.a.run("ip", "neighbour", "flush", "dev", "eth0")
        assert reached(pair, *others) == set()


# Without bridge netfilter

@pytest.fixture
def no_bridge_netfilter():
    switch = pathlib.Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
    before = switch.read_text()
    switch.write_text("0\n")
    yield
    switch.write_text(before)


def test_without_bridge_netfilter(pair, no_bridge_netfilter):
    if pair.driver == "xtables":  # whose rules cannot do without, and which says so
        pair.stop()
        pair.set(pair.keys("v6"))
        assert "bridge-nf-call-ip6tables" in pair.daemon.api.failure(pair.daemon.api.state(pair.a, "start"))
        return
    pair.restart(pair.keys("v6"))
    with pair.lan() as lan:
        check(lan, "v6")


# The host itself

def test_the_host_takes_no_routes_from_containers(pair):
    """Not even from one without filters: neither a default route nor an address comes of its router advertisements."""
    pair.restart(pair.keys("none"))
    view = lambda: [run("ip", "-6", "route", "show", "table", "all"), run("ip", "-6", "-oneline", "address", "show", "dev", "br0", "scope", "global")]
    with pair.lan() as lan:
        before = view()
        result = lan.send_one(lambda c: c.ra(c.own_link, lifetime=1800, prefix="2001:db8:bad::"))
        assert result.ports == "HP"
        time.sleep(0.2)
        assert view() == before
