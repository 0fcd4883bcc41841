/* Keys of storage pools. */
#include "config/keys_tables.h"

const struct config_key config_keys_pool[] = {
	{"source", CONFIG_STRING, NULL, 0, NULL, NULL, "Folder that holds the pool"},
	{"volatile.initial_source", CONFIG_STRING, NULL, 0, NULL, NULL, "The source as it was given first"},
	CONFIG_LATER_ROW("rsync.bwlimit"),
	{"rsync.compression", CONFIG_BOOL, "true", 0, NULL, NULL, "Compress instances on their way to other servers"},
	{"user.*", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL, "Free for any use"},
	CONFIG_LATER_ROW("size"),
	CONFIG_LATER_ROW("volume.*"),
	CONFIG_LATER_ROW("btrfs.*"),
	CONFIG_END,
};
