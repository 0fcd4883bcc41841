/*
 * The walk under tree copy, usage and shift. A folder is finished before its subfolders are visited, so nothing has to
 * be done on the way up: a straight descent needs no parent again, and only a tree that branches at great depth makes
 * us open a closed level anew, by names from the deepest level that is still open. Levels are recognised by device and
 * inode, since somebody may be moving folders of the source tree while we are in it.
 */
#include "storage/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"

#define WALK_OPEN_MAX 64 /* levels that stay open, besides the top */

enum { SRC, DST, SIDES };

struct level {
	char *name;          /* below the level before; NULL at the top */
	int fd[SIDES];       /* -EBADF while closed */
	struct stat id;      /* of the source side: st_dev and st_ino */
	struct strv subdirs; /* still to visit, taken from the end */
};

struct walk {
	struct level *levels;
	size_t len, room;
	bool two_sided;
	uint64_t skipped;
};

int walk_open(int dirfd, const char *name, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_NOFOLLOW | O_CLOEXEC | (flags & O_PATH ? 0 : O_NONBLOCK)),
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
	};
	long fd;

	do
		fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

int walk_open_dir(int dirfd, const char *name)
{
	return walk_open(dirfd, name, O_RDONLY | O_DIRECTORY);
}

int walk_entries(int dirfd, walk_entry_fn fn, void *ctx, struct error *err)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	int r = 0;
	DIR *d;

	if (fd < 0)
		return error_errno(err, errno, "Open folder");
	d = fdopendir(fd);
	if (!d) {
		r = error_errno(err, errno, "Read folder");
		close(fd);
		return r;
	}
	while (r >= 0) {
		errno = 0;
		e = readdir(d);
		if (!e) {
			/* ENOENT: the folder itself was removed under us */
			if (errno && errno != ENOENT)
				r = error_errno(err, errno, "Read folder");
			break;
		}
		if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
			r = fn(ctx, dirfd, e->d_name, e->d_type, err);
	}
	closedir(d);
	return r < 0 ? r : 0;
}

static bool same_inode(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static void level_close(struct level *l)
{
	l->fd[SRC] = fd_close(l->fd[SRC]);
	l->fd[DST] = fd_close(l->fd[DST]);
}

/* The fds of the top belong to the caller of walk_tree(). */
static void walk_pop(struct walk *w)
{
	struct level *l = &w->levels[--w->len];

	if (w->len)
		level_close(l);
	free(l->name);
	strv_done(&l->subdirs);
}

static struct level *walk_push(struct walk *w, char *name, int src, int dst)
{
	if (w->len == w->room) {
		w->room = w->room ? 2 * w->room : 16;
		w->levels = xreallocarray(w->levels, w->room, sizeof(*w->levels));
	}
	if (w->len > WALK_OPEN_MAX)
		level_close(&w->levels[w->len - WALK_OPEN_MAX]);
	w->levels[w->len] = (struct level){.name = name, .fd = {src, dst}};
	return &w->levels[w->len++];
}

/*
 * Open both sides of @name below @parent. 0: it is not there any more (or is no folder, or another mount) on the source
 * side, which is nobody's fault.
 */
static int open_sides(struct walk *w, const struct level *parent, const char *name, int fds[SIDES], struct error *err)
{
	fds[DST] = -EBADF;
	fds[SRC] = walk_open_dir(parent->fd[SRC], name);
	if (fds[SRC] == -ENOENT || fds[SRC] == -ENOTDIR || fds[SRC] == -ELOOP || fds[SRC] == -EXDEV)
		return 0;
	if (fds[SRC] < 0)
		return error_errno(err, -fds[SRC], "Open folder %s", name);
	if (w->two_sided) {
		fds[DST] = walk_open_dir(parent->fd[DST], name);
		if (fds[DST] < 0) {
			fds[SRC] = fd_close(fds[SRC]);
			return error_errno(err, -fds[DST], "Open folder %s of the copy", name);
		}
	}
	return 1;
}

/* Open the last level again, and those before it that are to stay open. 0: the source side is not what it was. */
static int walk_reopen(struct walk *w, struct error *err)
{
	size_t i = w->len - 1;
	struct stat st;
	int r;

	while (i > 0 && w->levels[i].fd[SRC] < 0)
		i--;
	for (i++; i < w->len; i++) {
		struct level *l = &w->levels[i];

		r = open_sides(w, l - 1, l->name, l->fd, err);
		if (r <= 0)
			return r;
		if (fstat(l->fd[SRC], &st) < 0)
			return error_errno(err, errno, "Look at folder %s", l->name);
		if (!same_inode(&st, &l->id)) {
			level_close(l);
			return 0;
		}
		if (i > WALK_OPEN_MAX)
			level_close(&w->levels[i - WALK_OPEN_MAX]);
	}
	return 1;
}

static int walk_enter(struct walk *w, char *name, int fds[SIDES], walk_visit_fn visit, void *ctx, struct error *err)
{
	struct level *l = walk_push(w, name, fds[SRC], fds[DST]);

	if (fstat(l->fd[SRC], &l->id) < 0)
		return error_errno(err, errno, "Look at folder %s", name ? name : ".");
	return visit(ctx, l->fd[SRC], l->fd[DST], &l->subdirs, err);
}

/* One step from the last level: into its next subfolder, or back when there is none. */
static int walk_step(struct walk *w, walk_visit_fn visit, void *ctx, struct error *err)
{
	struct level *l = &w->levels[w->len - 1];
	auto_free char *name = NULL;
	int fds[SIDES];
	int r;

	if (!l->subdirs.len) {
		walk_pop(w);
		return 0;
	}
	if (l->fd[SRC] < 0) {
		r = walk_reopen(w, err);
		if (r < 0)
			return r;
		if (r == 0) {
			w->skipped += w->levels[w->len - 1].subdirs.len;
			walk_pop(w);
			return 0;
		}
	}
	name = l->subdirs.items[--l->subdirs.len];
	l->subdirs.items[l->subdirs.len] = NULL;
	r = open_sides(w, l, name, fds, err);
	if (r == 0)
		w->skipped++;
	if (r <= 0)
		return r;
	return walk_enter(w, TAKE_PTR(name), fds, visit, ctx, err);
}

int walk_tree(int src, int dst, walk_visit_fn visit, void *ctx, uint64_t *skipped, struct error *err)
{
	struct walk w = {.two_sided = dst >= 0};
	int fds[SIDES] = {src, dst};
	int r;

	r = walk_enter(&w, NULL, fds, visit, ctx, err);
	while (r >= 0 && w.len)
		r = walk_step(&w, visit, ctx, err);
	while (w.len)
		walk_pop(&w);
	free(w.levels);
	if (skipped)
		*skipped += w.skipped;
	return r < 0 ? r : 0;
}
