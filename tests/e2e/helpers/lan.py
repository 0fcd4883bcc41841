"""A bridge with two machines on it: frames go out of the one, and watchers on the bridge, on the other and in the forwarding table say what arrived."""
import contextlib
import ctypes
import dataclasses
import itertools
import json
import os
import pathlib
import socket
import struct
import subprocess
import time
import typing

from . import frames, truth_table

ETH_P_ALL, PACKET_OUTGOING, SO_RCVBUFFORCE, CLONE_NEWNET = 3, 4, 33, 0x40000000
SETTLE = 0.08  # seconds until a frame that has not been seen counts as not seen
libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


def call(function, *args):
    if getattr(libc, function)(*args) < 0:
        raise OSError(ctypes.get_errno(), f"{function}: {os.strerror(ctypes.get_errno())}")


class Namespace:
    """A network namespace, held by a descriptor; `with` it the calling thread is inside."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @classmethod
    def new(cls):
        """An empty one, loopback up."""
        home = cls("/proc/thread-self/ns/net")
        call("unshare", CLONE_NEWNET)
        made = cls("/proc/thread-self/ns/net")
        run("ip", "link", "set", "lo", "up")
        call("setns", home.fd, CLONE_NEWNET)
        home.close()
        return made

    def __enter__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        call("setns", self.fd, CLONE_NEWNET)
        return self

    def __exit__(self, *_):
        call("setns", self.home, CLONE_NEWNET)
        os.close(self.home)

    def run(self, *command, **more):
        with self:
            return run(*command, **more)

    def close(self):
        os.close(self.fd)


def run(*command, stdin=None, check=True):
    result = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, text=True)
    assert result.returncode == 0 or not check, (command, result)
    return result.stdout


def packet_socket(interface, protocol=ETH_P_ALL):
    """Bound to @interface of the namespace that the thread is in; it stays there."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    sock.bind((interface, protocol))
    return sock


class Watcher:
    """Keeps what passes an interface."""

    def __init__(self, interface):
        self.sock = packet_socket(interface)

    def everything(self):
        """(kind of packet, frame) since the last call."""
        while True:
            try:
                data, where = self.sock.recvfrom(65536)
            except BlockingIOError:
                return
            yield where[2], data

    def take(self):
        """The frames since the last call that came from outside."""
        return [data for kind, data in self.everything() if kind != PACKET_OUTGOING]

    def close(self):
        self.sock.close()


class HostStack:
    """ICMPv6 messages that reached the host itself, behind every packet filter; gives IPv6 headers' first words and message types."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self.sock.setsockopt(socket.IPPROTO_IPV6, 11, 1)  # IPV6_FLOWINFO

    def take(self):
        """The markers of messages since the last call."""
        seen = set()
        while True:
            try:
                _, extra, _, _ = self.sock.recvmsg(2048, 256)
            except BlockingIOError:
                return seen
            seen |= {struct.pack("!I", 6 << 28 | struct.unpack("!I", data[:4])[0]) for _, kind, data in extra if kind == 11}

    def close(self):
        self.sock.close()


class Forwarding:
    """What bridges learn, as it happens: a place that was taken for a moment only is seen, too."""
    NEW, LLADDR = 28, 2  # RTM_NEWNEIGH, NDA_LLADDR

    def __init__(self):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self.sock.bind((0, 1 << 2))  # RTMGRP_NEIGH

    def take(self):
        """{(MAC, index of the port)} since the last call."""
        learned = set()
        while True:
            try:
                data = self.sock.recv(65536)
            except BlockingIOError:
                return learned
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind == self.NEW and data[16] == socket.AF_BRIDGE:
                    learned |= {(mac.hex(":"), struct.unpack_from("=i", data, 20)[0]) for mac in self.attributes(data[28:length])}
                data = data[(length + 3) & ~3:]

    def attributes(self, data):
        while data:
            length, kind = struct.unpack_from("=HH", data)
            if kind == self.LLADDR:
                yield data[4:length]
            data = data[(length + 3) & ~3:]

    def close(self):
        self.sock.close()


@dataclasses.dataclass
class Port:
    """One machine of the bridge: its namespace, the interface in it, and the other end of that on the host."""
    namespace: Namespace
    host_end: str
    address: str  # IPv4
    interface: str = "eth0"

    def __post_init__(self):
        with self.namespace:
            self.sock = packet_socket(self.interface, 0)
            self.mac = self.sock.getsockname()[4].hex(":")
            self.watcher = Watcher(self.interface)

    def send(self, *data):
        for frame in data:
            self.sock.send(frame)

    def run(self, *command, **more):
        return self.namespace.run(*command, **more)

    def close(self):
        self.sock.close()
        self.watcher.close()
        self.namespace.close()


class Result(typing.NamedTuple):
    ports: str      # where the frame was seen: H, P
    source: str     # its Ethernet source
    learned: bool   # that is not the sender's own, and the bridge has put it at the sender's port


class Lan:
    """
    Machine @a sends, @b is its neighbour; both hang on @bridge. With @xtables an advertisement counts as seen by the host only when
    it came through ip6tables too, which is behind the place where packet sockets listen.
    """

    def __init__(self, bridge, a, b, xtables=False):
        self.bridge, self.a, self.b, self.xtables = bridge, a, b, xtables
        self.host = Watcher(bridge)
        self.stack = HostStack()
        self.learned = Forwarding()
        self.mac = self.host.sock.getsockname()[4].hex(":")
        self.names = truth_table.Names(own_mac=a.mac, neighbour_mac=b.mac, gateway_mac=self.mac)

    def forwarding(self):
        """{MAC: port}, what the bridge has learned."""
        return {entry["mac"]: entry["ifname"] for entry in json.loads(run("bridge", "-json", "fdb", "show", "br", self.bridge))
                if entry.get("state") != "permanent"}

    def craft(self):
        return truth_table.Craft(self.names, next(_numbers))

    def alive(self):
        """Both watchers see an honest frame of the other side: else silence would prove nothing. Also teaches the bridge where B is."""
        for sender, source, address, watcher in ((self.host.sock, self.mac, self.names.gateway4, self.b.watcher),
                                                 (self.b.sock, self.b.mac, self.b.address, self.host)):
            craft = self.craft()
            frame = frames.ether(source, frames.IPV4, frames.ipv4_udp(address, "192.0.2.255", craft.mark))
            sender.send(frame)
            end = time.monotonic() + 5
            while not any(craft.found_in(frame, seen) for seen in watcher.take()):
                assert time.monotonic() < end, f"a watcher is blind: {frame.hex()}"
                time.sleep(0.005)

    def seen(self, crafts, sent):
        """For each frame the letters of those that have seen it since the last call."""
        at_host, at_b, in_stack = self.host.take(), self.b.watcher.take(), self.stack.take()
        for craft, frame in zip(crafts, sent):
            host = any(craft.found_in(frame, data) for data in at_host)
            if self.xtables and frames.is_advertisement(frame):
                host = host and frames.ipv6_marker(craft.number) in in_stack
            yield "H" * host + "P" * any(craft.found_in(frame, data) for data in at_b)

    def shoot(self, builders, send=None):
        """Sends the frames of all @builders (functions of a Craft) at once and gives back a Result for each."""
        self.alive()
        crafts = [self.craft() for _ in builders]
        sent = [build(craft) for build, craft in zip(builders, crafts)]
        self.stack.take()
        self.learned.take()
        (send or self.a.send)(*sent)
        time.sleep(SETTLE)
        learned, port = self.learned.take(), socket.if_nametoindex(self.a.host_end)
        seen = list(self.seen(crafts, sent))
        self.alive()
        results = []
        for frame, where in zip(sent, seen):
            source = frame[6:12].hex(":")
            results.append(Result(where, source, source != self.a.mac and (source, port) in learned))
        return results

    def send_one(self, build):
        return self.shoot([build])[0]

    @contextlib.contextmanager
    def reversed(self):
        """The same bridge with B as the one that sends."""
        other = Lan(self.bridge, self.b, self.a, self.xtables)
        try:
            yield other
        finally:
            other.close_watchers()

    def close_watchers(self):
        self.host.close()
        self.stack.close()
        self.learned.close()

    def close(self):
        self.close_watchers()
        self.a.close()
        self.b.close()


def neighbour(address, interface, space=None):
    """The MAC that a machine (the host, without @space) has for @address; None when it has none."""
    found = json.loads((space.run if space else run)("ip", "-json", "neighbour", "show", address, "dev", interface) or "[]")
    return found[0].get("lladdr") if found else None


def believe_at_once(interface):
    """The machine that the thread is in takes news of a neighbour within the second after the last, too."""
    pathlib.Path(f"/proc/sys/net/ipv4/neigh/{interface}/locktime").write_text("0")


def resolve(address, interface, space=None):
    """Makes a machine ask for @address, and gives the MAC."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with space or contextlib.nullcontext(), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"who are you", (f"{address}%{interface}" if address.startswith("fe80:") else address, 9))
    end = time.monotonic() + 5
    while not (mac := neighbour(address, interface, space)):
        assert time.monotonic() < end, f"{address} does not answer on {interface}"
        time.sleep(0.01)
    return mac


def plain_machine(bridge, name, *addresses):
    """A machine that is nothing but a network namespace on a veth pair."""
    namespace = Namespace.new()
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", f"/proc/{os.getpid()}/fd/{namespace.fd}")
    run("ip", "link", "set", name, "master", bridge, "up")
    namespace.run("ip", "link", "set", "eth0", "up")
    for address in addresses:
        namespace.run("ip", "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
    return Port(namespace, name, addresses[0].split("/")[0])


def plain_lan(bridge):
    """A Lan without any daemon: to try tests and hand-made filters on."""
    run("ip", "link", "add", bridge, "type", "bridge", "mcast_snooping", "1")
    run("ip", "link", "set", bridge, "up")
    for address in ("192.0.2.1/24", "2001:db8::1/64"):
        run("ip", "address", "add", address, "dev", bridge, *(["nodad"] if ":" in address else []))
    return Lan(bridge, plain_machine(bridge, f"{bridge}a", "192.0.2.10/24", "2001:db8::10/64"),
               plain_machine(bridge, f"{bridge}b", "192.0.2.3/24", "2001:db8::3/64"))
