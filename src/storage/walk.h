/*
 * The walk under tree copy, usage and shift: visits each folder of a tree once, parents before children, with an
 * explicit stack on the heap and at most WALK_OPEN_MAX fds per side. For src/storage only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strv.h"

/*
 * Called for each folder. @src is a readable folder fd; @dst the matching folder of the second tree, or -EBADF.
 * Both are borrowed. Adds to @subdirs the names to visit next, which must exist on both sides by then.
 */
typedef int (*walk_visit_fn)(void *ctx, int src, int dst, struct strv *subdirs, struct error *err);

/*
 * Walk from @src (and @dst alongside, -EBADF for none). A folder that vanished, was replaced, or is on
 * another mount is skipped on the source side and an error on the destination side. @skipped (may be NULL) counts.
 */
int walk_tree(int src, int dst, walk_visit_fn visit, void *ctx, uint64_t *skipped, struct error *err);

/*
 * Call @fn for each entry of the folder @dirfd except "." and ".."; its offset is not shared with the caller's
 * other uses. @type is d_type (DT_UNKNOWN possible). Stops at the first negative result.
 */
typedef int (*walk_entry_fn)(void *ctx, int dirfd, const char *name, unsigned char type, struct error *err);
int walk_entries(int dirfd, walk_entry_fn fn, void *ctx, struct error *err);

/* Open by one name, no symbolic link, no mount crossed, never blocking: fd or negative errno. */
int walk_open(int dirfd, const char *name, int flags) MUST_USE;
int walk_open_dir(int dirfd, const char *name) MUST_USE;
