/* One dnsmasq process: started and waited for, told apart from others, ended. Always by pidfd: pids are reused. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "network/dnsmasq_internal.h"

#define START_MS 10000      /* to have its sockets */
#define KILL_MS 5000        /* to be gone after SIGKILL */
#define SAID_MAX (32 << 10) /* of its standard error */
#define CMDLINE_MAX (256 << 10)

bool dnsmasq_process_is_alive(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

bool dnsmasq_process_open(pid_t pid, struct dnsmasq_process *ret)
{
	int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	if (fd < 0)
		return false;
	*ret = (struct dnsmasq_process){.pid = pid, .pidfd = fd};
	return true;
}

void dnsmasq_process_kill(struct dnsmasq_process *p)
{
	struct pollfd end = {.fd = p->pidfd, .events = POLLIN};
	int64_t deadline = time_monotonic_ms() + KILL_MS;
	siginfo_t info;

	(void)syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
	while (poll(&end, 1, KILL_MS) < 0 && errno == EINTR && time_monotonic_ms() < deadline)
		;
	/* one that an earlier daemon started is init's child */
	(void)waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG);
	p->pidfd = fd_close(p->pidfd);
	p->pid = 0;
}

/* --- who is it --- */

static bool read_cmdline(const struct dnsmasq_process *p, struct strv *ret)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_free char *path = xasprintf("/proc/%d/cmdline", (int)p->pid);

	if (file_read_at(AT_FDCWD, path, CMDLINE_MAX, &b, &err) < 0) {
		error_ignore(&err, "it has ended");
		return false;
	}
	for (size_t at = 0; at < b.len; at += strlen(b.data + at) + 1)
		strv_add(ret, b.data + at);
	/* alive still: so it was this process that was read */
	return dnsmasq_process_is_alive(p->pidfd);
}

bool dnsmasq_process_is_ours(const struct dnsmasq_process *p, const char *name, const char *dir)
{
	auto_strv struct strv args = STRV_INIT;
	auto_free char *interface = xasprintf("--interface=%s", name);
	auto_free char *conf = xasprintf("--conf-file=%s/dnsmasq.raw", dir);
	const char *slash;

	if (!read_cmdline(p, &args) || !args.len)
		return false;
	slash = strrchr(args.items[0], '/');
	return streq(slash ? slash + 1 : args.items[0], "dnsmasq") && strv_contains(&args, interface) &&
	       strv_contains(&args, conf);
}

/* The program file, by identity: after an upgrade the old one still runs. */
static bool runs_program(pid_t pid, const char *program)
{
	auto_free char *exe = xasprintf("/proc/%d/exe", (int)pid);
	struct stat a, b;

	return stat(exe, &a) == 0 && stat(program, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool dnsmasq_process_has(const struct dnsmasq_process *p, const struct strv *args)
{
	auto_strv struct strv running = STRV_INIT;

	return args->len && runs_program(p->pid, args->items[0]) && read_cmdline(p, &running) &&
	       strv_equal(&running, args);
}

/* --- start --- */

/*
 * dnsmasq puts /dev/null in the place of its standard error when it has all its sockets (dnsmasq.c, main()), so the
 * pipe ends either then or with the process; before that it says what is wrong.
 */
static int collect(int fd, struct strbuf *said)
{
	int64_t deadline = time_monotonic_ms() + START_MS;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = deadline - time_monotonic_ms();
		char chunk[1024];
		ssize_t n;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		n = read(fd, chunk, sizeof(chunk));
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			strbuf_append_len(said, chunk, (size_t)n);
	}
}

/* Is /dev/null where its standard error was? A process that is about to end has nothing there. */
static bool has_let_go(pid_t pid)
{
	auto_free char *path = xasprintf("/proc/%d/fd/2", (int)pid);
	char target[32];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0)
		return false;
	target[n] = '\0';
	return streq(target, "/dev/null");
}

/* Its lines as one. */
static char *one_line(const struct strbuf *said)
{
	char *text = xstrdup(strbuf_str(said));

	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	return text;
}

static int say_ended(struct dnsmasq_process *p, const struct strbuf *said, struct error *err)
{
	struct pollfd end = {.fd = p->pidfd, .events = POLLIN};
	auto_free char *line = one_line(said);
	siginfo_t info = {0};

	(void)poll(&end, 1, KILL_MS);
	(void)waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG);
	p->pidfd = fd_close(p->pidfd);
	return error_set(err, 500,
			 "The DNS and DHCP service exited prematurely: Process exited with non-zero value %d (\"%s\")",
			 info.si_status, str_strip(line));
}

static void copy_to_log(int log, const struct strbuf *said)
{
	if (said->len)
		(void)!write(log, said->data, said->len);
}

static int spawn(const struct strv *args, int stderr_fd, struct dnsmasq_process *ret, struct error *err)
{
	struct process_spec spec = PROCESS_SPEC_INIT;

	spec.argv = (const char *const *)args->items;
	spec.stderr_fd = stderr_fd;
	spec.new_session = true;
	return process_spawn(&spec, &ret->pid, &ret->pidfd, err);
}

int dnsmasq_process_start(const struct strv *args, const char *log, struct dnsmasq_process *ret, struct error *err)
{
	auto_close int log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	auto_strbuf struct strbuf said = {.max = SAID_MAX};
	auto_close int rd = -EBADF, wr = -EBADF;
	struct dnsmasq_process p = {.pidfd = -EBADF};
	int ends[2], r;

	if (log_fd < 0)
		return error_errno(err, errno, "Create %s", log);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, errno, "Create pipe for dnsmasq");
	rd = ends[0];
	wr = ends[1];
	r = spawn(args, wr, &p, err);
	if (r < 0)
		return r;
	wr = fd_close(wr);
	r = collect(rd, &said);
	copy_to_log(log_fd, &said);
	if (r < 0) {
		dnsmasq_process_kill(&p);
		return error_errno(err, -r, "Wait for the DNS and DHCP service to start");
	}
	if (!has_let_go(p.pid))
		return say_ended(&p, &said, err);
	*ret = p;
	return 0;
}
