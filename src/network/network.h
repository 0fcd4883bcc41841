/*
 * Managed networks: bridges that the daemon makes, with addresses, routes, NAT, dnsmasq. Configuration is in the store
 * (struct db_network); what is here is the live side. A change by any route ends in network_check(), the one commit
 * point. Locks: struct networks has one of its own for changes, held across everything that a change does.
 */
#pragma once

#include <stdbool.h>

#include "base/jsonw.h"
#include "base/strmap.h"
#include "config/ip.h"
#include "db/store.h"
#include "firewall/firewall.h"
#include "network/dnsmasq.h"
#include "network/link.h"

struct networks;

struct networks_spec {
	const char *lxd_dir;
	struct store *store;
	struct loop *loop;
	struct firewall *firewall; /* borrowed, as all of these */
	struct link_ns *links;
	firewall_warn_fn warn;
	void *warn_arg;
};

struct network_view;

/*
 * Called before a network changes: do those that use it still fit? 400 naming them; nothing is changed then. The lock
 * for changes is held.
 */
typedef int (*network_check_fn)(void *arg, const struct network_view *before, const struct network_view *after,
				struct error *err);
/* A network that could not be started is there now. In a thread of its own. */
typedef void (*network_available_fn)(void *arg, const char *name);

/*
 * A network is up: at its start, or after a change, which is stored. Time to tell its dnsmasq of the NICs on it. The
 * lock for changes is held.
 */
typedef void (*network_up_fn)(void *arg, const char *name);

/* Load; nothing is started. */
int networks_new(const struct networks_spec *spec, struct networks **ret, struct error *err);
void networks_free(struct networks *all);
/* Bring every network up; what fails is logged, warned of, `Unavailable`, and tried again every minute. */
void networks_start(struct networks *all);
/* Set before networks_start(); each NULL: nobody asks. */
void networks_on_change(struct networks *all, network_check_fn check, void *arg);
/* Same. */
void networks_on_up(struct networks *all, network_up_fn fn, void *arg);
/* Same. */
void networks_on_available(struct networks *all, network_available_fn fn, void *arg);
/* Before the daemon ends: wait for the change that is going on; no other begins. */
void networks_quiesce(struct networks *all);
/* Full shutdown, after networks_quiesce(): take every network down. */
void networks_shutdown(struct networks *all);

/* What networks_new() was given. */
struct link_ns *networks_links(struct networks *all);
/* The same. */
struct firewall *networks_firewall(struct networks *all);
/* The dnsmasq of a network, NULL when there is no such network; lives until the network is deleted. */
struct dnsmasq *networks_dnsmasq(struct networks *all, const char *name);
/* "Created", "Pending" (being made or removed), "Unavailable"; "Unknown" for what is no managed network. */
const char *networks_status(struct networks *all, const char *name);
/* 503 `Network "NET" unavailable on this server` when it could not be started; 404 `Network not found`. */
int networks_available(struct networks *all, const char *name, struct error *err);

/*
 * The commit point: name, keys by table, values against each other. `auto` addresses are replaced in @config (free
 * subnets are found without sending anything), defaults are filled when @creating. @old NULL when creating.
 */
int network_check(struct networks *all, const char *name, struct strmap *config, const struct strmap *old,
		  struct error *err);

struct network_create {
	const char *name;
	const char *type; /* "" is "bridge" */
	const char *description;
	const struct strmap *config;
};

/* Errors as spec'd: 400 names and values, 400 `The network already exists`, what the kernel or dnsmasq refused. Nothing
 * stays after failure. */
int network_create(struct networks *all, const struct network_create *spec, struct error *err);
/* Replace description and configuration; on failure the old one is in force again. 404 for unmanaged ones. */
int network_update(struct networks *all, const char *name, const char *description, const struct strmap *config,
		   struct error *err);
/* The caller holds the references and has seen that nobody uses it. */
int network_rename(struct networks *all, const char *name, const char *new_name, struct error *err);
int network_delete(struct networks *all, const char *name, struct error *err);

/* --- what NICs ask --- */

/* What a NIC needs to know of the bridge that it is on: copies, for a managed one; for an unmanaged one only name. */
struct network_view {
	char name[16];
	bool managed;
	struct strmap config;
	struct ip_prefix v4; /* the bridge's addresses; AF_UNSPEC: none */
	struct ip_prefix v6;
	bool dhcp4;
	bool dhcp6;          /* dnsmasq answers DHCPv6 at all */
	bool dhcp6_stateful; /* and hands out addresses */
	unsigned mtu;        /* bridge.mtu; 0: unset */
};

#define NETWORK_VIEW_INIT ((struct network_view){0})
void network_view_done(struct network_view *v);
/* @name is a managed network: 1, else 0. */
int network_view_get(struct networks *all, const char *name, struct network_view *ret, struct error *err);
/* The view of a stored configuration that is not in force (yet); pure. */
int network_view_make(const char *name, const struct strmap *config, struct network_view *ret, struct error *err);

/* --- rendering --- */

/* What an interface that is not ours is to clients: "loopback", "bridge", "vlan", "bond", "physical", "unknown". */
const char *network_type_of_link(const struct link_info *l);
/* The state object of any interface: 404 `Network interface "x" not found`. */
int network_render_state(struct networks *all, const char *name, struct jsonw *w, struct error *err);
