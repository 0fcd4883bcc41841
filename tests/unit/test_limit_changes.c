/* What is written to a running container's cgroup files when its limits change. */
#include "unit.h"

#include "base/strbuf.h"
#include "instance/lxcconf.h"

static void host_v1(struct lxcconf_host *h)
{
	static const char *const controllers[] = {"memory", "cpu", "cpuset", "pids"};

	*h = (struct lxcconf_host){.memory_bytes = 1000000000, .cpus_online = 8, .swap_accounting = true};
	h->cgroup.kind = CGROUP_V1;
	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
		strmap_set(&h->cgroup.mounts, controllers[i], "/cg");
}

static void host_v2(struct lxcconf_host *h)
{
	static const char *const controllers[] = {"memory", "cpu", "cpuset", "pids"};

	*h = (struct lxcconf_host){.memory_bytes = 1000000000, .cpus_online = 8};
	h->cgroup.kind = CGROUP_V2;
	strmap_set(&h->cgroup.mounts, "", "/sys/fs/cgroup");
	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
		strmap_set(&h->cgroup.unified, controllers[i], "1");
}

static void config(struct strmap *m, const char *key, const char *value)
{
	if (*key)
		strmap_set(m, key, value);
}

struct change {
	const char *key, *before, *after; /* "": not set */
	const char *written;
};

static void check(const struct lxcconf_host *h, const struct change *c)
{
	auto_strmap struct strmap before = STRMAP_INIT;
	auto_strmap struct strmap after = STRMAP_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_lxcconf struct lxcconf out = LXCCONF_INIT;
	auto_error struct error err = ERROR_INIT;

	config(&before, c->key, c->before);
	config(&after, c->key, c->after);
	expect_ok(lxcconf_limit_changes(&before, &after, h, &out, &err), &err);
	for (size_t i = 0; i < out.len; i++)
		strbuf_appendf(&text, "%s%s=%s", i ? " " : "", out.items[i].key, out.items[i].value);
	assert_string_equal(strbuf_str(&text), c->written);
}

static void version_1(void **state UNUSED)
{
	static const struct change rows[] = {
		{"limits.memory", "", "", ""},
		{"limits.memory", "100MB", "100MB", ""},
		/* down: memory before memory and swap; up: the other way round */
		{"limits.memory", "100MB", "50MB",
		 "memory.limit_in_bytes=50000000 memory.soft_limit_in_bytes=45000000 "
		 "memory.memsw.limit_in_bytes=50000000"},
		{"limits.memory", "50MB", "100MB",
		 "memory.memsw.limit_in_bytes=100000000 memory.soft_limit_in_bytes=90000000 "
		 "memory.limit_in_bytes=100000000"},
		{"limits.memory", "", "50MB",
		 "memory.limit_in_bytes=50000000 memory.soft_limit_in_bytes=45000000 "
		 "memory.memsw.limit_in_bytes=50000000"},
		{"limits.memory", "50MB", "",
		 "memory.memsw.limit_in_bytes=-1 memory.soft_limit_in_bytes=-1 memory.limit_in_bytes=-1"},
		{"limits.memory.swap", "false", "", "memory.swappiness=60"},
		{"limits.processes", "10", "", "pids.max=max"},
		{"limits.processes", "10", "20", "pids.max=20"},
		{"limits.cpu", "2", "", "cpuset.cpus=0-7"},
		{"limits.cpu.allowance", "25ms/100ms", "50%",
		 "cpu.cfs_period_us=100000 cpu.cfs_quota_us=-1 cpu.shares=512"},
		{"limits.cpu.allowance", "50%", "", "cpu.shares=1024"},
		{"user.x", "1", "2", ""},
	};
	struct lxcconf_host h;

	host_v1(&h);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check(&h, &rows[i]);
	lxcconf_host_done(&h);
}

static void version_2(void **state UNUSED)
{
	static const struct change rows[] = {
		{"limits.memory", "50MB", "", "memory.max=max memory.high=max"},
		{"limits.memory", "50MB", "100MB", "memory.max=100000000 memory.high=90000000"},
		{"limits.cpu.allowance", "25ms/100ms", "", "cpu.max=max 100000"},
		{"limits.cpu.allowance", "20%", "", "cpu.weight=100"},
	};
	struct lxcconf_host h;

	host_v2(&h);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check(&h, &rows[i]);
	lxcconf_host_done(&h);
}

static void bad_limits_change_nothing(void **state UNUSED)
{
	auto_strmap struct strmap before = STRMAP_INIT;
	auto_strmap struct strmap after = STRMAP_INIT;
	auto_error struct error err = ERROR_INIT;
	struct lxcconf out = LXCCONF_INIT;
	struct lxcconf_host h;

	host_v1(&h);
	strmap_set(&after, "limits.memory", "12q");
	expect_error(lxcconf_limit_changes(&before, &after, &h, &out, &err), &err, 400, "limits.memory");
	assert_int_equal(out.len, 0);
	lxcconf_host_done(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(version_1), cmocka_unit_test(version_2),
					   cmocka_unit_test(bad_limits_change_nothing)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
