/* The TCP connection: finding the server, trying its addresses, and the buffers in front of the socket. */
#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "dial/dial.h"

#define CONNECT_MS 10000 /* for one address */

static bool is_ipv6(const char *host)
{
	return strchr(host, ':') != NULL;
}

/* "host:port", with brackets where they are needed. */
static char *join_host_port(const char *host, unsigned port)
{
	return is_ipv6(host) ? xasprintf("[%s]:%u", host, port) : xasprintf("%s:%u", host, port);
}

/* Like Go prints an errno. */
static char *errno_text(int errnum)
{
	char *text = xstrdup(errnum == ETIMEDOUT ? "i/o timeout" : strerror(errnum));

	text[0] = (char)tolower((unsigned char)text[0]);
	return text;
}

static void address_text(const struct sockaddr *addr, socklen_t len, char *buf, size_t size)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getnameinfo(addr, len, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(buf, size, "?");
	else
		snprintf(buf, size, is_ipv6(host) ? "[%.45s]:%.5s" : "%.45s:%.5s", host, port);
}

/* Until @fd can be used (1), the time is over (0), or the caller is gone (-EPIPE). */
static int wait_for(int fd, short events, int control, int64_t deadline_ms)
{
	for (;;) {
		struct pollfd p[2] = {{.fd = fd, .events = events}, {.fd = control}};
		int64_t left = deadline_ms - time_monotonic_ms();
		int n = left > 0 ? poll(p, 2, (int)MIN_OF(left, 1000000)) : 0;

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[0].revents)
			return 1;
		if (n > 0 && p[1].revents)
			return -EPIPE;
		if (n == 0 && left <= 0)
			return 0;
	}
}

/* A connected socket, or negative errno. */
static int connect_one(const struct addrinfo *a, int control, int64_t deadline_ms)
{
	auto_close int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	int one = 1, errnum = 0, r;
	socklen_t len = sizeof(errnum);

	if (fd < 0)
		return -errno;
	if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		r = wait_for(fd, POLLOUT, control, MIN_OF(deadline_ms, time_monotonic_ms() + CONNECT_MS));
		if (r <= 0)
			return r < 0 ? r : -ETIMEDOUT;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &len) < 0 || errnum)
			return -(errnum ? errnum : errno);
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	return TAKE_FD(fd);
}

static int connect_any(const struct addrinfo *list, const char *where, int control, int64_t deadline_ms, struct link *l,
		       struct error *err)
{
	auto_strbuf struct strbuf tried = STRBUF_INIT;

	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		int r = connect_one(a, control, deadline_ms);
		auto_free char *why = NULL;

		address_text(a->ai_addr, a->ai_addrlen, l->remote, sizeof(l->remote));
		if (r >= 0) {
			struct sockaddr_storage self = {0};
			socklen_t len = sizeof(self);

			l->sock = r;
			if (getsockname(r, (struct sockaddr *)&self, &len) == 0)
				address_text((struct sockaddr *)&self, len, l->local, sizeof(l->local));
			return 0;
		}
		if (r == -EPIPE)
			return error_set(err, 503, "The caller is gone");
		why = errno_text(-r);
		strbuf_appendf(&tried, r == -ETIMEDOUT ? "%sdial tcp %s: %s" : "%sdial tcp %s: connect: %s",
			       tried.len ? " " : "", l->remote, why);
	}
	return error_set(err, 503, "Unable to connect to: %s ([%s])", where, strbuf_str(&tried));
}

static int lookup(const char *host, unsigned port, struct addrinfo **ret, struct error *err)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP, .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG};
	char service[8];
	int r;

	snprintf(service, sizeof(service), "%u", port);
	hints.ai_flags |= AI_NUMERICHOST;
	hints.ai_flags &= ~AI_ADDRCONFIG;
	r = getaddrinfo(host, service, &hints, ret);
	if (r == EAI_NONAME) {
		/* AI_ADDRCONFIG does not count loopback addresses, so it is not of use everywhere */
		hints.ai_flags = AI_NUMERICSERV;
		r = getaddrinfo(host, service, &hints, ret);
	}
	if (r == 0)
		return 0;
	if (r == EAI_NONAME || r == EAI_NODATA)
		return error_set(err, 503, "lookup %s: no such host", host);
	return error_set(err, 503, "lookup %s: %s", host, r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
}

struct proxy {
	char *host;
	unsigned port;
	char *credentials; /* "user:password", or NULL */
};

static void proxy_done(struct proxy *p)
{
	free(p->host);
	if (p->credentials)
		explicit_bzero(p->credentials, strlen(p->credentials));
	free(p->credentials);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoding in place; false for a bad escape or a NUL. */
static bool decode(char *s)
{
	char *out = s;

	for (; *s; s++) {
		int hi, lo;

		if (*s != '%') {
			*out++ = *s;
			continue;
		}
		hi = hex_digit(s[1]);
		lo = hi < 0 ? -1 : hex_digit(s[2]);
		if (lo < 0 || (hi == 0 && lo == 0))
			return false;
		*out++ = (char)(hi * 16 + lo);
		s += 2;
	}
	*out = '\0';
	return true;
}

static int bad_proxy(const char *why, struct error *err)
{
	/* the text itself may hold a password */
	return error_set(err, 400, "Invalid proxy address: %s", why);
}

/* "http://[user:password@]host[:port][/]" */
static int proxy_parse(const char *text, struct proxy *ret, struct error *err)
{
	const char *rest = startswith(text, "http://");
	auto_free char *copy = NULL;
	char *at, *host, *colon;
	uint64_t port = 80;

	if (!rest)
		return bad_proxy("only http:// proxies are supported", err);
	copy = xstrndup(rest, strcspn(rest, "/?#"));
	at = strrchr(copy, '@');
	if (at) {
		*at = '\0';
		ret->credentials = xstrdup(copy);
		if (!decode(ret->credentials))
			return bad_proxy("bad escape in the credentials", err);
	}
	host = at ? at + 1 : copy;
	if (*host == '[') {
		char *end = strchr(++host, ']');

		if (!end)
			return bad_proxy("\"]\" is missing", err);
		*end = '\0';
		colon = end[1] ? end + 1 : NULL;
		if (colon && *colon != ':')
			return bad_proxy("something follows the \"]\"", err);
	} else {
		colon = strchr(host, ':');
	}
	if (colon && colon[1] && (parse_u64(colon + 1, &port) < 0 || port == 0 || port > 65535))
		return bad_proxy("the port is no port", err);
	if (colon && *colon == ':')
		*colon = '\0';
	if (!*host)
		return bad_proxy("the host is missing", err);
	ret->host = xstrdup(host);
	ret->port = (unsigned)port;
	return 0;
}

int link_connect(const struct dial_request *req, int control, struct link *ret, struct error *err)
{
	CLEANUP(proxy_done) struct proxy proxy = {0};
	struct addrinfo *list = NULL;
	auto_free char *where = NULL;
	const char *host = req->host;
	unsigned port = req->port;
	int r = 0;

	*ret = (struct link){.sock = -EBADF, .control = control};
	ret->deadline_ms = time_monotonic_ms() + req->timeout_ms;
	if (req->proxy)
		r = proxy_parse(req->proxy, &proxy, err);
	if (r < 0)
		return r;
	if (req->proxy) {
		host = proxy.host;
		port = proxy.port;
	}
	where = join_host_port(host, port);
	r = lookup(host, port, &list, err);
	if (r == 0)
		r = connect_any(list, where, control, ret->deadline_ms, ret, err);
	if (list)
		freeaddrinfo(list);
	if (r < 0)
		return req->proxy ? error_wrap(err, "proxyconnect tcp") : r;
	ret->in = xmalloc(LINK_IN_SIZE);
	ret->out = xmalloc(LINK_OUT_SIZE);
	return 0;
}

void link_done(struct link *l)
{
	l->sock = fd_close(l->sock);
	free(l->in);
	free(l->out);
	l->in = l->out = NULL;
}

/* Bytes from the socket into the empty buffer. */
static ssize_t receive(struct link *l)
{
	ssize_t n;

	do
		n = recv(l->sock, l->in, LINK_IN_SIZE, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	l->in_start = 0;
	l->in_end = (size_t)n;
	if (n == 0)
		l->eof = true;
	return n;
}

ssize_t link_read(struct link *l, void *buf, size_t len)
{
	size_t have = l->in_end - l->in_start;

	while (have == 0 && !l->eof) {
		int r = l->deadline_ms ? link_flush(l) : 0;
		ssize_t n = r < 0 ? r : receive(l);

		if (n == -EAGAIN && l->deadline_ms) {
			r = wait_for(l->sock, POLLIN, l->control, l->deadline_ms);
			n = r == 0 ? -ETIMEDOUT : r;
		}
		if (n < 0) {
			if (n != -EAGAIN)
				l->errnum = (int)-n;
			return n;
		}
		have = l->in_end - l->in_start;
	}
	len = MIN_OF(len, have);
	memcpy(buf, l->in + l->in_start, len);
	l->in_start += len;
	return (ssize_t)len;
}

void link_queue(struct link *l, const void *data, size_t len)
{
	if (l->out_start == l->out_end)
		l->out_start = l->out_end = 0;
	if (len > LINK_OUT_SIZE - l->out_end) {
		memmove(l->out, l->out + l->out_start, l->out_end - l->out_start);
		l->out_end -= l->out_start;
		l->out_start = 0;
	}
	if (len > LINK_OUT_SIZE - l->out_end)
		abort(); /* the relay reads only as much as there is room for */
	memcpy(l->out + l->out_end, data, len);
	l->out_end += len;
}

int link_flush(struct link *l)
{
	while (l->out_start < l->out_end) {
		ssize_t n = send(l->sock, l->out + l->out_start, l->out_end - l->out_start,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		int r;

		if (n > 0) {
			l->out_start += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			l->errnum = errno;
			return -errno;
		}
		if (!l->deadline_ms)
			return -EAGAIN;
		r = wait_for(l->sock, POLLOUT, l->control, l->deadline_ms);
		if (r <= 0) {
			l->errnum = r < 0 ? -r : ETIMEDOUT;
			return -l->errnum;
		}
	}
	return 0;
}

#define PROXY_HEAD_MAX (16u * 1024)

/* The answer's head, up to its empty line and not a byte further. */
static int proxy_answer(struct link *l, struct strbuf *head, struct error *err)
{
	while (!head->data || !endswith(head->data, "\r\n\r\n")) {
		char c;
		ssize_t n = link_read(l, &c, 1);

		if (n < 0)
			return error_errno(err, (int)-n, "Read the answer of the proxy %s", l->remote);
		if (n == 0)
			return error_set(err, 503, "The proxy %s closed the connection", l->remote);
		if (head->len >= PROXY_HEAD_MAX || !c)
			return error_set(err, 503, "The proxy %s does not speak HTTP", l->remote);
		strbuf_append_char(head, c);
	}
	return 0;
}

static int proxy_judge(struct link *l, const char *head, struct error *err)
{
	const char *status = startswith(head, "HTTP/1.1 ");
	auto_free char *line = NULL;

	if (!status)
		status = startswith(head, "HTTP/1.0 ");
	if (!status || !isdigit((unsigned char)status[0]) || !isdigit((unsigned char)status[1]) ||
	    !isdigit((unsigned char)status[2]))
		return error_set(err, 503, "The proxy %s does not speak HTTP", l->remote);
	if (status[0] == '2')
		return 0;
	line = xstrndup(status, strcspn(status, "\r\n"));
	for (char *p = line; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	return error_set(err, 503, "%.200s (proxy %s)", line[3] == ' ' && line[4] ? line + 4 : line, l->remote);
}

int link_through_proxy(struct link *l, const struct dial_request *req, struct error *err)
{
	CLEANUP(proxy_done) struct proxy proxy = {0};
	auto_strbuf struct strbuf text = STRBUF_INIT, head = STRBUF_INIT;
	auto_free char *where = NULL;
	int r;

	if (!req->proxy)
		return 0;
	r = proxy_parse(req->proxy, &proxy, err);
	if (r < 0)
		return r;
	where = join_host_port(req->host, req->port);
	strbuf_appendf(&text, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", where, where);
	if (proxy.credentials) {
		auto_free char *basic = base64_encode(proxy.credentials, strlen(proxy.credentials));

		strbuf_appendf(&text, "Proxy-Authorization: Basic %s\r\n", basic);
	}
	strbuf_append(&text, "\r\n");
	link_queue(l, text.data, text.len);
	r = proxy_answer(l, &head, err);
	return r < 0 ? r : proxy_judge(l, head.data, err);
}
