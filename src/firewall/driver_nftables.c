/* The driver for nftables: texts of nft_rules.h through lxd-nft, each change one transaction. */
#include <linux/netfilter.h>
#include <net/if.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "firewall/driver.h"
#include "firewall/nfnetlink.h"
#include "firewall/nft_client.h"
#include "firewall/nft_rules.h"

/* What a kind of item needs of the kernel. Tried in tables of our own, which are gone at the end of the transaction. */
static const struct feature {
	const char *what;
	const char *script;
	bool required; /* the driver is of no use without it */
} features[FIREWALL_KINDS] = {
	[FIREWALL_NETWORK] = {"nat, forwarding and service rules of networks",
			      "add table inet lxd_probe\n"
			      "add chain inet lxd_probe n { type nat hook postrouting priority 100; }\n"
			      "add rule inet lxd_probe n ip saddr 192.0.2.0/24 masquerade\n"
			      "add chain inet lxd_probe f { type filter hook forward priority 0; }\n"
			      "add rule inet lxd_probe f meta nfproto ipv4 iifname \"lo\" reject\n"
			      "delete table inet lxd_probe\n",
			      true},
	[FIREWALL_NIC] = {"filters on bridges",
			  "add table bridge lxd_probe\n"
			  "add set bridge lxd_probe s { type ifname . ether_addr; }\n"
			  "add map bridge lxd_probe m { type ifname : verdict; }\n"
			  "add chain bridge lxd_probe p { type filter hook prerouting priority -300; }\n"
			  "add rule bridge lxd_probe p iifname . ether saddr @s icmpv6 type 136 @nh,384,60 0x0 drop\n"
			  "add rule bridge lxd_probe p iifname vmap @m\n"
			  "delete table bridge lxd_probe\n",
			  true},
	[FIREWALL_ROUTED] = {"reverse path checks (fib)",
			     "add table inet lxd_probe\n"
			     "add chain inet lxd_probe p { type filter hook prerouting priority -300; }\n"
			     "add rule inet lxd_probe p fib saddr . iif oif missing drop\n"
			     "delete table inet lxd_probe\n",
			     false},
	[FIREWALL_RATE] = {"rate limits on interfaces",
			   "add table netdev lxd_probe\n"
			   "add chain netdev lxd_probe c { type filter hook ingress device \"lo\" priority 0; }\n"
			   "add rule netdev lxd_probe c limit rate over 1000 bytes/second drop\n"
			   "delete table netdev lxd_probe\n",
			   false},
};

struct nft_driver {
	struct nft_client *client;
	int netlink;
	bool has_base;                 /* the base chains of NICs ... */
	bool has_routed_base;          /* ... and of routed NICs are there */
	char *missing[FIREWALL_KINDS]; /* why a kind cannot be had; NULL: it can */
	uint32_t generation;           /* of the rules after our last change; 0: others have changed something, too */
};

static void driver_stop(void *driver)
{
	struct nft_driver *d = driver;

	nft_client_free(d->client);
	fd_close(d->netlink);
	for (size_t k = 0; k < FIREWALL_KINDS; k++)
		free(d->missing[k]);
	free(d);
}

static uint32_t generation(struct nft_driver *d)
{
	auto_error struct error err = ERROR_INIT;
	uint32_t now = 0;

	if (nfnl_generation(d->netlink, &now, &err) < 0)
		error_ignore(&err, "then nobody knows who changed what");
	return now;
}

/* @whole: afterwards everything is as it shall be, whatever others did before. */
static int run(struct nft_driver *d, const struct strbuf *script, bool whole, struct error *err)
{
	uint32_t before = generation(d), after;
	bool ours = whole || before == d->generation;
	int r = script->len ? nft_client_run(d->client, script, err) : 0;

	after = generation(d);
	if (r == 0)
		d->generation = ours && after == before + (script->len ? 1 : 0) ? after : 0;
	return r;
}

/* Which kinds this kernel can do; an error when it lacks a required one. */
static int probe(struct nft_driver *d, struct error *err)
{
	for (size_t k = 0; k < FIREWALL_KINDS; k++) {
		auto_strbuf struct strbuf script = STRBUF_INIT;
		auto_error struct error e = ERROR_INIT;

		strbuf_append(&script, features[k].script);
		if (run(d, &script, false, &e) == 0)
			continue;
		if (features[k].required)
			return error_set(err, 400, "nftables cannot do %s here: %s", features[k].what, error_msg(&e));
		d->missing[k] = xstrdup(error_msg(&e));
	}
	return 0;
}

static int driver_start(struct reaper *reaper, void **ret, struct error *err)
{
	struct nft_driver *d = xnew(struct nft_driver);
	int r;

	d->client = nft_client_new(reaper);
	d->netlink = nfnl_open(0, err);
	r = d->netlink < 0 ? error_status(err, 400) : probe(d, err);
	if (r < 0) {
		driver_stop(d);
		return r;
	}
	*ret = d;
	return 0;
}

static int driver_check(void *driver, enum firewall_kind kind, const void *item UNUSED, struct error *err)
{
	struct nft_driver *d = driver;

	if (!d->missing[kind])
		return 0;
	return error_set(err, 400, "nftables cannot do %s here: %s", features[kind].what, d->missing[kind]);
}

/* --- everything --- */

static const int families[NFT_TABLES] = {
	[NFT_BRIDGE] = NFPROTO_BRIDGE, [NFT_INET] = NFPROTO_INET, [NFT_NETDEV] = NFPROTO_NETDEV};

static void take_chain(const struct nfnl_chain *chain, void *arg)
{
	struct nft_present *p = arg;

	for (size_t t = 0; t < NFT_TABLES; t++) {
		if (chain->family == families[t] && streq(chain->table, NFT_TABLE_NAME)) {
			p->there[t] = true;
			strv_add(&p->chains[t], chain->name);
		}
	}
}

static int read_present(struct nft_driver *d, struct nft_present *ret, struct error *err)
{
	int r = 0;

	for (size_t t = 0; t < NFT_TABLES && r == 0; t++)
		r = nfnl_chains(d->netlink, families[t], take_chain, ret, err);
	return r;
}

static bool has_device(const char *name)
{
	return if_nametoindex(name) != 0;
}

static int attempt_all(struct nft_driver *d, const struct firewall_state *s, bool recreate, struct error *err)
{
	CLEANUP(nft_present_done) struct nft_present present = {0};
	auto_strbuf struct strbuf script = STRBUF_INIT;
	int r = read_present(d, &present, err);

	if (r < 0)
		return r;
	nft_render_all(&script, s, &present, recreate, has_device);
	r = run(d, &script, true, err);
	if (r == 0) {
		d->has_base = s->lists[FIREWALL_NIC].len > 0;
		d->has_routed_base = s->lists[FIREWALL_ROUTED].len > 0;
	}
	return r;
}

static int driver_all(void *driver, const struct firewall_state *s, struct error *err)
{
	struct nft_driver *d = driver;
	auto_error struct error first = ERROR_INIT;

	int r = attempt_all(d, s, false, &first);

	if (r < 0) {
		/* tables of our name that others have made are unlike ours; and an interface may just have gone */
		log_debug("tables are made anew", LOG_ERR(&first));
		r = attempt_all(d, s, true, err);
	}
	/* at a start, or after a flush: single changes do not follow at once */
	nft_client_rest(d->client);
	return r;
}

/* --- one change --- */

static int driver_change(void *driver, const struct firewall_state *s, enum firewall_kind kind, const void *before,
			 const void *after, struct error *err)
{
	struct nft_driver *d = driver;
	auto_strbuf struct strbuf script = STRBUF_INIT;
	auto_error struct error first = ERROR_INIT, second = ERROR_INIT;
	int r = after ? driver_check(d, kind, after, err) : 0;

	if (r < 0)
		return r;
	if (kind == FIREWALL_RATE && after && !has_device(((const struct firewall_rate *)after)->host_if))
		return error_set(err, 400, "Interface \"%s\" does not exist",
				 ((const struct firewall_rate *)after)->host_if);
	if ((kind == FIREWALL_NIC && !d->has_base) || (kind == FIREWALL_ROUTED && !d->has_routed_base))
		return driver_all(d, s, err);
	nft_render_change(&script, kind, before, after);
	if (run(d, &script, false, &first) == 0)
		return 0;
	/* the kernel does not hold what we think it does, or it refuses: the first is mended, the second stays refused
	 */
	if (driver_all(d, s, &second) == 0)
		return 0;
	return error_move(err, &first);
}

static bool driver_untouched(void *driver)
{
	struct nft_driver *d = driver;

	return d->generation != 0 && d->generation == generation(d);
}

static bool is_own_chain(const struct nfnl_chain *chain)
{
	for (size_t t = 0; t < NFT_TABLES; t++)
		if (chain->family == families[t] && streq(chain->table, NFT_TABLE_NAME))
			return true;
	return false;
}

const struct firewall_driver firewall_driver_nftables = {
	.name = "nftables",
	.start = driver_start,
	.stop = driver_stop,
	.check = driver_check,
	.change = driver_change,
	.all = driver_all,
	.untouched = driver_untouched,
	.is_own_chain = is_own_chain,
};
