/* The seccomp allow lists: what every confined program needs; what it needs beyond that it names itself. */
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/confine.h"

/* clone() for a thread has this bit, a fork has not; glibc's clone3() cannot be looked into. */
#define THREAD_BIT 0x00010000u /* CLONE_THREAD */
#define SOCKET_TYPE_MASK 0xfu  /* the rest are flags */

static const int common[] = {
	SCMP_SYS(brk),          SCMP_SYS(clock_gettime),  SCMP_SYS(clock_nanosleep),
	SCMP_SYS(close),        SCMP_SYS(exit),           SCMP_SYS(exit_group),
	SCMP_SYS(fstat),        SCMP_SYS(futex),          SCMP_SYS(getpid),
	SCMP_SYS(getrusage),    SCMP_SYS(getrandom),      SCMP_SYS(gettid),
	SCMP_SYS(gettimeofday), SCMP_SYS(lseek),          SCMP_SYS(madvise),
	SCMP_SYS(mremap),       SCMP_SYS(munmap),         SCMP_SYS(pread64),
	SCMP_SYS(read),         SCMP_SYS(readv),          SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sched_yield),  SCMP_SYS(sigaltstack),    SCMP_SYS(write),
	SCMP_SYS(writev),
#ifdef SCMP_SYS_time
	SCMP_SYS(time),
#endif
};

/* What a new thread does besides. */
static const int for_threads[] = {SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_getaffinity)};

/* Calls that a library may try and live without. None opens, makes or runs anything. */
static const int refused[] = {
	SCMP_SYS(ioctl),   SCMP_SYS(open),       SCMP_SYS(openat),     SCMP_SYS(access),    SCMP_SYS(faccessat),
	SCMP_SYS(stat),    SCMP_SYS(lstat),      SCMP_SYS(newfstatat), SCMP_SYS(statx),     SCMP_SYS(readlink),
	SCMP_SYS(sysinfo), SCMP_SYS(readlinkat), SCMP_SYS(prlimit64),  SCMP_SYS(getrlimit), SCMP_SYS(uname),
	SCMP_SYS(umask),   SCMP_SYS(geteuid),    SCMP_SYS(getuid),     SCMP_SYS(getegid),   SCMP_SYS(getgid),
};

static int add_all(scmp_filter_ctx ctx, uint32_t action, const int *calls, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = seccomp_rule_add(ctx, action, calls[i], 0);
	return r;
}

/* A call that the program wants is not to be refused. */
static int add_refused(scmp_filter_ctx ctx, const struct confine_spec *spec)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(refused) && r == 0; i++) {
		bool wanted = false;

		for (size_t k = 0; k < spec->n_calls; k++)
			wanted = wanted || spec->calls[k] == refused[i];
		if (!wanted)
			r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	}
	return r;
}

/* Memory, but none that can be executed. */
static int add_memory(scmp_filter_ctx ctx)
{
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	return r < 0 ? r
		     : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
					SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

static int add_threads(scmp_filter_ctx ctx)
{
	int r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, THREAD_BIT, THREAD_BIT));
	return r < 0 ? r : add_all(ctx, SCMP_ACT_ALLOW, for_threads, ARRAY_SIZE(for_threads));
}

/* abort() and its like: a signal to this process alone. */
static int add_signals(scmp_filter_ctx ctx)
{
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
}

/* Streams alone: with packets one can name whom they are for. */
static int add_socketpairs(scmp_filter_ctx ctx)
{
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 2, SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
				SCMP_A1(SCMP_CMP_MASKED_EQ, SOCKET_TYPE_MASK, SOCK_STREAM));
}

/*
 * Sending goes to whom a socket is connected to. A socket whose connection has ended, or a listener after shutdown(),
 * could be connected anew by MSG_FASTOPEN, in the network that it was made in: the host's. The name inside sendmsg()'s
 * structure cannot be looked at here. It is of no use: TCP takes none without MSG_FASTOPEN, nor do UNIX streams, and
 * UNIX packet sockets that keep a connection disregard it.
 */
static int add_sending(scmp_filter_ctx ctx)
{
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 2, SCMP_A3(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0),
				 SCMP_A4(SCMP_CMP_EQ, 0));

	return r < 0 ? r
		     : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1,
					SCMP_A2(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
}

static int add_tcp_cork(scmp_filter_ctx ctx)
{
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2, SCMP_A1(SCMP_CMP_EQ, IPPROTO_TCP),
				SCMP_A2(SCMP_CMP_EQ, TCP_CORK));
}

static int add_file_flags(scmp_filter_ctx ctx)
{
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_GETFL));

	return r < 0 ? r : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_SETFL));
}

static int add_rules(scmp_filter_ctx ctx, const struct confine_spec *spec)
{
	int r = add_all(ctx, SCMP_ACT_ALLOW, common, ARRAY_SIZE(common));

	if (r == 0)
		r = add_all(ctx, SCMP_ACT_ALLOW, spec->calls, spec->n_calls);
	if (r == 0)
		r = add_refused(ctx, spec);
	if (r == 0)
		r = add_memory(ctx);
	if (r == 0)
		r = add_signals(ctx);
	if (r == 0 && spec->threads)
		r = add_threads(ctx);
	if (r == 0 && spec->socketpairs)
		r = add_socketpairs(ctx);
	if (r == 0 && spec->sending)
		r = add_sending(ctx);
	if (r == 0 && spec->tcp_cork)
		r = add_tcp_cork(ctx);
	if (r == 0 && spec->file_flags)
		r = add_file_flags(ctx);
	return r;
}

int confine_filter_load(const struct confine_spec *spec, struct error *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!ctx)
		return error_errno(err, ENOMEM, "Create seccomp filter");
	r = add_rules(ctx, spec);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r < 0 ? error_errno(err, -r, "Load seccomp filter") : 0;
}
