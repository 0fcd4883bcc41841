/*
 * Type "nic": network cards. Its options differ by nictype (src/config/nic_type.c); here is what they must be together.
 * Neither the networks nor the host are looked at: a profile's card may wait for both.
 */
#include "base/str.h"
#include "config/ip.h"
#include "config/nic_type.h"
#include "device/device_internal.h"

/* --- one card --- */

static int nic_kind(const char *name, const struct strmap *device, const struct config_key **ret, struct error *err)
{
	int type = nic_type_of(device);

	if (type < 0)
		return error_set(err, 400, "Failed loading device \"%s\": Unsupported device type", name);
	if (type == NIC_ROUTED && strmap_get_or(device, "vlan", NULL) && !strmap_get_or(device, "parent", NULL))
		return error_set(err, 400, "The vlan setting can only be used when combined with a parent interface");
	*ret = nic_type_keys((enum nic_type)type);
	return 0;
}

static int need_parent(const struct strmap *device, struct error *err)
{
	return strmap_get_or(device, "parent", NULL)
		       ? 0
		       : error_set(err, 400, "Invalid value for device option \"parent\": Required value");
}

static int bridged_validate(const struct strmap *device, struct error *err)
{
	static const char *const of_the_network[] = {"nictype", "parent", "mtu"};

	if (!strmap_get_or(device, "network", NULL))
		return need_parent(device, err);
	for (size_t i = 0; i < ARRAY_SIZE(of_the_network); i++)
		if (strmap_get_or(device, of_the_network[i], NULL))
			return error_set(err, 400,
					 "Cannot use \"%s\" property in conjunction with \"network\" property",
					 of_the_network[i]);
	return 0;
}

static int check_no_duplicates(const char *key, const char *list, struct error *err)
{
	auto_free struct ip_prefix *items = NULL;
	char text[IP_TEXT_MAX];
	size_t n = 0;
	int r = ip_prefixes_parse(AF_UNSPEC, list, &items, &n, err);

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			if (ip_equal(&items[i].addr, &items[j].addr))
				return error_set(err, 400, "Duplicate address \"%s\" in \"%s\"",
						 ip_format(&items[i].addr, text), key);
	return r;
}

static int routed_validate(const struct strmap *device, struct error *err)
{
	static const struct {
		const char *address;
		const char *routes;
	} families[] = {{"ipv4.address", "ipv4.routes"}, {"ipv6.address", "ipv6.routes"}};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(families) && r == 0; i++) {
		const char *addresses = strmap_get_or(device, families[i].address, NULL);

		if (addresses)
			r = check_no_duplicates(families[i].address, addresses, err);
		else if (strmap_get_or(device, families[i].routes, NULL))
			r = error_set(err, 400, "%s requires %s to be set", families[i].routes, families[i].address);
	}
	return r;
}

static int nic_validate(const char *name UNUSED, const struct strmap *device, struct error *err)
{
	switch (nic_type_of(device)) {
	case NIC_BRIDGED:
		return bridged_validate(device, err);
	case NIC_ROUTED:
		return routed_validate(device, err);
	case NIC_MACVLAN:
	case NIC_PHYSICAL:
		return need_parent(device, err);
	default:
		return 0;
	}
}

/* --- the cards of one instance --- */

static bool is_nic(const struct strmap *device)
{
	return streq(strmap_get_or(device, "type", ""), device_nic.name);
}

static int check_names(const struct mapmap_item *nic, const struct mapmap_item *other, struct error *err)
{
	const char *a = strmap_get_or(&nic->map, "name", NULL), *b = strmap_get_or(&other->map, "name", NULL);

	return a && b && streq(a, b) ? error_set(err, 400, "Duplicate NIC name detected \"%s\"", a) : 0;
}

/* Only one can be the way out. A family's gateway counts even when the card has no address of it. */
static int check_gateways(const struct mapmap_item *nic, const struct mapmap_item *other, struct error *err)
{
	static const char *const keys[] = {"ipv4.gateway", "ipv6.gateway"};

	if (nic_type_of(&nic->map) != NIC_ROUTED || nic_type_of(&other->map) != NIC_ROUTED)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (streq(strmap_get_or(&nic->map, keys[i], "auto"), "auto") &&
		    streq(strmap_get_or(&other->map, keys[i], "auto"), "auto"))
			return error_set(err, 400, "Existing NIC \"%s\" already uses \"%s\" in auto mode", other->key,
					 keys[i]);
	return 0;
}

int device_nics_validate(const struct mapmap *devices, struct error *err)
{
	for (size_t i = 0; i < devices->len; i++) {
		const struct mapmap_item *nic = &devices->items[i];

		for (size_t j = 0; is_nic(&nic->map) && j < i; j++) {
			const struct mapmap_item *other = &devices->items[j];

			if (!is_nic(&other->map))
				continue;
			if (check_names(nic, other, err) < 0 || check_gateways(nic, other, err) < 0)
				return error_wrap(err, "Device validation failed for \"%s\"", nic->key);
		}
	}
	return 0;
}

const struct device_type device_nic = {
	.name = "nic",
	.hotplug = DEVICE_HOT_ADD | DEVICE_HOT_REMOVE,
	.kind = nic_kind,
	.validate = nic_validate,
};
