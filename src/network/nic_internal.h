/* Shared by the files that make up nic.h. */
#pragma once

#include "network/nic.h"

/* A NIC's part of @family, AF_INET or AF_INET6. */
static inline const struct nic_family *nic_family_of(const struct nic *n, int family)
{
	return family == AF_INET ? &n->v4 : &n->v6;
}

/* --- what options mean (nic_rules.c, nic_entry.c) --- */

/* What the options mean on this network (spec 2.3); 400. Static. */
int nic_check_rules(const struct nic *n, struct error *err);
/* Its name in DNS: INST, or INST.PROJECT outside the default project; NULL when the daemon names nobody on the network.
 * The caller frees. */
char *nic_dns_name(const struct nic *n);
/* Can dnsmasq be told of it? */
bool nic_has_entry(const struct nic *n);
/* Its host entry as the configuration says; @before, the entry that is there or zeros, has addresses that were
 * allocated. The caller cleans *@ret. */
void nic_make_entry(const struct nic *n, const struct dnsmasq_host *before, struct dnsmasq_host *ret);

/* An address for a filtered NIC whose configuration names none: that of @entry (zeros: there is none) if it still fits,
 * else a free one; AF_UNSPEC: none is wanted, or the network can give none. dnsmasq_hold_hosts() is held; writes
 * nothing. */
int nic_find_address(struct dnsmasq *d, const struct nic *n, int family, const struct dnsmasq_host *entry,
		     struct ip_addr *ret, struct error *err);

/* --- the host's side --- */

/* What a type of NIC does; each slot is called through nic_host.c, which does what all types share. */
struct nic_kind {
	/* Begin of the names that are made up for the host's side: "veth", "mac"; NULL: it is named by its parent. */
	const char *prefix;
	/* Refuse what cannot work on this host, note what has to be put back. Changes nothing. NULL: no such thing. */
	int (*prepare)(struct networks *all, const struct nic *n, struct strmap *changes, struct error *err);
	/*
	 * Make the link or take it, up to where it carries frames. @ret->link is filled as soon as there is something
	 * to undo; then what the guest shall configure.
	 */
	int (*start)(struct networks *all, const struct nic *n, struct nic_guest *ret, struct error *err);
	/* Put back a link that was there before. NULL: it goes with all that is bound to it. */
	int (*stop)(struct networks *all, const struct nic *n, const struct strmap *volatile_, struct error *err);
	/* Live change beyond the limits, all or nothing. NULL: nothing else is live. */
	int (*update)(struct networks *all, const struct nic *before, const struct nic *after, struct error *err);
	/* Note filters again. NULL: there are none. */
	int (*resume)(struct networks *all, const struct nic *n, struct error *err);
	/* Put back routes and what belongs to them; what is there stays. NULL: there are none, for it is in the
	 * container. */
	int (*routes)(struct networks *all, const struct nic *n, struct error *err);
};

extern const struct nic_kind nic_bridged;
extern const struct nic_kind nic_routed;
extern const struct nic_kind nic_p2p;
extern const struct nic_kind nic_macvlan;
extern const struct nic_kind nic_physical;

/* --- what several types do (nic_parts.c) --- */

/* An interface's name, which is no longer than 15 bytes. */
void nic_name_copy(char dest[16], const char *name);

/* Steps of removing things, which go on after an error. */
struct nic_steps {
	int r;             /* of the first that failed; 0 so far */
	struct error *err; /* its error */
};

/* Note how one step went; empties @step_err. */
void nic_step(struct nic_steps *s, int r, struct error *step_err);

/* `Parent device "x" doesn't exist`. @ret may be NULL. */
int nic_parent_get(struct networks *all, const struct nic *n, struct link_info *ret, struct error *err);
/* 400 `The container has an interface named "eth0" already`. */
int nic_name_taken(const char *name, struct error *err);
/* Two ends of a pair, the host's down, not learning from router advertisements; mtu of the device, else of the parent.
 */
int nic_veth_add(struct networks *all, const struct nic *n, struct nic_guest *ret, struct error *err);
/* A sysctl of the host's side. */
int nic_sysctl(const struct nic *n, const char *family, const char *key, const char *value, struct error *err);
/* limits.ingress and limits.egress from what is in force to what shall be. */
int nic_limits_change(struct networks *all, const struct nic *before, const struct nic *after, struct error *err);

/*
 * ipvN.routes as routes out of @link (protocol boot, the bridge or the host's side): those of @before that @after lacks
 * go, those that are new come; NULL is none. On error those of @before are there.
 */
int nic_routes_change(struct networks *all, const char *link, const struct nic *before, const struct nic *after,
		      struct error *err);

/* Is @info, inside a container, the macvlan of @n, or of an earlier configuration of it under the same host_name? */
bool nic_macvlan_is(const struct nic *n, const struct link_info *info);
/* Of one that nic_macvlan_is(): was it made for the hardware address that @n has now? */
bool nic_macvlan_is_as_wanted(const struct nic *n, const struct link_info *info);

/* --- what is added to other interfaces (nic_notes.c) --- */

/*
 * Remove what @noted says of the NIC of device @device, but what @keep says too. What is gone already is fine; the
 * first error is returned.
 */
int nic_remove_noted(struct networks *all, const char *device, const struct strmap *noted, const struct strmap *keep,
		     struct error *err);

/* --- filters of bridged NICs (nic_filter.c) --- */

/* Could it be put in force here? */
int nic_filter_check(struct networks *all, const struct nic *n, struct error *err);
/* Put it in force, or take it away when there is nothing to filter. */
int nic_filter_set(struct networks *all, const struct nic *n, struct error *err);

/* --- neighbours (nic_probe.c) --- */

/*
 * Ask on @parent who has the addresses of a routed NIC, all at once, and wait 100 ms for an answer: 400 `IP address
 * "A" in use on parent network "PARENT"`.
 */
int nic_probe(struct networks *all, const struct nic *n, const struct link_info *parent, struct error *err);
