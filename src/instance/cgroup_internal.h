/* Shared by the files that read control groups. */
#pragma once

#include "instance/cgroup.h"

/* controller ("" for v2) -> path in its hierarchy, of the container whose init is @pid. */
int cgroup_membership(const struct cgroup_layout *l, pid_t pid, struct strmap *ret, struct error *err);
/* A file of the container's cgroup; NULL when it is not there. The caller frees. */
char *cgroup_read_file(const struct cgroup_layout *l, const struct strmap *paths, const char *controller,
		       const char *file);
/* The number that a file holds, or -1. */
int64_t cgroup_read_number(const struct cgroup_layout *l, const struct strmap *paths, const char *controller,
			   const char *file);
/* How many processes it has: where pids are not counted, the lines of the process list. -1: not known. */
int64_t cgroup_read_processes(const struct cgroup_layout *l, const struct strmap *paths);
