/* A container's control groups as metrics. */
#pragma once

#include "base/metrics.h"
#include "instance/cgroup.h"

/* Bytes that the host has, or -1. Reading it takes the kernel longer than all of a container's figures. */
int64_t cgroup_host_memory(const struct cgroup_layout *l);
/*
 * Add what the control groups of the container tell whose init is @init_pid: processor time, memory, disk traffic,
 * processes. @host_memory from cgroup_host_memory(); @labels goes into every sample. What the host does not count is
 * left out. -ESRCH: init is gone.
 */
int cgroup_metrics_read(const struct cgroup_layout *l, int64_t host_memory, pid_t init_pid, const char *labels,
			struct metrics *out, struct error *err);
