/*
 * Device types: one table row each. A type checks its options and says what the container needs; src/instance
 * carries that out.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/strmap.h"
#include "config/idmap.h"
#include "config/keys.h"
#include "device/plan.h"

enum device_hotplug {
	DEVICE_HOT_ADD = 1 << 0,
	DEVICE_HOT_REMOVE = 1 << 1,
};

struct device_type {
	const char *name;
	unsigned hotplug; /* enum device_hotplug */
	/* Options besides "type", ended by a row without name. NULL: validate() judges them all. */
	const struct config_key *keys;
	/* The options of this device where they differ by kind (then keys is NULL). NULL: keys. 400: it is no kind. */
	int (*kind)(const char *name, const struct strmap *device, const struct config_key **ret, struct error *err);
	/* Rules beyond the single options. NULL: none. The host is not looked at. */
	int (*validate)(const char *name, const struct strmap *device, struct error *err);
	/* Look at the host and add to @plan. NULL: the device needs nothing. */
	int (*plan)(const char *name, const struct strmap *device, struct device_plan *plan, struct error *err);
};

/*
 * The type of @device by its "type" option. 400 `Invalid device type zzz`, or `Device type "gpu" is not supported by
 * this server yet`.
 */
int device_type_of(const struct strmap *device, const struct device_type **ret, struct error *err);
/* All types, ended by NULL: for documentation and tests. */
extern const struct device_type *const device_types[];

/* Check one device. 400 `Device validation failed for "d": ...`. */
int device_validate(const char *name, const struct strmap *device, struct error *err);
/* Check all: each by its type, no path mounted twice, no more than one root disk. */
int devices_validate(const struct mapmap *devices, struct error *err);
/* What one device needs; the root disk needs nothing here. Errors name the device. */
int device_plan_one(const char *name, const struct strmap *device, struct device_plan *plan, struct error *err);
/* The same for all, disks ordered so that a parent's mount comes before its children's. */
int devices_plan(const struct mapmap *devices, struct device_plan *plan, struct error *err);

/* Name of a device's node in the instance's devices folder: the device's, percent-encoded; the caller frees. */
char *device_node_file(const struct device_node *node);
/*
 * Make the node below the folder @dirfd as device_node_file() of its device, owned by the host ids of its owner in
 * @map, for a bind mount into the container. What was there under that name is replaced.
 */
int device_node_create(int dirfd, const struct device_node *node, const struct idmap *map, struct error *err);
