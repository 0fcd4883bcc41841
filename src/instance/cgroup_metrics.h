/* A container's control groups as metrics. */
#pragma once

#include "base/metrics.h"
#include "instance/cgroup.h"

/*
 * Add what the control groups of the container tell whose init is @init_pid: processor time, memory, disk traffic,
 * processes. @labels goes into every sample. What the host does not count is left out. -ESRCH: init is gone.
 */
int cgroup_metrics_read(const struct cgroup_layout *l, pid_t init_pid, const char *labels, struct metrics *out,
			struct error *err);
