/*
 * What a NIC adds to other interfaces of the host than its own: routes on its bridge, proxy entries on its parent. They
 * do not go with its link, so they are noted in volatile keys before they are made, as "WHAT@INTERFACE,...", and
 * removed by these notes: also when the configuration that asked for them is gone.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "base/strv.h"
#include "network/nic_internal.h"

static const int families[] = {AF_INET, AF_INET6};

static void add_item(struct strbuf *list, const char *what, const char *interface)
{
	strbuf_appendf(list, "%s%s@%s", list->len ? "," : "", what, interface);
}

static void list_routes(const struct nic *n, struct strbuf *list)
{
	char text[IP_TEXT_MAX];

	for (size_t k = 0; k < ARRAY_SIZE(families); k++) {
		const struct nic_family *f = nic_family_of(n, families[k]);

		for (size_t i = 0; i < f->n_routes && n->type == NIC_BRIDGED; i++)
			add_item(list, ip_prefix_format(&f->routes[i], text), n->parent);
	}
}

static void list_proxies(const struct nic *n, struct strbuf *list)
{
	char text[IP_TEXT_MAX];

	for (size_t k = 0; k < ARRAY_SIZE(families); k++) {
		const struct nic_family *f = nic_family_of(n, families[k]);

		for (size_t i = 0; i < f->n_addresses && n->type == NIC_ROUTED && n->parent; i++)
			add_item(list, ip_format(&f->addresses[i], text), n->parent);
	}
}

static void note(const struct nic *n, const char *key, const struct strbuf *list, struct strmap *changes)
{
	auto_free char *name = xasprintf("volatile.%s.%s", n->device, key);

	strmap_set(changes, name, strbuf_str(list));
}

void nic_note(const struct nic *n, const struct nic *also, struct strmap *changes)
{
	auto_strbuf struct strbuf routes = STRBUF_INIT;
	auto_strbuf struct strbuf proxies = STRBUF_INIT;

	list_routes(n, &routes);
	list_proxies(n, &proxies);
	if (also) {
		list_routes(also, &routes);
		list_proxies(also, &proxies);
	}
	note(n, "last_state.routes", &routes, changes);
	note(n, "last_state.proxies", &proxies, changes);
}

/* --- removing --- */

static bool is_there(struct networks *all, const char *interface)
{
	auto_error struct error err = ERROR_INIT;
	struct link_info info;
	int r = link_get(networks_links(all), interface, &info, &err);

	if (r < 0)
		error_ignore(&err, "what follows tells more");
	return r != 0;
}

static int remove_route(struct networks *all, const char *what, const char *interface, struct error *err)
{
	struct link_route route = {.on_link = true};

	if (!ip_prefix_parse(AF_UNSPEC, what, &route.dest))
		return 0; /* not written by us */
	route.family = route.dest.addr.family;
	return link_remove_route(networks_links(all), interface, &route, err);
}

static int remove_proxy(struct networks *all, const char *what, const char *interface, struct error *err)
{
	struct ip_addr a;

	return ip_parse(AF_UNSPEC, what, &a) ? link_remove_proxy(networks_links(all), interface, &a, err) : 0;
}

/* Each item of a list, but those that are in @keep; interfaces that are gone have taken theirs along. */
static void remove_items(struct networks *all, const char *list, const char *keep,
			 int (*fn)(struct networks *all, const char *what, const char *interface, struct error *err),
			 struct nic_steps *steps)
{
	auto_strv struct strv items = STRV_INIT;
	auto_strv struct strv kept = STRV_INIT;

	strv_split(&items, list, ',');
	strv_split(&kept, keep, ',');
	for (size_t i = 0; i < items.len; i++) {
		char *at = strchr(items.items[i], '@');
		auto_error struct error e = ERROR_INIT;

		if (!at || strv_contains(&kept, items.items[i]))
			continue;
		*at = '\0';
		if (is_there(all, at + 1))
			nic_step(steps, fn(all, items.items[i], at + 1, &e), &e);
	}
}

int nic_remove_noted(struct networks *all, const char *device, const struct strmap *noted, const struct strmap *keep,
		     struct error *err)
{
	auto_free char *routes = xasprintf("volatile.%s.last_state.routes", device);
	auto_free char *proxies = xasprintf("volatile.%s.last_state.proxies", device);
	struct nic_steps steps = {.err = err};

	remove_items(all, strmap_get_or(noted, routes, ""), strmap_get_or(keep, routes, ""), remove_route, &steps);
	remove_items(all, strmap_get_or(noted, proxies, ""), strmap_get_or(keep, proxies, ""), remove_proxy, &steps);
	return steps.r;
}
