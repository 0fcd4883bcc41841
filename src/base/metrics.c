#include "base/metrics.h"

#include <string.h>

#include "base/str.h"

#define SECOND_NS 1000000000

enum type { COUNTER, GAUGE };

/* In the order in which they are written. */
static const struct family {
	const char *name;
	enum type type;
	const char *help;
} families[METRIC_MAX] = {
	[METRIC_CPU_SECONDS] = {"lxd_cpu_seconds_total", COUNTER, "The total number of CPU time used in seconds."},
	[METRIC_DISK_READ_BYTES] = {"lxd_disk_read_bytes_total", COUNTER, "The total number of bytes read."},
	[METRIC_DISK_READS] = {"lxd_disk_reads_completed_total", COUNTER, "The total number of completed reads."},
	[METRIC_DISK_WRITTEN_BYTES] = {"lxd_disk_written_bytes_total", COUNTER, "The total number of bytes written."},
	[METRIC_DISK_WRITES] = {"lxd_disk_writes_completed_total", COUNTER, "The total number of completed writes."},
	[METRIC_FILESYSTEM_AVAIL] = {"lxd_filesystem_avail_bytes", GAUGE, "The number of available space in bytes."},
	[METRIC_FILESYSTEM_FREE] = {"lxd_filesystem_free_bytes", GAUGE, "The number of free space in bytes."},
	[METRIC_FILESYSTEM_SIZE] = {"lxd_filesystem_size_bytes", GAUGE, "The size of the filesystem in bytes."},
	[METRIC_MEMORY_ACTIVE_ANON] = {"lxd_memory_Active_anon_bytes", GAUGE,
				       "The amount of anonymous memory on active LRU list."},
	[METRIC_MEMORY_ACTIVE_FILE] = {"lxd_memory_Active_file_bytes", GAUGE,
				       "The amount of file-backed memory on active LRU list."},
	[METRIC_MEMORY_ACTIVE] = {"lxd_memory_Active_bytes", GAUGE, "The amount of memory on active LRU list."},
	[METRIC_MEMORY_CACHED] = {"lxd_memory_Cached_bytes", GAUGE, "The amount of cached memory."},
	[METRIC_MEMORY_DIRTY] = {"lxd_memory_Dirty_bytes", GAUGE,
				 "The amount of memory waiting to get written back to the disk."},
	[METRIC_MEMORY_INACTIVE_ANON] = {"lxd_memory_Inactive_anon_bytes", GAUGE,
					 "The amount of anonymous memory on inactive LRU list."},
	[METRIC_MEMORY_INACTIVE_FILE] = {"lxd_memory_Inactive_file_bytes", GAUGE,
					 "The amount of file-backed memory on inactive LRU list."},
	[METRIC_MEMORY_INACTIVE] = {"lxd_memory_Inactive_bytes", GAUGE, "The amount of memory on inactive LRU list."},
	[METRIC_MEMORY_MAPPED] = {"lxd_memory_Mapped_bytes", GAUGE, "The amount of mapped memory."},
	[METRIC_MEMORY_AVAILABLE] = {"lxd_memory_MemAvailable_bytes", GAUGE, "The amount of available memory."},
	[METRIC_MEMORY_FREE] = {"lxd_memory_MemFree_bytes", GAUGE, "The amount of free memory."},
	[METRIC_MEMORY_TOTAL] = {"lxd_memory_MemTotal_bytes", GAUGE, "The amount of memory it may use."},
	[METRIC_MEMORY_RSS] = {"lxd_memory_RSS_bytes", GAUGE, "The amount of anonymous and swap cache memory."},
	[METRIC_MEMORY_SHMEM] = {"lxd_memory_Shmem_bytes", GAUGE,
				 "The amount of cached filesystem data that is swap-backed."},
	[METRIC_MEMORY_SWAP] = {"lxd_memory_Swap_bytes", GAUGE, "The amount of used swap memory."},
	[METRIC_MEMORY_UNEVICTABLE] = {"lxd_memory_Unevictable_bytes", GAUGE, "The amount of unevictable memory."},
	[METRIC_MEMORY_WRITEBACK] = {"lxd_memory_Writeback_bytes", GAUGE,
				     "The amount of memory queued for syncing to disk."},
	[METRIC_NETWORK_RECEIVE_BYTES] = {"lxd_network_receive_bytes_total", COUNTER,
					  "The amount of received bytes on a given interface."},
	[METRIC_NETWORK_RECEIVE_DROP] = {"lxd_network_receive_drop_total", COUNTER,
					 "The amount of received packets that were dropped on a given interface."},
	[METRIC_NETWORK_RECEIVE_ERRS] = {"lxd_network_receive_errs_total", COUNTER,
					 "The amount of received errors on a given interface."},
	[METRIC_NETWORK_RECEIVE_PACKETS] = {"lxd_network_receive_packets_total", COUNTER,
					    "The amount of received packets on a given interface."},
	[METRIC_NETWORK_TRANSMIT_BYTES] = {"lxd_network_transmit_bytes_total", COUNTER,
					   "The amount of transmitted bytes on a given interface."},
	[METRIC_NETWORK_TRANSMIT_DROP] = {"lxd_network_transmit_drop_total", COUNTER,
					  "The amount of packets to transmit that were dropped on a given interface."},
	[METRIC_NETWORK_TRANSMIT_ERRS] = {"lxd_network_transmit_errs_total", COUNTER,
					  "The amount of transmitted errors on a given interface."},
	[METRIC_NETWORK_TRANSMIT_PACKETS] = {"lxd_network_transmit_packets_total", COUNTER,
					     "The amount of transmitted packets on a given interface."},
	[METRIC_OPERATIONS] = {"lxd_operations_total", GAUGE, "The number of running operations."},
	[METRIC_PROCS] = {"lxd_procs_total", GAUGE, "The number of running processes."},
	[METRIC_UPTIME_SECONDS] = {"lxd_uptime_seconds", GAUGE, "How long the daemon has been running, in seconds."},
	[METRIC_WARNINGS] = {"lxd_warnings_total", GAUGE, "The number of warnings that are not resolved."},
};

void metrics_done(struct metrics *m)
{
	for (size_t i = 0; i < METRIC_MAX; i++)
		strbuf_done(&m->samples[i]);
}

void metrics_label(struct strbuf *labels, const char *name, const char *value)
{
	if (labels->len)
		strbuf_append_char(labels, ',');
	strbuf_appendf(labels, "%s=\"", name);
	while (*value) {
		size_t n = utf8_char_len(value, strlen(value));

		if (n == 0) {
			strbuf_append(labels, "\xef\xbf\xbd"); /* the mark for what is no character */
			n = 1;
		} else if (*value == '\n') {
			strbuf_append(labels, "\\n");
		} else {
			if (*value == '"' || *value == '\\')
				strbuf_append_char(labels, '\\');
			strbuf_append_len(labels, value, n);
		}
		value += n;
	}
	strbuf_append_char(labels, '"');
}

static struct strbuf *begin_sample(struct metrics *m, enum metric family, const char *labels)
{
	struct strbuf *b = &m->samples[family];

	strbuf_append(b, families[family].name);
	if (*labels)
		strbuf_appendf(b, "{%s}", labels);
	return b;
}

void metrics_add(struct metrics *m, enum metric family, const char *labels, int64_t value)
{
	if (value >= 0)
		strbuf_appendf(begin_sample(m, family, labels), " %lld\n", (long long)value);
}

void metrics_add_ns(struct metrics *m, enum metric family, const char *labels, int64_t ns)
{
	if (ns >= 0)
		strbuf_appendf(begin_sample(m, family, labels), " %lld.%09lld\n", (long long)(ns / SECOND_NS),
			       (long long)(ns % SECOND_NS));
}

struct metrics_mark metrics_mark(const struct metrics *m)
{
	struct metrics_mark mark;

	for (size_t i = 0; i < METRIC_MAX; i++)
		mark.len[i] = m->samples[i].len;
	return mark;
}

void metrics_reset(struct metrics *m, const struct metrics_mark *mark)
{
	for (size_t i = 0; i < METRIC_MAX; i++)
		strbuf_truncate(&m->samples[i], mark->len[i]);
}

void metrics_write(const struct metrics *m, struct strbuf *out)
{
	for (size_t i = 0; i < METRIC_MAX; i++) {
		if (!m->samples[i].len)
			continue;
		strbuf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n", families[i].name, families[i].help,
			       families[i].name, families[i].type == COUNTER ? "counter" : "gauge");
		strbuf_append_len(out, m->samples[i].data, m->samples[i].len);
	}
	strbuf_append(out, "# EOF\n");
}
