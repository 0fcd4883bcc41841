/*
 * Into a container's network namespace: its interfaces, for kernels that do not tell them from outside; and a socket
 * made there, through which the daemon configures them.
 */
#include <sched.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/interfaces.h"
#include "container/container.h"

/*
 * An rtnetlink socket there, to which nobody but the kernel may write: the container's root, who may send to it as long
 * as it is not connected, would fill its queue until answers are lost.
 */
static int open_inside(struct request *rq, struct error *err)
{
	const struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	auto_close int sock = -EBADF;

	if (!wire_done(&rq->msg.reader) || rq->msg.fds[0] < 0)
		return request_malformed(err);
	if (setns(rq->msg.fds[0], CLONE_NEWNET) < 0)
		return error_errno(err, errno, "Enter the container's network namespace");
	sock = rtnl_open(false, err);
	if (sock < 0)
		return sock;
	if (bind(sock, (const struct sockaddr *)&any, sizeof(any)) < 0 ||
	    connect(sock, (const struct sockaddr *)&any, sizeof(any)) < 0)
		return error_errno(err, errno, "Connect a netlink socket");
	return TAKE_FD(sock);
}

int request_net_state(struct request *rq, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_close int sock = open_inside(rq, err);
	auto_free char *json = NULL;
	int r;

	if (sock < 0)
		return sock;
	r = interfaces_read(sock, INTERFACES_HERE, &json, err);
	if (r < 0)
		return r;
	wire_put_u32(&b, WIRE_REPLY_OK);
	wire_put_str(&b, json);
	return request_reply(rq, &b, NULL, 0, err);
}

int request_net_socket(struct request *rq, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_close int sock = open_inside(rq, err);

	if (sock < 0)
		return sock;
	wire_put_u32(&b, WIRE_REPLY_OK);
	return request_reply(rq, &b, &sock, 1, err);
}
