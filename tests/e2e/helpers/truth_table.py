"""What each filter of a bridged NIC lets through, frame by frame: one row, one frame, one line.

H: the host's stack on the bridge gets the frame. P: other ports get it. -: nobody does. The frame comes from the container, has its
own MAC as Ethernet source and goes to everybody, unless the row says otherwise. Rows with another Ethernet source have a third
expectation that needs no column: the bridge learns that source without filters only.
"""
import dataclasses
import typing

from . import frames as f

ADDRESS4, ADDRESS6 = "192.0.2.10", "2001:db8::10"
MAC, V4, V6 = "security.mac_filtering", "security.ipv4_filtering", "security.ipv6_filtering"
ROUTES = {"ipv4.routes": "198.51.100.0/24", "ipv6.routes": "2001:db8:9::/60"}

# The keys of the container's NIC in each column of the table.
COLUMNS = {
    "none": {},
    "mac": {MAC: "true"},
    "v4": {V4: "true", "ipv4.address": ADDRESS4},
    "v6": {V6: "true", "ipv6.address": ADDRESS6},
    "46": {V4: "true", "ipv4.address": ADDRESS4, V6: "true", "ipv6.address": ADDRESS6},
    "n4": {V4: "true", "ipv4.address": "none"},
    "n6": {V6: "true", "ipv6.address": "none"},
    "n46": {V4: "true", "ipv4.address": "none", V6: "true", "ipv6.address": "none"},
}


@dataclasses.dataclass
class Names:
    """Who is who on the bridge under test."""
    own_mac: str
    neighbour_mac: str
    gateway_mac: str
    own4: str = ADDRESS4
    own6: str = ADDRESS6
    neighbour4: str = "192.0.2.3"
    neighbour6: str = "2001:db8::3"
    gateway4: str = "192.0.2.1"
    gateway6: str = "2001:db8::1"
    foreign4: str = "192.0.2.99"
    outside4: str = "203.0.113.7"
    routed4: str = "198.51.100.7"
    foreign6: str = "2001:db8::99"
    outside6: str = "2001:db8:99::5"
    routed6: str = "2001:db8:9::5"

    @property
    def own_link(self):
        return f.eui64(self.own_mac)

    @property
    def neighbour_link(self):
        return f.eui64(self.neighbour_mac)


class Craft(Names):
    """Makes the one frame of a row: the names of the bridge, and a number that no other frame has."""

    def __init__(self, names, number):
        super().__init__(**dataclasses.asdict(names))
        self.number = number
        self.mark = b"\xa5LXD" + number.to_bytes(4, "big")
        self.foreign_mac = "02:00:5e:" + number.to_bytes(3, "big").hex(":")
        self.foreign_link = "fe80::99"

    @property
    def lookalike6(self):
        """An address whose second half is the target link-layer option of an own advertisement."""
        return f.text(f.ip(self.foreign6)[:8] + b"\x02\x01" + f.hw(self.own_mac))

    def eth(self, kind, payload, source=None, to=f.BROADCAST):
        return f.ether(source or self.own_mac, kind, payload, to)

    def ip4(self, source, source_port=1234, port=9, to=None):
        return f.ipv4_udp(source, to or self.gateway4, self.mark, source_port, port)

    def v4(self, source, *ports, to=None, ether=None):
        return self.eth(f.IPV4, self.ip4(source, *ports, to=to), ether)

    def v6(self, packet, ether=None):
        return self.eth(f.IPV6, packet, ether)

    def dhcp(self, kind, mac, source="0.0.0.0", to=None):
        message = f.dhcp(kind, mac, self.number) + self.mark
        to = to or ("255.255.255.255" if source == "0.0.0.0" else self.gateway4)
        return self.eth(f.IPV4, f.ipv4_udp(source, to, message, 68, 67))

    def udp6(self, source, *ports, to="ff02::1", ether=None):
        return self.v6(f.ipv6_udp(self.number, source, to, *ports), ether)

    def arp_body(self, operation, sender_mac, sender_ip, target=None, **more):
        return f.arp(operation, sender_mac, sender_ip, target or self.gateway4, self.mark, **more)

    def arp(self, operation, sender_mac, sender_ip, target=None, ether=None, **more):
        return self.eth(f.ARP, self.arp_body(operation, sender_mac, sender_ip, target, **more), ether)

    def na(self, target, source, *macs, **more):
        return self.v6(f.advertisement(self.number, target, source, *macs, **more))

    def ns(self, target, source, *macs):
        return self.v6(f.solicitation(self.number, target, source, *macs))

    def ra(self, source, **more):
        return self.v6(f.router_advertisement(self.number, source, **more))

    def redirect(self, source, **more):
        return self.v6(f.icmpv6(self.number, source, "ff02::1", f.REDIRECT, bytes(4) + f.ip(self.own_link) + f.ip(self.foreign6), **more))

    def tagged(self, vid, kind, payload, tpid=f.VLAN, ether=None):
        return self.eth(tpid, f.tag(vid, kind, payload), ether)

    def found_in(self, sent, seen):
        """Whether a frame that a watcher saw is the one of this row."""
        return seen[:12] == sent[:12] and (self.mark in seen[12:] or f.ipv6_marker(self.number) in seen[12:])


class Row(typing.NamedTuple):
    name: str
    cells: str
    build: typing.Callable[[Craft], bytes]

    def expected(self, column, xtables=False):
        cells = XTABLES.get(self.name, self.cells) if xtables else self.cells
        return dict(zip(COLUMNS, cells.split()))[column].strip("-")


HOP, DST, RTG, FRG = (f.HOP_BY_HOP, f.options), (f.DESTINATION, f.options), (f.ROUTING, f.routing), (f.FRAGMENT, f.atomic_fragment)
GROUP_STP, GROUP_LLDP, GROUP_EAPOL = "01:80:c2:00:00:00", "01:80:c2:00:00:0e", "01:80:c2:00:00:03"

ROWS = [
    #                                           none mac v4 v6 46 n4 n6 n46
    Row("ipv4 own source",                       "HP HP HP HP HP -  HP -", lambda c: c.v4(c.own4)),
    Row("ipv4 own source, foreign ethernet",     "HP -  -  -  -  -  -  -", lambda c: c.v4(c.own4, ether=c.foreign_mac)),
    Row("ipv4 own source, unicast",              "H  H  H  H  H  -  H  -", lambda c: c.eth(f.IPV4, c.ip4(c.own4), to=c.gateway_mac)),
    Row("ipv4 foreign source in subnet",         "HP HP -  HP -  -  HP -", lambda c: c.v4(c.foreign4)),
    Row("ipv4 neighbour as source",              "HP HP -  HP -  -  HP -", lambda c: c.v4(c.neighbour4)),
    Row("ipv4 gateway as source",                "HP HP -  HP -  -  HP -", lambda c: c.v4(c.gateway4, to=c.neighbour4)),
    Row("ipv4 source 169.254.1.1",               "HP HP -  HP -  -  HP -", lambda c: c.v4("169.254.1.1")),
    Row("ipv4 source outside",                   "HP HP -  HP -  -  HP -", lambda c: c.v4(c.outside4)),
    Row("ipv4 source in ipv4.routes",            "HP HP HP HP HP -  HP -", lambda c: c.v4(c.routed4)),
    Row("dhcpv4 client",                         "HP HP H  HP H  -  HP -", lambda c: c.dhcp(f.DHCP_DISCOVER, c.own_mac)),
    Row("dhcpv4 client, foreign mac inside",     "HP P  -  P  -  -  P  -", lambda c: c.dhcp(f.DHCP_DISCOVER, c.foreign_mac)),
    Row("dhcpv4 renewal",                        "HP HP HP HP HP -  HP -", lambda c: c.dhcp(f.DHCP_REQUEST, c.own_mac, c.own4)),
    Row("dhcpv4 release of another",             "HP P  P  P  P  -  P  -", lambda c: c.dhcp(f.DHCP_RELEASE, c.neighbour_mac, c.own4)),
    Row("0.0.0.0 to broadcast port 53",          "HP HP -  HP -  -  HP -", lambda c: c.v4("0.0.0.0", 68, 53, to="255.255.255.255")),
    Row("0.0.0.0 to gateway port 67",            "HP HP -  HP -  -  HP -", lambda c: c.dhcp(f.DHCP_DISCOVER, c.own_mac, to=c.gateway4)),
    Row("dhcpv4 server, own source",             "HP HP HP HP HP -  HP -", lambda c: c.v4(c.own4, 67, 68, to="255.255.255.255")),
    Row("dhcpv4 server, foreign source",         "HP HP -  HP -  -  HP -", lambda c: c.v4(c.foreign4, 67, 68, to="255.255.255.255")),
    Row("arp request own",                       "HP HP HP HP HP -  HP -", lambda c: c.arp(1, c.own_mac, c.own4)),
    Row("arp reply own",                         "HP HP HP HP HP -  HP -", lambda c: c.arp(2, c.own_mac, c.own4)),
    Row("arp request foreign ip",                "HP HP -  HP -  -  HP -", lambda c: c.arp(1, c.own_mac, c.foreign4)),
    Row("arp reply foreign ip",                  "HP HP -  HP -  -  HP -", lambda c: c.arp(2, c.own_mac, c.foreign4)),
    Row("arp reply gateway ip",                  "HP HP -  HP -  -  HP -", lambda c: c.arp(2, c.own_mac, c.gateway4, c.foreign4)),
    Row("arp foreign mac inside",                "HP -  -  -  -  -  -  -", lambda c: c.arp(2, c.foreign_mac, c.own4)),
    Row("arp request foreign mac inside",        "HP -  -  -  -  -  -  -", lambda c: c.arp(1, c.foreign_mac, c.own4)),
    Row("arp own, foreign ethernet",             "HP -  -  -  -  -  -  -", lambda c: c.arp(1, c.own_mac, c.own4, ether=c.foreign_mac)),
    Row("arp probe",                             "HP HP -  HP -  -  HP -", lambda c: c.arp(1, c.own_mac, "0.0.0.0", c.own4)),
    Row("gratuitous arp own",                    "HP HP HP HP HP -  HP -", lambda c: c.arp(1, c.own_mac, c.own4, c.own4)),
    Row("arp in ipv4.routes",                    "HP HP HP HP HP -  HP -", lambda c: c.arp(1, c.own_mac, c.routed4)),
    Row("arp hardware length 8",                 "HP HP -  HP -  -  HP -", lambda c: c.arp(1, c.own_mac, c.own4, hardware_length=8)),
    Row("arp of 802 hardware, foreign mac",      "HP -  -  -  -  -  -  -", lambda c: c.arp(2, c.foreign_mac, c.own4, hardware_type=6)),
    Row("arp of 802 hardware, foreign ip",       "HP HP -  HP -  -  HP -", lambda c: c.arp(2, c.own_mac, c.foreign4, hardware_type=6)),
    Row("ipv6 own source",                       "HP HP HP HP HP HP -  -", lambda c: c.udp6(c.own6)),
    Row("ipv6 echo own source",                  "HP HP HP HP HP HP -  -", lambda c: c.v6(f.echo_request(c.number, c.own6, c.gateway6))),
    Row("ipv6 own source, foreign ethernet",     "HP -  -  -  -  -  -  -", lambda c: c.udp6(c.own6, ether=c.foreign_mac)),
    Row("ipv6 foreign source",                   "HP HP HP -  -  HP -  -", lambda c: c.udp6(c.foreign6)),
    Row("ipv6 gateway as source",                "HP HP HP -  -  HP -  -", lambda c: c.udp6(c.gateway6)),
    Row("ipv6 source outside",                   "HP HP HP -  -  HP -  -", lambda c: c.udp6(c.outside6)),
    Row("ipv6 source in ipv6.routes",            "HP HP HP HP HP HP -  -", lambda c: c.udp6(c.routed6)),
    Row("ipv6 link-local source",                "HP HP HP -  -  HP -  -", lambda c: c.udp6(c.own_link)),
    Row("ipv6 source ::",                        "HP HP HP -  -  HP -  -", lambda c: c.udp6("::")),
    Row("ns own source",                         "HP HP HP HP HP HP -  -", lambda c: c.ns(c.gateway6, c.own6, c.own_mac)),
    Row("ns own source, foreign option",         "HP HP HP HP HP HP -  -", lambda c: c.ns(c.gateway6, c.own6, c.foreign_mac)),
    Row("ns link-local source",                  "HP HP HP -  -  HP -  -", lambda c: c.ns(c.gateway6, c.own_link, c.own_mac)),
    Row("ns duplicate detection",                "HP HP HP -  -  HP -  -", lambda c: c.ns(c.own6, "::")),
    Row("na own target, own option",             "HP HP HP HP HP HP -  -", lambda c: c.na(c.own6, c.own6, c.own_mac)),
    Row("na own target, no option",              "HP HP HP HP HP HP -  -", lambda c: c.na(c.own6, c.own6)),
    Row("na own target, link-local source",      "HP HP HP HP HP HP -  -", lambda c: c.na(c.own6, c.own_link, c.own_mac)),
    Row("na own target, neighbour's link-local", "HP HP HP -  -  HP -  -", lambda c: c.na(c.own6, c.neighbour_link, c.own_mac)),
    Row("na target in ipv6.routes",              "HP HP HP HP HP HP -  -", lambda c: c.na(c.routed6, c.own6, c.own_mac)),
    Row("na target outside",                     "HP HP HP -  -  HP -  -", lambda c: c.na(c.outside6, c.own6, c.own_mac)),
    Row("na foreign target, own option",         "HP HP HP -  -  HP -  -", lambda c: c.na(c.foreign6, c.own6, c.own_mac)),
    Row("na foreign target, no option",          "HP HP HP -  -  HP -  -", lambda c: c.na(c.foreign6, c.own6)),
    Row("na gateway target, own option",         "HP HP HP -  -  HP -  -", lambda c: c.na(c.gateway6, c.own6, c.own_mac)),
    Row("na foreign target, foreign source",     "HP HP HP -  -  HP -  -", lambda c: c.na(c.foreign6, c.foreign6, c.own_mac)),
    Row("na foreign target, link-local source",  "HP HP HP -  -  HP -  -", lambda c: c.na(c.foreign6, c.own_link, c.own_mac)),
    Row("na own target, foreign source",         "HP HP HP -  -  HP -  -", lambda c: c.na(c.own6, c.foreign6, c.own_mac)),
    Row("na own target, foreign option",         "HP -  -  -  -  -  -  -", lambda c: c.na(c.own6, c.own6, c.foreign_mac)),
    Row("na foreign target, foreign option",     "HP -  -  -  -  -  -  -", lambda c: c.na(c.foreign6, c.own6, c.foreign_mac)),
    Row("na own option, then a foreign one",     "HP -  -  -  -  -  -  -", lambda c: c.na(c.own6, c.own6, c.own_mac, c.foreign_mac)),
    Row("na foreign option, then an own one",    "HP -  -  -  -  -  -  -", lambda c: c.na(c.own6, c.own6, c.foreign_mac, c.own_mac)),
    Row("na link-local of the mac",              "HP HP HP H  H  HP -  -", lambda c: c.na(c.own_link, c.own_link, c.own_mac)),
    Row("na other link-local",                   "HP HP HP -  -  HP -  -", lambda c: c.na(c.foreign_link, c.foreign_link, c.own_mac)),
    Row("na other link-local, own as source",    "HP HP HP -  -  HP -  -", lambda c: c.na(c.foreign_link, c.own_link, c.own_mac)),
    Row("na foreign behind destination options", "HP -  -  -  -  -  -  -", lambda c: c.na(c.foreign6, c.own6, c.own_mac, headers=[DST])),
    Row("na behind options, looks like an own",  "HP -  -  -  -  -  -  -", lambda c: c.na(c.lookalike6, c.own6, headers=[DST])),
    Row("na foreign behind hop-by-hop",          "HP -  -  -  -  -  -  -", lambda c: c.na(c.foreign6, c.own6, c.own_mac, headers=[HOP])),
    Row("na foreign behind routing header",      "HP -  -  -  -  -  -  -", lambda c: c.na(c.foreign6, c.own6, c.own_mac, headers=[RTG])),
    Row("na foreign in atomic fragment",         "HP -  -  -  -  -  -  -", lambda c: c.na(c.foreign6, c.own6, c.own_mac, headers=[FRG])),
    Row("na foreign behind two headers",         "HP -  -  -  -  -  -  -", lambda c: c.na(c.foreign6, c.own6, c.own_mac, headers=[FRG, DST])),
    Row("ra link-local",                         "HP HP HP -  -  HP -  -", lambda c: c.ra(c.own_link)),
    Row("ra own source",                         "HP HP HP -  -  HP -  -", lambda c: c.ra(c.own6)),
    Row("ra own behind destination options",     "HP HP HP -  -  HP -  -", lambda c: c.ra(c.own6, headers=[DST])),
    Row("ra own behind hop-by-hop",              "HP HP HP -  -  HP -  -", lambda c: c.ra(c.own6, headers=[HOP])),
    Row("ra own in atomic fragment",             "HP HP HP -  -  HP -  -", lambda c: c.ra(c.own6, headers=[FRG])),
    Row("rs link-local",                         "HP HP HP H  H  HP -  -", lambda c: c.v6(f.router_solicitation(c.number, c.own_link, c.own_mac))),
    Row("rs link-local of the neighbour",        "HP HP HP -  -  HP -  -", lambda c: c.v6(f.router_solicitation(c.number, c.neighbour_link, c.own_mac))),
    Row("rs link-local of no hardware address",  "HP HP HP H  H  HP -  -", lambda c: c.v6(f.router_solicitation(c.number, c.foreign_link, c.own_mac))),
    Row("rs source ::",                          "HP HP HP -  -  HP -  -", lambda c: c.v6(f.router_solicitation(c.number, "::"))),
    Row("redirect own source",                   "HP HP HP -  -  HP -  -", lambda c: c.redirect(c.own6)),
    Row("redirect link-local",                   "HP HP HP -  -  HP -  -", lambda c: c.redirect(c.own_link)),
    Row("redirect behind destination options",   "HP HP HP -  -  HP -  -", lambda c: c.redirect(c.own6, headers=[DST])),
    Row("dhcpv6 client",                         "HP HP HP H  H  HP -  -", lambda c: c.udp6(c.own_link, 546, 547, to="ff02::1:2")),
    Row("dhcpv6 client, neighbour's link-local", "HP HP HP -  -  HP -  -", lambda c: c.udp6(c.neighbour_link, 546, 547, to="ff02::1:2")),
    Row("dhcpv6 client to unicast",              "HP HP HP -  -  HP -  -", lambda c: c.udp6(c.own_link, 546, 547, to=c.gateway6)),
    Row("dhcpv6 server, own source",             "HP HP HP HP HP HP -  -", lambda c: c.udp6(c.own6, 547, 546)),
    Row("mld report",                            "HP HP HP -  -  HP -  -", lambda c: c.v6(f.mld_report(c.number, c.own_link))),
    Row("802.1q vid 5 ipv4",                     "HP HP -  -  -  -  -  -", lambda c: c.tagged(5, f.IPV4, c.ip4(c.own4))),
    Row("802.1q vid 0 ipv4",                     "HP HP -  -  -  -  -  -", lambda c: c.tagged(0, f.IPV4, c.ip4(c.own4))),
    Row("802.1q vid 5 ipv4 foreign source",      "HP HP -  -  -  -  -  -", lambda c: c.tagged(5, f.IPV4, c.ip4(c.foreign4))),
    Row("802.1q vid 0 ipv4 foreign source",      "HP HP -  -  -  -  -  -", lambda c: c.tagged(0, f.IPV4, c.ip4(c.foreign4))),
    Row("802.1q vid 5 arp",                      "HP HP -  -  -  -  -  -", lambda c: c.tagged(5, f.ARP, c.arp_body(2, c.own_mac, c.foreign4))),
    Row("802.1q vid 0 arp",                      "HP HP -  -  -  -  -  -", lambda c: c.tagged(0, f.ARP, c.arp_body(2, c.own_mac, c.foreign4))),
    Row("802.1q vid 5 ipv6",                     "HP HP -  -  -  -  -  -", lambda c: c.tagged(5, f.IPV6, f.ipv6_udp(c.number, c.own6, "ff02::1"))),
    Row("802.1q vid 0 na foreign target",        "HP HP -  -  -  -  -  -", lambda c: c.tagged(0, f.IPV6, f.advertisement(c.number, c.foreign6, c.own6, c.own_mac))),
    Row("802.1q foreign ethernet",               "HP -  -  -  -  -  -  -", lambda c: c.tagged(5, f.IPV4, c.ip4(c.own4), ether=c.foreign_mac)),
    Row("802.1ad ipv4",                          "HP HP -  -  -  -  -  -", lambda c: c.tagged(5, f.IPV4, c.ip4(c.own4), tpid=f.SVLAN)),
    Row("802.1ad ipv6",                          "HP HP -  -  -  -  -  -", lambda c: c.tagged(5, f.IPV6, f.ipv6_udp(c.number, c.foreign6, "ff02::1"), tpid=f.SVLAN)),
    Row("802.1ad and 802.1q",                    "HP HP -  -  -  -  -  -", lambda c: c.tagged(5, f.VLAN, f.tag(6, f.IPV4, c.ip4(c.foreign4)), tpid=f.SVLAN)),
    Row("802.1q twice",                          "HP HP -  -  -  -  -  -", lambda c: c.tagged(5, f.VLAN, f.tag(6, f.IPV4, c.ip4(c.own4)))),
    Row("802.1q twice, vid 0",                   "HP HP -  -  -  -  -  -", lambda c: c.tagged(0, f.VLAN, f.tag(0, f.ARP, c.arp_body(2, c.own_mac, c.gateway4)))),
    Row("rarp",                                  "HP HP -  -  -  -  -  -", lambda c: c.eth(f.RARP, c.arp_body(3, c.own_mac, "0.0.0.0"))),
    Row("pppoe discovery",                       "HP HP -  -  -  -  -  -", lambda c: c.eth(f.PPPOE, b"\x11\x09\0\0\0\x0c\x01\x03\0\x08" + c.mark)),
    Row("mpls",                                  "HP HP -  -  -  -  -  -", lambda c: c.eth(f.MPLS, b"\0\x01\x01\x40" + c.ip4(c.own4))),
    Row("local experimental type",               "HP HP -  -  -  -  -  -", lambda c: c.eth(f.LOCAL, c.mark)),
    Row("local experimental, foreign ethernet",  "HP -  -  -  -  -  -  -", lambda c: c.eth(f.LOCAL, c.mark, c.foreign_mac)),
    Row("lldp to broadcast",                     "HP HP -  -  -  -  -  -", lambda c: c.eth(f.LLDP, f.lldp(c.mark))),
    Row("stp bpdu",                              "HP HP -  -  -  -  -  -", lambda c: f.llc(c.own_mac, f.bpdu(c.mark), GROUP_STP)),
    Row("snap arp",                              "HP HP -  -  -  -  -  -", lambda c: f.llc(c.own_mac, f.snap(f.ARP, c.arp_body(2, c.own_mac, c.foreign4)))),
    Row("lldp to its group",                     "-  -  -  -  -  -  -  -", lambda c: c.eth(f.LLDP, f.lldp(c.mark), to=GROUP_LLDP)),
    Row("eapol to its group",                    "-  -  -  -  -  -  -  -", lambda c: c.eth(f.EAPOL, b"\x01\x01\0\0" + c.mark, to=GROUP_EAPOL)),
    Row("lldp to its group, foreign ethernet",   "-  -  -  -  -  -  -  -", lambda c: c.eth(f.LLDP, f.lldp(c.mark), c.foreign_mac, GROUP_LLDP)),
    # Last, because in the control run it takes the neighbour's place in the forwarding table.
    Row("ipv4 own source, neighbour's ethernet", "HP -  -  -  -  -  -  -", lambda c: c.v4(c.own4, ether=c.neighbour_mac)),
]

# Where ebtables and ip6tables differ.
XTABLES = {
    # ebtables does not look at addresses in such ARP, so all of it is dropped.
    "arp of 802 hardware, foreign ip":           "HP -  -  -  -  -  -  -",
    # Seen on the bridge only: iptables drops them behind that.
    "dhcpv4 client, foreign mac inside":         "HP HP H  HP H  -  HP -",
    "dhcpv4 release of another":                 "HP HP HP HP HP -  HP -",
    # Seen on the bridge only: ip6tables drops it behind that, and hosts take no routing header in a packet to a group anyway.
    "na foreign behind routing header":          "HP H  H  H  H  H  -  -",
}


def differences(lan, column, send=None, kept=()):
    """
    Sends every row's frame at once and compares with a column; gives one line for each row that came out differently. The places of
    the hardware addresses @kept are not to be taken, filters or not.
    """
    wrong = []
    for row, result in zip(ROWS, lan.shoot([row.build for row in ROWS], send)):
        want = row.expected(column, lan.xtables)
        if result.ports != want:
            wrong.append(f"{column}: {row.name}: seen at {result.ports or 'no place'}, not {want or 'no place'}")
        if result.learned != (column == "none" and result.source not in (lan.a.mac, *kept)):
            wrong.append(f"{column}: {row.name}: the bridge {'learned' if result.learned else 'did not learn'} a foreign source")
    return wrong


def check(lan, column, send=None, kept=()):
    wrong = differences(lan, column, send, kept)
    assert not wrong, "\n".join(wrong)


def row(name):
    return next(row.build for row in ROWS if row.name == name)
