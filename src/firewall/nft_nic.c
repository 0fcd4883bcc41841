/* Rules of bridged NICs: who may send what (see nft_rules.h for how the chains hang together). */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "firewall/nft_rules.h"

#define TABLE "bridge lxd"
#define LINK_LOCAL "fe80::/10"

/*
 * Rules that accept name the type in the frame's header: without it nft looks at what the kernel says is inside, which
 * for a tagged frame is what follows the tag. A listing shows "ether type ip ip saddr" as "ip saddr".
 */

/* One chain of a NIC while it is filled. */
struct nic_chain {
	struct strbuf *b;
	const struct firewall_nic *nic;
	const char *prefix; /* "in." or "fwd." */
	bool to_host;
	char mac[MAC_TEXT_MAX];
	char mac_hex[13];
};

static void rule(struct nic_chain *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void rule(struct nic_chain *c, const char *fmt, ...)
{
	char name[NFT_CHAIN_SIZE];
	va_list ap;

	strbuf_appendf(c->b, "add rule " TABLE " %s iifname \"%s\" ", nft_chain(name, c->prefix, c->nic->label),
		       c->nic->host_if);
	va_start(ap, fmt);
	strbuf_vappendf(c->b, fmt, ap);
	va_end(ap);
	strbuf_append_char(c->b, '\n');
}

/* "192.0.2.10", or "198.51.100.0/24". */
static const char *prefix_text(const struct ip_prefix *p, char buf[IP_TEXT_MAX])
{
	struct ip_prefix net = ip_network(p);

	return p->len == ip_bits(p->addr.family) ? ip_format(&p->addr, buf) : ip_prefix_format(&net, buf);
}

/* The first @len bits of an address as a hexadecimal number. */
static void bits_hex(const struct ip_addr *a, unsigned len, char buf[33])
{
	unsigned shift = (4 - len % 4) % 4, digits = (len + 3) / 4, before = 0;

	for (unsigned i = 0; i < digits; i++) {
		unsigned digit = i % 2 ? a->bytes[i / 2] & 0xf : a->bytes[i / 2] >> 4;

		snprintf(buf + i, 2, "%x", (before << 4 | digit) >> shift & 0xf);
		before = digit;
	}
}

/* The link-local address that the kernel makes of the NIC's hardware address. */
static struct ip_addr link_local(const struct firewall_nic *n)
{
	static const struct ip_prefix prefix = {.addr = {AF_INET6, {0xfe, 0x80}}, .len = 64};

	return ip_eui64(&prefix, &n->mac);
}

/* Hardware addresses: of the frame, inside ARP, and in neighbour advertisements, which may have one option. */
static void mac_rules(struct nic_chain *c)
{
	const char *na = "ether type ip6 icmpv6 type 136";

	rule(c, "ether saddr != %s drop", c->mac);
	rule(c, "ether type arp arp saddr ether != %s drop", c->mac);
	rule(c, "%s @nh,528,48 != 0x%s drop", na, c->mac_hex);
	rule(c, "%s ip6 nexthdr != 58 drop", na);
	rule(c, "%s ip6 length != 24 ip6 length != 32 drop", na);
	rule(c, "%s ip6 length 32 @nh,512,64 != 0x0201%s drop", na, c->mac_hex);
}

/*
 * The host's DHCP server knows a client by the hardware address in its message, 28 bytes behind the header of UDP;
 * whoever could name another's would be given its lease, and have its name point elsewhere. Clients send no fragments.
 */
static void dhcp_rules(struct nic_chain *c)
{
	rule(c, "ether type ip udp dport 67 @th,288,48 != 0x%s drop", c->mac_hex);
	rule(c, "ether type ip udp dport 67 ip frag-off & 0x2000 != 0 drop");
}

static bool has_all(const struct firewall_allowed *a)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->prefix[i].len == 0)
			return true;
	return false;
}

static void ipv4_rules(struct nic_chain *c)
{
	const struct firewall_allowed *a = &c->nic->v4;
	char text[IP_TEXT_MAX];

	if (a->n && (c->to_host || a->dhcp_elsewhere))
		rule(c, "ether type ip ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67 @th,288,48 0x%s accept",
		     c->mac_hex);
	if (has_all(a)) {
		rule(c, "ether type arp accept");
		rule(c, "ether type ip accept");
	}
	for (size_t i = 0; i < a->n && !has_all(a); i++) {
		rule(c, "ether type arp arp saddr ip %s accept", prefix_text(&a->prefix[i], text));
		rule(c, "ether type ip ip saddr %s accept", prefix_text(&a->prefix[i], text));
	}
	rule(c, "ether type 0x0806 drop");
	rule(c, "ether type 0x0800 drop");
}

/*
 * A link-local address that a kernel has made of another hardware address (ff:fe in its middle): whoever hears it would
 * take ours for the way to there, be it in a router solicitation alone.
 */
static void other_link_local_rule(struct nic_chain *c)
{
	struct ip_addr own = link_local(c->nic);
	char text[IP_TEXT_MAX];

	rule(c, "ether type ip6 ip6 saddr " LINK_LOCAL " @nh,152,16 0xfffe ip6 saddr != %s drop",
	     ip_format(&own, text));
}

/* What a client needs before it has an address: DHCPv6, router solicitation, and to be found by its link-local one. */
static void ipv6_client_rules(struct nic_chain *c)
{
	struct ip_addr own = link_local(c->nic);
	char text[IP_TEXT_MAX], hex[33];

	bits_hex(&own, 128, hex);
	ip_format(&own, text);
	rule(c, "ether type ip6 ip6 saddr " LINK_LOCAL " ip6 daddr ff02::1:2 udp dport 547 accept");
	rule(c, "ether type ip6 ip6 saddr " LINK_LOCAL " ip6 daddr ff02::2 icmpv6 type 133 accept");
	rule(c, "ether type ip6 icmpv6 type 136 ip6 saddr %s @nh,384,128 0x%s accept", text, hex);
}

/* An advertisement from a foreign address, even of an own one. */
static void advertiser_rule(struct nic_chain *c)
{
	const struct firewall_allowed *a = &c->nic->v6;
	auto_strbuf struct strbuf match = STRBUF_INIT;
	char text[IP_TEXT_MAX];

	for (size_t i = 0; i < a->n; i++)
		strbuf_appendf(&match, "ip6 saddr != %s ", prefix_text(&a->prefix[i], text));
	rule(c, "ether type ip6 icmpv6 type 136 %sip6 saddr != " LINK_LOCAL " drop", strbuf_str(&match));
}

static void ipv6_list_rules(struct nic_chain *c)
{
	const struct firewall_allowed *a = &c->nic->v6;
	char text[IP_TEXT_MAX], hex[33];

	rule(c, "ether type ip6 icmpv6 type 134 drop");
	rule(c, "ether type ip6 icmpv6 type 137 drop");
	if (!has_all(a))
		other_link_local_rule(c);
	if (c->to_host || a->dhcp_elsewhere)
		ipv6_client_rules(c);
	if (has_all(a)) {
		rule(c, "ether type ip6 accept");
		return;
	}
	advertiser_rule(c);
	for (size_t i = 0; i < a->n; i++) {
		bits_hex(&a->prefix[i].addr, a->prefix[i].len, hex);
		rule(c, "ether type ip6 icmpv6 type 136 @nh,384,%u 0x%s accept", a->prefix[i].len, hex);
	}
	rule(c, "ether type ip6 icmpv6 type 136 drop");
	for (size_t i = 0; i < a->n; i++)
		rule(c, "ether type ip6 ip6 saddr %s accept", prefix_text(&a->prefix[i], text));
}

static void fill_chain(struct strbuf *b, const struct firewall_nic *n, const char *prefix, bool to_host)
{
	struct nic_chain c = {.b = b, .nic = n, .prefix = prefix, .to_host = to_host};
	const uint8_t *m = n->mac.bytes;

	mac_format(&n->mac, c.mac);
	snprintf(c.mac_hex, sizeof(c.mac_hex), "%02x%02x%02x%02x%02x%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	mac_rules(&c);
	if (to_host)
		dhcp_rules(&c);
	if (n->v4.filtered)
		ipv4_rules(&c);
	if (n->v6.filtered && n->v6.n)
		ipv6_list_rules(&c);
	if (n->v6.filtered)
		rule(&c, "ether type 0x86dd drop");
	/* a tagged frame shows the type of its tag */
	if (n->v4.filtered || n->v6.filtered)
		rule(&c, "ether type != arp ether type != ip ether type != ip6 drop");
}

static const struct {
	const char *prefix;
	const char *map;
	bool to_host;
} chains[] = {{"in.", "nic_in", true}, {"fwd.", "nic_fwd", false}};

/* @verb is "add" or "delete". */
static void elements(struct strbuf *b, const char *verb, const struct firewall_nic *n)
{
	char name[NFT_CHAIN_SIZE], mac[MAC_TEXT_MAX];

	strbuf_appendf(b, "%s element " TABLE " nic_filtered { \"%s\" }\n", verb, n->host_if);
	strbuf_appendf(b, "%s element " TABLE " nic_mac { \"%s\" . %s }\n", verb, n->host_if, mac_format(&n->mac, mac));
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
		strbuf_appendf(b, "%s element " TABLE " %s { \"%s\" : jump %s }\n", verb, chains[i].map, n->host_if,
			       nft_chain(name, chains[i].prefix, n->label));
}

static bool same_elements(const struct firewall_nic *a, const struct firewall_nic *b)
{
	return strcmp(a->host_if, b->host_if) == 0 && memcmp(&a->mac, &b->mac, sizeof(a->mac)) == 0;
}

void nft_render_nic(struct strbuf *b, const struct firewall_nic *before, const struct firewall_nic *after)
{
	bool same = before && after && same_elements(before, after);
	char name[NFT_CHAIN_SIZE];

	if (before && !same)
		elements(b, "delete", before);
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		nft_chain(name, chains[i].prefix, before ? before->label : after->label);
		strbuf_appendf(b, "%s chain " TABLE " %s\n", before ? "flush" : "add", name);
		if (after)
			fill_chain(b, after, chains[i].prefix, chains[i].to_host);
		else
			strbuf_appendf(b, "delete chain " TABLE " %s\n", name);
	}
	if (after && !same)
		elements(b, "add", after);
}

void nft_nic_chains(const struct firewall_nic *n, struct strv *ret)
{
	char name[NFT_CHAIN_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
		strv_add(ret, nft_chain(name, chains[i].prefix, n->label));
}

void nft_render_bridge_base(struct strbuf *b)
{
	strbuf_append(b, "add table " TABLE "\n"
			 "add set " TABLE " nic_filtered { type ifname; }\n"
			 "add set " TABLE " nic_mac { type ifname . ether_addr; }\n"
			 "add map " TABLE " nic_in { type ifname : verdict; }\n"
			 "add map " TABLE " nic_fwd { type ifname : verdict; }\n"
			 "add chain " TABLE " pre { type filter hook prerouting priority -300; policy accept; }\n"
			 "add chain " TABLE " in { type filter hook input priority -200; policy accept; }\n"
			 "add chain " TABLE " forward { type filter hook forward priority -200; policy accept; }\n");
}

void nft_render_bridge_rules(struct strbuf *b)
{
	strbuf_append(b, "add rule " TABLE " pre iifname @nic_filtered iifname . ether saddr != @nic_mac drop\n"
			 "add rule " TABLE " in iifname vmap @nic_in\n"
			 "add rule " TABLE " forward iifname vmap @nic_fwd\n");
}
