/*
 * Operations on whole directory trees, by fd: nothing here follows a symbolic link or leaves the mount it began
 * on, and depth is limited neither by the stack nor by the number of fds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct tree_stats {
	uint64_t dirs;
	uint64_t files; /* regular files, each inode once */
	uint64_t links; /* further names of files counted before */
	uint64_t symlinks;
	uint64_t specials; /* fifos, sockets, device nodes */
	uint64_t bytes;    /* data of regular files, holes left out */
	uint64_t skipped;  /* vanished or replaced while we looked, or on another mount */
};

#define TREE_STATS_INIT ((struct tree_stats){0})

enum tree_flags {
	TREE_KEEP_TOP = 1 << 0, /* leave owner, mode, times and xattrs of the destination folder itself alone */
};

/*
 * Copy what is in @src_dirfd into the empty folder @dst_dirfd: owners, modes with setuid and setgid, mtimes (ns),
 * symbolic and hard links, fifos, sockets, device nodes, holes, xattrs with ACLs and file capabilities; not
 * trusted.overlay.* and not inode flags. The destination must be reachable for root alone until the copy is done.
 * Data is shared (FICLONE) where the file system can. A source that changes meanwhile gives some state of each file;
 * what vanishes is skipped. A mount inside the source is copied as the empty folder beneath it.
 * @flags: enum tree_flags; @stats may be NULL; so may @stop, which ends the copy
 * (-ECANCELED) when it is set. On failure the destination holds a partial tree for the caller to
 * remove. Errors: ENOSPC and EDQUOT have status 507; otherwise 500.
 */
int tree_copy(int src_dirfd, int dst_dirfd, unsigned flags, const _Atomic bool *stop, struct tree_stats *stats,
	      struct error *err);

/* Disk space (bytes, by allocated blocks, hard links once) and inodes below and including @dirfd. */
int tree_usage(int dirfd, uint64_t *ret_bytes, uint64_t *ret_inodes, struct error *err);
