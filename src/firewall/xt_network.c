/* Rules of networks and routed NICs for iptables and ip6tables. */
#include <string.h>

#include "base/alloc.h"
#include "firewall/xt_rules.h"

/* One family of a network while its rules are made. */
struct side {
	struct xt_body *b;
	const struct firewall_network *net;
	const struct firewall_subnet *subnet;
	bool v6;
};

#define COMMENT "-m comment --comment \"generated for LXD network %s\""

static void nat_rules(const struct side *s)
{
	struct ip_prefix net = ip_network(&s->subnet->address);
	const char *chain = s->subnet->nat_after ? "lxd-post-after" : "lxd-post";
	char subnet[IP_TEXT_MAX], to[IP_TEXT_MAX];
	bool snat = s->subnet->nat_address.family != AF_UNSPEC;

	if (!s->subnet->nat)
		return;
	ip_prefix_format(&net, subnet);
	xt_rule(s->b, chain, "-s %s ! -d %s " COMMENT " -j %s%s", subnet, subnet, s->net->name,
		snat ? "SNAT --to-source " : "MASQUERADE", snat ? ip_format(&s->subnet->nat_address, to) : "");
}

/* Old DHCP clients refuse answers whose checksum the network card would have filled in. */
static void mangle_rules(const struct side *s)
{
	if (s->subnet->firewall && s->subnet->dhcp)
		xt_rule(s->b, "lxd-post", "-o %s -p udp -m udp --dport 68 " COMMENT " -j CHECKSUM --checksum-fill",
			s->net->name, s->net->name);
}

static void service_rules(const struct side *s, bool in)
{
	static const char *const v4_types[] = {"3", "11", "12", NULL};
	static const char *const v6_in[] = {"1", "2", "3", "4", "133", "135", "136", "143", NULL};
	static const char *const v6_out[] = {"1", "2", "3", "4", "128", "134", "135", "136", "143", NULL};
	static const char *const protocols[] = {"tcp", "udp"};
	const char *chain = in ? "lxd-in" : "lxd-out", *way = in ? "-i" : "-o", *port = in ? "--dport" : "--sport";
	const char *const *types = s->v6 ? (in ? v6_in : v6_out) : v4_types;

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		xt_rule(s->b, chain, "%s %s -p %s -m %s %s 53 " COMMENT " -j ACCEPT", way, s->net->name, protocols[i],
			protocols[i], port, s->net->name);
	if (!s->subnet->dhcp)
		return;
	for (; *types; types++)
		xt_rule(s->b, chain, "%s %s %s %s " COMMENT " -j ACCEPT", way, s->net->name,
			s->v6 ? "-p icmpv6 -m icmp6 --icmpv6-type" : "-p icmp -m icmp --icmp-type", *types,
			s->net->name);
	xt_rule(s->b, chain, "%s %s -p udp -m udp %s %u " COMMENT " -j ACCEPT", way, s->net->name, port,
		s->v6 ? 547 : 67, s->net->name);
}

static void filter_rules(const struct side *s)
{
	const char *verdict = s->subnet->routing ? "ACCEPT"
			      : s->v6            ? "REJECT --reject-with icmp6-port-unreachable"
						 : "REJECT --reject-with icmp-port-unreachable";

	if (!s->subnet->firewall)
		return;
	service_rules(s, true);
	service_rules(s, false);
	xt_rule(s->b, "lxd-fwd", "-i %s " COMMENT " -j %s", s->net->name, s->net->name, verdict);
	xt_rule(s->b, "lxd-fwd", "-o %s " COMMENT " -j %s", s->net->name, s->net->name, verdict);
}

static const struct part {
	bool v6;
	void (*fill)(const struct side *s);
} parts[XT_TABLES] = {
	[XT_V4_MANGLE] = {false, mangle_rules}, [XT_V4_NAT] = {false, nat_rules},
	[XT_V4_FILTER] = {false, filter_rules}, [XT_V6_NAT] = {true, nat_rules},
	[XT_V6_FILTER] = {true, filter_rules},
};

void xt_render_networks(enum xt_table t, const struct firewall_state *s, struct xt_body *b)
{
	const struct firewall_list *networks = &s->lists[FIREWALL_NETWORK];

	for (size_t i = 0; i < networks->len; i++) {
		const struct firewall_network *n = networks->items[i];
		struct side side = {b, n, parts[t].v6 ? &n->v6 : &n->v4, parts[t].v6};

		if (side.subnet->address.addr.family != AF_UNSPEC)
			parts[t].fill(&side);
	}
}

void xt_render_routed(enum xt_table t, const struct firewall_state *s, struct xt_body *b)
{
	const struct firewall_list *routed = &s->lists[FIREWALL_ROUTED];
	char comment[XT_COMMENT_SIZE];

	for (size_t i = 0; i < routed->len; i++) {
		const struct firewall_routed *r = routed->items[i];

		xt_comment(comment, r->label, " rpfilter");
		/* which rpfilter lets through, for it cannot be forwarded; the host would take it */
		if (t == XT_V6_RAW)
			xt_rule(b, "lxd-pre", "-i %s -s ::/128 -m comment --comment \"%s\" -j DROP", r->host_if,
				comment);
		xt_rule(b, "lxd-pre", "-i %s -m rpfilter --invert -m comment --comment \"%s\" -j DROP", r->host_if,
			comment);
	}
}
