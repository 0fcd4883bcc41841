/* Type "nic": known, and refused until networks exist, so that nobody believes a container is connected. */
#include "device/device_internal.h"

static int nic_validate(const char *name, const struct strmap *device UNUSED, struct error *err)
{
	return error_set(err, 400, "Network device \"%s\" is refused: this server has no networks yet", name);
}

const struct device_type device_nic = {
	.name = "nic",
	.validate = nic_validate,
};
