/* The network interfaces of a container, read inside its namespace: for kernels that do not tell them from outside. */
#include <sched.h>

#include "base/alloc.h"
#include "base/interfaces.h"
#include "container/container.h"

int request_net_state(struct request *rq, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_close int sock = -EBADF;
	auto_free char *json = NULL;
	int r;

	if (!wire_done(&rq->msg.reader) || rq->msg.fds[0] < 0)
		return request_malformed(err);
	if (setns(rq->msg.fds[0], CLONE_NEWNET) < 0)
		return error_errno(err, errno, "Enter the container's network namespace");
	sock = rtnl_open(false, err);
	if (sock < 0)
		return sock;
	r = interfaces_read(sock, INTERFACES_HERE, &json, err);
	if (r < 0)
		return r;
	wire_put_u32(&b, WIRE_REPLY_OK);
	wire_put_str(&b, json);
	return request_reply(rq, &b, NULL, 0, err);
}
