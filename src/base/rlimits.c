#include "base/rlimits.h"

#include <errno.h>

int process_limits_set(const struct process_limit *limits, size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		const struct rlimit l = {limits[i].value, limits[i].value};

		if (setrlimit((__rlimit_resource_t)limits[i].what, &l) < 0)
			return error_errno(err, errno, "Limit %s", limits[i].name);
	}
	return 0;
}
