/*
 * The jail. No user namespace: a mapped root could make no device nodes, and privileged containers have them. What
 * root could do beyond that is taken away by capabilities, an own root folder with everything but the tree read-only,
 * and Landlock. The tree is mounted nodev, nosuid and noexec: what is received in it cannot be used from in here.
 */
#include "transfer/transfer.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/landlock.h"
#include "base/rlimits.h"
#include "base/str.h"

#define MEMORY_MAX (4UL << 30) /* a list of tens of millions of files fits */
#define NEW_ROOT "/proc"       /* any folder that is always there; hidden in the jail's mount namespace only */

static const int namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

/* Wait for the child and end as it did. */
static _Noreturn void parent_wait(pid_t pid)
{
	int status;

	/* the pipes must close when the child ends, and nothing else is this process's business */
	syscall(SYS_close_range, 0U, ~0U, 0U);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			_exit(127);
	if (!WIFSIGNALED(status))
		_exit(WEXITSTATUS(status));
	_exit(128 + WTERMSIG(status));
}

int jail_split(struct error *err)
{
	pid_t pid;

	/* fds belong to the old mount namespace; the working directory is the one thing that moves along */
	if (fchdir(TRANSFER_TREE_FD) < 0)
		return error_errno(err, errno, "Enter the tree of a transfer");
	pid = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return error_errno(err, errno, "Create the namespaces for a transfer");
	if (pid > 0)
		parent_wait(pid);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return 0;
}

/* A copy of the mount at @path with more restrictions, attached nowhere yet: its fd. */
static int mount_clone(const char *path, uint64_t flags, struct error *err)
{
	struct mount_attr attr = {.attr_set = flags};
	auto_close int tree = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return error_errno(err, errno, "Clone the mount of %s", path);
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return error_errno(err, errno, "Restrict the mount of %s", path);
	return TAKE_FD(tree);
}

static int mount_attach(int tree, const char *to, struct error *err)
{
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_errno(err, errno, "Mount %s", to);
	return 0;
}

static int bind_read_only(const char *from, const char *to, struct error *err)
{
	auto_close int tree = mount_clone(from, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, err);

	return tree < 0 ? tree : mount_attach(tree, to, err);
}

/* rsync and its libraries: /usr, and what is beside it or, as now usual, a link into it. */
static int bind_programs(struct error *err)
{
	static const char *const dirs[] = {"usr", "bin", "lib", "lib32", "lib64"};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs) && r == 0; i++) {
		auto_free char *from = xasprintf("/%s", dirs[i]);
		char link[64];
		ssize_t n = readlink(from, link, sizeof(link) - 1);
		struct stat st;

		if (n > 0) {
			link[n] = '\0';
			if (symlink(link, dirs[i]) < 0)
				r = error_errno(err, errno, "Make link %s", dirs[i]);
		} else if (stat(from, &st) == 0) {
			if (mkdir(dirs[i], 0755) < 0)
				return error_errno(err, errno, "Make folder %s", dirs[i]);
			r = bind_read_only(from, dirs[i], err);
		}
	}
	return r;
}

/* In the new root, which is the working directory: all that rsync shall see. */
static int fill_root(int tree, const char *self, struct error *err)
{
	int r = bind_programs(err);

	if (r == 0 && (mkdir(&JAIL_TREE[1], 0700) < 0 || mknod(&JAIL_SELF[1], S_IFREG | 0600, 0) < 0))
		r = error_errno(err, errno, "Fill the jail's root");
	if (r == 0)
		r = bind_read_only(self, &JAIL_SELF[1], err);
	return r < 0 ? r : mount_attach(tree, &JAIL_TREE[1], err);
}

static int root_change(bool sending, struct error *err)
{
	uint64_t flags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | (sending ? MOUNT_ATTR_RDONLY : 0);
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
	auto_close int tree = -EBADF;
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int r;

	if (n < 0)
		return error_errno(err, errno, "Find this program");
	self[n] = '\0';
	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_errno(err, errno, "Make mounts private");
	/* the working directory: see jail_split() */
	tree = mount_clone(".", flags, err);
	if (tree < 0)
		return tree;
	if (mount("none", NEW_ROOT, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=0755") < 0 || chdir(NEW_ROOT) < 0)
		return error_errno(err, errno, "Mount the jail's root");
	r = fill_root(tree, self, err);
	if (r < 0)
		return r;
	if (syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, &ro, sizeof(ro)) < 0)
		return error_errno(err, errno, "Make the jail's root read-only");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return error_errno(err, errno, "Enter the jail's root");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return error_errno(err, errno, "Leave the old root");
	return 0;
}

static int caps_drop(bool sending, struct error *err)
{
	static const cap_value_t receiver[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,
					       CAP_FSETID, CAP_SETFCAP,      CAP_MKNOD};
	static const cap_value_t sender[] = {CAP_DAC_READ_SEARCH};
	const cap_value_t *kept = sending ? sender : receiver;
	int n = sending ? (int)ARRAY_SIZE(sender) : (int)ARRAY_SIZE(receiver);
	cap_t caps;
	int r = 0;

	for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		bool keep = false;

		for (int i = 0; i < n; i++)
			keep = keep || kept[i] == cap;
		if (!keep && prctl(PR_CAPBSET_DROP, cap) < 0 && errno != EINVAL)
			return error_errno(err, errno, "Drop capability %d from the bounding set", cap);
	}
	caps = cap_init();
	if (!caps)
		return error_errno(err, errno, "Prepare capabilities");
	if (cap_set_flag(caps, CAP_PERMITTED, n, kept, CAP_SET) < 0 ||
	    cap_set_flag(caps, CAP_EFFECTIVE, n, kept, CAP_SET) < 0 || cap_set_proc(caps) < 0)
		r = error_errno(err, errno, "Drop capabilities");
	cap_free(caps);
	return r;
}

static int limits_set(struct error *err)
{
	static const struct process_limit limits[] = {
		{RLIMIT_AS, MEMORY_MAX, "memory"},      {RLIMIT_NOFILE, 64, "open files"},
		{RLIMIT_CORE, 0, "core file"},          {RLIMIT_MEMLOCK, 0, "locked memory"},
		{RLIMIT_MSGQUEUE, 0, "message queues"},
	};

	return process_limits_set(limits, ARRAY_SIZE(limits), err);
}

/* The programs to be read, and of files only the tree. */
static int landlock_apply(bool sending, struct error *err)
{
	auto_close int set = -EBADF;
	uint64_t handled, tree;
	int r = landlock_begin(&set, &handled, err);

	if (r < 0 || set < 0)
		return r;
	tree = sending ? LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR
		       : handled & ~(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_IOCTL);
	r = landlock_allow(set, "/usr", LANDLOCK_READ, err);
	if (r == 0)
		r = landlock_allow(set, "/lib", LANDLOCK_READ, err);
	if (r == 0)
		r = landlock_allow(set, JAIL_SELF, LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE, err);
	if (r == 0)
		r = landlock_allow(set, JAIL_TREE, tree, err);
	/* where the dynamic linker is, on machines that have the folder */
	if (r == 0 && access("/lib64", F_OK) == 0)
		r = landlock_allow(set, "/lib64", LANDLOCK_READ, err);
	return r < 0 ? r : landlock_end(set, err);
}

int jail_enter(bool sending, struct error *err)
{
	int r = root_change(sending, err);

	umask(0);
	if (r < 0)
		return r;
	/* of the sender's fds two are for the relay; the tree is a mount now */
	if (syscall(SYS_close_range, TRANSFER_TREE_FD, sending ? TRANSFER_TREE_FD : ~0U, 0U) < 0 ||
	    (sending && syscall(SYS_close_range, RELAY_OUT_FD + 1, ~0U, 0U) < 0))
		return error_errno(err, errno, "Close other files");
	if (setgroups(0, NULL) < 0)
		return error_errno(err, errno, "Drop groups");
	r = caps_drop(sending, err);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_errno(err, errno, "Forbid new privileges");
	r = limits_set(err);
	if (r == 0)
		r = landlock_apply(sending, err);
	if (r == 0)
		r = jail_filter_load(err);
	return r;
}
