/*
 * The live side of one network: bridge, settings, addresses, routes, rules, dnsmasq. Each step looks at what is there
 * and makes it what is wanted, so that the same steps start, change and repair.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/strv.h"
#include "network/network_internal.h"

#define MTU_USUAL 1500

/* Everything that the steps work with. */
struct plan {
	struct networks *all;
	const char *name;
	const struct strmap *config;
	const struct strmap *before; /* NULL: none */
	struct network_view view;
	char *alias; /* how the bridge is known as this network's */
	struct mac_addr mac;
};

static bool flag(const struct plan *p, const char *key, bool def)
{
	return strmap_get_bool(p->config, key, def);
}

/* --- the bridge --- */

/* Survives everything but the interface, and no other network has it. */
static char *alias_of(const struct db_network *row)
{
	return xasprintf("LXD network %s", row->hwaddr);
}

/* The note is made just after the interface: who died in between left one with the network's own address. */
static bool is_ours(const struct link_info *l, const char *alias, const struct mac_addr *mac)
{
	return streq(l->kind, "bridge") && (streq(l->alias, alias) || memcmp(&l->mac, mac, sizeof(*mac)) == 0);
}

static int ensure_bridge(const struct plan *p, struct error *err)
{
	struct link_info info;
	int r = link_get(p->all->links, p->name, &info, err);

	if (r > 0 && !is_ours(&info, p->alias, &p->mac))
		return error_set(err, 400, "Network interface \"%s\" already exists", p->name);
	if (r == 0)
		r = link_add_bridge(p->all->links, p->name, 0, &p->mac, err);
	if (r >= 0)
		r = link_set_alias(p->all->links, p->name, p->alias, err);
	return r;
}

/* An instance that sends router advertisements must not give the host a route. */
static int set_ipv6(const struct plan *p, struct error *err)
{
	static const char *const with_address[][2] = {
		{"accept_ra", "0"}, {"disable_ipv6", "0"}, {"autoconf", "0"}, {"accept_dad", "0"}};
	static const char *const without[][2] = {{"accept_ra", "0"}, {"disable_ipv6", "1"}};
	const char *const(*rows)[2] = p->view.v6.addr.family ? with_address : without;
	size_t n = p->view.v6.addr.family ? ARRAY_SIZE(with_address) : ARRAY_SIZE(without);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = link_sysctl_write("ipv6", p->name, rows[i][0], rows[i][1], err);
	return r;
}

static int set_link(const struct plan *p, struct error *err)
{
	struct link_ns *links = p->all->links;
	unsigned mtu = p->view.mtu ? p->view.mtu : MTU_USUAL;
	struct link_info info = {0};
	int r = link_get(links, p->name, &info, err);

	if (r >= 0 && info.mtu != mtu)
		r = link_set_mtu(links, p->name, mtu, err);
	if (r >= 0 && memcmp(&info.mac, &p->mac, sizeof(p->mac)) != 0)
		r = link_set_mac(links, p->name, &p->mac, err);
	/* the second of two addresses in a subnet stays when the first goes */
	if (r >= 0)
		r = link_sysctl_write("ipv4", p->name, "promote_secondaries", "1", err);
	if (r >= 0)
		r = link_set_up(links, p->name, true, err);
	return r < 0 ? r : 0;
}

/* Kernels may lack it: only what needs it complains. */
static void filter_vlans(const struct plan *p)
{
	auto_free char *path = xasprintf("/sys/class/net/%s/bridge/vlan_filtering", p->name);
	int r = file_write_kernel(AT_FDCWD, path, "1");

	if (r < 0)
		log_debug("bridge does not filter VLANs", LOG_STR("network", p->name), LOG_INT("errno", -r));
}

/* --- external interfaces --- */

static void list_external(const struct strmap *config, struct strv *ret)
{
	auto_strv struct strv items = STRV_INIT;

	strv_split(&items, config ? strmap_get_or(config, "bridge.external_interfaces", "") : "", ',');
	for (size_t i = 0; i < items.len; i++)
		strv_add(ret, str_strip(items.items[i]));
}

static int refuse_configured(const struct plan *p, const struct link_info *port, unsigned bridge, struct error *err)
{
	auto_free struct link_address *list = NULL;
	bool configured = port->master && port->master != bridge;
	size_t n = 0;
	int r = link_addresses(p->all->links, port->name, &list, &n, err);

	for (size_t i = 0; r == 0 && i < n; i++)
		configured |= list[i].scope == RT_SCOPE_UNIVERSE && !ip_is_link_local(&list[i].address.addr);
	if (r == 0 && configured)
		r = error_set(err, 400, "Only unconfigured network interfaces can be bridged");
	return r;
}

static int attach_external(const struct plan *p, const char *port, struct error *err)
{
	struct link_ns *links = p->all->links;
	struct link_info bridge = {0}, info;
	int r = link_get(links, p->name, &bridge, err);

	if (r >= 0)
		r = link_get(links, port, &info, err);
	if (r == 0)
		log_warn("external interface is missing, skipped", LOG_STR("network", p->name),
			 LOG_STR("interface", port));
	if (r <= 0)
		return r;
	r = refuse_configured(p, &info, bridge.index, err);
	if (r == 0 && info.master != bridge.index)
		r = link_set_master(links, port, p->name, err);
	if (r == 0)
		r = link_set_up(links, port, true, err);
	return r;
}

static int detach_external(const struct plan *p, const char *port, struct error *err)
{
	struct link_info bridge = {0}, info;
	int r = link_get(p->all->links, p->name, &bridge, err);

	if (r >= 0)
		r = link_get(p->all->links, port, &info, err);
	if (r > 0 && info.master == bridge.index)
		r = link_set_master(p->all->links, port, NULL, err);
	return r < 0 ? r : 0;
}

static int set_external(const struct plan *p, struct error *err)
{
	auto_strv struct strv want = STRV_INIT, had = STRV_INIT;
	int r = 0;

	list_external(p->config, &want);
	list_external(p->before, &had);
	for (size_t i = 0; r == 0 && i < had.len; i++)
		if (!strv_contains(&want, had.items[i]))
			r = detach_external(p, had.items[i], err);
	for (size_t i = 0; r == 0 && i < want.len; i++)
		r = attach_external(p, want.items[i], err);
	return r;
}

/* --- addresses, routes, forwarding --- */

static bool wanted_route(const struct link_route *have, const struct ip_prefix *want, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (have->dest.len == want[i].len && ip_equal(&have->dest.addr, &want[i].addr))
			return true;
	return false;
}

static void keep_route(const struct plan *p, const struct link_route *route)
{
	auto_error struct error e = ERROR_INIT;
	char text[IP_TEXT_MAX];

	if (link_add_route(p->all->links, p->name, route, &e) < 0)
		log_warn("route is lost with the address that it needs", LOG_STR("network", p->name),
			 LOG_STR("route", ip_prefix_format(&route->dest, text)), LOG_ERR(&e));
}

/*
 * The network's own routes have the protocol "static": those that are no longer wanted go. Those of NICs and of
 * administrators, which have "boot", stay; the kernel may have removed some of them with the last address.
 */
static int set_routes(const struct plan *p, const struct link_route *old, size_t n_old, int family, const char *key,
		      struct error *err)
{
	auto_free struct ip_prefix *want = NULL;
	struct link_info bridge = {0};
	size_t n = 0;
	int r = link_get(p->all->links, p->name, &bridge, err);

	if (r >= 0)
		r = ip_prefixes_parse(family, strmap_get_or(p->config, key, ""), &want, &n, err);
	for (size_t i = 0; r == 0 && i < n_old; i++) {
		const struct link_route *o = &old[i];

		if (o->index != bridge.index || o->family != family)
			continue;
		if (o->protocol == RTPROT_STATIC && !wanted_route(o, want, n))
			r = link_remove_route(p->all->links, p->name, o, err);
		else if (o->protocol == RTPROT_BOOT)
			keep_route(p, o);
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct link_route route = {.family = family, .dest = want[i], .protocol = RTPROT_STATIC};

		r = link_add_route(p->all->links, p->name, &route, err);
	}
	return r;
}

static int set_addresses(const struct plan *p, int family, const struct ip_prefix *want, struct error *err)
{
	const struct ip_prefix *keep = want->addr.family ? want : NULL;
	int r = keep ? link_add_address(p->all->links, p->name, keep, err) : 0;

	return r < 0 ? r : link_flush_addresses(p->all->links, p->name, family, keep, err);
}

/*
 * Before a host forwards IPv6 it learns routes from advertisements where accept_ra is 1, then only where it is 2.
 * "default" stays: interfaces that come later are of no concern here.
 */
static int keep_learning(struct error *err)
{
	DIR *dir = opendir("/proc/sys/net/ipv6/conf");
	struct dirent *e;
	int r = 0;

	while (dir && r == 0 && (e = readdir(dir))) {
		auto_error struct error gone = ERROR_INIT;
		int value = 0;

		if (*e->d_name == '.' || streq(e->d_name, "default"))
			continue;
		if (link_sysctl_read("ipv6", e->d_name, "accept_ra", &value, &gone) == 0 && value == 1 &&
		    link_sysctl_write("ipv6", e->d_name, "accept_ra", "2", &gone) < 0 && gone.errnum != ENOENT)
			r = error_move(err, &gone);
	}
	if (dir)
		closedir(dir);
	return r;
}

static int set_forwarding(const struct plan *p, struct error *err)
{
	int r = 0;

	if (p->view.v4.addr.family && flag(p, "ipv4.routing", true))
		r = link_sysctl_write("ipv4", "all", "forwarding", "1", err);
	if (r == 0 && p->view.v6.addr.family && flag(p, "ipv6.routing", true)) {
		r = keep_learning(err);
		if (r == 0)
			r = link_sysctl_write("ipv6", "all", "forwarding", "1", err);
	}
	return r;
}

static int set_ip(const struct plan *p, struct error *err)
{
	auto_free struct link_route *old = NULL;
	size_t n = 0;
	int r = link_routes(p->all->links, &old, &n, err);

	if (r == 0)
		r = set_ipv6(p, err);
	if (r == 0)
		r = set_addresses(p, AF_INET, &p->view.v4, err);
	if (r == 0)
		r = set_routes(p, old, n, AF_INET, "ipv4.routes", err);
	if (r < 0 || !p->view.v6.addr.family)
		return r; /* with IPv6 switched off nothing of it is left */
	r = set_addresses(p, AF_INET6, &p->view.v6, err);
	return r < 0 ? r : set_routes(p, old, n, AF_INET6, "ipv6.routes", err);
}

/* --- rules --- */

static struct firewall_subnet subnet_of(const struct plan *p, const char *family, const struct ip_prefix *address)
{
	auto_free char *nat = xasprintf("%s.nat", family), *nat_address = xasprintf("%s.nat.address", family);
	auto_free char *order = xasprintf("%s.nat.order", family), *fw = xasprintf("%s.firewall", family);
	auto_free char *routing = xasprintf("%s.routing", family), *dhcp = xasprintf("%s.dhcp", family);
	struct firewall_subnet s = {
		.address = *address,
		.nat = flag(p, nat, false),
		.nat_after = streq(strmap_get_or(p->config, order, "before"), "after"),
		.firewall = flag(p, fw, true),
		.routing = flag(p, routing, true),
		.dhcp = flag(p, dhcp, true),
	};

	(void)ip_parse(AF_UNSPEC, strmap_get_or(p->config, nat_address, ""), &s.nat_address);
	return s;
}

static int set_rules(const struct plan *p, struct error *err)
{
	struct firewall_network n = {
		.name = p->name,
		.v4 = subnet_of(p, "ipv4", &p->view.v4),
		.v6 = subnet_of(p, "ipv6", &p->view.v6),
	};

	return firewall_network_set(p->all->firewall, &n, err);
}

/* --- all of it --- */

static int make_dir(const struct plan *p, struct error *err)
{
	auto_free char *dir = path_join(p->all->dir, p->name);
	int r = dir_make_all(AT_FDCWD, dir, 0711, err);

	if (r == 0 && chmod(dir, 0711) < 0)
		r = error_errno(err, errno, "Set mode of %s", dir);
	return r;
}

static int plan_init(struct plan *p, struct networks *all, const struct db_network *row, struct error *err)
{
	const char *mac = strmap_get_or(&row->config, "bridge.hwaddr", row->hwaddr);
	int r;

	*p = (struct plan){.all = all, .name = row->name, .config = &row->config};
	if (!mac_parse(mac, &p->mac))
		return error_set(err, 500, "Network \"%s\" has the hardware address \"%s\"", row->name, mac);
	r = network_view_make(row->name, &row->config, &p->view, err);
	if (r == 0)
		p->alias = alias_of(row);
	return r;
}

static void plan_done(struct plan *p)
{
	network_view_done(&p->view);
	free(p->alias);
}

int network_bring_up(struct networks *all, const struct db_network *row, struct dnsmasq *d, const struct strmap *before,
		     struct error *err)
{
	/* rules come before there is anything that could be forwarded, dnsmasq when its addresses are there */
	static int (*const steps[])(const struct plan *p, struct error *err) = {
		make_dir, ensure_bridge, set_ipv6, set_link, set_external, set_rules, set_ip, set_forwarding,
	};
	CLEANUP(plan_done) struct plan p;
	int r = plan_init(&p, all, row, err);

	p.before = before;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(steps); i++) {
		r = steps[i](&p, err);
		if (steps[i] == set_link && r == 0)
			filter_vlans(&p);
	}
	return r < 0 ? r : dnsmasq_apply(d, &row->config, err);
}

int network_take_down(struct networks *all, const struct db_network *row, struct dnsmasq *d, struct error *err)
{
	CLEANUP(plan_done) struct plan p;
	auto_error struct error second = ERROR_INIT;
	struct link_info info;
	int r = plan_init(&p, all, row, err), r2;

	if (r < 0)
		return r;
	dnsmasq_stop(d);
	r = link_get(all->links, row->name, &info, err);
	if (r > 0 && is_ours(&info, p.alias, &p.mac))
		r = link_delete(all->links, row->name, err);
	r2 = firewall_network_remove(all->firewall, row->name, r < 0 ? &second : err);
	return r < 0 ? r : MIN_OF(r2, 0);
}

int network_remove_files(struct networks *all, const char *name, struct error *err)
{
	auto_close int fd = open(all->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_free char *log = xasprintf("%s/dnsmasq.%s.log", all->logs, name);

	if (fd < 0)
		return errno == ENOENT ? 0 : error_errno(err, errno, "Open %s", all->dir);
	if (unlink(log) < 0 && errno != ENOENT)
		log_debug("log stays", LOG_STR("path", log), LOG_INT("errno", errno));
	return path_remove_tree(fd, name, err);
}
