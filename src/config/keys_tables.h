/* The tables of keys, one file per scope; each ends with a row without name. Only keys.c reads them. */
#pragma once

#include "config/keys.h"

extern const struct config_key config_keys_server[];
extern const struct config_key config_keys_instance[];
extern const struct config_key config_keys_pool[];
extern const struct config_key config_keys_project[];
extern const struct config_key config_keys_network[];

/* Values that networks and NICs share, as config_key.check (keys_ip.c): an address, a list of subnets, an MTU, a
 * hardware address. */
int config_check_address4(const char *key, const char *value, struct error *err);
int config_check_address6(const char *key, const char *value, struct error *err);
int config_check_subnets4(const char *key, const char *value, struct error *err);
int config_check_subnets6(const char *key, const char *value, struct error *err);
int config_check_mtu(const char *key, const char *value, struct error *err);
int config_check_mac(const char *key, const char *value, struct error *err);

#define CONFIG_LATER_ROW(key)                                                    \
	{                                                                        \
		.name = (key), .flags = CONFIG_LATER, .doc = "not supported yet" \
	}
#define CONFIG_END           \
	{                    \
		.name = NULL \
	}
