#include "container/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

#define COPY_MAX (16u << 20)

static int failed(struct error *err, int errnum, const char *what, const char *path)
{
	if (errnum == ENOENT || errnum == ENOTDIR) {
		error_set(err, 404, "Not Found");
		err->errnum = errnum;
		return -errnum;
	}
	return error_errno(err, errnum, "%s %s in the instance", what, path);
}

/* While folders on the way are being moved the kernel may say so rather than where it leads. */
static int resolve(const struct beneath *b, const char *path, int flags)
{
	int fd = -EAGAIN;

	for (int i = 0; i < 128 && fd == -EAGAIN; i++)
		fd = path_open_in_root(b->root, *path ? path : ".", flags, 0);
	return fd;
}

/* The folder that holds @path's last part, which goes to *@ret_name: "." for what has none. */
static int open_parent(const struct beneath *b, const char *path, char **ret_name, struct error *err)
{
	auto_free char *head = xstrdup(path);
	char *slash, *end = head + strlen(head);
	int fd;

	while (end > head && end[-1] == '/')
		*--end = '\0';
	slash = strrchr(head, '/');
	*ret_name = xstrdup(slash ? slash + 1 : head);
	if (!**ret_name || streq(*ret_name, ".") || streq(*ret_name, "..")) {
		free(*ret_name);
		*ret_name = xstrdup(".");
	} else {
		*(slash ? slash + 1 : head) = '\0';
	}
	fd = resolve(b, head, O_PATH | O_DIRECTORY);
	return fd < 0 ? failed(err, -fd, "Open the folder of", path) : fd;
}

int beneath_look(const struct beneath *b, const char *path, struct stat *ret, struct error *err)
{
	auto_free char *name = NULL;
	auto_close int parent = open_parent(b, path, &name, err);

	if (parent < 0)
		return parent;
	return fstatat(parent, name, ret, AT_SYMLINK_NOFOLLOW) < 0 ? failed(err, errno, "Look at", path) : 0;
}

int beneath_read_link(const struct beneath *b, const char *path, char **ret, struct error *err)
{
	auto_free char *name = NULL;
	auto_close int parent = open_parent(b, path, &name, err);
	char target[4096];
	ssize_t n;

	if (parent < 0)
		return parent;
	n = readlinkat(parent, name, target, sizeof(target) - 1);
	if (n < 0)
		return failed(err, errno, "Read link", path);
	target[n] = '\0';
	*ret = xstrdup(target);
	return 0;
}

/* Open what an O_PATH fd has: the file has been looked at, and is the same one. */
static int reopen(const struct beneath *b, int fd, int flags)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", fd);
	fd = openat(b->fds, name, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/* A regular file, with links followed, by O_PATH. */
static int find_regular(const struct beneath *b, const char *path, struct error *err)
{
	auto_close int fd = resolve(b, path, O_PATH);
	struct stat st;

	if (fd < 0)
		return failed(err, -fd, "Open", path);
	if (fstat(fd, &st) < 0)
		return failed(err, errno, "Look at", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, 400, "%s is no regular file", path);
	return TAKE_FD(fd);
}

static int make_copy(int fd, const char *path, struct error *err)
{
	auto_close int copy = memfd_create("file", MFD_CLOEXEC);
	auto_free char *buf = xmalloc(65536);
	size_t total = 0;

	if (copy < 0)
		return error_errno(err, errno, "Make a file in memory");
	for (;;) {
		ssize_t n = read(fd, buf, 65536);
		int r;

		if (n < 0)
			return failed(err, errno, "Read", path);
		if (n == 0)
			return TAKE_FD(copy);
		total += (size_t)n;
		if (total > COPY_MAX)
			return error_set(err, 400,
					 "%s is larger than %u bytes, which its file system has no more of for us",
					 path, COPY_MAX);
		r = fd_write_full(copy, buf, (size_t)n);
		if (r < 0)
			return error_errno(err, -r, "Copy %s", path);
	}
}

/*
 * What the kernel shows as files is not written: for a privileged container that would be the host's kernel, without
 * what keeps the container itself from it. Nor is read there what the container should not.
 */
static const struct {
	long type;
	bool readable;
} kernel_files[] = {
	{PROC_SUPER_MAGIC, true},      {SYSFS_MAGIC, true},
	{CGROUP_SUPER_MAGIC, true},    {CGROUP2_SUPER_MAGIC, true},
	{DEBUGFS_MAGIC, false},        {TRACEFS_MAGIC, false},
	{SECURITYFS_MAGIC, false},     {BPF_FS_MAGIC, false},
	{EFIVARFS_MAGIC, false},       {PSTOREFS_MAGIC, false},
	{SELINUX_MAGIC, false},        {SMACK_MAGIC, false},
	{BINFMTFS_MAGIC, false},       {0x62656570, false /* configfs */},
	{RDTGROUP_SUPER_MAGIC, false},
};

static int check_kernel_files(int fd, bool writing, const char *path, struct error *err)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return error_errno(err, errno, "Look at the file system of %s", path);
	for (size_t i = 0; i < ARRAY_SIZE(kernel_files); i++)
		if (fs.f_type == kernel_files[i].type && (writing || !kernel_files[i].readable))
			return error_set(err, 403, "%s is a file of the kernel's: it is not %s", path,
					 writing ? "written" : "read");
	return 0;
}

/* The folder that something is to be made in or removed from. */
static int open_changed_parent(const struct beneath *b, const char *path, char **ret_name, struct error *err)
{
	auto_close int fd = open_parent(b, path, ret_name, err);
	int r = fd < 0 ? fd : check_kernel_files(fd, true, path, err);

	return r < 0 ? r : TAKE_FD(fd);
}

/* Whoever reads or writes here may wait for a process of the container's, or of somebody far away. */
static bool is_unreliable(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) < 0 || fs.f_type == FUSE_SUPER_MAGIC;
}

int beneath_open(const struct beneath *b, const char *path, struct error *err)
{
	auto_close int found = find_regular(b, path, err);
	auto_close int fd = -EBADF;
	struct stat st;
	int r;

	if (found < 0)
		return found;
	r = check_kernel_files(found, false, path, err);
	if (r < 0)
		return r;
	fd = reopen(b, found, O_RDONLY);
	if (fd < 0)
		return failed(err, -fd, "Open", path);
	if (fstat(fd, &st) < 0)
		return failed(err, errno, "Look at", path);
	return st.st_size == 0 || is_unreliable(fd) ? make_copy(fd, path, err) : TAKE_FD(fd);
}

static int write_names(DIR *d, int out, struct error *err)
{
	auto_strbuf struct strbuf names = STRBUF_INIT;
	struct dirent *e;
	int r;

	while ((e = readdir(d))) {
		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		strbuf_append_len(&names, e->d_name, strlen(e->d_name) + 1);
		if (names.len > COPY_MAX)
			return error_set(err, 400, "The folder's names have more than %u bytes", COPY_MAX);
	}
	r = fd_write_full(out, names.data, names.len);
	return r < 0 ? error_errno(err, -r, "Copy the names of a folder") : 0;
}

int beneath_list(const struct beneath *b, const char *path, struct error *err)
{
	auto_close int out = memfd_create("names", MFD_CLOEXEC);
	int fd = resolve(b, path, O_RDONLY | O_DIRECTORY);
	DIR *d;
	int r;

	if (fd < 0)
		return failed(err, -fd, "Open folder", path);
	d = fdopendir(fd);
	if (!d || out < 0)
		return error_errno(err, errno, "List %s", path);
	r = write_names(d, out, err);
	closedir(d);
	return r < 0 ? r : TAKE_FD(out);
}

/* By an O_PATH or other fd of what was made just now: another put in its place is not touched. */
static int set_owner(int fd, const struct beneath_owner *o)
{
	return fchownat(fd, "", o->uid, o->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int beneath_make_folder(const struct beneath *b, const char *path, const struct beneath_owner *o, struct error *err)
{
	auto_free char *name = NULL;
	auto_close int parent = open_changed_parent(b, path, &name, err);
	auto_close int fd = -EBADF;
	struct stat st;

	if (parent < 0)
		return parent;
	if (mkdirat(parent, name, 0700) < 0) {
		if (errno != EEXIST)
			return failed(err, errno, "Make folder", path);
		fd = resolve(b, path, O_PATH);
		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
			return 0;
		return error_set(err, 400, "%s is there and no folder", path);
	}
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || set_owner(fd, o) < 0 || fchmod(fd, o->mode) < 0) {
		failed(err, errno, "Set owner and mode of", path);
		unlinkat(parent, name, AT_REMOVEDIR);
		return -err->errnum;
	}
	return 0;
}

int beneath_make_link(const struct beneath *b, const char *path, const char *target, const struct beneath_owner *o,
		      struct error *err)
{
	auto_free char *name = NULL;
	auto_free char *old = NULL;
	auto_error struct error none = ERROR_INIT;
	auto_close int parent = open_changed_parent(b, path, &name, err);
	auto_close int fd = -EBADF;

	if (parent < 0)
		return parent;
	if (symlinkat(target, parent, name) < 0) {
		int failure = errno;

		if (failure == EEXIST && beneath_read_link(b, path, &old, &none) == 0 && streq(old, target))
			return 0;
		return failed(err, failure, "Make link", path);
	}
	fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || set_owner(fd, o) < 0) {
		failed(err, errno, "Set owner of", path);
		unlinkat(parent, name, 0);
		return -err->errnum;
	}
	return 0;
}

int beneath_remove(const struct beneath *b, const char *path, struct error *err)
{
	auto_free char *name = NULL;
	auto_close int parent = open_changed_parent(b, path, &name, err);

	if (parent < 0)
		return parent;
	if (unlinkat(parent, name, 0) == 0)
		return 0;
	if ((errno == EISDIR || errno == EPERM) && unlinkat(parent, name, AT_REMOVEDIR) == 0)
		return 0;
	return failed(err, errno == ENOTDIR ? EPERM : errno, "Remove", path);
}

static int open_present(const struct beneath *b, const char *path, bool append, struct beneath_file *ret,
			struct error *err)
{
	auto_close int found = find_regular(b, path, err);
	int r;

	if (found < 0)
		return found;
	r = check_kernel_files(found, true, path, err);
	if (r < 0)
		return r;
	if (is_unreliable(found))
		return error_set(err, 400, "%s is on a FUSE file system: it is not written", path);
	ret->fd = reopen(b, found, O_WRONLY | (append ? O_APPEND : O_TRUNC));
	return ret->fd < 0 ? failed(err, -ret->fd, "Open", path) : 0;
}

int beneath_write(const struct beneath *b, const char *path, bool append, const struct beneath_owner *o,
		  struct beneath_file *ret, struct error *err)
{
	auto_close int fd = -EBADF;
	auto_close int parent = -EBADF;
	auto_free char *name = NULL;
	struct stat st;
	int r;

	*ret = (struct beneath_file){.fd = -EBADF, .parent = -EBADF};
	r = open_present(b, path, append, ret, err);
	if (r == 0 || append || err->errnum != ENOENT)
		return r;
	error_clear(err);
	parent = open_changed_parent(b, path, &name, err);
	if (parent < 0)
		return parent;
	if (streq(name, ".") || endswith(path, "/"))
		return error_set(err, 400, "%s is no name of a file", path);
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return error_set(err, 400, "%s is a link that leads nowhere", path);
	fd = openat(parent, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return failed(err, errno, "Make a file in the folder of", path);
	if (set_owner(fd, o) < 0 || fchmod(fd, o->mode) < 0)
		return failed(err, errno, "Set owner and mode of", path);
	*ret = (struct beneath_file){.fd = TAKE_FD(fd), .parent = TAKE_FD(parent), .name = TAKE_PTR(name)};
	return 0;
}

int beneath_commit(const struct beneath *b, struct beneath_file *f, struct error *err)
{
	char number[16];

	if (!f->name)
		return 0;
	snprintf(number, sizeof(number), "%d", f->fd);
	if (linkat(b->fds, number, f->parent, f->name, AT_SYMLINK_FOLLOW) < 0)
		return failed(err, errno, "Name the new file", f->name);
	return 0;
}
