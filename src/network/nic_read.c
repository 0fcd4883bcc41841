/* A NIC from its device's options and volatile keys, and what its options mean on the network that it is on. */
#include <stdio.h>

#include "base/alloc.h"
#include "base/str.h"
#include "config/names.h"
#include "network/nic_internal.h"

static void family_done(struct nic_family *f)
{
	free(f->addresses);
	free(f->routes);
	*f = (struct nic_family){0};
}

void nic_done(struct nic *n)
{
	free(n->project);
	free(n->instance);
	free(n->device);
	free(n->label);
	free(n->parent);
	network_view_done(&n->network);
	family_done(&n->v4);
	family_done(&n->v6);
	*n = NIC_INIT;
}

/* --- reading --- */

/* What the parts below share. */
struct reader {
	const struct strmap *options;
	const struct strmap *volatile_; /* NULL: none */
	struct nic *nic;
};

/* The value of a family's option: "ipv4.address" is ("address", AF_INET). */
static const char *family_option(const struct reader *rd, int family, const char *option, const char *def)
{
	auto_free char *key = xasprintf("ipv%d.%s", family == AF_INET ? 4 : 6, option);

	return strmap_get_or(rd->options, key, def);
}

/* volatile.DEV.@key */
static const char *volatile_value(const struct reader *rd, const char *key)
{
	auto_free char *name = xasprintf("volatile.%s.%s", rd->nic->device, key);

	return rd->volatile_ ? strmap_get_or(rd->volatile_, name, NULL) : NULL;
}

static int read_addresses(const struct reader *rd, int family, struct nic_family *f, struct error *err)
{
	const char *list = family_option(rd, family, "address", NULL);
	auto_free struct ip_prefix *items = NULL;
	size_t n = 0;
	int r;

	f->none = list && streq(list, "none");
	if (!list || f->none)
		return 0;
	r = ip_prefixes_parse(family, list, &items, &n, err);
	if (r < 0)
		return r;
	f->addresses = xnew_array(struct ip_addr, n);
	f->n_addresses = n;
	for (size_t i = 0; i < n; i++)
		f->addresses[i] = items[i].addr;
	return 0;
}

static int add_routes(const struct reader *rd, int family, const char *option, struct nic_family *f, struct error *err)
{
	const char *list = family_option(rd, family, option, NULL);
	auto_free struct ip_prefix *items = NULL;
	size_t n = 0;
	int r = list ? ip_prefixes_parse(family, list, &items, &n, err) : 0;

	if (r < 0 || n == 0)
		return r;
	f->routes = xreallocarray(f->routes, f->n_routes + n, sizeof(*f->routes));
	for (size_t i = 0; i < n; i++)
		f->routes[f->n_routes++] = items[i];
	return 0;
}

static int read_family(const struct reader *rd, int family, struct nic_family *f, struct error *err)
{
	const char *host = family == AF_INET ? "169.254.0.1" : "fe80::1";
	const char *table = family_option(rd, family, "host_table", NULL);
	auto_free char *filtering = xasprintf("security.ipv%d_filtering", family == AF_INET ? 4 : 6);
	int r = read_addresses(rd, family, f, err);

	if (r == 0)
		r = add_routes(rd, family, "routes", f, err);
	if (r == 0)
		r = add_routes(rd, family, "routes.external", f, err);
	if (r < 0)
		return r;
	f->filtering = strmap_get_bool(rd->options, filtering, false);
	f->gateway = !streq(family_option(rd, family, "gateway", "auto"), "none");
	f->probe = parse_bool_or(family_option(rd, family, "neighbor_probe", NULL), true);
	if (!ip_parse(family, family_option(rd, family, "host_address", host), &f->host_address) ||
	    (table && parse_u32(table, &f->host_table) < 0))
		return error_set(err, 400, "Invalid host address or table of device \"%s\"", rd->nic->device);
	return 0;
}

static int read_limits(const struct reader *rd, struct error *err)
{
	const char *max = strmap_get_or(rd->options, "limits.max", NULL);
	const char *ingress = strmap_get_or(rd->options, "limits.ingress", "0");
	const char *egress = strmap_get_or(rd->options, "limits.egress", "0");
	int r = nic_rate_parse(max ? max : ingress, &rd->nic->ingress_bits, err);

	return r < 0 ? r : nic_rate_parse(max ? max : egress, &rd->nic->egress_bits, err);
}

/* An interface's name from the options, else from what is remembered. */
static int read_name(const struct reader *rd, const char *key, char ret[16], struct error *err)
{
	const char *text = strmap_get_or(rd->options, key, NULL);

	if (!text)
		text = volatile_value(rd, key);
	if (text && name_check_interface(text, err) < 0)
		return error_wrap(err, "Invalid %s \"%s\" of device \"%s\"", key, text, rd->nic->device);
	snprintf(ret, 16, "%s", text ? text : "");
	return 0;
}

static int read_mac(const struct reader *rd, struct error *err)
{
	const char *text = strmap_get_or(rd->options, "hwaddr", NULL);

	if (!text)
		text = volatile_value(rd, "hwaddr");
	if (text && !mac_parse(text, &rd->nic->mac))
		return error_set(err, 400, "Invalid MAC address \"%s\" of device \"%s\"", text, rd->nic->device);
	rd->nic->has_mac = text != NULL;
	return 0;
}

static int read_link(const struct reader *rd, struct error *err)
{
	const char *mtu = strmap_get_or(rd->options, "mtu", NULL);
	struct nic *n = rd->nic;
	int r = read_name(rd, "name", n->name, err);

	if (r == 0)
		r = read_name(rd, "host_name", n->host_name, err);
	if (r == 0)
		r = read_mac(rd, err);
	if (r == 0 && mtu && parse_u32(mtu, &n->mtu) < 0)
		r = error_set(err, 400, "Invalid MTU \"%s\" of device \"%s\"", mtu, n->device);
	return r;
}

/* The managed network that it is on, by either option; or the unmanaged bridge's name. */
static int read_network(struct networks *all, const struct reader *rd, struct error *err)
{
	const char *network = strmap_get_or(rd->options, "network", NULL);
	struct nic *n = rd->nic;
	int r;

	n->parent = xstrdup_null(network ? network : strmap_get_or(rd->options, "parent", NULL));
	if (n->type != NIC_BRIDGED || !n->parent)
		return 0;
	r = network_view_get(all, n->parent, &n->network, err);
	if (r == 0 && network)
		return error_set(err, 400,
				 "Failed loading device \"%s\": Failed to load network \"%s\" for project \"%s\": "
				 "Network not found",
				 n->device, network, n->project);
	if (r == 0)
		snprintf(n->network.name, sizeof(n->network.name), "%s", n->parent);
	if (r == 1 && network)
		n->mtu = n->network.mtu;
	return MIN_OF(r, 0);
}

static int read_all(struct networks *all, const struct reader *rd, struct error *err)
{
	struct nic *n = rd->nic;
	int r = nic_type_of(rd->options);

	if (r < 0)
		return error_set(err, 400, "Failed loading device \"%s\": Unsupported device type", n->device);
	n->type = (enum nic_type)r;
	n->mac_filtering = strmap_get_bool(rd->options, "security.mac_filtering", false);
	n->port_isolation = strmap_get_bool(rd->options, "security.port_isolation", false);
	r = read_link(rd, err);
	if (r == 0)
		r = read_limits(rd, err);
	if (r == 0)
		r = read_family(rd, AF_INET, &n->v4, err);
	if (r == 0)
		r = read_family(rd, AF_INET6, &n->v6, err);
	if (r == 0)
		r = read_network(all, rd, err);
	return r == 0 ? nic_check_rules(n, err) : r;
}

int nic_read(struct networks *all, const struct nic_owner *owner, const struct strmap *options,
	     const struct strmap *volatile_, struct nic *ret, struct error *err)
{
	auto_nic struct nic n = NIC_INIT;
	struct reader rd = {options, volatile_, &n};
	int r;

	n.project = xstrdup(owner->project);
	n.instance = xstrdup(owner->instance);
	n.device = xstrdup(owner->device);
	n.label = streq(n.project, "default") ? xasprintf("%s.%s", n.instance, n.device)
					      : xasprintf("%s_%s.%s", n.project, n.instance, n.device);
	r = read_all(all, &rd, err);
	if (r < 0)
		return r;
	*ret = n;
	n = NIC_INIT;
	return 0;
}

bool nic_is_filtered(const struct nic *n)
{
	return n->type == NIC_BRIDGED && (n->mac_filtering || n->v4.filtering || n->v6.filtering);
}

/* --- live changes --- */

/* Does every option of @a that @b has otherwise change while the card is plugged in? */
static bool differ_live_only(const struct strmap *a, const struct strmap *b, const struct config_key *keys)
{
	for (size_t i = 0; i < a->len; i++) {
		const char *name = a->items[i].key;
		const struct config_key *key = config_key_in(keys, name);

		if (streq(strmap_get_or(a, name, ""), strmap_get_or(b, name, "")))
			continue;
		if (!key || !(key->flags & CONFIG_LIVE))
			return false;
	}
	return true;
}

bool nic_change_is_live(const struct strmap *before, const struct strmap *after)
{
	int type = nic_type_of(before);
	const struct config_key *keys;

	if (type < 0 || nic_type_of(after) != type)
		return false;
	keys = nic_type_keys((enum nic_type)type);
	return differ_live_only(before, after, keys) && differ_live_only(after, before, keys);
}
