"""One question to a DNS server, and its answer."""
import ipaddress
import socket
import struct

A, AAAA = 1, 28
NOERROR, NXDOMAIN = 0, 3


def name_end(data, at):
    while data[at]:
        if data[at] >= 0xC0:
            return at + 2
        at += 1 + data[at]
    return at + 1


def ask(server, name, kind=A, timeout=3):
    """(response code, addresses) from @server; kind A or AAAA. None when nothing comes back."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack("!HHHHHH", 77, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.sendto(question, (server, 53))
        try:
            data = sock.recv(4096)
        except socket.timeout:
            return None
    flags, _, answers = struct.unpack_from("!HHH", data, 2)
    at, found = name_end(data, 12) + 4, []
    for _ in range(answers):
        at = name_end(data, at)
        answered, _, _, length = struct.unpack_from("!HHIH", data, at)
        if answered == kind:
            found.append(str(ipaddress.ip_address(data[at + 10:at + 10 + length])))
        at += 10 + length
    return flags & 15, sorted(found)
