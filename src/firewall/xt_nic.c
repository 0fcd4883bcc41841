/* Rules of NICs for ebtables and ip6tables. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "firewall/xt_rules.h"

/* A NIC's chain of one hook while it is filled. */
struct nic_chain {
	struct xt_body *b;
	const struct firewall_nic *nic;
	char name[XT_CHAIN_SIZE];
	bool to_host;
	char mac[MAC_TEXT_MAX];
};

static const struct hook {
	const char *dispatch; /* the chain that is jumped to from the kernel's */
	const char *prefix;   /* of the NIC's chain */
	bool to_host;
} frames[] = {{"lxd-in", "lxd-in-", true}, {"lxd-fwd", "lxd-fwd-", false}},
  packets[] = {{"lxd-nic-in", "lxd-nic-in-", true}, {"lxd-nic-fwd", "lxd-nic-fwd-", false}};

static struct nic_chain begin(struct xt_body *b, const struct firewall_nic *n, const struct hook *h)
{
	struct nic_chain c = {.b = b, .nic = n, .to_host = h->to_host};

	xt_chain(c.name, h->prefix, n->label);
	mac_format(&n->mac, c.mac);
	return c;
}

/* "-o ADDRESS/LENGTH ", or nothing for all addresses. */
static const char *match_text(const char *option, const struct ip_prefix *p, char buf[IP_TEXT_MAX + 16])
{
	struct ip_prefix net = ip_network(p);
	char text[IP_TEXT_MAX];

	buf[0] = '\0';
	if (p->len)
		snprintf(buf, IP_TEXT_MAX + 16, "%s %s ", option, ip_prefix_format(&net, text));
	return buf;
}

/* The link-local address that the kernel makes of the NIC's hardware address. */
static struct ip_addr link_local(const struct firewall_nic *n)
{
	static const struct ip_prefix prefix = {.addr = {AF_INET6, {0xfe, 0x80}}, .len = 64};

	return ip_eui64(&prefix, &n->mac);
}

/* --- frames --- */

static void ipv4_rules(struct nic_chain *c)
{
	const struct firewall_allowed *a = &c->nic->v4;
	char match[IP_TEXT_MAX + 16];

	if (!a->filtered) {
		xt_rule(c->b, c->name, "-p IPv4 -j RETURN");
		xt_rule(c->b, c->name, "-p ARP -j RETURN");
		return;
	}
	if (a->n && (c->to_host || a->dhcp_elsewhere))
		xt_rule(c->b, c->name,
			"-p IPv4 --ip-src 0.0.0.0 --ip-dst 255.255.255.255 --ip-proto udp --ip-dport 67 -j RETURN");
	for (size_t i = 0; i < a->n; i++) {
		/* with the hardware address, for that implies its length, on which the place of the other depends */
		xt_rule(c->b, c->name, "-p ARP --arp-mac-src %s %s-j RETURN", c->mac,
			match_text("--arp-ip-src", &a->prefix[i], match));
		xt_rule(c->b, c->name, "-p IPv4 %s-j RETURN", match_text("--ip-src", &a->prefix[i], match));
	}
	xt_rule(c->b, c->name, "-p ARP -j DROP");
	xt_rule(c->b, c->name, "-p IPv4 -j DROP");
}

/*
 * What a client sends from link-local addresses (@source with its length) before it has another. Advertisements pass
 * here by their source; ip6tables looks at what they advertise.
 */
static void link_local_rules(struct nic_chain *c, const char *source)
{
	if (c->to_host || c->nic->v6.dhcp_elsewhere) {
		xt_rule(c->b, c->name,
			"-p IPv6 --ip6-src %s --ip6-dst ff02::1:2 --ip6-proto udp --ip6-dport 547 -j RETURN", source);
		xt_rule(c->b, c->name,
			"-p IPv6 --ip6-src %s --ip6-dst ff02::2 --ip6-proto ipv6-icmp "
			"--ip6-icmp-type 133/0:255 -j RETURN",
			source);
	}
	xt_rule(c->b, c->name, "-p IPv6 --ip6-src %s --ip6-proto ipv6-icmp --ip6-icmp-type 136/0:255 -j RETURN",
		source);
}

/* Only the own one of the link-local addresses that kernels make of hardware addresses (ff:fe in their middle). */
static void ipv6_list_rules(struct nic_chain *c)
{
	static const char icmp[] = "-p IPv6 --ip6-proto ipv6-icmp --ip6-icmp-type";
	const struct firewall_allowed *a = &c->nic->v6;
	struct ip_addr link = link_local(c->nic);
	char match[IP_TEXT_MAX + 16], own[IP_TEXT_MAX];
	bool all = false;

	xt_rule(c->b, c->name, "%s 134/0:255 -j DROP", icmp);
	xt_rule(c->b, c->name, "%s 137/0:255 -j DROP", icmp);
	for (size_t i = 0; i < a->n; i++)
		all |= a->prefix[i].len == 0;
	if (!all) {
		link_local_rules(c, ip_format(&link, own));
		xt_rule(c->b, c->name, "-p IPv6 --ip6-src fe80::ff:fe00:0/ffc0::ff:ff00:0 -j DROP");
	}
	link_local_rules(c, "fe80::/10");
	for (size_t i = 0; i < a->n; i++)
		xt_rule(c->b, c->name, "-p IPv6 %s-j RETURN", match_text("--ip6-src", &a->prefix[i], match));
}

static void ipv6_rules(struct nic_chain *c)
{
	if (!c->nic->v6.filtered) {
		xt_rule(c->b, c->name, "-p IPv6 -j RETURN");
		return;
	}
	if (c->nic->v6.n)
		ipv6_list_rules(c);
	xt_rule(c->b, c->name, "-p IPv6 -j DROP");
}

static void frame_rules(struct xt_body *b, const struct firewall_nic *n, const struct hook *h)
{
	struct nic_chain c = begin(b, n, h);

	xt_rule(b, c.name, "-s ! %s -j DROP", c.mac);
	xt_rule(b, c.name, "-p ARP --arp-mac-src ! %s -j DROP", c.mac);
	/* 802 hardware, which is taken like Ethernet, but whose addresses ebtables does not look at */
	xt_rule(b, c.name, "-p ARP --arp-htype 6 -j DROP");
	if (!n->v4.filtered && !n->v6.filtered)
		return;
	ipv4_rules(&c);
	ipv6_rules(&c);
	xt_rule(b, c.name, "-j DROP");
}

void xt_render_eb_filter(const struct firewall_state *s, struct xt_body *b)
{
	const struct firewall_list *nics = &s->lists[FIREWALL_NIC];

	for (size_t h = 0; h < ARRAY_SIZE(frames); h++) {
		for (size_t i = 0; i < nics->len; i++) {
			const struct firewall_nic *n = nics->items[i];
			char name[XT_CHAIN_SIZE];

			xt_rule(b, frames[h].dispatch, "-i %s -j %s", n->host_if,
				xt_chain(name, frames[h].prefix, n->label));
			frame_rules(b, n, &frames[h]);
		}
	}
}

void xt_render_eb_nat(const struct firewall_state *s, struct xt_body *b)
{
	const struct firewall_list *nics = &s->lists[FIREWALL_NIC];
	char mac[MAC_TEXT_MAX];

	for (size_t i = 0; i < nics->len; i++) {
		const struct firewall_nic *n = nics->items[i];

		xt_rule(b, "lxd-pre", "-i %s -s ! %s -j DROP", n->host_if, mac_format(&n->mac, mac));
	}
}

/* --- DHCP requests --- */

/*
 * The host's DHCP server knows a client by the hardware address in its message, 28 bytes behind the header of UDP;
 * whoever could name another's would be given its lease, and have its name point elsewhere. ebtables does not look
 * there.
 */
void xt_render_requests(const struct firewall_state *s, struct xt_body *b)
{
	const struct firewall_list *nics = &s->lists[FIREWALL_NIC];
	char comment[XT_COMMENT_SIZE];

	for (size_t i = 0; i < nics->len; i++) {
		const struct firewall_nic *n = nics->items[i];
		const uint8_t *m = n->mac.bytes;

		xt_rule(b, "lxd-nic-in",
			"-p udp -m udp --dport 67 -m physdev --physdev-in %s -m u32 ! --u32 "
			"\"0>>22&0x3c@36=0x%02x%02x%02x%02x&&0>>22&0x3c@40>>16=0x%02x%02x\" "
			"-m comment --comment \"%s\" -j DROP",
			n->host_if, m[0], m[1], m[2], m[3], m[4], m[5], xt_comment(comment, n->label, ""));
	}
}

/* --- neighbour advertisements --- */

static uint32_t word_at(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The target, at byte 48 of the packet, compared in words: "48=0x20010db8&&52&0xffff0000=0x90000". */
static void target_text(const struct ip_prefix *p, struct strbuf *ret)
{
	struct ip_prefix net = ip_network(p);

	for (unsigned i = 0; i * 32 < p->len; i++) {
		unsigned bits = MIN_OF(p->len - i * 32, 32u);
		const char *and = ret->len ? "&&" : "";

		if (bits == 32)
			strbuf_appendf(ret, "%s%u=0x%x", and, 48 + i * 4, word_at(net.addr.bytes + (size_t)4 * i));
		else
			strbuf_appendf(ret, "%s%u&0x%x=0x%x", and, 48 + i * 4, 0xffffffffu << (32 - bits),
				       word_at(net.addr.bytes + (size_t)4 * i));
	}
}

/* One header, none or exactly one option, and in it the own hardware address. */
static void option_rules(struct nic_chain *c)
{
	const uint8_t *m = c->nic->mac.bytes;

	xt_rule(c->b, c->name, "-m u32 ! --u32 \"3&0xff=58\" -j DROP");
	xt_rule(c->b, c->name, "-m u32 ! --u32 \"2&0xffff=24,32\" -j DROP");
	xt_rule(c->b, c->name,
		"-m u32 --u32 \"2&0xffff=32\" -m u32 ! --u32 \"64=0x0201%02x%02x&&68=0x%02x%02x%02x%02x\" -j DROP",
		m[0], m[1], m[2], m[3], m[4], m[5]);
}

static void return_target(struct nic_chain *c, const struct ip_prefix *target, const struct ip_addr *source)
{
	auto_strbuf struct strbuf match = STRBUF_INIT;
	char text[IP_TEXT_MAX];

	target_text(target, &match);
	xt_rule(c->b, c->name, "%s%s %s%s%s -j RETURN", source ? "-s " : "", source ? ip_format(source, text) : "",
		match.len ? "-m u32 --u32 \"" : "", strbuf_str(&match), match.len ? "\"" : "");
}

static void target_rules(struct nic_chain *c)
{
	const struct firewall_allowed *a = &c->nic->v6;
	struct ip_addr own = link_local(c->nic);
	struct ip_prefix own_prefix = ip_host_prefix(&own);

	if (c->to_host || a->dhcp_elsewhere)
		return_target(c, &own_prefix, &own);
	for (size_t i = 0; i < a->n; i++)
		return_target(c, &a->prefix[i], NULL);
	xt_rule(c->b, c->name, "-j DROP");
}

void xt_render_advertisements(const struct firewall_state *s, struct xt_body *b)
{
	const struct firewall_list *nics = &s->lists[FIREWALL_NIC];

	for (size_t h = 0; h < ARRAY_SIZE(packets); h++) {
		for (size_t i = 0; i < nics->len; i++) {
			const struct firewall_nic *n = nics->items[i];
			struct nic_chain c = begin(b, n, &packets[h]);
			char comment[XT_COMMENT_SIZE];

			xt_rule(b, packets[h].dispatch,
				"-p icmpv6 -m icmp6 --icmpv6-type 136 -m physdev --physdev-in %s -m comment --comment "
				"\"%s\" -j %s",
				n->host_if, xt_comment(comment, n->label, ""), c.name);
			option_rules(&c);
			if (n->v6.filtered && n->v6.n)
				target_rules(&c);
		}
	}
}
