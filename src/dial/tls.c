/* The handshake and what follows, around GnuTLS. Who is believed is judged in verify.c. */
#include "dial/tls_internal.h"

#include <gnutls/x509.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "base/wire_dial.h"
#include "tls/policy.h"

#define RECORD 16384u            /* bytes of plain text in one TLS record */
#define PLAIN_SIZE (256u * 1024) /* read from the caller at once */
#define RECORDS_MAX 64u          /* taken from the server before the caller gets its turn */
#define LINGER_MS 3000           /* for the last bytes to a server when the caller is gone */
#define NOTHINGS_MAX 32u         /* messages in a row that bring nothing: tickets, new keys, warnings */

static ssize_t pull(gnutls_transport_ptr_t ptr, void *buf, size_t len)
{
	struct tls *t = ptr;
	ssize_t n = link_read(t->link, buf, len);

	if (n >= 0)
		return n;
	gnutls_transport_set_errno(t->session, n == -EAGAIN ? EAGAIN : EIO);
	return -1;
}

/* The library asks before each wait; the waiting is done in link_read(). */
static int pull_timeout(gnutls_transport_ptr_t ptr UNUSED, unsigned ms UNUSED)
{
	return 1;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const giovec_t *iov, int count)
{
	struct tls *t = ptr;
	size_t total = 0;

	for (int i = 0; i < count; i++) {
		link_queue(t->link, iov[i].iov_base, iov[i].iov_len);
		total += iov[i].iov_len;
	}
	return (ssize_t)total;
}

static int tls_error(int code, const char *what, struct error *err)
{
	return error_set(err, 500, "%s: %s", what, gnutls_strerror(code));
}

static gnutls_datum_t datum(const char *text)
{
	return (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)text, .size = (unsigned)strlen(text)};
}

/* By their public parts; a key that does not tell its public part is left to the handshake. */
static bool differ(gnutls_certificate_credentials_t credentials)
{
	unsigned char ids[2][32];
	gnutls_x509_privkey_t key = NULL;
	gnutls_x509_crt_t *chain = NULL;
	unsigned n = 0;
	size_t lens[] = {sizeof(ids[0]), sizeof(ids[1])};
	bool known = false;

	if (gnutls_certificate_get_x509_key(credentials, 0, &key) >= 0 &&
	    gnutls_certificate_get_x509_crt(credentials, 0, &chain, &n) >= 0 && n > 0)
		known = gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, ids[0], &lens[0]) >= 0 &&
			gnutls_x509_crt_get_key_id(chain[0], GNUTLS_KEYID_USE_SHA256, ids[1], &lens[1]) >= 0;
	for (unsigned k = 0; k < n; k++)
		gnutls_x509_crt_deinit(chain[k]);
	gnutls_free(chain);
	gnutls_x509_privkey_deinit(key);
	return known && (lens[0] != lens[1] || memcmp(ids[0], ids[1], lens[0]) != 0);
}

static int load_client(struct tls *t, const struct dial_request *req, struct error *err)
{
	gnutls_datum_t cert, key;
	int r;

	if (!req->client_cert)
		return 0;
	/* what is freed from here on is overwritten; see also scrub_heap() */
	mallopt(M_PERTURB, 0xa5);
	cert = datum(req->client_cert);
	key = datum(req->client_key);
	/* that they belong together is seen without a signature, which takes longer */
	gnutls_certificate_set_flags(t->credentials, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
	r = gnutls_certificate_set_x509_key_mem2(t->credentials, &cert, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (r < 0)
		return tls_error(r, "Load the client certificate", err);
	return differ(t->credentials) ? tls_error(GNUTLS_E_CERTIFICATE_KEY_MISMATCH, "Load the client certificate", err)
				      : 0;
}

static int setup(struct tls *t, const struct dial_request *req, struct error *err)
{
	const unsigned flags = GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS |
			       GNUTLS_KEY_SHARE_TOP | GNUTLS_FORCE_CLIENT_CERT;
	int r = gnutls_certificate_allocate_credentials(&t->credentials);

	if (r < 0)
		return tls_error(r, "Prepare TLS", err);
	r = load_client(t, req, err);
	if (r < 0)
		return r;
	r = gnutls_init(&t->session, flags);
	if (r == 0)
		r = gnutls_priority_set_direct(t->session, TLS_PRIORITY, NULL);
	if (r == 0)
		r = gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, t->credentials);
	if (r == 0 && !verify_is_address(req->host))
		r = gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, req->host, strlen(req->host));
	if (r < 0)
		return tls_error(r, "Prepare TLS", err);
	gnutls_session_set_ptr(t->session, t);
	gnutls_session_set_verify_function(t->session, verify_server);
	gnutls_transport_set_ptr(t->session, t);
	gnutls_transport_set_pull_function(t->session, pull);
	gnutls_transport_set_pull_timeout_function(t->session, pull_timeout);
	gnutls_transport_set_vec_push_function(t->session, push);
	gnutls_handshake_set_timeout(t->session, GNUTLS_INDEFINITE_TIMEOUT); /* the link has a deadline */
	return 0;
}

/* As Go's crypto/tls names alerts. */
static const char *alert_text(gnutls_alert_description_t alert)
{
	static const struct {
		gnutls_alert_description_t alert;
		const char *text;
	} texts[] = {
		{GNUTLS_A_UNEXPECTED_MESSAGE, "unexpected message"},
		{GNUTLS_A_HANDSHAKE_FAILURE, "handshake failure"},
		{GNUTLS_A_BAD_CERTIFICATE, "bad certificate"},
		{GNUTLS_A_UNSUPPORTED_CERTIFICATE, "unsupported certificate"},
		{GNUTLS_A_CERTIFICATE_REVOKED, "revoked certificate"},
		{GNUTLS_A_CERTIFICATE_EXPIRED, "expired certificate"},
		{GNUTLS_A_CERTIFICATE_UNKNOWN, "unknown certificate"},
		{GNUTLS_A_CERTIFICATE_REQUIRED, "certificate required"},
		{GNUTLS_A_UNKNOWN_CA, "unknown certificate authority"},
		{GNUTLS_A_ACCESS_DENIED, "access denied"},
		{GNUTLS_A_DECRYPT_ERROR, "error decrypting message"},
		{GNUTLS_A_PROTOCOL_VERSION, "protocol version not supported"},
		{GNUTLS_A_INSUFFICIENT_SECURITY, "insufficient security level"},
		{GNUTLS_A_INTERNAL_ERROR, "internal error"},
		{GNUTLS_A_UNRECOGNIZED_NAME, "unrecognized name"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].alert == alert)
			return texts[i].text;
	return gnutls_alert_get_name(alert);
}

/* Answers that are no TLS at all: what came first tells. */
static bool is_not_tls(const struct tls *t, struct error *err)
{
	if (t->first_len < sizeof(t->first) || (t->first[0] >= 20 && t->first[0] <= 23 && t->first[1] == 3))
		return false;
	if (memcmp(t->first, "HTTP/", sizeof(t->first)) == 0)
		error_set(err, 503, "http: server gave HTTP response to HTTPS client");
	else
		error_set(err, 503, "tls: first record does not look like a TLS handshake");
	return true;
}

static int socket_error(const struct link *l, struct error *err)
{
	if (l->errnum == ETIMEDOUT)
		return error_set(err, 503, "net/http: TLS handshake timeout");
	if (l->errnum == ECONNRESET)
		return error_set(err, 503, "read tcp %s->%s: read: connection reset by peer", l->local, l->remote);
	return error_set(err, 503, "read tcp %s->%s: %s", l->local, l->remote, strerror(l->errnum));
}

/* Why the handshake failed, in Go's words where it has some. */
static int handshake_error(struct tls *t, int code, struct error *err)
{
	if (t->verdict.status)
		return error_move(err, &t->verdict);
	if (t->link->errnum)
		return socket_error(t->link, err);
	if (is_not_tls(t, err))
		return -err->errnum;
	switch (code) {
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		return error_set(err, 503, "remote error: tls: %s", alert_text(gnutls_alert_get(t->session)));
	case GNUTLS_E_PREMATURE_TERMINATION:
		return error_set(err, 503, "EOF");
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
		return error_set(err, 503, "tls: server selected unsupported protocol version");
	default:
		return error_set(err, 503, "tls: %s", gnutls_strerror(code));
	}
}

/* Remember how the server's answer begins, before the library eats it. */
static void note_first(struct tls *t)
{
	const struct link *l = t->link;
	size_t have = l->in_end - l->in_start;

	if (t->first_len == 0 && have >= sizeof(t->first)) {
		memcpy(t->first, l->in + l->in_start, sizeof(t->first));
		t->first_len = sizeof(t->first);
	}
}

static ssize_t pull_first(gnutls_transport_ptr_t ptr, void *buf, size_t len)
{
	struct tls *t = ptr;
	ssize_t n = link_read(t->link, buf, 0);

	if (n >= 0)
		note_first(t);
	return pull(ptr, buf, len);
}

static int handshake(struct tls *t, struct error *err)
{
	unsigned nothings = 0;
	int r;

	gnutls_transport_set_pull_function(t->session, pull_first);
	do
		r = gnutls_handshake(t->session);
	while (r < 0 && !gnutls_error_is_fatal(r) && ++nothings < NOTHINGS_MAX);
	gnutls_transport_set_pull_function(t->session, pull);
	if (r < 0) {
		handshake_error(t, r, err);
		if (r != GNUTLS_E_FATAL_ALERT_RECEIVED && !t->link->errnum)
			gnutls_alert_send_appropriate(t->session, r);
		(void)!link_flush(t->link);
		return -err->errnum;
	}
	return link_flush(t->link) < 0 ? socket_error(t->link, err) : 0;
}

#define SCRUB_SIZES 65 /* of what malloc() keeps for the next request of the same size: up to 1,040 bytes, by 16 */
#define SCRUB_EACH 16

/* Libraries free memory that had the key in it: overwrite what malloc() would give out next (M_PERTURB
 * does it for larger pieces). */
static void scrub_heap(void)
{
	static void *taken[SCRUB_SIZES][SCRUB_EACH];

	for (size_t i = 0; i < SCRUB_SIZES * SCRUB_EACH; i++) {
		size_t size = (i / SCRUB_EACH + 1) * 16 + 8;

		taken[i / SCRUB_EACH][i % SCRUB_EACH] = xmalloc(size);
		explicit_bzero(taken[i / SCRUB_EACH][i % SCRUB_EACH], size);
	}
	for (size_t i = 0; i < SCRUB_SIZES * SCRUB_EACH; i++)
		free(taken[i / SCRUB_EACH][i % SCRUB_EACH]);
}

/* The key was needed once: certificates are not asked for later, for new keys nor in TLS 1.3's own way. */
static void forget_client(struct tls *t)
{
	gnutls_credentials_clear(t->session);
	gnutls_certificate_free_credentials(t->credentials);
	t->credentials = NULL;
	scrub_heap();
	mallopt(M_PERTURB, 0);
}

int tls_connect(struct link *l, const struct dial_request *req, const struct roots *system, struct dial_reply *reply,
		struct tls **ret, struct error *err)
{
	CLEANUP(tls_freep) struct tls *t = xnew(struct tls);
	int r;

	t->link = l;
	t->req = req;
	t->system = system;
	t->reply = reply;
	r = setup(t, req, err);
	if (r == 0)
		r = handshake(t, err);
	if (r < 0)
		return r;
	forget_client(t);
	reply->version = gnutls_protocol_get_name(gnutls_protocol_get_version(t->session));
	reply->cipher = gnutls_cipher_get_name(gnutls_cipher_get(t->session));
	l->deadline_ms = 0;
	l->control = -EBADF;
	*ret = TAKE_PTR(t);
	return 0;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	if (t->session)
		gnutls_deinit(t->session);
	if (t->credentials)
		gnutls_certificate_free_credentials(t->credentials);
	error_clear(&t->verdict);
	free(t);
}

/* --- relay --- */

struct relay {
	struct tls *t;
	int plain;
	unsigned char *buf; /* of plain text for the caller */
	size_t start, end;
	unsigned char *out; /* of plain text from the caller */
	unsigned nothings;  /* messages since the last bytes */
	bool plain_ended;   /* the caller sends no more: close_notify is queued */
	bool server_more;   /* there may be bytes that have left the socket but are not decrypted */
	bool server_ended;  /* the server sends no more */
	bool told_caller;   /* and the caller knows */
	bool told_server;   /* our half of the TCP connection is closed */
	bool caller_gone;
	int64_t gone_ms; /* since when; monotonic */
	bool broken;
};

static bool has_room(const struct relay *r)
{
	return PLAIN_SIZE - r->end >= RECORD;
}

/* From the server: decrypt as much as there is room for. */
static void from_server(struct relay *r)
{
	/* nobody waits for it */
	if (r->caller_gone)
		return;
	for (unsigned i = 0; i < RECORDS_MAX && !r->server_ended && has_room(r); i++) {
		ssize_t n = gnutls_record_recv(r->t->session, r->buf + r->end, PLAIN_SIZE - r->end);

		if (n > 0) {
			r->end += (size_t)n;
			r->nothings = 0;
			continue;
		}
		if (n == GNUTLS_E_AGAIN && !link_buffered(r->t->link)) {
			r->server_more = false;
			return;
		}
		/* a message of the handshake (a ticket) was taken, and more came together with it; or a warning */
		if (n < 0 && !gnutls_error_is_fatal((int)n) && n != GNUTLS_E_REHANDSHAKE &&
		    ++r->nothings <= NOTHINGS_MAX)
			continue;
		/* an end without close_notify is for the caller to notice: HTTP bodies have a length */
		r->server_ended = true;
		if (n < 0 && n != GNUTLS_E_PREMATURE_TERMINATION)
			r->broken = true;
	}
	/* the room or the turn ended first, not the bytes */
	r->server_more = !r->server_ended;
}

static void to_caller(struct relay *r)
{
	while (r->start < r->end && !r->caller_gone) {
		ssize_t n = send(r->plain, r->buf + r->start, r->end - r->start, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			r->start += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			return;
		else if (n == 0 || errno != EINTR)
			r->caller_gone = true;
	}
	r->start = r->end = 0;
	if (r->server_ended && !r->told_caller) {
		shutdown(r->plain, SHUT_WR);
		r->told_caller = true;
	}
}

static void encrypt(struct relay *r, size_t len)
{
	for (size_t at = 0; at < len && !r->broken;) {
		ssize_t n = gnutls_record_send(r->t->session, r->out + at, MIN_OF(len - at, (size_t)RECORD));

		if (n > 0)
			at += (size_t)n;
		else if (n != GNUTLS_E_INTERRUPTED && n != GNUTLS_E_AGAIN)
			r->broken = true;
	}
}

/* From the caller, when all of the last portion is on its way. */
static void from_caller(struct relay *r)
{
	ssize_t n;

	if (r->plain_ended || link_queued(r->t->link))
		return;
	do
		n = recv(r->plain, r->out, PLAIN_SIZE, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		encrypt(r, (size_t)n);
		return;
	}
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0)
		r->caller_gone = true;
	r->plain_ended = true;
	gnutls_bye(r->t->session, GNUTLS_SHUT_WR);
}

static void to_server(struct relay *r)
{
	int e = link_flush(r->t->link);

	if (e < 0 && e != -EAGAIN)
		r->broken = true;
	if (e == 0 && r->plain_ended && !r->told_server) {
		shutdown(r->t->link->sock, SHUT_WR);
		r->told_server = true;
	}
}

static bool done(const struct relay *r)
{
	if (r->broken)
		return r->start == r->end || r->caller_gone;
	return r->told_server && (r->told_caller || r->caller_gone);
}

/* How long poll() may wait: once the caller has gone, up to one fixed moment, whatever the server does. */
static int patience(struct relay *r)
{
	int64_t now;

	if (r->server_more && has_room(r) && !r->caller_gone)
		return 0;
	if (!r->caller_gone)
		return -1;
	now = time_monotonic_ms();
	if (!r->gone_ms)
		r->gone_ms = now;
	return (int)MAX_OF(r->gone_ms + LINGER_MS - now, (int64_t)0);
}

static void what_to_wait_for(const struct relay *r, struct pollfd p[2])
{
	const struct link *l = r->t->link;

	if (r->start < r->end)
		p[0].events |= POLLOUT;
	if (!r->plain_ended && !link_queued(l))
		p[0].events |= POLLIN;
	if (link_queued(l))
		p[1].events |= POLLOUT;
	if (!r->server_ended && has_room(r) && !r->caller_gone)
		p[1].events |= POLLIN;
	/* its end is known: poll() would tell it again and again */
	if (r->caller_gone && !p[0].events)
		p[0].fd = -1;
	if (!p[1].events)
		p[1].fd = -1;
}

/* Wait for whatever can go on. False when there is nothing to wait for any more. */
static bool wait_relay(struct relay *r)
{
	struct link *l = r->t->link;
	struct pollfd p[2] = {{.fd = r->plain}, {.fd = l->sock}};
	int n, timeout = patience(r);

	if (r->caller_gone && timeout == 0)
		return false;
	what_to_wait_for(r, p);
	do
		n = poll(p, 2, timeout);
	while (n < 0 && errno == EINTR);
	if (p[0].revents & (POLLHUP | POLLERR | POLLNVAL))
		r->caller_gone = true;
	if (r->caller_gone) {
		/* nobody reads: what the server still has to say is of no use */
		if (!(p[0].revents & POLLIN) && r->plain_ended && !link_queued(l))
			return false;
		r->start = r->end = 0;
	}
	return n > 0 || (n == 0 && timeout == 0);
}

void tls_relay(struct tls *t, int plain)
{
	struct relay r = {.t = t, .plain = plain, .buf = xmalloc(PLAIN_SIZE), .out = xmalloc(PLAIN_SIZE)};

	do {
		from_server(&r);
		to_caller(&r);
		from_caller(&r);
		to_server(&r);
	} while (!done(&r) && wait_relay(&r));
	free(r.buf);
	free(r.out);
}
