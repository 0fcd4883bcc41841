/* Commands in a container: what follows the first reply comes on the same socket. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "instance/container_internal.h"

_Static_assert((int)CONTAINER_EXEC_EXITED == (int)WIRE_EXEC_EXITED &&
		       (int)CONTAINER_EXEC_SIGNALED == (int)WIRE_EXEC_SIGNALED &&
		       (int)CONTAINER_EXEC_NOT_FOUND == (int)WIRE_EXEC_NOT_FOUND &&
		       (int)CONTAINER_EXEC_NOT_EXECUTABLE == (int)WIRE_EXEC_NOT_EXECUTABLE,
	       "ends on the wire");

void container_exec_done(struct container_exec *x)
{
	x->sock = fd_close(x->sock);
	x->pidfd = fd_close(x->pidfd);
	x->pty_fd = fd_close(x->pty_fd);
}

static int take_status(struct wire_message *m, struct container_exec_status *ret, struct error *err)
{
	uint32_t end = wire_get_u32(&m->reader);
	uint32_t value = wire_get_u32(&m->reader);

	if (!wire_done(&m->reader) || end > CONTAINER_EXEC_NOT_EXECUTABLE)
		return container_answer_malformed(err);
	*ret = (struct container_exec_status){.end = end, .value = (int)value};
	return 0;
}

static int take_started(struct wire_message *m, bool has_terminal, struct container_exec *x, struct error *err)
{
	uint32_t pid = wire_get_u32(&m->reader);

	if (!wire_done(&m->reader) || m->fds[0] < 0 || has_terminal != (m->fds[1] >= 0))
		return container_answer_malformed(err);
	x->pid = (pid_t)pid;
	x->pidfd = TAKE_FD(m->fds[0]);
	x->pty_fd = TAKE_FD(m->fds[1]);
	return 0;
}

static void put_exec(struct strbuf *b, const struct container_exec_spec *spec, int fds[3], size_t *ret_nfds)
{
	const int stdio[3] = {spec->stdin_fd, spec->stdout_fd, spec->stderr_fd};
	uint32_t bits = 0;
	size_t n = 0;

	for (unsigned i = 0; i < 3 && !spec->interactive; i++) {
		if (stdio[i] < 0)
			continue;
		bits |= 1u << i;
		fds[n++] = stdio[i];
	}
	wire_put_str(b, spec->conf_path);
	wire_put_u32(b, spec->uid);
	wire_put_u32(b, spec->gid);
	wire_put_str(b, spec->cwd);
	wire_put_u32(b, spec->interactive);
	wire_put_u32(b, spec->width);
	wire_put_u32(b, spec->height);
	wire_put_u32(b, bits);
	wire_put_list(b, spec->argv);
	wire_put_list(b, spec->env);
	*ret_nfds = n;
}

int container_exec(struct container_host *h, const struct container_exec_spec *spec, struct container_exec *ret,
		   struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_exec struct container_exec x = CONTAINER_EXEC_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;
	uint32_t kind = 0;
	int r;

	container_request_begin(h, &rq, WIRE_CONTAINER_EXEC, spec->name);
	put_exec(&rq.body, spec, rq.fds, &rq.nfds);
	r = container_request_ask(h, &rq, &x.sock, &m, &kind, err);
	if (r < 0)
		return r;
	if (kind == WIRE_REPLY_STATUS) {
		x.ended = true;
		r = take_status(&m, &x.status, err);
	} else {
		r = kind == WIRE_REPLY_STARTED ? take_started(&m, spec->interactive, &x, err)
					       : container_answer_malformed(err);
	}
	if (r < 0)
		return r;
	container_request_time_limit(x.sock, 0);
	*ret = x;
	x = CONTAINER_EXEC_INIT;
	return 0;
}

int container_exec_signal(struct container_exec *x, int signum, struct error *err)
{
	if (x->pidfd < 0)
		return error_errno(err, ESRCH, "Send signal %d to the command", signum);
	if (syscall(SYS_pidfd_send_signal, x->pidfd, signum, NULL, 0) < 0)
		return error_errno(err, errno, "Send signal %d to the command", signum);
	return 0;
}

int container_exec_resize(int pty_fd, unsigned width, unsigned height, struct error *err)
{
	struct winsize size = {.ws_col = (unsigned short)MIN_OF(width, 65535u),
			       .ws_row = (unsigned short)MIN_OF(height, 65535u)};

	if (ioctl(pty_fd, TIOCSWINSZ, &size) < 0)
		return error_errno(err, errno, "Resize the terminal");
	return 0;
}

int container_exec_read_status(struct container_exec *x, struct container_exec_status *ret, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	uint32_t kind = 0;
	int r;

	if (x->ended) {
		*ret = x->status;
		return 0;
	}
	r = container_request_receive(x->sock, &m, &kind, err);
	if (r < 0)
		return r;
	return kind == WIRE_REPLY_STATUS ? take_status(&m, ret, err) : container_answer_malformed(err);
}
