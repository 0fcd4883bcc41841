#include "base/process.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"

#ifndef LXD_HELPER_DIR
#define LXD_HELPER_DIR "/usr/local/libexec/lxd-c"
#endif

void process_result_done(struct process_result *r)
{
	strbuf_done(&r->out);
	strbuf_done(&r->err);
}

static const char *const default_env[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"LANG=C.UTF-8",
	NULL,
};

/* What the child needs, worked out before the fork: it may only call async-signal-safe functions. */
struct child {
	const struct process_spec *spec;
	int stdio[3];
	int *fds;
	int report; /* errno of a failed exec goes here; close-on-exec */
	pid_t parent;
};

static _Noreturn void child_fail(const struct child *c, int errnum)
{
	(void)!write(c->report, &errnum, sizeof(errnum));
	_exit(127);
}

static _Noreturn void child_run(struct child *c)
{
	const struct process_spec *spec = c->spec;
	int top = (int)(3 + spec->nfds);
	sigset_t none;

	if (spec->new_session)
		setsid();
	else
		setpgid(0, 0);
	if (spec->keep_with_parent) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != c->parent)
			_exit(127);
	}
	/* move everything above the target numbers first, so that no dup2 overwrites a source */
	c->report = fcntl(c->report, F_DUPFD_CLOEXEC, top);
	for (int i = 0; i < 3; i++)
		c->stdio[i] = fcntl(c->stdio[i], F_DUPFD_CLOEXEC, top);
	for (size_t i = 0; i < spec->nfds; i++)
		c->fds[i] = fcntl(c->fds[i], F_DUPFD_CLOEXEC, top);
	for (int i = 0; i < 3; i++)
		if (dup2(c->stdio[i], i) < 0)
			child_fail(c, errno);
	for (size_t i = 0; i < spec->nfds; i++)
		if (dup2(c->fds[i], (int)(3 + i)) < 0)
			child_fail(c, errno);
	if (syscall(SYS_close_range, (unsigned)top, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		child_fail(c, errno);
	if (chdir(spec->cwd ? spec->cwd : "/") < 0)
		child_fail(c, errno);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(spec->argv[0], (char *const *)(uintptr_t)spec->argv,
	       (char *const *)(uintptr_t)(spec->env ? spec->env : default_env));
	child_fail(c, errno);
}

/* Fork and exec with the given stdio; waits until exec has succeeded or failed. */
static int start(const struct process_spec *spec, const int stdio[3], pid_t *ret_pid, struct error *err)
{
	auto_free int *fds = xmemdup(spec->fds, spec->nfds * sizeof(int));
	struct child c = {.spec = spec, .fds = fds, .parent = getpid()};
	auto_close int report_rd = -EBADF;
	int report[2], errnum = 0;
	sigset_t all, old;
	ssize_t n;
	pid_t pid;

	memcpy(c.stdio, stdio, sizeof(c.stdio));
	if (pipe2(report, O_CLOEXEC) < 0)
		return error_errno(err, errno, "Create pipe for %s", spec->argv[0]);
	report_rd = report[0];
	c.report = report[1];
	/* no handler of ours may run in the child before exec */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0)
		child_run(&c);
	if (pid < 0)
		errnum = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(report[1]);
	if (pid < 0)
		return error_errno(err, errnum, "Fork for %s", spec->argv[0]);
	n = fd_read_full(report_rd, &errnum, sizeof(errnum));
	if (n == (ssize_t)sizeof(errnum)) {
		waitpid(pid, NULL, 0);
		return error_errno(err, errnum, "Run %s", spec->argv[0]);
	}
	*ret_pid = pid;
	return 0;
}

static int open_null(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

int process_spawn(const struct process_spec *spec, pid_t *ret_pid, int *ret_pidfd, struct error *err)
{
	auto_close int null = open_null();
	int stdio[3], r;
	pid_t pid;

	if (null < 0)
		return error_errno(err, errno, "Open /dev/null");
	stdio[0] = spec->stdin_fd >= 0 ? spec->stdin_fd : null;
	stdio[1] = spec->stdout_fd >= 0 ? spec->stdout_fd : null;
	stdio[2] = spec->stderr_fd >= 0 ? spec->stderr_fd : STDERR_FILENO;
	r = start(spec, stdio, &pid, err);
	if (r < 0)
		return r;
	if (ret_pidfd) {
		*ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (*ret_pidfd < 0) {
			r = error_errno(err, errno, "Open pidfd of %s", spec->argv[0]);
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return r;
		}
	}
	*ret_pid = pid;
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Collect both pipes until they close; -ETIMEDOUT or -EFBIG when a limit is met. */
static int collect(int out_fd, int err_fd, int64_t deadline, struct process_result *res)
{
	struct pollfd p[2] = {{.fd = out_fd, .events = POLLIN}, {.fd = err_fd, .events = POLLIN}};
	struct strbuf *bufs[2] = {&res->out, &res->err};

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		int64_t left = deadline - now_ms();
		int n;

		if (left <= 0)
			return -ETIMEDOUT;
		n = poll(p, 2, (int)MIN_OF(left, INT_MAX));
		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; n > 0 && i < 2; i++) {
			char chunk[4096];
			ssize_t got;

			if (p[i].fd < 0 || !p[i].revents)
				continue;
			got = read(p[i].fd, chunk, sizeof(chunk));
			if (got < 0 && (errno == EINTR || errno == EAGAIN))
				continue;
			if (got <= 0)
				p[i].fd = -1;
			else
				strbuf_append_len(bufs[i], chunk, (size_t)got);
			if (bufs[i]->truncated)
				return -EFBIG;
		}
	}
	return 0;
}

/* Wait for the end of the program, not only of its output. */
static int wait_until(pid_t pid, int64_t deadline)
{
	auto_close int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (fd < 0)
		return -errno;
	for (;;) {
		int64_t left = deadline - now_ms();
		int n = left > 0 ? poll(&p, 1, (int)MIN_OF(left, INT_MAX)) : 0;

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0 && left <= 0)
			return -ETIMEDOUT;
	}
}

/* The last line of what the program said, for the message. */
static const char *last_line(struct strbuf *b)
{
	char *nl;

	while (b->len && b->data[b->len - 1] == '\n')
		strbuf_truncate(b, b->len - 1);
	nl = b->data ? strrchr(b->data, '\n') : NULL;
	return nl ? nl + 1 : strbuf_str(b);
}

int process_run(const struct process_spec *spec, struct process_result *result, struct error *err)
{
	auto_process_result struct process_result local = PROCESS_RESULT_INIT;
	struct process_result *res = result ? result : &local;
	auto_close int null = open_null();
	auto_close int out_rd = -EBADF, out_wr = -EBADF, err_rd = -EBADF, err_wr = -EBADF;
	int64_t deadline = now_ms() + (spec->timeout_ms ? spec->timeout_ms : 300000);
	int p[2], stdio[3], status, r;
	pid_t pid;

	*res = PROCESS_RESULT_INIT;
	res->out.max = res->err.max = spec->output_max ? spec->output_max : 1 << 20;
	if (null < 0)
		return error_errno(err, errno, "Open /dev/null");
	if (spec->stdout_fd < 0) {
		if (pipe2(p, O_CLOEXEC) < 0)
			return error_errno(err, errno, "Create pipe");
		out_rd = p[0];
		out_wr = p[1];
	}
	if (spec->stderr_fd < 0) {
		if (pipe2(p, O_CLOEXEC) < 0)
			return error_errno(err, errno, "Create pipe");
		err_rd = p[0];
		err_wr = p[1];
	}
	stdio[0] = spec->stdin_fd >= 0 ? spec->stdin_fd : null;
	stdio[1] = spec->stdout_fd >= 0 ? spec->stdout_fd : out_wr;
	stdio[2] = spec->stderr_fd >= 0 ? spec->stderr_fd : err_wr;
	r = start(spec, stdio, &pid, err);
	if (r < 0)
		return r;
	out_wr = fd_close(out_wr);
	err_wr = fd_close(err_wr);
	r = collect(out_rd, err_rd, deadline, res);
	if (r == 0)
		r = wait_until(pid, deadline);
	if (r < 0)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return error_errno(err, -r, "Run %s", spec->argv[0]);
	res->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (res->exit_code) {
		const char *line = last_line(&res->err);

		return error_set(err, 500, "%s exited with %d%s%s", spec->argv[0], res->exit_code, *line ? ": " : "",
				 line);
	}
	return 0;
}

char *process_helper_path(const char *program)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		if (slash) {
			auto_free char *beside = NULL;

			*slash = '\0';
			beside = path_join(self, program);
			if (access(beside, X_OK) == 0)
				return TAKE_PTR(beside);
		}
	}
	return path_join(LXD_HELPER_DIR, program);
}
