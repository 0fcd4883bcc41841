/* Joining a running container: the order of the steps is liblxc's, so that the outcome is the same. */
#include "container/join.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strbuf.h"
#include "container/container.h"

static bool enter_group(const char *dir, const char *file)
{
	auto_free char *path = xasprintf("%s/%s", dir, file);
	auto_close int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && write(fd, "0", 1) == 1;
}

/* The owner of the container's group is the container's root; what is made below it for it must be its own. */
static void make_leaf(const char *dir)
{
	static const char *const files[] = {".lxc", ".lxc/cgroup.procs", ".lxc/cgroup.threads",
					    ".lxc/cgroup.subtree_control"};
	auto_free char *leaf = xasprintf("%s/.lxc", dir);
	struct stat st;

	if (mkdir(leaf, 0755) < 0 || stat(dir, &st) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_free char *path = xasprintf("%s/%s", dir, files[i]);

		(void)!lchown(path, st.st_uid, st.st_gid);
	}
}

/*
 * In the unified hierarchy a group whose children have controllers holds no processes, so those that join have a leaf
 * of their own.
 */
static bool enter_unified(const char *dir)
{
	if (enter_group(dir, ".lxc/cgroup.procs"))
		return true;
	make_leaf(dir);
	return enter_group(dir, ".lxc/cgroup.procs") || enter_group(dir, "cgroup.procs");
}

static bool same_user_namespace(pid_t pid)
{
	auto_free char *path = xasprintf("/proc/%d/ns/user", pid);
	struct stat ours, theirs;

	return stat(path, &theirs) == 0 && stat("/proc/self/ns/user", &ours) == 0 && ours.st_dev == theirs.st_dev &&
	       ours.st_ino == theirs.st_ino;
}

join_failure join_enter(const struct join_note *note, int init)
{
	int namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET;

	for (size_t i = 0; i < note->groups.len; i++)
		if (!enter_group(note->groups.items[i], "cgroup.procs"))
			return "Enter the container's control groups";
	if (note->unified && !enter_unified(note->unified))
		return "Enter the container's unified control group";
	for (size_t i = 0; i < note->n_limits; i++)
		if (setrlimit((__rlimit_resource_t)note->limits[i].resource, &note->limits[i].value) < 0)
			return "Set the container's resource limits";
	if (!same_user_namespace(pidfd_pid(init)))
		namespaces |= CLONE_NEWUSER;
	return setns(init, namespaces) < 0 ? "Enter the container's namespaces" : NULL;
}

bool join_bounding_set(int init, uint64_t *ret)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_free char *path = xasprintf("/proc/%d/status", pidfd_pid(init));
	const char *at;
	uint64_t set = 0;

	if (file_read_at(AT_FDCWD, path, 64 * 1024, &text, &err) < 0)
		return false;
	at = strstr(strbuf_str(&text), "\nCapBnd:\t");
	/* the number may have been given to another process before the file was read, but not if init lives now */
	if (!at || syscall(SYS_pidfd_send_signal, init, 0, NULL, 0) < 0)
		return false;
	for (at += strlen("\nCapBnd:\t"); *at && *at != '\n'; at++) {
		const char *digit = strchr("0123456789abcdef", *at);

		if (!digit)
			return false;
		set = set << 4 | (uint64_t)(digit - "0123456789abcdef");
	}
	*ret = set;
	return true;
}

static bool limit_capabilities(uint64_t bounding)
{
	for (unsigned long cap = 0; cap < 64; cap++) {
		int has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (has < 0)
			break; /* past the kernel's last */
		if (has && !(bounding & (1ull << cap)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return false;
	}
	return true;
}

join_failure join_confine(const struct join_note *note, uint64_t bounding)
{
	struct sock_fprog program = {.len = (unsigned short)note->filter_len, .filter = note->filter};

	if (note->personality != JOIN_PERSONALITY_KEEP && personality(note->personality) < 0)
		return "Set the container's personality";
	if (!limit_capabilities(bounding))
		return "Drop capabilities";
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return "Become root in the container";
	if (note->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return "Forgo new privileges";
	if (note->filter_len && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return "Load the container's seccomp filter";
	return NULL;
}
