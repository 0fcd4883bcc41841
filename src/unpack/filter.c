/* The seccomp allow list: what unpacking needs, and nothing that makes processes, sockets or mounts. */
#include <errno.h>
#include <seccomp.h>
#include <sys/mman.h>

#include "unpack/jail.h"

static const int allowed[] = {
	SCMP_SYS(brk),          SCMP_SYS(clock_gettime), SCMP_SYS(close),        SCMP_SYS(exit),
	SCMP_SYS(exit_group),   SCMP_SYS(fchmod),        SCMP_SYS(fchown),       SCMP_SYS(fchownat),
	SCMP_SYS(fcntl),        SCMP_SYS(fsetxattr),     SCMP_SYS(fstat),        SCMP_SYS(ftruncate),
	SCMP_SYS(futex),        SCMP_SYS(getpid),        SCMP_SYS(getrandom),    SCMP_SYS(gettid),
	SCMP_SYS(gettimeofday), SCMP_SYS(linkat),        SCMP_SYS(lseek),        SCMP_SYS(madvise),
	SCMP_SYS(mkdirat),      SCMP_SYS(mknodat),       SCMP_SYS(mremap),       SCMP_SYS(munmap),
	SCMP_SYS(newfstatat),   SCMP_SYS(openat),        SCMP_SYS(openat2),      SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),     SCMP_SYS(read),          SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),   SCMP_SYS(statx),        SCMP_SYS(symlinkat),
	SCMP_SYS(tgkill),       SCMP_SYS(unlinkat),      SCMP_SYS(utimensat),    SCMP_SYS(write),
	SCMP_SYS(writev),
#ifdef SCMP_SYS_time
	SCMP_SYS(time),
#endif
};

/* Calls that a library may try and live without. */
static const int refused[] = {
	SCMP_SYS(ioctl),       SCMP_SYS(open),    SCMP_SYS(readlink),          SCMP_SYS(readlinkat),
	SCMP_SYS(sched_yield), SCMP_SYS(sysinfo), SCMP_SYS(sched_getaffinity), SCMP_SYS(prlimit64),
	SCMP_SYS(umask),
};

static int add_rules(scmp_filter_ctx ctx)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(allowed) && r == 0; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; i < ARRAY_SIZE(refused) && r == 0; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	/* memory, but none that can be executed */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return r;
}

int jail_filter_load(struct error *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!ctx)
		return error_errno(err, ENOMEM, "Create seccomp filter");
	r = add_rules(ctx);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	if (r < 0)
		return error_errno(err, -r, "Load seccomp filter");
	return 0;
}
