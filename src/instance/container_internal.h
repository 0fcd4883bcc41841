/* Requests to lxd-container, for the files of its daemon's side (container.h) alone. */
#pragma once

#include "base/wire.h"
#include "base/wire_container.h"
#include "instance/container.h"

/* A request on its way: the fds are borrowed. */
struct container_request {
	struct strbuf body;
	int fds[3];
	size_t nfds;
	unsigned timeout_ms; /* 0: the default */
};

#define CONTAINER_REQUEST_INIT ((struct container_request){0})
#define auto_container_request CLEANUP(container_request_done)
void container_request_done(struct container_request *rq);

/* The first fields of most requests. */
void container_request_begin(struct container_host *h, struct container_request *rq, enum wire_container_request kind,
			     const char *name);
/* Send it and receive the first reply; more may come on *@ret_sock, the caller's. An error reply becomes @err. */
int container_request_ask(struct container_host *h, const struct container_request *rq, int *ret_sock,
			  struct wire_message *ret, uint32_t *ret_kind, struct error *err);
/* A request with one reply, of the kind @expect. */
int container_request_call(struct container_host *h, const struct container_request *rq, uint32_t expect,
			   struct wire_message *ret, struct error *err);
/* A further reply on @sock: -EIO when the helper ended without one, -ETIMEDOUT. */
int container_request_receive(int sock, struct wire_message *ret, uint32_t *ret_kind, struct error *err);
/* How long a receive may take; 0: no limit. */
void container_request_time_limit(int sock, unsigned timeout_ms);
/* The reply makes no sense. */
int container_answer_malformed(struct error *err);
