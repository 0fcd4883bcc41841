#include "gate/confinement.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire_gate.h"
#include "base/confine.h"

int gate_confine(struct error *err)
{
	static const int calls[] = {
		SCMP_SYS(accept4),     SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
		SCMP_SYS(epoll_pwait), SCMP_SYS(eventfd2),      SCMP_SYS(poll),      SCMP_SYS(ppoll),
		SCMP_SYS(recvfrom),    SCMP_SYS(recvmsg),       SCMP_SYS(shutdown),
	};
	struct confine_spec spec = {
		.program = CONFINE_GATE,
		.fds_keep = WIRE_GATE_CONTROL_FD + 1,
		.nofile = GATE_FILES,
		.memory_mib = GATE_MEMORY_MIB,
		.threads = true,
		.socketpairs = true,
		.sending = true,
		.tcp_cork = true,
		.file_flags = true,
		.calls = calls,
		.n_calls = ARRAY_SIZE(calls),
	};

	return confine_enter(&spec, err);
}

/* What a taken-over gate might try. Each gives what the call gave: negative is refusal. */

static long try_open(void)
{
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static long try_creat(void)
{
	return open("/x", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static long try_openat2(void)
{
	const uint64_t how[3] = {O_RDONLY | O_CLOEXEC};

	return syscall(SYS_openat2, AT_FDCWD, "/", how, sizeof(how));
}

static long try_execve(void)
{
	char *argv[] = {(char[]){"/bin/true"}, NULL};

	return execve(argv[0], argv, argv + 1);
}

static long try_execveat(void)
{
	char *argv[] = {(char[]){"x"}, NULL};

	return syscall(SYS_execveat, STDIN_FILENO, "", argv, argv + 1, AT_EMPTY_PATH);
}

static long try_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static long try_process_vm_readv(void)
{
	char here[8];
	struct iovec iov = {here, sizeof(here)};

	return process_vm_readv(getppid(), &iov, 1, &iov, 1, 0);
}

static long try_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long try_socket_unix(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long try_socket_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static long try_socketpair_inet(void)
{
	int p[2];

	return socketpair(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0, p);
}

static long try_connect(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(22), .sin_addr = {htonl(INADDR_LOOPBACK)}};

	return connect(STDIN_FILENO, (struct sockaddr *)&a, sizeof(a));
}

/*
 * A listener that was handed over (fd 3) becomes a socket of the host's network without connection, which is connected
 * to another of the host's listeners (STDIN_FILENO).
 */
static struct sockaddr_in victim;

static long try_sendto_fastopen(void)
{
	if (shutdown(WIRE_GATE_CONTROL_FD, SHUT_RDWR) < 0)
		return -1;
	return sendto(WIRE_GATE_CONTROL_FD, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&victim,
		      sizeof(victim));
}

static long try_sendmsg_fastopen(void)
{
	struct iovec iov = {(char[]){"x"}, 1};
	struct msghdr msg = {.msg_name = &victim, .msg_namelen = sizeof(victim), .msg_iov = &iov, .msg_iovlen = 1};

	if (shutdown(WIRE_GATE_CONTROL_FD, SHUT_RDWR) < 0)
		return -1;
	return sendmsg(WIRE_GATE_CONTROL_FD, &msg, MSG_FASTOPEN | MSG_NOSIGNAL);
}

/* The same without the flag, which the filter lets pass: the kernel must refuse it. */
static long try_sendmsg_name(void)
{
	struct iovec iov = {(char[]){"x"}, 1};
	struct msghdr msg = {.msg_name = &victim, .msg_namelen = sizeof(victim), .msg_iov = &iov, .msg_iovlen = 1};

	if (shutdown(WIRE_GATE_CONTROL_FD, SHUT_RDWR) < 0)
		return -1;
	return sendmsg(WIRE_GATE_CONTROL_FD, &msg, MSG_NOSIGNAL);
}

static long try_sendmmsg(void)
{
	struct mmsghdr m = {.msg_hdr = {.msg_name = &victim, .msg_namelen = sizeof(victim)}};

	return sendmmsg(WIRE_GATE_CONTROL_FD, &m, 1, MSG_FASTOPEN | MSG_NOSIGNAL);
}

static long try_setsockopt_other(void)
{
	return setsockopt(WIRE_GATE_CONTROL_FD, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
}

static long try_setsockopt_other_level(void)
{
	/* IP_HDRINCL has the number of an allowed option of another level */
	return setsockopt(WIRE_GATE_CONTROL_FD, IPPROTO_IP, TCP_CORK, &(int){1}, sizeof(int));
}

static long try_setsockopt_nodelay(void)
{
	return setsockopt(WIRE_GATE_CONTROL_FD, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static long try_socketpair_packets(void)
{
	int p[2];

	return socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, p);
}

static long try_bind(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};

	return bind(STDIN_FILENO, (struct sockaddr *)&a, sizeof(a));
}

static long try_listen(void)
{
	return listen(STDIN_FILENO, 1);
}

static long try_mount(void)
{
	return mount("none", "/", "tmpfs", 0, "");
}

static long try_umount(void)
{
	return umount2("/", MNT_DETACH);
}

static long try_pivot_root(void)
{
	return syscall(SYS_pivot_root, ".", ".");
}

static long try_chroot(void)
{
	return chroot("/");
}

static long try_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid;
}

static long try_vfork_by_clone(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return pid;
}

static long try_clone3(void)
{
	uint64_t args[8] = {[4] = SIGCHLD};
	long pid = syscall(SYS_clone3, args, sizeof(args));

	if (pid == 0)
		_exit(0);
	return pid;
}

static long try_kill(void)
{
	return kill(getppid(), 0);
}

static long try_tgkill_other(void)
{
	return syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static long try_pidfd_open(void)
{
	return syscall(SYS_pidfd_open, getppid(), 0);
}

static long try_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1);
}

static long try_setuid(void)
{
	return setuid(0);
}

static long try_unshare(void)
{
	return unshare(CLONE_NEWUSER);
}

static long try_setns(void)
{
	return setns(STDIN_FILENO, 0);
}

static long try_keyctl(void)
{
	return syscall(SYS_keyctl, 0, -3, 0);
}

static long try_bpf(void)
{
	union bpf_attr attr = {0};

	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static long try_perf(void)
{
	char attr[128] = {0};

	return syscall(SYS_perf_event_open, attr, 0, -1, -1, 0);
}

static long try_io_uring(void)
{
	char params[128] = {0};

	return syscall(SYS_io_uring_setup, 4, params);
}

static long try_userfaultfd(void)
{
	return syscall(SYS_userfaultfd, 0);
}

static long try_memfd(void)
{
	return memfd_create("x", MFD_CLOEXEC);
}

static long try_executable_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : 0;
}

static long try_make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static long try_sethostname(void)
{
	return sethostname("x", 1);
}

static long try_chmod(void)
{
	return chmod("/", 0777);
}

static long try_unlink(void)
{
	return unlink("/x");
}

static long try_setrlimit(void)
{
	return syscall(SYS_setrlimit, 7, (uint64_t[]){1u << 20, 1u << 20});
}

static long try_tiocsti(void)
{
	return syscall(SYS_ioctl, STDERR_FILENO, 0x5412, "x");
}

static long try_fcntl_setown(void)
{
	return fcntl(STDIN_FILENO, F_SETOWN, getppid());
}

/* What the gate does all day: must go on working. */

static void *thread_body(void *arg)
{
	*(int *)arg = 1;
	return NULL;
}

static long work(void)
{
	struct epoll_event e = {.events = EPOLLIN};
	int pair[2], epoll, seen = 0;
	pthread_t t;
	char byte = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	if (setsockopt(WIRE_GATE_CONTROL_FD, IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int)) < 0)
		return -1;
	if (fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0 || send(pair[1], "x", 1, MSG_NOSIGNAL) != 1)
		return -1;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &e) < 0 || epoll_wait(epoll, &e, 1, 1000) != 1 ||
	    recv(pair[0], &byte, 1, 0) != 1)
		return -1;
	if (pthread_create(&t, NULL, thread_body, &seen) != 0 || pthread_join(t, NULL) != 0)
		return -1;
	return byte == 'x' && seen ? 0 : -1;
}

static const struct {
	const char *name;
	long (*call)(void);
} forbidden[] = {
	{"open", try_open},
	{"creat", try_creat},
	{"openat2", try_openat2},
	{"execve", try_execve},
	{"execveat", try_execveat},
	{"ptrace", try_ptrace},
	{"process_vm_readv", try_process_vm_readv},
	{"socket", try_socket},
	{"socket-unix", try_socket_unix},
	{"socket-netlink", try_socket_netlink},
	{"socketpair-inet", try_socketpair_inet},
	{"connect", try_connect},
	{"bind", try_bind},
	{"listen", try_listen},
	{"sendto-fastopen", try_sendto_fastopen},
	{"sendmsg-fastopen", try_sendmsg_fastopen},
	{"sendmsg-name", try_sendmsg_name},
	{"sendmmsg-fastopen", try_sendmmsg},
	{"setsockopt-other", try_setsockopt_other},
	{"setsockopt-other-level", try_setsockopt_other_level},
	{"setsockopt-nodelay", try_setsockopt_nodelay},
	{"socketpair-packets", try_socketpair_packets},
	{"mount", try_mount},
	{"umount", try_umount},
	{"pivot_root", try_pivot_root},
	{"chroot", try_chroot},
	{"fork", try_fork},
	{"clone", try_vfork_by_clone},
	{"clone3", try_clone3},
	{"kill", try_kill},
	{"tgkill", try_tgkill_other},
	{"pidfd_open", try_pidfd_open},
	{"prctl-dumpable", try_dumpable},
	{"setuid", try_setuid},
	{"unshare", try_unshare},
	{"setns", try_setns},
	{"keyctl", try_keyctl},
	{"bpf", try_bpf},
	{"perf_event_open", try_perf},
	{"io_uring_setup", try_io_uring},
	{"userfaultfd", try_userfaultfd},
	{"memfd_create", try_memfd},
	{"mmap-exec", try_executable_memory},
	{"mprotect-exec", try_make_executable},
	{"sethostname", try_sethostname},
	{"chmod", try_chmod},
	{"unlink", try_unlink},
	{"setrlimit", try_setrlimit},
	{"ioctl-tiocsti", try_tiocsti},
	{"fcntl-setown", try_fcntl_setown},
};

/* A listening socket of 127.0.0.1 as the descriptor @fd. */
static int listener_at(int fd, struct sockaddr_in *ret)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (s < 0 || bind(s, (struct sockaddr *)&a, len) < 0 || listen(s, 4) < 0 ||
	    getsockname(s, (struct sockaddr *)&a, &len) < 0 || dup2(s, fd) < 0)
		return -errno;
	*ret = a;
	return 0;
}

static int list(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
		puts(forbidden[i].name);
	return 0;
}

int confinement_test(const char *name)
{
	auto_error struct error err = ERROR_INIT;
	long (*call)(void) = NULL;

	if (streq(name, "list"))
		return list();
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
		if (streq(forbidden[i].name, name))
			call = forbidden[i].call;
	if (!call && !streq(name, "work"))
		return 2;
	if (listener_at(STDIN_FILENO, &victim) < 0 || listener_at(WIRE_GATE_CONTROL_FD, &(struct sockaddr_in){0}) < 0)
		return 2;
	if (gate_confine(&err) < 0) {
		fprintf(stderr, "%s\n", error_msg(&err));
		return 2;
	}
	if (!call)
		_exit(work() == 0 ? 0 : 1);
	_exit(call() < 0 ? 3 : 1);
}
