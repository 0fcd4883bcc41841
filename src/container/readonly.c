/* Mounts that liblxc cannot make as safely: read-only ones that stay so, and such whose source is held. */
#include "container/readonly.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
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
#include "base/wire_container.h"

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

/* A mount entry of the host's files that is made here rather than by liblxc. */
struct entry {
	struct strv fields;
	struct strv options;
	char *source;
	bool readonly;
	bool nofollow;
};

static void entry_done(struct entry *e)
{
	strv_done(&e->fields);
	strv_done(&e->options);
	free(e->source);
}

/* False: liblxc's. @lockable: read-only mounts stay so. */
static bool read_entry(const char *value, bool lockable, struct entry *e)
{
	strv_split_words(&e->fields, value);
	if (e->fields.len < 4)
		return false;
	strv_split(&e->options, e->fields.items[3], ',');
	e->nofollow = strv_remove(&e->options, WIRE_MOUNT_NOFOLLOW);
	e->readonly = lockable && strv_contains(&e->options, "ro") && strv_contains(&e->options, "bind");
	e->source = unquote(e->fields.items[0]);
	return (e->readonly || e->nofollow) && *e->source == '/';
}

/* A detached copy of the source's mount; -ENOENT: there is none. */
static int open_source(const struct entry *e, struct error *err)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
	auto_close int source = -EBADF;
	int tree;

	if (!e->nofollow)
		how.resolve = 0;
	if (strv_contains(&e->options, "rbind"))
		flags |= AT_RECURSIVE;
	source = (int)syscall(SYS_openat2, AT_FDCWD, e->source, &how, sizeof(how));
	if (source < 0 && errno == ELOOP && e->nofollow)
		return error_set(err, 400, "Mount %s: symbolic links are not followed in restricted projects",
				 e->source);
	tree = source < 0 ? -1 : (int)syscall(SYS_open_tree, source, "", flags);
	return tree < 0 ? error_errno(err, errno, "Open the source %s", e->source) : tree;
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

int readonly_take_entry(char **value, const char *lxcpath, bool lockable, unsigned *count, struct error *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	CLEANUP(entry_done) struct entry e = {0};
	auto_error struct error missing = ERROR_INIT;
	auto_free char *path = NULL;
	auto_free char *quoted = NULL;
	auto_free char *options = NULL;
	auto_close int tree = -EBADF;
	int r;

	if (!read_entry(*value, lockable, &e))
		return 0;
	tree = open_source(&e, e.nofollow ? err : &missing);
	if (tree < 0)
		return e.nofollow ? tree : 0;
	if (e.readonly && syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return error_errno(err, errno, "Make the mount of %s read-only", e.source);
	r = *count == 0 ? prepare(lxcpath, err) : 0;
	if (r < 0)
		return r;
	path = xasprintf("%s/.readonly/%u", lxcpath, (*count)++);
	r = mounts_attach(tree, path, err);
	if (r < 0)
		return error_wrap(err, "Mount %s", e.source);
	quoted = quote(path);
	options = strv_join(&e.options, ",");
	free(*value);
	*value = xasprintf("%s %s %s %s 0 0", quoted, e.fields.items[1], e.fields.items[2], options);
	return 0;
}
