/*
 * Control groups as the host has them: which layout, where each controller is mounted, and what a container uses.
 * Limits are written by liblxc's monitor.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/strmap.h"

enum cgroup_kind { CGROUP_NONE, CGROUP_V1, CGROUP_V2, CGROUP_HYBRID };

struct cgroup_layout {
	enum cgroup_kind kind;
	/* controller -> mount point, "" -> the unified hierarchy's; without @root in front */
	struct strmap mounts;
	char *root; /* put in front of every path when reading */
	/* controllers that the unified hierarchy has */
	struct strmap unified;
};

#define CGROUP_LAYOUT_INIT ((struct cgroup_layout){0})
void cgroup_layout_done(struct cgroup_layout *l);
/* From @root/proc/self/mountinfo and the unified cgroup.controllers. @root: "" in real life. */
int cgroup_layout_read(const char *root, struct cgroup_layout *ret, struct error *err);
/* "none", "v1", "v2", "hybrid". */
const char *cgroup_kind_name(enum cgroup_kind kind);
/* Does @controller ("memory", "pids", "cpu", "cpuset", "devices" ...) come through the unified hierarchy? */
bool cgroup_is_unified(const struct cgroup_layout *l, const char *controller);
/* Is the controller there at all? v2 has no "devices" controller but always filters devices: true. */
bool cgroup_has(const struct cgroup_layout *l, const char *controller);

/* -1: the host does not tell. */
struct cgroup_usage {
	int64_t memory_bytes;
	int64_t memory_peak_bytes;
	int64_t swap_bytes;
	int64_t swap_peak_bytes;
	int64_t cpu_ns;
	int64_t processes;
};

/*
 * What the container uses whose init is @init_pid. The cgroup is the one init is in, or the parent "lxc.payload.*"
 * when init has moved itself below. -ESRCH: init is gone.
 */
int cgroup_usage_read(const struct cgroup_layout *l, pid_t init_pid, struct cgroup_usage *ret, struct error *err);

/*
 * After the end of container @name: removes the groups that liblxc made for it and could not remove, since a process
 * was still dying in one. Waits for that, @timeout_ms at most. False: some are still there.
 */
bool cgroup_remove_left(const struct cgroup_layout *l, const char *name, int64_t timeout_ms);
