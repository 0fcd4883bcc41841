/* All rules at once, and the names of chains. */
#include "firewall/nft_rules.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"

#define CHAIN_KEPT 200 /* bytes of a long name that stay before the hash */
#define CHAIN_HASH 16

void nft_present_done(struct nft_present *p)
{
	for (size_t t = 0; t < NFT_TABLES; t++)
		strv_done(&p->chains[t]);
	*p = (struct nft_present){0};
}

/* What nft takes in a name, but for the slash, which marks what was replaced. */
static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-_.", c) != NULL);
}

const char *nft_chain(char buf[NFT_CHAIN_SIZE], const char *prefix, const char *label)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	char hash[SHA256_HEX + 1];

	strbuf_append(&b, prefix);
	for (const char *c = label; *c; c++) {
		if (is_plain(*c))
			strbuf_append_char(&b, *c);
		else
			strbuf_appendf(&b, "/%02x", (unsigned char)*c);
	}
	if (b.len > CHAIN_KEPT + 1 + CHAIN_HASH) {
		sha256_hex(label, strlen(label), hash);
		strbuf_truncate(&b, CHAIN_KEPT);
		strbuf_appendf(&b, "/%.*s", CHAIN_HASH, hash);
	}
	snprintf(buf, NFT_CHAIN_SIZE, "%s", strbuf_str(&b));
	return buf;
}

void nft_render_change(struct strbuf *b, enum firewall_kind kind, const void *before, const void *after)
{
	if (!before && !after)
		return;
	switch (kind) {
	case FIREWALL_NETWORK:
		nft_render_network(b, before, after);
		break;
	case FIREWALL_NIC:
		nft_render_nic(b, before, after);
		break;
	case FIREWALL_ROUTED:
		nft_render_routed(b, before, after);
		break;
	default:
		nft_render_rate(b, before, after);
	}
}

static void add_all(struct strbuf *b, const struct firewall_state *s, enum firewall_kind kind)
{
	for (size_t i = 0; i < s->lists[kind].len; i++)
		nft_render_change(b, kind, NULL, s->lists[kind].items[i]);
}

/* Chains that nobody wants any more; nothing refers to them once rules and maps are empty. */
static void delete_others(struct strbuf *b, const char *table, const struct strv *present, const struct strv *wanted)
{
	for (size_t i = 0; i < present->len; i++)
		if (!strv_contains(wanted, present->items[i]))
			strbuf_appendf(b, "delete chain %s %s\n", table, present->items[i]);
}

static void flush_table(struct strbuf *b, const char *table, const char *const *sets, size_t n)
{
	strbuf_appendf(b, "flush table %s\n", table);
	for (size_t i = 0; i < n; i++)
		strbuf_appendf(b, "flush set %s %s\n", table, sets[i]);
}

static void delete_table(struct strbuf *b, const char *table)
{
	strbuf_appendf(b, "add table %s\ndelete table %s\n", table, table);
}

static void render_bridge(struct strbuf *b, const struct firewall_state *s, const struct nft_present *present,
			  bool recreate)
{
	static const char *const sets[] = {"nic_filtered", "nic_mac", "nic_in", "nic_fwd"};
	static const char *const base[] = {"pre", "in", "forward"};
	const struct firewall_list *nics = &s->lists[FIREWALL_NIC];
	auto_strv struct strv wanted = STRV_INIT;
	bool there = present->there[NFT_BRIDGE];

	if (recreate || (there && nics->len == 0))
		delete_table(b, "bridge lxd");
	if (nics->len == 0)
		return;
	nft_render_bridge_base(b);
	if (there && !recreate) {
		for (size_t i = 0; i < ARRAY_SIZE(base); i++)
			strv_add(&wanted, base[i]);
		for (size_t i = 0; i < nics->len; i++)
			nft_nic_chains(nics->items[i], &wanted);
		flush_table(b, "bridge lxd", sets, ARRAY_SIZE(sets));
		delete_others(b, "bridge lxd", &present->chains[NFT_BRIDGE], &wanted);
	}
	nft_render_bridge_rules(b);
	add_all(b, s, FIREWALL_NIC);
}

/* Keep the table, empty it, and take away what is left over. */
static void refill_inet(struct strbuf *b, const struct firewall_list *routed, const struct strv *present,
			struct strv *wanted)
{
	static const char *const sets[] = {"nic_prert"};
	bool had_map = strv_contains(present, "prert");

	if (routed->len)
		strv_add(wanted, "prert");
	for (size_t i = 0; i < routed->len; i++)
		nft_routed_chains(routed->items[i], wanted);
	flush_table(b, "inet lxd", sets, had_map || routed->len ? 1 : 0);
	delete_others(b, "inet lxd", present, wanted);
	if (had_map && !routed->len)
		strbuf_append(b, "delete map inet lxd nic_prert\n");
}

static void render_inet(struct strbuf *b, const struct firewall_state *s, const struct nft_present *present,
			bool recreate)
{
	const struct firewall_list *networks = &s->lists[FIREWALL_NETWORK], *routed = &s->lists[FIREWALL_ROUTED];
	auto_strv struct strv wanted = STRV_INIT;
	bool there = present->there[NFT_INET], empty;

	for (size_t i = 0; i < networks->len; i++)
		nft_network_chains(networks->items[i], &wanted);
	empty = wanted.len == 0 && routed->len == 0;
	if (recreate || (there && empty))
		delete_table(b, "inet lxd");
	if (empty)
		return;
	if (routed->len)
		nft_render_routed_base(b);
	if (there && !recreate)
		refill_inet(b, routed, &present->chains[NFT_INET], &wanted);
	if (routed->len)
		nft_render_routed_rules(b);
	add_all(b, s, FIREWALL_NETWORK);
	add_all(b, s, FIREWALL_ROUTED);
}

static void render_netdev(struct strbuf *b, const struct firewall_state *s, const struct nft_present *present,
			  bool (*has_device)(const char *name))
{
	const struct firewall_list *rates = &s->lists[FIREWALL_RATE];

	if (present->there[NFT_NETDEV])
		delete_table(b, "netdev lxd");
	for (size_t i = 0; i < rates->len; i++) {
		const struct firewall_rate *r = rates->items[i];

		if (has_device(r->host_if))
			nft_render_rate(b, NULL, r);
	}
}

void nft_render_all(struct strbuf *b, const struct firewall_state *s, const struct nft_present *present, bool recreate,
		    bool (*has_device)(const char *name))
{
	render_bridge(b, s, present, recreate);
	render_inet(b, s, present, recreate);
	render_netdev(b, s, present, has_device);
}
