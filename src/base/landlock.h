/* Landlock for the jailed helpers: what a process may still do with files, where the kernel has it. */
#pragma once

#include <linux/landlock.h>
#include <stdint.h>

#include "base/error.h"

/* Newer than the oldest header we build with. */
#define LANDLOCK_REFER (1ULL << 13)
#define LANDLOCK_TRUNCATE (1ULL << 14)
#define LANDLOCK_IOCTL (1ULL << 15)

/* Every right of version 1. */
#define LANDLOCK_V1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define LANDLOCK_READ (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

/*
 * Rules that forbid every right this kernel knows, none of them in force yet: *@ret_set is their fd, owned by the
 * caller,
 * *@ret_handled the rights. -EBADF in *@ret_set: the kernel has no Landlock, or version 1, which forbids hard links
 * between folders in any case and so is of no use to who makes them. 500.
 */
int landlock_begin(int *ret_set, uint64_t *ret_handled, struct error *err);
/* Allow @access beneath @path. 500. */
int landlock_allow(int set, const char *path, uint64_t access, struct error *err);
/* Put the rules in force for this process, for good. 500. */
int landlock_end(int set, struct error *err);
/* All of it without a rule: no path can be opened or made, with version 1 too. 500. */
int landlock_forbid_files(struct error *err);
