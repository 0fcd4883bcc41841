/* What a network's configuration must be as a whole, what is filled in, and what NICs see of it. */
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/str.h"
#include "config/keys.h"
#include "network/network_internal.h"

/* The keys of one family. */
struct family_keys {
	int family;
	const char *address;
	const char *nat;
	const char *ranges;
};

static const struct family_keys families[] = {
	{AF_INET, "ipv4.address", "ipv4.nat", "ipv4.dhcp.ranges"},
	{AF_INET6, "ipv6.address", "ipv6.nat", "ipv6.dhcp.ranges"},
};

/* --- the view --- */

void network_view_done(struct network_view *v)
{
	strmap_done(&v->config);
}

static int view_address(const struct strmap *config, const struct family_keys *keys, struct ip_prefix *ret,
			struct error *err)
{
	const char *text = strmap_get_or(config, keys->address, "none");

	if (streq(text, "none") || ip_prefix_parse(keys->family, text, ret))
		return 0;
	return error_set(err, 400, "invalid CIDR address: %s", text);
}

int network_view_make(const char *name, const struct strmap *config, struct network_view *ret, struct error *err)
{
	struct network_view v = {.managed = true};
	const char *mtu = strmap_get_or(config, "bridge.mtu", "0");
	int r = view_address(config, &families[0], &v.v4, err);

	if (r == 0)
		r = view_address(config, &families[1], &v.v6, err);
	if (r == 0 && parse_u32(mtu, &v.mtu) < 0)
		r = error_set(err, 400, "Invalid MTU \"%s\"", mtu);
	if (r < 0)
		return r;
	strncpy(v.name, name, sizeof(v.name) - 1);
	v.dhcp4 = v.v4.addr.family && strmap_get_bool(config, "ipv4.dhcp", true);
	v.dhcp6 = v.v6.addr.family && strmap_get_bool(config, "ipv6.dhcp", true);
	v.dhcp6_stateful = v.dhcp6 && strmap_get_bool(config, "ipv6.dhcp.stateful", false);
	strmap_copy(&v.config, config);
	*ret = v;
	return 0;
}

int network_view_get(struct networks *all, const char *name, struct network_view *ret, struct error *err)
{
	CLEANUP(db_network_done) struct db_network row = {0};
	auto_error struct error absent = ERROR_INIT;
	int r;

	if (store_network_dup(all->store, name, &row, &absent) < 0) {
		error_ignore(&absent, "no managed network is an answer, too");
		return 0;
	}
	r = network_view_make(name, &row.config, ret, err);
	return r < 0 ? r : 1;
}

/* --- the commit point --- */

/* Does the kernel give new interfaces IPv6? */
static bool ipv6_is_usual(void)
{
	auto_error struct error e = ERROR_INIT;
	int disabled = 1;

	if (link_sysctl_read("ipv6", "default", "disable_ipv6", &disabled, &e) < 0)
		error_ignore(&e, "a kernel without IPv6");
	return disabled == 0;
}

static void fill_defaults(struct strmap *config)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct family_keys *keys = &families[i];

		if (!strmap_get(config, keys->address) && (keys->family == AF_INET || ipv6_is_usual()))
			strmap_set(config, keys->address, "auto");
		if (streq(strmap_get_or(config, keys->address, ""), "auto") && !strmap_get(config, keys->nat))
			strmap_set(config, keys->nat, "true");
	}
}

static int resolve_auto(struct networks *all, struct strmap *config, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		auto_free char *found = NULL;
		int r;

		if (!streq(strmap_get_or(config, families[i].address, ""), "auto"))
			continue;
		r = network_find_subnet(all, families[i].family, &found, err);
		if (r < 0)
			return r;
		strmap_set(config, families[i].address, found);
	}
	return 0;
}

/* An address that is in no subnet of the bridge would never be given away. */
static int check_ranges(const char *name, const struct strmap *config, const struct family_keys *keys,
			const struct ip_prefix *subnet, struct error *err)
{
	auto_free struct ip_range *list = NULL;
	const char *text = strmap_get(config, keys->ranges);
	char where[IP_TEXT_MAX];
	size_t n = 0;
	int r;

	if (!text || !subnet->addr.family)
		return 0;
	r = ip_ranges_parse(keys->family, text, &list, &n, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct ip_prefix net = ip_network(subnet);

		if (!ip_prefix_contains(subnet, &list[i].first) || !ip_prefix_contains(subnet, &list[i].last))
			r = error_set(
				err, 400,
				"Invalid value for network \"%s\" option \"%s\": \"%s\" is not within the subnet %s",
				name, keys->ranges, text, ip_prefix_format(&net, where));
	}
	return r;
}

static int check_together(const char *name, const struct strmap *config, struct error *err)
{
	CLEANUP(network_view_done) struct network_view v = NETWORK_VIEW_INIT;
	int r = network_view_make(name, config, &v, err);

	if (r == 0 && v.v6.addr.family && !link_have_ipv6())
		r = error_set(
			err, 400,
			"Network \"%s\" cannot have an IPv6 address: the kernel has no IPv6. Set \"ipv6.address\" to "
			"\"none\"",
			name);
	if (r == 0)
		r = check_ranges(name, config, &families[0], &v.v4, err);
	if (r == 0)
		r = check_ranges(name, config, &families[1], &v.v6, err);
	if (r == 0 && strmap_get(config, "bridge.hwaddr") && strmap_get(config, "bridge.external_interfaces") &&
	    !v.v4.addr.family && !v.v6.addr.family)
		r = error_set(
			err, 400,
			"Cannot use \"bridge.hwaddr\" with \"bridge.external_interfaces\" on network \"%s\", which has "
			"no address",
			name);
	return r;
}

int network_check(struct networks *all, const char *name, struct strmap *config, const struct strmap *old,
		  struct error *err)
{
	int r = link_name_check(name, err);

	if (r == 0)
		r = config_validate_network(name, config, err);
	if (r < 0)
		return r;
	/* "" unsets a key, as everywhere */
	strmap_drop_empty(config);
	if (!old)
		fill_defaults(config);
	r = resolve_auto(all, config, err);
	return r < 0 ? r : check_together(name, config, err);
}
