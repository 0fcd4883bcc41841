/*
 * Keys of managed networks. What a value must be alone is judged here; values against each other are network_check()'s
 * (src/network/network_check.c).
 */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strv.h"
#include "config/ip.h"
#include "config/keys_tables.h"

static const char *version(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

/* --- checks --- */

/* Can no interface have it? Groups, IPv4 broadcast and reserved ones, the host itself. */
static bool is_unusable(const struct ip_prefix *p)
{
	struct ip_addr last = ip_last(p);

	if (ip_prefix_is_network(p) || p->len == 0 || ip_is_loopback(&p->addr))
		return true;
	if (p->addr.family == AF_INET6)
		return p->addr.bytes[0] == 0xff;
	return p->addr.bytes[0] >= 224 || p->addr.bytes[0] == 0 || (p->len < 31 && ip_equal(&p->addr, &last));
}

/* A host address with a prefix length; or that there is none; or that one shall be found. */
static int check_bridge_address(int family, const char *value, struct error *err)
{
	struct ip_prefix p;

	if (streq(value, "none") || streq(value, "auto"))
		return 0;
	if (!ip_prefix_parse(AF_UNSPEC, value, &p))
		return error_set(err, 400, "invalid CIDR address: %s", value);
	if (p.addr.family != family)
		return error_set(err, 400, "Not an %s address \"%s\"", version(family), value);
	if (is_unusable(&p))
		return error_set(err, 400, "Not a usable %s address \"%s\"", version(family), value);
	return 0;
}

static int check_bridge_address4(const char *key UNUSED, const char *value, struct error *err)
{
	return check_bridge_address(AF_INET, value, err);
}

static int check_bridge_address6(const char *key UNUSED, const char *value, struct error *err)
{
	return check_bridge_address(AF_INET6, value, err);
}

static int check_ranges(int family, const char *value, struct error *err)
{
	auto_free struct ip_range *list = NULL;
	size_t n = 0;

	return ip_ranges_parse(family, value, &list, &n, err);
}

static int check_ranges4(const char *key UNUSED, const char *value, struct error *err)
{
	return check_ranges(AF_INET, value, err);
}

static int check_ranges6(const char *key UNUSED, const char *value, struct error *err)
{
	return check_ranges(AF_INET6, value, err);
}

static int check_interfaces(const char *key UNUSED, const char *value, struct error *err)
{
	auto_strv struct strv names = STRV_INIT;

	strv_split(&names, value, ',');
	for (size_t i = 0; i < names.len; i++) {
		const char *name = str_strip(names.items[i]);

		if (!*name || strlen(name) > 15 || strpbrk(name, "/: \t") || streq(name, ".") || streq(name, ".."))
			return error_set(err, 400, "Item \"%s\": Invalid interface name", name);
	}
	return 0;
}

/* A name that answers and leases carry: it stands in an argument of dnsmasq's. */
static int check_domain(const char *key UNUSED, const char *value, struct error *err)
{
	return strpbrk(value, " \t,/") || *value == '-' ? error_set(err, 400, "Invalid domain \"%s\"", value) : 0;
}

static int check_expiry(const char *key UNUSED, const char *value, struct error *err)
{
	return strpbrk(value, " \t,") ? error_set(err, 400, "Invalid lease time \"%s\"", value) : 0;
}

/* --- what is known, but cannot be done here --- */

static int refuse_openvswitch(const char *key UNUSED, const char *value, struct error *err)
{
	return streq(value, "openvswitch")
		       ? error_set(err, 400, "Open vSwitch bridges are not supported by this server: use \"native\"")
		       : 0;
}

static int refuse_fan(const char *key UNUSED, const char *value, struct error *err)
{
	return streq(value, "fan") ? error_set(err, 400,
					       "Fan bridges are not supported: they need an Ubuntu kernel with fan "
					       "tunnels. Use \"standard\"")
				   : 0;
}

static int refuse_fan_key(const char *key, const char *value UNUSED, struct error *err)
{
	return refuse_fan(key, "fan", err);
}

static int refuse_acls(const char *key UNUSED, const char *value UNUSED, struct error *err)
{
	return error_set(err, 400, "Network ACLs are not supported by this server yet");
}

static int refuse_zones(const char *key UNUSED, const char *value UNUSED, struct error *err)
{
	return error_set(err, 400, "Network zones are not supported by this server yet");
}

static int refuse_tunnels(const char *key UNUSED, const char *value UNUSED, struct error *err)
{
	return error_set(err, 400, "Tunnels between bridges are not supported by this server yet");
}

static int refuse_bgp(const char *key UNUSED, const char *value UNUSED, struct error *err)
{
	return error_set(err, 400, "BGP is not supported by this server yet");
}

static int refuse_maas(const char *key UNUSED, const char *value UNUSED, struct error *err)
{
	return error_set(err, 400, "This server cannot talk to a MAAS server");
}

static int refuse_ovn(const char *key UNUSED, const char *value UNUSED, struct error *err)
{
	return error_set(err, 400, "OVN networks are not supported by this server");
}

/* --- the table --- */

static const char *const drivers[] = {"native", "openvswitch", NULL};
static const char *const modes[] = {"standard", "fan", NULL};
static const char *const dns_modes[] = {"managed", "dynamic", "none", NULL};
static const char *const nat_orders[] = {"before", "after", NULL};

/* Known, and refused with what is missing: the documentation lists it with what this server cannot do. */
#define REFUSED_ROW(key, why)                                                                \
	{                                                                                    \
		.name = (key), .flags = CONFIG_LATER, .check = (why), .doc = "not supported" \
	}

const struct config_key config_keys_network[] = {
	{"bridge.driver", CONFIG_ENUM, "native", 0, refuse_openvswitch, drivers,
	 "What makes the bridge; `openvswitch` is refused"},
	{"bridge.external_interfaces", CONFIG_LIST, NULL, 0, check_interfaces, NULL,
	 "Interfaces of the host, without addresses, that become ports of the bridge"},
	{"bridge.hwaddr", CONFIG_STRING, NULL, 0, config_check_mac, NULL,
	 "Hardware address of the bridge; without it one that stays as long as the network"},
	{"bridge.mode", CONFIG_ENUM, "standard", 0, refuse_fan, modes, "Kind of bridge; `fan` is refused"},
	{"bridge.mtu", CONFIG_UINT32, "1500", 0, config_check_mtu, NULL, "MTU of the bridge, 1280 to 16384"},
	{"dns.domain", CONFIG_STRING, "lxd", 0, check_domain, NULL, "Domain of the instances' names"},
	{"dns.mode", CONFIG_ENUM, "managed", 0, NULL, dns_modes,
	 "`managed`: names are those of the instances; `dynamic`: what clients ask for; `none`: no DNS"},
	{"dns.search", CONFIG_LIST, NULL, 0, NULL, NULL, "Domains that clients search"},
	{"ipv4.address", CONFIG_STRING, "auto", 0, check_bridge_address4, NULL,
	 "Address of the bridge with its prefix length, `none`, or `auto`: a free subnet (default when a network is "
	 "made)"},
	{"ipv4.dhcp", CONFIG_BOOL, "true", 0, NULL, NULL, "Give addresses by DHCP"},
	{"ipv4.dhcp.expiry", CONFIG_STRING, "1h", 0, check_expiry, NULL, "How long a lease is good"},
	{"ipv4.dhcp.gateway", CONFIG_STRING, NULL, 0, config_check_address4, NULL,
	 "Gateway that clients are told; without it the bridge"},
	{"ipv4.dhcp.ranges", CONFIG_LIST, NULL, 0, check_ranges4, NULL,
	 "Ranges FIRST-LAST within the subnet to give away; without them all of it"},
	{"ipv4.firewall", CONFIG_BOOL, "true", 0, NULL, NULL,
	 "Make rules that let DHCP, DNS and forwarded packets pass"},
	{"ipv4.nat", CONFIG_BOOL, "false", 0, NULL, NULL,
	 "Translate addresses of what leaves the subnet; set to true when the subnet was found for you"},
	{"ipv4.nat.address", CONFIG_STRING, NULL, 0, config_check_address4, NULL,
	 "Source address of what is translated; without it that of the interface it leaves by"},
	{"ipv4.nat.order", CONFIG_ENUM, "before", 0, NULL, nat_orders,
	 "With xtables: put the rule before or after those that are there"},
	{"ipv4.routes", CONFIG_LIST, NULL, 0, config_check_subnets4, NULL,
	 "Further subnets that are routed to the bridge"},
	{"ipv4.routing", CONFIG_BOOL, "true", 0, NULL, NULL, "Forward packets from and to the bridge"},
	{"ipv6.address", CONFIG_STRING, "auto", 0, check_bridge_address6, NULL, "As `ipv4.address`"},
	{"ipv6.dhcp", CONFIG_BOOL, "true", 0, NULL, NULL, "Answer DHCPv6 besides sending router advertisements"},
	{"ipv6.dhcp.expiry", CONFIG_STRING, "1h", 0, check_expiry, NULL, "As `ipv4.dhcp.expiry`"},
	{"ipv6.dhcp.ranges", CONFIG_LIST, NULL, 0, check_ranges6, NULL, "As `ipv4.dhcp.ranges`; stateful DHCP only"},
	{"ipv6.dhcp.stateful", CONFIG_BOOL, "false", 0, NULL, NULL, "Give addresses by DHCPv6"},
	{"ipv6.firewall", CONFIG_BOOL, "true", 0, NULL, NULL, "As `ipv4.firewall`"},
	{"ipv6.nat", CONFIG_BOOL, "false", 0, NULL, NULL, "As `ipv4.nat`"},
	{"ipv6.nat.address", CONFIG_STRING, NULL, 0, config_check_address6, NULL, "As `ipv4.nat.address`"},
	{"ipv6.nat.order", CONFIG_ENUM, "before", 0, NULL, nat_orders, "As `ipv4.nat.order`"},
	{"ipv6.routes", CONFIG_LIST, NULL, 0, config_check_subnets6, NULL, "As `ipv4.routes`"},
	{"ipv6.routing", CONFIG_BOOL, "true", 0, NULL, NULL, "As `ipv4.routing`"},
	{"raw.dnsmasq", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL, "Lines for dnsmasq's configuration"},
	{"user.*", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL, "Free for any use"},
	REFUSED_ROW("security.acls", refuse_acls),
	REFUSED_ROW("security.acls.*", refuse_acls),
	REFUSED_ROW("dns.zone.*", refuse_zones),
	REFUSED_ROW("tunnel.*", refuse_tunnels),
	REFUSED_ROW("bgp.*", refuse_bgp),
	REFUSED_ROW("fan.*", refuse_fan_key),
	REFUSED_ROW("maas.*", refuse_maas),
	REFUSED_ROW("ipv4.ovn.ranges", refuse_ovn),
	REFUSED_ROW("ipv6.ovn.ranges", refuse_ovn),
	CONFIG_END,
};
