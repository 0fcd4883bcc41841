/* Resource limits of the jailed helpers. */
#pragma once

#include <stddef.h>
#include <sys/resource.h>

#include "base/error.h"

struct process_limit {
	int what; /* RLIMIT_* */
	rlim_t value;
	const char *name; /* for errors */
};

/* Set hard and soft limits of this process. 500, naming the one that cannot be set. */
int process_limits_set(const struct process_limit *limits, size_t n, struct error *err);
