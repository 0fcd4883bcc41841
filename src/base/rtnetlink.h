/*
 * Questions to the kernel's rtnetlink and a bounded walk through the answers: lengths in messages are checked against
 * what was received, nothing is read in place.
 */
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A part of a packet, borrowed. */
struct rtnl_bytes {
	const unsigned char *at;
	size_t left;
};

struct rtnl_attr {
	uint16_t type; /* without the flag bits */
	struct rtnl_bytes value;
};

/*
 * A question or an order: the header, a body of fixed size, attributes. Filled by rtnl_request_init() and the functions
 * below it. What our own code puts in fits: more than there is room for is a bug and aborts.
 */
struct rtnl_request {
	struct nlmsghdr h;
	unsigned char body[4080];
};

/* Called for each message of an answer with what follows its header; a negative errno ends the reading. */
typedef int (*rtnl_message_fn)(uint16_t type, struct rtnl_bytes body, void *arg);

/* Take @size bytes from the front of @b, and the padding behind them, into @dest; false when there are fewer. */
bool rtnl_take(struct rtnl_bytes *b, void *dest, size_t size) MUST_USE;
/* The next attribute in @b; false at the end, or where the rest is no whole attribute. */
bool rtnl_next_attr(struct rtnl_bytes *b, struct rtnl_attr *ret);
/* A number or struct from an attribute: at most @size bytes; the rest of @dest stays as it is. */
void rtnl_copy(const struct rtnl_attr *a, void *dest, size_t size);
/*
 * Go through one received packet. 1: the answer is complete; 0: more packets follow; negative errno: the kernel's
 * refusal, @fn's error, or -EBADMSG for a message that does not fit into the packet.
 */
int rtnl_packet(struct rtnl_bytes packet, rtnl_message_fn fn, void *arg) MUST_USE;

/* Begin a question of kind @type; @flags (NLM_F_DUMP or NLM_F_ACK) make the kernel end its answer. */
void rtnl_request_init(struct rtnl_request *rq, uint16_t type, uint16_t flags, const void *body, size_t size);
/* Add an attribute with a 32 bit value. */
void rtnl_request_add(struct rtnl_request *rq, uint16_t type, int32_t value);
/* Add an attribute of @size bytes; a text with its NUL. */
void rtnl_request_put(struct rtnl_request *rq, uint16_t type, const void *value, size_t size);
void rtnl_request_put_text(struct rtnl_request *rq, uint16_t type, const char *text);
/* Bytes without an attribute's header: the body that some nested attributes begin with. */
void rtnl_request_put_raw(struct rtnl_request *rq, const void *data, size_t size);
/* Begin an attribute that holds the attributes which follow, until rtnl_request_end() with what this returned. */
size_t rtnl_request_nest(struct rtnl_request *rq, uint16_t type);
void rtnl_request_end(struct rtnl_request *rq, size_t nest);
/*
 * A socket in the calling thread's network namespace. @strict: the kernel refuses what it does not understand in a
 * question instead of ignoring it; -EOPNOTSUPP where it cannot. Returns the fd.
 */
int rtnl_open(bool strict, struct error *err);
/* Have refusals explained in words, where the kernel can. */
void rtnl_want_reasons(int sock);
/* The kernel's words for a refusal in this packet; the caller frees. NULL: it gave none. */
char *rtnl_reason(struct rtnl_bytes packet);
/* Send @rq and go through the whole answer. Negative errno as of rtnl_packet(). */
int rtnl_ask(int sock, const struct rtnl_request *rq, rtnl_message_fn fn, void *arg) MUST_USE;
/*
 * Same, on a socket that is kept: what is left of the answer to a question with another number (nlmsg_seq) is passed
 * over. On refusal *@ret_reason is as of rtnl_reason(), else NULL.
 */
int rtnl_ask_reason(int sock, const struct rtnl_request *rq, rtnl_message_fn fn, void *arg, char **ret_reason) MUST_USE;
