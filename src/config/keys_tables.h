/* The tables of keys, one file per scope; each ends with a row without name. Only keys.c reads them. */
#pragma once

#include "config/keys.h"

extern const struct config_key config_keys_server[];
extern const struct config_key config_keys_instance[];
extern const struct config_key config_keys_pool[];
extern const struct config_key config_keys_project[];
extern const struct config_key config_keys_network[];

#define CONFIG_LATER_ROW(key)                                                    \
	{                                                                        \
		.name = (key), .flags = CONFIG_LATER, .doc = "not supported yet" \
	}
#define CONFIG_END           \
	{                    \
		.name = NULL \
	}
