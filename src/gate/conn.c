/*
 * A connection from accept to its announcement: the PROXY header of a listed proxy, the handshake, the first request
 * head. Nothing of it reaches lxd before that. Two deadlines run from accept, whatever the stranger sends meanwhile.
 */
#include <endian.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/wire.h"
#include "gate/gate.h"

#define HANDSHAKE_MS 10000
#define HEAD_MS 30000
#define IDLE_MS 120000 /* until the next request head of somebody whom lxd knows */
#define ANNOUNCE_RETRY_MS 20
#define HANDSHAKE_MESSAGE_MAX (32u * 1024) /* a leaf of WIRE_GATE_LEAF_MAX and an intermediate */
#define TLS_FLAGS (GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS)

/* epoll */

static void wait_fd(struct conn *c, int fd, struct gate_event *event, bool *added, uint32_t *now, uint32_t mask)
{
	struct epoll_event e = {.events = mask, .data.ptr = event};

	if (mask == *now || fd < 0)
		return;
	if (mask == 0)
		epoll_ctl(c->worker->epoll, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(c->worker->epoll, *added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0)
		return conn_kill(c);
	*added = mask != 0;
	*now = mask;
}

void conn_wait_net(struct conn *c, uint32_t mask)
{
	wait_fd(c, c->net, &c->net_event, &c->net_added, &c->net_mask, mask);
}

void conn_wait_plain(struct conn *c, uint32_t mask)
{
	wait_fd(c, c->plain, &c->plain_event, &c->plain_added, &c->plain_mask, mask);
}

/* The buffer */

bool conn_buffer_add(struct conn *c, const void *data, size_t len, size_t max)
{
	if (len > max - MIN_OF(c->buffer_len, max))
		return false;
	if (c->buffer_len + len > c->buffer_cap) {
		size_t cap = c->buffer_cap ? c->buffer_cap * 2 : 1024;

		while (cap < c->buffer_len + len)
			cap *= 2;
		c->buffer = xrealloc(c->buffer, cap);
		c->buffer_cap = cap;
	}
	memcpy(c->buffer + c->buffer_len, data, len);
	c->buffer_len += len;
	return true;
}

void conn_buffer_drop(struct conn *c)
{
	free(c->buffer);
	c->buffer = NULL;
	c->buffer_len = c->buffer_off = c->buffer_cap = 0;
}

/* The end */

void conn_kill(struct conn *c)
{
	struct worker *w = c->worker;

	if (c->phase == CONN_DEAD)
		return;
	worker_no_deadline(c);
	c->phase = CONN_DEAD;
	/* before the fd is closed: who drops strangers shuts it down under the same lock */
	strangers_leave(w->gate->strangers, &c->stranger);
	c->net = fd_close(c->net);
	c->plain = fd_close(c->plain);
	TAILQ_INSERT_TAIL(&w->dead, c, timer);
}

void conn_free(struct conn *c)
{
	struct worker *w = c->worker;

	if (c->tls)
		gnutls_deinit(c->tls);
	settings_unref(c->settings);
	conn_buffer_drop(c);
	worker_slot_give(w, c);
	atomic_fetch_sub(&w->gate->conns, 1);
	free(c);
}

static void note_records(struct conn *c)
{
	uint64_t n = 0;

	if (gnutls_record_get_state(c->tls, 1, NULL, NULL, NULL, (unsigned char *)&n) == 0)
		c->records = be64toh(n);
}

ssize_t conn_recv(struct conn *c, void *buf, size_t len)
{
	ssize_t n = gnutls_record_recv(c->tls, buf, len);
	uint64_t before = c->records;

	note_records(c);
	if (n > 0)
		c->nothings = 0;
	else
		c->nothings += (unsigned)(c->records < before ? 1 : MIN_OF(c->records - before, GATE_NOTHINGS_MAX));
	return c->nothings >= GATE_NOTHINGS_MAX ? GNUTLS_E_TOO_MANY_EMPTY_PACKETS : n;
}

bool conn_again(struct conn *c, ssize_t code)
{
	if (code == GNUTLS_E_INTERRUPTED)
		return true;
	if (code != GNUTLS_E_WARNING_ALERT_RECEIVED)
		return false;
	if (++c->warnings <= GATE_WARNINGS_MAX)
		return true;
	conn_kill(c);
	return false;
}

/* A handshake that failed: say why, and let it be read. */
static void refuse(struct conn *c, int code)
{
	gnutls_alert_send_appropriate(c->tls, code);
	/* bytes left unread would make the kernel's close a reset, which overtakes the alert */
	for (unsigned i = 0; i < GATE_ROUNDS; i++)
		if (recv(c->net, c->worker->in, sizeof(c->worker->in), MSG_DONTWAIT) <= 0)
			break;
	conn_kill(c);
}

/* Announcement */

static void put_connection(struct conn *c, const gnutls_datum_t *leaf, struct strbuf *b)
{
	auto_free char *peer = gate_address_text(&c->address, true);
	const char *suite = gnutls_ciphersuite_get(c->tls);

	wire_put_u32(b, WIRE_GATE_CONNECTION);
	wire_put_u64(b, c->id);
	wire_put_u32(b, c->listener);
	wire_put_str(b, peer);
	wire_put_u32(b, gnutls_protocol_get_version(c->tls) == GNUTLS_TLS1_3 ? 0x0304 : 0x0303);
	wire_put_str(b, suite ?: "");
	wire_put_u32(b, c->verdict);
	wire_put_u64(b, (uint64_t)c->dates.not_before);
	wire_put_u64(b, (uint64_t)c->dates.not_after);
	wire_put_blob(b, leaf ? leaf->data : NULL, leaf ? leaf->size : 0);
}

/* 0, or -EAGAIN when lxd is behind. */
static int send_connection(struct conn *c)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_close int ours = -EBADF, theirs = -EBADF;
	unsigned n = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(c->tls, &n);
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	put_connection(c, n ? chain : NULL, &b);
	/* the request's head can be read when lxd hears of the connection */
	while (c->buffer_off < c->buffer_len) {
		ssize_t sent = send(ours, c->buffer + c->buffer_off, c->buffer_len - c->buffer_off,
				    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent <= 0)
			break;
		c->buffer_off += (size_t)sent;
	}
	r = wire_send(WIRE_GATE_CONTROL_FD, &b, &theirs, 1);
	if (r < 0) {
		c->buffer_off = 0;
		return r;
	}
	c->plain = TAKE_FD(ours);
	return 0;
}

static void announce(struct conn *c)
{
	struct worker *w = c->worker;
	int r = send_connection(c);

	if (c->phase != CONN_ANNOUNCE)
		c->announced_ms = w->now_ms;

	if (r == -EAGAIN || r == -ETOOMANYREFS || r == -EMFILE) {
		c->phase = CONN_ANNOUNCE;
		conn_wait_net(c, 0);
		if (w->now_ms >= c->announced_ms + HEAD_MS)
			conn_kill(c);
		else
			worker_deadline(c, w->now_ms + ANNOUNCE_RETRY_MS);
		return;
	}
	if (r < 0) {
		conn_kill(c);
		return;
	}
	strangers_promote(w->gate->strangers, &c->stranger, w->now_ms);
	relay_start(c);
}

/* Request head */

static void head_too_long(struct conn *c)
{
	static const char answer[] = "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
				     "Content-Length: 0\r\n\r\n";

	gnutls_record_send(c->tls, answer, sizeof(answer) - 1);
	relay_finish(c);
}

/* @len bytes are in the thread's buffer. True: the head goes on. */
static bool take_head(struct conn *c, size_t len)
{
	const unsigned char *in = c->worker->in;

	if (!conn_buffer_add(c, in, len, WIRE_GATE_HEAD_MAX + GATE_BUFFER)) {
		head_too_long(c);
		return false;
	}
	if (gate_head_ends(&c->head, in, len)) {
		announce(c);
		return false;
	}
	if (c->buffer_len > WIRE_GATE_HEAD_MAX) {
		head_too_long(c);
		return false;
	}
	return true;
}

static void read_head(struct conn *c)
{
	struct worker *w = c->worker;

	/* a few records, then the others have their turn; what GnuTLS holds epoll would not tell of */
	for (unsigned i = 0; i < GATE_ROUNDS || gnutls_record_check_pending(c->tls) > 0; i++) {
		ssize_t n = conn_recv(c, w->in, sizeof(w->in));

		if (n > 0 && !take_head(c, (size_t)n))
			return;
		if (n == GNUTLS_E_AGAIN)
			break;
		if (n <= 0 && !conn_again(c, n)) {
			conn_kill(c);
			return;
		}
	}
	conn_wait_net(c, EPOLLIN);
}

void conn_await_head(struct conn *c)
{
	conn_wait_plain(c, 0);
	c->plain = fd_close(c->plain);
	conn_buffer_drop(c);
	c->head = (struct gate_head){0};
	c->plain_eof = c->plain_shut = c->answer_last = c->quiet_timed = c->asked = c->parked = false;
	c->phase = CONN_HEAD;
	worker_deadline(c, c->worker->now_ms + IDLE_MS);
	read_head(c);
}

/* Handshake */

static void judge(struct conn *c, enum wire_gate_verdict *ret)
{
	unsigned n = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(c->tls, &n);

	*ret = pki_judge(c->worker->settings->pki, chain, chain ? n : 0, time(NULL), &c->dates);
}

void conn_judge_again(struct conn *c)
{
	enum wire_gate_verdict verdict;

	if (c->phase < CONN_HEAD || c->phase == CONN_DEAD)
		return;
	judge(c, &verdict);
	if (pki_verdict_is_worse(c->verdict, verdict))
		conn_kill(c);
}

static bool leaf_fits(struct conn *c)
{
	unsigned n = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(c->tls, &n);

	return !chain || n == 0 || chain[0].size <= WIRE_GATE_LEAF_MAX;
}

static void handshake_done(struct conn *c)
{
	enum wire_gate_verdict verdict;

	/* the key is not needed any more; a retired signer need not wait for this connection to end */
	gnutls_credentials_clear(c->tls);
	settings_unref(c->settings);
	c->settings = NULL;
	if (!leaf_fits(c)) {
		conn_kill(c);
		return;
	}
	judge(c, &verdict);
	c->verdict = (unsigned char)verdict;
	c->phase = CONN_HEAD;
	note_records(c);
	worker_deadline(c, c->accepted_ms + HEAD_MS);
	read_head(c);
}

static void handshake(struct conn *c)
{
	int r;

	do
		r = gnutls_handshake(c->tls);
	while (conn_again(c, r));
	if (c->phase == CONN_DEAD)
		return;
	if (r == GNUTLS_E_AGAIN)
		conn_wait_net(c, gnutls_record_get_direction(c->tls) ? EPOLLOUT : EPOLLIN);
	else if (r < 0)
		refuse(c, r);
	else
		handshake_done(c);
}

static int session_new(struct conn *c)
{
	static const gnutls_datum_t http = {.data = (unsigned char *)(uintptr_t) "http/1.1", .size = 8};
	int r = gnutls_init(&c->tls, TLS_FLAGS);

	if (r < 0)
		return r;
	c->settings = settings_ref(c->worker->settings);
	gnutls_transport_set_int(c->tls, c->net);
	gnutls_handshake_set_max_packet_length(c->tls, HANDSHAKE_MESSAGE_MAX);
	gnutls_certificate_server_set_request(c->tls, GNUTLS_CERT_REQUEST);
	r = gnutls_priority_set(c->tls, c->settings->priority);
	if (r >= 0)
		r = gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, c->settings->cred);
	/* answered when offered; a client that offers others only is served all the same */
	return r < 0 ? r : gnutls_alpn_set_protocols(c->tls, &http, 1, 0);
}

static void begin_tls(struct conn *c)
{
	strangers_handshake_begin(c->worker->gate->strangers, &c->stranger);
	if (session_new(c) < 0) {
		conn_kill(c);
		return;
	}
	c->phase = CONN_HANDSHAKE;
	worker_deadline(c, c->accepted_ms + HANDSHAKE_MS);
	handshake(c);
}

/* A handshake costs the processor something: a source has so many a second, and then waits. */
static void await_turn(struct conn *c)
{
	struct worker *w = c->worker;
	char byte;
	ssize_t n = recv(c->net, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	int64_t wait;

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		conn_wait_net(c, EPOLLIN);
		return;
	}
	if (n <= 0) {
		conn_kill(c);
		return;
	}
	wait = strangers_handshake_wait(w->gate->strangers, &c->stranger, w->now_ms);
	if (wait == 0) {
		begin_tls(c);
		return;
	}
	c->phase = CONN_QUEUED;
	worker_deadline(c, w->now_ms + wait);
	conn_wait_net(c, EPOLLRDHUP);
}

/* From here the address is known and counts. */
static void admit(struct conn *c)
{
	struct worker *w = c->worker;

	if (!strangers_enter(w->gate->strangers, &c->stranger, c->net, &c->address, w->now_ms)) {
		conn_kill(c);
		return;
	}
	c->phase = CONN_FIRST;
	worker_deadline(c, c->accepted_ms + HANDSHAKE_MS);
	await_turn(c);
}

/* PROXY header */

static void take_proxy_line(struct conn *c)
{
	struct gate_address source;
	int r = gate_proxy_parse((const char *)c->buffer, c->buffer_len, &source);

	conn_buffer_drop(c);
	if (r < 0) {
		conn_kill(c);
		return;
	}
	if (r > 0)
		c->address = source;
	admit(c);
}

/* No byte behind the line's end is taken from the socket: the handshake begins there. */
static void read_proxy(struct conn *c)
{
	char data[PROXY_HEADER_MAX];
	ssize_t n = recv(c->net, data, sizeof(data) - c->buffer_len, MSG_PEEK | MSG_DONTWAIT);
	const char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		conn_wait_net(c, EPOLLIN);
		return;
	}
	if (n <= 0) {
		conn_kill(c);
		return;
	}
	if (c->buffer_len == 0 && data[0] != 'P') {
		admit(c);
		return;
	}
	end = memchr(data, '\n', (size_t)n);
	if (end)
		n = end + 1 - data;
	if (recv(c->net, data, (size_t)n, MSG_DONTWAIT) != n ||
	    !conn_buffer_add(c, data, (size_t)n, PROXY_HEADER_MAX) || (!end && c->buffer_len == PROXY_HEADER_MAX))
		conn_kill(c);
	else if (end)
		take_proxy_line(c);
	else
		conn_wait_net(c, EPOLLIN);
}

static bool is_proxy(const struct worker *w, const struct gate_address *a)
{
	for (unsigned i = 0; i < w->proxies.n; i++)
		if (gate_address_equal(&w->proxies.items[i], a))
			return true;
	return false;
}

void conn_new(struct worker *w, int fd, const struct gate_address *peer, unsigned listener)
{
	struct conn *c = xnew(struct conn);

	*c = (struct conn){.net_event = {EVENT_NET},
			   .plain_event = {EVENT_PLAIN},
			   .net = fd,
			   .plain = -EBADF,
			   .worker = w,
			   .address = *peer,
			   .listener = (unsigned char)listener,
			   .accepted_ms = w->now_ms};
	atomic_fetch_add(&w->gate->conns, 1);
	if (!worker_slot_take(w, c)) {
		close(fd);
		atomic_fetch_sub(&w->gate->conns, 1);
		free(c);
		return;
	}
	if (!is_proxy(w, peer)) {
		admit(c);
		return;
	}
	c->phase = CONN_PROXY;
	worker_deadline(c, c->accepted_ms + HANDSHAKE_MS);
	read_proxy(c);
}

void conn_event(struct conn *c, bool plain, uint32_t events)
{
	switch ((enum conn_phase)c->phase) {
	case CONN_PROXY:
		read_proxy(c);
		return;
	case CONN_FIRST:
		await_turn(c);
		return;
	case CONN_QUEUED:
		/* only its end is waited for */
		conn_kill(c);
		return;
	case CONN_HANDSHAKE:
		handshake(c);
		return;
	case CONN_HEAD:
		read_head(c);
		return;
	case CONN_RELAY:
	case CONN_DRAIN:
	case CONN_LINGER:
		relay_event(c, plain, events);
		return;
	case CONN_ANNOUNCE:
	case CONN_DEAD:
	case CONN_PHASES:
		return;
	}
}

void conn_expired(struct conn *c)
{
	if (c->phase == CONN_ANNOUNCE)
		announce(c);
	else if (c->phase == CONN_QUEUED)
		begin_tls(c);
	else if (c->phase == CONN_RELAY)
		relay_expired(c);
	else
		conn_kill(c);
}
