/* The caller's side of lxd-dial: start it, tell it where to go, hear how it went. */
#include "http/dial.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "base/wire.h"
#include "base/wire_dial.h"

#define TIMEOUT_MS 30000u
#define SLACK_MS 5000u /* for starting the program, and for what it does beside waiting */
#define STREAM_ROOM (512 * 1024)

void dial_result_done(struct dial_result *r)
{
	free(r->leaf_pem);
	free(r->tls_version);
	free(r->cipher);
	*r = DIAL_RESULT_INIT;
}

void dial_target_done(struct dial_target *t)
{
	free(t->host);
	free(t->proxy);
	free(t->ca_pem);
	strv_done(&t->pins);
	free(t->client_cert);
	if (t->client_key)
		explicit_bzero(t->client_key, strlen(t->client_key));
	free(t->client_key);
	*t = DIAL_TARGET_INIT;
}

void dial_target_copy(struct dial_target *dst, const struct dial_target *src)
{
	*dst = (struct dial_target){
		.host = xstrdup_null(src->host),
		.port = src->port,
		.flags = src->flags,
		.proxy = xstrdup_null(src->proxy),
		.ca_pem = xstrdup_null(src->ca_pem),
		.client_cert = xstrdup_null(src->client_cert),
		.client_key = xstrdup_null(src->client_key),
	};
	strv_copy(&dst->pins, &src->pins);
}

char *dial_target_authority(const struct dial_target *t)
{
	return xasprintf(strchr(t->host, ':') ? "[%s]:%u" : "%s:%u", t->host, t->port);
}

/* --- URLs --- */

static int bad_url(const char *url, const char *why, struct error *err)
{
	/* a query may hold a secret */
	return error_set(err, 400, "Invalid URL \"%.*s\": %s", (int)strcspn(url, "?"), url, why);
}

static bool is_host(const char *host)
{
	for (; *host; host++)
		if ((unsigned char)*host <= 0x20 || *host == 0x7f || strchr("/?#@\"<>\\^`{|}", *host))
			return false;
	return true;
}

/* Cut "host[:port]" or "[address]:port" in place; -EINVAL. */
static int split_authority(char *text, char **ret_host, const char **ret_port)
{
	char *end;

	*ret_port = NULL;
	*ret_host = text;
	if (*text == '[') {
		unsigned char raw[16];

		end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		*end++ = '\0';
		*ret_host = text + 1;
		/* a zone may follow the address */
		if (!strchr(text + 1, '%') && inet_pton(AF_INET6, text + 1, raw) != 1)
			return -EINVAL;
	} else {
		end = strchr(text, ':');
		if (!end)
			return 0;
	}
	if (*end == ':') {
		*end = '\0';
		*ret_port = end + 1;
	}
	return 0;
}

int dial_target_parse(const char *url, unsigned default_port, struct dial_target *ret, char **ret_path,
		      struct error *err)
{
	const char *rest = startswith(url, "https://");
	auto_free char *authority = NULL;
	const char *port;
	char *host;
	uint64_t number = default_port;
	size_t len;

	if (!rest)
		return bad_url(url, "only https:// is supported", err);
	len = strcspn(rest, "/?#");
	authority = xstrndup(rest, len);
	if (strchr(authority, '@'))
		return bad_url(url, "it must not hold a user name", err);
	if (split_authority(authority, &host, &port) < 0 || !*host || !is_host(host))
		return bad_url(url, "the host is not valid", err);
	if (!str_is_empty(port) && (parse_u64(port, &number) < 0 || number == 0 || number > 65535))
		return bad_url(url, "the port is not valid", err);
	for (const char *p = rest + len; *p; p++)
		if ((unsigned char)*p <= 0x20 || *p == 0x7f)
			return bad_url(url, "it holds a blank or a control character", err);
	ret->host = xstrdup(host);
	ret->port = (unsigned)number;
	if (ret_path)
		*ret_path = xstrdup(rest + len);
	return 0;
}

int dial_pem_fingerprint(const char *pem, char ret[65], struct error *err)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
	const char *from = strstr(pem, begin);
	const char *to = from ? strstr(from, end) : NULL;
	auto_strbuf struct strbuf der = STRBUF_INIT;
	auto_free char *text = NULL;

	if (to)
		text = xstrndup(from + strlen(begin), (size_t)(to - from) - strlen(begin));
	if (!text || base64_decode(text, &der) < 0 || !der.len)
		return error_set(err, 400, "The certificate is not in PEM form");
	sha256_hex(der.data, der.len, ret);
	return 0;
}

/* --- proxies --- */

static bool is_loopback(const char *host)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* The address as bytes; its length, or 0. */
static size_t to_bytes(const char *host, unsigned char raw[16])
{
	if (inet_pton(AF_INET, host, raw) == 1)
		return 4;
	return inet_pton(AF_INET6, host, raw) == 1 ? 16 : 0;
}

static bool in_network(const char *host, const char *address, const char *bits_text)
{
	unsigned char a[16], b[16];
	size_t len = to_bytes(host, a);
	uint64_t bits;

	if (len == 0 || to_bytes(address, b) != len || parse_u64(bits_text, &bits) < 0 || bits > 8 * len)
		return false;
	if (memcmp(a, b, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8)) == 0;
}

/* @domain is ".example.com" (subdomains) or "example.com" (it and they). */
static bool in_domain(const char *host, const char *domain)
{
	size_t n = strlen(domain), len = strlen(host);

	if (*domain == '*')
		domain++, n--;
	if (*domain == '.')
		return len > n && strcasecmp(host + len - n, domain) == 0;
	if (strcasecmp(host, domain) == 0)
		return true;
	return len > n && host[len - n - 1] == '.' && strcasecmp(host + len - n, domain) == 0;
}

/* One entry of the list; it is cut up. */
static bool is_exempt(char *entry, const char *host, unsigned port)
{
	unsigned char raw[16], ours[16];
	char *slash = strchr(entry, '/'), *name;
	const char *port_text;
	uint64_t number;
	size_t len;

	if (streq(entry, "*"))
		return true;
	if (slash) {
		*slash = '\0';
		return in_network(host, entry, slash + 1);
	}
	len = to_bytes(entry, raw);
	if (len)
		return to_bytes(host, ours) == len && memcmp(raw, ours, len) == 0;
	if (split_authority(entry, &name, &port_text) < 0)
		return false;
	if (port_text && (parse_u64(port_text, &number) < 0 || number != port))
		return false;
	len = to_bytes(name, raw);
	if (len)
		return to_bytes(host, ours) == len && memcmp(raw, ours, len) == 0;
	return *name && in_domain(host, name);
}

char *dial_proxy_pick(const char *proxy, const char *no_proxy, const char *host, unsigned port)
{
	auto_strv struct strv entries = STRV_INIT;

	if (str_is_empty(proxy) || is_loopback(host))
		return NULL;
	strv_split(&entries, no_proxy ? no_proxy : "", ',');
	for (size_t i = 0; i < entries.len; i++) {
		char *entry = str_strip(entries.items[i]);

		if (*entry && is_exempt(entry, host, port))
			return NULL;
	}
	return strstr(proxy, "://") ? xstrdup(proxy) : xasprintf("http://%s", proxy);
}

static const char *env_any(const char *upper, const char *lower)
{
	const char *v = getenv(upper);

	return str_is_empty(v) ? getenv(lower) : v;
}

char *dial_proxy_from_env(const char *host, unsigned port)
{
	return dial_proxy_pick(env_any("HTTPS_PROXY", "https_proxy"), env_any("NO_PROXY", "no_proxy"), host, port);
}

/* --- the program --- */

static int start(int control, int stream, struct error *err)
{
	static const char *const passed[] = {"SSL_CERT_FILE", "SSL_CERT_DIR"};
	auto_free char *program = process_helper_path("lxd-dial");
	auto_strv struct strv env = STRV_INIT;
	const char *argv[] = {program, NULL};
	const int fds[] = {control, stream};
	struct process_spec spec = PROCESS_SPEC_INIT;
	pid_t pid;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
		if (getenv(passed[i]))
			strv_addf(&env, "%s=%s", passed[i], getenv(passed[i]));
	strv_add(&env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
	spec.argv = argv;
	spec.env = (const char *const *)env.items;
	spec.fds = fds;
	spec.nfds = ARRAY_SIZE(fds);
	r = process_spawn(&spec, &pid, NULL, err);
	if (r < 0)
		return r;
	/* it detaches from us at once: nobody has to collect it later */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

static int send_request(int control, const struct dial_spec *spec, unsigned timeout_ms, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	int r;

	wire_put_u32(&b, WIRE_DIAL_MAGIC);
	wire_put_u32(&b, spec->flags);
	wire_put_str(&b, spec->host);
	wire_put_u32(&b, spec->port);
	wire_put_str(&b, spec->proxy);
	wire_put_str(&b, spec->ca_pem);
	wire_put_list(&b, spec->pins ? (const char *const *)spec->pins->items : NULL);
	wire_put_str(&b, spec->client_cert);
	wire_put_str(&b, spec->client_key);
	wire_put_u32(&b, timeout_ms);
	r = wire_send(control, &b, NULL, 0);
	explicit_bzero(b.data, b.len);
	return r < 0 ? error_errno(err, -r, "Speak to lxd-dial") : 0;
}

static int read_reply(struct wire_reader *w, struct dial_result *ret, struct error *err)
{
	uint32_t magic = wire_get_u32(w);
	auto_free char *fingerprint = NULL;
	uint32_t failed;

	ret->leaf_pem = wire_get_str(w);
	fingerprint = wire_get_str(w);
	ret->accepted_by = wire_get_u32(w);
	ret->tls_version = wire_get_str(w);
	ret->cipher = wire_get_str(w);
	failed = wire_get_u32(w);
	if (magic != WIRE_DIAL_MAGIC || !fingerprint || strlen(fingerprint) >= sizeof(ret->fingerprint) ||
	    (!failed && !wire_done(w)))
		return error_set(err, 500, "The answer of lxd-dial is malformed");
	memcpy(ret->fingerprint, fingerprint, strlen(fingerprint) + 1);
	return failed ? wire_get_error(w, err) : 0;
}

static int wait_reply(int control, unsigned timeout_ms, struct dial_result *ret, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	struct pollfd p = {.fd = control, .events = POLLIN};
	int64_t deadline = time_monotonic_ms() + timeout_ms + SLACK_MS;
	int n;

	do {
		int64_t left = deadline - time_monotonic_ms();

		n = poll(&p, 1, (int)MAX_OF(left, 0));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return error_set(err, 503, "dial tcp: i/o timeout");
	n = wire_recv(control, &m);
	if (n <= 0)
		return error_set(err, 500, "lxd-dial ended without an answer");
	return read_reply(&m.reader, ret, err);
}

int dial_connect(const struct dial_spec *spec, struct dial_result *ret, struct error *err)
{
	auto_dial_result struct dial_result local = DIAL_RESULT_INIT;
	struct dial_result *result = ret ? ret : &local;
	auto_close int control = -EBADF, stream = -EBADF, their_control = -EBADF, their_stream = -EBADF;
	unsigned timeout_ms = spec->timeout_ms ? spec->timeout_ms : TIMEOUT_MS;
	int pair[2], room = STREAM_ROOM, r;

	r = wire_pair(pair, err);
	if (r < 0)
		return r;
	control = pair[0];
	their_control = pair[1];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, errno, "Create socket pair");
	stream = pair[0];
	their_stream = pair[1];
	setsockopt(stream, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	setsockopt(their_stream, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	/* first the request, so that the program finds it there */
	r = send_request(control, spec, timeout_ms, err);
	if (r == 0)
		r = start(their_control, their_stream, err);
	if (r < 0)
		return r;
	their_control = fd_close(their_control);
	their_stream = fd_close(their_stream);
	r = wait_reply(control, timeout_ms, result, err);
	return r < 0 ? r : TAKE_FD(stream);
}

int dial_target_connect(const struct dial_target *t, struct dial_result *ret, struct error *err)
{
	struct dial_spec spec = {
		.host = t->host,
		.port = t->port,
		.flags = t->flags,
		.proxy = t->proxy,
		.ca_pem = t->ca_pem,
		.pins = t->pins.len ? &t->pins : NULL,
		.client_cert = t->client_cert,
		.client_key = t->client_key,
	};

	return dial_connect(&spec, ret, err);
}
