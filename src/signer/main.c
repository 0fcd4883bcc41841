/*
 * The program lxd-signer: holds the server's private key, so that neither lxd nor the gate, which talks to strangers,
 * has it. It answers requests for one signature each (base/wire_gate.h), a bounded number of them, and nothing else.
 */
#include <poll.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "base/wire.h"
#include "base/wire_gate.h"
#include "signer/key.h"
#include "base/confine.h"

#define KEY_MAX (64u * 1024)
#define REQUEST_MAX 2048 /* bytes of a request; longer ones are malformed */
#define RATE 5000        /* signatures a second, and at once after a pause */
#define COUNTS_MS 1000

struct signer {
	struct signer_key *key;
	struct pollfd sockets[1 + WIRE_SIGNER_THREADS_MAX]; /* the control socket first */
	nfds_t n_sockets;
	int64_t tokens; /* thousandths of signatures that may be made now */
	int64_t filled_at;
	uint64_t made, refused, malformed;
	uint64_t told; /* refused + malformed when they were last told of */
	int64_t told_at;
};

/* A file from its start, at most @max bytes. */
static int read_file(int fd, size_t max, const char *what, struct strbuf *ret, struct error *err)
{
	/* room for all of it from the start: a buffer that grows leaves copies behind */
	strbuf_reserve(ret, max + 1);
	for (;;) {
		ssize_t n = pread(fd, ret->data + ret->len, max + 1 - ret->len, (off_t)ret->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, errno, "Read the %s", what);
		if (n == 0)
			return 0;
		ret->len += (size_t)n;
		if (ret->len > max)
			return error_set(err, 400, "The %s is larger than %zu bytes", what, max);
	}
}

static int load_key(struct signer *s, struct error *err)
{
	auto_strbuf struct strbuf key = STRBUF_INIT, chain = STRBUF_INIT;
	int r = read_file(WIRE_SIGNER_KEY_FD, KEY_MAX, "private key", &key, err);

	if (r == 0)
		r = read_file(WIRE_SIGNER_CERTIFICATE_FD, WIRE_GATE_CHAIN_MAX, "certificate", &chain, err);
	if (r == 0)
		r = signer_key_new(key.data, key.len, chain.data, chain.len, &s->key, err);
	explicit_bzero(key.data, key.cap);
	close(WIRE_SIGNER_KEY_FD);
	close(WIRE_SIGNER_CERTIFICATE_FD);
	return r;
}

static int tell_status(const struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	wire_put_u32(&b, WIRE_SIGNER_STATUS);
	wire_put_u32(&b, (uint32_t)err->status);
	wire_put_str(&b, err->status ? error_msg(err) : NULL);
	return wire_send(WIRE_SIGNER_CONTROL_FD, &b, NULL, 0);
}

/* After refusals, at most once a second. What is not told now is told with the next. */
static void tell_counts(struct signer *s)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	int64_t now = time_monotonic_ms();

	if (s->refused + s->malformed == s->told || now - s->told_at < COUNTS_MS)
		return;
	wire_put_u32(&b, WIRE_SIGNER_COUNTS);
	wire_put_u64(&b, s->made);
	wire_put_u64(&b, s->refused);
	wire_put_u64(&b, s->malformed);
	/* not waiting: a reader that is behind misses some */
	(void)!send(WIRE_SIGNER_CONTROL_FD, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	s->told = s->refused + s->malformed;
	s->told_at = now;
}

static bool token_take(struct signer *s)
{
	int64_t now = time_monotonic_ms();

	s->tokens = MIN_OF(s->tokens + (now - s->filled_at) * RATE, RATE * (int64_t)1000);
	s->filled_at = now;
	if (s->tokens < 1000)
		return false;
	s->tokens -= 1000;
	return true;
}

/* 0 and a signature, or why there is none. */
static uint32_t sign(struct signer *s, struct wire_reader *request, gnutls_datum_t *ret)
{
	uint32_t type = wire_get_u32(request);
	uint32_t algorithm = wire_get_u32(request);
	size_t len;
	const void *digest = wire_get_blob(request, &len);
	int r = -EINVAL;

	if (wire_done(request) && type == WIRE_SIGN && digest) {
		if (!token_take(s)) {
			s->refused++;
			return EBUSY;
		}
		r = signer_key_sign(s->key, algorithm, digest, len, ret);
	}
	if (r == -EINVAL)
		s->malformed++;
	if (r == 0)
		s->made++;
	return (uint32_t)-r;
}

/* One request and its answer; negative when the peer is gone. */
static int serve(struct signer *s, int sock)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	unsigned char data[REQUEST_MAX];
	gnutls_datum_t signature = {0};
	struct wire_reader request = {.data = data};
	/* fds that come along are dropped by the kernel */
	ssize_t n = recv(sock, data, sizeof(data), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	request.len = n > (ssize_t)sizeof(data) ? 0 : (size_t)n;
	wire_put_u32(&b, WIRE_SIGNED);
	wire_put_u32(&b, sign(s, &request, &signature));
	wire_put_blob(&b, signature.data, signature.size);
	gnutls_free(signature.data);
	/* the asker has room for one answer; it waits for it */
	n = send(sock, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : 0;
}

static bool is_anybody_left(const struct signer *s)
{
	for (nfds_t i = 1; i < s->n_sockets; i++)
		if (s->sockets[i].fd >= 0)
			return true;
	return false;
}

/* Until the control socket, or all others, have closed. */
static void run(struct signer *s)
{
	while (is_anybody_left(s)) {
		bool untold = s->refused + s->malformed != s->told;
		int n = poll(s->sockets, s->n_sockets, untold ? COUNTS_MS : -1);

		if (n < 0 && errno != EINTR)
			return;
		/* nothing is ever sent to us there: whatever happens is the end */
		if (n > 0 && s->sockets[0].revents)
			return;
		for (nfds_t i = 1; n > 0 && i < s->n_sockets; i++)
			if (s->sockets[i].revents && serve(s, s->sockets[i].fd) < 0) {
				close(s->sockets[i].fd);
				s->sockets[i].fd = -1;
			}
		tell_counts(s);
	}
}

static int confine(unsigned threads, struct error *err)
{
	static const int calls[] = {SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(recvfrom)};
	struct confine_spec spec = {
		.program = CONFINE_SIGNER,
		.fds_keep = WIRE_SIGNER_SOCKET_FD + threads,
		.nofile = 32,
		.memory_mib = 64,
		.sending = true,
		.calls = calls,
		.n_calls = ARRAY_SIZE(calls),
	};

	return confine_enter(&spec, err);
}

int main(int argc, char **argv)
{
	auto_error struct error err = ERROR_INIT;
	struct signer s = {.tokens = RATE * (int64_t)1000, .filled_at = time_monotonic_ms()};
	uint32_t threads = 0;
	int r;

	if (argc != 2 || parse_u32(argv[1], &threads) < 0 || threads == 0 || threads > WIRE_SIGNER_THREADS_MAX) {
		fprintf(stderr, "lxd-signer is started by lxd: lxd-signer THREADS\n");
		return 2;
	}
	s.n_sockets = 1 + threads;
	s.sockets[0] = (struct pollfd){.fd = WIRE_SIGNER_CONTROL_FD, .events = POLLIN};
	for (unsigned i = 0; i < threads; i++)
		s.sockets[1 + i] = (struct pollfd){.fd = (int)(WIRE_SIGNER_SOCKET_FD + i), .events = POLLIN};
	r = confine(threads, &err);
	if (r == 0)
		r = load_key(&s, &err);
	if (tell_status(&err) == 0 && r == 0)
		run(&s);
	signer_key_free(s.key);
	/* no exit handlers: there is nothing to flush */
	_exit(r < 0 ? 1 : 0);
}
