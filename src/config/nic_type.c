/* Tables of the options of network cards. What options mean together is src/device/device_nic.c's, what they mean on a
 * network src/network/nic_read.c's. */
#include "config/nic_type.h"

#include "base/alloc.h"
#include "base/str.h"
#include "base/strv.h"
#include "config/ip.h"
#include "config/keys_tables.h"
#include "config/names.h"

const char *const nic_volatile_notes[] = {"host_name",
					  "last_state.created",
					  "last_state.hwaddr",
					  "last_state.mtu",
					  "last_state.proxies",
					  "last_state.routes",
					  NULL};

/* --- checks --- */

int nic_rate_parse(const char *text, uint64_t *ret, struct error *err)
{
	static const struct {
		const char *suffix;
		uint64_t factor;
	} units[] = {
		{"kbit", 1000},
		{"Mbit", 1000000},
		{"Gbit", 1000000000},
		{"Tbit", 1000000000000},
		{"Pbit", 1000000000000000},
		{"Ebit", 1000000000000000000},
		{"Kibit", UINT64_C(1) << 10},
		{"Mibit", UINT64_C(1) << 20},
		{"Gibit", UINT64_C(1) << 30},
		{"Tibit", UINT64_C(1) << 40},
		{"Pibit", UINT64_C(1) << 50},
		{"Eibit", UINT64_C(1) << 60},
		{"bit", 1},
		{"", 1},
	};
	size_t digits = strspn(text, "0123456789");
	auto_free char *number = xstrndup(text, digits);
	uint64_t n;

	for (size_t i = 0; parse_u64(number, &n) == 0 && i < ARRAY_SIZE(units); i++) {
		if (!streq(text + digits, units[i].suffix))
			continue;
		if (n > UINT64_MAX / units[i].factor)
			break;
		*ret = n * units[i].factor;
		return 0;
	}
	return error_set(err, 400, "Invalid value: %s", text);
}

static int check_rate(const char *key UNUSED, const char *value, struct error *err)
{
	uint64_t bits;

	return nic_rate_parse(value, &bits, err);
}

static int check_interface(const char *key UNUSED, const char *value, struct error *err)
{
	return name_check_interface(value, err);
}

/* Every container has a loopback interface already. */
static int check_inner_name(const char *key UNUSED, const char *value, struct error *err)
{
	if (streq(value, "lo"))
		return error_set(err, 400, "Network interface \"lo\" is the container's loopback");
	return name_check_interface(value, err);
}

static int check_one4(const char *key, const char *value, struct error *err)
{
	return streq(value, "none") ? 0 : config_check_address4(key, value, err);
}

static int check_one6(const char *key, const char *value, struct error *err)
{
	return streq(value, "none") ? 0 : config_check_address6(key, value, err);
}

static int check_list(const char *key, const char *value,
		      int (*check)(const char *key, const char *value, struct error *err), struct error *err)
{
	auto_strv struct strv items = STRV_INIT;
	int r = 0;

	strv_split(&items, value, ',');
	for (size_t i = 0; i < items.len && r == 0; i++)
		r = check(key, str_strip(items.items[i]), err);
	return r;
}

static int check_many4(const char *key, const char *value, struct error *err)
{
	return check_list(key, value, config_check_address4, err);
}

static int check_many6(const char *key, const char *value, struct error *err)
{
	return check_list(key, value, config_check_address6, err);
}

static int check_gateway(const char *key UNUSED, const char *value, struct error *err)
{
	return streq(value, "auto") || streq(value, "none") ? 0 : error_set(err, 400, "Invalid gateway: %s", value);
}

/* --- what is known, but cannot be done here --- */

static int refuse_vlan(const char *key, const char *value UNUSED, struct error *err)
{
	return error_set(err, 400,
			 "The option \"%s\" is not supported by this server: it needs VLAN filtering in the kernel's "
			 "bridge",
			 key);
}

static int refuse_vlan_link(const char *key, const char *value UNUSED, struct error *err)
{
	return error_set(err, 400,
			 "The option \"%s\" is not supported by this server: it needs VLAN interfaces (802.1q) of the "
			 "kernel",
			 key);
}

static int refuse_acls(const char *key UNUSED, const char *value UNUSED, struct error *err)
{
	return error_set(err, 400, "Network ACLs are not supported by this server yet");
}

static int refuse_maas(const char *key UNUSED, const char *value UNUSED, struct error *err)
{
	return error_set(err, 400, "This server cannot talk to a MAAS server");
}

/* --- the tables --- */

#define REFUSED_ROW(key, why)                                                                \
	{                                                                                    \
		.name = (key), .flags = CONFIG_LATER, .check = (why), .doc = "not supported" \
	}
#define NICTYPE_ROW                                                           \
	{                                                                     \
		"nictype", CONFIG_STRING, NULL, 0, NULL, NULL, "Kind of card" \
	}
#define NAME_ROW                                                                          \
	{                                                                                 \
		"name", CONFIG_STRING, NULL, 0, check_inner_name, NULL,                   \
			"Interface in the container; the default is the next free `ethN`" \
	}
#define HOST_NAME_ROW                                                       \
	{                                                                   \
		"host_name", CONFIG_STRING, NULL, 0, check_interface, NULL, \
			"Interface on the host; the default is random"      \
	}
#define HWADDR_ROW                                                           \
	{                                                                    \
		"hwaddr", CONFIG_STRING, NULL, 0, config_check_mac, NULL,    \
			"Hardware address; the default is random, and stays" \
	}
#define MTU_ROW                                                           \
	{                                                                 \
		"mtu", CONFIG_UINT32, NULL, 0, config_check_mtu, NULL,    \
			"MTU, 1280 to 16384; the default is the parent's" \
	}
#define LIMIT_ROWS                                                                                      \
	{"limits.ingress",                                                                              \
	 CONFIG_STRING,                                                                                 \
	 NULL,                                                                                          \
	 CONFIG_LIVE,                                                                                   \
	 check_rate,                                                                                    \
	 NULL,                                                                                          \
	 "Bits a second to the container: `100Mbit`, `1Gibit`"},                                        \
		{"limits.egress",                                                                       \
		 CONFIG_STRING,                                                                         \
		 NULL,                                                                                  \
		 CONFIG_LIVE,                                                                           \
		 check_rate,                                                                            \
		 NULL,                                                                                  \
		 "Bits a second from the container"},                                                   \
	{                                                                                               \
		"limits.max", CONFIG_STRING, NULL, CONFIG_LIVE, check_rate, NULL, "Both limits at once" \
	}
#define ROUTE_ROWS(flags, doc)                                                            \
	{"ipv4.routes", CONFIG_LIST, NULL, flags, config_check_subnets4, NULL, doc},      \
	{                                                                                 \
		"ipv6.routes", CONFIG_LIST, NULL, flags, config_check_subnets6, NULL, doc \
	}
#define BOOT_ROW                                                             \
	{                                                                    \
		"boot.priority", CONFIG_UINT32, NULL, 0, NULL, NULL,         \
			"For virtual machines; without effect on containers" \
	}

static const struct config_key bridged_keys[] = {
	NICTYPE_ROW,
	{"network", CONFIG_STRING, NULL, 0, NULL, NULL, "Managed network; instead of `nictype` and `parent`"},
	{"parent", CONFIG_STRING, NULL, 0, check_interface, NULL, "Bridge on the host"},
	NAME_ROW,
	HOST_NAME_ROW,
	HWADDR_ROW,
	MTU_ROW,
	{"ipv4.address", CONFIG_STRING, NULL, CONFIG_LIVE, check_one4, NULL,
	 "Address that DHCP gives and `security.ipv4_filtering` allows; `none` allows no IPv4 at all"},
	{"ipv6.address", CONFIG_STRING, NULL, CONFIG_LIVE, check_one6, NULL, "As `ipv4.address`"},
	ROUTE_ROWS(CONFIG_LIVE, "Subnets that are routed to the card's bridge, and that filters allow"),
	{"ipv4.routes.external", CONFIG_LIST, NULL, CONFIG_LIVE, config_check_subnets4, NULL, "As `ipv4.routes`"},
	{"ipv6.routes.external", CONFIG_LIST, NULL, CONFIG_LIVE, config_check_subnets6, NULL, "As `ipv6.routes`"},
	LIMIT_ROWS,
	{"security.mac_filtering", CONFIG_BOOL, "false", CONFIG_LIVE, NULL, NULL,
	 "Drop what has a hardware address of others"},
	{"security.ipv4_filtering", CONFIG_BOOL, "false", CONFIG_LIVE, NULL, NULL,
	 "Drop what has an IPv4 or hardware address of others, and frames that are neither IP nor ARP"},
	{"security.ipv6_filtering", CONFIG_BOOL, "false", CONFIG_LIVE, NULL, NULL,
	 "Drop what has an IPv6 or hardware address of others, and frames that are neither IP nor ARP"},
	{"security.port_isolation", CONFIG_BOOL, "false", 0, NULL, NULL,
	 "No frames between cards that both have this set"},
	BOOT_ROW,
	REFUSED_ROW("vlan", refuse_vlan),
	REFUSED_ROW("vlan.tagged", refuse_vlan),
	REFUSED_ROW("security.acls", refuse_acls),
	REFUSED_ROW("security.acls.*", refuse_acls),
	REFUSED_ROW("maas.*", refuse_maas),
	CONFIG_END,
};

static const struct config_key routed_keys[] = {
	NICTYPE_ROW,
	{"parent", CONFIG_STRING, NULL, 0, check_interface, NULL,
	 "Interface of the host on whose network the addresses are answered for"},
	NAME_ROW,
	HOST_NAME_ROW,
	HWADDR_ROW,
	MTU_ROW,
	{"ipv4.address", CONFIG_LIST, NULL, 0, check_many4, NULL, "Addresses of the container"},
	{"ipv4.gateway", CONFIG_STRING, "auto", 0, check_gateway, NULL, "`auto`: default route to the host; `none`"},
	{"ipv4.host_address", CONFIG_STRING, "169.254.0.1", 0, config_check_address4, NULL,
	 "Address of the host's end"},
	{"ipv4.host_table", CONFIG_UINT32, NULL, 0, NULL, NULL, "Routing table that gets the routes too"},
	{"ipv4.neighbor_probe", CONFIG_BOOL, "true", 0, NULL, NULL,
	 "Ask the parent's network first whether the addresses are in use"},
	{"ipv6.address", CONFIG_LIST, NULL, 0, check_many6, NULL, "Addresses of the container"},
	{"ipv6.gateway", CONFIG_STRING, "auto", 0, check_gateway, NULL, "As `ipv4.gateway`"},
	{"ipv6.host_address", CONFIG_STRING, "fe80::1", 0, config_check_address6, NULL, "Address of the host's end"},
	{"ipv6.host_table", CONFIG_UINT32, NULL, 0, NULL, NULL, "As `ipv4.host_table`"},
	{"ipv6.neighbor_probe", CONFIG_BOOL, "true", 0, NULL, NULL, "As `ipv4.neighbor_probe`"},
	ROUTE_ROWS(0, "Subnets that are routed to the container's first address"),
	LIMIT_ROWS,
	REFUSED_ROW("vlan", refuse_vlan_link),
	REFUSED_ROW("gvrp", refuse_vlan_link),
	CONFIG_END,
};

static const struct config_key p2p_keys[] = {
	NICTYPE_ROW, NAME_ROW, HOST_NAME_ROW,
	HWADDR_ROW,  MTU_ROW,  ROUTE_ROWS(CONFIG_LIVE, "Subnets that are routed to the host's end"),
	LIMIT_ROWS,  BOOT_ROW, CONFIG_END,
};

static const struct config_key macvlan_keys[] = {
	NICTYPE_ROW,
	{"parent", CONFIG_STRING, NULL, 0, check_interface, NULL, "Interface of the host that it is a branch of"},
	NAME_ROW,
	HWADDR_ROW,
	MTU_ROW,
	BOOT_ROW,
	REFUSED_ROW("vlan", refuse_vlan_link),
	REFUSED_ROW("gvrp", refuse_vlan_link),
	REFUSED_ROW("maas.*", refuse_maas),
	CONFIG_END,
};

static const struct config_key physical_keys[] = {
	NICTYPE_ROW,
	{"parent", CONFIG_STRING, NULL, 0, check_interface, NULL,
	 "Interface of the host that moves into the container"},
	NAME_ROW,
	HWADDR_ROW,
	MTU_ROW,
	BOOT_ROW,
	REFUSED_ROW("vlan", refuse_vlan_link),
	REFUSED_ROW("gvrp", refuse_vlan_link),
	REFUSED_ROW("maas.*", refuse_maas),
	CONFIG_END,
};

static const struct {
	const char *name;
	const struct config_key *keys;
} types[NIC_TYPE_COUNT] = {
	[NIC_BRIDGED] = {"bridged", bridged_keys},
	[NIC_ROUTED] = {"routed", routed_keys},
	[NIC_P2P] = {"p2p", p2p_keys},
	[NIC_MACVLAN] = {"macvlan", macvlan_keys},
	[NIC_PHYSICAL] = {"physical", physical_keys},
};

int nic_type_of(const struct strmap *options)
{
	const char *name = strmap_get_or(options, "nictype", NULL);

	if (strmap_get_or(options, "network", NULL))
		return NIC_BRIDGED;
	for (int i = 0; name && i < NIC_TYPE_COUNT; i++)
		if (streq(types[i].name, name))
			return i;
	return -EINVAL;
}

const char *nic_type_name(enum nic_type type)
{
	return types[type].name;
}

const struct config_key *nic_type_keys(enum nic_type type)
{
	return types[type].keys;
}
