/*
 * What puts rules into the kernel: a table of functions for each way (nftables, xtables). firewall.c calls them, one at
 * a time; each change is made as a whole, or the rules of before stand.
 */
#pragma once

#include "firewall/nfnetlink.h"
#include "firewall/reaper.h"
#include "firewall/state.h"

struct firewall_driver {
	const char *name;
	/* Try what the driver needs here: 400 naming what is missing, which may be a program or a feature. *@ret is
	 * given to the other functions; @reaper is borrowed. */
	int (*start)(struct reaper *reaper, void **ret, struct error *err);
	/* Leaves the rules as they are. */
	void (*stop)(void *driver);
	/* Could this be put in force? 400 naming what is missing. */
	int (*check)(void *driver, enum firewall_kind kind, const void *item, struct error *err);
	/* Go from @before to @after (NULL: none), items with the same key; @s is the whole, with @after in it. */
	int (*change)(void *driver, const struct firewall_state *s, enum firewall_kind kind, const void *before,
		      const void *after, struct error *err);
	/* Make exactly @s, and remove whatever else is ours. */
	int (*all)(void *driver, const struct firewall_state *s, struct error *err);
	/*
	 * For drivers whose rules others may flush unseen by us, NULL for those whose rules are not watched: has nobody
	 * changed anything since our last change?
	 */
	bool (*untouched)(void *driver);
	/* Without being started: is this chain, of some family of nftables (as which the new iptables stores its own),
	 * one of those that the driver makes? */
	bool (*is_own_chain)(const struct nfnl_chain *chain);
};

extern const struct firewall_driver firewall_driver_nftables;
extern const struct firewall_driver firewall_driver_xtables;
