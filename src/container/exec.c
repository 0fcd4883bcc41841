/*
 * Running a command in a container. Two processes work on it: this one (the supervisor, on the host) and the one that
 * has joined the container, by itself (join.h) or with liblxc. They share a packet socket, close-on-exec: the joined
 * process sends the terminal, or the step that failed; when the command's execve() succeeds the supervisor sees end of
 * file.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <lxc/attach_options.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/close_range.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "container/container.h"
#include "container/join.h"

enum report_step { REPORT_TERMINAL, REPORT_EXEC, REPORT_OTHER, REPORT_ENTERED };

/* From the joined process to the supervisor. */
struct report {
	int32_t step;   /* enum report_step */
	int32_t errnum; /* for REPORT_ENTERED: the process id of the one that will run the command */
	char what[64];  /* for REPORT_OTHER: what failed */
};

struct job {
	char *name;
	char *conf_path;
	uint32_t uid;
	uint32_t gid;
	char *cwd;
	bool interactive;
	struct winsize size;
	struct strv argv;
	struct strv env;
	int stdio[3];
	int report; /* the joined process's end */
};

static int fail_step(const struct job *job, enum report_step step, const char *what, int errnum)
{
	struct report rep = {.step = step, .errnum = errnum};

	strncpy(rep.what, what, sizeof(rep.what) - 1);
	(void)!fd_send(job->report, &rep, sizeof(rep), NULL, 0);
	_exit(step == REPORT_EXEC && errnum == ENOENT ? 127 : 126);
}

/*
 * The container's own devpts, by the name it has there. The container decides what that name leads to, so make sure
 * that it is a terminal before the daemon gets to see it.
 */
static void open_terminal(const struct job *job)
{
	struct report rep = {.step = REPORT_TERMINAL};
	struct statfs fs;
	int master, slave, number, unlock = 0;

	master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (master < 0)
		fail_step(job, REPORT_OTHER, "Open /dev/pts/ptmx in the container", errno);
	if (fstatfs(master, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC || ioctl(master, TIOCGPTN, &number) < 0)
		fail_step(job, REPORT_OTHER, "Open a terminal: /dev/pts/ptmx is none", ENOTTY);
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		fail_step(job, REPORT_OTHER, "Unlock the terminal", errno);
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		fail_step(job, REPORT_OTHER, "Open the terminal", errno);
	if (job->size.ws_col && job->size.ws_row)
		(void)!ioctl(master, TIOCSWINSZ, &job->size);
	fd_set_nonblock(master, false);
	if (fd_send(job->report, &rep, sizeof(rep), &master, 1) < 0)
		_exit(126);
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		fail_step(job, REPORT_OTHER, "Make the terminal the controlling one", errno);
	for (int i = 0; i < 3; i++)
		if (dup2(slave, i) < 0)
			fail_step(job, REPORT_OTHER, "Make the terminal standard input", errno);
}

static const char *env_get(const struct strv *env, const char *key)
{
	for (size_t i = 0; i < env->len; i++) {
		const char *rest = startswith(env->items[i], key);

		if (rest && *rest == '=')
			return rest + 1;
	}
	return NULL;
}

/* execve() of the first hit in PATH; returns the errno that matters most when there is none. */
static int exec_in_path(const struct job *job)
{
	const char *command = job->argv.items[0];
	const char *path = env_get(&job->env, "PATH");
	struct strv dirs = STRV_INIT;
	int best = ENOENT;

	if (strchr(command, '/')) {
		execve(command, job->argv.items, job->env.items);
		return errno;
	}
	if (!*command)
		return ENOENT;
	strv_split(&dirs, path ? path : "/usr/bin:/bin", ':');
	for (size_t i = 0; i < dirs.len; i++) {
		auto_free char *file = xasprintf("%s/%s", *dirs.items[i] ? dirs.items[i] : ".", command);

		execve(file, job->argv.items, job->env.items);
		if (errno != ENOENT && errno != ENOTDIR)
			best = errno;
		if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
			break;
	}
	return best;
}

/* Runs in the container, as the wanted user, with stdio in place. */
static int joined(void *payload)
{
	struct job *job = payload;
	sigset_t none;

	if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		fail_step(job, REPORT_OTHER, "Mark fds close-on-exec", errno);
	if (getgroups(0, NULL) > 0 && setgroups(0, NULL) < 0)
		fail_step(job, REPORT_OTHER, "Drop supplementary groups", errno);
	setsid();
	if (job->interactive)
		open_terminal(job);
	if (!job->cwd || !*job->cwd || chdir(job->cwd) < 0)
		if (chdir("/") < 0)
			fail_step(job, REPORT_OTHER, "Enter / in the container", errno);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(022);
	return fail_step(job, REPORT_EXEC, "", exec_in_path(job));
}

static int send_started(struct request *rq, pid_t pid, int terminal, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int fds[2] = {pidfd, terminal};

	if (pidfd < 0)
		return error_errno(err, errno, "Open pidfd of the command");
	wire_put_u32(&b, WIRE_REPLY_STARTED);
	wire_put_u32(&b, (uint32_t)pid);
	return request_reply(rq, &b, fds, terminal >= 0 ? 2 : 1, err);
}

static int send_status(struct request *rq, enum wire_exec_end end, int value, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	wire_put_u32(&b, WIRE_REPLY_STATUS);
	wire_put_u32(&b, end);
	wire_put_u32(&b, (uint32_t)value);
	return request_reply(rq, &b, NULL, 0, err);
}

/* A report, 0 at end of file (the command runs, or the process died). */
static ssize_t next_report(int sock, struct report *rep, int *ret_fd)
{
	size_t nfds = 1;
	ssize_t n = fd_recv(sock, rep, sizeof(*rep), ret_fd, &nfds);

	rep->what[sizeof(rep->what) - 1] = '\0';
	return n == (ssize_t)sizeof(*rep) ? n : 0;
}

static int report_failure(struct request *rq, const struct report *rep, pid_t pid, struct error *err)
{
	waitpid(pid, NULL, 0);
	if (rep->step == REPORT_OTHER)
		return error_errno(err, rep->errnum, "%s", rep->what);
	if (rep->errnum == ENOENT || rep->errnum == ENOTDIR)
		return send_status(rq, WIRE_EXEC_NOT_FOUND, rep->errnum, err);
	return send_status(rq, WIRE_EXEC_NOT_EXECUTABLE, rep->errnum, err);
}

static int supervise(struct request *rq, const struct job *job, int reports, pid_t pid, struct error *err)
{
	auto_close int terminal = -EBADF;
	struct report rep;
	int r, status;

	/* the terminal comes first; a report of failure may come at any time */
	if (job->interactive) {
		if (!next_report(reports, &rep, &terminal)) {
			waitpid(pid, NULL, 0);
			return error_set(err, 500, "Join the container: the process died before it had a terminal");
		}
		if (rep.step != REPORT_TERMINAL)
			return report_failure(rq, &rep, pid, err);
	}
	r = send_started(rq, pid, terminal, err);
	if (r < 0)
		return r;
	terminal = fd_close(terminal); /* the daemon's is the only one: its closing hangs the command up */
	if (next_report(reports, &rep, &terminal))
		return report_failure(rq, &rep, pid, err);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_errno(err, errno, "Wait for the command");
	if (WIFSIGNALED(status))
		return send_status(rq, WIRE_EXEC_SIGNALED, WTERMSIG(status), err);
	return send_status(rq, WIRE_EXEC_EXITED, WEXITSTATUS(status), err);
}

static int open_container(const struct job *job, const char *lxcpath, struct lxc_container **ret, struct error *err)
{
	struct lxc_container *c = container_open(job->name, lxcpath, err);

	if (!c)
		return -err->errnum;
	c->clear_config(c);
	if (!c->load_config(c, job->conf_path))
		return error_set(err, 500, "Load the container's configuration %s: liblxc refused", job->conf_path);
	*ret = c;
	return 0;
}

static int attach(struct request *rq, struct job *job, struct lxc_container *c, struct error *err)
{
	lxc_attach_options_t options = LXC_ATTACH_OPTIONS_DEFAULT;
	struct lxc_log_mark mark = LXC_LOG_MARK_INIT;
	char log_path[4096];
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, errno, "Create socket pair");
	job->report = pair[1];
	if (c->get_config_item(c, "lxc.log.file", log_path, sizeof(log_path)) > 0)
		lxc_log_mark_file(&mark, log_path);
	options.uid = job->uid;
	options.gid = job->gid;
	options.stdin_fd = job->stdio[0];
	options.stdout_fd = job->stdio[1];
	options.stderr_fd = job->stdio[2];
	/* what joins the container must not be traced from there while it still holds fds of the host */
	prctl(PR_SET_DUMPABLE, 0);
	r = c->attach(c, joined, job, &options, &pid);
	if (r < 0) {
		if (!c->is_running(c))
			return error_set(err, 400, "Instance is not running");
		return lxc_log_error(&mark, err, 500, "Join the container");
	}
	close(pair[1]);
	return supervise(rq, job, pair[0], pid, err);
}

/* Let the wanted user open /dev/stdout and the like when that is a pipe; one that its user may not change stays. */
static void give_pipes(const struct job *job)
{
	for (int i = 0; i < 3; i++) {
		struct stat st;

		if (fstat(job->stdio[i], &st) == 0 && S_ISFIFO(st.st_mode))
			(void)!fchown(job->stdio[i], job->uid, st.st_gid);
	}
}

/* Take on what the container's processes have, then the command. A child of the supervisor in all its namespaces. */
static _Noreturn void become(struct job *job, const struct join_note *note, uint64_t bounding)
{
	join_failure failure = join_confine(note, bounding);

	if (failure)
		fail_step(job, REPORT_OTHER, failure, errno);
	give_pipes(job);
	if (setgroups(0, NULL) < 0 || setresgid(job->gid, job->gid, job->gid) < 0 ||
	    setresuid(job->uid, job->uid, job->uid) < 0)
		fail_step(job, REPORT_OTHER, "Become the wanted user", errno);
	for (int i = 0; i < 3; i++)
		if (dup2(job->stdio[i], i) < 0)
			fail_step(job, REPORT_OTHER, "Place standard input and output", errno);
	_exit(joined(job));
}

/*
 * Entering a process id namespace is for one's children, so there is a process in between. It makes the one that will
 * run the command a child of the supervisor, says which, and ends. @up: it tells the supervisor by this socket.
 */
static _Noreturn void enter(struct job *job, const struct join_note *note, int init, uint64_t bounding, int up)
{
	struct clone_args args = {.flags = CLONE_PARENT};
	struct report rep = {.step = REPORT_ENTERED};
	join_failure failure = join_enter(note, init);
	long pid;

	if (failure) {
		job->report = up;
		fail_step(job, REPORT_OTHER, failure, errno);
	}
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		close(up);
		become(job, note, bounding);
	}
	if (pid < 0) {
		job->report = up;
		fail_step(job, REPORT_OTHER, "Make a process in the container", errno);
	}
	rep.errnum = (int32_t)pid;
	_exit(fd_send(up, &rep, sizeof(rep), NULL, 0) < 0);
}

/* The process that has joined, or negative errno. */
static pid_t join(struct job *job, const struct join_note *note, int init, struct error *err)
{
	struct report rep = {0};
	uint64_t bounding;
	int up[2], none;
	pid_t between;

	if (!join_bounding_set(init, &bounding))
		return error_set(err, 400, "Instance is not running");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, up) < 0)
		return error_errno(err, errno, "Create socket pair");
	between = fork();
	if (between < 0)
		return error_errno(err, errno, "Fork to join the container");
	if (between == 0)
		enter(job, note, init, bounding, up[1]);
	close(up[1]);
	if (!next_report(up[0], &rep, &none))
		rep = (struct report){.step = REPORT_OTHER, .errnum = ECHILD, .what = "Join the container"};
	close(up[0]);
	waitpid(between, NULL, 0);
	if (rep.step == REPORT_ENTERED)
		return rep.errnum;
	if (syscall(SYS_pidfd_send_signal, init, 0, NULL, 0) < 0)
		return error_set(err, 400, "Instance is not running");
	return error_errno(err, rep.errnum, "%s", rep.what);
}

/* Without liblxc, as the note says. */
static int attach_by_note(struct request *rq, struct job *job, const struct join_note *note, int init,
			  struct error *err)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, errno, "Create socket pair");
	job->report = pair[1];
	/* what joins the container must not be traced from there while it still holds fds of the host */
	prctl(PR_SET_DUMPABLE, 0);
	pid = join(job, note, init, err);
	if (pid < 0)
		return pid;
	close(pair[1]);
	return supervise(rq, job, pair[0], pid, err);
}

static int attach_running(struct request *rq, struct job *job, const char *lxcpath, struct error *err)
{
	struct join_note note = JOIN_NOTE_INIT; /* freed by the end of the process */
	struct lxc_container *c = NULL;
	int init, r;

	if (!join_note_load(job->conf_path, &note)) {
		r = open_container(job, lxcpath, &c, err);
		return r < 0 ? r : attach(rq, job, c, err);
	}
	c = container_open(job->name, lxcpath, err);
	if (!c)
		return -err->errnum;
	init = c->init_pidfd(c);
	if (init < 0)
		return error_set(err, 400, "Instance is not running");
	return attach_by_note(rq, job, &note, init, err);
}

/* Standard fds: those that came, /dev/null for the others. */
static int place_stdio(struct request *rq, struct job *job, uint32_t bits, struct error *err)
{
	size_t next = 0;

	for (int i = 0; i < 3; i++) {
		if (bits & (1u << i))
			job->stdio[i] = rq->msg.fds[next++];
		else
			job->stdio[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (job->stdio[i] < 0)
			return request_malformed(err);
	}
	return 0;
}

static unsigned short clamp_size(uint32_t v)
{
	return (unsigned short)MIN_OF(v, 65535u);
}

int request_exec(struct request *rq, struct error *err)
{
	struct wire_reader *in = &rq->msg.reader;
	auto_free char *lxcpath = wire_get_str(in);
	struct job job = {0}; /* freed by the end of the process */
	uint32_t bits;
	int r;

	job.name = wire_get_str(in);
	job.conf_path = wire_get_str(in);
	job.uid = wire_get_u32(in);
	job.gid = wire_get_u32(in);
	job.cwd = wire_get_str(in);
	job.interactive = wire_get_u32(in) != 0;
	job.size.ws_col = clamp_size(wire_get_u32(in));
	job.size.ws_row = clamp_size(wire_get_u32(in));
	bits = wire_get_u32(in);
	wire_get_list(in, &job.argv);
	wire_get_list(in, &job.env);
	if (!wire_done(in) || !lxcpath || !job.name || !job.conf_path || job.argv.len == 0)
		return request_malformed(err);
	if (!job.env.items)
		job.env.items = xnew_array(char *, 1);
	r = place_stdio(rq, &job, bits, err);
	if (r < 0)
		return r;
	return attach_running(rq, &job, lxcpath, err);
}
