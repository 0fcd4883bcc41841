/* HTTP/1.1 over a UNIX socket or the stream of a dial; the parsing is in client_parse.c. */
#include "http/client.h"

#include <ctype.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/timeutil.h"

#define READ_SIZE (64 * 1024)
#define INTERIM_MAX 8  /* answers 1xx before the real one */
#define LOGIN_ROUNDS 3 /* times that one request may ask for a login */
#define LOGIN_BODY_MAX (256u * 1024)
#define HEAD_MS (120 * 1000) /* for a whole head, once its first byte is here: with http_client_set_patience() */

struct http_client {
	char *path;                /* of the UNIX socket; NULL: by the target */
	struct dial_target target; /* of a server far away */
	bool loopback;             /* it is here, and spoken to without TLS */
	char *host;                /* what goes into the Host header, and into messages */
	struct dial_result peer;   /* what the server showed when it was connected to last */
	int fd;
	const struct http_login *login; /* borrowed; may be NULL */
	unsigned tick_ms;               /* see http_client_set_patience(); 0: wait for ever */
	unsigned stall_ms;
	bool used;         /* at least one answer came over this connection */
	size_t start, end; /* bytes read but not used yet */
	char buf[READ_SIZE];
};

void http_client_response_done(struct http_client_response *r)
{
	http_head_done(&r->head);
	strbuf_done(&r->body);
}

/* Like Go prints it: "dial unix /path: connect: no such file or directory". */
static int connect_error(int errnum, const char *path, struct error *err)
{
	auto_free char *text = xstrdup(strerror(errnum));
	int r;

	text[0] = (char)tolower((unsigned char)text[0]);
	r = error_set(err, 503, "dial unix %s: connect: %s", path, text);
	err->errnum = errnum;
	(void)r;
	return -errnum;
}

static int connect_unix(struct http_client *c, struct error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	size_t len = strlen(c->path);

	if (len >= sizeof(addr.sun_path))
		return connect_error(ENAMETOOLONG, c->path, err);
	memcpy(addr.sun_path, c->path, len);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return error_errno(err, errno, "Create a UNIX socket");
	if (connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return connect_error(errno, c->path, err);
	return 0;
}

/* Names are not looked up: `localhost` is one of the two addresses, or nothing. */
static int connect_loopback(struct http_client *c, struct error *err)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)c->target.port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->target.port)};
	bool is_v6 = inet_pton(AF_INET6, c->target.host, &v6.sin6_addr) == 1;
	const char *address = strcasecmp(c->target.host, "localhost") == 0 ? "127.0.0.1" : c->target.host;
	int r;

	if (is_v6 ? !IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr)
		  : inet_pton(AF_INET, address, &v4.sin_addr) != 1 || ntohl(v4.sin_addr.s_addr) >> 24 != 127)
		return error_set(err, 400, "%s is no loopback address: plain HTTP goes nowhere else", c->host);
	c->fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return error_errno(err, errno, "Create a socket");
	r = is_v6 ? connect(c->fd, (struct sockaddr *)&v6, sizeof(v6))
		  : connect(c->fd, (struct sockaddr *)&v4, sizeof(v4));
	return r < 0 ? error_errno(err, errno, "Connect to %s", c->host) : 0;
}

static int connect_tls(struct http_client *c, struct error *err)
{
	c->fd = dial_target_connect(&c->target, &c->peer, err);
	return c->fd < 0 ? -err->errnum : 0;
}

static int client_connect(struct http_client *c, struct error *err)
{
	const struct timeval limit = {c->tick_ms / 1000, c->tick_ms % 1000 * 1000};
	int r;

	c->fd = fd_close(c->fd);
	c->start = c->end = 0;
	c->used = false;
	if (c->path)
		return connect_unix(c, err);
	dial_result_done(&c->peer);
	r = c->loopback ? connect_loopback(c, err) : connect_tls(c, err);
	if (r < 0)
		return r;
	if (c->tick_ms) {
		setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	}
	return 0;
}

int http_client_new(const char *path, struct http_client **ret, struct error *err)
{
	auto_http_client struct http_client *c = xmalloc(sizeof(*c));
	int r;

	*c = (struct http_client){.path = xstrdup(path), .host = xstrdup("unix.socket"), .fd = -EBADF};
	r = client_connect(c, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct http_client *http_client_new_remote(const struct dial_target *t)
{
	struct http_client *c = xmalloc(sizeof(*c));

	*c = (struct http_client){.fd = -EBADF};
	dial_target_copy(&c->target, t);
	c->host = t->port == 443 && !strchr(t->host, ':') ? xstrdup(t->host) : dial_target_authority(t);
	return c;
}

int http_client_again(const struct http_client *c, struct http_client **ret, struct error *err)
{
	int r = 0;

	if (c->loopback)
		*ret = http_client_new_loopback(c->target.host, c->target.port);
	else if (c->path)
		r = http_client_new(c->path, ret, err);
	else
		*ret = http_client_new_remote(&c->target);
	if (r >= 0)
		(*ret)->login = c->login;
	return r;
}

struct http_client *http_client_new_loopback(const char *host, unsigned port)
{
	struct http_client *c = xmalloc(sizeof(*c));

	*c = (struct http_client){.fd = -EBADF, .loopback = true, .target = {.host = xstrdup(host), .port = port}};
	c->host = dial_target_authority(&c->target);
	return c;
}

void http_client_set_login(struct http_client *c, const struct http_login *login)
{
	c->login = login;
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	fd_close(c->fd);
	free(c->path);
	dial_target_done(&c->target);
	free(c->host);
	dial_result_done(&c->peer);
	free(c);
}

bool http_client_is_remote(const struct http_client *c)
{
	return !c->path;
}

const char *http_client_where(const struct http_client *c)
{
	return c->path ? c->path : c->host;
}

const struct dial_result *http_client_peer(const struct http_client *c)
{
	return &c->peer;
}

void http_client_set_patience(struct http_client *c, unsigned tick_ms, unsigned stall_ms)
{
	c->tick_ms = tick_ms;
	c->stall_ms = stall_ms;
}

static int ask(const struct http_client_request *req, struct error *err)
{
	if (!req->interrupted || req->interrupted(req->interrupted_arg) >= 0)
		return 0;
	error_errno(err, EINTR, "Wait for the answer");
	return -EINTR;
}

/* The socket's time limit was met: @since is when bytes moved last. */
static int tick(const struct http_client *c, const struct http_client_request *req, int64_t since, struct error *err)
{
	int r = ask(req, err);

	if (r < 0)
		return r;
	if (time_monotonic_ms() - since < (int64_t)c->stall_ms)
		return 0;
	return error_set(err, 504, "%s does not answer: nothing came for %u seconds", http_client_where(c),
			 c->stall_ms / 1000);
}

static bool is_tick(const struct http_client *c)
{
	return c->tick_ms && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static int send_all(struct http_client *c, const struct http_client_request *req, const char *data, size_t len,
		    int flags, struct error *err)
{
	int64_t since = c->tick_ms ? time_monotonic_ms() : 0;

	while (len) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL | flags);
		int r = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && is_tick(c)) {
			r = tick(c, req, since, err);
			if (r < 0)
				return r;
			continue;
		}
		if (n < 0)
			return error_errno(err, errno, "Send to %s", http_client_where(c));
		data += n;
		len -= (size_t)n;
		since = c->tick_ms ? time_monotonic_ms() : 0;
	}
	return 0;
}

static int send_file(struct http_client *c, const struct http_client_request *req, int fd, uint64_t len,
		     struct error *err)
{
	auto_free char *buf = xmalloc(READ_SIZE);
	int r;

	while (len) {
		ssize_t n = read(fd, buf, (size_t)MIN_OF(len, (uint64_t)READ_SIZE));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, errno, "Read the file to upload");
		if (n == 0)
			return error_set(err, 500, "The file to upload became shorter while it was read");
		r = c->tick_ms ? ask(req, err) : 0;
		if (r == 0)
			r = send_all(c, req, buf, (size_t)n, 0, err);
		if (r < 0)
			return r;
		len -= (uint64_t)n;
	}
	return 0;
}

static void format_head(const struct http_client *c, const struct http_client_request *req, uint64_t body_len,
			struct strbuf *out)
{
	auto_strv struct strv more = STRV_INIT;
	bool has_body = body_len || streq(req->method, "POST") || streq(req->method, "PUT") ||
			streq(req->method, "PATCH");

	if (c->login)
		c->login->headers(c->login, req->path, &more);
	strbuf_appendf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n", req->method, req->path, c->host);
	for (size_t i = 0; req->headers && req->headers[i]; i++)
		strbuf_appendf(out, "%s\r\n", req->headers[i]);
	for (size_t i = 0; i < more.len; i++)
		strbuf_appendf(out, "%s\r\n", more.items[i]);
	if (has_body)
		strbuf_appendf(out, "Content-Length: %llu\r\n", (unsigned long long)body_len);
	strbuf_append(out, "\r\n");
}

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= 0x20 || *s == 0x7f)
			return true;
	return false;
}

static int check_request(const struct http_client_request *req, struct error *err)
{
	if (req->path[0] != '/' || has_control(req->path))
		return error_set(err, 400, "Invalid request path \"%s\"", req->path);
	if (!*req->method || has_control(req->method))
		return error_set(err, 400, "Invalid request method \"%s\"", req->method);
	for (size_t i = 0; req->headers && req->headers[i]; i++)
		if (strpbrk(req->headers[i], "\r\n"))
			return error_set(err, 400, "Invalid request header: it holds a line break");
	return 0;
}

/* A small body in memory goes out with the head in one write. */
static int send_request(struct http_client *c, const struct http_client_request *req, struct error *err)
{
	auto_strbuf struct strbuf head = STRBUF_INIT;
	uint64_t total = 0;
	int r;

	for (size_t i = 0; i < req->body_count; i++)
		total += req->body[i].len;
	format_head(c, req, total, &head);
	if (req->body_count == 1 && req->body[0].data && req->body[0].len < READ_SIZE) {
		strbuf_append_len(&head, req->body[0].data, (size_t)req->body[0].len);
		return send_all(c, req, head.data, head.len, 0, err);
	}
	r = send_all(c, req, head.data, head.len, req->body_count ? MSG_MORE : 0, err);
	for (size_t i = 0; r >= 0 && i < req->body_count; i++) {
		const struct http_piece *p = &req->body[i];

		if (p->data)
			r = send_all(c, req, p->data, (size_t)p->len, 0, err);
		else
			r = send_file(c, req, p->fd, p->len, err);
	}
	return r;
}

/* Read more into the buffer; 0 at end of stream. */
static ssize_t fill(struct http_client *c, const struct http_client_request *req, struct error *err)
{
	int64_t since = c->tick_ms ? time_monotonic_ms() : 0;
	ssize_t n;

	if (c->start == c->end)
		c->start = c->end = 0;
	if (c->end == sizeof(c->buf)) {
		memmove(c->buf, c->buf + c->start, c->end - c->start);
		c->end -= c->start;
		c->start = 0;
	}
	if (c->end == sizeof(c->buf))
		return error_set(err, 500, "Malformed HTTP response: head is too long");
	/* a server that always has a little more must not keep us from asking */
	if (c->tick_ms && ask(req, err) < 0)
		return -EINTR;
	for (;;) {
		n = read(c->fd, c->buf + c->end, sizeof(c->buf) - c->end);
		if (n >= 0)
			break;
		if (is_tick(c)) {
			int r = tick(c, req, since, err);

			if (r < 0)
				return r;
			continue;
		}
		if (errno != EINTR)
			return error_errno(err, errno, "Read from %s", http_client_where(c));
		if (ask(req, err) < 0)
			return -EINTR;
	}
	c->end += (size_t)n;
	return n;
}

static int read_head(struct http_client *c, const struct http_client_request *req, struct http_head *head,
		     struct error *err)
{
	int64_t begun = 0;
	unsigned interim = 0;
	size_t len;
	ssize_t n;
	int r;

	for (;;) {
		len = http_head_length(c->buf + c->start, c->end - c->start);
		if (len) {
			r = http_head_parse(c->buf + c->start, len, streq(req->method, "HEAD"), head, err);
			if (r < 0)
				return r;
			c->start += len;
			if (head->status >= 200 || head->status == 101)
				return 0;
			http_head_done(head); /* 1xx: the real one follows */
			if (++interim > INTERIM_MAX)
				return error_set(err, 502, "%s: more than %d interim answers", http_client_where(c),
						 INTERIM_MAX);
			continue;
		}
		if (c->tick_ms && !begun && c->end > c->start)
			begun = time_monotonic_ms();
		if (begun && time_monotonic_ms() - begun > HEAD_MS)
			return error_set(err, 504, "%s does not complete the head of its answer", http_client_where(c));
		n = fill(c, req, err);
		if (n < 0)
			return (int)n;
		if (n == 0) {
			error_set(err, 500, "The server closed the connection without an answer");
			err->errnum = EPIPE;
			return -EPIPE;
		}
	}
}

static int body_to_memory(void *arg, const void *data, size_t len, struct error *err)
{
	struct strbuf *b = arg;

	strbuf_append_len(b, data, len);
	if (b->truncated)
		return error_set(err, 500, "The server's answer is too large");
	return 0;
}

static int read_chunked(struct http_client *c, const struct http_client_request *req, http_data_fn fn, void *arg,
			struct error *err)
{
	struct http_chunked state = HTTP_CHUNKED_INIT;
	size_t used;
	ssize_t n;
	int r;

	for (;;) {
		r = http_chunked_feed(&state, c->buf + c->start, c->end - c->start, &used, fn, arg, err);
		if (r < 0)
			return r;
		c->start += used;
		if (state.state == HTTP_CHUNK_DONE)
			return 0;
		n = fill(c, req, err);
		if (n < 0)
			return (int)n;
		if (n == 0)
			return error_set(err, 500, "The server's answer ended early");
	}
}

/* A body of known length, or up to the end of the stream. */
static int read_plain(struct http_client *c, const struct http_client_request *req, uint64_t left, bool until_close,
		      http_data_fn fn, void *arg, struct error *err)
{
	ssize_t n;
	int r;

	while (left) {
		size_t have = (size_t)MIN_OF((uint64_t)(c->end - c->start), left);

		if (have) {
			r = fn(arg, c->buf + c->start, have, err);
			if (r < 0)
				return r;
			c->start += have;
			left -= until_close ? 0 : have;
			continue;
		}
		n = fill(c, req, err);
		if (n < 0)
			return (int)n;
		if (n == 0)
			return until_close ? 0 : error_set(err, 500, "The server's answer ended early");
	}
	return 0;
}

static int read_body(struct http_client *c, const struct http_client_request *req, struct http_client_response *resp,
		     struct error *err)
{
	bool to_sink = req->sink && resp->head.status == 200;
	http_data_fn fn = to_sink ? req->sink : body_to_memory;
	void *arg = to_sink ? req->sink_arg : &resp->body;

	resp->body.max = req->body_max ? req->body_max : HTTP_CLIENT_BODY_MAX;
	if (c->login && resp->head.status == 401)
		resp->body.max = LOGIN_BODY_MAX;
	if (req->on_head && resp->head.status == 200) {
		int r = req->on_head(req->sink_arg, &resp->head, err);

		if (r < 0)
			return r;
	}
	switch (resp->head.body) {
	case HTTP_BODY_NONE:
		return 0;
	case HTTP_BODY_LENGTH:
		return read_plain(c, req, resp->head.length, false, fn, arg, err);
	case HTTP_BODY_CHUNKED:
		return read_chunked(c, req, fn, arg, err);
	case HTTP_BODY_UNTIL_CLOSE:
		/* over TLS an attacker could cut it short unseen */
		if (!c->path && !c->loopback)
			return error_set(err, 500, "The server's answer has no length");
		return read_plain(c, req, UINT64_MAX, true, fn, arg, err);
	}
	return 0;
}

static bool can_repeat(const struct http_client_request *req)
{
	for (size_t i = 0; i < req->body_count; i++)
		if (!req->body[i].data)
			return false;
	return streq(req->method, "GET") || streq(req->method, "HEAD");
}

/* Servers on the network close connections that were idle; what may not be sent twice must not find that out late. */
static bool is_stale(const struct http_client *c)
{
	char byte;

	return !c->path && c->used && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* As Go's client begins such messages: `Get "https://192.0.2.1:8443/1.0": ...`. */
static int wrap_connect(const struct http_client *c, const struct http_client_request *req, struct error *err)
{
	auto_free char *method = xstrdup(req->method);
	const char *scheme = c->loopback ? "http" : "https";

	if (c->path)
		return -err->errnum;
	for (char *p = method; *p && p[1]; p++)
		p[1] = (char)tolower((unsigned char)p[1]);
	/* a query may hold a secret */
	return error_wrap(err, "%s \"%s://%s%.*s\"", method, scheme, c->host, (int)strcspn(req->path, "?"), req->path);
}

/* Send and read the head. A kept connection that the server has closed meanwhile is made anew, once. */
static int exchange_head(struct http_client *c, const struct http_client_request *req, struct http_head *head,
			 struct error *err)
{
	bool reused;
	int r;

	r = check_request(req, err);
	if (r < 0)
		return r;
	if (c->fd < 0 || is_stale(c)) {
		r = client_connect(c, err);
		if (r < 0)
			return wrap_connect(c, req, err);
	}
	for (;;) {
		reused = c->used;
		r = send_request(c, req, err);
		if (r >= 0 || r == -EPIPE || r == -ECONNRESET) {
			/* a server may refuse a body and close: its answer is worth reading */
			auto_error struct error e = ERROR_INIT;
			int rr = read_head(c, req, head, &e);

			if (rr >= 0)
				return 0;
			if (r >= 0)
				r = error_move(err, &e);
		}
		if (!(reused && can_repeat(req) && (r == -EPIPE || r == -ECONNRESET)))
			return r;
		error_clear(err);
		r = client_connect(c, err);
		if (r < 0)
			return wrap_connect(c, req, err);
	}
}

static int send_once(struct http_client *c, const struct http_client_request *req, struct http_client_response *resp,
		     struct error *err)
{
	int r = exchange_head(c, req, &resp->head, err);

	if (r >= 0)
		r = read_body(c, req, resp, err);
	c->used = true;
	if (r < 0 || !resp->head.keep_alive)
		c->fd = fd_close(c->fd);
	return r;
}

/* Where the files of a body begin: @ret has room for all pieces. -1 for what cannot be read twice. */
static void note_positions(const struct http_client_request *req, off_t *ret)
{
	for (size_t i = 0; i < req->body_count; i++)
		ret[i] = req->body[i].data ? 0 : lseek(req->body[i].fd, 0, SEEK_CUR);
}

static int rewind_body(const struct http_client_request *req, const off_t *positions, struct error *err)
{
	for (size_t i = 0; i < req->body_count; i++) {
		if (req->body[i].data)
			continue;
		if (positions[i] < 0 || lseek(req->body[i].fd, positions[i], SEEK_SET) < 0)
			return error_set(err, 401,
					 "The server wants a new login, and what is sent cannot be read twice: log in "
					 "with another command first");
	}
	return 0;
}

int http_client_send(struct http_client *c, const struct http_client_request *req, struct http_client_response *resp,
		     struct error *err)
{
	auto_free off_t *positions = xnew_array(off_t, req->body_count + 1);
	int r;

	note_positions(req, positions);
	for (int round = 0;; round++) {
		r = send_once(c, req, resp, err);
		if (r < 0 || !c->login || resp->head.status != 401)
			return r;
		if (round == LOGIN_ROUNDS)
			return error_set(err, 401, "%s: too many (%d) discharge requests", http_client_where(c),
					 LOGIN_ROUNDS);
		r = c->login->refused(c->login, req, resp, err);
		if (r > 0)
			r = rewind_body(req, positions, err) < 0 ? -err->errnum : 1;
		if (r <= 0)
			return r;
		http_client_response_done(resp);
		*resp = HTTP_CLIENT_RESPONSE_INIT;
	}
}

int http_client_upgrade(struct http_client *c, const struct http_client_request *req, struct http_client_response *resp,
			int *ret_fd, struct strbuf *ret_extra, struct error *err)
{
	int r = exchange_head(c, req, &resp->head, err);

	if (r < 0)
		return r;
	if (resp->head.status != 101) {
		r = read_body(c, req, resp, err);
		if (r < 0)
			return r;
		error_set(err, resp->head.status >= 400 ? resp->head.status : 500,
			  "The server refused the websocket (status %d)", resp->head.status);
		return -EPROTO;
	}
	strbuf_append_len(ret_extra, c->buf + c->start, c->end - c->start);
	*ret_fd = TAKE_FD(c->fd);
	return 0;
}

void url_escape(struct strbuf *out, const char *text)
{
	for (; *text; text++) {
		unsigned char ch = (unsigned char)*text;

		if (isalnum(ch) || strchr("-._~", ch))
			strbuf_append_char(out, (char)ch);
		else
			strbuf_appendf(out, "%%%02X", ch);
	}
}

char *url_escaped(const char *text)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	url_escape(&b, text);
	return strbuf_take(&b);
}
