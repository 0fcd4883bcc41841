/* Which NICs use a network: for lists of users, for leases, for the host entries of its dnsmasq, and for changes that
 * would shut some of them out. */
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "instance/instance_internal.h"
#include "network/nic.h"

bool device_uses_network(const struct strmap *device, const char *network)
{
	const char *parent = strmap_get_or(device, "parent", "");
	const char *vlan = strmap_get_or(device, "vlan", NULL);
	auto_free char *interface = NULL;

	if (!streq(strmap_get_or(device, "type", ""), "nic"))
		return false;
	if (streq(strmap_get_or(device, "network", ""), network))
		return true;
	/* on bridges a vlan is one of the port's; elsewhere it is an interface of its own on the parent */
	if (vlan && !streq(strmap_get_or(device, "nictype", ""), "bridged"))
		interface = xasprintf("%s.%s", parent, vlan);
	return *parent && streq(interface ? interface : parent, network);
}

bool devices_use_network(const struct mapmap *devices, const char *network)
{
	for (size_t i = 0; i < devices->len; i++)
		if (device_uses_network(&devices->items[i].map, network))
			return true;
	return false;
}

/* Call @fn for each NIC of a ready instance on @network; a negative result ends it. */
static int each_nic(struct instances *all, const char *network,
		    int (*fn)(const struct db_instance *row, const char *name, const struct strmap *device, void *arg,
			      struct error *err),
		    void *arg, struct error *err)
{
	int r = 0;

	mutex_lock(&all->lock);
	for (size_t k = 0; r == 0 && k < all->n; k++) {
		CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
		const struct db_instance *row = &all->list[k]->row;

		r = instance_expand(all, row, NULL, &x, err);
		for (size_t i = 0; r == 0 && i < x.devices.len; i++)
			if (device_uses_network(&x.devices.items[i].map, network))
				r = fn(row, x.devices.items[i].key, &x.devices.items[i].map, arg, err);
	}
	mutex_unlock(&all->lock);
	return r;
}

static int add_user(const struct db_instance *row, const char *name UNUSED, const struct strmap *device UNUSED,
		    void *arg, struct error *err UNUSED)
{
	auto_free char *url = project_url(row->project, "/1.0/instances/%s", row->name);

	if (!strv_contains(arg, url))
		strv_add(arg, url);
	return 0;
}

int instances_using_network(struct instances *all, const char *network, struct strv *urls, struct error *err)
{
	return each_nic(all, network, add_user, urls, err);
}

struct nic_list {
	const char *project;
	struct instance_network_nic *items;
	size_t n;
};

static int add_nic(const struct db_instance *row, const char *name, const struct strmap *device, void *arg,
		   struct error *err UNUSED)
{
	auto_free char *key = xasprintf("volatile.%s.hwaddr", name);
	struct nic_list *list = arg;
	struct instance_network_nic nic = {0};

	if (!streq(row->project, list->project))
		return 0;
	if (!mac_parse(strmap_get_or(device, "hwaddr", strmap_get_or(&row->volatile_, key, "")), &nic.mac))
		return 0; /* it has none before its first start */
	(void)ip_parse(AF_INET, strmap_get_or(device, "ipv4.address", ""), &nic.v4);
	(void)ip_parse(AF_INET6, strmap_get_or(device, "ipv6.address", ""), &nic.v6);
	nic.instance = xstrdup(row->name);
	list->items = xreallocarray(list->items, list->n + 1, sizeof(*list->items));
	list->items[list->n++] = nic;
	return 0;
}

int instances_network_nics(struct instances *all, const char *project, const char *network,
			   struct instance_network_nic **ret, size_t *ret_n, struct error *err)
{
	struct nic_list list = {.project = project};
	int r = each_nic(all, network, add_nic, &list, err);

	if (r < 0) {
		instance_network_nics_free(list.items, list.n);
		return r;
	}
	*ret = list.items;
	*ret_n = list.n;
	return 0;
}

void instance_network_nics_free(struct instance_network_nic *nics, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(nics[i].instance);
	free(nics);
}

/* --- host entries --- */

/* A NIC as it is configured now, copied. */
struct entry {
	char *project;
	char *instance;
	char *device;
	struct strmap options;
	struct strmap volatile_;
};

struct entries {
	struct entry *items;
	size_t n;
};

static void entries_done(struct entries *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->items[i].project);
		free(e->items[i].instance);
		free(e->items[i].device);
		strmap_done(&e->items[i].options);
		strmap_done(&e->items[i].volatile_);
	}
	free(e->items);
	*e = (struct entries){0};
}

static int add_entry(const struct db_instance *row, const char *name, const struct strmap *device, void *arg,
		     struct error *err UNUSED)
{
	struct entries *list = arg;
	struct entry e = {.project = xstrdup(row->project), .instance = xstrdup(row->name), .device = xstrdup(name)};

	strmap_copy(&e.options, device);
	strmap_copy(&e.volatile_, &row->volatile_);
	list->items = xreallocarray(list->items, list->n + 1, sizeof(*list->items));
	list->items[list->n++] = e;
	return 0;
}

static bool entries_equal(const struct entries *a, const struct entries *b)
{
	bool equal = a->n == b->n;

	for (size_t i = 0; equal && i < a->n; i++) {
		const struct entry *x = &a->items[i], *y = &b->items[i];

		equal = streq(x->project, y->project) && streq(x->instance, y->instance) &&
			streq(x->device, y->device) && strmap_equal(&x->options, &y->options) &&
			strmap_equal(&x->volatile_, &y->volatile_);
	}
	return equal;
}

/* Tell dnsmasq of each, or (@labels not NULL) only collect what they are called. */
static void write_entries(struct instances *all, const struct entries *e, struct strv *labels)
{
	for (size_t i = 0; i < e->n; i++) {
		const struct entry *x = &e->items[i];
		const struct nic_owner owner = {x->project, x->instance, x->device};
		auto_error struct error err = ERROR_INIT;
		auto_nic struct nic n = NIC_INIT;
		int r = nic_read(all->networks, &owner, &x->options, &x->volatile_, &n, &err);

		if (r == 0 && labels)
			strv_add(labels, n.label);
		else if (r == 0)
			r = nic_host_entry_set(all->networks, &n, &err);
		if (r < 0)
			log_warn("DHCP and DNS do not know a network device", LOG_STR("instance", x->instance),
				 LOG_STR("device", x->device), LOG_ERR(&err));
	}
}

static int remove_others(struct instances *all, const char *network, const struct entries *e, struct error *err)
{
	struct dnsmasq *d = networks_dnsmasq(all->networks, network);
	auto_strv struct strv labels = STRV_INIT;

	write_entries(all, e, &labels);
	return d ? dnsmasq_hosts_keep(d, &labels, err) : 0;
}

/*
 * Instances may change meanwhile, and write entries of their own after each change. So what does not belong goes first,
 * and after writing we look whether something else should have been written.
 */
void instances_write_entries(void *arg, const char *network)
{
	CLEANUP(entries_done) struct entries e = {0};
	auto_error struct error err = ERROR_INIT;
	struct instances *all = arg;
	int r = each_nic(all, network, add_entry, &e, &err);

	if (r == 0)
		r = remove_others(all, network, &e, &err);
	while (r == 0) {
		CLEANUP(entries_done) struct entries now = {0};
		bool same;

		write_entries(all, &e, NULL);
		r = each_nic(all, network, add_entry, &now, &err);
		same = entries_equal(&e, &now);
		entries_done(&e);
		e = now;
		now = (struct entries){0};
		if (same)
			break;
	}
	if (r < 0)
		log_warn("DHCP and DNS may not know all network devices", LOG_STR("network", network), LOG_ERR(&err));
}

/* --- changes of a network --- */

struct change {
	const struct network_view *before;
	const struct network_view *after;
};

/* Does a NIC with this address fit? Where nobody gives addresses away, any does. */
static bool fits(const struct strmap *device, const char *key, const struct ip_prefix *subnet, bool dhcp)
{
	struct ip_addr a;

	if (!ip_parse(AF_UNSPEC, strmap_get_or(device, key, ""), &a) || !dhcp)
		return true;
	return ip_prefix_contains(subnet, &a) && !ip_equal(&subnet->addr, &a);
}

static int check_family(const struct db_instance *row, const char *name, const struct strmap *device, const char *key,
			const struct change *c, struct error *err)
{
	bool four = streq(key, "ipv4.address");
	bool before = fits(device, key, four ? &c->before->v4 : &c->before->v6,
			   four ? c->before->dhcp4 : c->before->dhcp6);
	bool after = fits(device, key, four ? &c->after->v4 : &c->after->v6, four ? c->after->dhcp4 : c->after->dhcp6);

	if (!before || after)
		return 0; /* what did not fit before does not hinder */
	return error_set(err, 400,
			 "Device IP address \"%s\" not within network \"%s\" subnet (device \"%s\" of instance \"%s\")",
			 strmap_get(device, key), c->after->name, name, row->name);
}

static int check_nic(const struct db_instance *row, const char *name, const struct strmap *device, void *arg,
		     struct error *err)
{
	int r = check_family(row, name, device, "ipv4.address", arg, err);

	return r < 0 ? r : check_family(row, name, device, "ipv6.address", arg, err);
}

int instances_check_network(void *arg, const struct network_view *before, const struct network_view *after,
			    struct error *err)
{
	struct change c = {before, after};

	return each_nic(arg, after->name, check_nic, &c, err);
}
