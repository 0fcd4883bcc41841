/* Questions to the kernel's rtnetlink: sockets, requests, and a bounded walk through packets. */
#include "base/rtnetlink.h"

#include <assert.h>
#include <stddef.h>
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

void rtnl_request_put_raw(struct rtnl_request *rq, const void *data, size_t size)
{
	unsigned char *end = (unsigned char *)rq + rq->h.nlmsg_len;

	assert(rq->h.nlmsg_len + NLMSG_ALIGN(size) <= sizeof(*rq));
	memset(end, 0, NLMSG_ALIGN(size));
	if (size)
		memcpy(end, data, size);
	rq->h.nlmsg_len += NLMSG_ALIGN((uint32_t)size);
}

void rtnl_request_put(struct rtnl_request *rq, uint16_t type, const void *value, size_t size)
{
	struct rtattr head = {.rta_len = (unsigned short)RTA_LENGTH(size), .rta_type = type};

	rtnl_request_put_raw(rq, &head, sizeof(head));
	rtnl_request_put_raw(rq, value, size);
}

void rtnl_request_add(struct rtnl_request *rq, uint16_t type, int32_t value)
{
	rtnl_request_put(rq, type, &value, sizeof(value));
}

void rtnl_request_put_text(struct rtnl_request *rq, uint16_t type, const char *text)
{
	rtnl_request_put(rq, type, text, strlen(text) + 1);
}

size_t rtnl_request_nest(struct rtnl_request *rq, uint16_t type)
{
	size_t nest = rq->h.nlmsg_len;

	rtnl_request_put(rq, type | NLA_F_NESTED, "", 0);
	return nest;
}

void rtnl_request_end(struct rtnl_request *rq, size_t nest)
{
	unsigned short len = (unsigned short)(rq->h.nlmsg_len - nest);

	memcpy((unsigned char *)rq + nest + offsetof(struct rtattr, rta_len), &len, sizeof(len));
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

void rtnl_want_reasons(int sock)
{
	int on = 1;

	/* older kernels know neither: there are no words then, and the refused question comes back whole */
	(void)setsockopt(sock, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(sock, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
}

/* What stands behind the error number and the head of the refused question, and that question if it is there. */
static bool take_refused(const struct nlmsghdr *h, struct rtnl_bytes *body)
{
	struct nlmsghdr refused;
	int32_t code;
	size_t rest;

	if (h->nlmsg_type != NLMSG_ERROR || !(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return false;
	if (!rtnl_take(body, &code, sizeof(code)) || !rtnl_take(body, &refused, sizeof(refused)))
		return false;
	if (h->nlmsg_flags & NLM_F_CAPPED)
		return true;
	if (refused.nlmsg_len < sizeof(refused))
		return false;
	rest = refused.nlmsg_len - sizeof(refused);
	if (rest > body->left)
		return false;
	skip(body, rest);
	return true;
}

char *rtnl_reason(struct rtnl_bytes packet)
{
	struct nlmsghdr h;
	struct rtnl_attr a;

	while (packet.left >= sizeof(h)) {
		struct rtnl_bytes body;

		memcpy(&h, packet.at, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > packet.left)
			return NULL;
		body = (struct rtnl_bytes){packet.at + sizeof(h), h.nlmsg_len - sizeof(h)};
		skip(&packet, h.nlmsg_len);
		if (!take_refused(&h, &body))
			continue;
		while (rtnl_next_attr(&body, &a))
			if (a.type == NLMSGERR_ATTR_MSG)
				return xstrndup((const char *)a.value.at,
						strnlen((const char *)a.value.at, a.value.left));
	}
	return NULL;
}

/* One packet from the kernel into @buf: its size, or negative errno. */
static ssize_t receive(int sock, unsigned char *buf)
{
	for (;;) {
		struct sockaddr_nl from = {0};
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(sock, buf, PACKET_MAX, MSG_TRUNC, (void *)&from, &size);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > PACKET_MAX)
			return -EMSGSIZE;
		if (n >= 0 && from.nl_pid == 0)
			return n;
	}
}

static bool answers(struct rtnl_bytes packet, const struct rtnl_request *rq)
{
	struct nlmsghdr h;

	return !rtnl_take(&packet, &h, sizeof(h)) || h.nlmsg_seq == rq->h.nlmsg_seq;
}

int rtnl_ask_reason(int sock, const struct rtnl_request *rq, rtnl_message_fn fn, void *arg, char **ret_reason)
{
	auto_free unsigned char *buf = xmalloc(PACKET_MAX);
	int r = 0;

	*ret_reason = NULL;
	if (send(sock, rq, rq->h.nlmsg_len, 0) < 0)
		return -errno;
	while (r == 0) {
		ssize_t n = receive(sock, buf);
		struct rtnl_bytes packet = {buf, n > 0 ? (size_t)n : 0};

		if (n < 0)
			return (int)n;
		if (!answers(packet, rq))
			continue;
		r = rtnl_packet(packet, fn, arg);
		if (r < 0)
			*ret_reason = rtnl_reason(packet);
	}
	return r < 0 ? r : 0;
}

int rtnl_ask(int sock, const struct rtnl_request *rq, rtnl_message_fn fn, void *arg)
{
	auto_free char *reason = NULL;

	return rtnl_ask_reason(sock, rq, fn, arg, &reason);
}
