/*
 * Connections of callers that nobody knows yet: how many each source may have, how many there may be, which one goes
 * when there are too many, and how many handshakes a second a source gets. A source is an IPv4 address or an IPv6 /64;
 * its /56 and /48 have bounds of their own. Who has most gives way: of his connections the oldest that has not finished
 * handshake and request head, or, when most of them have, the one whose request is answered or has taken longest.
 * Sources that lxd has vouched for a short while ago wait for no handshake, and give way last.
 * Shared by all threads; one lock.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/wire_gate.h"
#include "gate/intake.h"

#define STRANGERS_PER_SOURCE 128u
#define STRANGERS_PER_56 256u
#define STRANGERS_PER_48 512u
#define STRANGERS_MAX 2048u

struct strangers;
struct stranger_source;

/* The part of a connection that is counted; embedded in it. All but active_ms belongs to the lock. */
struct stranger {
	struct stranger_source *source; /* NULL: not counted */
	TAILQ_ENTRY(stranger) link;     /* in the source's list, oldest first */
	bool late;                      /* its first request has arrived */
	bool queued;                    /* waits for its turn to shake hands */
	int64_t late_ms;                /* since when */
	int fd;                         /* is shut down when the connection must go */
	atomic_int_fast64_t active_ms;  /* when bytes last came or went; written by the connection's thread */
};

/* Refusals since they were last told of; at most one telling a second. */
struct stranger_note {
	enum wire_gate_note kind;
	struct gate_address address; /* of the latest */
	uint64_t count;
};

/* Nobody is counted yet. */
struct strangers *strangers_new(void);
void strangers_free(struct strangers *t);

/*
 * Count @s, whose fd is @fd, for the source of @address; another one is dropped when it is one too many: its socket is
 * shut down, and its owner sees its end. False: there is no room, nothing can be dropped, and @s is not counted.
 */
bool strangers_enter(struct strangers *t, struct stranger *s, int fd, const struct gate_address *address,
		     int64_t now_ms);
/*
 * It wants to shake hands: 0, or for how many milliseconds it must wait because its source has made so many handshakes.
 * A turn that is not used, because it leaves first, is the next one's.
 */
int64_t strangers_handshake_wait(struct strangers *t, struct stranger *s, int64_t now_ms);
/* The wait is over, and the handshake begins. */
void strangers_handshake_begin(struct strangers *t, struct stranger *s);
/* Its first request has arrived. */
void strangers_promote(struct strangers *t, struct stranger *s, int64_t now_ms);
/* lxd knows the caller: it is no stranger any more, and its source, that of @address, is trusted for a while. */
void strangers_vouch(struct strangers *t, struct stranger *s, const struct gate_address *address, int64_t now_ms);
/* Gone. Before its fd is closed. Safe to repeat. */
void strangers_leave(struct strangers *t, struct stranger *s);
/* Make room by ending one stranger's connection, of a source that has many. False: there is none to end. */
bool strangers_drop_one(struct strangers *t, int64_t now_ms);
/* Note that @count connections of @address were refused for want of room of any kind. */
void strangers_note_full(struct strangers *t, const struct gate_address *address);
/* What is to be told now; false: nothing, or told less than a second ago. */
bool strangers_note_take(struct strangers *t, int64_t now_ms, struct stranger_note *ret);
