"""In which order links and packet filter rules come and go: the kernel's own announcements of both."""
import select
import socket
import struct
import threading

NETLINK_NETFILTER, RTM_NEWLINK, RTM_DELLINK, IFLA_MASTER = 12, 16, 17, 10
NFT, NEW, GONE = 10, (0, 3, 6, 12), (2, 5, 8, 14)  # NFNL_SUBSYS_NFTABLES; messages about tables, chains, rules, elements


def netlink(protocol, groups):
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    sock.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
    sock.bind((0, groups))
    return sock


def messages(data):
    while data:
        length, kind = struct.unpack_from("=IH", data)
        yield kind, data[16:length]
        data = data[(length + 3) & ~3:]


def attributes(data):
    while data:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3:]


class Order:
    """
    Listens while it is entered. Its events are "rules", "no rules" (one that has @interface or @label in it came or went), "port" and
    "no port" (the link has a master or not), "up" and "no link". Two that cannot be told apart in time are one, joined by "=".
    """

    def __init__(self, interface, label):
        self.interface, self.words = interface, [interface.encode(), label.encode()]
        self.events = []

    def __enter__(self):
        self.links, self.rules = netlink(socket.NETLINK_ROUTE, 1), netlink(NETLINK_NETFILTER, 1 << 6)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.links.close()
        self.rules.close()

    def _listen(self):
        poll = select.poll()
        poll.register(self.links, select.POLLIN)
        poll.register(self.rules, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll(50)]
            if not ready and self.stop.is_set():
                return
            found = []
            if self.rules.fileno() in ready:
                found.append([name for kind, data in messages(self.rules.recv(1 << 20)) for name in self._rule(kind, data)])
            if self.links.fileno() in ready:
                found.append([name for kind, data in messages(self.links.recv(1 << 20)) for name in self._link(kind, data)])
            found = [names for names in found if names]
            if len(found) == 2:
                self.events.append("=".join(dict.fromkeys(found[0] + found[1])))
            else:
                self.events += [name for names in found for name in names]

    def _rule(self, kind, data):
        if kind >> 8 == NFT and any(word in data for word in self.words):
            if kind & 0xFF in NEW:
                yield "rules"
            elif kind & 0xFF in GONE:
                yield "no rules"

    def _link(self, kind, data):
        found = list(attributes(data[16:]))
        if (3, self.interface.encode() + b"\0") not in found:
            return
        if kind == RTM_DELLINK and data[0] != socket.AF_BRIDGE:
            yield "no link"
        elif kind == RTM_NEWLINK and data[0] != socket.AF_BRIDGE:
            yield "port" if IFLA_MASTER in dict(found) else "no port"
            if struct.unpack_from("=I", data, 8)[0] & 1:
                yield "up"
