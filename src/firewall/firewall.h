/*
 * Packet filters of networks and NICs. What shall be in force is noted here and put into the kernel by a driver
 * (nftables or xtables), each change as a whole or not at all: on error the rules of before stand. All functions may
 * be called by any thread.
 *
 * Only what is ours is ever touched: the tables `inet lxd`, `bridge lxd` and `netdev lxd` of nftables, and the rules
 * with our comments and chains of xtables.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "config/ip.h"

struct firewall;

/* One family of a managed network; addr.family AF_UNSPEC: the network has no such address, nothing is made. */
struct firewall_subnet {
	struct ip_prefix address;   /* the bridge's address with the subnet's length */
	bool nat;                   /* masquerade, or SNAT to nat_address */
	struct ip_addr nat_address; /* AF_UNSPEC: masquerade */
	bool nat_after;             /* xtables: append the NAT rule instead of putting it first */
	bool firewall;              /* accept what is forwarded, and DHCP, DNS and RA of the host */
	bool routing;               /* false: reject what is forwarded */
	bool dhcp;
};

struct firewall_network {
	const char *name; /* of the bridge; checked */
	struct firewall_subnet v4;
	struct firewall_subnet v6;
};

/* What a NIC may send of one family. */
struct firewall_allowed {
	bool filtered;                  /* false: anything */
	const struct ip_prefix *prefix; /* none at all: the whole protocol is blocked */
	size_t n;
	bool dhcp_elsewhere; /* the host serves no DHCP there: a client's request passes to the other ports too */
};

/* The anti-spoofing filter of a bridged NIC; the hardware address is checked whenever there is a filter. */
struct firewall_nic {
	const char *label;   /* INST.DEV or PROJECT_INST.DEV: names the chains */
	const char *host_if; /* host side of the pair; checked */
	const char *parent;  /* the bridge */
	bool parent_managed;
	struct mac_addr mac;
	struct firewall_allowed v4;
	struct firewall_allowed v6;
};

/* Something happens that an administrator should know: a warning as of api/warnings.h; @message NULL: it is over. */
typedef void (*firewall_warn_fn)(void *arg, const char *type, const char *severity, const char *entity,
				 const char *message);

#define FIREWALL_WARNING_NOT_IN_FORCE "Packet filters are not in force"

struct firewall_spec {
	struct loop *loop;
	firewall_warn_fn warn;
	void *warn_arg;
	const char *driver; /* "nftables", "xtables"; NULL or "": what works on this host */
};

/*
 * Choose the driver by trying what it needs (a scratch table, made and deleted). Never fails for want of a driver:
 * then each change that needs rules does, with the reason. Changes are only noted until firewall_start().
 */
int firewall_new(const struct firewall_spec *spec, struct firewall **ret, struct error *err);
/* Leaves all rules in force. The loop must have ended (loop_free()). */
void firewall_free(struct firewall *fw);
/*
 * Put everything that has been noted into the kernel as one change, and remove whatever else of ours is there (of
 * instances and networks that are gone). From then on changes take effect at once, and (nftables) what others flush is
 * put back, with a warning.
 */
int firewall_start(struct firewall *fw, struct error *err);
/* "nftables" or "xtables"; which one is in force. */
const char *firewall_driver(struct firewall *fw);
/*
 * Change the driver (core.firewall_driver; "" is the automatic choice): rules are made by the new one, then removed
 * from the old. 400 when it does not work here; nothing has changed then.
 */
int firewall_set_driver(struct firewall *fw, const char *driver, struct error *err);

/* Replace the rules of a network, which may become none. */
int firewall_network_set(struct firewall *fw, const struct firewall_network *n, struct error *err);
int firewall_network_remove(struct firewall *fw, const char *name, struct error *err);

/*
 * Could this filter be put in force here? 400 naming what is missing (xtables: IPv6 filtering without
 * net.bridge.bridge-nf-call-ip6tables=1); nothing is changed.
 */
int firewall_nic_check(struct firewall *fw, const struct firewall_nic *nic, struct error *err);
/* Replace the filter of this label; no frame passes unfiltered in between. */
int firewall_nic_set(struct firewall *fw, const struct firewall_nic *nic, struct error *err);
/* Fine when there is none. */
int firewall_nic_remove(struct firewall *fw, const char *label, struct error *err);

/* Reverse path check of a routed NIC: what enters on @host_if with a source not routed back through it is dropped. */
int firewall_routed_set(struct firewall *fw, const char *label, const char *host_if, struct error *err);
int firewall_routed_remove(struct firewall *fw, const char *label, struct error *err);

/*
 * Police what enters on @host_if to so many bytes a second (limits.egress where the kernel's traffic control cannot).
 * nftables only; 400 otherwise. It goes with firewall_rate_remove().
 */
int firewall_rate_set(struct firewall *fw, const char *label, const char *host_if, uint64_t bytes_per_second,
		      struct error *err);
int firewall_rate_remove(struct firewall *fw, const char *label, struct error *err);
