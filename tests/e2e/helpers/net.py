"""What the kernel has of networks, by `ip` and /proc; and frames that are sent by hand."""
import ipaddress
import json
import pathlib
import socket
import struct
import subprocess
import time


def run(*words):
    return subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True).stdout


def ip(*words):
    return json.loads(run("ip", "-j", "-d", *words) or "[]")


def links():
    return {link["ifname"]: link for link in ip("link", "show")}


def link(name):
    return links().get(name)


def addresses(name):
    """Global ones, as "192.0.2.1/24"."""
    return {f"{a['local']}/{a['prefixlen']}" for a in ip("addr", "show", name)[0]["addr_info"] if a["scope"] == "global"}


def routes(family=4, *more):
    return ip(f"-{family}", "route", "show", *more)


def sysctl(path, value=None):
    file = pathlib.Path("/proc/sys/net") / path
    if value is not None:
        file.write_text(str(value))
    return file.read_text().strip()


def dnsmasq(network, root=None):
    """{pid: argument list} of the processes that serve @network."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")[:-1]
            dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if words and words[0].rsplit("/", 1)[-1] == "dnsmasq" and f"--interface={network}" in words and not dead:
            if root is None or any(str(root) in word for word in words):
                found[int(entry.name)] = words
    return found


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data + b"\0" * (len(data) % 2 * 0)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def router_advertisement(mac, source, lifetime=1800):
    """A whole Ethernet frame to all nodes."""
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime, 0, 0) + b"\x01\x01" + bytes.fromhex(mac.replace(":", ""))
    src, dst = ipaddress.ip_address(source).packed, ipaddress.ip_address("ff02::1").packed
    sum_ = checksum(src + dst + struct.pack("!IHBB", len(body), 0, 0, 58) + body)
    body = body[:2] + struct.pack("!H", sum_) + body[4:]
    head = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + src + dst
    return bytes.fromhex("333300000001") + bytes.fromhex(mac.replace(":", "")) + b"\x86\xdd" + head + body


def send(interface, frame):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        raw.send(frame)


class Host:
    """Another machine: a network namespace with one interface, whose other end stays here under @port."""
    def __init__(self, port):
        self.port = port
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
        while pathlib.Path(f"/proc/{self.process.pid}/ns/net").readlink() == pathlib.Path("/proc/self/ns/net").readlink():
            time.sleep(0.01)
        run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(self.process.pid))
        run("ip", "link", "set", port, "up")
        for name in ("lo", "eth0"):
            self.run("ip", "link", "set", name, "up")

    def run(self, *words, check=True, timeout=20):
        return subprocess.run(["nsenter", f"--net=/proc/{self.process.pid}/ns/net", *map(str, words)], check=check, capture_output=True,
                              text=True, timeout=timeout)

    def address(self, address, gateway=None):
        self.run("ip", "addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        if gateway:
            self.run("ip", "route", "add", "default", "via", gateway)

    def python(self, text, timeout=20):
        done = self.run("/usr/bin/python3", "-c", text, check=False, timeout=timeout)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def close(self):
        self.process.kill()
        self.process.wait()
        subprocess.run(["ip", "link", "del", self.port], check=False, stderr=subprocess.DEVNULL)


def chains(table="inet lxd"):
    """{chain: its text} of a table of ours."""
    done = subprocess.run(["nft", "-nn", "list", "table", *table.split()], capture_output=True, text=True)
    found, name = {}, None
    for line in done.stdout.splitlines():
        words = line.split()
        if words[:1] == ["chain"]:
            name = words[1]
            found[name] = ""
        elif name:
            found[name] += line + "\n"
    return found


def eui64(subnet, mac):
    """The address that @mac gives itself in the subnet."""
    m = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([m[0] ^ 2, *m[1:3], 0xFF, 0xFE, *m[3:]])
    return str(ipaddress.ip_address(ipaddress.ip_network(subnet).network_address.packed[:8] + identifier))
