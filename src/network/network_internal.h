/* Shared by the files that make up network.h. */
#pragma once

#include "base/thread.h"
#include "network/network.h"

/* The live side of one network; the row in the store has the rest. */
struct network {
	char *name;
	struct dnsmasq *dnsmasq;
	bool available;
};

struct networks {
	char *dir; /* $LXD_DIR/networks */
	char *logs;
	struct store *store;
	struct loop *loop;
	struct firewall *firewall;
	struct link_ns *links;
	firewall_warn_fn warn;
	void *warn_arg;
	network_check_fn check;
	void *check_arg;
	network_up_fn on_up;
	void *up_arg;
	network_available_fn on_available;
	void *available_arg;
	struct loop_timer *retry; /* loop's thread */

	struct mutex change; /* one change at a time: held across the kernel, dnsmasq and the database */
	struct mutex lock;   /* the list; short */
	struct network **list GUARDED_BY(lock);
	size_t n GUARDED_BY(lock);
};

/* --- network.c: the list. Networks come and go under the lock for changes: who holds it may keep what this returns.
 * --- */

/* NULL: there is none. */
struct network *network_find(struct networks *all, const char *name);
/* Not available yet. */
struct network *network_add(struct networks *all, const char *name);
/* Frees @n; its dnsmasq goes on. */
void network_drop(struct networks *all, struct network *n);
/* May NICs come to it? */
void network_set_available(struct networks *all, struct network *n, bool available);
/* It is as its row in the store says: they may, and its dnsmasq is told of them. */
void network_set_up(struct networks *all, struct network *n);
/* Raise the warning that a network is not available; NULL: it is. */
void network_tell(struct networks *all, const char *name, const char *message);

/* --- network_change.c; the lock for changes is held --- */

/* Remove all that a network is, the row last: until then a restart begins here again. */
int network_remove_all(struct networks *all, const struct db_network *row, struct network *n, struct error *err);
/* The row under its old name again, all that moved moved back, and up. */
int network_undo_rename(struct networks *all, struct db_network *row, struct network *n, struct error *err);

/* --- network_bridge.c: the bridge and all that hangs on it --- */

/*
 * Make what is there be as @row says: the bridge (which is made when it is not there), settings, addresses, routes,
 * rules, dnsmasq. @before: the configuration that was in force, NULL: none. -EEXIST (400): an interface of this name
 * that is not ours. On failure it is somewhere between the two.
 */
int network_bring_up(struct networks *all, const struct db_network *row, struct dnsmasq *d, const struct strmap *before,
		     struct error *err);
/* Remove all of it, whatever is there; the folder stays. Does all it can; the first error is returned. */
int network_take_down(struct networks *all, const struct db_network *row, struct dnsmasq *d, struct error *err);
/* The network's folder and its dnsmasq's log. */
int network_remove_files(struct networks *all, const char *name, struct error *err);

/* --- network_subnet.c: subnets that nothing uses --- */

/* As "10.1.2.1/24" or "fd42:1:2:3::1/64"; the caller frees. 500 when none was found. Sends nothing. */
int network_find_subnet(struct networks *all, int family, char **ret, struct error *err);
