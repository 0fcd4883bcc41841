/*
 * Bytes both ways. Toward the client a record that does not fit waits inside GnuTLS, and lxd's end is not read
 * meanwhile; toward lxd what does not fit waits in the connection's buffer, at most a few records, and the client is
 * not read meanwhile. Nothing is waited for that cannot come, so no event repeats without work.
 *
 * A close_notify becomes shutdown(SHUT_WR) and the other way round. An end without close_notify ends both sides: it
 * may be an attacker's cut, and a request must not be taken for complete by it.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/wire.h"
#include "gate/gate.h"

#define ANSWER_MS 20000 /* a stranger's request must be complete, and its answer have begun */
#define QUIET_MS 2000   /* after an answer, until lxd is asked whether it needs its end any longer */
#define PARK_MS 5000    /* for its answer to that */
#define BUSY_MS 10000   /* until it is asked again when it does */
#define ANSWERS 16      /* records of an answer before the others have their turn */
#define RECORDS 16      /* given to lxd together; whole ones fill the buffer long before */
#define DRAIN_MS 60000  /* without progress, when lxd has closed */
#define LINGER_MS 3000

static void note_activity(struct conn *c)
{
	atomic_store_explicit(&c->stranger.active_ms, c->worker->now_ms, memory_order_relaxed);
	if (c->phase == CONN_DRAIN)
		worker_deadline(c, c->worker->now_ms + DRAIN_MS);
}

/* lxd's end has closed: nobody reads what the client sends. What lxd has sent is still to be delivered. */
static void plain_gone(struct conn *c)
{
	if (c->phase != CONN_RELAY || c->asked)
		return;
	conn_buffer_drop(c);
	c->phase = CONN_DRAIN;
	worker_deadline(c, c->worker->now_ms + DRAIN_MS);
}

/* What epoll should wait for, by what can be done. */
static void wait_again(struct conn *c)
{
	bool held = c->buffer_len > c->buffer_off; /* lxd has not taken all */
	uint32_t net = c->tls_blocked ? EPOLLOUT : 0, plain = 0;

	if (c->phase == CONN_DEAD)
		return;
	if (c->phase == CONN_LINGER) {
		conn_wait_net(c, c->tls_blocked ? EPOLLOUT : EPOLLIN);
		return;
	}
	if (c->asked) {
		/* no request may begin; lxd's end is seen once, and then its answer is awaited */
		conn_wait_net(c, net);
		conn_wait_plain(c, c->plain_eof || c->tls_blocked ? 0 : EPOLLIN);
		return;
	}
	if (!c->tls_eof && !held && c->phase == CONN_RELAY)
		net |= EPOLLIN;
	if (!c->plain_eof && !c->tls_blocked)
		plain |= EPOLLIN;
	if (held)
		plain |= EPOLLOUT;
	/* after its end only lxd's closing is awaited, which comes unasked */
	if (c->plain_eof && plain == 0 && c->phase == CONN_RELAY)
		plain = EPOLLERR;
	conn_wait_net(c, net);
	conn_wait_plain(c, plain);
}

static void shut_plain(struct conn *c)
{
	if (c->tls_eof && !c->plain_shut && c->buffer_len == c->buffer_off) {
		c->plain_shut = true;
		shutdown(c->plain, SHUT_WR);
	}
}

/* Give lxd what waits for it; true when nothing waits any more. */
static bool flush_plain(struct conn *c)
{
	while (c->buffer_off < c->buffer_len) {
		ssize_t n = send(c->plain, c->buffer + c->buffer_off, c->buffer_len - c->buffer_off,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0) {
			plain_gone(c);
			return true;
		}
		c->buffer_off += (size_t)n;
	}
	conn_buffer_drop(c);
	shut_plain(c);
	return true;
}

/* Bytes from the client to lxd; what lxd does not take is kept. */
static void to_plain(struct conn *c, const unsigned char *data, size_t len)
{
	ssize_t n = send(c->plain, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	c->answer_last = false;
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		plain_gone(c);
		return;
	}
	if (n < 0)
		n = 0;
	if ((size_t)n < len)
		conn_buffer_add(c, data + n, len - (size_t)n, GATE_GATHER);
}

/* True: there may be more. The records that have come are given to lxd in one piece: it wakes up once. */
static bool read_net(struct conn *c)
{
	struct worker *w = c->worker;
	unsigned records = 0;
	size_t len = 0;
	ssize_t n;

	do {
		n = conn_recv(c, w->in + len, sizeof(w->in) - len);
		if (n > 0)
			len += (size_t)n;
	} while (n > 0 && sizeof(w->in) - len >= GATE_BUFFER && ++records < RECORDS);
	if (len > 0) {
		note_activity(c);
		to_plain(c, w->in, len);
	}
	if (n > 0)
		return c->phase == CONN_RELAY && c->buffer_len == c->buffer_off;
	if (n == 0) {
		c->tls_eof = true;
		shut_plain(c);
		return false;
	}
	if (n == GNUTLS_E_AGAIN)
		return false;
	if (conn_again(c, n))
		return true;
	/* an end without close_notify, a reset, a bad record, a wish to negotiate anew: all end it */
	conn_kill(c);
	return false;
}

/* Send a record, or (NULL, 0) what is left of one. True when all of it is gone to the kernel. */
static bool send_record(struct conn *c, const void *data, size_t len)
{
	ssize_t n;

	do
		n = gnutls_record_send(c->tls, data, len);
	while (n == GNUTLS_E_INTERRUPTED);
	if (n == GNUTLS_E_AGAIN) {
		c->tls_blocked = true;
		return false;
	}
	c->tls_blocked = false;
	if (n < 0) {
		conn_kill(c);
		return false;
	}
	note_activity(c);
	return true;
}

/* No deadline for the answer any more; somebody whom lxd knows may keep the connection without lxd's end. */
static void watch_quiet(struct conn *c)
{
	if (c->quiet_timed)
		return;
	c->quiet_timed = !c->stranger.source;
	if (c->quiet_timed)
		worker_deadline(c, c->worker->now_ms + QUIET_MS);
	else
		worker_no_deadline(c);
}

/* True: there may be more. */
static bool read_plain(struct conn *c)
{
	struct worker *w = c->worker;
	/* one record's worth: GnuTLS sends no more at once */
	size_t max = MIN_OF(gnutls_record_get_max_size(c->tls), sizeof(w->out));
	ssize_t n = recv(c->plain, w->out, max, MSG_DONTWAIT);

	if (n > 0) {
		/* lxd has had the request and answers: a slow reader is lxd's to end */
		c->answer_last = true;
		if (c->phase == CONN_RELAY && !c->asked)
			watch_quiet(c);
		return send_record(c, w->out, (size_t)n);
	}
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	/* its end, or a reset: it closed with bytes of ours unread */
	c->plain_eof = true;
	if (n < 0 && c->asked)
		conn_kill(c); /* there were none to be left unread */
	else if (n < 0)
		plain_gone(c);
	return false;
}

/* Tell the client that nothing more comes. */
static void say_bye(struct conn *c)
{
	int r;

	if (c->bye_sent || c->tls_blocked)
		return;
	c->bye_begun = true;
	do
		r = gnutls_bye(c->tls, GNUTLS_SHUT_WR);
	while (r == GNUTLS_E_INTERRUPTED);
	if (r == GNUTLS_E_AGAIN) {
		c->tls_blocked = true;
		return;
	}
	c->bye_sent = true;
	if (r < 0)
		conn_kill(c);
}

static void linger(struct conn *c)
{
	conn_wait_plain(c, 0);
	c->plain = fd_close(c->plain);
	if (c->tls_eof || shutdown(c->net, SHUT_WR) < 0) {
		conn_kill(c);
		return;
	}
	c->phase = CONN_LINGER;
	worker_deadline(c, c->worker->now_ms + LINGER_MS);
}

/* lxd's end is over, and all that it sent is out. */
static void finish(struct conn *c)
{
	say_bye(c);
	if (c->phase == CONN_DEAD || c->tls_blocked)
		return;
	/* both have said all, or lxd is gone */
	if (c->phase == CONN_DRAIN || (c->tls_eof && c->plain_shut))
		linger(c);
}

/* What follows when a side has ended. */
static void settle(struct conn *c)
{
	if (c->phase == CONN_DEAD || !c->plain_eof || c->tls_blocked)
		return;
	if (c->parked)
		conn_await_head(c);
	else if (!c->asked)
		finish(c);
}

/* The client's last bytes go nowhere; its end is all that counts. */
static void discard(struct conn *c)
{
	struct worker *w = c->worker;

	for (unsigned i = 0; i < GATE_ROUNDS; i++) {
		ssize_t n = recv(c->net, w->in, sizeof(w->in), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			conn_kill(c);
			return;
		}
	}
}

static void net_event(struct conn *c, uint32_t events)
{
	if (events & EPOLLOUT && c->tls_blocked) {
		c->tls_blocked = false;
		/* a goodbye that waits is sent by saying it again, which settle() does */
		if (!c->bye_begun)
			send_record(c, NULL, 0);
	}
	for (unsigned i = 0; i < GATE_ROUNDS / 2 && c->phase == CONN_RELAY && !c->tls_eof && !c->asked &&
			     c->buffer_len == c->buffer_off && events & (EPOLLIN | EPOLLHUP | EPOLLERR);
	     i++)
		if (!read_net(c))
			break;
	if (c->phase == CONN_DRAIN && events & (EPOLLHUP | EPOLLERR))
		conn_kill(c);
}

/* From the third on, records of a long answer leave together: the kernel makes large segments of them. */
static void cork(struct conn *c, int on)
{
	(void)setsockopt(c->net, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

static void plain_event(struct conn *c, uint32_t events)
{
	unsigned i;

	if (events & EPOLLOUT)
		flush_plain(c);
	for (i = 0; i < ANSWERS && !c->plain_eof && !c->tls_blocked && c->phase != CONN_DEAD; i++) {
		if (i == 2)
			cork(c, 1);
		if (!read_plain(c))
			break;
	}
	if (i >= 2 && c->phase != CONN_DEAD)
		cork(c, 0);
	if (events & EPOLLHUP)
		plain_gone(c);
}

void relay_event(struct conn *c, bool plain, uint32_t events)
{
	if (c->phase == CONN_LINGER) {
		discard(c);
		return;
	}
	if (plain)
		plain_event(c, events);
	else
		net_event(c, events);
	settle(c);
	if (c->phase != CONN_HEAD && c->phase != CONN_ANNOUNCE)
		wait_again(c);
}

/* Nothing is under way, on either side, as far as the gate can see. */
static bool is_quiet(const struct conn *c)
{
	return c->answer_last && !c->tls_eof && !c->plain_eof && !c->tls_blocked && c->buffer_len == c->buffer_off &&
	       gnutls_record_check_pending(c->tls) == 0;
}

static void ask_to_park(struct conn *c)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	wire_put_u32(&b, WIRE_GATE_PARK);
	wire_put_u64(&b, c->id);
	/* a reader that is behind is asked later */
	c->asked = wire_send(WIRE_GATE_CONTROL_FD, &b, NULL, 0) == 0;
	worker_deadline(c, c->worker->now_ms + (c->asked ? PARK_MS : BUSY_MS));
	wait_again(c);
}

/* lxd goes on with its end. */
static void resume(struct conn *c)
{
	c->asked = false;
	worker_deadline(c, c->worker->now_ms + BUSY_MS);
	if (c->plain_eof)
		plain_gone(c);
	settle(c);
	wait_again(c);
}

void relay_expired(struct conn *c)
{
	int64_t idle = c->worker->now_ms - atomic_load_explicit(&c->stranger.active_ms, memory_order_relaxed);

	if (!c->quiet_timed) {
		conn_kill(c);
	} else if (c->parked) {
		/* lxd has said that it closes its end: it will */
		worker_deadline(c, c->worker->now_ms + PARK_MS);
	} else if (c->asked) {
		resume(c);
	} else if (!is_quiet(c)) {
		/* until the next answer */
		c->quiet_timed = false;
	} else if (idle < QUIET_MS) {
		worker_deadline(c, c->worker->now_ms + QUIET_MS - idle);
	} else {
		ask_to_park(c);
	}
}

void relay_vouched(struct conn *c)
{
	if (c->phase != CONN_RELAY || c->quiet_timed)
		return;
	worker_no_deadline(c);
	if (c->answer_last)
		watch_quiet(c);
}

void relay_parked(struct conn *c, bool yes)
{
	if (c->phase != CONN_RELAY || !c->asked || c->parked)
		return;
	if (!yes) {
		resume(c);
		return;
	}
	c->parked = true;
	settle(c);
	if (c->phase == CONN_RELAY)
		wait_again(c);
}

void relay_start(struct conn *c)
{
	c->phase = CONN_RELAY;
	worker_deadline(c, c->worker->now_ms + ANSWER_MS);
	flush_plain(c);
	/* what the client sent behind its request head may already be inside GnuTLS */
	for (unsigned i = 0; i < GATE_ROUNDS && c->phase == CONN_RELAY && c->buffer_len == c->buffer_off; i++)
		if (gnutls_record_check_pending(c->tls) == 0 || !read_net(c))
			break;
	settle(c);
	wait_again(c);
}

void relay_finish(struct conn *c)
{
	c->plain_eof = true;
	c->phase = CONN_DRAIN;
	worker_deadline(c, c->worker->now_ms + LINGER_MS);
	settle(c);
	wait_again(c);
}
