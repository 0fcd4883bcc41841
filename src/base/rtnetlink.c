/* Questions to the kernel's rtnetlink: sockets, requests, and a bounded walk through packets. */
#include "base/rtnetlink.h"

#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"

#define PACKET_MAX (32 * 1024) /* the kernel makes no larger ones */

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

/* Go @size bytes on, and over the padding behind them; the last piece of a packet may lack it. */
static void skip(struct rtnl_bytes *b, size_t size)
{
	size_t padded = MIN_OF(NLMSG_ALIGN(size), b->left);

	b->at += padded;
	b->left -= padded;
}

bool rtnl_take(struct rtnl_bytes *b, void *dest, size_t size)
{
	if (b->left < size)
		return false;
	memcpy(dest, b->at, size);
	skip(b, size);
	return true;
}

bool rtnl_next_attr(struct rtnl_bytes *b, struct rtnl_attr *ret)
{
	struct rtattr head;

	if (b->left < sizeof(head))
		return false;
	memcpy(&head, b->at, sizeof(head));
	if (head.rta_len < sizeof(head) || head.rta_len > b->left)
		return false;
	ret->type = head.rta_type & NLA_TYPE_MASK;
	ret->value = (struct rtnl_bytes){b->at + sizeof(head), head.rta_len - sizeof(head)};
	skip(b, head.rta_len);
	return true;
}

void rtnl_copy(const struct rtnl_attr *a, void *dest, size_t size)
{
	memcpy(dest, a->value.at, MIN_OF(size, a->value.left));
}

/* Both kinds of last message begin with a number: 0, or a negative errno. */
static int last_message(struct rtnl_bytes body)
{
	int32_t code = 0;

	if (!rtnl_take(&body, &code, sizeof(code)) || code > 0)
		return -EBADMSG;
	return code < 0 ? code : 1;
}

int rtnl_packet(struct rtnl_bytes packet, rtnl_message_fn fn, void *arg)
{
	while (packet.left) {
		struct rtnl_bytes body;
		struct nlmsghdr h;
		int r;

		if (packet.left < sizeof(h))
			return -EBADMSG;
		memcpy(&h, packet.at, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > packet.left)
			return -EBADMSG;
		body = (struct rtnl_bytes){packet.at + sizeof(h), h.nlmsg_len - sizeof(h)};
		if (h.nlmsg_type == NLMSG_DONE || h.nlmsg_type == NLMSG_ERROR)
			return last_message(body);
		r = fn(h.nlmsg_type, body, arg);
		if (r < 0)
			return r;
		skip(&packet, h.nlmsg_len);
	}
	return 0;
}

void rtnl_request_init(struct rtnl_request *rq, uint16_t type, uint16_t flags, const void *body, size_t size)
{
	*rq = (struct rtnl_request){.h = {.nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)}};
	memcpy(rq->body, body, size);
	rq->h.nlmsg_len = NLMSG_LENGTH(NLMSG_ALIGN((uint32_t)size));
}

void rtnl_request_add(struct rtnl_request *rq, uint16_t type, int32_t value)
{
	struct rtattr head = {.rta_len = RTA_LENGTH(sizeof(value)), .rta_type = type};
	unsigned char *end = (unsigned char *)rq + rq->h.nlmsg_len;

	memcpy(end, &head, sizeof(head));
	memcpy(end + sizeof(head), &value, sizeof(value));
	rq->h.nlmsg_len += RTA_LENGTH(sizeof(value));
}

int rtnl_open(bool strict, struct error *err)
{
	auto_close int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int on = 1;

	if (sock < 0)
		return error_errno(err, errno, "Open a netlink socket");
	if (strict && setsockopt(sock, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on)) < 0)
		return error_errno(err, EOPNOTSUPP, "Have network questions checked");
	return TAKE_FD(sock);
}

int rtnl_ask(int sock, const struct rtnl_request *rq, rtnl_message_fn fn, void *arg)
{
	auto_free unsigned char *buf = xmalloc(PACKET_MAX);
	int r = 0;

	if (send(sock, rq, rq->h.nlmsg_len, 0) < 0)
		return -errno;
	while (r == 0) {
		struct sockaddr_nl from = {0};
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(sock, buf, PACKET_MAX, MSG_TRUNC, (void *)&from, &size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (from.nl_pid != 0)
			continue; /* not the kernel */
		if (n > PACKET_MAX)
			return -EMSGSIZE;
		r = rtnl_packet((struct rtnl_bytes){buf, (size_t)n}, fn, arg);
	}
	return r < 0 ? r : 0;
}
