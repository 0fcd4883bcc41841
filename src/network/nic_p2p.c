/* NICs whose host's side is left to the administrator: a pair of links, with routes through it. */
#include "network/nic_internal.h"

static int p2p_start(struct networks *all, const struct nic *n, struct nic_guest *ret, struct error *err)
{
	int r = nic_veth_add(all, n, ret, err);

	if (r == 0)
		r = nic_limits_change(all, NULL, n, err);
	if (r == 0)
		r = link_set_up(networks_links(all), n->host_name, true, err);
	return r < 0 ? r : nic_routes_change(all, n->host_name, NULL, n, err);
}

static int p2p_update(struct networks *all, const struct nic *before, const struct nic *after, struct error *err)
{
	return nic_routes_change(all, after->host_name, before, after, err);
}

static int p2p_routes(struct networks *all, const struct nic *n, struct error *err)
{
	return nic_routes_change(all, n->host_name, NULL, n, err);
}

const struct nic_kind nic_p2p = {.prefix = "veth", .start = p2p_start, .update = p2p_update, .routes = p2p_routes};
