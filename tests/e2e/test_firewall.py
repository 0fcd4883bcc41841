"""Packet filters by themselves, in the kernel of the sandbox: what the driver for nftables makes, replaces and removes."""
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from helpers.daemon import eventually, processes
from helpers.firewall import BIN, Failure, Firewall, chain, chains, nft, ruleset, tables

MAC = "00:16:3e:0a:0b:0c"
OTHER_MAC = "00:16:3e:0a:0b:0d"
MODES = {
    "mac": ("-", "-"), "v4": ("192.0.2.10", "-"), "v6": ("-", "2001:db8::10"), "both": ("192.0.2.10", "2001:db8::10"),
    "none4": ("none", "-"), "none6": ("-", "none"), "none": ("none", "none"),
}
NETWORK = ("network", "br0", "192.0.2.1/24,nat,firewall,routing,dhcp", "2001:db8::1/64,nat,firewall,routing,dhcp")

pytestmark = pytest.mark.ours


@pytest.fixture
def clean():
    nft("flush", "ruleset")
    yield
    nft("flush", "ruleset")


@pytest.fixture
def fw(clean, tmp_path):
    firewall = Firewall(tmp_path)
    firewall.ask("start")
    yield firewall
    assert firewall.close() == 0


def working_helper(fw):
    """The process id of lxd-nft, which ends after the first NIC, as after a start, and stays after the second."""
    nic(fw, "both")
    eventually(lambda: "lxd-nft" not in processes().values(), what="lxd-nft rests")
    nic(fw, "both")
    pids = [pid for pid, name in processes().items() if name == "lxd-nft"]
    assert len(pids) == 1
    return pids[0]


def nic(fw, mode="both", label="c1.eth0", interface="veth1", mac=MAC):
    return fw.ask("nic", label, interface, mac, *MODES[mode])


def test_nothing_noted_nothing_made(fw):
    assert fw.ask("driver") == "nftables"
    assert tables() == []


@pytest.mark.parametrize("mode", MODES)
def test_modes(fw, mode):
    nic(fw, mode)
    assert chains("bridge lxd") == ["forward", "fwd.c1.eth0", "in", "in.c1.eth0", "pre"]
    assert chain("bridge lxd", "pre") == ["iifname @nic_filtered iifname . ether saddr != @nic_mac drop"]
    assert chain("bridge lxd", "in") == ["iifname vmap @nic_in"]
    v4, v6 = MODES[mode]
    for name in ("in.c1.eth0", "fwd.c1.eth0"):
        rules = chain("bridge lxd", name)
        assert f'iifname "veth1" ether saddr != {MAC} drop' in rules
        assert f'iifname "veth1" arp saddr ether != {MAC} drop' in rules
        assert ('iifname "veth1" arp saddr ip 192.0.2.10 accept' in rules) == (v4 == "192.0.2.10")
        assert ('iifname "veth1" ip saddr 192.0.2.10 accept' in rules) == (v4 == "192.0.2.10")
        assert ('iifname "veth1" ip6 saddr 2001:db8::10 accept' in rules) == (v6 == "2001:db8::10")
        assert ('iifname "veth1" icmpv6 type 134 drop' in rules) == (v6 == "2001:db8::10")
        for family, key in ((v4, "0x0800"), (v4, "0x0806"), (v6, "0x86dd")):
            assert (f'iifname "veth1" ether type {key} drop' in rules) == (family != "-")
        assert any(r.endswith("ether type != 0x86dd drop") for r in rules) == (mode != "mac")
    fw.ask("nic-remove", "c1.eth0")
    assert chains("bridge lxd") == ["forward", "in", "pre"]
    assert "veth1" not in ruleset()


@pytest.mark.parametrize("bits", (0, 1, 7, 8, 32, 48, 60, 61, 63, 64, 65, 100, 127, 128))
def test_any_prefix_length(fw, bits):
    fw.ask("nic", "c1.eth0", "veth1", MAC, "-", f"2001:db8:9::/{bits}")
    rules = chain("bridge lxd", "in.c1.eth0")
    assert any("ip6 saddr" in r and r.endswith("accept") for r in rules) or bits == 0


def test_replace(fw):
    nic(fw, "both")
    nic(fw, "v4", interface="veth2", mac=OTHER_MAC)
    text = ruleset()
    assert "veth1" not in text and MAC not in text
    assert f'"veth2" . {OTHER_MAC}' in text and '"veth2" : jump in.c1.eth0' in text
    nic(fw, "none", interface="veth2", mac=OTHER_MAC)
    once = ruleset()
    nic(fw, "none", interface="veth2", mac=OTHER_MAC)
    assert ruleset() == once


def test_network(fw):
    fw.ask(*NETWORK)
    assert chains("inet lxd") == ["fwd.br0", "in.br0", "out.br0", "pstrt.br0"]
    hooks = {"pstrt": "type nat hook postrouting priority 100", "fwd": "type filter hook forward priority 0",
             "in": "type filter hook input priority 0", "out": "type filter hook output priority 0"}
    for name, hook in hooks.items():
        assert f"{hook}; policy accept;" in nft("list", "chain", "inet", "lxd", f"{name}.br0")
    assert chain("inet lxd", "pstrt.br0") == ["ip saddr 192.0.2.0/24 ip daddr != 192.0.2.0/24 masquerade",
                                             "ip6 saddr 2001:db8::/64 ip6 daddr != 2001:db8::/64 masquerade"]
    fw.ask("network", "br0", "192.0.2.1/24,snat=198.51.100.200,routing,dhcp", "2001:db8::1/64,routing")
    assert chains("inet lxd") == ["pstrt.br0"]
    assert chain("inet lxd", "pstrt.br0") == ["ip saddr 192.0.2.0/24 ip daddr != 192.0.2.0/24 snat ip to 198.51.100.200"]
    fw.ask("network", "br0", "192.0.2.1/24,firewall,dhcp", "-")
    assert all(r.endswith("reject") or "reject with icmp 3" in r for r in chain("inet lxd", "fwd.br0"))
    fw.ask("network", "br0", "-", "-")
    assert chains("inet lxd") == []


def test_routed_and_rate(fw):
    fw.ask("routed", "c1.eth0", "veth1")
    assert chain("inet lxd", "prert") == ["iifname vmap @nic_prert"]
    assert re.fullmatch(r'iifname "veth1" fib saddr \. iif oif (0|missing) drop', chain("inet lxd", "prert.c1.eth0")[0])
    fw.ask("routed", "c1.eth0", "veth2")
    assert "veth1" not in ruleset() and '"veth2" : jump prert.c1.eth0' in ruleset()
    fw.ask("rate", "c1.eth0", "lo", 1250000)
    assert "1250000 bytes/second" in nft("list", "chain", "netdev", "lxd", "rate.c1.eth0")
    fw.ask("rate", "c1.eth0", "lo", 2500000)
    assert "2500000 bytes/second" in nft("list", "chain", "netdev", "lxd", "rate.c1.eth0")
    fw.ask("rate-remove", "c1.eth0")
    fw.ask("rate-remove", "c1.eth0")
    fw.ask("routed-remove", "c1.eth0")
    assert "c1.eth0" not in ruleset()


def test_rate_needs_its_interface(fw):
    with pytest.raises(Failure) as e:
        fw.ask("rate", "c1.eth0", "nothere", 1000)
    assert (e.value.status, e.value.message) == (400, 'Set rate limit of "c1.eth0": Interface "nothere" does not exist')
    assert "rate." not in ruleset()
    subprocess.run(["ip", "link", "add", "vethr", "type", "veth", "peer", "name", "vethp"], check=True)
    fw.ask("rate", "c2.eth0", "vethr", 1000)
    subprocess.run(["ip", "link", "del", "vethr"], check=True)
    fw.ask("rate-remove", "c2.eth0")
    assert "rate." not in ruleset()


def test_start_removes_what_nobody_wants(clean, tmp_path):
    first = Firewall(tmp_path)
    first.ask("start")
    first.ask(*NETWORK)
    nic(first, "both")
    nic(first, "v4", label="c2.eth0", interface="veth2", mac=OTHER_MAC)
    first.ask("routed", "c3.eth0", "veth3")
    first.ask("rate", "c1.eth0", "lo", 1000)
    expected = ruleset()
    assert first.close() == 0
    assert ruleset() == expected  # a daemon that ends leaves the filters alone
    nft("add", "rule", "bridge", "lxd", "in.c1.eth0", "accept")

    second = Firewall(tmp_path)
    nic(second, "both")
    second.ask(*NETWORK)
    assert ruleset() != ""
    second.ask("start")
    assert chains("bridge lxd") == ["forward", "fwd.c1.eth0", "in", "in.c1.eth0", "pre"]
    assert chains("inet lxd") == ["fwd.br0", "in.br0", "out.br0", "pstrt.br0"]
    assert "accept" != chain("bridge lxd", "in.c1.eth0")[-1]
    assert tables() == ["table bridge lxd", "table inet lxd"]
    assert "veth2" not in ruleset() and "veth3" not in ruleset() and "nic_prert" not in ruleset()
    assert second.close() == 0

    third = Firewall(tmp_path)
    third.ask("start")
    assert tables() == []
    assert third.close() == 0


def test_start_replaces_tables_of_another_make(clean, tmp_path):
    """The reference's tables have our names but base chains of their own."""
    nft("add table bridge lxd; add chain bridge lxd in.c1.eth0 { type filter hook input priority -200; }; "
        "add rule bridge lxd in.c1.eth0 drop; add map bridge lxd nic_in { type ipv4_addr : verdict; }")
    fw = Firewall(tmp_path)
    nic(fw, "v4")
    fw.ask("start")
    assert chains("bridge lxd") == ["forward", "fwd.c1.eth0", "in", "in.c1.eth0", "pre"]
    assert "hook" not in nft("list", "chain", "bridge", "lxd", "in.c1.eth0")
    assert fw.close() == 0


def test_foreign_tables_are_left_alone(fw):
    nft("add table inet mine; add chain inet mine c; add rule inet mine c accept; add table bridge lxd2")
    nic(fw, "both")
    fw.ask("nic-remove", "c1.eth0")
    assert "table inet mine" in tables() and "table bridge lxd2" in tables()


def test_change_after_a_flush_mends_all(fw):
    nic(fw, "both")
    fw.ask(*NETWORK)
    expected = ruleset()
    nft("delete table bridge lxd")
    nic(fw, "v4", label="c2.eth0", interface="veth2", mac=OTHER_MAC)
    fw.ask("nic-remove", "c2.eth0")
    assert sorted(ruleset().splitlines()) == sorted(expected.splitlines())


def test_odd_labels(fw):
    for label in ("c1.my nic", 'p_c1.a"b;}', "c1.\u00e4", "c1." + "x" * 64, "p" * 250 + "_c1.eth0"):
        nic(fw, "v4", label=label)
        assert len(chains("bridge lxd")) == 5, label
        fw.ask("nic-remove", label)
    assert chains("bridge lxd") == ["forward", "in", "pre"]


def test_no_moment_without(fw):
    """While rules are replaced over and over, a listing always shows them."""
    fw.ask(*NETWORK)
    nic(fw, "both")
    stop, missing = threading.Event(), []

    def watch():
        while not stop.is_set():
            text = ruleset()
            for wanted in ("ether saddr != @nic_mac drop", f'"veth1" . {MAC}', '"veth1" : jump fwd.c1.eth0', "fwd.br0",
                           "daddr != 192.0.2.0/24 masquerade", f'iifname "veth1" ether saddr != {MAC} drop'):
                if wanted not in text:
                    missing.append(wanted)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for i in range(60):
        nic(fw, ("v4", "both", "none")[i % 3])
        fw.ask(*NETWORK[:2], "192.0.2.1/24,nat,firewall,dhcp" + (",routing" if i % 2 else ""), "-")
        if i % 20 == 0:
            fw.ask("start")
    stop.set()
    watcher.join()
    assert missing == []


def test_helper_is_confined_and_ends(fw):
    pid = working_helper(fw)
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines())
    assert set(status["Uid"].split()) == {"92805"} and set(status["Gid"].split()) == {"92805"}
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 1 << 12  # net_admin
    assert int(status["CapBnd"], 16) == int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" and status["Threads"] == "1"
    assert os.listdir(f"/proc/{pid}/root/") == []
    assert os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino
    assert os.stat(f"/proc/{pid}/ns/mnt").st_ino != os.stat("/proc/self/ns/mnt").st_ino
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), timeout=20, what="lxd-nft ends without work, and is reaped")
    nic(fw, "v4")
    assert chain("bridge lxd", "in.c1.eth0")


def test_helper_rests_after_a_start(fw):
    pid = working_helper(fw)
    fw.ask("start")
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), timeout=3, what="lxd-nft has ended")


def test_helper_killed(fw):
    pid = working_helper(fw)
    before = ruleset()
    os.kill(pid, signal.SIGKILL)
    nic(fw, "both")
    assert ruleset() == before


def test_without_the_helper_xtables_is_chosen(clean, tmp_path):
    alone = tmp_path / "bin"
    alone.mkdir()
    shutil.copy(BIN / "firewall-driver", alone)
    fw = Firewall(tmp_path, program=[alone / "firewall-driver"])
    assert fw.ask("driver") == "xtables"
    fw.ask("start")
    with pytest.raises(Failure, match="Start lxd-nft: Run .*/lxd-nft: No such file"):
        fw.ask("set-driver", "nftables")
    nic(fw, "mac")
    assert "lxd-pre" in subprocess.run(["ebtables-save"], check=True, capture_output=True, text=True).stdout
    assert fw.close() == 0


def test_without_rights_nothing_is_chosen(clean, tmp_path):
    fw = Firewall(tmp_path, program=["setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin", BIN / "firewall-driver"])
    assert fw.ask("driver") == "none"
    for command in (("check", "c1.eth0", "veth1", MAC, "-", "-"), ("nic", "c1.eth0", "veth1", MAC, "-", "-"), NETWORK):
        with pytest.raises(Failure) as e:
            if command[0] == "nic":
                fw.ask("start")
            fw.ask(*command)
        assert e.value.status == 400
        assert re.search("No firewall driver works here: nftables cannot do .* here: .*; xtables does not work here: ", e.value.message)
    assert fw.close() == 0


def test_bad_driver_names(clean, tmp_path):
    fw = Firewall(tmp_path, "ipfw")
    assert fw.ask("driver") == "none"
    fw.ask("start")
    with pytest.raises(Failure) as e:
        nic(fw, "mac")
    assert e.value.message == 'Set packet filter of "c1.eth0": Unknown firewall driver "ipfw"'
    fw.ask("network", "br0", "192.0.2.1/24,routing", "-")  # needs no rules
    fw.ask("nic-remove", "c1.eth0")
    with pytest.raises(Failure, match='Unknown firewall driver "pf"'):
        fw.ask("set-driver", "pf")
    fw.ask("set-driver", "")
    assert fw.ask("driver") == "nftables"
    nic(fw, "mac")
    assert fw.close() == 0


# --- what others do ---

REMOVED = "Packet filters changed by another program"
FOREIGN = "Another firewall drops forwarded traffic"


@pytest.mark.parametrize("what", ("flush ruleset", "delete table bridge lxd", "flush chain bridge lxd in.c1.eth0",
                                  "delete element bridge lxd nic_fwd { veth1 }", "delete chain inet lxd fwd.br0",
                                  "add rule inet lxd in.br0 drop"))
def test_put_back(fw, what):
    fw.ask(*NETWORK)
    nic(fw, "both")
    expected = sorted(ruleset().splitlines())
    nft(what)
    eventually(lambda: sorted(ruleset().splitlines()) == expected, what="the rules are back")
    eventually(lambda: [w[:3] for w in fw.warnings() if w[0] == REMOVED] == [(REMOVED, "moderate", "")], what="one warning")
    assert 'The program "nft" removed or changed' in [w[3] for w in fw.warnings() if w[0] == REMOVED][0]


def test_own_changes_are_no_news(fw):
    fw.ask(*NETWORK)
    for i in range(30):
        nic(fw, "both", f"c{i}.eth0", f"veth{i}", f"00:16:3e:02:00:{i:02x}")
        fw.ask("nic-remove", f"c{i}.eth0")
    nft("add table inet mine; delete table inet mine")  # nor is this
    time.sleep(0.5)
    assert [w for w in fw.warnings() if w[0] == REMOVED] == []


def test_put_back_slower_and_slower(fw):
    """Another program that insists does not make us busy."""
    nic(fw, "mac")
    end = time.monotonic() + 4
    while time.monotonic() < end:
        nft("flush ruleset")
        time.sleep(0.02)
    warnings = [w for w in fw.warnings() if w[0] == REMOVED]
    assert 2 <= len(warnings) <= 6  # after 0.1, 0.2, 0.4, 0.8 ... seconds
    eventually(lambda: "nic_mac" in ruleset(), timeout=12, what="the rules are back")


DROP = 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'


def open_warnings(fw):
    current = {}
    for kind, _, entity, message in fw.warnings():
        if kind == FOREIGN:
            current[entity] = message
    return {entity: message for entity, message in current.items() if message}


def test_foreign_policy(fw):
    fw.ask(*NETWORK)
    fw.ask("network", "br1", "-", "2001:db8:1::1/64,firewall")
    nft(DROP)
    eventually(lambda: open_warnings(fw), what="a warning")
    assert open_warnings(fw) == {"/1.0/networks/br0": 'Chain "FORWARD" of table "ip filter" drops what is forwarded and does not '
                                 'accept network "br0"; add the rules: iptables -I FORWARD -i br0 -j ACCEPT; '
                                 'iptables -I FORWARD -o br0 -j ACCEPT'}
    nft("add chain ip filter DOCKER-USER")
    eventually(lambda: "-I DOCKER-USER -i br0" in open_warnings(fw)["/1.0/networks/br0"], what="Docker's chain is named")
    subprocess.run(["iptables", "-I", "DOCKER-USER", "-i", "br0", "-j", "ACCEPT"], check=True)
    time.sleep(0.3)
    assert open_warnings(fw)
    subprocess.run(["iptables", "-I", "DOCKER-USER", "-o", "br0", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j",
                    "ACCEPT"], check=True)
    eventually(lambda: not open_warnings(fw), what="accepted")
    nft("add table inet fw; add chain inet fw f { type filter hook forward priority 10; policy drop; }")
    eventually(lambda: len(open_warnings(fw)) == 2, what="both networks")
    assert "nft insert rule inet fw f iifname br1 accept; nft insert rule inet fw f oifname br1 accept" in \
        open_warnings(fw)["/1.0/networks/br1"]
    fw.ask("network-remove", "br1")
    eventually(lambda: list(open_warnings(fw)) == ["/1.0/networks/br0"], what="the network is gone")
    nft("delete table inet fw")
    eventually(lambda: not open_warnings(fw), what="the chain is gone")


def test_foreign_policy_before_start(clean, tmp_path):
    nft(DROP)
    fw = Firewall(tmp_path)
    fw.ask("start")
    fw.ask(*NETWORK)
    eventually(lambda: open_warnings(fw), what="a warning")
    nft("add rule ip filter FORWARD iifname br0 counter accept; add rule ip filter FORWARD oifname br0 ct state new accept")
    eventually(lambda: not open_warnings(fw), what="accepted")
    assert fw.close() == 0


def legacy(*args, family=""):
    subprocess.run([f"ip{family}tables-legacy", *args], check=True)


def test_foreign_policy_of_legacy_iptables(fw):
    if subprocess.run(["iptables-legacy", "-S"], capture_output=True).returncode:
        pytest.skip("this kernel has no iptables of the old kind")
    try:
        legacy("-P", "FORWARD", "DROP")
        fw.ask(*NETWORK)
        eventually(lambda: open_warnings(fw), what="a warning")
        assert "iptables-legacy -I FORWARD -i br0 -j ACCEPT" in open_warnings(fw)["/1.0/networks/br0"]
        legacy("-I", "FORWARD", "-i", "br0", "-j", "ACCEPT")
        legacy("-I", "FORWARD", "-o", "br0", "-j", "ACCEPT")
        fw.ask(*NETWORK)
        eventually(lambda: not open_warnings(fw), what="accepted")
    finally:
        legacy("-P", "FORWARD", "ACCEPT")
        legacy("-F")
