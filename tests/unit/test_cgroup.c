/* Layouts and figures from made-up /proc and /sys trees: pure v2, v1, hybrid. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "instance/cgroup.h"

static char root[] = "/tmp/test-cgroup.XXXXXX";

static void put(const char *path, const char *text)
{
	auto_error struct error err = ERROR_INIT;
	auto_free char *full = xasprintf("%s%s", root, path);
	auto_free char *dir = xstrdup(full);

	*strrchr(dir, '/') = '\0';
	assert_int_equal(dir_make_all(AT_FDCWD, dir, 0755, &err), 0);
	assert_int_equal(file_replace_at(AT_FDCWD, full, text, strlen(text), 0644, &err), 0);
}

static int make_root(void **state)
{
	(void)state;
	strncpy(root, "/tmp/test-cgroup.XXXXXX", sizeof(root));
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	auto_error struct error err = ERROR_INIT;

	(void)state;
	return path_remove_tree(AT_FDCWD, root, &err);
}

static void read_both(struct cgroup_layout *l, struct cgroup_usage *u)
{
	auto_error struct error err = ERROR_INIT;

	assert_int_equal(cgroup_layout_read(root, l, &err), 0);
	assert_int_equal(cgroup_usage_read(l, 42, u, &err), 0);
}

static void pure_v2(void **state)
{
	struct cgroup_layout l;
	struct cgroup_usage u;

	(void)state;
	put("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");
	put("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
	put("/proc/42/cgroup", "0::/lxc.payload.c1/init.scope\n");
	put("/sys/fs/cgroup/lxc.payload.c1/memory.current", "1000\n");
	put("/sys/fs/cgroup/lxc.payload.c1/memory.peak", "2000\n");
	put("/sys/fs/cgroup/lxc.payload.c1/memory.swap.current", "30\n");
	put("/sys/fs/cgroup/lxc.payload.c1/cpu.stat", "usage_usec 12\nuser_usec 5\n");
	put("/sys/fs/cgroup/lxc.payload.c1/pids.current", "4\n");
	read_both(&l, &u);
	assert_int_equal(l.kind, CGROUP_V2);
	assert_true(cgroup_is_unified(&l, "memory") && cgroup_is_unified(&l, "devices"));
	assert_false(cgroup_has(&l, "net_prio"));
	assert_int_equal(u.memory_bytes, 1000);
	assert_int_equal(u.memory_peak_bytes, 2000);
	assert_int_equal(u.swap_bytes, 30);
	assert_int_equal(u.swap_peak_bytes, -1);
	assert_int_equal(u.cpu_ns, 12000);
	assert_int_equal(u.processes, 4);
	cgroup_layout_done(&l);
}

static void pure_v1(void **state)
{
	struct cgroup_layout l;
	struct cgroup_usage u;

	(void)state;
	put("/proc/self/mountinfo", "31 30 0:27 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
				    "32 30 0:28 / /cg/mem\\040ory rw shared:9 - cgroup cgroup rw,memory\n"
				    "33 30 0:29 / /cg/systemd rw - cgroup cgroup rw,xattr,name=systemd\n");
	put("/proc/42/cgroup", "3:cpu,cpuacct:/lxc.payload.c1\n2:memory:/lxc.payload.c1\n1:name=systemd:/x\n");
	put("/cg/cpu,cpuacct/lxc.payload.c1/cpuacct.usage", "777\n");
	put("/cg/mem ory/lxc.payload.c1/memory.usage_in_bytes", "100\n");
	put("/cg/mem ory/lxc.payload.c1/memory.max_usage_in_bytes", "150\n");
	put("/cg/mem ory/lxc.payload.c1/memory.memsw.usage_in_bytes", "120\n");
	put("/cg/mem ory/lxc.payload.c1/cgroup.procs", "1\n2\n3\n");
	read_both(&l, &u);
	assert_int_equal(l.kind, CGROUP_V1);
	assert_false(cgroup_is_unified(&l, "memory"));
	assert_false(cgroup_has(&l, "devices"));
	assert_int_equal(u.memory_bytes, 100);
	assert_int_equal(u.memory_peak_bytes, 150);
	assert_int_equal(u.swap_bytes, 20);
	assert_int_equal(u.cpu_ns, 777);
	assert_int_equal(u.processes, 3);
	cgroup_layout_done(&l);
}

static void hybrid(void **state)
{
	struct cgroup_layout l;
	struct cgroup_usage u;

	(void)state;
	put("/proc/self/mountinfo", "31 30 0:27 / /cg/devices rw - cgroup cgroup rw,devices\n"
				    "32 30 0:28 / /cg/pids rw - cgroup cgroup rw,pids\n"
				    "33 30 0:29 / /cg/unified rw - cgroup2 cgroup2 rw\n");
	put("/cg/unified/cgroup.controllers", "memory\n");
	put("/proc/42/cgroup", "2:pids:/lxc.payload.c1\n1:devices:/lxc.payload.c1\n0::/lxc.payload.c1\n");
	put("/cg/unified/lxc.payload.c1/memory.current", "55\n");
	put("/cg/unified/lxc.payload.c1/cpu.stat", "usage_usec 3\n");
	put("/cg/pids/lxc.payload.c1/pids.current", "9\n");
	read_both(&l, &u);
	assert_int_equal(l.kind, CGROUP_HYBRID);
	assert_true(cgroup_is_unified(&l, "memory"));
	assert_false(cgroup_is_unified(&l, "devices"));
	assert_true(cgroup_has(&l, "devices"));
	assert_int_equal(u.memory_bytes, 55);
	assert_int_equal(u.cpu_ns, 3000);
	assert_int_equal(u.processes, 9);
	cgroup_layout_done(&l);
}

static void ended_process_is_esrch(void **state)
{
	auto_error struct error err = ERROR_INIT;
	struct cgroup_layout l;
	struct cgroup_usage u;

	(void)state;
	put("/proc/self/mountinfo", "\n");
	assert_int_equal(cgroup_layout_read(root, &l, &err), 0);
	assert_int_equal(l.kind, CGROUP_NONE);
	assert_int_equal(cgroup_usage_read(&l, 43, &u, &err), -ESRCH);
	cgroup_layout_done(&l);
}

#define WITH_ROOT(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)

static bool is_there(const char *path)
{
	auto_free char *full = xasprintf("%s%s", root, path);

	return access(full, F_OK) == 0;
}

static void left_groups_are_removed(void **state)
{
	auto_error struct error err = ERROR_INIT;
	auto_free char *payload = xasprintf("%s/cg/unified/a/lxc.payload.c1/nested/deeper", root);
	auto_free char *monitor = xasprintf("%s/cg/systemd/lxc.monitor.c1", root);
	auto_free char *other = xasprintf("%s/cg/systemd/lxc.monitor.c12", root);
	struct cgroup_layout l;

	(void)state;
	put("/proc/self/mountinfo", "30 23 0:26 / /cg/unified rw - cgroup2 cgroup2 rw\n"
				    "31 23 0:27 / /cg/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
				    "32 23 0:28 / /cg/memory rw - cgroup cgroup rw,memory\n");
	put("/proc/1/cgroup", "2:memory:/busy\n1:name=systemd:/init.scope\n0::/a\n");
	assert_int_equal(dir_make_all(AT_FDCWD, payload, 0755, &err), 0);
	assert_int_equal(dir_make_all(AT_FDCWD, monitor, 0755, &err), 0);
	assert_int_equal(dir_make_all(AT_FDCWD, other, 0755, &err), 0);
	put("/cg/memory/busy/lxc.payload.c1/process", ""); /* what rmdir cannot remove stands for a dying process */
	assert_int_equal(cgroup_layout_read(root, &l, &err), 0);
	assert_int_equal(l.kind, CGROUP_HYBRID);
	assert_false(cgroup_remove_left(&l, "c1", 30));
	assert_false(is_there("/cg/unified/a/lxc.payload.c1"));
	assert_false(is_there("/cg/systemd/lxc.monitor.c1"));
	assert_true(is_there("/cg/systemd/lxc.monitor.c12"));
	assert_true(is_there("/cg/memory/busy/lxc.payload.c1"));
	assert_true(cgroup_remove_left(&l, "c12", 30));
	cgroup_layout_done(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {WITH_ROOT(pure_v2), WITH_ROOT(pure_v1), WITH_ROOT(hybrid),
					   WITH_ROOT(ended_process_is_esrch), WITH_ROOT(left_groups_are_removed)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
