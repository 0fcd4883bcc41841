"""What the kernel has of networks, by `ip` and /proc; and frames that are sent by hand."""
import ipaddress
import json
import pathlib
import socket
import struct
import subprocess


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
