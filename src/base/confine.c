#include "base/confine.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/landlock.h"
#include "base/rlimits.h"

#ifndef LXD_HELPER_UID_BASE
#error "LXD_HELPER_UID_BASE comes from meson_options.txt"
#endif

static int fds_close(const struct confine_spec *spec, struct error *err)
{
	if (syscall(SYS_close_range, spec->fds_keep, ~0U, 0U) < 0)
		return error_errno(err, errno, "Close other files");
	return 0;
}

/*
 * No process id namespace: only a fork could enter one, and with it no thread could be made. Other processes are out
 * of reach all the same: another user, no capability, and no kill(), ptrace() or the like in the allow list.
 */
static int namespaces_enter(const struct confine_spec *spec, struct error *err)
{
	int network = spec->net_admin ? 0 : CLONE_NEWNET;

	if (unshare(CLONE_NEWNS | network | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
		return error_errno(err, errno, "Create namespaces");
	return 0;
}

/* An empty, read-only root. */
static int root_empty(struct error *err)
{
	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_errno(err, errno, "Make mounts private");
	if (mount("none", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,nr_inodes=1,mode=0") < 0 ||
	    mount("none", "/proc", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return error_errno(err, errno, "Mount an empty root");
	if (chdir("/proc") < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return error_errno(err, errno, "Make the empty folder the root");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return error_errno(err, errno, "Leave the old root");
	return 0;
}

static int bounding_set_empty(const struct confine_spec *spec, struct error *err)
{
	unsigned long keep = spec->net_admin ? SECBIT_KEEP_CAPS : 0;

	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (prctl(PR_CAPBSET_DROP, cap) < 0 && errno != EINVAL)
			return error_errno(err, errno, "Drop capability %d from the bounding set", cap);
	if (prctl(PR_SET_SECUREBITS, keep | SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
					     SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
					     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED) < 0)
		return error_errno(err, errno, "Lock privileges");
	return 0;
}

static int user_change(const struct confine_spec *spec, struct error *err)
{
	uid_t id = LXD_HELPER_UID_BASE + (uid_t)spec->program;

	if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
		return error_errno(err, errno, "Become user %u", (unsigned)id);
	return 0;
}

static int caps_drop(const struct confine_spec *spec, struct error *err)
{
	static const cap_value_t net_admin = CAP_NET_ADMIN;
	cap_t left = cap_init();
	int r = 0;

	if (!left)
		return error_errno(err, errno, "Prepare capabilities");
	if (spec->net_admin && (cap_set_flag(left, CAP_PERMITTED, 1, &net_admin, CAP_SET) < 0 ||
				cap_set_flag(left, CAP_EFFECTIVE, 1, &net_admin, CAP_SET) < 0))
		r = error_errno(err, errno, "Prepare capabilities");
	if (r == 0 && (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || cap_set_proc(left) < 0))
		r = error_errno(err, errno, "Drop capabilities");
	cap_free(left);
	return r;
}

/* The signal that comes when the parent dies does not outlive a change of user. */
static int parent_watch(int sig, pid_t parent, struct error *err)
{
	if (sig && prctl(PR_SET_PDEATHSIG, sig) < 0)
		return error_errno(err, errno, "Watch the parent");
	if (sig && getppid() != parent)
		return error_set(err, 500, "The parent has ended");
	return 0;
}

static int limits_set(const struct confine_spec *spec, struct error *err)
{
	const struct process_limit limits[] = {
#ifndef SANITIZED
		/* a report of the sanitizer may go to a file */
		{RLIMIT_FSIZE, 0, "file size"},
		/* its shadow of the memory takes more */
		{RLIMIT_DATA, (rlim_t)spec->memory_mib << 20, "memory"},
#endif
		{RLIMIT_CORE, 0, "core file"},
		{RLIMIT_MSGQUEUE, 0, "message queues"},
		{RLIMIT_NOFILE, spec->nofile, "open files"},
		{RLIMIT_CPU, spec->cpu_seconds ? spec->cpu_seconds : RLIM_INFINITY, "processor time"},
	};

	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	return process_limits_set(limits, ARRAY_SIZE(limits), err);
}

/* When memory is short these programs go before anything of the host's; lxd starts them again. */
static void oom_first(void)
{
	static const char score[] = "800";
	auto_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	/* where it cannot be said they are as good as others */
	if (fd >= 0)
		(void)!write(fd, score, sizeof(score) - 1);
}

int confine_enter(const struct confine_spec *spec, struct error *err)
{
	pid_t parent = getppid();
	int r, death_signal = 0;

	if (geteuid() != 0)
		return error_set(err, 500, "Only root can start this program");
	umask(077);
	oom_first();
	prctl(PR_GET_PDEATHSIG, &death_signal);
	r = fds_close(spec, err);
	if (r == 0)
		r = limits_set(spec, err);
	if (r == 0)
		r = namespaces_enter(spec, err);
	if (r == 0)
		r = root_empty(err);
	if (r == 0)
		r = bounding_set_empty(spec, err);
	if (r == 0)
		r = user_change(spec, err);
	if (r == 0)
		r = caps_drop(spec, err);
	if (r == 0)
		r = parent_watch(death_signal, parent, err);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
		return error_errno(err, errno, "Forbid new privileges");
	r = landlock_forbid_files(err);
	return r < 0 ? r : confine_filter_load(spec, err);
}
