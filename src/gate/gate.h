/*
 * The inside of lxd-gate. main.c reads orders from lxd; worker.c has the threads with an epoll each, accepts and keeps
 * deadlines; conn.c takes a connection from accept to its announcement; relay.c carries bytes after that.
 */
#pragma once

#include <gnutls/gnutls.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"
#include "base/thread.h"
#include "base/wire_gate.h"
#include "gate/intake.h"
#include "gate/settings.h"
#include "gate/strangers.h"

#define GATE_BUFFER (16u * 1024)      /* plain bytes of one TLS record at most */
#define GATE_GATHER (4 * GATE_BUFFER) /* of what a client sends: goes to lxd at once, or waits until that takes it */
#define GATE_PROXIES_MAX 64u
#define GATE_ROUNDS 8         /* records of one connection before the others have their turn */
#define GATE_NOTHINGS_MAX 64u /* records in a row without a byte: empty ones, new keys */
#define GATE_WARNINGS_MAX 4   /* alerts that a client may send and go on */

/* What an epoll event belongs to; the first member of what epoll points to. */
enum gate_event_kind { EVENT_INBOX, EVENT_LISTENER, EVENT_NET, EVENT_PLAIN };

struct gate_event {
	enum gate_event_kind kind;
};

enum conn_phase {
	CONN_PROXY,  /* a listed proxy's header may come first */
	CONN_FIRST,  /* nothing has come yet, and nothing is spent on it */
	CONN_QUEUED, /* its source makes many handshakes, and waits for its turn */
	CONN_HANDSHAKE,
	CONN_HEAD,     /* the first request head is incomplete */
	CONN_ANNOUNCE, /* lxd is behind with reading our messages */
	CONN_RELAY,
	CONN_DRAIN,  /* lxd's end has closed; what it sent is still being delivered */
	CONN_LINGER, /* all is sent; the client's end is awaited so that nothing is lost */
	CONN_DEAD,
	CONN_PHASES,
};

TAILQ_HEAD(conn_list, conn);

struct conn {
	struct gate_event net_event;
	struct gate_event plain_event;
	int net;           /* to the stranger */
	int plain;         /* to lxd; -EBADF before the announcement */
	uint32_t net_mask; /* what epoll waits for; 0 with net_added false: not in epoll at all */
	uint32_t plain_mask;
	bool net_added, plain_added;
	bool early;       /* a deadline from accept counts */
	bool tls_blocked; /* a record waits for room in the socket */
	bool tls_eof;     /* the client has said that it sends no more */
	bool plain_eof;   /* lxd has said so */
	bool plain_shut;  /* we have told lxd so */
	bool answer_last; /* the last bytes came from lxd: no request has begun since */
	bool quiet_timed; /* its deadline is for looking whether it is quiet */
	bool asked;       /* lxd was asked to let go; the client is not read until it has answered */
	bool parked;      /* it has, and its end is awaited */
	bool bye_begun;
	bool bye_sent;          /* we have told the client so */
	unsigned char warnings; /* alerts that changed nothing */
	unsigned char phase;    /* enum conn_phase */
	unsigned char verdict;  /* enum wire_gate_verdict */
	unsigned char listener; /* enum wire_gate_listener */
	struct gate_head head;
	uint32_t slot;
	uint64_t id;
	struct worker *worker;
	struct settings *settings; /* until the handshake is done */
	gnutls_session_t tls;
	struct gate_address address;
	struct stranger stranger;
	int64_t accepted_ms;
	int64_t announced_ms; /* when that was first tried */
	int64_t deadline_ms;  /* when it is in the list of its phase */
	bool timed;
	unsigned char timer_phase;
	TAILQ_ENTRY(conn) timer;
	unsigned char *buffer; /* PROXY header, request head, or what lxd's end has not taken yet */
	size_t buffer_len, buffer_off, buffer_cap;
	struct pki_dates dates;
	uint64_t records;  /* of the client so far; begins anew with new keys */
	unsigned nothings; /* since the last byte */
};

struct listener {
	struct gate_event event;
	int fd;
	unsigned char which; /* enum wire_gate_listener */
	TAILQ_ENTRY(listener) link;
};

TAILQ_HEAD(listener_list, listener);

struct gate_proxies {
	struct gate_address items[GATE_PROXIES_MAX];
	unsigned n;
};

enum word_kind { WORD_TRUSTED, WORD_PARKED, WORD_NOT_PARKED };

/* What lxd says of a connection. */
struct word {
	uint64_t id;
	enum word_kind kind;
};

/* A thread and what is its own. */
struct worker {
	struct gate *gate;
	unsigned index;
	int epoll;
	struct gate_event inbox_event;
	int inbox_fd; /* eventfd: there is something in the inbox */
	struct mutex inbox_lock;
	struct word *words; /* what lxd said of connections; guarded by inbox_lock */
	size_t n_words;
	bool accepting; /* listeners are in epoll */
	bool held;      /* and must not be: the list is being changed */
	uint64_t job_seen;
	int64_t accept_again_ms;
	struct settings *settings;
	struct gate_proxies proxies;
	int64_t now_ms; /* of this turn */
	struct conn **slots;
	uint32_t n_slots;
	uint32_t *free_slots;
	uint32_t n_free;
	uint64_t generation;
	struct conn_list timers[CONN_PHASES];
	struct conn_list dead; /* freed at the end of the turn: events of this turn may point to them */
	unsigned char in[GATE_GATHER], out[GATE_BUFFER];
};

struct gate {
	struct strangers *strangers;
	struct worker *workers[WIRE_SIGNER_THREADS_MAX];
	unsigned n_workers;
	struct listener_list listeners; /* changed only while the workers wait */
	struct gate_proxies proxies;
	atomic_uint conns;
	unsigned conns_max;
	/* a barrier: the main thread runs something in each worker, and waits for all */
	struct mutex job_lock;
	struct cond job_done;
	void (*job)(struct worker *w, void *arg);
	void *job_arg;
	uint64_t job_number;
	unsigned job_left;
};

/* worker.c */
/* Start @n threads with @settings. */
int workers_start(struct gate *g, unsigned n, struct settings *settings, struct error *err);
/* Run @fn in each worker, one after the other or at once, and wait until all have. */
void workers_run(struct gate *g, void (*fn)(struct worker *w, void *arg), void *arg);
/* The connection @id is no stranger any more. */
void workers_trust(struct gate *g, uint64_t id);
/* lxd's answer for the connection @id that it was asked to let go. */
void workers_parked(struct gate *g, uint64_t id, bool yes);
/* Put the listeners into @w's epoll, or take them out. */
void worker_accept(struct worker *w, bool on);
/* When the connection must have left its phase; it is ended otherwise. */
void worker_deadline(struct conn *c, int64_t deadline_ms);
void worker_no_deadline(struct conn *c);
/* Slots give connections their numbers. */
bool worker_slot_take(struct worker *w, struct conn *c);
void worker_slot_give(struct worker *w, struct conn *c);
/* Tell lxd of refusals, when it is time. */
void gate_tell_notes(struct gate *g, int64_t now_ms);

/* conn.c */
/* A connection was accepted; takes @fd. */
void conn_new(struct worker *w, int fd, const struct gate_address *peer, unsigned listener);
/* Something happened on either socket. */
void conn_event(struct conn *c, bool plain, uint32_t events);
/* The deadline has passed. */
void conn_expired(struct conn *c);
/* lxd needs its end no longer, and has closed it: wait for the client's next request head. */
void conn_await_head(struct conn *c);
/* Judge anew by the worker's settings; ends it when its verdict became worse. */
void conn_judge_again(struct conn *c);
/* End it at once. It is freed at the end of the turn. */
void conn_kill(struct conn *c);
/* Free what conn_kill() left. */
void conn_free(struct conn *c);
/* gnutls_record_recv(), which fails when too many records in a row bring nothing. */
ssize_t conn_recv(struct conn *c, void *buf, size_t len);
/*
 * @code came from GnuTLS instead of bytes: true when it is worth another try at once. Alerts that change nothing are
 * counted: who sends more than a few has nothing else in mind, and the connection is ended.
 */
bool conn_again(struct conn *c, ssize_t code);
/* What epoll is to wait for; 0 takes the socket out. */
void conn_wait_net(struct conn *c, uint32_t mask);
void conn_wait_plain(struct conn *c, uint32_t mask);
/* Append to the connection's buffer, at most @max bytes in all; false beyond. */
bool conn_buffer_add(struct conn *c, const void *data, size_t len, size_t max);
void conn_buffer_drop(struct conn *c);

/* relay.c */
/* From now on bytes go both ways; @c's buffer holds what lxd gets first. */
void relay_start(struct conn *c);
void relay_event(struct conn *c, bool plain, uint32_t events);
/* The deadline has passed. */
void relay_expired(struct conn *c);
/* lxd knows the caller: no deadline for the answer. */
void relay_vouched(struct conn *c);
/* lxd has answered whether it lets go. */
void relay_parked(struct conn *c, bool yes);
/* Say goodbye to the client, and wait for its end. */
void relay_finish(struct conn *c);
