/* Metrics: the text form, and figures from made-up control groups of both versions. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/metrics.h"
#include "base/path.h"
#include "instance/cgroup_metrics.h"

static char root[64];

static void put(const char *path, const char *text)
{
	auto_error struct error err = ERROR_INIT;
	auto_free char *full = xasprintf("%s%s", root, path);
	auto_free char *dir = xstrdup(full);

	*strrchr(dir, '/') = '\0';
	expect_ok(dir_make_all(AT_FDCWD, dir, 0755, &err), &err);
	expect_ok(file_replace_at(AT_FDCWD, full, text, strlen(text), 0644, &err), &err);
}

static int setup(void **state UNUSED)
{
	snprintf(root, sizeof(root), "/tmp/test-metrics.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	put("/proc/meminfo", "MemTotal:        1000 kB\nMemFree:         1 kB\n");
	put("/sys/dev/block/x", "");
	{
		auto_free char *link = xasprintf("%s/sys/dev/block/8:0", root);

		return symlink("../../devices/pci0/sda", link);
	}
}

static int teardown(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;

	return path_remove_tree(AT_FDCWD, root, &err);
}

/* The text of one family, or "". */
static char *family(const struct metrics *m, const char *name)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	auto_free char *head = xasprintf("# HELP %s ", name);
	const char *at, *end;

	metrics_write(m, &out);
	assert_string_equal(out.data + out.len - 6, "# EOF\n");
	at = strstr(out.data, head);
	if (!at)
		return xstrdup("");
	at = strchr(strchr(at, '\n') + 1, '\n') + 1;
	end = strstr(at, "# ");
	return xstrndup(at, (size_t)(end - at));
}

static void expect_family(const struct metrics *m, const char *name, const char *text)
{
	auto_free char *got = family(m, name);

	assert_string_equal(got, text);
}

static void text_form(void **state UNUSED)
{
	auto_metrics struct metrics m = METRICS_INIT;
	auto_strbuf struct strbuf labels = STRBUF_INIT, out = STRBUF_INIT;
	struct metrics_mark mark;

	metrics_label(&labels, "device", "a\"b\\c\nd\xff\xc3\xa4");
	metrics_label(&labels, "name", "c1");
	metrics_add(&m, METRIC_DISK_READS, labels.data, 9223372036854775807);
	metrics_add(&m, METRIC_DISK_READS, labels.data, -1);
	mark = metrics_mark(&m);
	metrics_add(&m, METRIC_PROCS, "", 1);
	metrics_reset(&m, &mark);
	metrics_add_ns(&m, METRIC_CPU_SECONDS, "", 12000000345);
	metrics_write(&m, &out);
	assert_string_equal(
		out.data, "# HELP lxd_cpu_seconds_total The total number of CPU time used in seconds.\n"
			  "# TYPE lxd_cpu_seconds_total counter\n"
			  "lxd_cpu_seconds_total 12.000000345\n"
			  "# HELP lxd_disk_reads_completed_total The total number of completed reads.\n"
			  "# TYPE lxd_disk_reads_completed_total counter\n"
			  "lxd_disk_reads_completed_total{device=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\xc3\xa4\",name=\"c1\"} "
			  "9223372036854775807\n"
			  "# EOF\n");
}

static void read_all(struct metrics *m)
{
	auto_error struct error err = ERROR_INIT;
	struct cgroup_layout l;

	expect_ok(cgroup_layout_read(root, &l, &err), &err);
	expect_ok(cgroup_metrics_read(&l, cgroup_host_memory(&l), 42, "name=\"c\"", m, &err), &err);
	cgroup_layout_done(&l);
}

static void version_2(void **state UNUSED)
{
	auto_metrics struct metrics m = METRICS_INIT;

	put("/proc/self/mountinfo", "36 35 0:30 / /cg rw - cgroup2 cgroup2 rw\n");
	put("/cg/cgroup.controllers", "cpu memory pids io\n");
	put("/proc/42/cgroup", "0::/lxc.payload.c/init.scope\n");
	put("/cg/lxc.payload.c/cpu.stat", "usage_usec 30\nuser_usec 1500000\nsystem_usec 7\n");
	put("/cg/lxc.payload.c/memory.stat", "anon 1\nfile 2048\nkernel 9\nshmem 3\nfile_mapped 4\nfile_dirty 5\n"
					     "file_writeback 6\ninactive_anon 7\nactive_anon 8\ninactive_file 9\n"
					     "active_file 10\nunevictable 11");
	put("/cg/lxc.payload.c/memory.current", "4096\n");
	put("/cg/lxc.payload.c/memory.max", "8192\n");
	put("/cg/lxc.payload.c/memory.swap.current", "12\n");
	put("/cg/lxc.payload.c/pids.current", "3\n");
	put("/cg/lxc.payload.c/io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n9:9 rbytes=5 x\n8:1 \n");
	read_all(&m);
	expect_family(&m, "lxd_cpu_seconds_total",
		      "lxd_cpu_seconds_total{cpu=\"0\",mode=\"system\",name=\"c\"} 0.000007000\n"
		      "lxd_cpu_seconds_total{cpu=\"0\",mode=\"user\",name=\"c\"} 1.500000000\n");
	expect_family(&m, "lxd_memory_RSS_bytes", "lxd_memory_RSS_bytes{name=\"c\"} 1\n");
	expect_family(&m, "lxd_memory_Cached_bytes", "lxd_memory_Cached_bytes{name=\"c\"} 2048\n");
	expect_family(&m, "lxd_memory_Dirty_bytes", "lxd_memory_Dirty_bytes{name=\"c\"} 5\n");
	expect_family(&m, "lxd_memory_Active_bytes", "lxd_memory_Active_bytes{name=\"c\"} 18\n");
	expect_family(&m, "lxd_memory_Inactive_bytes", "lxd_memory_Inactive_bytes{name=\"c\"} 16\n");
	expect_family(&m, "lxd_memory_Unevictable_bytes", "lxd_memory_Unevictable_bytes{name=\"c\"} 11\n");
	expect_family(&m, "lxd_memory_Swap_bytes", "lxd_memory_Swap_bytes{name=\"c\"} 12\n");
	expect_family(&m, "lxd_memory_MemTotal_bytes", "lxd_memory_MemTotal_bytes{name=\"c\"} 8192\n");
	expect_family(&m, "lxd_memory_MemFree_bytes", "lxd_memory_MemFree_bytes{name=\"c\"} 4096\n");
	expect_family(&m, "lxd_memory_MemAvailable_bytes", "lxd_memory_MemAvailable_bytes{name=\"c\"} 6144\n");
	expect_family(&m, "lxd_disk_read_bytes_total",
		      "lxd_disk_read_bytes_total{device=\"sda\",name=\"c\"} 1\n"
		      "lxd_disk_read_bytes_total{device=\"9:9\",name=\"c\"} 5\n");
	expect_family(&m, "lxd_disk_writes_completed_total",
		      "lxd_disk_writes_completed_total{device=\"sda\",name=\"c\"} 4\n");
	expect_family(&m, "lxd_procs_total", "lxd_procs_total{name=\"c\"} 3\n");
}

static void version_1(void **state UNUSED)
{
	auto_metrics struct metrics m = METRICS_INIT;

	put("/proc/self/mountinfo", "36 35 0:30 / /v1/mem rw - cgroup cgroup rw,memory\n"
				    "37 35 0:31 / /v1/acct rw - cgroup cgroup rw,cpu,cpuacct\n"
				    "38 35 0:32 / /v1/blkio rw - cgroup cgroup rw,blkio\n"
				    "39 35 0:33 / /v1/pids rw - cgroup cgroup rw,pids\n");
	put("/proc/42/cgroup", "4:memory:/lxc.payload.c\n3:cpu,cpuacct:/lxc.payload.c\n2:blkio:/lxc.payload.c\n"
			       "1:pids:/lxc.payload.c/x\n");
	put("/v1/acct/lxc.payload.c/cpuacct.usage_all", "cpu user system\n0 10 20\n1 30 40\nrubbish\n2 x y\n");
	put("/v1/mem/lxc.payload.c/memory.stat", "cache 1\nrss 2\ntotal_cache 100\ntotal_rss 200\ntotal_swap 7\n"
						 "total_active_anon 1\ntotal_active_file 2\ntotal_active_anonx 5\n");
	put("/v1/mem/lxc.payload.c/memory.usage_in_bytes", "24000\n");
	put("/v1/mem/lxc.payload.c/memory.limit_in_bytes", "9223372036854771712\n");
	put("/v1/blkio/lxc.payload.c/blkio.throttle.io_service_bytes_recursive",
	    "8:0 Read 11\n8:0 Write 12\n8:0 Sync 1\n8:0 Total 23\nTotal 23\n");
	put("/v1/blkio/lxc.payload.c/blkio.throttle.io_serviced", "8:0 Read 13\n8:0 Write 14\n");
	put("/v1/pids/lxc.payload.c/pids.current", "5\n");
	read_all(&m);
	expect_family(&m, "lxd_cpu_seconds_total",
		      "lxd_cpu_seconds_total{cpu=\"0\",mode=\"system\",name=\"c\"} 0.000000020\n"
		      "lxd_cpu_seconds_total{cpu=\"0\",mode=\"user\",name=\"c\"} 0.000000010\n"
		      "lxd_cpu_seconds_total{cpu=\"1\",mode=\"system\",name=\"c\"} 0.000000040\n"
		      "lxd_cpu_seconds_total{cpu=\"1\",mode=\"user\",name=\"c\"} 0.000000030\n");
	expect_family(&m, "lxd_memory_RSS_bytes", "lxd_memory_RSS_bytes{name=\"c\"} 200\n");
	expect_family(&m, "lxd_memory_Swap_bytes", "lxd_memory_Swap_bytes{name=\"c\"} 7\n");
	expect_family(&m, "lxd_memory_Active_bytes", "lxd_memory_Active_bytes{name=\"c\"} 3\n");
	/* not counted here: no line at all, rather than a wrong zero */
	expect_family(&m, "lxd_memory_Inactive_bytes", "");
	expect_family(&m, "lxd_memory_Dirty_bytes", "");
	expect_family(&m, "lxd_memory_MemTotal_bytes", "lxd_memory_MemTotal_bytes{name=\"c\"} 1024000\n");
	expect_family(&m, "lxd_memory_MemFree_bytes", "lxd_memory_MemFree_bytes{name=\"c\"} 1000000\n");
	expect_family(&m, "lxd_memory_MemAvailable_bytes", "lxd_memory_MemAvailable_bytes{name=\"c\"} 1000100\n");
	expect_family(&m, "lxd_disk_read_bytes_total", "lxd_disk_read_bytes_total{device=\"sda\",name=\"c\"} 11\n");
	expect_family(&m, "lxd_disk_written_bytes_total",
		      "lxd_disk_written_bytes_total{device=\"sda\",name=\"c\"} 12\n");
	expect_family(&m, "lxd_disk_reads_completed_total",
		      "lxd_disk_reads_completed_total{device=\"sda\",name=\"c\"} 13\n");
	expect_family(&m, "lxd_procs_total", "lxd_procs_total{name=\"c\"} 5\n");
}

static void nothing_is_no_figure(void **state UNUSED)
{
	auto_metrics struct metrics m = METRICS_INIT;
	auto_strbuf struct strbuf out = STRBUF_INIT;

	put("/proc/self/mountinfo", "36 35 0:30 / /cg rw - cgroup2 cgroup2 rw\n");
	put("/cg/cgroup.controllers", "cpu memory pids io\n");
	put("/proc/42/cgroup", "0::/lxc.payload.gone\n");
	read_all(&m);
	metrics_write(&m, &out);
	assert_string_equal(out.data, "# EOF\n");
}

static void ended_process_is_an_error(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_metrics struct metrics m = METRICS_INIT;
	struct cgroup_layout l;

	put("/proc/self/mountinfo", "36 35 0:30 / /cg rw - cgroup2 cgroup2 rw\n");
	expect_ok(cgroup_layout_read(root, &l, &err), &err);
	assert_int_equal(cgroup_metrics_read(&l, -1, 43, "", &m, &err), -ESRCH);
	expect_error(-ESRCH, &err, 500, "it has ended");
	cgroup_layout_done(&l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(text_form),
		TEST(version_2),
		TEST(version_1),
		TEST(nothing_is_no_figure),
		TEST(ended_process_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
