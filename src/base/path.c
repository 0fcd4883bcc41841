#include "base/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "base/strv.h"

char *path_join_parts(const char *const *parts)
{
	struct strbuf b = STRBUF_INIT;

	for (; *parts; parts++) {
		const char *p = *parts;

		if (b.len && b.data[b.len - 1] != '/')
			strbuf_append_char(&b, '/');
		if (b.len)
			while (*p == '/')
				p++;
		strbuf_append(&b, p);
	}
	return strbuf_take(&b);
}

char *path_lexical(const char *path)
{
	auto_strv struct strv in = STRV_INIT;
	auto_strv struct strv out = STRV_INIT;
	auto_free char *joined = NULL;

	strv_split(&in, path, '/');
	for (size_t k = 0; k < in.len; k++) {
		const char *part = in.items[k];

		if (!*part || streq(part, "."))
			continue;
		if (!streq(part, "..")) {
			strv_add(&out, part);
		} else if (out.len) {
			free(out.items[--out.len]);
			out.items[out.len] = NULL;
		}
	}
	joined = strv_join(&out, "/");
	return xasprintf("/%s", joined);
}

static int open_how(int dirfd, const char *path, int flags, unsigned mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = (flags & (O_CREAT | __O_TMPFILE)) ? mode : 0,
		.resolve = resolve,
	};
	long fd;

	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : (int)fd;
}

int path_open_beneath(int dirfd, const char *path, int flags, unsigned mode)
{
	return open_how(dirfd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int path_open_nofollow(int dirfd, const char *path, int flags, unsigned mode)
{
	return open_how(dirfd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

int path_open_in_root(int dirfd, const char *path, int flags, unsigned mode)
{
	return open_how(dirfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

static int open_dir(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* A container's root may have set the immutable or append-only flag; it must not block us. */
static void clear_immutable(int dirfd, const char *name)
{
	auto_close int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	unsigned flags;

	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return;
	flags &= ~(unsigned)(FS_IMMUTABLE_FL | FS_APPEND_FL);
	(void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static int unlink_any(int dirfd, const char *name, int flags)
{
	if (unlinkat(dirfd, name, flags) == 0 || errno == ENOENT)
		return 0;
	if (errno == EPERM) {
		clear_immutable(dirfd, name);
		clear_immutable(dirfd, ".");
		if (unlinkat(dirfd, name, flags) == 0)
			return 0;
	}
	return -errno;
}

/*
 * Empties the folder @top without recursion: a subfolder met on the way is renamed up into @top, so
 * that one fd and one level are enough however deep a hostile tree is. A folder that is a mount point
 * cannot be renamed (EBUSY), which is the refusal to cross mounts.
 */
static int empty_dir(int top)
{
	for (unsigned serial = 0;;) {
		auto_close int fd = -EBADF;
		struct dirent *e;
		bool moved = false;
		DIR *d;
		int r = 0;

		fd = open_dir(top, ".");
		if (fd < 0)
			return fd;
		d = fdopendir(fd);
		if (!d)
			return -errno;
		TAKE_FD(fd);
		while (r == 0 && (e = readdir(d))) {
			int sub;

			if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
				continue;
			r = unlink_any(top, e->d_name, 0);
			if (r != -EISDIR && r != -EPERM)
				continue;
			r = unlink_any(top, e->d_name, AT_REMOVEDIR);
			if (r != -ENOTEMPTY && r != -EEXIST)
				continue;
			sub = open_dir(top, e->d_name);
			if (sub < 0) {
				r = sub;
				continue;
			}
			/* files go at once, folders move up to be found by the next round */
			DIR *s = fdopendir(sub);

			r = 0;
			if (!s) {
				r = -errno;
				close(sub);
				continue;
			}
			for (struct dirent *c; r == 0 && (c = readdir(s));) {
				if (strcmp(c->d_name, ".") == 0 || strcmp(c->d_name, "..") == 0)
					continue;
				r = unlink_any(dirfd(s), c->d_name, 0);
				if (r != -EISDIR && r != -EPERM)
					continue;
				r = unlink_any(dirfd(s), c->d_name, AT_REMOVEDIR);
				while (r == -ENOTEMPTY || r == -EEXIST) {
					char up[32];

					snprintf(up, sizeof(up), ".rm-%u", serial++);
					clear_immutable(dirfd(s), c->d_name);
					clear_immutable(dirfd(s), ".");
					if (renameat2(dirfd(s), c->d_name, top, up, RENAME_NOREPLACE) == 0) {
						moved = true;
						r = 0;
					} else {
						r = -errno;
					}
				}
			}
			closedir(s);
			if (r == 0)
				r = unlink_any(top, e->d_name, AT_REMOVEDIR);
			/* somebody is still adding to it: the next round sees */
			if (r == -ENOTEMPTY || r == -EEXIST) {
				moved = true;
				r = 0;
			}
		}
		closedir(d);
		if (r < 0)
			return r;
		if (!moved)
			return 0;
	}
}

int path_remove_tree(int dirfd, const char *name, struct error *err)
{
	auto_close int fd = -EBADF;
	int r = unlink_any(dirfd, name, 0);

	if (r != -EISDIR && r != -EPERM)
		return r < 0 ? error_errno(err, -r, "Remove %s", name) : 0;
	r = unlink_any(dirfd, name, AT_REMOVEDIR);
	if (r == -ENOTEMPTY || r == -EEXIST) {
		fd = open_dir(dirfd, name);
		if (fd < 0)
			return error_errno(err, -fd, "Remove %s", name);
		clear_immutable(fd, ".");
		r = empty_dir(fd);
		if (r == 0)
			r = unlink_any(dirfd, name, AT_REMOVEDIR);
	}
	return r < 0 ? error_errno(err, -r, "Remove %s", name) : 0;
}
