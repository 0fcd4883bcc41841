/* Owners, ACL ids and capability root ids of a tree, from one idmap to another. The plan for restarts is in shift.h. */
#include "storage/shift.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "storage/walk.h"

#define MARK "trusted.lxd.shift"
#define MIDDLE 0x80000000U /* first id of the third range */
#define ACL_BYTES_MAX (64 * 1024)

/* What chown loses, kept in MARK of the file meanwhile. */
struct lost {
	uint32_t mode;
	uint32_t cap_len;
	uint32_t cap[6]; /* struct vfs_ns_cap_data, little endian, with its new root id */
};

struct shift {
	const struct idmap *from, *to; /* both explicit and not overlapping */
	struct shift_stats stats;
	struct strv *subdirs;
	uint32_t *acl;
	bool unmapped; /* the inode in work */
};

static bool covers(const struct idmap_entry *e, uint32_t first, uint32_t id)
{
	return id >= first && id - first < e->count;
}

/* 1 and *@ret (which may equal @id): done or translated; 0: in neither map. */
static int translate(const struct shift *s, bool uid, uint32_t id, uint32_t *ret)
{
	*ret = id;
	for (size_t i = 0; i < s->from->len; i++) {
		const struct idmap_entry *a = &s->from->entries[i];

		if (!(uid ? a->is_uid : a->is_gid) || !covers(a, a->host, id))
			continue;
		for (size_t j = 0; j < s->to->len; j++) {
			const struct idmap_entry *b = &s->to->entries[j];
			uint32_t ns = id - a->host + a->ns;

			if (!(uid ? b->is_uid : b->is_gid) || !covers(b, b->ns, ns))
				continue;
			*ret = ns - b->ns + b->host;
			return 1;
		}
		return 0;
	}
	for (size_t j = 0; j < s->to->len; j++) {
		const struct idmap_entry *b = &s->to->entries[j];

		if ((uid ? b->is_uid : b->is_gid) && covers(b, b->host, id))
			return 1;
	}
	return 0;
}

static uint32_t translate_or_note(struct shift *s, bool uid, uint32_t id)
{
	uint32_t ret;

	if (!translate(s, uid, id, &ret))
		s->unmapped = true;
	return ret;
}

/* Entries of system.posix_acl_*: a version word, then {u16 tag, u16 perm, u32 id}. 1: changed. */
static int shift_acl(struct shift *s, const char *path, const char *xattr, struct error *err)
{
	enum { USER = 0x02, GROUP = 0x08 };
	ssize_t len = getxattr(path, xattr, s->acl, ACL_BYTES_MAX);
	bool changed = false;

	if (len < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? 0 : error_errno(err, errno, "Read %s", xattr);
	for (size_t i = 1; (i + 2) * 4 <= (size_t)len; i += 2) {
		uint32_t tag = s->acl[i] & 0xffff, id;

		if (tag != USER && tag != GROUP)
			continue;
		id = translate_or_note(s, tag == USER, s->acl[i + 1]);
		changed |= id != s->acl[i + 1];
		s->acl[i + 1] = id;
	}
	if (changed && setxattr(path, xattr, s->acl, (size_t)len, 0) < 0)
		return error_errno(err, errno, "Set %s", xattr);
	return changed;
}

/* The capability with its new root id: version 2 for the host's root, 3 for any other. 1: changed. */
static int shift_cap(struct shift *s, struct lost *lost)
{
	uint32_t old = 0, id;

	if (lost->cap_len != XATTR_CAPS_SZ_2 && lost->cap_len != XATTR_CAPS_SZ_3)
		return 0;
	if (lost->cap_len == XATTR_CAPS_SZ_3)
		old = lost->cap[5];
	id = translate_or_note(s, true, old);
	if (id == old)
		return 0;
	lost->cap_len = id ? XATTR_CAPS_SZ_3 : XATTR_CAPS_SZ_2;
	lost->cap[0] = (lost->cap[0] & ~VFS_CAP_REVISION_MASK) | (id ? VFS_CAP_REVISION_3 : VFS_CAP_REVISION_2);
	lost->cap[5] = id;
	return 1;
}

/* A regular file: chown clears setuid, setgid and the capability, so they are noted first and restored after. */
static int shift_file(struct shift *s, int fd, const char *path, const struct stat *st, uid_t uid, gid_t gid,
		      struct error *err)
{
	struct lost lost = {.mode = st->st_mode & 07777};
	bool redo = getxattr(path, MARK, &lost, sizeof(lost)) == (ssize_t)sizeof(lost), changed = redo;
	bool chowns = uid != st->st_uid || gid != st->st_gid;

	if (!redo) {
		ssize_t n = getxattr(path, "security.capability", lost.cap, sizeof(lost.cap));

		lost = (struct lost){
			.mode = st->st_mode & 07777,
			.cap_len = n > 0 ? (uint32_t)n : 0,
			.cap = {lost.cap[0], lost.cap[1], lost.cap[2], lost.cap[3], lost.cap[4], lost.cap[5]},
		};
		changed = shift_cap(s, &lost);
	}
	if (!chowns && !changed)
		return 0;
	if (!redo && (lost.cap_len || lost.mode & (S_ISUID | S_ISGID)) &&
	    setxattr(path, MARK, &lost, sizeof(lost), 0) < 0)
		return error_errno(err, errno, "Note the mode");
	if (chowns && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
		return error_errno(err, errno, "Set the owner");
	if (lost.mode & (S_ISUID | S_ISGID) && chmod(path, lost.mode) < 0)
		return error_errno(err, errno, "Set the mode");
	if (lost.cap_len && setxattr(path, "security.capability", lost.cap, lost.cap_len, 0) < 0)
		return error_errno(err, errno, "Set the capability");
	if (removexattr(path, MARK) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		return error_errno(err, errno, "Remove the note");
	return 1;
}

/* @fd may be O_PATH; xattrs are reached through its magic link, which names the inode itself. */
static int shift_inode(struct shift *s, int fd, struct error *err)
{
	static const char *const acls[] = {"system.posix_acl_access", "system.posix_acl_default"};
	bool changed = false;
	struct stat st;
	char path[40];
	uid_t uid;
	gid_t gid;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "Look at it");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	s->unmapped = false;
	uid = translate_or_note(s, true, st.st_uid);
	gid = translate_or_note(s, false, st.st_gid);
	if (!S_ISLNK(st.st_mode))
		for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(acls); i++) {
			r = shift_acl(s, path, acls[i], err);
			changed |= r > 0;
		}
	if (r >= 0 && S_ISREG(st.st_mode)) {
		r = shift_file(s, fd, path, &st, uid, gid, err);
		changed |= r > 0;
	} else if (r >= 0 && (uid != st.st_uid || gid != st.st_gid)) {
		changed = true;
		if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
			r = error_errno(err, errno, "Set the owner");
	}
	s->stats.inodes++;
	s->stats.changed += changed;
	s->stats.unmapped += s->unmapped;
	return r < 0 ? r : 0;
}

static int shift_entry(void *ctx, int dirfd, const char *name, UNUSED unsigned char type, struct error *err)
{
	auto_close int fd = walk_open(dirfd, name, O_PATH);
	struct shift *s = ctx;
	struct stat st;
	int r;

	if (fd == -EXDEV || fd == -ENOENT)
		return 0;
	if (fd < 0)
		return error_errno(err, -fd, "Shift %s", name);
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "Shift %s", name);
	if (S_ISDIR(st.st_mode)) {
		strv_add(s->subdirs, name);
		return 0;
	}
	r = shift_inode(s, fd, err);
	return r < 0 ? error_wrap(err, "Shift %s", name) : 0;
}

static int shift_folder(void *ctx, int src, UNUSED int dst, struct strv *subdirs, struct error *err)
{
	struct shift *s = ctx;
	int r;

	s->subdirs = subdirs;
	r = walk_entries(src, shift_entry, s, err);
	if (r >= 0)
		r = shift_inode(s, src, err);
	return r;
}

static int shift_pass(int dirfd, const struct idmap *from, const struct idmap *to, struct shift_stats *stats,
		      struct error *err)
{
	struct shift s = {.from = from, .to = to, .acl = xmalloc(ACL_BYTES_MAX)};
	int r = walk_tree(dirfd, -EBADF, shift_folder, &s, NULL, err);

	free(s.acl);
	if (r >= 0 && stats)
		*stats = s.stats;
	return r;
}

static struct idmap map_copy(const struct idmap *m)
{
	struct idmap c = {.len = m->len};

	c.entries = m->len ? xmemdup(m->entries, m->len * sizeof(*m->entries)) : NULL;
	return c;
}

/* The identity over the container ids of @other: an empty map made explicit. */
static struct idmap map_explicit(const struct idmap *m, const struct idmap *other)
{
	struct idmap c = map_copy(m->len ? m : other);

	for (size_t i = 0; !m->len && i < c.len; i++)
		c.entries[i].host = c.entries[i].ns;
	return c;
}

static bool maps_overlap(const struct idmap *a, const struct idmap *b)
{
	for (size_t i = 0; i < a->len; i++)
		for (size_t j = 0; j < b->len; j++) {
			const struct idmap_entry *x = &a->entries[i], *y = &b->entries[j];
			bool same = (x->is_uid && y->is_uid) || (x->is_gid && y->is_gid);

			if (same && (covers(x, x->host, y->host) || covers(y, y->host, x->host)))
				return true;
		}
	return false;
}

static bool maps_same(const struct idmap *a, const struct idmap *b)
{
	for (size_t i = 0; a->len == b->len && i < a->len; i++) {
		const struct idmap_entry *x = &a->entries[i], *y = &b->entries[i];

		if (x->is_uid != y->is_uid || x->is_gid != y->is_gid || x->host != y->host || x->ns != y->ns ||
		    x->count != y->count)
			return false;
	}
	return a->len == b->len;
}

static uint64_t hash_maps(const struct idmap *a, const struct idmap *b)
{
	const struct idmap *maps[] = {a, b};
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t m = 0; m < ARRAY_SIZE(maps); m++)
		for (size_t i = 0; i <= maps[m]->len; i++) {
			struct idmap_entry e = i < maps[m]->len ? maps[m]->entries[i] : (struct idmap_entry){0};
			uint64_t words[] = {e.is_uid, e.is_gid, e.host, e.ns, e.count};

			for (size_t w = 0; w < ARRAY_SIZE(words); w++)
				h = (h ^ words[w]) * 0x100000001b3ULL;
		}
	return h;
}

static int set_mark(int dirfd, const char *state, uint64_t hash, struct error *err)
{
	char text[40];
	int n = snprintf(text, sizeof(text), "%s %016llx", state, (unsigned long long)hash);

	return fsetxattr(dirfd, MARK, text, (size_t)n, 0) < 0 ? error_errno(err, errno, "Set " MARK) : 0;
}

static bool has_mark(int dirfd, const char *state, uint64_t hash)
{
	char want[40], have[40] = "";
	ssize_t n = fgetxattr(dirfd, MARK, have, sizeof(have) - 1);

	snprintf(want, sizeof(want), "%s %016llx", state, (unsigned long long)hash);
	return n > 0 && streq(have, want);
}

/*
 * Overlapping maps: through a third range. The mark "done" stays, since the caller may die before its database knows,
 * and a second run could not tell; the next shift to anywhere else replaces it.
 */
static int shift_twice(int dirfd, const struct idmap *from, const struct idmap *to, struct shift_stats *stats,
		       struct error *err)
{
	struct idmap middle = map_copy(from);
	uint64_t hash = hash_maps(from, to);
	int r = 0;

	for (size_t i = 0; i < middle.len; i++)
		middle.entries[i].host = MIDDLE + middle.entries[i].ns;
	if (has_mark(dirfd, "done", hash))
		goto out;
	if (!has_mark(dirfd, "half", hash)) {
		r = shift_pass(dirfd, from, &middle, stats, err);
		if (r >= 0)
			r = set_mark(dirfd, "half", hash, err);
	}
	if (r >= 0)
		r = shift_pass(dirfd, &middle, to, stats, err);
	if (r >= 0)
		r = set_mark(dirfd, "done", hash, err);
out:
	free(middle.entries);
	return r;
}

static bool below_middle(const struct idmap *m)
{
	for (size_t i = 0; i < m->len; i++) {
		const struct idmap_entry *e = &m->entries[i];

		if ((uint64_t)e->host + e->count > MIDDLE || (uint64_t)e->ns + e->count >= MIDDLE)
			return false;
	}
	return true;
}

int shift_tree(int dirfd, const struct idmap *from, const struct idmap *to, struct shift_stats *stats,
	       struct error *err)
{
	struct idmap a = map_explicit(from, to), b = map_explicit(to, from);
	int r = 0;

	if (stats)
		*stats = SHIFT_STATS_INIT;
	if (maps_same(&a, &b)) {
		r = 0;
	} else if (!maps_overlap(&a, &b)) {
		r = shift_pass(dirfd, &a, &b, stats, err);
		if (r >= 0 && fremovexattr(dirfd, MARK) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
			r = error_errno(err, errno, "Remove " MARK);
	} else if (!below_middle(&a) || !below_middle(&b)) {
		r = error_set(err, 400, "Cannot shift between overlapping id maps with ids of 2147483648 and above");
	} else {
		r = shift_twice(dirfd, &a, &b, stats, err);
	}
	free(a.entries);
	free(b.entries);
	return r < 0 ? r : 0;
}

/* A user namespace that maps one id, held open by an fd; the process in it ends at once. */
static int make_userns(struct error *err)
{
	auto_close int out = -EBADF, in = -EBADF;
	int pipes[2], fd = -EBADF;
	pid_t pid, parent = getpid();
	char path[48], c;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return error_errno(err, errno, "Make a pipe");
	in = pipes[0];
	out = pipes[1];
	pid = fork();
	if (pid < 0)
		return error_errno(err, errno, "Fork");
	if (pid == 0) {
		/*
		 * only async-signal-safe calls: the daemon has threads; it holds none of the daemon's fds and does not
		 * outlive it
		 */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(1);
		if (out != 3 && dup3(out, 3, O_CLOEXEC) < 0)
			_exit(1);
		close_range(4, ~0U, 0);
		out = 3;
		if (unshare(CLONE_NEWUSER) < 0 || write(out, "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	out = fd_close(out);
	if (read(in, &c, 1) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)pid);
		if (file_write_kernel(AT_FDCWD, path, "0 100000 1") == 0) {
			snprintf(path, sizeof(path), "/proc/%d/gid_map", (int)pid);
			if (file_write_kernel(AT_FDCWD, path, "0 100000 1") == 0) {
				snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
				fd = open(path, O_RDONLY | O_CLOEXEC);
			}
		}
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd < 0 ? error_set(err, 500, "Cannot make a user namespace to probe idmapped mounts") : fd;
}

int storage_idmap_supported(const char *path, struct error *err)
{
	auto_close int userns = -EBADF, tree = -EBADF;
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP};

	tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return errno == ENOSYS ? 0 : error_errno(err, errno, "Clone the mount of %s", path);
	userns = make_userns(err);
	if (userns < 0)
		return userns;
	attr.userns_fd = (uint64_t)userns;
	return mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0;
}
