/*
 * The jail. A process cannot write the identity map (0 0 4294967295) of a user namespace it has entered itself, so
 * there are two: the parent keeps the rights it was started with, writes the maps and waits; the child unpacks.
 * The identity map is wanted because a shifted one would store other owners and file capabilities of version 3; it
 * also makes the child's root the host's root for every file it can reach, hence the empty root, the few
 * capabilities and the rest.
 */
#include "unpack/jail.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
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

#define MEMORY_MAX (768UL << 20)

static const int namespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

static int map_write(pid_t pid, const char *file, struct error *err)
{
	auto_free char *path = xasprintf("/proc/%d/%s", (int)pid, file);
	int r = file_write_kernel(AT_FDCWD, path, "0 0 4294967295\n");

	return r < 0 ? error_errno(err, -r, "Write %s", path) : 0;
}

/* Wait for the child and end as it did. */
static _Noreturn void parent_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			_exit(127);
	if (!WIFSIGNALED(status))
		_exit(WEXITSTATUS(status));
	_exit(128 + WTERMSIG(status));
}

static int parent_run(pid_t pid, int go, struct error *err)
{
	int r = map_write(pid, "uid_map", err);

	if (r == 0)
		r = map_write(pid, "gid_map", err);
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	(void)!write(go, "", 1);
	/* the result pipe must close when the child ends, and nothing else is this process's business */
	syscall(SYS_close_range, 0U, ~0U, 0U);
	parent_wait(pid);
}

int jail_split(const struct jail_spec *spec, struct error *err)
{
	auto_close int go_rd = -EBADF, go_wr = -EBADF;
	char byte;
	int p[2];
	pid_t pid;

	/* the mount namespace of the child sees this folder by its working directory */
	if (spec->target_fd >= 0 && fchdir(spec->target_fd) < 0)
		return error_errno(err, errno, "Enter the target directory");
	if (pipe2(p, O_CLOEXEC) < 0)
		return error_errno(err, errno, "Create pipe");
	go_rd = p[0];
	go_wr = p[1];
	pid = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return error_errno(err, errno, "Create the unpacker's namespaces");
	if (pid > 0)
		return parent_run(pid, go_wr, err);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	go_wr = fd_close(go_wr);
	if (fd_read_full(go_rd, &byte, 1) != 1)
		_exit(127);
	return 0;
}

/* Make the target (or, without one, an empty tmpfs) the only file system there is. */
static int root_change(bool target, struct error *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
	auto_close int fd = -EBADF;

	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_errno(err, errno, "Make mounts private");
	if (!target &&
	    (chdir("/") < 0 || mount("none", "/proc", "tmpfs", 0, "size=0,mode=0") < 0 || chdir("/proc") < 0))
		return error_errno(err, errno, "Mount an empty root");
	fd = (int)syscall(SYS_open_tree, AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "Clone the mount of the target");
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return error_errno(err, errno, "Restrict the mount of the target");
	if (syscall(SYS_move_mount, fd, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_errno(err, errno, "Mount the target");
	if (fchdir(fd) < 0)
		return error_errno(err, errno, "Enter the target");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return error_errno(err, errno, "Make the target the root");
	if (umount2(".", MNT_DETACH) < 0)
		return error_errno(err, errno, "Unmount the old root");
	if (chdir("/") < 0)
		return error_errno(err, errno, "Enter the new root");
	return 0;
}

/* Renumber the kept fds to 3, 4, ... would change the caller's numbers; close the gaps instead. */
static int fds_close(const struct jail_spec *spec, struct error *err)
{
	unsigned from = 3;

	/* keep_fds is ascending */
	for (unsigned i = 0; i <= spec->keep_len; i++) {
		unsigned to = i < spec->keep_len ? (unsigned)spec->keep_fds[i] : ~0U;

		if (to > from && syscall(SYS_close_range, from, i < spec->keep_len ? to - 1 : to, 0U) < 0)
			return error_errno(err, errno, "Close other files");
		from = to + 1;
	}
	return 0;
}

static int caps_drop(struct error *err)
{
	static const cap_value_t kept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETFCAP};
	cap_t caps;
	int r = 0;

	for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		bool keep = false;

		for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
			keep = keep || kept[i] == cap;
		if (!keep && prctl(PR_CAPBSET_DROP, cap) < 0 && errno != EINVAL)
			return error_errno(err, errno, "Drop capability %d from the bounding set", cap);
	}
	caps = cap_init();
	if (!caps)
		return error_errno(err, errno, "Prepare capabilities");
	if (cap_set_flag(caps, CAP_PERMITTED, (int)ARRAY_SIZE(kept), kept, CAP_SET) < 0 ||
	    cap_set_flag(caps, CAP_EFFECTIVE, (int)ARRAY_SIZE(kept), kept, CAP_SET) < 0 || cap_set_proc(caps) < 0)
		r = error_errno(err, errno, "Drop capabilities");
	cap_free(caps);
	return r;
}

static int limits_set(const struct jail_spec *spec, struct error *err)
{
	const struct process_limit limits[] = {
#ifndef SANITIZED
		{RLIMIT_AS, MEMORY_MAX, "memory"},
		{RLIMIT_DATA, MEMORY_MAX, "data"},
#endif
		{RLIMIT_FSIZE, spec->max_bytes, "file size"},
		{RLIMIT_NOFILE, 32, "open files"},
		{RLIMIT_CPU, spec->cpu_seconds, "processor time"},
		{RLIMIT_CORE, 0, "core file"},
		{RLIMIT_MEMLOCK, 0, "locked memory"},
		{RLIMIT_MSGQUEUE, 0, "message queues"},
	};

	/* a file beyond the limit is an error of the write, not a death */
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	return process_limits_set(limits, ARRAY_SIZE(limits), err);
}

/* Files only beneath the root, no execution, no device or socket nodes. */
static int landlock_apply(bool target, struct error *err)
{
	auto_close int set = -EBADF;
	uint64_t handled;
	int r = landlock_begin(&set, &handled, err);

	if (r < 0 || set < 0)
		return r;
	if (target)
		r = landlock_allow(set, "/",
				   handled & ~(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_SOCK |
					       LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_IOCTL),
				   err);
	return r < 0 ? r : landlock_end(set, err);
}

int jail_enter(const struct jail_spec *spec, struct error *err)
{
	bool target = spec->target_fd >= 0;
	int r;

	umask(0);
	r = root_change(target, err);
	if (r == 0)
		r = fds_close(spec, err);
	if (r == 0)
		r = caps_drop(err);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
		return error_errno(err, errno, "Forbid new privileges");
	r = limits_set(spec, err);
	if (r == 0)
		r = landlock_apply(target, err);
	if (r == 0)
		r = jail_filter_load(err);
	return r;
}
