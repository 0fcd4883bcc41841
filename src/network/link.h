/*
 * Links, addresses, routes, neighbours and traffic control by rtnetlink. A `struct link_ns` is a socket in one network
 * namespace: the daemon's own, or a container's (made inside it by lxd-container). Any thread; one lock each.
 *
 * Errors are 500, name the step and the interface, and carry the kernel's errno: -ENODEV for an interface that is not
 * there, -EEXIST for one that is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "config/ip.h"

struct link_ns;

/* A socket in the calling thread's network namespace. */
int link_ns_open(struct link_ns **ret, struct error *err);
/* Takes over @sock, a bound rtnetlink socket that was made in another namespace. */
struct link_ns *link_ns_from_socket(int sock);
void link_ns_free(struct link_ns *ns);
DEFINE_CLEANUP(struct link_ns *, link_ns_free)

struct link_info {
	unsigned index;
	char name[16];
	char kind[16]; /* "bridge", "veth" ...; "" for devices without one */
	bool up;       /* IFF_UP */
	bool loopback;
	unsigned mtu;
	struct mac_addr mac;
	unsigned master; /* index; 0: none */
	unsigned parent; /* index of the lower link (vlan, macvlan); 0: none or elsewhere */
	bool peer_here;  /* veth: the other end is in this namespace, too */
	char alias[64];  /* a note for people and for us; cut, "" when there is none */
};

/* 1 when it is there, 0 when not (no error). */
int link_get(struct link_ns *ns, const char *name, struct link_info *ret, struct error *err);
/* All, in the kernel's order; the caller frees *@ret. */
int link_list(struct link_ns *ns, struct link_info **ret, size_t *ret_n, struct error *err);

/* mtu 0 and mac NULL: the kernel's choice. Made down. */
int link_add_bridge(struct link_ns *ns, const char *name, unsigned mtu, const struct mac_addr *mac, struct error *err);

#define LINK_HERE (-1)

struct link_veth {
	const char *host;                 /* this end stays; made down */
	const char *guest;                /* the other */
	int netns_fd;                     /* borrowed: where the other is made; LINK_HERE: in this namespace */
	unsigned mtu;                     /* of both; 0: the kernel's */
	const struct mac_addr *guest_mac; /* NULL: the kernel's */
};

/* A pair; both ends are down. To move an end afterwards costs the kernel some 20 ms. */
int link_add_veth(struct link_ns *ns, const struct link_veth *v, struct error *err);
/* In bridge mode on @parent. */
int link_add_macvlan(struct link_ns *ns, const char *name, const char *parent, unsigned mtu, const struct mac_addr *mac,
		     struct error *err);
/* Fine when it is not there. */
int link_delete(struct link_ns *ns, const char *name, struct error *err);

/* Up or down (IFF_UP). */
int link_set_up(struct link_ns *ns, const char *name, bool up, struct error *err);
/* Bytes. */
int link_set_mtu(struct link_ns *ns, const char *name, unsigned mtu, struct error *err);
/* Some drivers want the link to be down. */
int link_set_mac(struct link_ns *ns, const char *name, const struct mac_addr *mac, struct error *err);
/* Note something on the interface; it goes with it. */
int link_set_alias(struct link_ns *ns, const char *name, const char *alias, struct error *err);
/* The link must be down. */
int link_rename(struct link_ns *ns, const char *name, const char *new_name, struct error *err);
/* Make it a port of @master; NULL: of none. */
int link_set_master(struct link_ns *ns, const char *name, const char *master, struct error *err);

struct link_move {
	int netns_fd;         /* borrowed */
	const char *new_name; /* there */
	bool up;              /* bring it up there */
};

/* Into another namespace, under a new name, in one step. */
int link_move(struct link_ns *ns, const char *name, const struct link_move *m, struct error *err);

/* Flags of a bridge port. */
enum link_port_flag { LINK_PORT_ISOLATED, LINK_PORT_HAIRPIN, LINK_PORT_LEARNING };
int link_set_port_flag(struct link_ns *ns, const char *name, enum link_port_flag flag, bool on, struct error *err);

/*
 * Nail the hardware address @mac to the bridge port @name: the bridge learns no other there, forgets those that it has
 * learned there, and lets no other port take this one. A packet filter alone cannot do that: bridges learn from frames
 * to 01:80:c2:00:00:0e before any hook.
 */
int link_pin_port(struct link_ns *ns, const char *name, const struct mac_addr *mac, struct error *err);
/* An ordinary port again. Fine when the interface is not there. */
int link_unpin_port(struct link_ns *ns, const char *name, const struct mac_addr *mac, struct error *err);

struct link_address {
	unsigned index;
	struct ip_prefix address;
	uint8_t scope; /* RT_SCOPE_* */
};

/* Of the interface @name, or of all (NULL). The caller frees *@ret. */
int link_addresses(struct link_ns *ns, const char *name, struct link_address **ret, size_t *ret_n, struct error *err);
/* Fine when it is there. IPv6: no duplicate detection. */
int link_add_address(struct link_ns *ns, const char *name, const struct ip_prefix *a, struct error *err);
int link_remove_address(struct link_ns *ns, const char *name, const struct ip_prefix *a, struct error *err);
/* Remove those of @family (AF_INET, AF_INET6) with global scope, but not @keep (NULL: none). */
int link_flush_addresses(struct link_ns *ns, const char *name, int family, const struct ip_prefix *keep,
			 struct error *err);

struct link_route {
	int family;
	struct ip_prefix dest; /* len 0: the default route; its family is @family too */
	struct ip_addr via;    /* AF_UNSPEC: none */
	struct ip_addr source; /* preferred; AF_UNSPEC: none */
	unsigned index;        /* output link; filled in lists */
	uint32_t table;        /* 0: main */
	uint8_t protocol;      /* RTPROT_BOOT, RTPROT_STATIC ...; 0: boot */
	bool on_link;          /* scope link: no gateway */
};

/* All routes of all unicast tables, both families; the caller frees. */
int link_routes(struct link_ns *ns, struct link_route **ret, size_t *ret_n, struct error *err);
/* Out of @name. Fine when the same is there. */
int link_add_route(struct link_ns *ns, const char *name, const struct link_route *r, struct error *err);
/* Fine when it is not there. */
int link_remove_route(struct link_ns *ns, const char *name, const struct link_route *r, struct error *err);

/* A proxy entry (ARP or NDP) for @a on @name; removing is fine when it is not there. */
int link_add_proxy(struct link_ns *ns, const char *name, const struct ip_addr *a, struct error *err);
int link_remove_proxy(struct link_ns *ns, const char *name, const struct ip_addr *a, struct error *err);

/*
 * What leaves through @name (to a container: limits.ingress) is shaped to so many bits a second with HTB; 0 removes
 * the limit.
 */
int link_set_shaping(struct link_ns *ns, const char *name, uint64_t bits_per_second, struct error *err);
/*
 * What enters through @name (limits.egress) is policed; 0 removes the limit. -EOPNOTSUPP (no message for the user yet):
 * the kernel has no police action; nothing has changed.
 */
int link_set_policing(struct link_ns *ns, const char *name, uint64_t bits_per_second, struct error *err);

/*
 * /proc/sys/net/<family>/conf/<name>/<key> of the daemon's own namespace; @family "ipv4", "ipv6"; @name also "all" and
 * "default". Absence of the whole family (no IPv6) is fine when writing: nothing is done; reading gives -ENOENT.
 */
int link_sysctl_write(const char *family, const char *name, const char *key, const char *value, struct error *err);
int link_sysctl_read(const char *family, const char *name, const char *key, int *ret, struct error *err);
/* Does the kernel have IPv6? */
bool link_have_ipv6(void);

/* 2 to 15 of letters, digits, - _ . and not "." or "..". 400 with the reference's texts ("Network interface is too
 * short ..."). */
int link_name_check(const char *name, struct error *err);
