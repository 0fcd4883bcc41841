/*
 * Watches what happens to the rules of nftables: a thread that sleeps until the kernel tells of a change, waits until
 * the changes of the moment are over, and then says what was touched.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct firewall_watch;

enum firewall_watch_what {
	FIREWALL_WATCH_OURS = 1 << 0,   /* another program than lxd-nft changed our tables */
	FIREWALL_WATCH_LOST = 1 << 1,   /* there were more messages than room: anything may have changed */
	FIREWALL_WATCH_OTHERS = 1 << 2, /* other tables changed */
};

/*
 * Called in the watch's thread and may block; @what are firewall_watch_what bits, @who is the name of the process that
 * changed something last, "" when nobody knows. False: it has failed, and is called again later, with the same bits.
 */
typedef bool (*firewall_watch_fn)(void *arg, unsigned what, const char *who);

/* 500, also where the kernel has no nftables. */
int firewall_watch_new(firewall_watch_fn fn, void *arg, struct firewall_watch **ret, struct error *err);
/* Waits for the thread, so not with a lock that @fn takes. */
void firewall_watch_free(struct firewall_watch *w);
/* As if that had been seen. Any thread. */
void firewall_watch_poke(struct firewall_watch *w, enum firewall_watch_what what);
