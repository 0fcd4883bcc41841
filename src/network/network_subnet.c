/*
 * Automatic subnets. A candidate is good when it shares no address with anything that this host knows of: routes,
 * addresses of interfaces, other managed networks. Nothing is asked over the network.
 */
#include <stdlib.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"
#include "network/network_internal.h"

#define ATTEMPTS 100

/* What is taken; of both families. */
struct taken {
	struct ip_prefix *items;
	size_t n;
};

static void take(struct taken *t, const struct ip_prefix *p)
{
	t->items = xreallocarray(t->items, t->n + 1, sizeof(*t->items));
	t->items[t->n++] = *p;
}

static int take_routes(struct networks *all, struct taken *t, struct error *err)
{
	auto_free struct link_route *list = NULL;
	size_t n = 0;
	int r = link_routes(all->links, &list, &n, err);

	for (size_t i = 0; r == 0 && i < n; i++)
		if (list[i].dest.len > 0) /* the default route covers all */
			take(t, &list[i].dest);
	return r;
}

static int take_addresses(struct networks *all, struct taken *t, struct error *err)
{
	auto_free struct link_address *list = NULL;
	size_t n = 0;
	int r = link_addresses(all->links, NULL, &list, &n, err);

	for (size_t i = 0; r == 0 && i < n; i++)
		take(t, &list[i].address);
	return r;
}

/* Addresses and routes of a stored network, which need not be up. */
static void take_config(struct taken *t, const struct strmap *config)
{
	static const char *const keys[] = {"ipv4.address", "ipv6.address", "ipv4.routes", "ipv6.routes"};

	for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
		auto_free struct ip_prefix *list = NULL;
		auto_error struct error e = ERROR_INIT;
		size_t n = 0;

		if (ip_prefixes_parse(AF_UNSPEC, strmap_get_or(config, keys[k], ""), &list, &n, &e) < 0)
			error_ignore(&e, "none, or auto");
		for (size_t i = 0; i < n; i++)
			take(t, &list[i]);
	}
}

static void take_networks(struct networks *all, struct taken *t)
{
	mutex_lock(&all->store->lock);
	for (size_t i = 0; i < all->store->n_networks; i++)
		take_config(t, &all->store->networks[i]->config);
	mutex_unlock(&all->store->lock);
}

static bool is_free(const struct taken *t, const struct ip_prefix *candidate)
{
	for (size_t i = 0; i < t->n; i++)
		if (ip_prefix_overlaps(&t->items[i], candidate))
			return false;
	return true;
}

static char *random_subnet(int family)
{
	if (family == AF_INET)
		return xasprintf("10.%u.%u.1/24", random_below(255), random_below(255));
	return xasprintf("fd42:%x:%x:%x::1/64", random_below(65535), random_below(65535), random_below(65535));
}

static char *find(const struct taken *t, int family)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		auto_free char *text = random_subnet(family);
		struct ip_prefix candidate;

		if (ip_prefix_parse(family, text, &candidate) && is_free(t, &candidate))
			return TAKE_PTR(text);
	}
	return NULL;
}

int network_find_subnet(struct networks *all, int family, char **ret, struct error *err)
{
	struct taken t = {0};
	char *found = NULL;
	int r = take_routes(all, &t, err);

	if (r == 0)
		r = take_addresses(all, &t, err);
	if (r == 0) {
		take_networks(all, &t);
		found = find(&t, family);
		if (!found)
			r = error_set(
				err, 500,
				"Failed to automatically find an unused IPv%d subnet, manual configuration required",
				family == AF_INET ? 4 : 6);
	}
	free(t.items);
	if (r == 0)
		*ret = found;
	return r;
}
