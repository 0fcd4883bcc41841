"""What the host has of NICs: links, routes, sysctls, and our packet filters, as `ip` and `nft` show them."""
import json
import pathlib
import select
import socket
import struct
import subprocess
import threading
import time

NIC = {"type": "nic"}


def ip(*words, check=True):
    result = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check:
        assert result.returncode == 0, (words, result.stderr)
    return result.stdout


def ip_json(*words):
    return json.loads(ip("-json", "-details", *words) or "[]")


def links():
    """{name: link} of every interface in this namespace."""
    return {link["ifname"]: link for link in ip_json("link", "show") if "ifname" in link}


def link(name):
    return links().get(name)


def addresses(name):
    found = [entry for entry in ip_json("address", "show", "dev", name) if entry]
    return sorted(f"{a['local']}/{a['prefixlen']}" for entry in found for a in entry["addr_info"])


def routes(*words):
    """Destinations of `ip route show` and `ip -6 route show` with @words."""
    found = []
    for family in ("-4", "-6"):
        result = subprocess.run(["ip", family, "-json", "route", "show", *words], capture_output=True, text=True, check=False)
        found += json.loads(result.stdout or "[]") if result.returncode == 0 else []  # a table that is empty does not exist
    return sorted(route["dst"] for route in found)


def proxies(parent):
    return sorted(n["dst"] for family in ("-4", "-6") for n in json.loads(ip(family, "-json", "neigh", "show", "proxy", "dev", parent) or "[]"))


def sysctl(family, name, key):
    return int(pathlib.Path(f"/proc/sys/net/{family}/conf/{name}/{key}").read_text())


def set_sysctl(family, name, key, value):
    pathlib.Path(f"/proc/sys/net/{family}/conf/{name}/{key}").write_text(str(value))


def ruleset(table=None):
    """Our tables as nft prints them; "" when there are none."""
    if table:
        return subprocess.run(["nft", "-nn", "list", "table", *table.split()], capture_output=True, text=True, check=False).stdout
    return "".join(ruleset(t) for t in ("inet lxd", "bridge lxd", "netdev lxd"))


def made_links():
    """Names of what only NICs make: pairs and macvlans."""
    return sorted(name for name in links() if name.startswith(("veth", "mac")))


def nft(*words):
    subprocess.run(["nft", *words], check=True, capture_output=True)


def transfer(api, name, sender, host_address, size):
    """Seconds that so many bytes take from the host to the container or back, by TCP; the receiver says that they are there."""
    server = socket.create_server((host_address, 7007))
    got = []

    def serve():
        connection, _ = server.accept()
        with connection:
            if sender == "host":
                connection.sendall(bytes(size))
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                got.append(len(part))
    thread = threading.Thread(target=serve)
    thread.start()
    sending = f"head -c {size} /dev/zero |" if sender == "guest" else ""
    begin = time.monotonic()
    _, out, _ = api.run(name, "sh", "-c", f"{sending} nc {host_address} 7007 | wc -c", timeout=60)
    thread.join(30)
    seconds = time.monotonic() - begin
    server.close()
    assert (int(out) if sender == "host" else sum(got)) == size
    return seconds


class Events:
    """
    Link and packet filter events as the kernel tells them: ("rules", "") for a transaction, ("port", NAME) and ("up", NAME) for an interface that
    has got a bridge or was brought up, ("gone", NAME). They come by two sockets: those that were read in one turn, which a busy machine may bring
    about, have no order.
    """
    NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
    NEWGEN = 10 << 8 | 15

    def __enter__(self):
        self.turns, self._known, self._stop = [], {}, False
        self._links = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, self.NETLINK_ROUTE)
        self._links.bind((0, 1))  # RTMGRP_LINK
        self._rules = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, self.NETLINK_NETFILTER)
        self._rules.bind((0, 1 << 6))  # NFNLGRP_NFTABLES
        for each in (self._links, self._rules):
            each.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop = True
        self._thread.join()
        self._links.close()
        self._rules.close()

    def _read(self):
        while not self._stop:
            select.select([self._links, self._rules], [], [], 0.1)
            turn = []
            for each in (self._links, self._rules):
                for kind, body in self._all(each):
                    if each is self._links:
                        turn += self._link(kind, body)
                    elif kind == self.NEWGEN:
                        turn.append(("rules", ""))
            self.turns.append(turn)

    def _all(self, sock):
        """Every message that is there."""
        while True:
            try:
                packet = sock.recv(1 << 20, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            yield from self._messages(packet)

    def first(self, kind, name=""):
        return next((k for k, turn in enumerate(self.turns) if (kind, name) in turn), None)

    def last(self, kind, name=""):
        return max((k for k, turn in enumerate(self.turns) if (kind, name) in turn), default=None)

    @staticmethod
    def _messages(packet):
        while len(packet) >= 16:
            length, kind = struct.unpack_from("=IH", packet)
            yield kind, packet[16:length]
            packet = packet[(length + 3) & ~3:]

    def _link(self, kind, body):
        _, _, _, flags, _ = struct.unpack_from("=BxHiII", body)
        attributes, at = {}, 16
        while at + 4 <= len(body):
            length, number = struct.unpack_from("=HH", body, at)
            attributes[number & 0x3fff] = body[at + 4:at + length]
            at += (length + 3) & ~3
        name = attributes.get(3, b"").rstrip(b"\0").decode()  # IFLA_IFNAME
        before = self._known.get(name, set())
        now = ({"port"} if 10 in attributes else set()) | ({"up"} if flags & 1 else set())  # IFLA_MASTER, IFF_UP
        if kind == 17:  # RTM_DELLINK; one of the family bridge says only that it has left
            return [("gone", name)] if 18 in attributes else []  # IFLA_LINKINFO
        self._known[name] = now
        return [(what, name) for what in sorted(now - before)]
