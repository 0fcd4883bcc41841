/* The console of a running container. */
#include <poll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "instance/container_internal.h"

void container_console_done(struct container_console *con)
{
	con->sock = fd_close(con->sock);
	con->pty_fd = fd_close(con->pty_fd);
	con->tty_fd = fd_close(con->tty_fd);
}

int container_console(struct container_host *h, const char *name, struct container_console *ret, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;
	auto_close int sock = -EBADF;
	uint32_t kind = 0;
	int r;

	container_request_begin(h, &rq, WIRE_CONTAINER_CONSOLE, name);
	r = container_request_ask(h, &rq, &sock, &m, &kind, err);
	if (r < 0)
		return r;
	if (kind != WIRE_REPLY_OK || !wire_done(&m.reader) || m.fds[0] < 0)
		return container_answer_malformed(err);
	*ret = (struct container_console){
		.sock = TAKE_FD(sock), .pty_fd = TAKE_FD(m.fds[0]), .tty_fd = TAKE_FD(m.fds[1])};
	return 0;
}

void container_console_detach(struct container_console *con)
{
	(void)!shutdown(con->sock, SHUT_WR);
}

void container_console_wait(struct container_console *con)
{
	struct pollfd p = {.fd = con->sock, .events = POLLRDHUP};

	while (poll(&p, 1, -1) < 0)
		;
}
