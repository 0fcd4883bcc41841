/* What an instance has once its profiles are added: later settings win, device by device and key by key. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/strmap.h"

/* Lay @layer (a profile, in order, or the instance itself) over what @dst has. */
void expand_config(struct strmap *dst, const struct strmap *layer);
/* The same with devices: a device of the same name is replaced as a whole. */
void expand_devices(struct mapmap *dst, const struct mapmap *layer);
/* Is it the disk that is mounted at "/"? */
bool expand_is_root_disk(const struct strmap *device);
/*
 * The one root disk; borrowed from @devices. 400 `No root device could be found`, or `More than one root device
 * found: "a" and "b"`.
 */
int expand_root_disk(const struct mapmap *devices, const char **ret_name, const struct strmap **ret, struct error *err);
