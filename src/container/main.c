/*
 * lxd-container: the zygote. It waits on fd 3 for sockets that carry one request each and forks a child for every one.
 * The children share the pages of this warm process: nothing is linked, parsed or looked up again. It ends when the
 * daemon's end of fd 3 is gone; monitors and running commands are children of init by then, or wait for nothing.
 */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "container/container.h"

#define DOOR_FD 3
/* A lock that a later daemon waits for: held by the zygote and by starts, closed by all other requests. */
#define LOCK_FD 4

static const request_fn handlers[WIRE_CONTAINER_REQUEST_MAX] = {
	[WIRE_CONTAINER_START] = request_start,
	[WIRE_CONTAINER_FIND] = request_find,
	[WIRE_CONTAINER_WAIT_RUNNING] = request_wait_running,
	[WIRE_CONTAINER_CONTROL] = request_control,
	[WIRE_CONTAINER_EXEC] = request_exec,
	[WIRE_CONTAINER_NET_STATE] = request_net_state,
	[WIRE_CONTAINER_NET_SOCKET] = request_net_socket,
	[WIRE_CONTAINER_MOUNT] = request_mount,
	[WIRE_CONTAINER_UMOUNT] = request_umount,
	[WIRE_CONTAINER_CGROUP_SET] = request_cgroup_set,
	[WIRE_CONTAINER_CGROUP_GET] = request_cgroup_get,
	[WIRE_CONTAINER_CONSOLE] = request_console,
	[WIRE_CONTAINER_FILE] = request_file,
};

int request_malformed(struct error *err)
{
	return error_set(err, 500, "The request to lxd-container is malformed");
}

int request_reply(struct request *rq, const struct strbuf *b, const int *fds, size_t nfds, struct error *err)
{
	int r = wire_send(rq->sock, b, fds, nfds);

	return r < 0 ? error_errno(err, -r, "Send the answer to the daemon") : 0;
}

int request_reply_ok(struct request *rq, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	wire_put_u32(&b, WIRE_REPLY_OK);
	return request_reply(rq, &b, NULL, 0, err);
}

static void reply_error(struct request *rq, const struct error *failure)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	wire_put_u32(&b, WIRE_REPLY_ERROR);
	wire_put_error(&b, failure);
	(void)!wire_send(rq->sock, &b, NULL, 0); /* the daemon is gone: nobody is left to tell */
}

static _Noreturn void serve(int sock)
{
	auto_error struct error err = ERROR_INIT;
	struct request rq = {.sock = sock, .msg = WIRE_MESSAGE_INIT};
	uint32_t kind;
	int r;

	signal(SIGCHLD, SIG_DFL); /* liblxc waits for its children */
	r = wire_recv(sock, &rq.msg);
	if (r <= 0)
		_exit(1);
	kind = wire_get_u32(&rq.msg.reader);
	if (rq.msg.reader.bad || kind >= WIRE_CONTAINER_REQUEST_MAX || !handlers[kind])
		r = request_malformed(&err);
	else {
		if (kind != WIRE_CONTAINER_START)
			close(LOCK_FD);
		r = handlers[kind](&rq, &err);
	}
	if (r < 0)
		reply_error(&rq, &err);
	_exit(r < 0);
}

/* One socket from the daemon; false when the daemon is gone. */
static bool next_request(void)
{
	size_t nfds = 1;
	char byte;
	int sock;
	ssize_t n = fd_recv(DOOR_FD, &byte, sizeof(byte), &sock, &nfds);
	pid_t pid;

	if (n == 0 || n == -ECONNRESET)
		return false;
	if (n < 0 || nfds != 1)
		return n >= 0 || n == -EMSGSIZE;
	pid = fork();
	if (pid == 0) {
		close(DOOR_FD);
		serve(sock);
	}
	if (pid < 0) {
		auto_error struct error err = ERROR_INIT;
		struct request rq = {.sock = sock, .msg = WIRE_MESSAGE_INIT};

		error_errno(&err, errno, "Fork for a request");
		reply_error(&rq, &err);
	}
	close(sock);
	return true;
}

/* Make liblxc do its one-time work here rather than in every child. */
static void warm_up(void)
{
	struct lxc_container *c = lxc_container_new("warm", "/nonexistent");

	if (c)
		lxc_container_put(c);
	malloc_trim(0);
}

int main(int argc, char **argv)
{
	if (argc == 2 && streq(argv[1], "--version")) {
		printf("lxd-container (liblxc %s)\n", lxc_get_version());
		return 0;
	}
	if (argc != 1 || fcntl(DOOR_FD, F_SETFD, FD_CLOEXEC) < 0 || fcntl(LOCK_FD, F_SETFD, FD_CLOEXEC) < 0) {
		fprintf(stderr, "lxd-container is started by lxd, with a socket as fd 3 and a lock as fd 4\n");
		return 2;
	}
	/* an empty PATH keeps liblxc from newuidmap, which root without an /etc/subuid entry may not use */
	clearenv();
	setenv("PATH", "", 1);
	umask(022);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TOP_PAD, 16 * 1024);
	warm_up();
	while (next_request())
		;
	return 0;
}
