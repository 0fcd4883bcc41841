/*
 * One NIC of one instance: read once from its device's options into a value (nic_read.c), then made, changed and
 * removed on the host by what its type is (nic_bridged.c, nic_routed.c ...). Knows nothing of struct instance.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strmap.h"
#include "config/ip.h"
#include "config/nic_type.h"
#include "network/network.h"

/* What a NIC has of one family. */
struct nic_family {
	bool filtering;            /* security.ipvN_filtering */
	bool none;                 /* ipvN.address=none: nothing may pass */
	struct ip_addr *addresses; /* bridged: at most one */
	size_t n_addresses;
	struct ip_prefix *routes; /* ipvN.routes, then ipvN.routes.external */
	size_t n_routes;
	bool gateway;                /* routed: ipvN.gateway is not none */
	struct ip_addr host_address; /* routed */
	uint32_t host_table;         /* routed; 0: none */
	bool probe;                  /* routed: ipvN.neighbor_probe */
};

struct nic {
	enum nic_type type;
	char *project;
	char *instance;
	char *device;
	char *label;                 /* INST.DEV, or PROJECT_INST.DEV outside the default project */
	char *parent;                /* the bridge, or the parent interface; NULL: none (p2p, routed without) */
	struct network_view network; /* managed is false for unmanaged parents and other types */
	char name[16];               /* in the container; "" when not known yet (profiles) */
	char host_name[16];          /* wanted (host_name), or running (volatile); "" when neither */
	bool has_mac;
	struct mac_addr mac; /* hwaddr, else volatile.DEV.hwaddr */
	unsigned mtu;        /* 0: the parent's */
	bool mac_filtering;
	bool port_isolation;
	uint64_t ingress_bits; /* per second; 0: no limit. limits.max is in both */
	uint64_t egress_bits;
	struct nic_family v4;
	struct nic_family v6;
};

#define NIC_INIT ((struct nic){0})
#define auto_nic CLEANUP(nic_done)
void nic_done(struct nic *n);

struct nic_owner {
	const char *project;
	const char *instance;
	const char *device;
};

/*
 * Read the options of a NIC that device_validate() has accepted; @volatile_ has its volatile.DEV.* keys (NULL: none).
 * Errors: 400 with the reference's texts: an unknown network, an address that does not fit the network (spec 2.3).
 * Looks at configurations only, not at the host.
 */
int nic_read(struct networks *all, const struct nic_owner *owner, const struct strmap *options,
	     const struct strmap *volatile_, struct nic *ret, struct error *err);
/* Is there any filter? (Either IP filter includes the hardware address.) */
bool nic_is_filtered(const struct nic *n);
/* May @before become @after on a running instance without unplugging? Only live options differ. */
bool nic_change_is_live(const struct strmap *before, const struct strmap *after);
/*
 * 409 when another NIC, given by its options and volatile keys, cannot be on one network with @n: hardware address,
 * static address, DNS name (spec 2.3). Cheap enough to be asked for every NIC of the server.
 */
int nic_check_conflict(const struct nic *n, const struct nic_owner *owner, const struct strmap *options,
		       const struct strmap *volatile_, struct error *err);

/*
 * The addresses of a filtered NIC whose configuration names none: from its host entry, its lease, or the first free one
 * (spec 2.7); written to its host entry. AF_UNSPEC: the network can give none, so the protocol is blocked.
 */
int nic_allocate(struct networks *all, const struct nic *n, int family, struct ip_addr *ret, struct error *err);

/* --- the host's side (nic_host.c and one file per type) --- */

/* What the container's side of a started NIC is. */
struct nic_guest {
	int netns_fd;  /* borrowed, as nic_start() was told */
	bool inside;   /* it was made there */
	char link[16]; /* the interface; unless inside it lies in the daemon's namespace and is to be moved in */
	char name[16]; /* under this name */
	struct mac_addr mac;
	unsigned mtu;                /* 0: as it is */
	struct ip_prefix *addresses; /* routed: to be configured inside */
	size_t n_addresses;
	struct ip_addr gateway4; /* AF_UNSPEC: none; reached over the link without a subnet */
	struct ip_addr gateway6;
};

void nic_guest_done(struct nic_guest *g);

/*
 * Before nic_start(): choose the name of the host's side (@n->host_name is filled) and note in @changes, as volatile
 * keys ("volatile.eth0.host_name" ...), what nic_stop() must know after a crash: they have to be stored before
 * nic_start() is called. Changes nothing, and refuses what cannot work: 400 no name, no parent, an interface of that
 * name is there already, an address in use, a sysctl that routing needs; 503 the network is not up.
 */
int nic_prepare(struct networks *all, struct nic *n, struct strmap *changes, struct error *err);
/*
 * Make the host's side, with its filters in force before it can carry a frame. On error everything is undone. @netns_fd
 * is LINK_HERE when the instance is not running yet, else its namespace, where a pair's other end is made at once.
 */
int nic_start(struct networks *all, const struct nic *n, int netns_fd, struct nic_guest *ret, struct error *err);
/*
 * Remove all that nic_start() made, whatever of it is still there, filters last, and (physical) give the interface the
 * name and values back that it had. @volatile_ as stored; @changes gets the keys to clear. Does all it can; the first
 * error is returned.
 */
int nic_stop(struct networks *all, const struct nic *n, const struct strmap *volatile_, struct strmap *changes,
	     struct error *err);
/*
 * The same when the NIC cannot be read any more (its device or network is gone): the interface of its host_name, the
 * filters of its label.
 */
int nic_sweep(struct networks *all, const char *label, const char *device, const struct strmap *volatile_,
	      struct strmap *changes, struct error *err);
/*
 * Move the guest's end into a running container's namespace, unless it is inside, and configure it there, up. @inside
 * is a socket in it; it may be NULL when @g is not inside and has no addresses. 400 when it has an interface of that
 * name.
 */
int nic_plug(struct networks *all, const struct nic_guest *g, int netns_fd, struct link_ns *inside, struct error *err);
/* After nic_plug(): note on the host's side that the NIC is whole, for nic_is_in_place(). nic_start() with LINK_HERE
 * does. */
int nic_complete(struct networks *all, const struct nic *n, struct error *err);
/* Is it in the container whose namespace @inside is a socket of, as it is configured now? 1 or 0. */
int nic_is_inside(const struct nic *n, struct link_ns *inside, struct error *err);
/*
 * Before nic_stop() on a running container: bring back from its namespace what would not end with the host's side
 * (macvlan, physical). Fine when it is not there.
 */
int nic_unplug(struct networks *all, const struct nic *n, struct link_ns *inside, struct error *err);
/*
 * The same for a NIC of a cut change, whose device is not in the configuration: a macvlan, by the note that it was made
 * with. Goes before nic_sweep().
 */
int nic_unplug_unknown(struct networks *all, const char *device, const struct strmap *volatile_, struct link_ns *inside,
		       struct error *err);
/* Live change from @before to @after (nic_change_is_live()); on error what was before is in force. */
int nic_update(struct networks *all, const struct nic *before, const struct nic *after, struct error *err);
/*
 * What a NIC will have on other interfaces than its own (routes on its bridge, proxy entries on its parent), as
 * volatile keys in @changes: nic_prepare() does it. Before a live change: of the NIC before and after it (@also).
 */
void nic_note(const struct nic *n, const struct nic *also, struct strmap *changes);
/* Of a running instance: 1 when it is whole and in the container as far as the host's side tells, 0 when a cut change
 * left it out or unfinished. */
int nic_is_in_place(struct networks *all, const struct nic *n, struct error *err);
/*
 * After a restart of the daemon, before firewall_start(): note the filters of a running instance's NIC again, put back
 * its routes, and remove what a cut change has left. 1, or 0 when it is not in the container: then nothing is noted.
 */
int nic_resume(struct networks *all, const struct nic *n, const struct strmap *volatile_, struct error *err);
/* Put routes and proxy entries back that went when an interface was down. */
int nic_restore_routes(struct networks *all, const struct nic *n, struct error *err);
/* Host entry of dnsmasq as it shall be now (bridged on managed networks); for stopped instances too. */
int nic_host_entry_set(struct networks *all, const struct nic *n, struct error *err);
/* The same with the addresses that nic_allocate() will be asked for: for a NIC that is about to be filtered. */
int nic_host_entry_start(struct networks *all, const struct nic *n, struct error *err);
int nic_host_entry_remove(struct networks *all, const struct nic *n, struct error *err);
