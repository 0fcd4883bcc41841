/* NICs on a bridge, managed or not: a pair of links, one end of which is a port of the bridge. */
#include "base/log.h"
#include "base/str.h"
#include "network/nic_internal.h"

static int check_bridge(struct networks *all, const struct nic *n, struct error *err)
{
	struct link_info parent = {0};
	int r = nic_parent_get(all, n, &parent, err);

	if (r < 0)
		return r;
	if (!streq(parent.kind, "bridge"))
		return error_set(err, 400, "Parent device \"%s\" is not a bridge", n->parent);
	return 0;
}

static int bridged_prepare(struct networks *all, const struct nic *n, struct strmap *changes UNUSED, struct error *err)
{
	int r = n->network.managed ? networks_available(all, n->network.name, err) : 0;

	if (r == 0)
		r = check_bridge(all, n, err);
	return r < 0 ? r : nic_filter_check(all, n, err);
}

/*
 * A filtered NIC is nailed to its port, so that it cannot draw the traffic of others there: the bridge learns from some
 * frames before any filter sees them.
 */
static int set_pin(struct networks *all, const struct nic *n, struct error *err)
{
	struct link_ns *links = networks_links(all);

	return nic_is_filtered(n) ? link_pin_port(links, n->host_name, &n->mac, err)
				  : link_unpin_port(links, n->host_name, &n->mac, err);
}

/* The filter stands before the port can hand a frame to the bridge, and the port is a whole one before it is up. */
static int bridged_start(struct networks *all, const struct nic *n, struct nic_guest *ret, struct error *err)
{
	struct link_ns *links = networks_links(all);
	int r = nic_veth_add(all, n, ret, err);

	if (r < 0)
		return r;
	r = nic_sysctl(n, "ipv6", "disable_ipv6", "1", err);
	if (r == 0)
		r = nic_host_entry_start(all, n, err);
	if (r == 0)
		r = nic_filter_set(all, n, err);
	if (r == 0)
		r = nic_limits_change(all, NULL, n, err);
	if (r == 0)
		r = link_set_master(links, n->host_name, n->parent, err);
	if (r == 0 && nic_is_filtered(n))
		r = set_pin(all, n, err);
	if (r == 0 && n->port_isolation)
		r = link_set_port_flag(links, n->host_name, LINK_PORT_ISOLATED, true, err);
	if (r == 0)
		r = nic_routes_change(all, n->parent, NULL, n, err);
	return r < 0 ? r : link_set_up(links, n->host_name, true, err);
}

static void undo_update(struct networks *all, const struct nic *before, const struct nic *after)
{
	struct nic_steps steps = {.err = &(struct error){0}};
	auto_error struct error e = ERROR_INIT;

	nic_step(&steps, nic_filter_set(all, before, &e), &e);
	nic_step(&steps, set_pin(all, before, &e), &e);
	nic_step(&steps, nic_host_entry_set(all, before, &e), &e);
	nic_step(&steps, nic_routes_change(all, before->parent, after, before, &e), &e);
	if (steps.r < 0)
		log_error("a refused change of a network device is still in force", LOG_STR("nic", before->label),
			  LOG_ERR(steps.err));
	error_clear(steps.err);
}

static int bridged_update(struct networks *all, const struct nic *before, const struct nic *after, struct error *err)
{
	int r = nic_filter_check(all, after, err);

	if (r < 0)
		return r;
	r = nic_routes_change(all, after->parent, before, after, err);
	if (r < 0)
		return r;
	r = nic_host_entry_start(all, after, err);
	if (r == 0 && nic_is_filtered(after))
		r = set_pin(all, after, err);
	if (r == 0)
		r = nic_filter_set(all, after, err);
	if (r == 0 && !nic_is_filtered(after))
		r = set_pin(all, after, err);
	if (r == 0)
		return 0;
	undo_update(all, before, after);
	return r;
}

static int bridged_resume(struct networks *all, const struct nic *n, struct error *err)
{
	int r = nic_filter_set(all, n, err);

	return r < 0 ? r : set_pin(all, n, err);
}

static int bridged_routes(struct networks *all, const struct nic *n, struct error *err)
{
	return nic_routes_change(all, n->parent, NULL, n, err);
}

const struct nic_kind nic_bridged = {
	.prefix = "veth",
	.prepare = bridged_prepare,
	.start = bridged_start,
	.update = bridged_update,
	.resume = bridged_resume,
	.routes = bridged_routes,
};
