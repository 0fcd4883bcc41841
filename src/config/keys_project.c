/* Keys of projects. Only the default project exists so far, so that its features are fixed. */
#include "config/keys_tables.h"

const struct config_key config_keys_project[] = {
	{"features.images", CONFIG_BOOL, "true", 0, NULL, NULL, "Does the project have its own"},
	{"features.profiles", CONFIG_BOOL, "true", 0, NULL, NULL, "Does the project have its own"},
	{"features.storage.volumes", CONFIG_BOOL, "true", 0, NULL, NULL, "Does the project have its own"},
	{"features.networks", CONFIG_BOOL, "false", 0, NULL, NULL, "Does the project have its own"},
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
