/* What a container's control groups tell, in detail, as metrics. Both versions, below a root that tests can choose. */
#include "instance/cgroup_metrics.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "base/strv.h"
#include "instance/cgroup_internal.h"

#define USEC_NS 1000
#define DEVICES_MAX 64 /* lines of a block controller's file that are looked at */

struct reader {
	const struct cgroup_layout *layout;
	struct strmap paths;
	int64_t host_memory;
	const char *labels;
	struct metrics *out;
};

/* "KEY NUMBER" lines: the number, or -1. */
static int64_t keyed(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		if (*line == '\n' && !*++line)
			break;
		if (strncmp(line, key, len) == 0 && line[len] == ' ') {
			const char *end = strchrnul(line, '\n');
			auto_free char *number = xstrndup(line + len + 1, (size_t)(end - line) - len - 1);
			int64_t v;

			return parse_i64(number, &v) == 0 ? v : -1;
		}
	}
	return -1;
}

static void add_cpu(struct reader *r, const char *cpu, const char *mode, int64_t ns)
{
	auto_strbuf struct strbuf labels = STRBUF_INIT;

	metrics_label(&labels, "cpu", cpu);
	metrics_label(&labels, "mode", mode);
	strbuf_appendf(&labels, ",%s", r->labels);
	metrics_add_ns(r->out, METRIC_CPU_SECONDS, labels.data, ns);
}

/* "cpu user system", then a line per processor, in nanoseconds. */
static void read_cpu_v1(struct reader *r)
{
	auto_free char *text = cgroup_read_file(r->layout, &r->paths, "cpuacct", "cpuacct.usage_all");
	auto_strv struct strv lines = STRV_INIT;

	strv_split(&lines, text ? text : "", '\n');
	for (size_t i = 1; i < lines.len; i++) {
		auto_strv struct strv words = STRV_INIT;
		int64_t user, system;

		strv_split(&words, lines.items[i], ' ');
		if (words.len != 3 || parse_i64(words.items[1], &user) < 0 || parse_i64(words.items[2], &system) < 0)
			continue;
		add_cpu(r, words.items[0], "system", system);
		add_cpu(r, words.items[0], "user", user);
	}
}

/* The unified hierarchy does not count by processor. */
static void read_cpu_v2(struct reader *r)
{
	auto_free char *text = cgroup_read_file(r->layout, &r->paths, "", "cpu.stat");
	int64_t user = keyed(text, "user_usec"), system = keyed(text, "system_usec");

	add_cpu(r, "0", "system", system < 0 ? -1 : system * USEC_NS);
	add_cpu(r, "0", "user", user < 0 ? -1 : user * USEC_NS);
}

/* Names in memory.stat: of v1 those that count the groups below too. */
static const struct memory_row {
	enum metric metric;
	const char *v1;
	const char *v2;
} memory_rows[] = {
	{METRIC_MEMORY_ACTIVE_ANON, "total_active_anon", "active_anon"},
	{METRIC_MEMORY_ACTIVE_FILE, "total_active_file", "active_file"},
	{METRIC_MEMORY_CACHED, "total_cache", "file"},
	{METRIC_MEMORY_DIRTY, "total_dirty", "file_dirty"},
	{METRIC_MEMORY_INACTIVE_ANON, "total_inactive_anon", "inactive_anon"},
	{METRIC_MEMORY_INACTIVE_FILE, "total_inactive_file", "inactive_file"},
	{METRIC_MEMORY_MAPPED, "total_mapped_file", "file_mapped"},
	{METRIC_MEMORY_RSS, "total_rss", "anon"},
	{METRIC_MEMORY_SHMEM, "total_shmem", "shmem"},
	{METRIC_MEMORY_UNEVICTABLE, "total_unevictable", "unevictable"},
	{METRIC_MEMORY_WRITEBACK, "total_writeback", "file_writeback"},
};

static int64_t sum(int64_t a, int64_t b)
{
	return a < 0 || b < 0 ? -1 : a + b;
}

int64_t cgroup_host_memory(const struct cgroup_layout *l)
{
	auto_free char *path = xasprintf("%s/proc/meminfo", l->root);
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	unsigned long long kib;

	if (file_read_at(AT_FDCWD, path, 64 * 1024, &text, &err) < 0) {
		error_ignore(&err, "a figure that the host does not tell");
		return -1;
	}
	return sscanf(strbuf_str(&text), "MemTotal: %llu kB", &kib) == 1 ? (int64_t)kib * 1024 : -1;
}

/* What it may use is its limit, or all that the host has. */
static void add_room(struct reader *r, int64_t limit, int64_t usage, int64_t cached)
{
	int64_t total = r->host_memory, available;

	if (limit >= 0 && (total < 0 || limit < total))
		total = limit;
	metrics_add(r->out, METRIC_MEMORY_TOTAL, r->labels, total);
	if (total < 0 || usage < 0)
		return;
	usage = MIN_OF(usage, total);
	metrics_add(r->out, METRIC_MEMORY_FREE, r->labels, total - usage);
	available = total - usage + MAX_OF(cached, 0);
	metrics_add(r->out, METRIC_MEMORY_AVAILABLE, r->labels, MIN_OF(available, total));
}

static void read_memory(struct reader *r)
{
	bool v2 = cgroup_is_unified(r->layout, "memory");
	const char *controller = v2 ? "" : "memory";
	auto_free char *text = cgroup_read_file(r->layout, &r->paths, controller, "memory.stat");
	int64_t value[METRIC_MAX], swap;

	if (!text)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(memory_rows); i++) {
		const struct memory_row *row = &memory_rows[i];

		value[row->metric] = keyed(text, v2 ? row->v2 : row->v1);
		metrics_add(r->out, row->metric, r->labels, value[row->metric]);
	}
	metrics_add(r->out, METRIC_MEMORY_ACTIVE, r->labels,
		    sum(value[METRIC_MEMORY_ACTIVE_ANON], value[METRIC_MEMORY_ACTIVE_FILE]));
	metrics_add(r->out, METRIC_MEMORY_INACTIVE, r->labels,
		    sum(value[METRIC_MEMORY_INACTIVE_ANON], value[METRIC_MEMORY_INACTIVE_FILE]));
	swap = v2 ? cgroup_read_number(r->layout, &r->paths, "", "memory.swap.current") : keyed(text, "total_swap");
	metrics_add(r->out, METRIC_MEMORY_SWAP, r->labels, swap);
	add_room(r, cgroup_read_number(r->layout, &r->paths, controller, v2 ? "memory.max" : "memory.limit_in_bytes"),
		 cgroup_read_number(r->layout, &r->paths, controller, v2 ? "memory.current" : "memory.usage_in_bytes"),
		 value[METRIC_MEMORY_CACHED]);
}

/* "8:0" as the name that the host has for it, or as it is. */
static char *device_name(const struct cgroup_layout *l, const char *number)
{
	auto_free char *path = xasprintf("%s/sys/dev/block/%s", l->root, number);
	char target[512], *slash;
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n <= 0)
		return xstrdup(number);
	target[n] = '\0';
	slash = strrchr(target, '/');
	return xstrdup(slash ? slash + 1 : target);
}

static void add_disk(struct reader *r, const char *number, enum metric metric, const char *value)
{
	auto_strbuf struct strbuf labels = STRBUF_INIT;
	auto_free char *name = device_name(r->layout, number);
	int64_t v;

	if (parse_i64(value, &v) < 0)
		return;
	metrics_label(&labels, "device", name);
	strbuf_appendf(&labels, ",%s", r->labels);
	metrics_add(r->out, metric, labels.data, v);
}

/* "8:0 Read 4096" lines. */
static void read_disk_file_v1(struct reader *r, const char *const names[2], enum metric reads, enum metric writes)
{
	auto_free char *text = cgroup_read_file(r->layout, &r->paths, "blkio", names[0]);
	auto_strv struct strv lines = STRV_INIT;

	if (!text)
		text = cgroup_read_file(r->layout, &r->paths, "blkio", names[1]);
	strv_split(&lines, text ? text : "", '\n');
	for (size_t i = 0; i < lines.len && i < DEVICES_MAX * 8; i++) {
		auto_strv struct strv words = STRV_INIT;

		strv_split(&words, lines.items[i], ' ');
		if (words.len == 3 && streq(words.items[1], "Read"))
			add_disk(r, words.items[0], reads, words.items[2]);
		else if (words.len == 3 && streq(words.items[1], "Write"))
			add_disk(r, words.items[0], writes, words.items[2]);
	}
}

static void read_disk_v1(struct reader *r)
{
	static const char *const bytes[] = {"blkio.throttle.io_service_bytes_recursive",
					    "blkio.throttle.io_service_bytes"};
	static const char *const counts[] = {"blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced"};

	read_disk_file_v1(r, bytes, METRIC_DISK_READ_BYTES, METRIC_DISK_WRITTEN_BYTES);
	read_disk_file_v1(r, counts, METRIC_DISK_READS, METRIC_DISK_WRITES);
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0" lines. */
static void read_disk_v2(struct reader *r)
{
	static const struct {
		const char *key;
		enum metric metric;
	} keys[] = {{"rbytes=", METRIC_DISK_READ_BYTES},
		    {"wbytes=", METRIC_DISK_WRITTEN_BYTES},
		    {"rios=", METRIC_DISK_READS},
		    {"wios=", METRIC_DISK_WRITES}};
	auto_free char *text = cgroup_read_file(r->layout, &r->paths, "", "io.stat");
	auto_strv struct strv lines = STRV_INIT;

	strv_split(&lines, text ? text : "", '\n');
	for (size_t i = 0; i < lines.len && i < DEVICES_MAX; i++) {
		auto_strv struct strv words = STRV_INIT;

		strv_split(&words, lines.items[i], ' ');
		for (size_t k = 1; k < words.len; k++) {
			for (size_t n = 0; n < ARRAY_SIZE(keys); n++) {
				const char *value = startswith(words.items[k], keys[n].key);

				if (value)
					add_disk(r, words.items[0], keys[n].metric, value);
			}
		}
	}
}

int cgroup_metrics_read(const struct cgroup_layout *l, int64_t host_memory, pid_t init_pid, const char *labels,
			struct metrics *out, struct error *err)
{
	struct reader r = {.layout = l, .host_memory = host_memory, .labels = labels, .out = out};
	int rc = cgroup_membership(l, init_pid, &r.paths, err);

	if (rc == 0 && strmap_get(&l->mounts, "cpuacct"))
		read_cpu_v1(&r);
	else if (rc == 0)
		read_cpu_v2(&r);
	if (rc == 0)
		read_memory(&r);
	if (rc == 0 && strmap_get(&l->mounts, "blkio"))
		read_disk_v1(&r);
	else if (rc == 0)
		read_disk_v2(&r);
	if (rc == 0)
		metrics_add(out, METRIC_PROCS, labels, cgroup_read_processes(l, &r.paths));
	else
		error_set(err, 500, "Read the control groups of process %d: it has ended", init_pid);
	if (rc < 0)
		err->errnum = ESRCH;
	strmap_done(&r.paths);
	return rc < 0 ? -ESRCH : 0;
}
