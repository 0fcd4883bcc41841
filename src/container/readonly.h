/*
 * Read-only mounts that the container's root cannot make writable. The kernel locks the read-only flag of a mount when
 * the mount namespace that it is in is copied into another user namespace; so such mounts are made in a namespace of
 * ours first. A privileged container has no user namespace: there the flag is no boundary.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Leave the mount namespace for a copy that gets the host's changes but passes on none. */
int mounts_unshare(struct error *err);
/* Mount an empty tmpfs for mount points on @dir. */
int mounts_scratch(const char *dir, struct error *err);
/* Attach the detached mount @tree at @path, a mount point made for it. */
int mounts_attach(int tree, const char *path, struct error *err);

/*
 * The value of a "lxc.mount.entry" item with the source exchanged for a mount of it that is made here, in place of
 * *@value: of read-only ones where they are @lockable, and of those with WIRE_MOUNT_NOFOLLOW, whose source is opened
 * without following symbolic links (400 when there is one). Nothing happens for other mounts. The first one (*@count
 * is 0) unshares the mount namespace. What liblxc will complain about in its own words (a missing source) is left to
 * it.
 */
int readonly_take_entry(char **value, const char *lxcpath, bool lockable, unsigned *count, struct error *err);
