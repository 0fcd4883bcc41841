/* What several types of NIC have in common: pairs of links, limits, routes. */
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"
#include "network/nic_internal.h"

void nic_name_copy(char dest[16], const char *name)
{
	size_t len = MIN_OF(strlen(name), (size_t)15);

	memcpy(dest, name, len);
	dest[len] = '\0';
}

void nic_step(struct nic_steps *s, int r, struct error *step_err)
{
	if (r >= 0)
		return;
	if (s->r < 0) {
		error_ignore(step_err, "the first error of several is the one to tell");
		return;
	}
	s->r = r;
	error_move(s->err, step_err);
}

int nic_parent_get(struct networks *all, const struct nic *n, struct link_info *ret, struct error *err)
{
	struct link_info info;
	int r = link_get(networks_links(all), n->parent, ret ? ret : &info, err);

	if (r < 0)
		return r;
	return r == 0 ? error_set(err, 400, "Parent device \"%s\" doesn't exist", n->parent) : 0;
}

static int choose_mtu(struct networks *all, const struct nic *n, unsigned *ret, struct error *err)
{
	struct link_info parent = {0};
	int r = 0;

	if (!n->mtu && n->parent)
		r = nic_parent_get(all, n, &parent, err);
	if (r < 0)
		return r;
	*ret = n->mtu ? n->mtu : parent.mtu;
	return 0;
}

int nic_name_taken(const char *name, struct error *err)
{
	return error_set(err, 400, "The container has an interface named \"%s\" already", name);
}

int nic_veth_add(struct networks *all, const struct nic *n, struct nic_guest *ret, struct error *err)
{
	auto_free char *hex = random_hex(4);
	auto_free char *guest = xasprintf("veth%s", hex);
	bool inside = ret->netns_fd >= 0;
	struct link_veth pair = {
		.host = n->host_name,
		.guest = inside ? n->name : guest,
		.netns_fd = ret->netns_fd,
		.guest_mac = n->has_mac ? &n->mac : NULL,
	};
	struct link_ns *links = networks_links(all);
	auto_error struct error undo = ERROR_INIT;
	int r = choose_mtu(all, n, &pair.mtu, err);

	if (r == 0)
		r = link_add_veth(links, &pair, err);
	if (r == -EEXIST && inside)
		return nic_name_taken(n->name, err); /* nic_prepare() has seen that the host's is free */
	if (r < 0)
		return r;
	/* an advertisement of the guest must not become a route of the host */
	r = nic_sysctl(n, "ipv6", "accept_ra", "0", err);
	if (r < 0) {
		if (link_delete(links, n->host_name, &undo) < 0)
			error_ignore(&undo, "the reason of the failure is told");
		return r;
	}
	nic_name_copy(ret->link, pair.guest);
	ret->inside = inside;
	ret->mtu = pair.mtu;
	return 0;
}

int nic_sysctl(const struct nic *n, const char *family, const char *key, const char *value, struct error *err)
{
	return link_sysctl_write(family, n->host_name, key, value, err);
}

/* --- limits --- */

/* The kernel's policer where it has one, else the packet filter. */
static int set_egress(struct networks *all, const struct nic *n, uint64_t bits, struct error *err)
{
	int r = link_set_policing(networks_links(all), n->host_name, bits, err);

	if (r == -EOPNOTSUPP && bits) {
		error_clear(err);
		return firewall_rate_set(networks_firewall(all), n->label, n->host_name, MAX_OF(bits / 8, 1), err);
	}
	if (r == -EOPNOTSUPP) {
		error_clear(err);
		r = 0;
	}
	return r < 0 ? r : firewall_rate_remove(networks_firewall(all), n->label, err);
}

int nic_limits_change(struct networks *all, const struct nic *before, const struct nic *after, struct error *err)
{
	auto_error struct error undo = ERROR_INIT;
	uint64_t ingress = before ? before->ingress_bits : 0;
	uint64_t egress = before ? before->egress_bits : 0;
	int r = 0;

	if (ingress != after->ingress_bits)
		r = link_set_shaping(networks_links(all), after->host_name, after->ingress_bits, err);
	if (r == 0 && egress != after->egress_bits)
		r = set_egress(all, after, after->egress_bits, err);
	if (r == 0)
		return 0;
	if (ingress != after->ingress_bits &&
	    link_set_shaping(networks_links(all), after->host_name, ingress, &undo) < 0)
		error_ignore(&undo, "the reason of the failure is told");
	if (egress != after->egress_bits && set_egress(all, after, egress, &undo) < 0)
		error_ignore(&undo, "the reason of the failure is told");
	return error_wrap(err, "Apply limits");
}

/* --- routes --- */

static bool has_route(const struct nic *n, int family, const struct ip_prefix *p)
{
	const struct nic_family *f = n ? nic_family_of(n, family) : NULL;

	for (size_t i = 0; f && i < f->n_routes; i++)
		if (f->routes[i].len == p->len && ip_equal(&f->routes[i].addr, &p->addr))
			return true;
	return false;
}

/* Add, or remove, those of @n that @other lacks. */
static int each_route(struct networks *all, const char *link, const struct nic *n, const struct nic *other, bool add,
		      struct error *err)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct link_ns *links = networks_links(all);
	int r = 0;

	for (size_t k = 0; n && k < ARRAY_SIZE(families); k++) {
		const struct nic_family *f = nic_family_of(n, families[k]);

		for (size_t i = 0; i < f->n_routes && r == 0; i++) {
			struct link_route route = {.family = families[k], .dest = f->routes[i], .on_link = true};

			if (has_route(other, families[k], &f->routes[i]))
				continue;
			r = add ? link_add_route(links, link, &route, err)
				: link_remove_route(links, link, &route, err);
		}
	}
	return r;
}

int nic_routes_change(struct networks *all, const char *link, const struct nic *before, const struct nic *after,
		      struct error *err)
{
	auto_error struct error undo = ERROR_INIT;
	int r = each_route(all, link, after, before, /* add= */ true, err);

	if (r == 0)
		r = each_route(all, link, before, after, /* add= */ false, err);
	if (r == 0)
		return 0;
	if (each_route(all, link, after, before, /* add= */ false, &undo) < 0)
		error_clear(&undo);
	if (each_route(all, link, before, after, /* add= */ true, &undo) < 0)
		error_ignore(&undo, "the reason of the failure is told");
	return r;
}
