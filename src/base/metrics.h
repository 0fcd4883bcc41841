/*
 * Metrics as text in the form that Prometheus reads: families with help and type, and their samples. Pure; names and
 * help are LXD's, so that dashboards fit.
 */
#pragma once

#include <stdint.h>

#include "base/strbuf.h"

enum metric {
	METRIC_CPU_SECONDS,
	METRIC_DISK_READ_BYTES,
	METRIC_DISK_READS,
	METRIC_DISK_WRITTEN_BYTES,
	METRIC_DISK_WRITES,
	METRIC_FILESYSTEM_AVAIL,
	METRIC_FILESYSTEM_FREE,
	METRIC_FILESYSTEM_SIZE,
	METRIC_MEMORY_ACTIVE_ANON,
	METRIC_MEMORY_ACTIVE_FILE,
	METRIC_MEMORY_ACTIVE,
	METRIC_MEMORY_CACHED,
	METRIC_MEMORY_DIRTY,
	METRIC_MEMORY_INACTIVE_ANON,
	METRIC_MEMORY_INACTIVE_FILE,
	METRIC_MEMORY_INACTIVE,
	METRIC_MEMORY_MAPPED,
	METRIC_MEMORY_AVAILABLE,
	METRIC_MEMORY_FREE,
	METRIC_MEMORY_TOTAL,
	METRIC_MEMORY_RSS,
	METRIC_MEMORY_SHMEM,
	METRIC_MEMORY_SWAP,
	METRIC_MEMORY_UNEVICTABLE,
	METRIC_MEMORY_WRITEBACK,
	METRIC_NETWORK_RECEIVE_BYTES,
	METRIC_NETWORK_RECEIVE_DROP,
	METRIC_NETWORK_RECEIVE_ERRS,
	METRIC_NETWORK_RECEIVE_PACKETS,
	METRIC_NETWORK_TRANSMIT_BYTES,
	METRIC_NETWORK_TRANSMIT_DROP,
	METRIC_NETWORK_TRANSMIT_ERRS,
	METRIC_NETWORK_TRANSMIT_PACKETS,
	METRIC_OPERATIONS,
	METRIC_PROCS,
	METRIC_UPTIME_SECONDS,
	METRIC_WARNINGS,
	METRIC_MAX,
};

struct metrics {
	struct strbuf samples[METRIC_MAX];
};

#define METRICS_INIT ((struct metrics){0})
#define auto_metrics CLEANUP(metrics_done)
void metrics_done(struct metrics *m);

/* Append `name="value"` with the value escaped, a comma in front unless @labels is empty. */
void metrics_label(struct strbuf *labels, const char *name, const char *value);
/* One sample. @labels as metrics_label() makes them, "" for none. Negative: the figure is not known, nothing is added.
 */
void metrics_add(struct metrics *m, enum metric family, const char *labels, int64_t value);
/* The same for a time in nanoseconds, which is written in seconds. */
void metrics_add_ns(struct metrics *m, enum metric family, const char *labels, int64_t ns);
/* How much there is, and back to that: for samples that turn out to be of something else. */
struct metrics_mark {
	size_t len[METRIC_MAX];
};
struct metrics_mark metrics_mark(const struct metrics *m);
void metrics_reset(struct metrics *m, const struct metrics_mark *mark);
/* All families that have samples, each with help and type, and the end mark. */
void metrics_write(const struct metrics *m, struct strbuf *out);
