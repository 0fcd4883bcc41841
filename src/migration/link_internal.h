/* Shared by link.c and transfer.c. */
#pragma once

#include <poll.h>
#include <stdint.h>

#include "http/wsclient.h"
#include "migration/link.h"

#define LINK_INBOX 8                  /* control messages that wait: a peer has two to say */
#define LINK_HIGH_WATER (1024 * 1024) /* bytes that wait on one side before the other is read on */

struct migration_link {
	int cancel_fd;
	struct wsclient *ws[MIGRATION_SOCKETS];
	struct strbuf inbox[LINK_INBOX];
	size_t n_inbox;
	bool flooded;          /* by more than that */
	struct strbuf pending; /* from fs, on its way to rsync */
	size_t pending_at;
	bool fs_ended;     /* the peer's end marker */
	uint64_t received; /* bytes from fs */
};

/* What to poll for on a socket; @read: also for what the peer sends. */
struct pollfd migration_link_pollfd(const struct migration_link *l, enum migration_socket which, bool read);
/* After poll(). */
void migration_link_process(struct migration_link *l, enum migration_socket which, short revents);
/* Set @err: cancelled, or the peer is gone or floods us; 0 when all is well. */
int migration_link_check(struct migration_link *l, struct error *err);
