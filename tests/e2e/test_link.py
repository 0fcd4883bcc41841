"""Links, addresses, routes and traffic control against the kernel: tests/unit/link_driver.c does, `ip` and `tc` tell."""
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

import pytest

BIN = pathlib.Path(os.environ.get("LXD_BIN", pathlib.Path(__file__).resolve().parents[2] / "build"))
pytestmark = pytest.mark.ours
MAC, MAC2 = "00:16:3e:00:00:01", "00:16:3e:00:00:02"


class Refused(Exception):
    def __init__(self, text):
        self.errnum, self.message = int(text.split(" ", 1)[0]), text.split(" ", 1)[1].strip()
        super().__init__(text)


def link(*words):
    done = subprocess.run([BIN / "link-driver", *map(str, words)], capture_output=True, text=True)
    if done.returncode == 1:
        raise Refused(done.stderr)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.splitlines()


def ip(*words):
    return json.loads(subprocess.run(["ip", "-j", "-d", *words], check=True, capture_output=True, text=True).stdout or "[]")


def tc(*words):
    return json.loads(subprocess.run(["tc", "-j", *words], check=True, capture_output=True, text=True).stdout or "[]")


def shown(name):
    return ip("link", "show", name)[0]


@pytest.fixture
def br0():
    link("add-bridge", "br0", 1400, MAC)
    yield "br0"
    link("delete", "br0")


@pytest.fixture
def pair():
    link("add-veth", "va", "vb", "-", "-")
    yield "va", "vb"
    link("delete", "va")


def test_bridge_is_made_down_with_mtu_and_address(br0):
    seen = shown(br0)
    assert seen["linkinfo"]["info_kind"] == "bridge"
    assert (seen["mtu"], seen["address"], "UP" in seen["flags"]) == (1400, MAC, False)
    link("up", br0, "on")
    assert "UP" in shown(br0)["flags"]
    link("up", br0, "off")
    assert "UP" not in shown(br0)["flags"]
    assert f"br0 kind=bridge up=0 loopback=0 mtu=1400 mac={MAC} master=0 parent=0" in link("get", br0)[0]


def test_what_is_there_twice_or_not_at_all(br0):
    with pytest.raises(Refused) as e:
        link("add-bridge", br0, "-", "-")
    assert e.value.errnum == 17 and e.value.message == "Create the bridge br0: File exists"
    assert link("get", "nothing") == []
    assert link("get", "a-name-that-is-too-long") == []
    assert link("delete", "nothing") == []
    for words in (("up", "nothing", "on"), ("mtu", "nothing", 1500), ("add-address", "nothing", "192.0.2.1/24"),
                  ("shape", "nothing", 1000), ("master", br0, "nothing")):
        with pytest.raises(Refused) as e:
            link(*words)
        assert e.value.errnum == 19 and "nothing" in e.value.message
    with pytest.raises(Refused) as e:
        link("mtu", br0, 70000)
    assert e.value.message.startswith("Set the MTU of the interface br0 to 70000: mtu greater than device maximum")


def entries(bridge):
    """{MAC: (port, static, sticky)} of the forwarding table."""
    found = json.loads(subprocess.run(["bridge", "-j", "fdb", "show", "br", bridge], check=True, capture_output=True, text=True).stdout)
    return {e["mac"]: (e["ifname"], e.get("state") == "static", "sticky" in e.get("flags", [])) for e in found if e.get("state") != "permanent"}


def test_pinned_port(br0):
    """Nothing is learned at the port, not even from frames that bridges keep to themselves; and nobody takes its address."""
    link("up", br0, "on")
    for end, peer in (("va", "vb"), ("vc", "vd")):
        link("add-veth", end, peer, "-", "-")
        link("master", end, br0)
        link("up", end, "on")
        link("up", peer, "on")

    def send(interface, source, target="ff:ff:ff:ff:ff:ff"):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((interface, 0))
            sock.send(bytes.fromhex((target + source).replace(":", "")) + b"\x88\xb5" + bytes(46))

    try:
        send("vb", "02:00:00:00:00:01")
        assert entries(br0)["02:00:00:00:00:01"] == ("va", False, False)
        link("pin", "va", MAC2)
        assert "02:00:00:00:00:01" not in entries(br0) and entries(br0)[MAC2] == ("va", True, True)
        for target in ("ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:0e"):
            send("vb", "02:00:00:00:00:02", target)
            assert "02:00:00:00:00:02" not in entries(br0)
        send("vd", MAC2)
        assert entries(br0)[MAC2] == ("va", True, True)
        link("pin", "va", MAC2)
        link("unpin", "va", MAC2)
        assert MAC2 not in entries(br0)
        link("unpin", "va", MAC2)
        send("vb", "02:00:00:00:00:03", "01:80:c2:00:00:0e")
        assert entries(br0)["02:00:00:00:00:03"] == ("va", False, False)
        link("unpin", "nothing", MAC2)
        for words in (("pin", "nothing", MAC2), ("pin", "vb", MAC2)):
            with pytest.raises(Refused) as e:
                link(*words)
            assert words[1] in e.value.message
    finally:
        link("delete", "va")
        link("delete", "vc")


def test_pair_port_rename(br0):
    link("add-veth", "va", "vb", 1350, MAC2)
    try:
        assert (shown("va")["mtu"], shown("vb")["mtu"], shown("vb")["address"]) == (1350, 1350, MAC2)
        link("master", "va", br0)
        assert shown("va")["master"] == br0
        for flag, key in (("isolated", "isolated"), ("hairpin", "hairpin"), ("learning", "learning")):
            for on in (True, False):
                link(flag, "va", "on" if on else "off")
                assert shown("va")["linkinfo"]["info_slave_data"][key] is on
        link("mtu", "va", 1340)
        link("mac", "va", "00:16:3e:00:00:09")
        link("rename", "va", "vc")
        assert (shown("vc")["mtu"], shown("vc")["address"]) == (1340, "00:16:3e:00:00:09")
        with pytest.raises(Refused):
            link("rename", "vc", br0)
        link("master", "vc", "-")
        assert "master" not in shown("vc")
        names = {line.split()[1] for line in link("list")}
        assert names >= {"lo", br0, "vb", "vc"}
    finally:
        link("delete", "vb")
    assert link("get", "vc") == []


def test_move_to_another_namespace_under_another_name(pair):
    other = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    try:
        deadline = time.time() + 5
        while os.readlink(f"/proc/{other.pid}/ns/net") == os.readlink("/proc/self/ns/net") and time.time() < deadline:
            time.sleep(0.02)
        link("up", pair[0], "on")
        link("move", pair[1], f"/proc/{other.pid}/ns/net", "eth0", "on")
        inside = json.loads(subprocess.run(["nsenter", f"--net=/proc/{other.pid}/ns/net", "ip", "-j", "link"], check=True,
                                           capture_output=True, text=True).stdout)
        eth0 = next(i for i in inside if i["ifname"] == "eth0")
        assert "UP" in eth0["flags"]
        assert link("get", pair[1]) == []
    finally:
        other.kill()
        other.wait()


def test_macvlan(br0):
    link("add-macvlan", "mv0", br0, 1300, MAC2)
    try:
        seen = shown("mv0")
        assert (seen["linkinfo"]["info_data"]["mode"], seen["link"], seen["mtu"], seen["address"]) == ("bridge", br0, 1300, MAC2)
        assert link("get", "mv0")[0].endswith(f"parent={shown(br0)['ifindex']}")
    finally:
        link("delete", "mv0")


def of(name, family=None):
    return [f"{a['local']}/{a['prefixlen']}" for a in ip("addr", "show", name)[0]["addr_info"]
            if a["scope"] == "global" and family in (None, a["family"])]


def test_addresses(br0, pair):
    link("master", pair[0], br0)  # a carrier, so that there is a link-local address
    for name in (br0, *pair):
        link("up", name, "on")
    for a in ("192.0.2.1/24", "192.0.2.2/24", "198.51.100.1/32", "2001:db8::1/64"):
        link("add-address", br0, a)
        link("add-address", br0, a)  # again is fine
    assert set(of(br0)) == {"192.0.2.1/24", "192.0.2.2/24", "198.51.100.1/32", "2001:db8::1/64"}
    six = next(a for a in ip("addr", "show", br0)[0]["addr_info"] if a["local"] == "2001:db8::1")
    assert six.get("nodad") and not six.get("tentative")
    listed = [line.split()[1] for line in link("addresses", br0)]
    assert set(listed) >= {"192.0.2.1/24", "2001:db8::1/64"} and "127.0.0.1/8" not in listed
    assert "127.0.0.1/8" in [line.split()[1] for line in link("addresses", "-")]
    link("flush", br0, 4, "192.0.2.2/24")  # the kernel removes it with the first of its subnet; it stays nevertheless
    assert set(of(br0)) == {"192.0.2.2/24", "2001:db8::1/64"}
    link("flush", br0, 6, "-")
    assert of(br0) == ["192.0.2.2/24"]
    assert any(line.split()[1].startswith("fe80::") for line in link("addresses", br0))
    link("remove-address", br0, "192.0.2.2/24")
    link("remove-address", br0, "192.0.2.2/24")
    assert of(br0) == []


def routes(family, *more):
    return ip(f"-{family}", "route", "show", *more)


def test_routes(br0, pair):
    link("up", br0, "on")
    link("up", pair[0], "on")
    link("up", pair[1], "on")
    link("add-address", br0, "192.0.2.1/24")
    link("add-address", br0, "2001:db8::1/64")
    for dest in ("198.51.100.0/24", "2001:db8:9::/60"):
        family = 6 if ":" in dest else 4
        link("add-route", br0, dest, "-", "-", "-", 4)
        link("add-route", br0, dest, "-", "-", "-", 4)  # the same again is fine
        seen = next(r for r in routes(family) if r["dst"] == dest)
        assert (seen["dev"], seen["protocol"]) == (br0, "static")
        with pytest.raises(Refused) as e:  # over another interface it is not
            link("add-route", pair[0], dest, "-", "-", "-", 4)
        assert e.value.errnum == 17
        assert any(line.startswith(f"{dest} ") and "protocol=4" in line for line in link("routes"))
        link("remove-route", br0, dest, "-", "-", "-", 4)
        link("remove-route", br0, dest, "-", "-", "-", 4)
        assert dest not in [r["dst"] for r in routes(family)]
    link("add-route", br0, "203.0.113.0/24", "192.0.2.9", "192.0.2.1", 100, "-")
    seen = routes(4, "table", "100")[0]
    assert (seen["dst"], seen["gateway"], seen["prefsrc"]) == ("203.0.113.0/24", "192.0.2.9", "192.0.2.1")
    assert any("table=100 protocol=3" in line and "via=192.0.2.9" in line for line in link("routes"))
    link("remove-route", br0, "203.0.113.0/24", "192.0.2.9", "-", 100, "-")
    assert not any("table=100" in line for line in link("routes"))
    link("add-route", br0, "0.0.0.0/0", "192.0.2.9", "-", "-", "-")
    link("add-route", br0, "::/0", "2001:db8::9", "-", "-", "-")
    assert [r["gateway"] for r in routes(4, "default") + routes(6, "default")] == ["192.0.2.9", "2001:db8::9"]
    with pytest.raises(Refused) as e:
        link("add-route", br0, "203.0.113.0/24", "203.0.113.1", "-", "-", "-")
    assert "gateway" in e.value.message.lower()


def test_proxies(br0):
    link("up", br0, "on")
    for a in ("192.0.2.10", "2001:db8::10"):
        link("add-proxy", br0, a)
        link("add-proxy", br0, a)
        assert a in [n["dst"] for n in ip("neigh", "show", "proxy")]
        link("remove-proxy", br0, a)
        link("remove-proxy", br0, a)
        assert a not in [n["dst"] for n in ip("neigh", "show", "proxy")]
    link("remove-proxy", "nothing", "192.0.2.10")


def classes(name):
    text = subprocess.run(["tc", "class", "show", "dev", name], check=True, capture_output=True, text=True).stdout
    return re.findall(r"class htb 1:10 root .*?rate (\S+) ", text)


def test_shaping_is_set_changed_in_place_and_removed(pair):
    link("shape", pair[0], 0)
    link("shape", pair[0], 10_000_000)
    first = tc("qdisc", "show", "dev", pair[0])[0]
    assert (first["kind"], first["handle"], first.get("root")) == ("htb", "1:", True)
    assert classes(pair[0]) == ["10Mbit"]
    link("shape", pair[0], 80_000_000_000)
    assert classes(pair[0]) == ["80Gbit"]
    link("shape", pair[0], 0)
    assert not [q for q in tc("qdisc", "show", "dev", pair[0]) if q["kind"] == "htb"]


def test_shaped_speed_is_what_was_asked(pair):
    """Bytes that leave a shaped interface in a second, beside what was asked for."""
    import socket
    for name in pair:
        link("up", name, "on")
    link("shape", pair[0], 8_000_000)  # a million bytes a second
    counter = pathlib.Path(f"/sys/class/net/{pair[0]}/statistics/tx_bytes")
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind((pair[0], 0))
    raw.setblocking(False)
    frame = b"\xff" * 6 + b"\x00\x16\x3e\0\0\1" + b"\x88\xb5" + bytes(1000)
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            try:
                raw.send(frame)
            except (BlockingIOError, OSError):
                time.sleep(0.001)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        time.sleep(0.5)
        start, before = time.monotonic(), int(counter.read_text())
        time.sleep(1.5)
        rate = (int(counter.read_text()) - before) / (time.monotonic() - start)
    finally:
        stop.set()
        thread.join()
        raw.close()
    assert 0.9e6 < rate < 1.1e6


def test_policing_works_or_says_that_the_kernel_cannot(pair):
    link("police", pair[0], 0)
    try:
        link("police", pair[0], 10_000_000)
    except Refused as e:
        assert e.errnum == 95
        assert not [q for q in tc("qdisc", "show", "dev", pair[0]) if q["kind"] == "ingress"], "something was left behind"
        return
    assert [q for q in tc("qdisc", "show", "dev", pair[0]) if q["kind"] == "ingress"]
    text = subprocess.run(["tc", "filter", "show", "dev", pair[0], "parent", "ffff:"], check=True, capture_output=True, text=True).stdout
    assert "rate 10Mbit" in text and "action drop" in text
    link("police", pair[0], 0)
    assert not [q for q in tc("qdisc", "show", "dev", pair[0]) if q["kind"] == "ingress"]


def test_settings(br0):
    link("sysctl", "ipv6", br0, "accept_ra", "0")
    assert link("sysctl", "ipv6", br0, "accept_ra", "-") == ["0"]
    assert pathlib.Path(f"/proc/sys/net/ipv6/conf/{br0}/accept_ra").read_text() == "0\n"
    with pytest.raises(Refused):
        link("sysctl", "ipv6", "nothing", "accept_ra", "0")
    assert link("sysctl", "ipvx", br0, "accept_ra", "0") == []  # a family that the kernel lacks
    for name in ("../all", ".."):
        with pytest.raises(Refused) as e:
            link("sysctl", "ipv6", name, "accept_ra", "0")
        assert e.value.errnum == 22
