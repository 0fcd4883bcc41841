/* limits.* keys as cgroup values, for both cgroup versions. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "instance/lxcconf.h"

/* "512MB", "50%" of the host. */
static int parse_memory(const char *text, uint64_t host_bytes, uint64_t *ret, struct error *err)
{
	const char *percent = endswith(text, "%");
	auto_free char *number = NULL;
	uint64_t v = 0;
	int r;

	if (percent) {
		number = xstrndup(text, (size_t)(percent - text));
		if (parse_u64(number, &v) < 0 || v == 0 || v > 100)
			return error_set(err, 400, "Invalid value \"%s\" for limits.memory: not a percentage", text);
		*ret = host_bytes / 100 * v;
		return 0;
	}
	r = parse_size(text, &v, err);
	if (r < 0)
		return error_wrap(err, "Invalid value \"%s\" for limits.memory", text);
	if (v == 0)
		return error_set(err, 400, "Invalid value \"%s\" for limits.memory: zero", text);
	*ret = v;
	return 0;
}

static void add_memory_v2(struct lxcconf *c, uint64_t bytes, bool soft, bool swap)
{
	if (soft) {
		lxcconf_addf(c, "memory.high", "%llu", (unsigned long long)bytes);
		return;
	}
	lxcconf_addf(c, "memory.max", "%llu", (unsigned long long)bytes);
	lxcconf_addf(c, "memory.high", "%llu", (unsigned long long)(bytes / 10 * 9));
	if (!swap)
		lxcconf_add(c, "memory.swap.max", "0");
}

static void add_memory_v1(struct lxcconf *c, uint64_t bytes, bool soft)
{
	if (soft) {
		lxcconf_addf(c, "memory.soft_limit_in_bytes", "%llu", (unsigned long long)bytes);
		return;
	}
	lxcconf_addf(c, "memory.limit_in_bytes", "%llu", (unsigned long long)bytes);
	/* 90 %: reclaim begins before the wall is hit */
	lxcconf_addf(c, "memory.soft_limit_in_bytes", "%llu", (unsigned long long)(bytes / 10 * 9));
}

static int add_memory(const struct strmap *config, const struct lxcconf_host *host, struct lxcconf *c,
		      struct error *err)
{
	const char *limit = strmap_get_or(config, "limits.memory", NULL);
	bool soft = streq(strmap_get_or(config, "limits.memory.enforce", "hard"), "soft");
	bool swap = strmap_get_bool(config, "limits.memory.swap", true);
	bool v2 = cgroup_is_unified(&host->cgroup, "memory");
	uint64_t bytes = 0;
	int r;

	if (!cgroup_has(&host->cgroup, "memory"))
		return 0;
	if (!v2 && !swap)
		lxcconf_add(c, "memory.swappiness", "0");
	if (!limit)
		return 0;
	r = parse_memory(limit, host->memory_bytes, &bytes, err);
	if (r < 0)
		return r;
	if (v2) {
		add_memory_v2(c, bytes, soft, swap);
	} else {
		add_memory_v1(c, bytes, soft);
		if (!soft && host->swap_accounting)
			lxcconf_addf(c, "memory.memsw.limit_in_bytes", "%llu", (unsigned long long)bytes);
	}
	return 0;
}

/* "25ms/100ms" -> microseconds. */
static int parse_ms_pair(const char *text, uint64_t *quota_us, uint64_t *period_us)
{
	auto_free char *copy = xstrdup(text);
	char *slash = strchr(copy, '/');
	char *ends[2];

	if (!slash)
		return -EINVAL;
	*slash++ = '\0';
	ends[0] = (char *)(uintptr_t)endswith(copy, "ms");
	ends[1] = (char *)(uintptr_t)endswith(slash, "ms");
	if (!ends[0] || !ends[1])
		return -EINVAL;
	*ends[0] = *ends[1] = '\0';
	if (parse_u64(copy, quota_us) < 0 || parse_u64(slash, period_us) < 0 || *quota_us == 0 || *period_us == 0 ||
	    *quota_us > 1000000 || *period_us > 1000)
		return -EINVAL;
	*quota_us *= 1000;
	*period_us *= 1000;
	return 0;
}

static int add_allowance(const struct strmap *config, bool v2, struct lxcconf *c, struct error *err)
{
	const char *text = strmap_get_or(config, "limits.cpu.allowance", NULL);
	const char *priority_text = strmap_get_or(config, "limits.cpu.priority", NULL);
	const char *percent = text ? endswith(text, "%") : NULL;
	uint64_t quota = 0, period = 0, share = 100, priority = 10;

	if (priority_text && (parse_u64(priority_text, &priority) < 0 || priority > 10))
		return error_set(err, 400, "Invalid value \"%s\" for limits.cpu.priority: not within 0 to 10",
				 priority_text);
	if (percent) {
		auto_free char *number = xstrndup(text, (size_t)(percent - text));

		if (parse_u64(number, &share) < 0 || share == 0 || share > 100000)
			return error_set(err, 400, "Invalid value \"%s\" for limits.cpu.allowance: not a percentage",
					 text);
	} else if (text) {
		if (parse_ms_pair(text, &quota, &period) < 0)
			return error_set(err, 400,
					 "Invalid value \"%s\" for limits.cpu.allowance: want 25ms/100ms or 50%%",
					 text);
	}
	if (quota && v2)
		lxcconf_addf(c, "cpu.max", "%llu %llu", (unsigned long long)quota, (unsigned long long)period);
	if (quota && !v2) {
		lxcconf_addf(c, "cpu.cfs_period_us", "%llu", (unsigned long long)period);
		lxcconf_addf(c, "cpu.cfs_quota_us", "%llu", (unsigned long long)quota);
	}
	if (!percent && !priority_text)
		return 0;
	if (v2)
		lxcconf_addf(c, "cpu.weight", "%llu",
			     (unsigned long long)MIN_OF(MAX_OF((int64_t)share - (10 - (int64_t)priority), 1), 10000));
	else
		lxcconf_addf(c, "cpu.shares", "%llu",
			     (unsigned long long)MAX_OF((int64_t)(share * 1024 / 100) - (10 - (int64_t)priority), 2));
	return 0;
}

/* A set such as "0-3,7", within the host's processors. */
static int check_cpu_set(const char *text, unsigned online, struct error *err)
{
	auto_strv struct strv parts = STRV_INIT;

	strv_split(&parts, text, ',');
	for (size_t i = 0; i < parts.len; i++) {
		char *dash = strchr(parts.items[i], '-');
		uint32_t first, last;

		if (dash)
			*dash++ = '\0';
		if (parse_u32(parts.items[i], &first) < 0 || parse_u32(dash ? dash : parts.items[i], &last) < 0 ||
		    last < first)
			return error_set(err, 400, "Invalid value \"%s\" for limits.cpu: not a set of processors",
					 text);
		if (last >= online)
			return error_set(err, 400, "Invalid value \"%s\" for limits.cpu: the host has %u processors",
					 text, online);
	}
	return 0;
}

static int add_cpuset(const struct strmap *config, const struct lxcconf_host *host, struct lxcconf *c,
		      struct error *err)
{
	const char *text = strmap_get_or(config, "limits.cpu", NULL);
	uint32_t count;

	if (!text || !cgroup_has(&host->cgroup, "cpuset"))
		return 0;
	if (parse_u32(text, &count) < 0) {
		int r = check_cpu_set(text, host->cpus_online, err);

		if (r == 0)
			lxcconf_add(c, "cpuset.cpus", text);
		return r;
	}
	if (count == 0)
		return error_set(err, 400, "Invalid value \"%s\" for limits.cpu: zero", text);
	if (count < host->cpus_online)
		lxcconf_addf(c, "cpuset.cpus", "0-%u", count - 1);
	return 0;
}

int lxcconf_limits(const struct strmap *config, const struct lxcconf_host *host, struct lxcconf *ret, struct error *err)
{
	auto_lxcconf struct lxcconf c = LXCCONF_INIT;
	const char *processes = strmap_get_or(config, "limits.processes", NULL);
	uint64_t n = 0;
	int r = add_memory(config, host, &c, err);

	if (r < 0)
		return r;
	r = add_cpuset(config, host, &c, err);
	if (r < 0)
		return r;
	if (cgroup_has(&host->cgroup, "cpu")) {
		r = add_allowance(config, cgroup_is_unified(&host->cgroup, "cpu"), &c, err);
		if (r < 0)
			return r;
	}
	if (processes && (parse_u64(processes, &n) < 0 || n == 0))
		return error_set(err, 400, "Invalid value \"%s\" for limits.processes: not a number", processes);
	if (processes && cgroup_has(&host->cgroup, "pids"))
		lxcconf_addf(&c, "pids.max", "%llu", (unsigned long long)n);
	*ret = c;
	c = LXCCONF_INIT;
	return 0;
}

/* What a cgroup file says when there is no limit. */
static const struct {
	const char *key;
	const char *unlimited;
} no_limits[] = {
	{"memory.limit_in_bytes", "-1"},
	{"memory.memsw.limit_in_bytes", "-1"},
	{"memory.soft_limit_in_bytes", "-1"},
	{"memory.swappiness", "60"},
	{"memory.max", "max"},
	{"memory.high", "max"},
	{"memory.swap.max", "max"},
	{"cpu.cfs_quota_us", "-1"},
	{"cpu.cfs_period_us", "100000"},
	{"cpu.shares", "1024"},
	{"cpu.max", "max 100000"},
	{"cpu.weight", "100"},
	{"pids.max", "max"},
};

static void add_no_limit(const char *key, const struct lxcconf_host *host, struct lxcconf *c)
{
	if (streq(key, "cpuset.cpus"))
		lxcconf_addf(c, key, "0-%u", host->cpus_online - 1);
	for (size_t i = 0; i < ARRAY_SIZE(no_limits); i++)
		if (streq(no_limits[i].key, key))
			lxcconf_add(c, key, no_limits[i].unlimited);
}

/* Version 1 refuses memory beyond memory and swap: the latter goes first when they rise. */
static void order_memsw(const struct lxcconf *before, struct lxcconf *c)
{
	struct lxcconf_item *limit = NULL, *both = NULL, swap;
	const char *was = lxcconf_get(before, "memory.limit_in_bytes");
	uint64_t from = UINT64_MAX, to = UINT64_MAX;

	for (size_t i = 0; i < c->len; i++) {
		if (streq(c->items[i].key, "memory.limit_in_bytes"))
			limit = &c->items[i];
		if (streq(c->items[i].key, "memory.memsw.limit_in_bytes"))
			both = &c->items[i];
	}
	if (!limit || !both)
		return;
	if ((was && parse_u64(was, &from) < 0) || parse_u64(limit->value, &to) < 0)
		to = UINT64_MAX; /* "-1" */
	if ((to > from) == (both < limit))
		return;
	swap = *limit;
	*limit = *both;
	*both = swap;
}

int lxcconf_limit_changes(const struct strmap *before, const struct strmap *after, const struct lxcconf_host *host,
			  struct lxcconf *ret, struct error *err)
{
	auto_lxcconf struct lxcconf old = LXCCONF_INIT;
	auto_lxcconf struct lxcconf new = LXCCONF_INIT;
	struct lxcconf changes = LXCCONF_INIT;
	int r = lxcconf_limits(before, host, &old, err);

	if (r == 0)
		r = lxcconf_limits(after, host, &new, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < old.len; i++)
		if (!lxcconf_get(&new, old.items[i].key))
			add_no_limit(old.items[i].key, host, &changes);
	for (size_t i = 0; i < new.len; i++) {
		const char *was = lxcconf_get(&old, new.items[i].key);

		if (!was || !streq(was, new.items[i].value))
			lxcconf_add(&changes, new.items[i].key, new.items[i].value);
	}
	order_memsw(&old, &changes);
	*ret = changes;
	return 0;
}
