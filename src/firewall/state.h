/*
 * What shall be in force, as values of our own: networks, filters of NICs, reverse path checks, rate limits, each list
 * ordered by name or label.
 */
#pragma once

#include "firewall/firewall.h"

enum firewall_kind { FIREWALL_NETWORK, FIREWALL_NIC, FIREWALL_ROUTED, FIREWALL_RATE, FIREWALL_KINDS };

struct firewall_routed {
	const char *label;
	const char *host_if;
};

struct firewall_rate {
	const char *label;
	const char *host_if;
	uint64_t bytes_per_second;
};

/* Structs of one kind, each one block of memory that begins with its name or label. */
struct firewall_list {
	void **items; /* in order; owned */
	size_t len;
};

struct firewall_state {
	struct firewall_list lists[FIREWALL_KINDS];
};

void firewall_state_done(struct firewall_state *s);

/* Deep copies, each in one block: free() frees all of it. */
struct firewall_network *firewall_network_copy(const struct firewall_network *n);
struct firewall_nic *firewall_nic_copy(const struct firewall_nic *n);
struct firewall_routed *firewall_routed_new(const char *label, const char *host_if);
struct firewall_rate *firewall_rate_new(const char *label, const char *host_if, uint64_t bytes_per_second);

/* The item of this name or label, or NULL; borrowed. */
void *firewall_list_get(const struct firewall_list *l, const char *key);
/* Put @item, which the list owns from now on, in place of the one with its key (which is freed). */
void firewall_list_put(struct firewall_list *l, void *item);
/* Take the item of this key out: the caller's; NULL: there is none. */
void *firewall_list_take(struct firewall_list *l, const char *key);
