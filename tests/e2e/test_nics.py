"""NICs of instances on the host and in the container: what is there while they run, and that nothing stays."""
import os
import signal
import subprocess
import time

import pytest

from helpers import net, nics
from helpers.daemon import eventually
from helpers.nics import ip

pytestmark = pytest.mark.ours


def url(name):
    return f"/1.0/instances/{name}"


@pytest.fixture(scope="module")
def bridge(daemon):
    """A bridge that the server does not manage."""
    ip("link", "add", "ubr0", "type", "bridge")
    ip("link", "set", "ubr0", "up")
    ip("address", "add", "203.0.113.1/24", "dev", "ubr0")
    ip("address", "add", "2001:db8:3::1/64", "dev", "ubr0", "nodad")
    yield "ubr0"
    ip("link", "delete", "ubr0")


def bridged(parent="ubr0", **more):
    return {"type": "nic", "nictype": "bridged", "parent": parent, **more}


def host_name(api, name, device="eth0"):
    return api.get(url(name))["config"].get(f"volatile.{device}.host_name")


def volatile(api, name):
    """What is kept of NICs while the instance is stopped or runs."""
    config = api.get(url(name))["config"]
    return {k.removeprefix("volatile."): v for k, v in config.items()
            if k.startswith("volatile.") and k.endswith((".hwaddr", ".name", ".host_name", ".created", ".mtu"))}


def inside(api, name, device="eth0"):
    """An interface as the state object shows it; None when the container has no such."""
    return (api.get(f"{url(name)}/state")["network"] or {}).get(device)


def change(api, name, add=None, remove=()):
    instance = api.get(url(name))
    instance["devices"].update(add or {})
    for device in remove:
        del instance["devices"][device]
    return api.put(url(name), instance)


def stop(api, name, **more):
    api.done(api.state(name, "stop", **{"force": True, **more}))


def assert_gone(api, name, host):
    assert host not in nics.links()
    assert name not in nics.ruleset()
    assert [k for k in volatile(api, name) if k.endswith(".host_name")] == []


# --- start and stop


@pytest.mark.parametrize("config", [{}, {"security.privileged": "true"}, {"security.nesting": "true"}, {"security.idmap.isolated": "true"}],
                         ids=["plain", "privileged", "nesting", "isolated"])
def test_bridged_start_and_stop(api, name, bridge, config):
    api.launch(name, config, {"eth0": bridged()})
    host = host_name(api, name)
    kept = volatile(api, name)
    assert kept["eth0.hwaddr"].startswith("00:16:3e:") and kept["eth0.name"] == "eth0" and host.startswith("veth") and len(host) == 12
    link = nics.link(host)
    assert link["master"] == bridge and "UP" in link["flags"]
    assert nics.sysctl("ipv6", host, "disable_ipv6") == 1 and nics.sysctl("ipv6", host, "accept_ra") == 0
    guest = inside(api, name)
    assert guest["hwaddr"] == kept["eth0.hwaddr"] and guest["state"] == "up" and guest["host_name"] == host
    api.sh(name, "ip addr add 203.0.113.5/24 dev eth0 && ping -c 1 -W 2 203.0.113.1")
    stop(api, name)
    assert volatile(api, name) == {"eth0.hwaddr": kept["eth0.hwaddr"], "eth0.name": "eth0"}
    assert_gone(api, name, host)
    assert nics.made_links() == []
    api.done(api.state(name, "start"))
    assert inside(api, name)["hwaddr"] == kept["eth0.hwaddr"]


def test_without_nic_there_is_only_lo(api, name):
    api.launch(name)
    assert list(api.get(f"{url(name)}/state")["network"]) == ["lo"]
    assert nics.made_links() == []


def test_several_nics_get_the_lowest_free_names(api, name, bridge):
    api.launch(name, devices={"a": bridged(), "b": bridged(name="eth0"), "c": bridged(name="lan7"), "d": bridged()})
    found = api.get(f"{url(name)}/state")["network"]
    assert sorted(found) == ["eth0", "eth1", "eth2", "lan7", "lo"]
    assert [volatile(api, name).get(f"{d}.name") for d in "abcd"] == ["eth1", None, None, "eth2"]


def test_commands_still_join_fast(daemon, api, name, bridge):
    """The note by which a command joins without liblxc is there for containers with NICs too."""
    api.launch(name, devices={"eth0": bridged()})
    assert (daemon.dir / "logs" / name / "lxc.conf.join").exists()


def test_host_name_and_mtu(api, name, bridge):
    api.launch(name, devices={"eth0": bridged(host_name="hostside0", mtu="1400", hwaddr="00:16:3e:aa:bb:cc", name="lan0")})
    assert nics.link("hostside0")["mtu"] == 1400
    guest = inside(api, name, "lan0")
    assert guest["mtu"] == 1400 and guest["hwaddr"] == "00:16:3e:aa:bb:cc"
    assert "eth0.hwaddr" not in volatile(api, name) and "eth0.name" not in volatile(api, name)
    stop(api, name)
    assert_gone(api, name, "hostside0")


def test_a_host_name_that_is_taken_is_refused_and_left_alone(daemon, api, name, bridge):
    ip("link", "add", "taken0", "type", "veth", "peer", "name", "taken1")
    api.done(api.create(name, devices={"eth0": bridged(host_name="taken0"), "eth1": bridged()}))
    assert "already exists" in api.failure(api.state(name, "start"))
    assert nics.link("taken0") and nics.made_links() == []
    assert host_name(api, name) is None and host_name(api, name, "eth1") is None
    daemon.restart()
    assert nics.link("taken0")
    ip("link", "delete", "taken0")
    api.done(api.state(name, "start"))
    assert nics.link("taken0")["master"] == bridge


def test_missing_parent(api, name):
    api.done(api.create(name, devices={"eth0": bridged("nobr7")}))
    assert "Parent device \"nobr7\" doesn't exist" in api.failure(api.state(name, "start"))
    assert nics.made_links() == [] and host_name(api, name) is None


# --- every way to end


def reboot_inside(api, name):
    api.run(name, "reboot")


ENDS = {
    "stop": lambda api, name: api.done(api.state(name, "stop", timeout=20)),
    "force": stop,
    "poweroff": lambda api, name: api.run(name, "poweroff"),
    "kill init": lambda api, name: os.kill(api.get(f"{url(name)}/state")["pid"], signal.SIGKILL),
}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_after(api, name, bridge, end):
    api.launch(name, devices={"eth0": bridged(**{"ipv4.routes": "198.51.100.0/24", "limits.ingress": "10Mbit", "limits.egress": "10Mbit"})})
    host = host_name(api, name)
    assert "198.51.100.0/24" in nics.routes("dev", bridge)
    ENDS[end](api, name)
    eventually(lambda: api.get(url(name))["status"] == "Stopped", what="stopped")
    eventually(lambda: host_name(api, name) is None, what="cleaned up")
    assert_gone(api, name, host)
    assert "198.51.100.0/24" not in nics.routes("dev", bridge)


@pytest.mark.parametrize("how", ["init", "monitor"])
def test_end_while_the_daemon_is_down(daemon, api, name, bridge, how):
    api.launch(name, devices={"eth0": bridged(**{"ipv4.routes": "198.51.100.0/24"})})
    host = host_name(api, name)
    pid = api.get(f"{url(name)}/state")["pid"]
    parent = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
    daemon.kill()
    os.kill(pid if how == "init" else parent, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{parent}"), what="the monitor has ended")
    daemon.start()
    eventually(lambda: host_name(api, name) is None, what="cleaned up")
    assert_gone(api, name, host)
    assert nics.made_links() == [] and "198.51.100.0/24" not in nics.routes("dev", bridge)
    api.done(api.state(name, "start"))


def test_ephemeral(api, daemon, bridge):
    fresh = daemon.new_name()
    api.launch(fresh, devices={"eth0": bridged()}, ephemeral=True)
    host = host_name(api, fresh)
    api.done(api.state(fresh, "stop", force=True))
    assert host not in nics.links()


def test_reboot_inside_keeps_the_network(api, name, bridge):
    api.launch(name, devices={"eth0": bridged(hwaddr="00:16:3e:00:11:22", mtu="1400")})
    host = host_name(api, name)
    before = api.get(f"{url(name)}/state")["pid"]
    api.sh(name, "ip link set eth0 down; ip link set eth0 address 00:16:3e:99:99:99 mtu 1300 name other0")
    reboot_inside(api, name)
    eventually(lambda: api.get(f"{url(name)}/state")["pid"] not in (before, 0, -1), what="another init")
    guest = eventually(lambda: inside(api, name), what="eth0 is there again")
    assert guest["hwaddr"] == "00:16:3e:00:11:22" and guest["mtu"] == 1400 and guest["state"] == "up"
    assert host_name(api, name) == host and nics.link(host)["master"] == bridge
    api.sh(name, "ip addr add 203.0.113.6/24 dev eth0 && ping -c 1 -W 2 203.0.113.1")
    stop(api, name)
    assert_gone(api, name, host)


# --- running containers


def test_hot_add_and_remove(api, name, bridge):
    api.launch(name)
    api.done(change(api, name, {"eth0": bridged()}))
    host = host_name(api, name)
    guest = inside(api, name)
    assert guest["state"] == "up" and guest["host_name"] == host and nics.link(host)["master"] == bridge
    assert guest["hwaddr"] == volatile(api, name)["eth0.hwaddr"]
    api.sh(name, "ip addr add 203.0.113.5/24 dev eth0 && ping -c 1 -W 2 203.0.113.1")
    api.done(change(api, name, remove=["eth0"]))
    assert inside(api, name) is None and volatile(api, name) == {}
    assert_gone(api, name, host)
    api.done(change(api, name, {"eth0": bridged()}))
    host = host_name(api, name)
    stop(api, name)
    assert_gone(api, name, host)


def test_hot_add_of_what_cannot_be_leaves_all_as_it_was(api, name, bridge):
    api.launch(name, devices={"eth0": bridged()})
    before = api.get(url(name))
    for bad, text in ((bridged("nobr7"), "doesn't exist"), (bridged(name="eth0", host_name=host_name(api, name)), "")):
        assert text in api.failure(change(api, name, {"eth1": bad}))
    assert api.get(url(name))["devices"] == before["devices"] and volatile(api, name) == {
        k.removeprefix("volatile."): v for k, v in before["config"].items() if k.startswith("volatile.eth0.")}
    assert len(nics.made_links()) == 1 and inside(api, name)["state"] == "up"


def test_replug_that_fails_puts_the_old_one_back(api, name, bridge):
    api.launch(name, devices={"eth0": bridged()})
    kept = volatile(api, name)
    assert "doesn't exist" in api.failure(change(api, name, {"eth0": bridged("nobr7")}))
    guest = inside(api, name)
    assert guest["hwaddr"] == kept["eth0.hwaddr"] and guest["state"] == "up"
    assert volatile(api, name) == kept and nics.made_links() == [kept["eth0.host_name"]]
    assert nics.link(kept["eth0.host_name"])["master"] == bridge


def test_new_hardware_address_of_a_running_instance(api, name, bridge):
    api.launch(name, devices={"eth0": bridged()})
    api.done(change(api, name, {"eth0": bridged(hwaddr="00:16:3e:01:02:03")}))
    assert inside(api, name)["hwaddr"] == "00:16:3e:01:02:03" and inside(api, name)["state"] == "up"
    assert "eth0.hwaddr" not in volatile(api, name)
    api.done(change(api, name, {"eth0": bridged()}))
    assert inside(api, name)["hwaddr"] == volatile(api, name)["eth0.hwaddr"] != "00:16:3e:01:02:03"
    assert len(nics.made_links()) == 1


def test_volatile_hardware_address_of_a_running_instance(api, name, bridge):
    api.launch(name, devices={"eth0": bridged()})
    instance = api.get(url(name))
    instance["config"]["volatile.eth0.hwaddr"] = "00:16:3e:0a:0b:0c"
    api.done(api.put(url(name), instance))
    assert inside(api, name)["hwaddr"] == "00:16:3e:0a:0b:0c" and inside(api, name)["host_name"] == host_name(api, name)
    assert len(nics.made_links()) == 1


def test_live_keys_keep_the_interface(api, name, bridge):
    api.launch(name, devices={"eth0": bridged()})
    host = host_name(api, name)
    index = nics.link(host)["ifindex"]
    api.done(change(api, name, {"eth0": bridged(**{"limits.ingress": "10Mbit", "ipv4.routes": "198.51.100.0/24"})}))
    assert nics.link(host)["ifindex"] == index and host_name(api, name) == host
    assert nics.link(host)["qdisc"] == "htb" and "198.51.100.0/24" in nics.routes("dev", bridge)
    api.done(change(api, name, {"eth0": bridged(**{"ipv4.routes": "198.51.100.128/25"})}))
    assert nics.routes("dev", bridge, "proto", "boot") == ["198.51.100.128/25"]
    assert nics.link(host)["qdisc"] != "htb" and nics.link(host)["ifindex"] == index
    api.done(change(api, name, {"eth0": bridged()}))
    assert nics.routes("dev", bridge, "proto", "boot") == []


def test_own_volatile_keys_cannot_be_forged(daemon, api, name, bridge):
    ip("link", "add", "victim0", "type", "veth", "peer", "name", "victim1")
    forged = {"volatile.eth0.host_name": "victim0", "volatile.eth0.last_state.hwaddr": "00:16:3e:00:00:01", "volatile.eth0.last_state.mtu": "1400"}
    api.done(api.create(name, forged, {"eth0": bridged()}))
    assert host_name(api, name) is None
    instance = api.get(url(name))
    instance["config"].update(forged)
    api.done(api.put(url(name), instance))
    assert host_name(api, name) is None
    api.done(api.state(name, "start"))
    host = host_name(api, name)
    instance = api.get(url(name))
    instance["config"].update(forged)
    api.done(api.put(url(name), instance))
    assert host_name(api, name) == host
    stop(api, name)
    daemon.restart()
    assert nics.link("victim0")
    ip("link", "delete", "victim0")


def test_daemon_restart_changes_nothing(daemon, api, name, bridge):
    api.launch(name, devices={"eth0": bridged(**{"ipv4.routes": "198.51.100.0/24"})})
    host, index = host_name(api, name), nics.link(host_name(api, name))["ifindex"]
    rules = nics.ruleset()
    for sig in (signal.SIGTERM, signal.SIGKILL):
        daemon.restart(sig)
        assert nics.link(host)["ifindex"] == index and nics.ruleset() == rules
        assert inside(api, name)["state"] == "up" and "198.51.100.0/24" in nics.routes("dev", bridge)
    stop(api, name)
    assert_gone(api, name, host)


# --- p2p, macvlan, physical


def test_p2p(api, name):
    api.launch(name, devices={"eth0": {"type": "nic", "nictype": "p2p", "host_name": "p2phost0", "mtu": "1400", "ipv4.routes": "198.51.100.0/24"}})
    link = nics.link("p2phost0")
    assert link["mtu"] == 1400 and "UP" in link["flags"] and "master" not in link and inside(api, name)["mtu"] == 1400
    assert nics.routes("dev", "p2phost0", "proto", "boot") == ["198.51.100.0/24"] and nics.sysctl("ipv6", "p2phost0", "accept_ra") == 0
    api.done(change(api, name, {"eth0": {"type": "nic", "nictype": "p2p", "host_name": "p2phost0", "mtu": "1400"}}))
    stop(api, name)
    assert_gone(api, name, "p2phost0")


@pytest.mark.parametrize("when", ["start", "hot"])
def test_macvlan(api, name, bridge, when):
    device = {"eth0": {"type": "nic", "nictype": "macvlan", "parent": bridge}}
    api.launch(name, devices=device if when == "start" else {})
    if when == "hot":
        api.done(change(api, name, device))
    assert host_name(api, name).startswith("mac") and nics.made_links() == []
    assert "macvlan" in api.sh(name, "ls -l /sys/class/net/eth0/; cat /sys/class/net/eth0/uevent; ip -d link show eth0 2>/dev/null; echo macvlan")
    assert inside(api, name)["state"] == "up" and inside(api, name)["hwaddr"] == volatile(api, name)["eth0.hwaddr"]
    if when == "hot":
        api.done(change(api, name, remove=["eth0"]))
        assert inside(api, name) is None and nics.made_links() == []
        return
    stop(api, name)
    assert nics.made_links() == [] and volatile(api, name) == {k: v for k, v in volatile(api, name).items() if k in ("eth0.hwaddr", "eth0.name")}


@pytest.fixture
def card(daemon):
    """An interface that stands in for a network card."""
    ip("link", "add", "card0", "mtu", "1450", "address", "00:16:3e:77:77:77", "type", "veth", "peer", "name", "cable0")
    yield "card0"
    ip("link", "delete", "cable0")


def assert_card_is_back():
    link = eventually(lambda: nics.link("card0"), what="the card is back")
    assert link["mtu"] == 1450 and link["address"] == "00:16:3e:77:77:77" and "UP" not in link["flags"]


@pytest.mark.parametrize("when,end", [*[("start", end) for end in ("force", "poweroff", "kill init", "daemon down")],
                                      *[("hot", end) for end in ("remove", "force", "poweroff", "kill init", "restarted daemon", "reboot")]])
def test_physical(daemon, api, name, card, when, end):
    device = {"eth0": {"type": "nic", "nictype": "physical", "parent": card, "hwaddr": "00:16:3e:88:88:88", "mtu": "1400"}}
    api.launch(name, devices=device if when == "start" else {})
    if when == "hot":
        api.done(change(api, name, device))
    assert card not in nics.links()
    guest = inside(api, name)
    assert guest["mtu"] == 1400 and guest["hwaddr"] == "00:16:3e:88:88:88" and guest["state"] == "up"
    kept = volatile(api, name)
    assert kept["eth0.last_state.hwaddr"] == "00:16:3e:77:77:77" and kept["eth0.last_state.mtu"] == "1450" and kept["eth0.host_name"] == card
    api.sh(name, "ip link set eth0 down; ip link set eth0 name other0")
    if end == "remove":
        api.done(change(api, name, remove=["eth0"]))
    elif end == "daemon down":
        pid = api.get(f"{url(name)}/state")["pid"]
        daemon.kill()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: nics.link("card0"), what="liblxc has brought the card back")
        daemon.start()
    elif end == "restarted daemon":
        daemon.restart(signal.SIGKILL)
        stop(api, name)
    elif end == "reboot":
        before = api.get(f"{url(name)}/state")["pid"]
        reboot_inside(api, name)
        eventually(lambda: api.get(f"{url(name)}/state")["pid"] not in (before, 0, -1) and inside(api, name), what="the card is in it again")
        assert inside(api, name)["hwaddr"] == "00:16:3e:88:88:88" and inside(api, name)["state"] == "up"
        stop(api, name)
    else:
        ENDS[end](api, name)
    eventually(lambda: "eth0.host_name" not in volatile(api, name), what="cleaned up")
    assert_card_is_back()
    assert "eth0.last_state.mtu" not in volatile(api, name)


def test_a_start_that_fails_leaves_nothing(api, name, bridge):
    api.done(api.create(name, {"raw.lxc": "lxc.init.cmd = /no/such/init"},
                        {"eth0": bridged(**{"ipv4.routes": "198.51.100.0/24"}), "eth1": {"type": "nic", "nictype": "p2p", "limits.egress": "1Mbit"}}))
    api.failure(api.state(name, "start"))
    assert nics.made_links() == [] and name not in nics.ruleset()
    assert [k for k in volatile(api, name) if ".host_name" in k or ".last_state" in k] == [] and "198.51.100.0/24" not in nics.routes()


# --- routed


FLOOD = """
import errno, os, socket
mine, refused, others = [], 0, 0
for line in open("/proc/net/netlink").read().splitlines()[1:]:
    protocol, port = line.split()[1:3]
    if protocol == "0" and port not in ("0", str(os.getpid())):
        others += 1
        for _ in range(2000):
            try:
                with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0) as s:
                    s.sendto(b"x" * 64, (int(port), 0))
            except OSError as e:
                refused += e.errno == errno.ECONNREFUSED
                break
print(others, refused)
"""


def test_container_cannot_write_to_the_daemon_inside(daemon, api, name, card):
    """The socket through which a card will be taken back is for the kernel alone: a flood of the container's root would stop the daemon."""
    api.launch(name)
    api.done(change(api, name, {"eth0": {"type": "nic", "nictype": "physical", "parent": card}}))
    pid = api.get(f"{url(name)}/state")["pid"]
    done = subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "unshare", "--mount", "--propagation", "private", "sh", "-c",
                           'mount -t proc proc /proc; exec /usr/bin/python3 -c "$0"', FLOOD], capture_output=True, text=True, check=True)
    others, refused = map(int, done.stdout.split())
    assert others >= 1 and refused == others, done.stdout
    api.done(change(api, name, remove=["eth0"]))
    eventually(lambda: card in nics.links(), what="the card is back")
    stop(api, name)


@pytest.mark.parametrize("decoy", [("veth", "peer", "name", "end0"), ("bridge",)], ids=["veth", "bridge"])
def test_decoy_of_a_card(daemon, api, name, card, decoy):
    """Root in the container gives an interface of its own the card's name and address: it does not get onto the host in place of the card."""
    api.launch(name)
    api.done(change(api, name, {"eth0": {"type": "nic", "nictype": "physical", "parent": card, "hwaddr": "00:16:3e:88:88:88"}}))
    net_of = ("nsenter", f"--net=/proc/{api.get(f'{url(name)}/state')['pid']}/ns/net", "ip", "link")
    for words in (("set", "eth0", "down"), ("set", "eth0", "name", "other0"), ("add", "eth0", "address", "00:16:3e:88:88:88", "type", *decoy)):
        subprocess.run([*net_of, *words], check=True)
    api.done(change(api, name, remove=["eth0"]))
    assert_card_is_back()
    assert nics.link(card)["link"] == "cable0"
    assert {"eth0", "lo"} <= set(api.get(f"{url(name)}/state")["network"])
    stop(api, name)


@pytest.fixture
def router(daemon):
    """A network with a neighbour on it: an unmanaged bridge, and an interface in a namespace of its own with .7 and ::7."""
    ip("link", "add", "rbr0", "type", "bridge")
    ip("link", "set", "rbr0", "up")
    ip("address", "add", "192.0.2.1/24", "dev", "rbr0")
    ip("address", "add", "2001:db8::1/64", "dev", "rbr0", "nodad")
    neighbour = net.Host("nport0")
    ip("link", "set", "nport0", "master", "rbr0")
    neighbour.address("192.0.2.7/24")
    neighbour.address("2001:db8::7/64")
    for family, key in (("ipv4", "forwarding"), ("ipv6", "forwarding"), ("ipv6", "proxy_ndp")):
        for name in ("all", "rbr0"):
            nics.set_sysctl(family, name, key, 1)
    yield "rbr0"
    neighbour.close()
    ip("link", "delete", "rbr0")


def routed(**more):
    return {"type": "nic", "nictype": "routed", "parent": "rbr0", "ipv4.address": "192.0.2.10", "ipv6.address": "2001:db8::10", **more}


def assert_routed(api, name, host):
    """Everything that makes a routed NIC, on both sides."""
    assert nics.addresses(host)[:2] == ["169.254.0.1/32", "fe80::1/128"] or {"169.254.0.1/32", "fe80::1/128"} <= set(nics.addresses(host))
    assert nics.sysctl("ipv6", host, "accept_ra") == 0 and nics.sysctl("ipv4", host, "rp_filter") == 1
    assert nics.sysctl("ipv4", host, "forwarding") == 1 and nics.sysctl("ipv6", host, "forwarding") == 1
    assert {"192.0.2.10", "2001:db8::10"} <= set(nics.routes("dev", host))
    assert nics.proxies("rbr0") == ["192.0.2.10", "2001:db8::10"]
    guest = inside(api, name)
    assert guest["state"] == "up"
    assert {f"{a['address']}/{a['netmask']}" for a in guest["addresses"] if a["scope"] == "global"} == {"192.0.2.10/32", "2001:db8::10/128"}
    assert "default via 169.254.0.1 dev eth0" in api.sh(name, "ip route")
    assert "default via fe80::1 dev eth0" in api.sh(name, "ip -6 route")
    eventually(lambda: api.run(name, "ping", "-c", "1", "-W", "1", "192.0.2.7")[0] == 0, what="the neighbour is reached by IPv4")
    eventually(lambda: api.run(name, "ping", "-c", "1", "-W", "1", "2001:db8::7")[0] == 0, what="the neighbour is reached by IPv6")


@pytest.mark.parametrize("when", ["start", "hot", "reboot", "restart"])
def test_routed(daemon, api, name, router, when):
    api.launch(name, devices={} if when == "hot" else {"eth0": routed()})
    if when == "hot":
        api.done(change(api, name, {"eth0": routed()}))
    elif when == "reboot":
        before = api.get(f"{url(name)}/state")["pid"]
        reboot_inside(api, name)
        eventually(lambda: api.get(f"{url(name)}/state")["pid"] not in (before, 0, -1) and inside(api, name), what="it has rebooted")
    elif when == "restart":
        ip("neigh", "del", "proxy", "192.0.2.10", "dev", "rbr0")
        daemon.restart()
    host = host_name(api, name)
    assert_routed(api, name, host)
    stop(api, name)
    assert_gone(api, name, host)
    assert nics.proxies("rbr0") == [] and not {"192.0.2.10", "2001:db8::10"} & set(nics.routes())


def test_routed_outlives_its_interfaces_going_down(daemon, api, name, router):
    api.launch(name, devices={"eth0": routed(**{"ipv4.routes": "198.51.100.0/24"})})
    host = host_name(api, name)
    ip("link", "set", "rbr0", "down")
    assert nics.proxies("rbr0") == []
    ip("link", "set", "rbr0", "up")
    eventually(lambda: nics.proxies("rbr0") == ["192.0.2.10", "2001:db8::10"], what="the proxy entries are back")
    ip("link", "set", host, "down")
    assert "192.0.2.10" not in nics.routes("dev", host)
    ip("link", "set", host, "up")
    eventually(lambda: {"192.0.2.10", "2001:db8::10", "198.51.100.0/24"} <= set(nics.routes("dev", host)), what="the routes are back")
    ip("address", "add", "2001:db8::1/64", "dev", "rbr0", "nodad")
    assert_routed(api, name, host)
    stop(api, name)
    assert nics.proxies("rbr0") == []


def test_routes_on_a_bridge_outlive_its_going_down(api, name, bridge):
    api.launch(name, devices={"eth0": bridged(**{"ipv4.routes": "198.51.100.0/24"})})
    ip("link", "set", bridge, "down")
    assert "198.51.100.0/24" not in nics.routes()
    ip("link", "set", bridge, "up")
    eventually(lambda: "198.51.100.0/24" in nics.routes("dev", bridge), what="the route is back")
    ip("address", "replace", "2001:db8:3::1/64", "dev", bridge, "nodad")


@pytest.mark.parametrize("family,where,key", [("ipv6", "all", "forwarding"), ("ipv6", "all", "proxy_ndp"), ("ipv6", "rbr0", "proxy_ndp"),
                                              ("ipv6", "rbr0", "forwarding"), ("ipv4", "rbr0", "forwarding")])
def test_routed_needs_sysctls(api, name, router, family, where, key):
    api.done(api.create(name, devices={"eth0": routed()}))
    nics.set_sysctl(family, where, key, 0)
    text = api.failure(api.state(name, "start"))
    assert text.endswith(f"Routed mode requires sysctl net.{family}.conf.{where}.{key}=1")
    assert nics.sysctl(family, where, key) == 0 and nics.made_links() == [] and nics.proxies("rbr0") == []


@pytest.mark.parametrize("address", [{"ipv4.address": "192.0.2.9, 192.0.2.7"}, {"ipv6.address": "2001:db8::7"}, {"ipv4.address": "192.0.2.1"},
                                     {"ipv6.address": "2001:db8::1"}])
def test_routed_address_in_use(api, name, router, address):
    taken = next(iter(address.values())).split()[-1]
    api.done(api.create(name, devices={"eth0": routed(**address)}))
    assert api.failure(api.state(name, "start")).endswith(f'IP address "{taken}" in use on parent network "rbr0"')
    assert nics.made_links() == [] and nics.proxies("rbr0") == []
    if taken.endswith("7"):
        instance = api.get(url(name))
        instance["devices"]["eth0"].update({"ipv4.neighbor_probe": "false", "ipv6.neighbor_probe": "false"})
        api.done(api.put(url(name), instance))
        api.done(api.state(name, "start"))


def test_routed_table_gateway_and_subnets(api, name, router):
    api.launch(name, devices={"eth0": routed(**{"ipv4.host_table": "100", "ipv4.routes": "198.51.100.0/24", "ipv6.routes": "2001:db8:9::/60"}),
                              "eth1": {"type": "nic", "nictype": "routed", "ipv4.address": "192.0.2.11", "ipv4.gateway": "none", "ipv6.gateway": "none"}})
    host = host_name(api, name)
    assert nics.routes("table", "100") == ["192.0.2.10"]
    assert {"198.51.100.0/24", "2001:db8:9::/60"} <= set(nics.routes("dev", host))
    assert "via 192.0.2.10" in ip("route", "show", "198.51.100.0/24")
    assert api.sh(name, "ip route").count("default") == 1
    assert nics.proxies("rbr0") == ["192.0.2.10", "2001:db8::10"]
    stop(api, name)
    assert nics.routes("table", "100") == [] and "198.51.100.0/24" not in nics.routes()


def test_two_routed_instances_reach_each_other(daemon, api, name, router):
    other = daemon.new_name()
    api.launch(name, devices={"eth0": routed()})
    api.launch(other, devices={"eth0": routed(**{"ipv4.address": "192.0.2.20", "ipv6.address": "2001:db8::20"})})
    for address in ("192.0.2.20", "2001:db8::20"):
        eventually(lambda: api.run(name, "ping", "-c", "1", "-W", "1", address)[0] == 0, what=f"{address} is reached")
    api.remove(other)


@pytest.mark.parametrize("device,text", [
    ({"ipv4.address": "192.0.2.10,192.0.2.10"}, 'Duplicate address "192.0.2.10" in "ipv4.address"'),
    ({"ipv6.address": "", "ipv6.routes": "2001:db8:9::/64"}, "ipv6.routes requires ipv6.address to be set"),
    ({"ipv4.gateway": "foo"}, "Invalid"),
    ({"parent": "", "vlan": "5"}, "The vlan setting can only be used when combined with a parent interface"),
    ({"security.mac_filtering": "true"}, 'Invalid device option "security.mac_filtering"'),
])
def test_routed_options_that_are_refused(api, name, router, device, text):
    api.launch(name, devices={"eth0": routed()})
    host, before = host_name(api, name), api.get(url(name))["devices"]
    assert text in api.failure(change(api, name, {"eth0": {k: v for k, v in routed(**device).items() if v}}))
    assert api.get(url(name))["devices"] == before and host_name(api, name) == host and nics.proxies("rbr0") == ["192.0.2.10", "2001:db8::10"]


def test_second_routed_nic_with_automatic_gateway(api, name, router):
    api.launch(name, devices={"eth0": routed()})
    second = {"type": "nic", "nictype": "routed", "ipv4.address": "192.0.2.30"}
    assert 'already uses "ipv4.gateway" in auto mode' in api.failure(change(api, name, {"eth1": second}))
    api.done(change(api, name, {"eth1": {**second, "ipv4.gateway": "none", "ipv6.gateway": "none"}}))
    assert inside(api, name, "eth1")["state"] == "up" and api.sh(name, "ip route").count("default") == 1


# --- isolation and limits


def test_port_isolation(daemon, api, name, bridge):
    other = daemon.new_name()
    for each, isolated in ((name, "true"), (other, "true")):
        api.launch(each, devices={"eth0": bridged(**{"security.port_isolation": isolated})})
    api.sh(name, "ip addr add 203.0.113.5/24 dev eth0")
    api.sh(other, "ip addr add 203.0.113.6/24 dev eth0")
    assert nics.link(host_name(api, name))["linkinfo"]["info_slave_data"]["isolated"] is True
    api.sh(name, "ping -c 1 -W 2 203.0.113.1")
    assert api.run(name, "ping", "-c", "1", "-W", "1", "203.0.113.6")[0] != 0
    api.done(change(api, other, {"eth0": bridged()}))
    api.sh(other, "ip addr add 203.0.113.6/24 dev eth0")
    api.sh(name, "ping -c 1 -W 2 203.0.113.6")
    api.remove(other)


# --- reboots after changes


@pytest.mark.parametrize("what", ["added", "removed", "replugged", "both"])
def test_reboot_inside_after_changes(api, name, bridge, what):
    """liblxc knows only the interfaces of the start; the container has those of its configuration after a reboot all the same."""
    api.launch(name, devices={"eth0": bridged()})
    if what in ("added", "both"):
        api.done(change(api, name, {"eth1": bridged()}))
    if what in ("removed", "both"):
        api.done(change(api, name, remove=["eth0"]))
    if what == "replugged":
        api.done(change(api, name, {"eth0": bridged(hwaddr="00:16:3e:01:02:03")}))
    wanted = sorted(api.get(url(name))["devices"])
    before = api.get(f"{url(name)}/state")["pid"]
    reboot_inside(api, name)
    eventually(lambda: api.get(f"{url(name)}/state")["pid"] not in (before, 0, -1), what="another init")
    eventually(lambda: sorted(api.get(f"{url(name)}/state")["network"] or []) == [*wanted, "lo"], what=f"{wanted} are in the container")
    for device in wanted:
        guest = inside(api, name, device)
        assert guest["state"] == "up" and guest["host_name"] == host_name(api, name, device)
        assert nics.link(guest["host_name"])["master"] == bridge
    assert len(nics.made_links()) == len(wanted)
    stop(api, name)
    assert nics.made_links() == []


# --- managed networks and filters

FILTERS = {"security.mac_filtering": "true", "security.ipv4_filtering": "true", "security.ipv6_filtering": "true"}


@pytest.fixture(scope="module")
def network(daemon):
    reply = daemon.api.post("/1.0/networks", {"name": "mbr0", "config": {"ipv4.address": "198.51.100.1/24", "ipv6.address": "2001:db8:5::1/64",
                                                                          "ipv6.dhcp.stateful": "true", "ipv4.nat": "false", "ipv6.nat": "false"}})
    assert reply.status == 201, reply
    yield "mbr0"
    daemon.remove_all()
    reply = daemon.api.delete("/1.0/networks/mbr0")
    assert reply.status == 200, reply


def managed(**more):
    return {"type": "nic", "network": "mbr0", **more}


def host_entry(daemon, label):
    path = daemon.dir / "networks" / "mbr0" / "dnsmasq.hosts" / label
    return path.read_text().strip() if path.exists() else None


def chains(name):
    """Names of our chains about an instance."""
    return sorted({word for word in nics.ruleset().split() if word.startswith(("in.", "fwd.", "pre.", "prert.")) and f"{name}." in word})


def test_managed_start_and_stop(daemon, api, name, network):
    api.done(api.create(name, devices={"eth0": managed()}))
    mac = volatile(api, name)["eth0.hwaddr"]
    assert host_entry(daemon, f"{name}.eth0") == f"{mac},{name}"  # known before the first start
    api.done(api.state(name, "start"))
    host = host_name(api, name)
    assert nics.link(host)["master"] == network and chains(name) == []
    api.sh(name, "ip addr add 198.51.100.9/24 dev eth0 && ping -c 1 -W 2 198.51.100.1")
    stop(api, name)
    assert_gone(api, name, host)
    assert host_entry(daemon, f"{name}.eth0") == f"{mac},{name}"
    other = daemon.new_name()
    assert api.post(url(name), {"name": other}).status in (200, 202)
    eventually(lambda: api.request("GET", url(other)).status == 200, what="renamed")
    eventually(lambda: host_entry(daemon, f"{other}.eth0") == f"{mac},{other}" and host_entry(daemon, f"{name}.eth0") is None, what="its entry is, too")
    api.done(api.delete(url(other)))
    assert host_entry(daemon, f"{other}.eth0") is None


def test_filters_come_and_go(daemon, api, name, network):
    api.launch(name, devices={"eth0": managed(**FILTERS)})
    kept = host_entry(daemon, f"{name}.eth0")
    mac, v4, v6, label = kept.split(",")
    assert label == name and v4.startswith("198.51.100.") and v6.startswith("[2001:db8:5:")
    assert not {"ipv4.address", "ipv6.address"} & set(api.get(url(name))["devices"]["eth0"])
    host = host_name(api, name)
    assert chains(name)
    rules = nics.ruleset("bridge lxd")
    assert host in rules and mac in rules and v4 in rules
    assert nics.link(host)["linkinfo"]["info_slave_data"]["learning"] is False
    stop(api, name)
    assert chains(name) == [] and host not in nics.ruleset()
    api.done(api.state(name, "start"))
    assert host_entry(daemon, f"{name}.eth0") == kept and v4 in nics.ruleset("bridge lxd")


def test_filters_of_a_running_instance(daemon, api, name, network):
    api.launch(name, devices={"eth0": managed()})
    host, index = host_name(api, name), nics.link(host_name(api, name))["ifindex"]
    api.done(change(api, name, {"eth0": managed(**{"security.mac_filtering": "true"})}))
    assert chains(name) and nics.link(host)["ifindex"] == index
    api.done(change(api, name, {"eth0": managed(**FILTERS, **{"ipv4.address": "198.51.100.77"})}))
    assert "198.51.100.77" in nics.ruleset("bridge lxd") and ",198.51.100.77," in host_entry(daemon, f"{name}.eth0")
    api.done(change(api, name, {"eth0": managed()}))
    assert chains(name) == [] and nics.link(host)["ifindex"] == index
    assert nics.link(host)["linkinfo"]["info_slave_data"]["learning"] is True
    assert host_entry(daemon, f"{name}.eth0") == f"{volatile(api, name)['eth0.hwaddr']},{name}"


def test_filters_outlive_the_daemon_and_are_put_back(daemon, api, name, network):
    api.launch(name, devices={"eth0": managed(**FILTERS), "eth1": {"type": "nic", "nictype": "routed", "ipv4.address": "192.0.2.99"}})
    rules = nics.ruleset()
    assert f"prert.{name}.eth1" in rules
    daemon.stop(signal.SIGKILL)
    assert nics.ruleset() == rules
    daemon.start()
    assert nics.ruleset() == rules
    daemon.stop()
    for table in ("inet lxd", "bridge lxd"):
        nics.nft("delete", "table", *table.split())
    daemon.start()
    assert nics.ruleset() == rules


def test_filters_are_gone_when_the_instance_ended_meanwhile(daemon, api, name, network):
    api.launch(name, devices={"eth0": managed(**FILTERS)})
    host, pid = host_name(api, name), api.get(f"{url(name)}/state")["pid"]
    daemon.kill()
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)
    assert chains(name)
    daemon.start()
    eventually(lambda: host_name(api, name) is None, what="cleaned up")
    assert_gone(api, name, host)
    api.done(api.state(name, "start"))
    rules = nics.ruleset("bridge lxd").splitlines()
    assert len([line for line in rules if f"chain in.{name}.eth0" in line]) == 1


def test_filtering_without_an_address_to_give(daemon, api, name):
    reply = api.post("/1.0/networks", {"name": "nodhcp0", "config": {"ipv4.address": "203.0.113.1/24", "ipv6.address": "2001:db8:6::1/64",
                                                                     "ipv4.dhcp": "false", "ipv6.dhcp": "false"}})
    assert reply.status == 201, reply
    api.launch(name, devices={"eth0": {"type": "nic", "network": "nodhcp0", **FILTERS}})
    api.sh(name, "ip addr add 203.0.113.9/24 dev eth0; ip addr add 2001:db8:6::9/64 dev eth0; sleep 2")
    assert api.run(name, "ping", "-c", "1", "-W", "1", "203.0.113.1")[0] != 0
    assert api.run(name, "ping", "-c", "1", "-W", "1", "2001:db8:6::1")[0] != 0
    api.remove(name)
    assert api.delete("/1.0/networks/nodhcp0").status == 200


def test_profile_with_a_filter(daemon, api, network):
    names = [daemon.new_name() for _ in range(2)]
    profile = daemon.prefix + "p"
    assert api.post("/1.0/profiles", {"name": profile, "devices": {"eth0": managed()}}).status == 201
    for each in names:
        api.launch(each, profiles=["default", profile])
    hosts = [host_name(api, each) for each in names]
    for on in (True, False):
        device = managed(**({"security.mac_filtering": "true"} if on else {}))
        reply = api.put(f"/1.0/profiles/{profile}", {"description": "", "config": {}, "devices": {"eth0": device}})
        assert reply.status == 200, reply
        assert [bool(chains(each)) for each in names] == [on, on]
        assert [host_name(api, each) for each in names] == hosts
    # one of two cannot follow: the other does, and the profile is saved
    nics.ip("link", "add", "onlyone", "type", "veth", "peer", "name", "onlytwo")
    reply = api.put(f"/1.0/profiles/{profile}", {"description": "", "config": {}, "devices": {"eth0": managed(host_name="onlyone")}})
    assert reply.status == 500, reply
    lines = reply.error.split("\n")
    assert lines[0] == "The following instances failed to update (profile change still saved):" and len(lines) == 3
    assert all(f"Project: default, Instance: {each}: " in line for each, line in zip(names, lines[1:]))
    assert api.get(f"/1.0/profiles/{profile}")["devices"]["eth0"]["host_name"] == "onlyone"
    assert [inside(api, each)["state"] for each in names] == ["up", "up"]
    nics.ip("link", "delete", "onlyone")
    for each in names:
        api.remove(each)
    assert api.delete(f"/1.0/profiles/{profile}").status == 200


def test_a_change_that_cannot_be_applied_leaves_the_old_one_in_force(daemon, api, name, network):
    """The new route is in somebody else's hands, so that the kernel refuses it."""
    api.launch(name, devices={"eth0": managed(**FILTERS, **{"ipv4.address": "198.51.100.10", "ipv4.routes": "192.0.2.128/25"})})
    nics.ip("link", "add", "elsewhere0", "type", "bridge")
    nics.ip("link", "set", "elsewhere0", "up")
    nics.ip("route", "add", "192.0.2.0/25", "dev", "elsewhere0")
    rules, entry = nics.ruleset(), host_entry(daemon, f"{name}.eth0")
    text = api.failure(change(api, name, {"eth0": managed(**FILTERS, **{"ipv4.address": "198.51.100.11", "ipv4.routes": "192.0.2.0/25", "limits.ingress": "1Mbit"})}))
    assert "192.0.2.0/25" in text
    assert nics.ruleset() == rules and host_entry(daemon, f"{name}.eth0") == entry
    assert nics.routes("dev", network, "proto", "boot") == ["192.0.2.128/25"] and nics.link(host_name(api, name))["qdisc"] != "htb"
    assert api.get(url(name))["devices"]["eth0"]["ipv4.address"] == "198.51.100.10"
    nics.ip("link", "delete", "elsewhere0")


def test_limits_are_what_is_measured(daemon, api, name, network):
    """A megabyte a second each way; what leaves the container may come in bursts of one megabyte."""
    api.launch(name, devices={"eth0": managed(**{"limits.ingress": "8Mbit", "limits.egress": "8Mbit"})})
    api.sh(name, "ip addr add 198.51.100.9/24 dev eth0")
    assert 1.7 < nics.transfer(api, name, "host", "198.51.100.1", 2_000_000) < 3.5
    assert 2.4 < nics.transfer(api, name, "guest", "198.51.100.1", 4_500_000) < 6
    api.done(change(api, name, {"eth0": managed()}))
    assert nics.link(host_name(api, name))["qdisc"] == "noqueue"
    assert nics.transfer(api, name, "guest", "198.51.100.1", 4_500_000) < 1


# --- order


def test_filters_are_there_before_the_port_and_after_it(api, name, network):
    """The kernel's own account of when rules came and went, and when the port was in the bridge and up."""
    with nics.Events() as events:
        time.sleep(0.3)
        begin = len(events.turns)
        api.launch(name, devices={"eth0": managed(**FILTERS)})
        host = host_name(api, name)
        eventually(lambda: events.first("up", host) is not None, what="the port was seen")
        started = len(events.turns)
        stop(api, name)
        eventually(lambda: events.first("gone", host) is not None, what="its end was seen")
        time.sleep(0.3)
    assert begin <= events.first("rules") <= events.first("port", host) <= events.first("up", host) < started
    assert events.last("rules") >= events.first("gone", host) >= started - 1


# --- the network changes under them


def test_network_changes_leave_running_nics_alone(daemon, api, name, network):
    api.launch(name, devices={"eth0": managed(**FILTERS, **{"ipv4.routes": "192.0.2.128/25"})})
    host, entry = host_name(api, name), host_entry(daemon, f"{name}.eth0")
    index, rules = nics.link(host)["ifindex"], nics.ruleset("bridge lxd")
    api.sh(name, f"ip addr add {entry.split(',')[1]}/24 dev eth0")
    try:
        for change_ in ({"dns.domain": "zz"}, {"ipv4.dhcp.expiry": "2h", "bridge.mtu": "1400"}, {"ipv6.dhcp.stateful": "false"}, {"raw.dnsmasq": "no-such-option"}):
            api.request("PATCH", "/1.0/networks/mbr0", {"config": change_})
            link = nics.link(host)
            assert link["ifindex"] == index and link["master"] == network and "UP" in link["flags"]
            assert nics.routes("dev", network, "proto", "boot") == ["192.0.2.128/25"] and nics.ruleset("bridge lxd") == rules
            assert host_entry(daemon, f"{name}.eth0") == entry
            api.sh(name, "ping -c 1 -W 2 198.51.100.1")
        assert api.post("/1.0/networks/mbr0", {"name": "mbr1"}).status == 400
        assert api.delete("/1.0/networks/mbr0").status == 400
    finally:
        config = {"ipv4.address": "198.51.100.1/24", "ipv6.address": "2001:db8:5::1/64", "ipv6.dhcp.stateful": "true", "ipv4.nat": "false", "ipv6.nat": "false"}
        assert api.put("/1.0/networks/mbr0", {"config": config, "description": ""}).status == 200


def test_shutdown_and_boot(daemon, api, name, network):
    """`lxd shutdown` takes instances and networks down; the next start brings both back."""
    api.done(api.create(name, {"boot.autostart": "true"}, {"eth0": managed(**FILTERS)}))
    api.done(api.state(name, "start"))
    mac = volatile(api, name)["eth0.hwaddr"]
    daemon.admin("shutdown")
    daemon.process.wait(30)
    daemon.process = None
    assert nics.made_links() == [] and "mbr0" not in nics.links() and nics.ruleset().count("chain") == nics.ruleset().count("hook")
    daemon.start()
    eventually(lambda: api.get(url(name))["status"] == "Running", what="it is started at boot")
    eventually(lambda: (inside(api, name) or {}).get("hwaddr") == mac, what="with its address")
    assert nics.link(host_name(api, name))["master"] == network and chains(name)


# --- what is refused leaves the NIC that works


@pytest.mark.parametrize("device,text", [
    (managed(**{"ipv4.address": "203.0.113.9"}), 'Device IP address "203.0.113.9" not within network "mbr0" subnet'),
    (managed(**{"ipv4.address": "198.51.100.1"}), 'IP address "198.51.100.1" is assigned to parent managed network device'),
    (managed(**{"ipv4.address": "none"}), "Cannot have ipv4.address as none unless using security.ipv4_filtering"),
    (managed(**{"security.mac_filtering": "maybe"}), "security.mac_filtering"),
    (managed(**{"limits.ingress": "12q"}), "limits.ingress"),
    (managed(**{"host_name": "a/b"}), "host_name"),
    (managed(**{"nictype": "bridged"}), 'Cannot use "nictype" property in conjunction with "network" property'),
    (managed(**{"no.such": "key"}), 'Invalid device option "no.such"'),
    ({"type": "nic", "nictype": "bridged"}, "Required value"),
    ({"type": "nic", "network": "nonet0"}, "Network not found"),
    (bridged(**{"security.ipv4_filtering": "true"}), "IPv4 filtering requires a manually specified ipv4.address when using an unmanaged parent bridge"),
    (bridged(**{"ipv4.address": "203.0.113.9"}), "Cannot use manually specified ipv4.address when using unmanaged parent bridge"),
])
def test_refused_changes_of_a_running_instance(daemon, api, name, network, bridge, device, text):
    api.launch(name, devices={"eth0": managed(**FILTERS)})
    kept, rules, entry = volatile(api, name), nics.ruleset(), host_entry(daemon, f"{name}.eth0")
    devices = api.get(url(name))["devices"]
    assert text in api.failure(change(api, name, {"eth0": device}))
    assert api.get(url(name))["devices"] == devices and volatile(api, name) == kept
    assert nics.ruleset() == rules and host_entry(daemon, f"{name}.eth0") == entry and inside(api, name)["state"] == "up"


def test_addresses_of_others_are_refused(daemon, api, name, network):
    other = daemon.new_name()
    api.launch(name, devices={"eth0": managed(**{"ipv4.address": "198.51.100.20", "hwaddr": "00:16:3e:20:20:20"})})
    api.launch(other, devices={"eth0": managed()})
    kept = volatile(api, other)
    assert 'IP address "198.51.100.20" already defined on another NIC' in api.failure(change(api, other, {"eth0": managed(**{"ipv4.address": "198.51.100.20"})}))
    assert 'MAC address "00:16:3e:20:20:20" already defined on another NIC' in api.failure(change(api, other, {"eth0": managed(hwaddr="00:16:3e:20:20:20")}))
    assert "already used on network" in api.failure(change(api, other, {"eth1": managed()}))
    assert volatile(api, other) == kept and inside(api, other)["state"] == "up" and len(nics.made_links()) == 2
    api.remove(other)


@pytest.mark.parametrize("keys", [{"ipv4.address": "203.0.113.9"}, {"ipv4.address": "none"}])
def test_filters_on_an_unmanaged_bridge(api, name, bridge, keys):
    api.launch(name, devices={"eth0": bridged(**{"security.ipv4_filtering": "true", **keys})})
    assert chains(name) and ("203.0.113.9" in nics.ruleset("bridge lxd")) == (keys["ipv4.address"] != "none")
    api.sh(name, "ip addr add 203.0.113.9/24 dev eth0")
    assert (api.run(name, "ping", "-c", "1", "-W", "1", "203.0.113.1")[0] == 0) == (keys["ipv4.address"] != "none")
