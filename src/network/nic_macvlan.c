/* NICs beside others on one interface of the host: a macvlan link in bridge mode, which moves into the container. */
#include "network/nic_internal.h"

static int macvlan_prepare(struct networks *all, const struct nic *n, struct strmap *changes UNUSED, struct error *err)
{
	return nic_parent_get(all, n, NULL, err);
}

static int macvlan_start(struct networks *all, const struct nic *n, struct nic_guest *ret, struct error *err)
{
	int r = link_add_macvlan(networks_links(all), n->host_name, n->parent, n->mtu, n->has_mac ? &n->mac : NULL,
				 err);

	if (r < 0)
		return r;
	nic_name_copy(ret->link, n->host_name);
	ret->mtu = n->mtu;
	return 0;
}

const struct nic_kind nic_macvlan = {.prefix = "mac", .prepare = macvlan_prepare, .start = macvlan_start};
