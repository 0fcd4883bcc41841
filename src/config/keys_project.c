/* Keys of projects: what a project has for itself. */
#include "config/keys_tables.h"

#define FEATURE(name, def)                                                                          \
	{                                                                                           \
		name, CONFIG_BOOL, def, 0, NULL, NULL, "Its own; else those of the default project" \
	}

const struct config_key config_keys_project[] = {
	FEATURE("features.images", "true"),
	FEATURE("features.networks", "false"),
	FEATURE("features.profiles", "true"),
	FEATURE("features.storage.volumes", "true"),
	{"user.*", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL, "Free for any use"},
	CONFIG_LATER_ROW("limits.containers"),
	CONFIG_LATER_ROW("limits.virtual-machines"),
	CONFIG_LATER_ROW("limits.instances"),
	CONFIG_LATER_ROW("limits.networks"),
	CONFIG_LATER_ROW("limits.processes"),
	CONFIG_LATER_ROW("limits.cpu"),
	CONFIG_LATER_ROW("limits.memory"),
	CONFIG_LATER_ROW("limits.disk"),
	CONFIG_LATER_ROW("backups.compression_algorithm"),
	CONFIG_LATER_ROW("images.auto_update_cached"),
	CONFIG_LATER_ROW("images.auto_update_interval"),
	CONFIG_LATER_ROW("images.compression_algorithm"),
	CONFIG_LATER_ROW("images.default_architecture"),
	CONFIG_LATER_ROW("images.remote_cache_expiry"),
	CONFIG_LATER_ROW("restricted"),
	CONFIG_LATER_ROW("restricted.*"),
	CONFIG_END,
};
