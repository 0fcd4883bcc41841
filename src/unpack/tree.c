/*
 * Writes an unpacked tree. The last parent folder stays open, since archives list a folder's members together.
 * What is set on a folder waits until the end: writing into it changes its time, and a default ACL would be
 * inherited by files that do not have it in the archive.
 */
#include "unpack/tree.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "unpack/member.h"

#define DEFERRED_MAX (192U << 20) /* bytes of memory for folders that wait */

struct folder {
	char *path;
	struct tree_attr attr;
};

struct tree {
	int root;   /* owned */
	char *name; /* for messages: "rootfs" */
	struct tree_counts *counts;
	char *parent_path; /* of parent_fd; NULL: none cached */
	int parent_fd;
	struct folder *folders;
	size_t folders_len;
	size_t folders_cap;
	size_t deferred_bytes;
	/* the file between begin and end */
	char *file_path;
	int file_fd;
	uint64_t file_size;
};

void tree_xattrs_done(struct tree_xattrs *x)
{
	for (size_t i = 0; i < x->len; i++) {
		free(x->items[i].name);
		free(x->items[i].value);
	}
	free(x->items);
	*x = TREE_XATTRS_INIT;
}

void tree_xattrs_add(struct tree_xattrs *x, const char *name, const void *value, size_t size)
{
	static const char *const kept[] = {"security.capability", "system.posix_acl_access",
					   "system.posix_acl_default"};
	bool keep = startswith(name, "user.") != NULL;

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		keep = keep || streq(name, kept[i]);
	if (!keep)
		return;
	x->items = xreallocarray(x->items, x->len + 1, sizeof(*x->items));
	x->items[x->len++] = (struct tree_xattr){xstrdup(name), xmemdup(size ? value : "", size ? size : 1), size};
}

int tree_count_member(struct tree_counts *c, struct error *err)
{
	if (++c->members > c->max_members)
		return error_set(err, 413, "Image has more than %" PRIu64 " members", c->max_members);
	return 0;
}

int tree_count_bytes(struct tree_counts *c, const char *path, uint64_t bytes, struct error *err)
{
	auto_free char *shown = NULL;

	if (bytes <= c->max_bytes - c->bytes) {
		c->bytes += bytes;
		return 0;
	}
	shown = member_escape(path);
	return error_set(err, 413, "Member \"%s\": image holds more than %" PRIu64 " bytes", shown, c->max_bytes);
}

static int fail(struct tree *t, const char *path, const char *why, struct error *err)
{
	auto_free char *shown = member_escape(path);

	return error_set(err, 400, "Member \"%s%s%s\": %s", t->name, *shown ? "/" : "", shown, why);
}

/* What an errno means when the archive's wish was carried out. */
static int fail_errno(struct tree *t, const char *path, const char *what, int errnum, struct error *err)
{
	static const struct {
		int errnum;
		int status;
	} statuses[] = {
		{ENOSPC, 507},       {EDQUOT, 507}, {ENOMEM, 507}, {EFBIG, 413},   {EMLINK, 413},
		{ENAMETOOLONG, 400}, {EINVAL, 400}, {EILSEQ, 400}, {ENOTDIR, 400}, {EISDIR, 400},
		{ELOOP, 400},        {EXDEV, 400},  {E2BIG, 413},
	};
	auto_free char *shown = member_escape(path);

	if (errnum == ELOOP)
		return fail(t, path, "path leads through a symbolic link", err);
	if (errnum == ENOTDIR)
		return fail(t, path, "path leads through something that is not a directory", err);
	error_errno(err, errnum, "Member \"%s%s%s\": %s", t->name, *shown ? "/" : "", shown, what);
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].errnum == errnum)
			error_status(err, statuses[i].status);
	return -errnum;
}

/*
 * openat2() beneath @dirfd through no symbolic link and no mount. An fd or negative errno. O_NOFOLLOW is left out so
 * that a link at the end is ELOOP too, and not ENOTDIR.
 */
static int open_strict(int dirfd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	int fd = (int)syscall(SYS_openat2, dirfd, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

int tree_new(int dirfd, const char *name, struct tree_counts *counts, struct tree **ret, struct error *err)
{
	CLEANUP(tree_freep) struct tree *t = xnew(struct tree);

	t->name = xstrdup(name);
	t->counts = counts;
	t->parent_fd = t->file_fd = -EBADF;
	if (mkdirat(dirfd, name, 0755) < 0) {
		t->root = -EBADF;
		return fail_errno(t, "", "create the folder", errno, err);
	}
	t->root = open_strict(dirfd, name, O_RDONLY | O_DIRECTORY);
	if (t->root < 0)
		return fail_errno(t, "", "open the folder", -t->root, err);
	*ret = TAKE_PTR(t);
	return 0;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->folders_len; i++) {
		free(t->folders[i].path);
		tree_xattrs_done(&t->folders[i].attr.xattrs);
	}
	free(t->folders);
	free(t->parent_path);
	free(t->file_path);
	free(t->name);
	fd_close(t->parent_fd);
	fd_close(t->file_fd);
	fd_close(t->root);
	free(t);
}

/* Make the folders of @path that are missing, one by one; an fd of the last one, or negative errno. */
static int make_parents(struct tree *t, const char *path)
{
	auto_close int at = open_strict(t->root, "", O_PATH | O_DIRECTORY);
	int r;

	for (const char *p = path; at >= 0 && *p;) {
		size_t n = strcspn(p, "/");
		auto_free char *name = xstrndup(p, n);

		r = mkdirat(at, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
		if (r == 0)
			r = open_strict(at, name, O_PATH | O_DIRECTORY);
		fd_close(at);
		at = r;
		p += n + strspn(p + n, "/");
	}
	return TAKE_FD(at);
}

/*
 * Open the parent of @path (cached), making it when missing. *@ret_name is the last component. The fd is lent.
 */
static int parent_open(struct tree *t, const char *path, const char **ret_name, struct error *err)
{
	const char *slash = strrchr(path, '/');
	auto_free char *dir = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup("");
	int fd;

	*ret_name = slash ? slash + 1 : path;
	if (t->parent_path && streq(t->parent_path, dir))
		return t->parent_fd;
	fd = open_strict(t->root, dir, O_PATH | O_DIRECTORY);
	if (fd == -ENOENT)
		fd = make_parents(t, dir);
	if (fd < 0)
		return fail_errno(t, path, "open the parent folder", -fd, err);
	free(t->parent_path);
	fd_close(t->parent_fd);
	t->parent_path = TAKE_PTR(dir);
	t->parent_fd = fd;
	return fd;
}

/*
 * The parent of a member that is no folder, with the way cleared: an earlier member of that name is replaced unless
 * it is a folder.
 */
static int place_open(struct tree *t, const char *path, const char **ret_name, struct error *err)
{
	int parent;

	if (!*path)
		return fail(t, path, "must be a directory", err);
	parent = parent_open(t, path, ret_name, err);
	if (parent < 0)
		return parent;
	if (unlinkat(parent, *ret_name, 0) < 0 && errno != ENOENT) {
		if (errno == EISDIR || errno == EPERM)
			return fail(t, path, "would replace a directory", err);
		return fail_errno(t, path, "replace an earlier member", errno, err);
	}
	return parent;
}

static int xattrs_apply(struct tree *t, int fd, const char *path, const struct tree_xattrs *x, struct error *err)
{
	for (size_t i = 0; i < x->len; i++) {
		const struct tree_xattr *a = &x->items[i];

		if (fsetxattr(fd, a->name, a->value, a->size, 0) == 0)
			continue;
		/* user.* is decoration that not every file system has; ACLs and capabilities are rights */
		if ((errno == ENOTSUP || errno == EPERM) && startswith(a->name, "user."))
			continue;
		return fail_errno(t, path, a->name, errno, err);
	}
	return 0;
}

/* Owner first: changing it clears set-id bits and file capabilities. */
static int attr_apply(struct tree *t, int fd, const char *path, const struct tree_attr *a, struct error *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, a->mtime};
	int r;

	if (fchown(fd, a->uid, a->gid) < 0)
		return fail_errno(t, path, "set owner", errno, err);
	if (fchmod(fd, a->mode & 07777) < 0)
		return fail_errno(t, path, "set mode", errno, err);
	r = xattrs_apply(t, fd, path, &a->xattrs, err);
	if (r < 0)
		return r;
	if (futimens(fd, times) < 0)
		return fail_errno(t, path, "set time", errno, err);
	return 0;
}

static int link_attr_apply(struct tree *t, int parent, const char *name, const char *path, const struct tree_attr *a,
			   struct error *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, a->mtime};

	if (fchownat(parent, name, a->uid, a->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_errno(t, path, "set owner", errno, err);
	if (utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_errno(t, path, "set time", errno, err);
	return 0;
}

/* Remember a folder's attributes for the end; takes the xattrs out of @attr. */
static int folder_defer(struct tree *t, const char *path, struct tree_attr *attr, struct error *err)
{
	struct folder *f;

	t->deferred_bytes += sizeof(*f) * 2 + strlen(path) + 32;
	for (size_t i = 0; i < attr->xattrs.len; i++)
		t->deferred_bytes += attr->xattrs.items[i].size + 64;
	if (t->deferred_bytes > DEFERRED_MAX)
		return error_set(err, 413, "Image has too many directories to keep in memory");
	if (t->folders_len == t->folders_cap) {
		t->folders_cap = MAX_OF(64, t->folders_cap + t->folders_cap / 2);
		t->folders = xreallocarray(t->folders, t->folders_cap, sizeof(*t->folders));
	}
	f = &t->folders[t->folders_len++];
	f->path = xstrdup(path);
	f->attr = *attr;
	attr->xattrs = TREE_XATTRS_INIT;
	return 0;
}

int tree_add_dir(struct tree *t, const char *path, struct tree_attr *attr, struct error *err)
{
	const char *name;
	struct stat st;
	int parent;

	if (!*path)
		return folder_defer(t, path, attr, err);
	parent = parent_open(t, path, &name, err);
	if (parent < 0)
		return parent;
	if (mkdirat(parent, name, 0700) < 0) {
		if (errno != EEXIST)
			return fail_errno(t, path, "create the directory", errno, err);
		if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return fail_errno(t, path, "look at an earlier member", errno, err);
		if (!S_ISDIR(st.st_mode))
			return fail(t, path,
				    S_ISLNK(st.st_mode) ? "a directory would replace a symbolic link"
							: "a directory would replace an earlier member",
				    err);
	}
	return folder_defer(t, path, attr, err);
}

int tree_add_symlink(struct tree *t, const char *path, const char *target, const struct tree_attr *attr,
		     struct error *err)
{
	const char *name;
	int parent, r;

	r = member_check_symlink(path, target, err);
	if (r < 0)
		return r;
	parent = place_open(t, path, &name, err);
	if (parent < 0)
		return parent;
	if (symlinkat(target, parent, name) < 0)
		return fail_errno(t, path, "create the symbolic link", errno, err);
	return link_attr_apply(t, parent, name, path, attr, err);
}

int tree_add_hardlink(struct tree *t, const char *path, const char *target, struct error *err)
{
	const char *slash = strrchr(target, '/');
	auto_free char *dir = slash ? xstrndup(target, (size_t)(slash - target)) : xstrdup("");
	const char *target_name = slash ? slash + 1 : target, *name;
	auto_close int from = -EBADF;
	struct stat st;
	int parent;

	if (!*target)
		return fail(t, path, "hard link to the root directory", err);
	from = open_strict(t->root, dir, O_PATH | O_DIRECTORY);
	if (from == -ENOENT)
		return fail(t, path, "hard link to a member that is not there", err);
	if (from < 0)
		return fail_errno(t, path, "hard link", -from, err);
	if (fstatat(from, target_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? fail(t, path, "hard link to a member that is not there", err)
				       : fail_errno(t, path, "hard link", errno, err);
	if (S_ISDIR(st.st_mode))
		return fail(t, path, "hard link to a directory", err);
	if (streq(path, target))
		return fail(t, path, "hard link to itself", err);
	parent = place_open(t, path, &name, err);
	if (parent < 0)
		return parent;
	if (linkat(from, target_name, parent, name, 0) < 0)
		return errno == ENOENT ? fail(t, path, "hard link to a member that is not there", err)
				       : fail_errno(t, path, "create the hard link", errno, err);
	return 0;
}

int tree_add_node(struct tree *t, const char *path, dev_t dev, const struct tree_attr *attr, struct error *err)
{
	bool whiteout = S_ISCHR(attr->mode) && dev == makedev(0, 0);
	const char *name;
	int parent;

	if (!S_ISFIFO(attr->mode) && !whiteout) {
		t->counts->skipped_nodes++;
		return 0;
	}
	parent = place_open(t, path, &name, err);
	if (parent < 0)
		return parent;
	if (mknodat(parent, name, attr->mode, whiteout ? dev : 0) < 0) {
		if (whiteout && errno == EPERM) {
			t->counts->skipped_nodes++;
			return 0;
		}
		return fail_errno(t, path, "create the node", errno, err);
	}
	return link_attr_apply(t, parent, name, path, attr, err);
}

int tree_file_begin(struct tree *t, const char *path, uint64_t size, struct error *err)
{
	auto_free char *shown = path_join(t->name, path);
	const char *name;
	int parent, r;

	r = tree_count_bytes(t->counts, shown, size, err);
	if (r < 0)
		return r;
	parent = place_open(t, path, &name, err);
	if (parent < 0)
		return parent;
	t->file_fd = fd_close(t->file_fd);
	t->file_fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (t->file_fd < 0)
		return fail_errno(t, path, "create the file", errno, err);
	free(t->file_path);
	t->file_path = xstrdup(path);
	t->file_size = size;
	return 0;
}

int tree_file_write(struct tree *t, const void *data, size_t len, uint64_t offset, struct error *err)
{
	const char *p = data;

	if (offset > t->file_size || len > t->file_size - offset)
		return fail(t, t->file_path, "more data than its size says", err);
	while (len > 0) {
		ssize_t n = pwrite(t->file_fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail_errno(t, t->file_path, "write", n < 0 ? errno : ENOSPC, err);
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int tree_file_end(struct tree *t, const struct tree_attr *attr, struct error *err)
{
	int r;

	if (ftruncate(t->file_fd, (off_t)t->file_size) < 0)
		return fail_errno(t, t->file_path, "set size", errno, err);
	r = attr_apply(t, t->file_fd, t->file_path, attr, err);
	t->file_fd = fd_close(t->file_fd);
	return r;
}

int tree_finish(struct tree *t, struct error *err)
{
	for (size_t i = 0; i < t->folders_len; i++) {
		const struct folder *f = &t->folders[i];
		auto_close int fd = open_strict(t->root, f->path, O_RDONLY | O_DIRECTORY);
		int r;

		if (fd < 0)
			return fail_errno(t, f->path, "open the directory", -fd, err);
		r = attr_apply(t, fd, f->path, &f->attr, err);
		if (r < 0)
			return r;
	}
	return 0;
}
