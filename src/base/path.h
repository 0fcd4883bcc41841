/* Paths: joining, and opening and removing beneath a folder that somebody else may be changing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* "a/b/c" from its parts, one slash between; the caller frees. path_join("a", "b"). */
#define path_join(...) path_join_parts((const char *const[]){__VA_ARGS__, NULL})
char *path_join_parts(const char *const *parts) __attribute__((returns_nonnull));

/* "/a/./b//../c" as "/a/c", always with a slash in front: by the text alone, no link is looked at. The caller frees. */
char *path_lexical(const char *path) __attribute__((returns_nonnull));

/*
 * openat2() beneath @dirfd: no "..", absolute path, symbolic link out of it, magic link or mount crossing
 * (RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS). O_CLOEXEC is added. An fd, or negative errno.
 */
int path_open_beneath(int dirfd, const char *path, int flags, unsigned mode) MUST_USE;
/* Same, following no symbolic link at all. */
int path_open_nofollow(int dirfd, const char *path, int flags, unsigned mode) MUST_USE;
/*
 * Same as openat2() with RESOLVE_IN_ROOT: @dirfd is "/", links resolve inside it.
 */
int path_open_in_root(int dirfd, const char *path, int flags, unsigned mode) MUST_USE;

/*
 * Remove @name below @dirfd, whatever it is, never following a symbolic link and never crossing a mount;
 * depth is not limited by the stack or by the number of fds. Missing is fine. Clears immutable flags.
 */
int path_remove_tree(int dirfd, const char *name, struct error *err);
