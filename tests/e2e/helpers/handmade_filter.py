"""The packet filter that a bridged NIC needs, written by hand: what the spoofing tests are tried on, one rule missing at a time."""
import ipaddress

from . import frames, lan, truth_table

TABLE = "bridge handmade"
# Bridges learn from frames to 01:80:c2:00:00:0e before any hook, so a rule cannot keep a forged source out of the forwarding table.
# A port that learns nothing needs its own entry, a sticky one: else a neighbour could take the place for good.
LEARNING = ("no learning", "", "")


def lists(keys):
    """The allowed prefixes by family: None where the family is not filtered, empty where it is blocked."""
    made = []
    for family in ("ipv4", "ipv6"):
        if keys.get(f"security.{family}_filtering") != "true":
            made.append(None)
        elif keys[f"{family}.address"] == "none":
            made.append([])
        else:
            made.append([ipaddress.ip_network(text) for text in (keys[f"{family}.address"], keys[f"{family}.routes"])])
    return made


def link_rules(port):
    raw = f"0x{frames.hw(port.mac).hex()}"
    na = "ether type ip6 icmpv6 type 136"
    return [LEARNING,
            ("ports", "pre", f"ether saddr != {port.mac} drop"),
            ("arp sender", "both", f"ether type arp arp saddr ether != {port.mac} drop"),
            ("dhcp client", "in", f"ether type ip udp dport 67 @th,288,48 != {raw} drop"),
            ("na headers", "both", f"{na} ip6 nexthdr != 58 drop"),
            ("na length", "both", f"{na} ip6 length != {{ 24, 32 }} drop"),
            ("na option", "both", f"{na} ip6 length 32 @nh,512,64 != 0x0201{raw[2:]} drop")]


def ipv4_rules(allowed):
    rules = []
    if allowed:
        rules.append(("dhcp", "in", "ether type ip ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67 accept"))
        for prefix in allowed:
            rules += [(f"arp from {prefix}", "both", f"ether type arp arp saddr ip {prefix} accept"), (f"ip from {prefix}", "both", f"ether type ip ip saddr {prefix} accept")]
    return rules + [("arp", "both", "ether type arp drop"), ("ip", "both", "ether type ip drop")]


def ipv6_rules(allowed, mac):
    if not allowed:
        return [("ip6", "both", "ether type ip6 drop")]
    link = frames.eui64(mac)
    rules = [("ra", "both", "ether type ip6 icmpv6 type 134 drop"), ("redirect", "both", "ether type ip6 icmpv6 type 137 drop"),
             ("other link-local", "both", f"ether type ip6 ip6 saddr fe80::/10 @nh,152,16 0xfffe ip6 saddr != {link} drop"),
             ("dhcpv6", "in", "ether type ip6 ip6 saddr fe80::/10 ip6 daddr ff02::1:2 udp dport 547 accept"),
             ("rs", "in", "ether type ip6 ip6 saddr fe80::/10 ip6 daddr ff02::2 icmpv6 type 133 accept"),
             ("link-local", "in", f"ether type ip6 icmpv6 type 136 ip6 saddr {link} @nh,384,128 0x{frames.ip(link).hex()} accept"),
             ("na source", "both", f"ether type ip6 icmpv6 type 136 ip6 saddr != {{ {', '.join(map(str, allowed))}, fe80::/10 }} drop")]
    for prefix in allowed:
        bits = f"{int(prefix.network_address) >> (128 - prefix.prefixlen):x}"
        rules.append((f"na for {prefix}", "both", f"ether type ip6 icmpv6 type 136 @nh,384,{prefix.prefixlen} 0x{bits} accept"))
    rules.append(("na target", "both", "ether type ip6 icmpv6 type 136 drop"))
    rules += [(f"ip6 from {prefix}", "both", f"ether type ip6 ip6 saddr {prefix} accept") for prefix in allowed]
    return rules + [("ip6", "both", "ether type ip6 drop")]


def rules(column, port):
    """(name, chain, rule) in their order for a column of the truth table."""
    keys = {**truth_table.COLUMNS[column], **truth_table.ROUTES}
    ipv4, ipv6 = lists(keys)
    made = [] if column == "none" else link_rules(port)
    made += ipv4_rules(ipv4) if ipv4 is not None else []
    made += ipv6_rules(ipv6, port.mac) if ipv6 is not None else []
    if ipv4 is not None or ipv6 is not None:
        made.append(("other types", "both", "ether type != { arp, ip, ip6 } drop"))
    return made


def install(port, made):
    """Puts @made in the place of what was there, in one step."""
    text = [f"add table {TABLE}", f"delete table {TABLE}", f"add table {TABLE}"]
    for chain, hook, priority in (("pre", "prerouting", -300), ("in", "input", -200), ("out", "forward", -200)):
        text.append(f"add chain {TABLE} {chain} {{ type filter hook {hook} priority {priority}; policy accept; }}")
    for _, where, rule in filter(lambda rule: rule != LEARNING, made):
        text += [f"add rule {TABLE} {chain} iifname {port.host_end} {rule}" for chain in (("in", "out") if where == "both" else (where,))]
    lan.run("nft", "-f", "-", stdin="\n".join(text))
    lan.run("bridge", "link", "set", "dev", port.host_end, "learning", "off" if LEARNING in made else "on")
    lan.run("bridge", "fdb", "replace", port.mac, "dev", port.host_end, "master", "static", "sticky")


def remove():
    lan.run("nft", "delete", "table", *TABLE.split(), check=False)
