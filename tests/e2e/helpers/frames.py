"""Ethernet frames from nothing but bytes, for tests that send what no kernel would. Every builder gives bytes; wrong values are allowed."""
import ipaddress
import struct

BROADCAST = "ff:ff:ff:ff:ff:ff"
ARP, IPV4, IPV6, RARP, VLAN, SVLAN, MPLS, PPPOE, LLDP, EAPOL, LOCAL = (
    0x0806, 0x0800, 0x86DD, 0x8035, 0x8100, 0x88A8, 0x8847, 0x8863, 0x88CC, 0x888E, 0x88B5)
TCP, UDP, ICMPV6, HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 6, 17, 58, 0, 43, 44, 60
ECHO_REQUEST, ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT, REDIRECT, MLD2_REPORT = (
    128, 133, 134, 135, 136, 137, 143)
SOURCE_LINK, TARGET_LINK = 1, 2
OVERRIDE, SOLICITED, ROUTER = 0x20, 0x40, 0x80


def hw(mac):
    return bytes.fromhex(mac.replace(":", ""))


def ip(address):
    return ipaddress.ip_address(address).packed


def text(packed):
    return str(ipaddress.ip_address(packed))


def eui64(mac, prefix="fe80::"):
    """The address that a host with @mac gives itself in @prefix (a /64)."""
    raw = hw(mac)
    return text(ip(prefix)[:8] + bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:])


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# Link layer

def ether(source, kind, payload, destination=BROADCAST):
    return hw(destination) + hw(source) + struct.pack("!H", kind) + payload


def tag(vid, kind, payload):
    """What follows the type of a tagged frame."""
    return struct.pack("!HH", vid, kind) + payload


def llc(source, payload, destination=BROADCAST):
    """IEEE 802.3: a length where the type would be."""
    return ether(source, len(payload), payload, destination)


def snap(kind, payload):
    return b"\xaa\xaa\x03\x00\x00\x00" + struct.pack("!H", kind) + payload


def bpdu(marker):
    """An STP configuration BPDU; the marker stands for the root bridge's identifier."""
    root = marker.ljust(8, b"\0")[:8]
    return b"\x42\x42\x03" + struct.pack("!HBBB8sI8sHHHHH", 0, 0, 0, 0, root, 0, root, 0x8001, 0, 20 << 8, 2 << 8, 15 << 8)


def lldp(marker):
    return b"\x02" + bytes([len(marker) + 1, 7]) + marker + b"\x04\x03\x07eth\x06\x02\x00\x78\x00\x00"


def arp(operation, sender_mac, sender_ip, target_ip, marker, target_mac="00:00:00:00:00:00", hardware_length=6, hardware_type=1):
    """The marker trails: bridges leave the padding of ARP alone."""
    pad = bytes(hardware_length - 6)
    return (struct.pack("!HHBBH", hardware_type, IPV4, hardware_length, 4, operation) + hw(sender_mac) + pad + ip(sender_ip)
            + hw(target_mac) + pad + ip(target_ip) + marker)


# IPv4 and IPv6

def udp(source_port, port, payload, source, destination):
    """With a checksum over the pseudo header of either family."""
    length = 8 + len(payload)
    head = struct.pack("!HHHH", source_port, port, length, 0)
    pseudo = ip(source) + ip(destination) + (struct.pack("!BBH", 0, UDP, length) if len(ip(source)) == 4 else struct.pack("!II", length, UDP))
    return head[:6] + struct.pack("!H", checksum(pseudo + head + payload) or 0xFFFF) + payload


def ipv4(source, destination, protocol, payload, identification=0, fragment=0):
    """@fragment: flags and offset as they stand in the header."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), identification, fragment, 64, protocol, 0, ip(source), ip(destination))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv4_fragments(packet, identification, size):
    """The packet of ipv4() in pieces of @size bytes, a multiple of 8."""
    payload, source, destination = packet[20:], text(packet[12:16]), text(packet[16:20])
    for at in range(0, len(payload), size):
        more = 0x2000 if at + size < len(payload) else 0
        yield ipv4(source, destination, packet[9], payload[at:at + size], identification, more | at // 8)


def ipv4_udp(source, destination, payload, source_port=1234, port=9):
    return ipv4(source, destination, UDP, udp(source_port, port, payload, source, destination))


DHCP_DISCOVER, DHCP_REQUEST, DHCP_RELEASE = 1, 3, 7


def dhcp(kind, mac, number, requested=None, client="0.0.0.0", server=None, identifier=None):
    """A client's message about the machine @mac (in the message; the frame may say another); @identifier: a MAC to be known by."""
    said = [(53, bytes([kind]))] + [(code, ip(value)) for code, value in ((50, requested), (54, server)) if value]
    said += [(61, b"\x01" + hw(identifier))] if identifier else []
    body = struct.pack("!BBBBIHH4s4s4s4s16s64s128s", 1, 1, 6, 0, number, 0, 0x8000, ip(client), bytes(4), bytes(4), bytes(4), hw(mac), b"", b"")
    return body + b"\x63\x82\x53\x63" + b"".join(bytes([code, len(value)]) + value for code, value in said) + b"\xff"


# Of these only the flow label is free in every message; so it carries the marker of all IPv6 frames.
TRAFFIC_CLASS = 0x5C


def ipv6_marker(number):
    """The first four bytes of an IPv6 header."""
    return struct.pack("!I", 6 << 28 | TRAFFIC_CLASS << 20 | number & 0xFFFFF)


def ipv6(number, source, destination, protocol, payload, hops=255, headers=()):
    """@headers are (protocol number, function of the next protocol giving the header's bytes), outermost first."""
    chain = b""
    for kind, build in reversed(headers):
        chain = build(protocol) + chain
        protocol = kind
    return ipv6_marker(number) + struct.pack("!HBB", len(chain) + len(payload), protocol, hops) + ip(source) + ip(destination) + chain + payload


def ipv6_udp(number, source, destination, source_port=1234, port=9, payload=b"lxd"):
    return ipv6(number, source, destination, UDP, udp(source_port, port, payload, source, destination), hops=64)


def options(next_header):
    """A hop-by-hop or destination options header with nothing but padding."""
    return bytes([next_header, 0, 1, 4, 0, 0, 0, 0])


def atomic_fragment(next_header):
    """RFC 6946: a fragment header on a packet that is whole."""
    return bytes([next_header, 0, 0, 0, 0, 0, 0, 7])


def routing(next_header):
    """A routing header of a type that nobody knows, with no segments left: it is to be skipped."""
    return bytes([next_header, 0, 253, 0, 0, 0, 0, 0])


def icmpv6(number, source, destination, kind, body, headers=(), hops=255):
    payload = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = ip(source) + ip(destination) + struct.pack("!II", len(payload), ICMPV6)
    payload = payload[:2] + struct.pack("!H", checksum(pseudo + payload)) + payload[4:]
    return ipv6(number, source, destination, ICMPV6, payload, hops, headers)


# Neighbour discovery (RFC 4861); options are (type, MAC)

def link_options(given):
    return b"".join(bytes([kind, 1]) + hw(mac) for kind, mac in given)


def advertisement(number, target, source, *macs, headers=(), flags=OVERRIDE, destination="ff02::1"):
    """A neighbour advertisement with a target link-layer option for each of @macs."""
    body = bytes([flags, 0, 0, 0]) + ip(target) + link_options((TARGET_LINK, mac) for mac in macs)
    return icmpv6(number, source, destination, NEIGHBOUR_ADVERTISEMENT, body, headers)


def is_advertisement(frame):
    """An untagged neighbour advertisement, also behind those extension headers that its receivers skip in multicast packets."""
    if frame[12:14] != struct.pack("!H", IPV6):
        return False
    kind, at = frame[20], 54
    while kind in (HOP_BY_HOP, DESTINATION, FRAGMENT):
        kind, at = frame[at], at + 8
    return kind == ICMPV6 and frame[at] == NEIGHBOUR_ADVERTISEMENT


def solicitation(number, target, source, *macs):
    raw = ip(target)
    group = text(ip("ff02::1:ff00:0")[:13] + raw[13:])
    body = bytes(4) + raw + link_options((SOURCE_LINK, mac) for mac in macs)
    return icmpv6(number, source, group, NEIGHBOUR_SOLICITATION, body)


def router_advertisement(number, source, lifetime=0, headers=(), prefix=None):
    body = struct.pack("!BBHII", 64, 0, lifetime, 0, 0)
    if prefix:  # on link, autonomous
        body += struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 600, 600, 0) + ip(prefix)
    return icmpv6(number, source, "ff02::1", ROUTER_ADVERTISEMENT, body, headers)


def router_solicitation(number, source, *macs):
    return icmpv6(number, source, "ff02::2", ROUTER_SOLICITATION, bytes(4) + link_options((SOURCE_LINK, mac) for mac in macs))


def redirect(number, source, target, destination, to="ff02::1"):
    return icmpv6(number, source, to, REDIRECT, bytes(4) + ip(target) + ip(destination))


def mld_report(number, source):
    record = struct.pack("!BBH", 4, 0, 0) + ip("ff02::1:ff00:10")
    return icmpv6(number, source, "ff02::16", MLD2_REPORT, struct.pack("!HH", 0, 1) + record, hops=1)


def echo_request(number, source, destination):
    return icmpv6(number, source, destination, ECHO_REQUEST, struct.pack("!HH", 7, 1) + b"lxd")
