/* Type "none": takes the place of a device that a profile brings, and needs nothing. */
#include "device/device_internal.h"

static const struct config_key none_keys[] = {{.name = NULL}};

const struct device_type device_none = {
	.name = "none",
	.hotplug = DEVICE_HOT_ADD | DEVICE_HOT_REMOVE,
	.keys = none_keys,
};
