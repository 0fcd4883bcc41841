/* Rules of managed networks, of routed NICs and of rate limits. */
#include <string.h>

#include "base/alloc.h"
#include "firewall/nft_rules.h"

#define TABLE "inet lxd"

/* One family of a network, and how nft writes it. */
struct side {
	const struct firewall_network *net;
	const struct firewall_subnet *subnet;
	const char *nfproto; /* "ipv4" */
	const char *ip;      /* "ip" */
	const char *icmp;
	unsigned dhcp_port;
	const char *icmp_in; /* types that the host takes and sends while it serves DHCP */
	const char *icmp_out;
};

static void sides(const struct firewall_network *n, struct side ret[2])
{
	ret[0] = (struct side){n, &n->v4, "ipv4", "ip", "icmp", 67, "3, 11, 12", "3, 11, 12"};
	ret[1] = (struct side){n,
			       &n->v6,
			       "ipv6",
			       "ip6",
			       "icmpv6",
			       547,
			       "1, 2, 3, 4, 133, 135, 136, 143",
			       "1, 2, 3, 4, 128, 134, 135, 136, 143"};
}

static bool exists(const struct side *s)
{
	return s->subnet->address.addr.family != AF_UNSPEC;
}

static bool wants_nat(const struct side *s)
{
	return exists(s) && s->subnet->nat;
}

static bool wants_filter(const struct side *s)
{
	return exists(s) && s->subnet->firewall;
}

static void nat_rules(struct strbuf *b, const struct side *s, const char *chain)
{
	struct ip_prefix net = ip_network(&s->subnet->address);
	char subnet[IP_TEXT_MAX], to[IP_TEXT_MAX];

	ip_prefix_format(&net, subnet);
	strbuf_appendf(b, "add rule " TABLE " %s %s saddr %s %s daddr != %s ", chain, s->ip, subnet, s->ip, subnet);
	if (s->subnet->nat_address.family == AF_UNSPEC)
		strbuf_append(b, "masquerade\n");
	else
		strbuf_appendf(b, "snat %s to %s\n", s->ip, ip_format(&s->subnet->nat_address, to));
}

static void forward_rules(struct strbuf *b, const struct side *s, const char *chain)
{
	static const char *const ways[] = {"oifname", "iifname"};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		strbuf_appendf(b, "add rule " TABLE " %s meta nfproto %s %s \"%s\" %s\n", chain, s->nfproto, ways[i],
			       s->net->name, s->subnet->routing ? "accept" : "reject");
}

/* What the host serves on the bridge, as it comes (@in) or goes. */
static void service_rules(struct strbuf *b, const struct side *s, const char *chain, bool in)
{
	const char *way = in ? "iifname" : "oifname", *port = in ? "dport" : "sport";

	if (!s->subnet->dhcp)
		return;
	strbuf_appendf(b, "add rule " TABLE " %s %s \"%s\" %s type { %s } accept\n", chain, way, s->net->name, s->icmp,
		       in ? s->icmp_in : s->icmp_out);
	strbuf_appendf(b, "add rule " TABLE " %s %s \"%s\" meta nfproto %s udp %s %u accept\n", chain, way,
		       s->net->name, s->nfproto, port, s->dhcp_port);
}

static void dns_rules(struct strbuf *b, const struct firewall_network *n, const char *chain, bool in)
{
	static const char *const protocols[] = {"tcp", "udp"};

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		strbuf_appendf(b, "add rule " TABLE " %s %s \"%s\" %s %s 53 accept\n", chain,
			       in ? "iifname" : "oifname", n->name, protocols[i], in ? "dport" : "sport");
}

static void in_rules(struct strbuf *b, const struct side *s, const char *chain)
{
	service_rules(b, s, chain, true);
}

static void out_rules(struct strbuf *b, const struct side *s, const char *chain)
{
	service_rules(b, s, chain, false);
}

static const struct network_chain {
	const char *prefix;
	const char *hook;
	bool (*wanted)(const struct side *s);
	void (*fill)(struct strbuf *b, const struct side *s, const char *chain);
	bool dns;
	bool in;
} chains[] = {
	{"pstrt.", "type nat hook postrouting priority 100", wants_nat, nat_rules, false, false},
	{"fwd.", "type filter hook forward priority 0", wants_filter, forward_rules, false, false},
	{"in.", "type filter hook input priority 0", wants_filter, in_rules, true, true},
	{"out.", "type filter hook output priority 0", wants_filter, out_rules, true, false},
};

static bool has_chain(const struct firewall_network *n, const struct network_chain *c)
{
	struct side s[2];

	if (!n)
		return false;
	sides(n, s);
	return c->wanted(&s[0]) || c->wanted(&s[1]);
}

static void fill(struct strbuf *b, const struct firewall_network *n, const struct network_chain *c, const char *name)
{
	struct side s[2];

	sides(n, s);
	if (c->dns)
		dns_rules(b, n, name, c->in);
	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		if (c->wanted(&s[i]))
			c->fill(b, &s[i], name);
}

static void render_chain(struct strbuf *b, const struct network_chain *c, const struct firewall_network *before,
			 const struct firewall_network *after)
{
	bool had = has_chain(before, c), has = has_chain(after, c);
	char name[NFT_CHAIN_SIZE];

	nft_chain(name, c->prefix, before ? before->name : after->name);
	if (has)
		strbuf_appendf(b, "add chain " TABLE " %s { %s; policy accept; }\n", name, c->hook);
	if (had)
		strbuf_appendf(b, "flush chain " TABLE " %s\n", name);
	if (has)
		fill(b, after, c, name);
	else if (had)
		strbuf_appendf(b, "delete chain " TABLE " %s\n", name);
}

void nft_render_network(struct strbuf *b, const struct firewall_network *before, const struct firewall_network *after)
{
	auto_strbuf struct strbuf rules = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
		render_chain(&rules, &chains[i], before, after);
	if (rules.len)
		strbuf_appendf(b, "add table " TABLE "\n%s", strbuf_str(&rules));
}

void nft_network_chains(const struct firewall_network *n, struct strv *ret)
{
	char name[NFT_CHAIN_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
		if (has_chain(n, &chains[i]))
			strv_add(ret, nft_chain(name, chains[i].prefix, n->name));
}

/* --- routed NICs --- */

void nft_render_routed_base(struct strbuf *b)
{
	strbuf_append(b, "add table " TABLE "\n"
			 "add map " TABLE " nic_prert { type ifname : verdict; }\n"
			 "add chain " TABLE " prert { type filter hook prerouting priority -300; policy accept; }\n");
}

void nft_render_routed_rules(struct strbuf *b)
{
	strbuf_append(b, "add rule " TABLE " prert iifname vmap @nic_prert\n");
}

void nft_render_routed(struct strbuf *b, const struct firewall_routed *before, const struct firewall_routed *after)
{
	char name[NFT_CHAIN_SIZE];

	nft_chain(name, "prert.", before ? before->label : after->label);
	if (before)
		strbuf_appendf(b,
			       "delete element " TABLE " nic_prert { \"%s\" : jump %s }\n"
			       "flush chain " TABLE " %s\n",
			       before->host_if, name, name);
	else
		strbuf_appendf(b, "add chain " TABLE " %s\n", name);
	if (after)
		strbuf_appendf(b,
			       "add rule " TABLE " %s iifname \"%s\" fib saddr . iif oif missing drop\n"
			       "add element " TABLE " nic_prert { \"%s\" : jump %s }\n",
			       name, after->host_if, after->host_if, name);
	else
		strbuf_appendf(b, "delete chain " TABLE " %s\n", name);
}

void nft_routed_chains(const struct firewall_routed *r, struct strv *ret)
{
	char name[NFT_CHAIN_SIZE];

	strv_add(ret, nft_chain(name, "prert.", r->label));
}

/* --- rate limits --- */

#define RATE_BURST (1024u * 1024) /* bytes at once after a pause */

void nft_render_rate(struct strbuf *b, const struct firewall_rate *before, const struct firewall_rate *after)
{
	char name[NFT_CHAIN_SIZE];

	nft_chain(name, "rate.", before ? before->label : after->label);
	strbuf_append(b, "add table netdev lxd\n");
	/* it may be gone with its interface: then an empty one is made first */
	if (before)
		strbuf_appendf(b, "add chain netdev lxd %s\nflush chain netdev lxd %s\ndelete chain netdev lxd %s\n",
			       name, name, name);
	if (after)
		strbuf_appendf(b,
			       "add chain netdev lxd %s { type filter hook ingress device \"%s\" priority 0; "
			       "policy accept; }\n"
			       "add rule netdev lxd %s limit rate over %llu bytes/second burst %u bytes drop\n",
			       name, after->host_if, name, (unsigned long long)after->bytes_per_second, RATE_BURST);
}
