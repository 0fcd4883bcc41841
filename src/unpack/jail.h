/*
 * The jail that lxd-unpack puts itself in: user (identity map), mount, pid, network, IPC and UTS namespaces, the
 * target directory as the only file system, five capabilities, no_new_privs, rlimits, Landlock, seccomp.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

struct jail_spec {
	int target_fd;        /* becomes "/"; < 0: an empty read-only folder does */
	const int *keep_fds;  /* stay open besides stdin, stdout, stderr */
	unsigned keep_len;    /* at most 8 */
	uint64_t max_bytes;   /* limit of one file's size */
	uint32_t cpu_seconds; /* processor time */
};

/*
 * Split off a child that is to be jailed, and return 0 in it; it holds all capabilities in its namespaces until
 * jail_enter(). The caller itself waits for the child and ends with the child's exit code or signal: it does not
 * return, but for an error (negative) when no child could be made.
 */
int jail_split(const struct jail_spec *spec, struct error *err);
/* In the child: close the doors. After it only read, write and file calls in the target work. */
int jail_enter(const struct jail_spec *spec, struct error *err);

/* The seccomp allow list (filter.c): anything else kills the process. */
int jail_filter_load(struct error *err);
