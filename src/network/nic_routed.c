/*
 * Routed NICs: a pair of links between container and host, where the host is the router. What others send to the
 * container's addresses on the parent's network is answered for by proxy entries there.
 */
#include <linux/rtnetlink.h>

#include "base/alloc.h"
#include "base/str.h"
#include "network/nic_internal.h"

static const struct {
	int family;
	const char *name; /* of its sysctls */
} families[] = {{AF_INET, "ipv4"}, {AF_INET6, "ipv6"}};

/* --- what must be so before --- */

/* Dots in interface names are slashes in names of sysctls. */
static int need_sysctl(const char *family, const char *name, const char *key, struct error *err)
{
	auto_free char *shown = NULL;
	int value = 0;
	int r = link_sysctl_read(family, name, key, &value, err);

	if (r == 0 && value == 1)
		return 0;
	error_clear(err);
	shown = xstrdup(name);
	for (char *p = shown; *p; p++)
		if (*p == '.')
			*p = '/';
	return error_set(err, 400, "Routed mode requires sysctl net.%s.conf.%s.%s=1", family, shown, key);
}

static int check_sysctls(const struct nic *n, struct error *err)
{
	int r = 0;

	if (n->v6.n_addresses)
		r = need_sysctl("ipv6", "all", "forwarding", err);
	if (r == 0 && n->v6.n_addresses)
		r = need_sysctl("ipv6", "all", "proxy_ndp", err);
	if (r == 0 && n->v6.n_addresses)
		r = need_sysctl("ipv6", n->parent, "forwarding", err);
	if (r == 0 && n->v6.n_addresses)
		r = need_sysctl("ipv6", n->parent, "proxy_ndp", err);
	if (r == 0 && n->v4.n_addresses)
		r = need_sysctl("ipv4", n->parent, "forwarding", err);
	return r;
}

static bool has_address(const struct nic *n, const struct ip_addr *a)
{
	const struct nic_family *f = nic_family_of(n, a->family);

	for (size_t i = 0; i < f->n_addresses; i++)
		if (ip_equal(&f->addresses[i], a))
			return true;
	return false;
}

/* The probe does not notice what is our own. */
static int check_own_addresses(struct networks *all, const struct nic *n, struct error *err)
{
	auto_free struct link_address *list = NULL;
	size_t len = 0;
	char text[IP_TEXT_MAX];
	int r = link_addresses(networks_links(all), n->parent, &list, &len, err);

	for (size_t i = 0; i < len && r == 0; i++)
		if (has_address(n, &list[i].address.addr))
			return error_set(err, 400, "IP address \"%s\" in use on parent network \"%s\"",
					 ip_format(&list[i].address.addr, text), n->parent);
	return r;
}

static int routed_prepare(struct networks *all, const struct nic *n, struct strmap *changes UNUSED, struct error *err)
{
	struct link_info parent = {0};
	int r;

	if (!n->parent)
		return 0;
	r = nic_parent_get(all, n, &parent, err);
	if (r == 0)
		r = check_sysctls(n, err);
	if (r == 0)
		r = check_own_addresses(all, n, err);
	return r < 0 ? r : nic_probe(all, n, &parent, err);
}

/* --- routes and proxy entries --- */

static int add_address_routes(struct networks *all, const struct nic *n, const struct nic_family *f, int family,
			      struct error *err)
{
	struct link_ns *links = networks_links(all);
	int r = 0;

	for (size_t i = 0; i < f->n_addresses && r == 0; i++) {
		struct link_route route = {.family = family, .dest = ip_host_prefix(&f->addresses[i]), .on_link = true};

		r = link_add_route(links, n->host_name, &route, err);
		route.table = f->host_table;
		if (r == 0 && route.table)
			r = link_add_route(links, n->host_name, &route, err);
		if (r == 0 && n->parent)
			r = link_add_proxy(links, n->parent, &f->addresses[i], err);
	}
	return r;
}

/* Subnets behind the container, reached by its first address. */
static int add_subnet_routes(struct networks *all, const struct nic *n, const struct nic_family *f, int family,
			     struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < f->n_routes && r == 0; i++) {
		struct link_route route = {.family = family, .dest = f->routes[i], .via = f->addresses[0]};

		r = link_add_route(networks_links(all), n->host_name, &route, err);
	}
	return r;
}

static int add_family(struct networks *all, const struct nic *n, int family, const char *name, struct error *err)
{
	const struct nic_family *f = nic_family_of(n, family);
	struct ip_prefix host = ip_host_prefix(&f->host_address);
	int r;

	if (!f->n_addresses)
		return 0;
	r = link_add_address(networks_links(all), n->host_name, &host, err);
	if (r == 0)
		r = nic_sysctl(n, name, "forwarding", "1", err);
	if (r == 0)
		r = add_address_routes(all, n, f, family, err);
	return r < 0 ? r : add_subnet_routes(all, n, f, family, err);
}

static int add_families(struct networks *all, const struct nic *n, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(families) && r == 0; i++)
		r = add_family(all, n, families[i].family, families[i].name, err);
	return r;
}

/* --- start and stop --- */

static void fill_guest(const struct nic *n, struct nic_guest *g)
{
	g->addresses = xnew_array(struct ip_prefix, n->v4.n_addresses + n->v6.n_addresses);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct nic_family *f = nic_family_of(n, families[i].family);

		for (size_t k = 0; k < f->n_addresses; k++)
			g->addresses[g->n_addresses++] = ip_host_prefix(&f->addresses[k]);
	}
	if (n->v4.gateway && n->v4.n_addresses)
		g->gateway4 = n->v4.host_address;
	if (n->v6.gateway && n->v6.n_addresses)
		g->gateway6 = n->v6.host_address;
}

/* Nothing enters before sources are checked: the host's side comes up after that. */
static int routed_start(struct networks *all, const struct nic *n, struct nic_guest *ret, struct error *err)
{
	int r = nic_veth_add(all, n, ret, err);

	if (r < 0)
		return r;
	r = nic_limits_change(all, NULL, n, err);
	if (r == 0)
		r = nic_sysctl(n, "ipv4", "rp_filter", "1", err);
	if (r == 0)
		r = firewall_routed_set(networks_firewall(all), n->label, n->host_name, err);
	if (r == 0)
		r = link_set_up(networks_links(all), n->host_name, true, err);
	if (r == 0)
		r = add_families(all, n, err);
	if (r == 0)
		fill_guest(n, ret);
	return r;
}

static int routed_resume(struct networks *all, const struct nic *n, struct error *err)
{
	return firewall_routed_set(networks_firewall(all), n->label, n->host_name, err);
}

static int routed_routes(struct networks *all, const struct nic *n, struct error *err)
{
	int r = n->parent ? nic_parent_get(all, n, NULL, err) : 0;

	return r < 0 ? r : add_families(all, n, err);
}

const struct nic_kind nic_routed = {
	.prefix = "veth",
	.prepare = routed_prepare,
	.start = routed_start,
	.resume = routed_resume,
	.routes = routed_routes,
};
