/*
 * Mounts in a running container. The source is an fd of the host; it becomes a detached mount out here, this process
 * then joins the container's user and mount namespaces, resolves the target with the container's root as "/", and
 * attaches it there. A read-only one goes through a mount namespace of the container's user namespace on its way,
 * which locks the flag. Whatever links the container has planted lead somewhere inside the container.
 */
#include <fcntl.h>
#include <grp.h>
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
#include "base/path.h"
#include "base/str.h"
#include "base/strv.h"
#include "container/container.h"
#include "container/readonly.h"

/* Covered, in a namespace of ours only, while a mount passes through; any folder that hosts have would do. */
#define PASSAGE "/run"

#define UMOUNT_DETACH 2
#define UMOUNT_NO_LINK 8
int umount2(const char *target, int flags);

static const struct {
	const char *name;
	uint64_t flag;
	bool recursive;
} propagations[] = {
	{"private", 1u << 18, false},    {"rprivate", 1u << 18, true},    {"shared", 1u << 20, false},
	{"rshared", 1u << 20, true},     {"slave", 1u << 19, false},      {"rslave", 1u << 19, true},
	{"unbindable", 1u << 17, false}, {"runbindable", 1u << 17, true},
};

/* 1: it has a user namespace of its own, and *@ret_fd is it; 0: it shares ours; negative errno. */
static int open_user_namespace(pid_t pid, int *ret_fd)
{
	auto_free char *path = xasprintf("/proc/%d/ns/user", pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat ours, theirs;

	if (fd < 0 || fstat(fd, &theirs) < 0 || stat("/proc/self/ns/user", &ours) < 0)
		return -errno;
	if (ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
		return 0;
	*ret_fd = TAKE_FD(fd);
	return 1;
}

static int set_attributes(int tree, uint32_t flags, int userns, struct error *err)
{
	struct mount_attr attr = {0};
	unsigned recurse = flags & WIRE_MOUNT_RECURSIVE ? AT_RECURSIVE : 0;

	if (flags & WIRE_MOUNT_READONLY)
		attr.attr_set |= MOUNT_ATTR_RDONLY;
	if ((flags & WIRE_MOUNT_SHIFT) && userns >= 0) {
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (uint64_t)userns;
	}
	if (attr.attr_set && syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | recurse, &attr, sizeof(attr)) < 0)
		return error_errno(err, errno, "Set %s on the mount (mount_setattr)",
				   attr.attr_set & MOUNT_ATTR_IDMAP ? "the id map" : "read-only");
	return 0;
}

static int set_propagation(int tree, const char *propagation, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(propagations); i++) {
		struct mount_attr p = {.propagation = propagations[i].flag};
		unsigned recurse = propagations[i].recursive ? AT_RECURSIVE : 0;

		if (!streq(propagations[i].name, propagation))
			continue;
		if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | recurse, &p, sizeof(p)) < 0)
			return error_errno(err, errno, "Set propagation %s (mount_setattr)", propagation);
		return 0;
	}
	return error_set(err, 400, "Invalid mount propagation \"%s\"", propagation);
}

static int enter_userns(int userns, struct error *err)
{
	if (userns >= 0 && setns(userns, CLONE_NEWUSER) < 0)
		return error_errno(err, errno, "Enter the container's user namespace");
	return 0;
}

/* Become the container's root, inside its mounts; its user namespace has been entered. */
static int enter(int init_pidfd, int userns, struct error *err)
{
	if (setns(init_pidfd, CLONE_NEWNS) < 0)
		return error_errno(err, errno, "Enter the container's mount namespace");
	if (userns >= 0 && (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		return error_errno(err, errno, "Become the container's root");
	return 0;
}

/*
 * The folder that holds @target's last part, which goes to *@ret_name; missing folders on the way are made.
 */
static int open_parent_folder(int root, const char *target, bool make, char **ret_name, struct error *err)
{
	struct strv parts = STRV_INIT; /* freed by the end of the process */
	auto_strbuf struct strbuf done = STRBUF_INIT;
	int dir = path_open_in_root(root, ".", O_PATH | O_DIRECTORY, 0);

	strv_split(&parts, target, '/');
	for (size_t i = parts.len; i > 0; i--) /* "a//b/" has empty parts */
		if (!*parts.items[i - 1])
			strv_remove(&parts, "");
	if (parts.len == 0)
		return error_set(err, 400, "Invalid mount target \"%s\"", target);
	for (size_t i = 0; i < parts.len && dir >= 0; i++) {
		int next;

		if (streq(parts.items[i], "..") || streq(parts.items[i], "."))
			return error_set(err, 400, "Invalid mount target \"%s\"", target);
		if (i + 1 == parts.len)
			break;
		strbuf_appendf(&done, "%s%s", done.len ? "/" : "", parts.items[i]);
		next = path_open_in_root(root, strbuf_str(&done), O_PATH | O_DIRECTORY, 0);
		if (next == -ENOENT && make) {
			/* @dir is the folder that the link-free part above has led to */
			if (mkdirat(dir, parts.items[i], 0755) < 0 && errno != EEXIST)
				return error_errno(err, errno, "Create folder /%s in the container", strbuf_str(&done));
			next = path_open_in_root(root, strbuf_str(&done), O_PATH | O_DIRECTORY, 0);
		}
		close(dir);
		dir = next;
	}
	if (dir < 0)
		return error_errno(err, -dir, "Open folder /%s in the container", strbuf_str(&done));
	*ret_name = xstrdup(parts.items[parts.len - 1]);
	return dir;
}

/* Make the mount point when it is missing; *@ret_created tells. The mount point as an O_PATH fd. */
static int open_target(int root, const char *target, bool is_dir, uint32_t *ret_created, struct error *err)
{
	auto_free char *name = NULL;
	auto_close int parent = -EBADF;
	int fd, r;

	parent = open_parent_folder(root, target, true, &name, err);
	if (parent < 0)
		return parent;
	fd = path_open_in_root(root, target, O_PATH, 0);
	if (fd >= 0)
		return fd;
	if (fd != -ENOENT)
		return error_errno(err, -fd, "Open %s in the container", target);
	if (is_dir) {
		r = mkdirat(parent, name, 0755);
	} else {
		fd = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);
		r = fd < 0 ? -1 : close(fd);
	}
	if (r < 0)
		return error_errno(err, errno, "Create %s in the container", target);
	*ret_created = 1;
	fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_errno(err, errno, "Open %s in the container", target) : fd;
}

static int attach_tree(int tree, const char *target, bool is_dir, uint32_t *ret_created, struct error *err)
{
	auto_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_close int at = -EBADF;
	struct stat st;

	if (root < 0)
		return error_errno(err, errno, "Open the container's root");
	at = open_target(root, target, is_dir, ret_created, err);
	if (at < 0)
		return at;
	if (fstat(at, &st) < 0)
		return error_errno(err, errno, "Look at %s in the container", target);
	if (!!S_ISDIR(st.st_mode) != is_dir)
		return error_errno(err, is_dir ? ENOTDIR : EISDIR, "Mount on %s in the container", target);
	if (syscall(SYS_move_mount, tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return error_errno(err, errno, "Mount on %s in the container (move_mount)", target);
	return 0;
}

/* A detached copy of the mount at @source. */
static int clone_tree(int source, uint32_t flags, struct error *err)
{
	unsigned open_flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
	int tree;

	if (flags & WIRE_MOUNT_RECURSIVE)
		open_flags |= AT_RECURSIVE;
	tree = (int)syscall(SYS_open_tree, source, "", open_flags);
	return tree < 0 ? error_errno(err, errno, "Copy the source's mount (open_tree)") : tree;
}

/*
 * Exchange *@tree for a copy whose flags are locked, and enter the user namespace. The mount is attached in a
 * namespace of ours, and that is copied into the user namespace: the kernel locks the flags of the copies.
 */
static int lock_flags(int *tree, int userns, struct error *err)
{
	static const char path[] = PASSAGE "/mount";
	int copy, r;

	r = mounts_unshare(err);
	if (r == 0)
		r = mounts_scratch(PASSAGE, err);
	if (r == 0)
		r = mounts_attach(*tree, path, err);
	if (r == 0)
		r = enter_userns(userns, err);
	if (r < 0)
		return r;
	if (unshare(CLONE_NEWNS) < 0)
		return error_errno(err, errno, "Copy the mounts into the container's user namespace");
	copy = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (copy < 0)
		return error_errno(err, errno, "Copy the mount (open_tree)");
	fd_close(*tree);
	*tree = copy;
	return 0;
}

/* Set what is changed last, and enter the user namespace. */
static int bring(int *tree, uint32_t flags, const char *propagation, int userns, struct error *err)
{
	int r;

	if ((flags & WIRE_MOUNT_READONLY) && userns >= 0) {
		r = lock_flags(tree, userns,
			       err); /* the copy is private or follows the host, whatever was set before */
		return r < 0 ? r : set_propagation(*tree, propagation, err);
	}
	r = set_propagation(*tree, propagation, err);
	return r < 0 ? r : enter_userns(userns, err);
}

int request_mount(struct request *rq, struct error *err)
{
	struct wire_reader *in = &rq->msg.reader;
	auto_free char *target = wire_get_str(in);
	uint32_t flags = wire_get_u32(in), created = 0;
	auto_free char *propagation = wire_get_str(in);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	int init = rq->msg.fds[0], source = rq->msg.fds[1];
	auto_close int userns = -EBADF;
	auto_close int tree = -EBADF;
	struct stat st;
	int r;

	if (!wire_done(in) || !target || init < 0 || source < 0)
		return request_malformed(err);
	if (fstat(source, &st) < 0)
		return error_errno(err, errno, "Look at the source of the mount");
	r = open_user_namespace(pidfd_pid(init), &userns);
	if (r < 0)
		return error_errno(err, -r, "Open the container's user namespace");
	tree = clone_tree(source, flags, err);
	if (tree < 0)
		return tree;
	r = set_attributes(tree, flags, userns, err);
	if (r < 0)
		return r;
	r = bring(&tree, flags, propagation ? propagation : "private", userns, err);
	if (r < 0)
		return r;
	r = enter(init, userns, err);
	if (r < 0)
		return r;
	r = attach_tree(tree, target, S_ISDIR(st.st_mode), &created, err);
	if (r < 0)
		return r;
	wire_put_u32(&b, WIRE_REPLY_OK);
	wire_put_u32(&b, created);
	return request_reply(rq, &b, NULL, 0, err);
}

/* The file or folder that the mount had covered, when it is empty; what is not is somebody's data and stays. */
static void remove_empty(int parent, const char *name)
{
	struct stat st;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (S_ISDIR(st.st_mode))
		(void)!unlinkat(parent, name, AT_REMOVEDIR);
	else if (S_ISREG(st.st_mode) && st.st_size == 0)
		(void)!unlinkat(parent, name, 0);
}

int request_umount(struct request *rq, struct error *err)
{
	struct wire_reader *in = &rq->msg.reader;
	auto_free char *target = wire_get_str(in);
	uint32_t remove = wire_get_u32(in);
	auto_close int userns = -EBADF;
	auto_close int parent = -EBADF;
	auto_close int root = -EBADF;
	auto_free char *name = NULL;
	int init = rq->msg.fds[0], r;

	if (!wire_done(in) || !target || init < 0)
		return request_malformed(err);
	r = open_user_namespace(pidfd_pid(init), &userns);
	if (r < 0)
		return error_errno(err, -r, "Open the container's user namespace");
	r = enter_userns(userns, err);
	if (r == 0)
		r = enter(init, userns, err);
	if (r < 0)
		return r;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	parent = open_parent_folder(root, target, false, &name, err);
	if (parent < 0)
		return parent;
	if (fchdir(parent) < 0)
		return error_errno(err, errno, "Enter the folder of %s in the container", target);
	if (umount2(name, UMOUNT_DETACH | UMOUNT_NO_LINK) < 0)
		return error_errno(err, errno, "Unmount %s in the container", target);
	if (remove)
		remove_empty(parent, name);
	return request_reply_ok(rq, err);
}
