"""Filters are there before the first frame, stay through every change, failure and crash, and go last."""
import contextlib
import os
import pathlib
import shutil
import signal
import threading
import time

import pytest

from helpers import bridged
from helpers.daemon import BIN, eventually, processes
from helpers.lan import run
from helpers.order import Order
from helpers.truth_table import check, row

pytestmark = pytest.mark.ours
FIXED = {"host_name": "vethspoof", "hwaddr": "00:16:3e:00:00:0a"}  # so that rules can be compared from start to start

# Stands in for the programs that change packet filters, and does what they do; files make it fail or take its time.
STAND_IN = """#!/bin/sh
[ ! -e %(flag)s.broken ] || { echo "broken for a test" >&2; exit 1; }
[ ! -e %(flag)s.slow ] || sleep 0.3
exec %(program)s "$@"
"""
XTABLES = [family + kind + what for family in ("ebtables", "iptables", "ip6tables") for kind in ("", "-nft", "-legacy") for what in ("", "-restore", "-save")]


class Programs:
    """The daemon with stand-ins for the programs by which it changes packet filters."""

    def __init__(self, daemon):
        self.flag, self.programs = daemon.root / "programs-are", daemon.root / "programs"
        self.programs.mkdir()
        for program in [path for path in BIN.iterdir() if path.name.startswith("lx") and path.is_file()]:
            (self.programs / program.name).symlink_to(program)
        self._stand_in("lxd-nft", BIN / "lxd-nft")
        for name in XTABLES:
            if pathlib.Path("/usr/sbin", name).exists():
                self._stand_in(name, pathlib.Path("/usr/sbin", name))
        # The daemon looks for its helpers beside itself.
        (self.programs / "lxd").unlink()
        shutil.copy(BIN / "lxd", self.programs / "lxd")
        daemon.bin = self.programs
        daemon.extra_env = {"PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin"}

    def _stand_in(self, name, program):
        (self.programs / name).unlink(missing_ok=True)
        (self.programs / name).write_text(STAND_IN % {"flag": self.flag, "program": program})
        (self.programs / name).chmod(0o755)

    @contextlib.contextmanager
    def are(self, what):
        """While it is entered, they are "broken" (fail) or "slow" (0.3 s)."""
        flag = pathlib.Path(f"{self.flag}.{what}")
        flag.touch()
        kill_nft()
        try:
            yield
        finally:
            flag.unlink()
            kill_nft()


def kill_nft():
    """The helper that changes rules starts anew with the next change."""
    for pid, name in processes().items():
        if name == "lxd-nft":
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def programs(daemon):
    daemon.stop()
    made = Programs(daemon)
    daemon.start()
    return made


@pytest.fixture(scope="module", params=bridged.DRIVERS)
def pair(request, daemon, programs):
    bridged.use_driver(daemon, request.param)
    made = bridged.Pair(daemon, "br0", request.param)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def rules(pair):
    """The rules of a clean start with both filters."""
    pair.restart(keys(pair))
    return bridged.ruleset()


def keys(pair, **change):
    """Both filters, names that do not change, and @change (an empty value takes a key away)."""
    return {key: value for key, value in pair.keys("46", **{**FIXED, **change}).items() if value}


def nothing_of(pair):
    """A has no link and no rule."""
    left = bridged.ruleset()
    return "vethspoof" not in left and f"{pair.a}.eth0" not in left and not pathlib.Path("/sys/class/net/vethspoof").exists()


def kept(pair):
    """The filters do what they are for."""
    with pair.lan() as lan:
        check(lan, "46")


class Flood:
    """Spoofed frames from A, one round a millisecond, while it is entered."""
    ROWS = ("ipv4 foreign source in subnet", "ipv4 own source, foreign ethernet", "arp reply gateway ip", "arp foreign mac inside", "ipv6 foreign source",
            "na gateway target, own option", "ra link-local", "802.1q vid 0 arp", "lldp to its group, foreign ethernet")

    def __init__(self, lan):
        self.lan, self.rounds = lan, 0
        self.crafts = [lan.craft() for _ in self.ROWS]
        self.frames = [row(name)(craft) for name, craft in zip(self.ROWS, self.crafts)]

    def __enter__(self):
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def _run(self):
        while not self.stop.wait(0.001):
            self.lan.a.send(*self.frames)
            self.rounds += 1

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def leaked(self):
        """The rows whose frames anybody has seen, or whose source the bridge has learned."""
        time.sleep(0.08)
        learned = {mac for mac, _ in self.lan.learned.take()}
        return [name for name, craft, frame, where in zip(self.ROWS, self.crafts, self.frames, self.lan.seen(self.crafts, self.frames))
                if where or craft.foreign_mac in learned]


# Before and after

def test_filters_come_before_the_port_and_go_after_it(pair, programs):
    """The programs are slow, so that whatever does not wait for them is seen to be earlier."""
    pair.stop()
    pair.set(keys(pair))
    with Order("vethspoof", f"{pair.a}.eth0") as order, programs.are("slow"):
        pair.start()
        time.sleep(0.1)
        started, order.events = order.events, []
        kill_nft()
        pair.stop()
        eventually(lambda: any("no rules" in event for event in order.events), what=f"the rules go: {order.events}")
        time.sleep(0.1)
        stopped = order.events
    rules, port = first(started, "rules"), first(started, "port")
    assert rules <= port < len(started), started
    assert first(stopped, "no link", "no port") < first(stopped, "no rules"), stopped


def first(events, *names):
    """The place of the first event that is one of @names, or is not to be told from one."""
    return next((i for i, event in enumerate(events) if set(names) & set(event.split("="))), len(events))


def test_no_frame_gets_out_while_starting(pair):
    """The container's first program floods the network as soon as there is an interface."""
    daemon = pair.daemon
    pair.restart(keys(pair))
    rootfs = daemon.dir / "storage-pools/default/containers" / pair.a / "rootfs"
    with pair.lan() as lan:
        lan.alive()
        flood = Flood(lan)
        pair.stop()
        (rootfs / "frames").write_bytes(bridged.pack(flood.frames))
        (rootfs / "flood").write_bytes(bridged.build_sender(daemon.root).read_bytes())
        (rootfs / "flood").chmod(0o755)
        inittab = (rootfs / "etc/inittab").read_text()
        (rootfs / "etc/inittab").write_text("::sysinit:/bin/true\n::once:/bin/ip link set eth0 up\n::once:/flood -l eth0 /frames\n")
        try:
            for _ in range(5):
                pair.start()
                space = bridged.namespace(daemon, pair.a)
                sent = lambda: int(space.run("cat", "/sys/class/net/eth0/statistics/tx_packets", check=False) or 0)
                eventually(lambda: int(run("cat", "/sys/class/net/vethspoof/statistics/rx_packets")) > 50, what="the flood runs")
                space.close()
                pair.stop()
            assert flood.leaked() == []
        finally:
            (rootfs / "etc/inittab").write_text(inittab)


# Changes

def test_a_change_that_cannot_be_made_leaves_everything_as_it_was(pair, rules, programs):
    pair.restart(keys(pair))
    routes = lambda: run("ip", "route", "show", "table", "all") + run("ip", "-6", "route", "show", "table", "all")
    view = lambda: (bridged.ruleset(), routes(), pair.daemon.api.get(f"/1.0/instances/{pair.a}")["devices"])
    before = view()
    with programs.are("broken"):
        for change in ({"ipv4.routes": "203.0.113.0/24"}, {"ipv6.address": "2001:db8::11"}, {"security.ipv4_filtering": "", "ipv4.address": ""}):
            assert "eth0" in pair.daemon.api.failure(bridged.set_device(pair.daemon, pair.a, "eth0", keys(pair, **change)))
            assert view() == before
    kept(pair)
    pair.set(keys(pair, **{"ipv4.routes": "203.0.113.0/24"}))
    assert bridged.ruleset() != before[0]


def test_a_start_without_working_packet_filters_fails(pair, programs):
    pair.stop()
    pair.set(keys(pair))
    with programs.are("broken"):
        assert "eth0" in pair.daemon.api.failure(pair.daemon.api.state(pair.a, "start"))
        assert not pathlib.Path("/sys/class/net/vethspoof").exists()
    pair.start()
    kept(pair)


def test_nothing_leaks_while_keys_are_toggled(pair):
    pair.restart(keys(pair))
    rounds = 100 if pair.driver == "nftables" else 30
    changes = [{"ipv4.routes": "203.0.113.0/24"}, {"ipv6.routes": "2001:db8:8::/48"}, {"security.mac_filtering": "true"},
               {"limits.egress" if pair.driver == "nftables" else "limits.ingress": "1Gbit"}]
    with pair.lan() as lan:
        lan.alive()
        with Flood(lan) as flood:
            for i in range(rounds):
                pair.set(keys(pair, **changes[i // 2 % len(changes)] if i % 2 == 0 else {}))
        assert flood.rounds > rounds
        assert flood.leaked() == []


# Crashes

def test_init_is_killed_while_the_daemon_is_down(pair, rules):
    daemon = pair.daemon
    pair.restart(keys(pair))
    init = bridged.pid(daemon, pair.a)
    daemon.kill()
    assert bridged.ruleset() == rules
    os.kill(init, signal.SIGKILL)
    eventually(lambda: not pathlib.Path(f"/proc/{init}").exists(), what="init is gone")
    daemon.start()
    assert daemon.api.get(f"/1.0/instances/{pair.a}")["status"] == "Stopped"
    eventually(lambda: nothing_of(pair), what=f"nothing is left: {bridged.ruleset()}")
    pair.start()
    assert bridged.ruleset() == rules


def test_rules_are_put_back(pair, rules):
    """After somebody flushed everything: at once where the kernel tells, at the daemon's start in any case."""
    daemon = pair.daemon
    pair.restart(keys(pair))
    if pair.driver == "nftables":
        run("nft", "flush", "ruleset")
        eventually(lambda: bridged.ruleset() == rules, what="the rules are back")
        kept(pair)
        assert any("nft" in warning["last_message"].lower() or "rule" in warning["last_message"].lower()
                   for warning in daemon.api.get("/1.0/warnings?recursion=1"))
    daemon.stop()
    run("nft", "flush", "ruleset")
    daemon.start()
    eventually(lambda: bridged.ruleset() == rules, what="the rules are back")
    kept(pair)


@pytest.mark.parametrize("what", ["start", "update", "stop"])
def test_the_daemon_is_killed_at_any_moment(pair, rules, what):
    """Then the daemon starts, and there are the rules of a clean start or none, and no filtered container without them."""
    daemon = pair.daemon
    changed = keys(pair, **{"ipv4.routes": "203.0.113.0/24"})
    begin = {"start": lambda: daemon.api.state(pair.a, "start"),
             "update": lambda: bridged.set_device(daemon, pair.a, "eth0", changed),
             "stop": lambda: daemon.api.state(pair.a, "stop", force=True)}[what]
    for delay in (0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15):
        pair.restart(keys(pair))
        if what == "start":
            pair.stop()
        begin()
        time.sleep(delay)
        daemon.kill()
        daemon.start()
        instance = daemon.api.get(f"/1.0/instances/{pair.a}")
        if instance["status"] != "Running":
            eventually(lambda: nothing_of(pair), what=f"nothing is left after {delay} s: {bridged.ruleset()}")
        elif instance["devices"]["eth0"] == changed:
            assert bridged.ruleset().count("vethspoof") == rules.count("vethspoof")
        else:
            eventually(lambda: bridged.ruleset() == rules, what=f"the rules of a start after {delay} s: {bridged.ruleset()}")
    pair.restart(keys(pair))
    assert bridged.ruleset() == rules
    kept(pair)
