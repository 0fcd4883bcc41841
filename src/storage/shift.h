/*
 * Owners of a tree moved from one idmap to another, for kernels or file systems without idmapped mounts; and
 * the probe that tells them apart.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "config/idmap.h"

struct shift_stats {
	uint64_t inodes;   /* looked at */
	uint64_t changed;  /* owner, ACL or capability rewritten */
	uint64_t unmapped; /* have an id outside both maps; left as it is */
};

#define SHIFT_STATS_INIT ((struct shift_stats){0})

/*
 * Change owners, ids in POSIX ACLs and root ids of file capabilities of @dirfd and everything in it: from host ids of
 * @from to host ids of @to (an empty map is the identity, that is: unshifted). Setuid and setgid bits stay.
 * Follows no symbolic link and crosses no mount; the container must not be running. @stats may be NULL.
 *
 * Restartable: after kill -9 call it again with the same two maps. Each inode can be told done from not done as the
 * two maps' host ranges do not overlap; where they do, the tree goes through a third range in two passes, and an
 * xattr of the top folder (trusted.lxd.shift) tells which pass it is in. What chown would lose (setuid, capability)
 * is noted in the same xattr of the file until it is restored. So the caller keeps "from" in its database
 * (volatile.last_state.idmap) until this function has returned 0, and only then writes "to".
 * Errors: -EINVAL (400) ids beyond 2^31 in overlapping maps; otherwise 500.
 */
int shift_tree(int dirfd, const struct idmap *from, const struct idmap *to, struct shift_stats *stats,
	       struct error *err);

/*
 * Can the kernel idmap-mount the file system of the folder @path (open_tree, mount_setattr with a user
 * namespace)? 1 or 0; negative when the probe itself failed. Forks a short-lived process: cache the answer per pool.
 */
int storage_idmap_supported(const char *path, struct error *err);
