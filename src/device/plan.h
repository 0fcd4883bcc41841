/* What an instance's devices need: made by the device types, carried out by src/instance. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

struct device_mount {
	char *device;      /* device name */
	char *source;      /* absolute path on the host */
	char *target;      /* path in the container, without leading slash */
	char *propagation; /* NULL: private; shared, slave, unbindable, rshared ... */
	char *options;     /* NULL or further mount options, comma separated (raw.mount.options) */
	bool is_dir;       /* target is made as a folder, else as a file */
	bool readonly;
	bool recursive;
	bool nofollow; /* the way to the source has no symbolic link, however it changes until it is mounted */
	bool shift;    /* mount with the container's idmap, so that ids inside are those on disk */
};

struct device_node {
	char *device;
	char *target; /* path in the container, without leading slash */
	char type;    /* 'c' or 'b' */
	unsigned major;
	unsigned minor;
	mode_t mode;
	uid_t uid; /* container ids */
	gid_t gid;
};

/* A line of the device cgroup. */
struct device_rule {
	char type;      /* 'c', 'b' or 'a' */
	int major;      /* -1: any */
	int minor;      /* -1: any */
	char access[4]; /* some of "rwm" */
};

struct device_plan {
	struct device_mount *mounts;
	size_t n_mounts;
	struct device_node *nodes;
	size_t n_nodes;
	struct device_rule *rules;
	size_t n_rules;
};

#define DEVICE_PLAN_INIT ((struct device_plan){0})
#define auto_device_plan CLEANUP(device_plan_done)

void device_plan_done(struct device_plan *p);
/* Append; the plan owns the strings from now on. */
void device_plan_add_mount(struct device_plan *p, struct device_mount m);
void device_plan_add_node(struct device_plan *p, struct device_node n);
void device_plan_add_rule(struct device_plan *p, struct device_rule r);
