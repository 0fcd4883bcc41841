/* Checks of addresses in values, which networks and NICs share. */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "config/ip.h"
#include "config/keys_tables.h"

#define MTU_MIN 1280 /* the least that IPv6 works with */
#define MTU_MAX 16384

static const char *version(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

static int check_address(int family, const char *value, struct error *err)
{
	struct ip_addr a;

	return ip_parse(family, value, &a) ? 0
					   : error_set(err, 400, "Not an %s address \"%s\"", version(family), value);
}

int config_check_address4(const char *key UNUSED, const char *value, struct error *err)
{
	return check_address(AF_INET, value, err);
}

int config_check_address6(const char *key UNUSED, const char *value, struct error *err)
{
	return check_address(AF_INET6, value, err);
}

static int check_subnets(int family, const char *value, struct error *err)
{
	auto_free struct ip_prefix *list = NULL;
	char text[IP_TEXT_MAX];
	size_t n = 0;
	int r = ip_prefixes_parse(family, value, &list, &n, err);

	for (size_t i = 0; r == 0 && i < n; i++)
		if (!ip_prefix_is_network(&list[i]))
			r = error_set(err, 400, "Item \"%s\": Not an %s network address",
				      ip_prefix_format(&list[i], text), version(family));
	return r;
}

int config_check_subnets4(const char *key UNUSED, const char *value, struct error *err)
{
	return check_subnets(AF_INET, value, err);
}

int config_check_subnets6(const char *key UNUSED, const char *value, struct error *err)
{
	return check_subnets(AF_INET6, value, err);
}

int config_check_mtu(const char *key UNUSED, const char *value, struct error *err)
{
	uint32_t mtu;

	if (parse_u32(value, &mtu) < 0)
		return error_set(err, 400, "Invalid MTU \"%s\"", value);
	if (mtu < MTU_MIN || mtu > MTU_MAX)
		return error_set(err, 400, "Out of MTU range (%d-%d) \"%s\"", MTU_MIN, MTU_MAX, value);
	return 0;
}

int config_check_mac(const char *key UNUSED, const char *value, struct error *err)
{
	static const struct mac_addr zero;
	struct mac_addr mac;

	if (!mac_parse(value, &mac))
		return error_set(err, 400, "Invalid MAC address, must be 6 bytes of hex separated by colons");
	if ((mac.bytes[0] & 1) || memcmp(&mac, &zero, sizeof(mac)) == 0)
		return error_set(err, 400, "MAC address \"%s\" is none that an interface can have", value);
	return 0;
}
