/* Read-only mounts that stay so: where the kernel can lock them before the container has them. */
#include "container/readonly.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "base/strv.h"

#define MS_NOSUID_NODEV_NOEXEC (2ul | 4ul | 8ul)
#define MS_REC_SLAVE ((1ul << 14) | (1ul << 19))
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);

int mounts_unshare(struct error *err)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC_SLAVE, NULL) < 0)
		return error_errno(err, errno, "Leave the host's mount namespace");
	return 0;
}

int mounts_scratch(const char *dir, struct error *err)
{
	/* what the container's root cannot walk through it cannot mount from */
	if (mount("tmpfs", dir, "tmpfs", MS_NOSUID_NODEV_NOEXEC, "mode=0755,size=1m") < 0)
		return error_errno(err, errno, "Mount a file system for mount points on %s", dir);
	return 0;
}

int mounts_attach(int tree, const char *path, struct error *err)
{
	struct stat st;
	int r;

	if (fstat(tree, &st) < 0)
		return error_errno(err, errno, "Look at the mount for %s", path);
	r = S_ISDIR(st.st_mode) ? mkdir(path, 0755) : mknod(path, S_IFREG | 0644, 0);
	if (r < 0)
		return error_errno(err, errno, "Create mount point %s", path);
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_errno(err, errno, "Mount on %s (move_mount)", path);
	return 0;
}

/* A field of a mount entry has white space and backslash in octal. */
static char *unquote(const char *field)
{
	struct strbuf b = STRBUF_INIT;

	for (const char *p = field; *p; p++) {
		if (*p == '\\' && strspn(p + 1, "01234567") >= 3) {
			strbuf_append_char(&b, (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0')));
			p += 3;
		} else {
			strbuf_append_char(&b, *p);
		}
	}
	return strbuf_take(&b);
}

static char *quote(const char *path)
{
	struct strbuf b = STRBUF_INIT;

	for (const char *p = path; *p; p++) {
		if (strchr(" \t\n\\#", *p))
			strbuf_appendf(&b, "\\%03o", (unsigned char)*p);
		else
			strbuf_append_char(&b, *p);
	}
	return strbuf_take(&b);
}

/* The source of an entry that is a read-only bind mount, or NULL. */
static char *readonly_source(const struct strv *fields)
{
	auto_strv struct strv options = STRV_INIT;
	auto_free char *source = NULL;

	if (fields->len < 4)
		return NULL;
	strv_split(&options, fields->items[3], ',');
	if (!strv_contains(&options, "ro") || !strv_contains(&options, "bind"))
		return NULL;
	source = unquote(fields->items[0]);
	return *source == '/' ? TAKE_PTR(source) : NULL;
}

/* A folder beside the containers' that is always empty on the host. */
static int prepare(const char *lxcpath, struct error *err)
{
	auto_free char *dir = xasprintf("%s/.readonly", lxcpath);
	int r;

	if (mkdir(dir, 0711) < 0 && errno != EEXIST)
		return error_errno(err, errno, "Create %s", dir);
	r = mounts_unshare(err);
	return r < 0 ? r : mounts_scratch(dir, err);
}

int readonly_take_entry(char **value, const char *lxcpath, unsigned *count, struct error *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	auto_strv struct strv fields = STRV_INIT;
	auto_free char *source = NULL;
	auto_free char *path = NULL;
	auto_free char *quoted = NULL;
	auto_close int tree = -EBADF;
	int r;

	strv_split_words(&fields, *value);
	source = readonly_source(&fields);
	if (!source)
		return 0;
	tree = (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return 0;
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return error_errno(err, errno, "Make the mount of %s read-only", source);
	r = *count == 0 ? prepare(lxcpath, err) : 0;
	if (r < 0)
		return r;
	path = xasprintf("%s/.readonly/%u", lxcpath, (*count)++);
	r = mounts_attach(tree, path, err);
	if (r < 0)
		return error_wrap(err, "Mount %s read-only", source);
	quoted = quote(path);
	free(*value);
	*value = xasprintf("%s %s %s %s 0 0", quoted, fields.items[1], fields.items[2], fields.items[3]);
	return 0;
}
