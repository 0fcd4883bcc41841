/*
 * What lxd-dial gives up. Names are resolved and the connection is made with the rights of nobody; the server's bytes
 * are read with no file system, no new files, processes or sockets.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/landlock.h"
#include "base/macros.h"
#include "base/wire_dial.h"
#include "dial/dial.h"

#define OWN_USER 4 /* behind those of enum confine_program (base/confine.h: CONFINE_DIAL) */

static int empty_root = -EBADF; /* an empty file system that is mounted nowhere; only root can make one */

static int helper_sock = -EBADF;
static pid_t helper;

static int caps_set(uint32_t low, struct error *err)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.permitted = low, .effective = low}};

	if (syscall(SYS_capset, &head, data) < 0)
		return error_errno(err, errno, "Drop capabilities");
	return 0;
}

static int make_empty_root(struct error *err)
{
	auto_close int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0)
		return error_errno(err, errno, "Make an empty root");
	if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "4k", 0) < 0 ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0111", 0) < 0 ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return error_errno(err, errno, "Make an empty root");
	empty_root = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
				  MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (empty_root < 0)
		return error_errno(err, errno, "Make an empty root");
	return 0;
}

/*
 * Changing the root directory needs a right. It is with a process of its own, which shares the root directory with this
 * one and waits; so that the resolver, which reads what name servers send, runs without it.
 */
static void chroot_when_told(int sock)
{
	char byte = 0;

	close(WIRE_DIAL_CONTROL_FD);
	close(WIRE_DIAL_STREAM_FD);
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || recv(sock, &byte, 1, 0) != 1)
		_exit(0);
	if (fchdir(empty_root) < 0 || chroot(".") < 0)
		byte = (char)errno;
	else
		byte = 0;
	_exit(send(sock, &byte, 1, MSG_NOSIGNAL) != 1);
}

static int helper_start(struct error *err)
{
	struct clone_args args = {.flags = CLONE_FS, .exit_signal = SIGCHLD};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, errno, "Create socket pair");
	helper = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (helper == 0) {
		close(pair[0]);
		chroot_when_told(pair[1]);
	}
	helper_sock = pair[0];
	close(pair[1]);
	empty_root = fd_close(empty_root);
	return helper < 0 ? error_errno(err, errno, "Start a process") : 0;
}

/* Root becomes a user of its own, without rights. */
static int drop_root(struct error *err)
{
	const uid_t id = LXD_HELPER_UID_BASE + OWN_USER;
	int r = make_empty_root(err);

	if (r < 0)
		return r;
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (prctl(PR_CAPBSET_DROP, cap) < 0 && errno != EINVAL)
			return error_errno(err, errno, "Drop capability %d", cap);
	if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 ||
	    setresuid(id, id, id) < 0)
		return error_errno(err, errno, "Become user %u", (unsigned)id);
	r = caps_set(1u << CAP_SYS_CHROOT, err);
	if (r == 0)
		r = helper_start(err);
	return r < 0 ? r : caps_set(0, err);
}

int confine_early(struct error *err)
{
	static const struct rlimit no_core = {0, 0};
	int r = getuid() == 0 || geteuid() == 0 ? drop_root(err) : 0;

	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
	    setrlimit(RLIMIT_CORE, &no_core) < 0)
		return error_errno(err, errno, "Forbid new privileges");
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

#if defined(__x86_64__)
#define AUDIT_ARCH_OURS AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define AUDIT_ARCH_OURS AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define AUDIT_ARCH_OURS AUDIT_ARCH_RISCV64
#elif defined(__s390x__)
#define AUDIT_ARCH_OURS AUDIT_ARCH_S390X
#elif defined(__powerpc64__) && __BYTE_ORDER == __LITTLE_ENDIAN
#define AUDIT_ARCH_OURS AUDIT_ARCH_PPC64LE
#else
#error "which AUDIT_ARCH_ is this machine's?"
#endif

/* Everything else kills. Sockets are written with sendto and sendmsg (see build()), never opened. */
static const int allowed[] = {
	SYS_read,
	SYS_write,
	SYS_recvfrom,
	SYS_recvmsg,
	SYS_readv,
	SYS_writev,
	SYS_ppoll,
	SYS_close,
	SYS_shutdown,
	SYS_brk,
	SYS_munmap,
	SYS_mremap,
	SYS_madvise,
	SYS_futex,
	SYS_getrandom,
	SYS_clock_gettime,
	SYS_getpid,
	SYS_gettimeofday,
	SYS_clock_nanosleep,
	SYS_rt_sigaction,
	SYS_gettid,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_exit,
	SYS_exit_group,
	SYS_sigaltstack,
	SYS_getsockopt,
	SYS_tgkill,
	SYS_restart_syscall,
	SYS_getrusage,
	SYS_setitimer,
#ifdef SYS_poll
	SYS_poll,
#endif
#ifdef SYS_alarm
	SYS_alarm,
#endif
#ifdef SYS_time
	SYS_time,
#endif
};

/* Calls that a library may try and live without. */
static const int refused[] = {
	SYS_openat, SYS_newfstatat, SYS_fstat,       SYS_readlinkat, SYS_ioctl,
	SYS_fcntl,  SYS_sysinfo,    SYS_sched_yield, SYS_prlimit64,  SYS_sched_getaffinity,
#ifdef SYS_open
	SYS_open,   SYS_access,
#endif
};

struct program {
	struct sock_filter code[2 * (ARRAY_SIZE(allowed) + ARRAY_SIZE(refused)) + 48];
	unsigned short len;
};

static void emit(struct program *p, struct sock_filter f)
{
	p->code[p->len++] = f;
}

static void emit_call(struct program *p, int nr, uint32_t action)
{
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1));
	emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Where the halves of the argument @i are. */
static unsigned arg_at(unsigned i, bool upper)
{
	bool second = upper == (__BYTE_ORDER == __LITTLE_ENDIAN);

	return (unsigned)(offsetof(struct seccomp_data, args) + i * sizeof(uint64_t) + (second ? sizeof(uint32_t) : 0));
}

/* The call, unless one of @bits is set in its argument @arg. */
static void emit_call_without(struct program *p, int nr, unsigned arg, unsigned bits)
{
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 4));
	emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg_at(arg, false)));
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1));
	emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
	emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

/* sendto to whom the socket is connected to: no address, and no MSG_FASTOPEN. */
static void emit_sendto(struct program *p)
{
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 0, 8));
	emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg_at(3, false)));
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MSG_FASTOPEN, 4, 0));
	emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg_at(4, false)));
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2));
	emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg_at(4, true)));
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0));
	emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
	emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

static void build(struct program *p)
{
	emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_OURS, 1, 0));
	emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
	emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		emit_call(p, allowed[i], SECCOMP_RET_ALLOW);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		emit_call(p, refused[i], SECCOMP_RET_ERRNO | EPERM);
	/* memory, but none that can be executed */
	emit_call_without(p, SYS_mmap, 2, PROT_EXEC);
	emit_call_without(p, SYS_mprotect, 2, PROT_EXEC);
	/* a TCP socket that has lost its connection cannot get another */
	emit_call_without(p, SYS_sendmsg, 2, MSG_FASTOPEN);
	emit_sendto(p);
	emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
}

static int filter_load(struct error *err)
{
	struct program p = {.len = 0};
	struct sock_fprog prog = {.filter = p.code};

	build(&p);
	prog.len = p.len;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		return error_errno(err, errno, "Load seccomp filter");
	return 0;
}

static int enter_empty_root(struct error *err)
{
	char byte = 0;
	ssize_t n;

	if (helper_sock < 0)
		return 0;
	if (send(helper_sock, &byte, 1, MSG_NOSIGNAL) != 1)
		return error_errno(err, errno, "Enter the empty root");
	do
		n = recv(helper_sock, &byte, 1, 0);
	while (n < 0 && errno == EINTR);
	helper_sock = fd_close(helper_sock);
	while (waitpid(helper, NULL, 0) < 0 && errno == EINTR)
		;
	if (n != 1 || byte != 0)
		return error_errno(err, n == 1 ? byte : EPIPE, "Enter the empty root");
	return 0;
}

int confine_late(struct error *err)
{
	int r = enter_empty_root(err);

	if (r == 0)
		r = landlock_forbid_files(err);
	return r < 0 ? r : filter_load(err);
}
