/* The device types, one file each, and what they share. For src/device only. */
#pragma once

#include "device/device.h"

extern const struct device_type device_disk;
extern const struct device_type device_unix_char;
extern const struct device_type device_unix_block;
extern const struct device_type device_none;
extern const struct device_type device_nic;

/*
 * Where @path leads in the container, as mount entries want it: without leading slash, empty and "." parts. 400 when
 * it is not absolute or holds "..". "" is the root. The caller frees *@ret.
 */
int device_target(const char *path, char **ret, struct error *err);

/* Rules among the network cards of one instance: names, and which of them leads out. 400. */
int device_nics_validate(const struct mapmap *devices, struct error *err);
