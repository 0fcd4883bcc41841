/* Copying a tree, and its size. The walk is in walk.c; here is what happens to one folder and its entries. */
#include "storage/tree.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "storage/inodeset.h"
#include "storage/walk.h"

#define BUFFER_BYTES (128 * 1024)
#define RANGE_BYTES (64 * 1024 * 1024) /* in one system call, which cannot be stopped */
#define XATTR_BYTES (64 * 1024)        /* XATTR_LIST_MAX, XATTR_SIZE_MAX */
#define STATX_WANTED (STATX_BASIC_STATS | STATX_BTIME)

struct copy {
	int top; /* destination */
	bool top_seen;
	struct tree_stats stats;
	struct inodeset inodes;
	/*
	 * A folder in the destination that holds one more name of each inode with several, by its number: linkat()
	 * needs a name, and the path to where the first one went may be longer than the kernel takes.
	 */
	char links_name[32];
	int links;
	bool no_clone, no_range;
	const _Atomic bool *stop; /* NULL: never */
	char *data, *xattrs, *value;
	int dst;              /* of the folder in work */
	struct strv *subdirs; /* of the folder in work */
};

static int fail(struct error *err, int errnum, const char *what, const char *name)
{
	int r = error_errno(err, errnum, "%s %s", what, name);

	if (errnum == ENOSPC || errnum == EDQUOT)
		error_status(err, 507);
	return r;
}

/* Did the source entry vanish, or turn into something else, since its folder was read? */
static bool is_gone(int errnum)
{
	return errnum == ENOENT || errnum == ELOOP || errnum == ENXIO || errnum == EINVAL || errnum == ESTALE ||
	       errnum == EXDEV;
}

static int look(int dirfd, const char *name, struct statx *stx)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);

	return statx(dirfd, name, flags, STATX_WANTED, stx) < 0 ? -errno : 0;
}

/* An inode whose xattrs are read or set: by fd, or by name where there can be no such fd (symlinks, fifos). */
struct inode_ref {
	int fd;
	const char *path; /* NULL: use fd */
};

static ssize_t ref_list(struct inode_ref ref, char *buf, size_t size)
{
	return ref.path ? llistxattr(ref.path, buf, size) : flistxattr(ref.fd, buf, size);
}

static ssize_t ref_get(struct inode_ref ref, const char *name, void *buf, size_t size)
{
	return ref.path ? lgetxattr(ref.path, name, buf, size) : fgetxattr(ref.fd, name, buf, size);
}

static int ref_set(struct inode_ref ref, const char *name, const void *buf, size_t size)
{
	return ref.path ? lsetxattr(ref.path, name, buf, size, 0) : fsetxattr(ref.fd, name, buf, size, 0);
}

/* Labels of the host's security modules and overlayfs marks belong to the place, not to the file. */
static bool xattr_is_copied(const char *name)
{
	if (startswith(name, "trusted."))
		return !startswith(name, "trusted.overlay.");
	return startswith(name, "user.") || streq(name, "security.capability") ||
	       streq(name, "system.posix_acl_access") || streq(name, "system.posix_acl_default");
}

static int copy_xattrs(struct copy *c, struct inode_ref from, struct inode_ref to, const char *name, struct error *err)
{
	ssize_t len = ref_list(from, c->xattrs, XATTR_BYTES);

	for (const char *x = c->xattrs; len > 0 && x < c->xattrs + len; x += strlen(x) + 1) {
		ssize_t n;

		if (!xattr_is_copied(x))
			continue;
		n = ref_get(from, x, c->value, XATTR_BYTES);
		if (n < 0)
			continue;
		if (ref_set(to, x, c->value, (size_t)n) == 0)
			continue;
		/* the other file system may have no user.* or trusted.*; ACLs and capabilities must not be lost */
		if (errno == EOPNOTSUPP && (startswith(x, "user.") || startswith(x, "trusted.")))
			continue;
		return error_errno(err, errno, "Set %s of %s", x, name);
	}
	return 0;
}

static void stx_times(const struct statx *stx, struct timespec times[2])
{
	times[0] = (struct timespec){.tv_sec = stx->stx_atime.tv_sec, .tv_nsec = stx->stx_atime.tv_nsec};
	times[1] = (struct timespec){.tv_sec = stx->stx_mtime.tv_sec, .tv_nsec = stx->stx_mtime.tv_nsec};
}

/* Owner first (chown clears setuid and capabilities), times last. */
static int copy_attrs_fd(struct copy *c, int src, int dst, const struct statx *stx, const char *name, struct error *err)
{
	struct timespec times[2];
	int r;

	if (fchown(dst, stx->stx_uid, stx->stx_gid) < 0)
		return fail(err, errno, "Set the owner of", name);
	if (fchmod(dst, stx->stx_mode & 07777) < 0)
		return fail(err, errno, "Set the mode of", name);
	r = copy_xattrs(c, (struct inode_ref){.fd = src}, (struct inode_ref){.fd = dst}, name, err);
	if (r < 0)
		return r;
	stx_times(stx, times);
	if (futimens(dst, times) < 0)
		return fail(err, errno, "Set the times of", name);
	return 0;
}

/* The same for what cannot be opened. The destination is ours alone, so names are safe there. */
static int copy_attrs_name(struct copy *c, int src, const char *name, const struct statx *stx, struct error *err)
{
	char from[NAME_MAX + 40], to[NAME_MAX + 40];
	struct timespec times[2];
	int r;

	if (fchownat(c->dst, name, stx->stx_uid, stx->stx_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(err, errno, "Set the owner of", name);
	if (!S_ISLNK(stx->stx_mode) && fchmodat(c->dst, name, stx->stx_mode & 07777, 0) < 0)
		return fail(err, errno, "Set the mode of", name);
	snprintf(from, sizeof(from), "/proc/self/fd/%d/%s", src, name);
	snprintf(to, sizeof(to), "/proc/self/fd/%d/%s", c->dst, name);
	r = copy_xattrs(c, (struct inode_ref){.path = from}, (struct inode_ref){.path = to}, name, err);
	if (r < 0)
		return r;
	stx_times(stx, times);
	if (utimensat(c->dst, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(err, errno, "Set the times of", name);
	return 0;
}

static int check_stop(const struct copy *c, struct error *err)
{
	return c->stop && *c->stop ? error_errno(err, ECANCELED, "Copy a tree") : 0;
}

/* By the kernel where it can, else through our buffer. Ends early when the source became shorter. */
static int copy_range(struct copy *c, int in, int out, off_t at, off_t end, const char *name, struct error *err)
{
	while (at < end && !c->no_range && end - at >= BUFFER_BYTES) {
		loff_t from = at, to = at;
		ssize_t n = copy_file_range(in, &from, out, &to, (size_t)MIN_OF(end - at, (off_t)RANGE_BYTES), 0);

		if (check_stop(c, err) < 0)
			return -ECANCELED;
		if (n == 0)
			return 0;
		if (n < 0 && (errno == ENOSPC || errno == EDQUOT))
			return fail(err, errno, "Write", name);
		if (n < 0) {
			c->no_range = true;
			break;
		}
		at += n;
		c->stats.bytes += (uint64_t)n;
	}
	while (at < end) {
		ssize_t n = pread(in, c->data, (size_t)MIN_OF(end - at, (off_t)BUFFER_BYTES), at);

		if (n == 0)
			return 0;
		if (n < 0)
			return fail(err, errno, "Read", name);
		for (ssize_t done = 0; done < n;) {
			ssize_t w = pwrite(out, c->data + done, (size_t)(n - done), at + done);

			if (w < 0)
				return fail(err, errno, "Write", name);
			done += w;
		}
		at += n;
		c->stats.bytes += (uint64_t)n;
	}
	return 0;
}

static int copy_sparse(struct copy *c, int in, int out, off_t size, const char *name, struct error *err)
{
	for (off_t at = 0; at < size;) {
		off_t data = lseek(in, at, SEEK_DATA), hole;
		int r;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			data = at; /* no such question on this file system: all of it is data */
		hole = lseek(in, data, SEEK_HOLE);
		if (hole < 0 || hole > size)
			hole = size;
		if (data >= size)
			break;
		r = copy_range(c, in, out, data, hole, name, err);
		if (r < 0)
			return r;
		at = hole;
	}
	return ftruncate(out, size) < 0 ? fail(err, errno, "Set the size of", name) : 0;
}

static int copy_data(struct copy *c, int in, int out, const struct statx *stx, const char *name, struct error *err)
{
	off_t size = (off_t)stx->stx_size;

	if (!c->no_clone && size) {
		if (ioctl(out, FICLONE, in) == 0)
			return 0;
		if (errno == EOPNOTSUPP || errno == ENOTTY || errno == EXDEV || errno == ENOSYS)
			c->no_clone = true;
	}
	if (stx->stx_blocks * 512 < stx->stx_size)
		return copy_sparse(c, in, out, size, name, err);
	return copy_range(c, in, out, 0, size, name, err);
}

/* Results of the entry functions: 1 made, 0 skipped, negative. */
static int copy_file(struct copy *c, int src, const char *name, struct error *err)
{
	auto_close int in = -EBADF, out = -EBADF;
	struct statx stx;
	int r;

	in = walk_open(src, name, O_RDONLY | O_NOCTTY | O_NOATIME);
	if (in < 0)
		return is_gone(-in) ? 0 : fail(err, -in, "Open", name);
	r = look(in, "", &stx);
	if (r < 0)
		return fail(err, -r, "Look at", name);
	if (!S_ISREG(stx.stx_mode))
		return 0;
	out = openat(c->dst, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return errno == EEXIST ? 0 : fail(err, errno, "Create", name);
	r = copy_data(c, in, out, &stx, name, err);
	if (r >= 0)
		r = copy_attrs_fd(c, in, out, &stx, name, err);
	c->stats.files += r >= 0;
	return r < 0 ? r : 1;
}

static int copy_symlink(struct copy *c, int src, const char *name, const struct statx *stx, struct error *err)
{
	ssize_t n = readlinkat(src, name, c->data, PATH_MAX);
	int r;

	if (n < 0)
		return is_gone(errno) ? 0 : fail(err, errno, "Read the link", name);
	c->data[n] = 0;
	if (symlinkat(c->data, c->dst, name) < 0)
		return errno == EEXIST ? 0 : fail(err, errno, "Create the link", name);
	c->stats.symlinks++;
	r = copy_attrs_name(c, src, name, stx, err);
	return r < 0 ? r : 1;
}

static int copy_special(struct copy *c, int src, const char *name, const struct statx *stx, struct error *err)
{
	dev_t dev = makedev(stx->stx_rdev_major, stx->stx_rdev_minor);
	int r;

	if (mknodat(c->dst, name, (stx->stx_mode & S_IFMT) | 0600, dev) < 0)
		return errno == EEXIST ? 0 : fail(err, errno, "Create the node", name);
	c->stats.specials++;
	r = copy_attrs_name(c, src, name, stx, err);
	return r < 0 ? r : 1;
}

static int copy_inode(struct copy *c, int src, const char *name, const struct statx *stx, struct error *err)
{
	if (S_ISREG(stx->stx_mode))
		return copy_file(c, src, name, err);
	if (S_ISLNK(stx->stx_mode))
		return copy_symlink(c, src, name, stx, err);
	return copy_special(c, src, name, stx, err);
}

/* The folder of further names is made when the first is needed; its own name cannot be guessed by the source. */
static int links_open(struct copy *c, struct error *err)
{
	uint64_t random[2];

	if (c->links >= 0)
		return 0;
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return error_errno(err, errno, "Random number");
	snprintf(c->links_name, sizeof(c->links_name), ".l%014llx%014llx", (unsigned long long)random[0] >> 8,
		 (unsigned long long)random[1] >> 8);
	if (mkdirat(c->top, c->links_name, 0700) < 0)
		return fail(err, errno, "Create", c->links_name);
	c->links = openat(c->top, c->links_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return c->links < 0 ? error_errno(err, errno, "Open %s", c->links_name) : 0;
}

static int copy_linked(struct copy *c, int src, const char *name, const struct statx *stx, struct error *err)
{
	char number_name[24];
	uint64_t number;
	bool seen;
	int r;

	r = links_open(c, err);
	if (r < 0)
		return r;
	seen = inodeset_add(&c->inodes, stx, &number);
	snprintf(number_name, sizeof(number_name), "%llu", (unsigned long long)number);
	if (seen && linkat(c->links, number_name, c->dst, name, 0) == 0) {
		c->stats.links++;
		return 1;
	}
	if (seen && errno == EEXIST)
		return 0;
	if (seen && errno != ENOENT && errno != EMLINK)
		return fail(err, errno, "Link", name);

	r = copy_inode(c, src, name, stx, err);
	if (r <= 0)
		return r;
	if (unlinkat(c->links, number_name, 0) < 0 && errno != ENOENT)
		return fail(err, errno, "Remove the spare name of", name);
	if (linkat(c->dst, name, c->links, number_name, 0) < 0)
		return fail(err, errno, "Link", name);
	return 1;
}

static int copy_entry(void *ctx, int src, const char *name, UNUSED unsigned char type, struct error *err)
{
	struct copy *c = ctx;
	struct statx stx;
	int r = check_stop(c, err);

	if (r < 0)
		return r;
	r = look(src, name, &stx);
	if (r == -ENOENT) {
		c->stats.skipped++;
		return 0;
	}
	if (r < 0)
		return fail(err, -r, "Look at", name);
	if (S_ISDIR(stx.stx_mode)) {
		r = 1;
		if (mkdirat(c->dst, name, 0700) == 0)
			strv_add(c->subdirs, name);
		else
			r = errno == EEXIST ? 0 : fail(err, errno, "Create folder", name);
	} else if (stx.stx_nlink > 1) {
		r = copy_linked(c, src, name, &stx, err);
	} else {
		r = copy_inode(c, src, name, &stx, err);
	}
	if (r == 0)
		c->stats.skipped++;
	return r < 0 ? r : 0;
}

static int copy_folder(void *ctx, int src, int dst, struct strv *subdirs, struct error *err)
{
	struct copy *c = ctx;
	struct statx stx;
	int r;

	r = look(src, "", &stx);
	if (r < 0)
		return error_errno(err, -r, "Look at folder");
	c->dst = dst;
	c->subdirs = subdirs;
	r = walk_entries(src, copy_entry, c, err);
	if (r < 0)
		return r;
	c->stats.dirs++;
	/* the top comes last: the folder of links is still to go */
	if (!c->top_seen) {
		c->top_seen = true;
		return 0;
	}
	return copy_attrs_fd(c, src, dst, &stx, "folder", err);
}

static int remove_name(UNUSED void *ctx, int dirfd, const char *name, UNUSED unsigned char type, struct error *err)
{
	return unlinkat(dirfd, name, 0) < 0 ? error_errno(err, errno, "Remove %s", name) : 0;
}

static int copy_finish(struct copy *c, int src, const struct statx *top, unsigned flags, struct error *err)
{
	int r;

	if (c->links >= 0) {
		r = walk_entries(c->links, remove_name, NULL, err);
		if (r < 0)
			return r;
		if (unlinkat(c->top, c->links_name, AT_REMOVEDIR) < 0)
			return error_errno(err, errno, "Remove %s", c->links_name);
	}
	return flags & TREE_KEEP_TOP ? 0 : copy_attrs_fd(c, src, c->top, top, "the top folder", err);
}

int tree_copy(int src_dirfd, int dst_dirfd, unsigned flags, const _Atomic bool *stop, struct tree_stats *stats,
	      struct error *err)
{
	struct copy c = {.top = dst_dirfd, .links = -EBADF, .stop = stop};
	struct statx top;
	int r;

	r = look(src_dirfd, "", &top);
	if (r < 0)
		return error_errno(err, -r, "Look at the source folder");
	c.data = xmalloc(BUFFER_BYTES);
	c.xattrs = xmalloc(XATTR_BYTES);
	c.value = xmalloc(XATTR_BYTES);
	r = walk_tree(src_dirfd, dst_dirfd, copy_folder, &c, &c.stats.skipped, err);
	if (r >= 0)
		r = copy_finish(&c, src_dirfd, &top, flags, err);
	fd_close(c.links);
	inodeset_done(&c.inodes);
	free(c.data);
	free(c.xattrs);
	free(c.value);
	if (r >= 0 && stats)
		*stats = c.stats;
	return r < 0 ? r : 0;
}

struct usage {
	uint64_t bytes, inodes;
	struct inodeset seen;
	struct strv *subdirs;
};

static int usage_entry(void *ctx, int dirfd, const char *name, UNUSED unsigned char type, struct error *err)
{
	struct usage *u = ctx;
	struct statx stx;
	uint64_t number;
	int r;

	r = look(dirfd, name, &stx);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return error_errno(err, -r, "Look at %s", name);
	if (S_ISDIR(stx.stx_mode)) {
		strv_add(u->subdirs, name);
		return 0; /* counted when visited, so that a mount on it does not count */
	}
	if (stx.stx_nlink > 1 && inodeset_add(&u->seen, &stx, &number))
		return 0;
	u->bytes += stx.stx_blocks * 512;
	u->inodes++;
	return 0;
}

static int usage_folder(void *ctx, int src, UNUSED int dst, struct strv *subdirs, struct error *err)
{
	struct usage *u = ctx;
	struct statx stx;
	int r;

	r = look(src, "", &stx);
	if (r < 0)
		return error_errno(err, -r, "Look at folder");
	u->bytes += stx.stx_blocks * 512;
	u->inodes++;
	u->subdirs = subdirs;
	return walk_entries(src, usage_entry, u, err);
}

int tree_usage(int dirfd, uint64_t *ret_bytes, uint64_t *ret_inodes, struct error *err)
{
	struct usage u = {0};
	int r;

	r = walk_tree(dirfd, -EBADF, usage_folder, &u, NULL, err);
	inodeset_done(&u.seen);
	if (r < 0)
		return r;
	*ret_bytes = u.bytes;
	*ret_inodes = u.inodes;
	return 0;
}
