"""The driver for ebtables, iptables and ip6tables by itself: rules come, are replaced and go, and others' rules stay."""
import pathlib
import shutil
import subprocess
import threading
import time

import pytest

from helpers.firewall import Failure, Firewall, nft, tables

MAC = "00:16:3e:0a:0b:0c"
CALL = pathlib.Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
NETWORK = ("network", "br0", "192.0.2.1/24,nat,firewall,routing,dhcp", "2001:db8::1/64,nat,firewall,routing,dhcp")
PROGRAMS = ("ebtables", "iptables", "ip6tables")

pytestmark = pytest.mark.ours


def saved(program):
    """{table: lines} of what the save program says, without counters and what is always there."""
    found, table = {}, None
    for line in subprocess.run([f"{program}-save"], check=True, capture_output=True, text=True).stdout.splitlines():
        if line.startswith("*"):
            table = found.setdefault(line[1:], [])
        elif line.startswith("-A") or (line.startswith(":") and "lxd" in line):
            table.append(line.split(" [")[0])
    return {name: lines for name, lines in found.items() if lines}


def everything():
    return {program: saved(program) for program in PROGRAMS}


@pytest.fixture
def clean():
    nft("flush", "ruleset")
    yield
    nft("flush", "ruleset")


@pytest.fixture
def fw(clean, tmp_path):
    firewall = Firewall(tmp_path, "xtables")
    assert firewall.ask("driver") == "xtables"
    firewall.ask("start")
    yield firewall
    assert firewall.close() == 0


def nic(fw, v4="192.0.2.10", v6="2001:db8::10", label="c1.eth0", interface="veth1"):
    return fw.ask("nic", label, interface, MAC, v4, v6)


def test_nothing_noted_nothing_made(fw):
    assert everything() == {program: {} for program in PROGRAMS}


def test_nic(fw):
    nic(fw)
    frames = saved("ebtables")
    assert frames["nat"] == [":lxd-pre RETURN", "-A PREROUTING -j lxd-pre", f"-A lxd-pre -s ! {MAC} -i veth1 -j DROP"]
    inside = [line.split(" ", 2)[2] for line in frames["filter"] if line.startswith("-A lxd-in-")]
    assert inside[:2] == [f"-s ! {MAC} -j DROP", f"-p ARP --arp-mac-src ! {MAC} -j DROP"]
    assert "-p IPv4 --ip-src 192.0.2.10 -j RETURN" in inside and inside[-1] == "-j DROP"
    assert [line for line in frames["filter"] if line.startswith(("-A INPUT", "-A FORWARD"))] == [
        "-A INPUT -j lxd-in", "-A FORWARD -j lxd-fwd"]
    packets = saved("ip6tables")["filter"]
    assert any("generated for LXD container c1 (eth0)" in line and "--physdev-in veth1" in line for line in packets)
    fw.ask("nic-remove", "c1.eth0")
    assert everything() == {program: {} for program in PROGRAMS}


def test_network(fw):
    fw.ask(*NETWORK)
    rules = saved("iptables")
    assert set(rules) == {"nat", "mangle", "filter"}
    for table, wanted in (("nat", '-A lxd-post ! -d 192.0.2.0/24 -s 192.0.2.0/24 -m comment --comment "generated for LXD network '
                           'br0" -j MASQUERADE'),
                          ("mangle", "-j CHECKSUM --checksum-fill"), ("filter", "-A FORWARD -j lxd-fwd")):
        words = set(wanted.split())
        assert any(words <= set(line.split()) for line in rules[table]), (table, rules[table])
    ours = [line for table in rules.values() for line in table if line.startswith("-A lxd")]
    assert all('--comment "generated for LXD network br0"' in line for line in ours)
    fw.ask("network", "br0", "192.0.2.1/24,snat=198.51.100.200,after", "-")
    assert "SNAT --to-source 198.51.100.200" in saved("iptables")["nat"][-1]
    assert list(saved("iptables")) == ["nat"] and saved("ip6tables") == {}
    fw.ask("network-remove", "br0")
    assert everything() == {program: {} for program in PROGRAMS}


def test_order_of_nat(fw):
    subprocess.run(["iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "203.0.113.0/24", "-j", "ACCEPT"], check=True)
    for flags, position in (("nat", 0), ("nat,after", 1), ("nat", 0)):
        fw.ask("network", "br0", f"192.0.2.1/24,{flags}", "-")
        jumps = [line for line in saved("iptables")["nat"] if line.startswith("-A POSTROUTING")]
        assert len(jumps) == 2 and "lxd-post" in jumps[position]


def test_routed(fw):
    fw.ask("routed", "c1.eth0", "veth1")
    for program in ("iptables", "ip6tables"):
        rule = saved(program)["raw"][-1]
        assert "-i veth1" in rule and "-m rpfilter --invert" in rule and "-j DROP" in rule
        assert "generated for LXD container c1 (eth0) rpfilter" in rule
    assert "-A lxd-pre -s ::/128 -i veth1" in saved("ip6tables")["raw"][-2]
    fw.ask("routed-remove", "c1.eth0")
    assert everything() == {program: {} for program in PROGRAMS}


def test_again_and_again_is_once(fw):
    fw.ask(*NETWORK)
    nic(fw)
    once = everything()
    for _ in range(2):
        fw.ask(*NETWORK)
        nic(fw)
        fw.ask("start")
    assert everything() == once


def test_start_removes_what_nobody_wants(clean, tmp_path):
    first = Firewall(tmp_path, "xtables")
    first.ask("start")
    first.ask(*NETWORK)
    nic(first)
    nic(first, label="c2.eth0", interface="veth2")
    first.ask("routed", "c3.eth0", "veth3")
    assert first.close() == 0
    left = everything()
    second = Firewall(tmp_path, "xtables")
    nic(second)
    second.ask("start")
    kept = everything()
    assert kept != left and "veth2" not in str(kept) and "br0" not in str(kept) and list(kept["iptables"]) == ["filter"]
    second.ask("nic-remove", "c1.eth0")
    assert everything() == {program: {} for program in PROGRAMS}
    assert second.close() == 0


@pytest.mark.parametrize("old,new", (("nftables", "xtables"), ("xtables", "nftables")))
def test_start_removes_what_the_other_driver_left(clean, tmp_path, old, new):
    first = Firewall(tmp_path, old)
    first.ask("start")
    first.ask(*NETWORK)
    nic(first)
    assert first.close() == 0
    subprocess.run(["iptables", "-A", "INPUT", "-i", "eth9", "-j", "ACCEPT"], check=True)
    second = Firewall(tmp_path, new)
    second.ask("start")
    assert everything() == {"ebtables": {}, "iptables": {"filter": ["-A INPUT -i eth9 -j ACCEPT"]}, "ip6tables": {}}
    assert not {"table bridge lxd", "table inet lxd", "table netdev lxd"} & set(tables())
    assert second.close() == 0


def test_others_rules_stay(fw):
    for command in ("ebtables -A INPUT -i eth9 -j ACCEPT", "ebtables -N mine", f"ebtables -A mine -s ! {MAC} -j DROP",
                    "iptables -A INPUT -i br0 -p udp --dport 67 -j ACCEPT", "ip6tables -N lxd_nic_br0",
                    "iptables -t nat -A POSTROUTING -s 192.0.2.0/24 ! -d 192.0.2.0/24 -j MASQUERADE"):
        subprocess.run(command.split(), check=True)
    before = everything()
    nic(fw)
    fw.ask(*NETWORK)
    fw.ask("routed", "c1.eth0", "veth1")
    fw.ask("start")
    fw.ask("nic-remove", "c1.eth0")
    fw.ask("network-remove", "br0")
    fw.ask("routed-remove", "c1.eth0")
    assert everything() == before


def test_ipv6_filter_needs_bridge_netfilter(fw):
    nic(fw)
    before = everything()
    CALL.write_text("0")
    try:
        for command in ("check", "nic"):
            with pytest.raises(Failure) as e:
                fw.ask(command, "c2.eth0", "veth2", MAC, "192.0.2.11", "2001:db8::11")
            assert e.value.status == 400
            assert "security.ipv6_filtering requires bridge netfilter: net.bridge.bridge-nf-call-ip6tables is not 1" in e.value.message
        assert everything() == before
        nic(fw, v6="-", label="c3.eth0", interface="veth3")
        nic(fw, v6="none", label="c4.eth0", interface="veth4")
    finally:
        CALL.write_text("1")


def test_rates_need_nftables(fw):
    with pytest.raises(Failure) as e:
        fw.ask("rate", "c1.eth0", "lo", 1000)
    assert (e.value.status, e.value.message) == (
        400, 'Set rate limit of "c1.eth0": xtables cannot do rate limits on interfaces; nftables can')


def test_refused_change_leaves_all_as_it_was(fw, tmp_path):
    """The second program fails: what the first has done is undone."""
    nic(fw)
    before = everything()
    fw.close()
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in PROGRAMS:
        for kind in ("save", "restore"):
            (folder / f"{program}-{kind}").symlink_to(shutil.which(f"{program}-{kind}"))
    second = Firewall(tmp_path, "xtables", {"PATH": str(folder)})
    nic(second)
    second.ask("start")
    assert everything() == before
    broken = folder / "ip6tables-restore"
    broken.unlink()
    broken.write_text("#!/bin/sh\necho no room for rules >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(Failure) as e:
        nic(second, "none", "-")
    assert "no room for rules" in e.value.message
    assert everything() == before
    assert second.close() == 0


def test_missing_programs(clean, tmp_path):
    fw = Firewall(tmp_path, "xtables", {"PATH": str(tmp_path)})
    assert fw.ask("driver") == "none"
    fw.ask("start")
    with pytest.raises(Failure, match="xtables needs the program ebtables-save, which is not installed"):
        nic(fw)
    with pytest.raises(Failure, match="xtables needs the program ebtables-save"):
        fw.ask("set-driver", "xtables")
    fw.ask("set-driver", "nftables")
    with pytest.raises(Failure) as e:
        fw.ask("set-driver", "xtables")
    assert e.value.status == 400
    assert fw.ask("driver") == "nftables"
    assert fw.close() == 0


def test_change_of_driver(fw):
    fw.ask(*NETWORK)
    nic(fw)
    with_xtables = everything()
    fw.ask("set-driver", "")
    assert fw.ask("driver") == "nftables"
    assert everything() == {program: {} for program in PROGRAMS}
    assert "c1.eth0" in nft("list", "table", "bridge", "lxd")
    fw.ask("set-driver", "xtables")
    assert everything() == with_xtables
    assert "table bridge lxd" not in nft("list", "tables") and "table inet lxd" not in nft("list", "tables")
    # what the other cannot do is a reason to stay
    fw.ask("set-driver", "nftables")
    fw.ask("rate", "c1.eth0", "lo", 1000)
    with pytest.raises(Failure, match="xtables cannot do rate limits") as e:
        fw.ask("set-driver", "xtables")
    assert e.value.status == 400 and fw.ask("driver") == "nftables"
    assert everything() == {program: {} for program in PROGRAMS}


def test_no_moment_without(fw):
    """While rules are replaced over and over, a listing always shows them."""
    nic(fw)
    stop, missing = threading.Event(), []

    def watch():
        while not stop.is_set():
            found = str(saved("ebtables"))
            for wanted in (f"-A lxd-pre -s ! {MAC} -i veth1 -j DROP", "-A FORWARD -j lxd-fwd", "-A lxd-fwd -i veth1 -j lxd-fwd-",
                           f"--arp-mac-src ! {MAC} -j DROP"):
                if wanted not in found:
                    missing.append(wanted)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for i in range(20):
        nic(fw, ("192.0.2.10", "none")[i % 2])
    stop.set()
    watcher.join()
    assert missing == []


def test_own_rules_are_no_foreign_policy(fw):
    """With xtables our accepts are in the very table that drops."""
    subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
    fw.ask("network", "br0", "192.0.2.1/24,firewall,routing", "-")
    time.sleep(0.5)  # they are looked for a tenth of a second later
    assert [w for w in fw.warnings() if w[0] == "Another firewall drops forwarded traffic" and w[3]] == []
