/* Addresses, routes and proxy entries of interfaces. */
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "network/link_internal.h"

static struct ip_addr addr_from(int family, const struct rtnl_attr *a)
{
	struct ip_addr addr = {.family = family};

	rtnl_copy(a, addr.bytes, ip_size(family));
	return addr;
}

static void put_addr(struct rtnl_request *rq, uint16_t type, const struct ip_addr *a)
{
	rtnl_request_put(rq, type, a->bytes, ip_size(a->family));
}

static bool is_ip(int family)
{
	return family == AF_INET || family == AF_INET6;
}

/* --- addresses --- */

struct addresses {
	struct link_address *items;
	size_t n;
	unsigned only; /* of this interface; 0: of all */
};

static int take_address(uint16_t type, struct rtnl_bytes body, void *arg)
{
	struct addresses *list = arg;
	struct link_address found = {0};
	bool local = false;
	struct ifaddrmsg info;
	struct rtnl_attr a;

	if (type != RTM_NEWADDR)
		return 0;
	if (!rtnl_take(&body, &info, sizeof(info)))
		return -EBADMSG;
	if (!is_ip(info.ifa_family) || (list->only && info.ifa_index != list->only))
		return 0;
	found = (struct link_address){.index = info.ifa_index, .scope = info.ifa_scope};
	found.address.len = info.ifa_prefixlen;
	while (rtnl_next_attr(&body, &a)) {
		/* IFA_LOCAL is this side of a point-to-point link, IFA_ADDRESS the other; elsewhere they agree */
		if (a.type == IFA_LOCAL || (a.type == IFA_ADDRESS && !local))
			found.address.addr = addr_from(info.ifa_family, &a);
		local |= a.type == IFA_LOCAL;
	}
	if (found.address.addr.family)
		LINK_LIST_PUSH(list, found);
	return 0;
}

int link_addresses(struct link_ns *ns, const char *name, struct link_address **ret, size_t *ret_n, struct error *err)
{
	struct addresses list = {0};
	struct rtnl_request rq;
	int r = name ? link_index(ns, name, &list.only, err) : 0;

	if (r < 0)
		return r;
	rtnl_request_init(&rq, RTM_GETADDR, NLM_F_DUMP, &(struct ifaddrmsg){0}, sizeof(struct ifaddrmsg));
	r = link_ask(ns, &rq, take_address, &list, err, "List the addresses of interfaces");
	if (r < 0) {
		free(list.items);
		return r;
	}
	*ret = list.items;
	*ret_n = list.n;
	return 0;
}

static void address_request(struct rtnl_request *rq, uint16_t type, uint16_t flags, unsigned index,
			    const struct ip_prefix *a)
{
	struct ifaddrmsg info = {
		.ifa_family = (uint8_t)a->addr.family,
		.ifa_prefixlen = (uint8_t)a->len,
		.ifa_index = index,
		.ifa_scope = ip_is_loopback(&a->addr) ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
	};

	rtnl_request_init(rq, type, flags, &info, sizeof(info));
	put_addr(rq, IFA_LOCAL, &a->addr);
	put_addr(rq, IFA_ADDRESS, &a->addr);
}

int link_add_address(struct link_ns *ns, const char *name, const struct ip_prefix *a, struct error *err)
{
	char text[IP_TEXT_MAX];
	struct rtnl_request rq;
	unsigned index = 0;
	int r = link_index(ns, name, &index, err);

	if (r < 0)
		return r;
	address_request(&rq, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, index, a);
	if (a->addr.family == AF_INET6)
		rtnl_request_add(&rq, IFA_FLAGS, IFA_F_NODAD);
	r = link_order(ns, &rq, err, "Give the interface %s the address %s", name, ip_prefix_format(a, text));
	return link_forgive(r, EEXIST, err);
}

int link_remove_address(struct link_ns *ns, const char *name, const struct ip_prefix *a, struct error *err)
{
	char text[IP_TEXT_MAX];
	struct rtnl_request rq;
	unsigned index = 0;
	int r = link_index(ns, name, &index, err);

	if (r < 0)
		return r;
	address_request(&rq, RTM_DELADDR, NLM_F_ACK, index, a);
	r = link_order(ns, &rq, err, "Take the address %s from the interface %s", ip_prefix_format(a, text), name);
	return link_forgive(r, EADDRNOTAVAIL, err);
}

static bool same_prefix(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->len == b->len && ip_equal(&a->addr, &b->addr);
}

int link_flush_addresses(struct link_ns *ns, const char *name, int family, const struct ip_prefix *keep,
			 struct error *err)
{
	auto_free struct link_address *list = NULL;
	bool kept = false;
	size_t n = 0;
	int r = link_addresses(ns, name, &list, &n, err);

	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct ip_prefix *a = &list[i].address;

		if (a->addr.family != family || list[i].scope != RT_SCOPE_UNIVERSE)
			continue;
		if (keep && same_prefix(a, keep))
			kept = true;
		else
			r = link_remove_address(ns, name, a, err);
	}
	/* IPv4: with the first address of a subnet the kernel removes the others of that subnet */
	if (r == 0 && kept)
		r = link_add_address(ns, name, keep, err);
	return r;
}

/* --- routes --- */

struct routes {
	struct link_route *items;
	size_t n;
};

static void take_route_attribute(struct link_route *route, const struct rtnl_attr *a)
{
	switch (a->type) {
	case RTA_DST:
		route->dest.addr = addr_from(route->family, a);
		break;
	case RTA_GATEWAY:
		route->via = addr_from(route->family, a);
		break;
	case RTA_PREFSRC:
		route->source = addr_from(route->family, a);
		break;
	case RTA_OIF:
		rtnl_copy(a, &route->index, sizeof(route->index));
		break;
	case RTA_TABLE:
		rtnl_copy(a, &route->table, sizeof(route->table));
		break;
	default:
		break;
	}
}

static int take_route(uint16_t type, struct rtnl_bytes body, void *arg)
{
	struct routes *list = arg;
	struct link_route route;
	struct rtmsg info;
	struct rtnl_attr a;

	if (type != RTM_NEWROUTE)
		return 0;
	if (!rtnl_take(&body, &info, sizeof(info)))
		return -EBADMSG;
	if (!is_ip(info.rtm_family) || info.rtm_type != RTN_UNICAST || (info.rtm_flags & RTM_F_CLONED))
		return 0;
	route = (struct link_route){
		.family = info.rtm_family,
		.dest = {.addr = {.family = info.rtm_family}, .len = info.rtm_dst_len},
		.table = info.rtm_table,
		.protocol = info.rtm_protocol,
		.on_link = info.rtm_scope == RT_SCOPE_LINK,
	};
	while (rtnl_next_attr(&body, &a))
		take_route_attribute(&route, &a);
	if (route.table != RT_TABLE_LOCAL)
		LINK_LIST_PUSH(list, route);
	return 0;
}

int link_routes(struct link_ns *ns, struct link_route **ret, size_t *ret_n, struct error *err)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct routes list = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++) {
		struct rtmsg info = {.rtm_family = families[i]};
		struct rtnl_request rq;

		rtnl_request_init(&rq, RTM_GETROUTE, NLM_F_DUMP, &info, sizeof(info));
		r = link_ask(ns, &rq, take_route, &list, err, "List the routes");
		if (families[i] == AF_INET6 && !link_have_ipv6())
			r = link_forgive(r, EOPNOTSUPP, err);
	}
	if (r < 0) {
		free(list.items);
		return r;
	}
	*ret = list.items;
	*ret_n = list.n;
	return 0;
}

static uint32_t table_of(const struct link_route *route)
{
	return route->table ? route->table : RT_TABLE_MAIN;
}

static uint8_t protocol_of(const struct link_route *route)
{
	return route->protocol ? route->protocol : RTPROT_BOOT;
}

static void route_request(struct rtnl_request *rq, uint16_t type, uint16_t flags, unsigned index,
			  const struct link_route *route)
{
	bool direct = route->on_link || !route->via.family;
	struct rtmsg info = {
		.rtm_family = (uint8_t)route->family,
		.rtm_dst_len = (uint8_t)route->dest.len,
		.rtm_protocol = protocol_of(route),
		.rtm_type = RTN_UNICAST,
		.rtm_scope = direct && route->family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
	};

	if (type == RTM_DELROUTE)
		info.rtm_scope = RT_SCOPE_NOWHERE; /* whichever it has */
	rtnl_request_init(rq, type, flags, &info, sizeof(info));
	rtnl_request_add(rq, RTA_TABLE, (int32_t)table_of(route));
	rtnl_request_add(rq, RTA_OIF, (int32_t)index);
	if (route->dest.len)
		put_addr(rq, RTA_DST, &route->dest.addr);
	if (route->via.family)
		put_addr(rq, RTA_GATEWAY, &route->via);
}

/* Is this very route there? The kernel refuses a second one to the same destination, whatever else differs. */
static bool have_route(struct link_ns *ns, unsigned index, const struct link_route *want)
{
	auto_free struct link_route *list = NULL;
	auto_error struct error e = ERROR_INIT;
	size_t n = 0;

	if (link_routes(ns, &list, &n, &e) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (list[i].index == index && list[i].family == want->family && list[i].table == table_of(want) &&
		    list[i].protocol == protocol_of(want) && same_prefix(&list[i].dest, &want->dest) &&
		    ip_equal(&list[i].via, &want->via))
			return true;
	return false;
}

int link_add_route(struct link_ns *ns, const char *name, const struct link_route *route, struct error *err)
{
	char text[IP_TEXT_MAX];
	struct rtnl_request rq;
	unsigned index = 0;
	int r = link_index(ns, name, &index, err);

	if (r < 0)
		return r;
	route_request(&rq, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, index, route);
	if (route->source.family)
		put_addr(&rq, RTA_PREFSRC, &route->source);
	r = link_order(ns, &rq, err, "Add a route to %s over the interface %s", ip_prefix_format(&route->dest, text),
		       name);
	if (r == -EEXIST && have_route(ns, index, route))
		return link_forgive(r, EEXIST, err);
	return r;
}

int link_remove_route(struct link_ns *ns, const char *name, const struct link_route *route, struct error *err)
{
	char text[IP_TEXT_MAX];
	struct rtnl_request rq;
	unsigned index = 0;
	int r = link_index(ns, name, &index, err);

	if (r < 0)
		return link_forgive(r, ENODEV, err);
	route_request(&rq, RTM_DELROUTE, NLM_F_ACK, index, route);
	r = link_order(ns, &rq, err, "Remove the route to %s over the interface %s",
		       ip_prefix_format(&route->dest, text), name);
	return link_forgive(r, ESRCH, err);
}

/* --- proxies --- */

static void proxy_request(struct rtnl_request *rq, uint16_t type, uint16_t flags, unsigned index,
			  const struct ip_addr *a)
{
	struct ndmsg info = {
		.ndm_family = (uint8_t)a->family,
		.ndm_ifindex = (int)index,
		.ndm_state = NUD_PERMANENT,
		.ndm_flags = NTF_PROXY,
	};

	rtnl_request_init(rq, type, flags, &info, sizeof(info));
	put_addr(rq, NDA_DST, a);
}

int link_add_proxy(struct link_ns *ns, const char *name, const struct ip_addr *a, struct error *err)
{
	char text[IP_TEXT_MAX];
	struct rtnl_request rq;
	unsigned index = 0;
	int r = link_index(ns, name, &index, err);

	if (r < 0)
		return r;
	proxy_request(&rq, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, index, a);
	return link_order(ns, &rq, err, "Answer for %s on the interface %s", ip_format(a, text), name);
}

int link_remove_proxy(struct link_ns *ns, const char *name, const struct ip_addr *a, struct error *err)
{
	char text[IP_TEXT_MAX];
	struct rtnl_request rq;
	unsigned index = 0;
	int r = link_index(ns, name, &index, err);

	if (r < 0)
		return link_forgive(r, ENODEV, err);
	proxy_request(&rq, RTM_DELNEIGH, NLM_F_ACK, index, a);
	r = link_order(ns, &rq, err, "No longer answer for %s on the interface %s", ip_format(a, text), name);
	return link_forgive(r, ENOENT, err);
}
