/* The anti-spoofing filter of a bridged NIC: from its configuration, and addresses that are chosen for it. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "network/nic_internal.h"

struct filter {
	struct firewall_nic nic;
	struct ip_prefix *v4;
	struct ip_prefix *v6;
};

static void filter_done(struct filter *f)
{
	free(f->v4);
	free(f->v6);
}

/* A filtered NIC whose configuration names no address gets one; none to be had: 0, and the protocol is blocked. */
static int add_allocated(struct networks *all, const struct nic *n, int family, struct ip_prefix *list, size_t *len,
			 struct error *err)
{
	struct ip_addr a = IP_ADDR_NONE;
	int r = nic_allocate(all, n, family, &a, err);

	if (r < 0)
		return r;
	if (a.family == AF_UNSPEC) {
		log_warn("no address can be given to a filtered NIC: the protocol is blocked", LOG_STR("nic", n->label),
			 LOG_STR("protocol", family == AF_INET ? "IPv4" : "IPv6"));
		return 0;
	}
	list[(*len)++] = ip_host_prefix(&a);
	return 1;
}

/* What the NIC may send of one family; *@ret_list is the caller's to free. @allocate: addresses may be chosen. */
static int make_allowed(struct networks *all, const struct nic *n, int family, bool allocate,
			struct firewall_allowed *ret, struct ip_prefix **ret_list, struct error *err)
{
	const struct nic_family *f = nic_family_of(n, family);
	struct ip_prefix *list;
	size_t len = 0;
	int r = 1;

	ret->filtered = f->filtering;
	ret->dhcp_elsewhere = !n->network.managed || !(family == AF_INET ? n->network.dhcp4 : n->network.dhcp6);
	if (!f->filtering || f->none)
		return 0;
	list = *ret_list = xnew_array(struct ip_prefix, f->n_addresses + 1 + f->n_routes);
	for (size_t i = 0; i < f->n_addresses; i++)
		list[len++] = ip_host_prefix(&f->addresses[i]);
	if (!len && allocate && n->network.managed)
		r = add_allocated(all, n, family, list, &len, err);
	if (r <= 0)
		return r;
	for (size_t i = 0; i < f->n_routes; i++)
		list[len++] = f->routes[i];
	ret->prefix = list;
	ret->n = len;
	return 0;
}

static int filter_make(struct networks *all, const struct nic *n, bool allocate, struct filter *f, struct error *err)
{
	int r;

	f->nic = (struct firewall_nic){
		.label = n->label,
		.host_if = n->host_name,
		.parent = n->parent,
		.parent_managed = n->network.managed,
		.mac = n->mac,
	};
	r = make_allowed(all, n, AF_INET, allocate, &f->nic.v4, &f->v4, err);
	if (r == 0)
		r = make_allowed(all, n, AF_INET6, allocate, &f->nic.v6, &f->v6, err);
	return r;
}

int nic_filter_check(struct networks *all, const struct nic *n, struct error *err)
{
	CLEANUP(filter_done) struct filter f = {0};
	int r;

	if (!nic_is_filtered(n))
		return 0;
	r = filter_make(all, n, /* allocate= */ false, &f, err);
	return r < 0 ? r : firewall_nic_check(networks_firewall(all), &f.nic, err);
}

int nic_filter_set(struct networks *all, const struct nic *n, struct error *err)
{
	CLEANUP(filter_done) struct filter f = {0};
	int r;

	if (!nic_is_filtered(n))
		return firewall_nic_remove(networks_firewall(all), n->label, err);
	r = filter_make(all, n, /* allocate= */ true, &f, err);
	if (r == 0)
		r = firewall_nic_set(networks_firewall(all), &f.nic, err);
	return r < 0 ? error_wrap(err, "Filter the network device") : 0;
}
