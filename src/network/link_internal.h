/* What the files of link.h share: the socket, and orders to the kernel that end in an error of our kind. */
#pragma once

#include <linux/if_link.h>

#include "base/rtnetlink.h"
#include "base/thread.h"
#include "network/link.h"

struct link_ns {
	struct mutex lock; /* one question at a time */
	int sock;
	uint32_t seq GUARDED_BY(lock);
};

/* Ask, and go through the answer. The error is "STEP: the kernel's words (errno's)"; @step is a format. */
int link_ask(struct link_ns *ns, struct rtnl_request *rq, rtnl_message_fn fn, void *arg, struct error *err,
	     const char *step, ...) PRINTF_LIKE(6, 7);
/* Same, for an order: nothing comes back but "done". */
int link_order(struct link_ns *ns, struct rtnl_request *rq, struct error *err, const char *step, ...) PRINTF_LIKE(4, 5);
/* The number of an interface; -ENODEV when it is not there. */
int link_index(struct link_ns *ns, const char *name, unsigned *ret, struct error *err);
/* A failure with this errno is none: clears @err and gives 0. */
int link_forgive(int r, int errnum, struct error *err);

/* An array that grows as messages arrive. */
#define LINK_LIST_PUSH(list, item)                                                                   \
	do {                                                                                         \
		(list)->items = xreallocarray((list)->items, (list)->n + 1, sizeof(*(list)->items)); \
		(list)->items[(list)->n++] = (item);                                                 \
	} while (0)
