#include "http/server.h"

#include <ctype.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <microhttpd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/strv.h"
#include "base/thread.h"

#define CONNECTIONS_MAX 4096
#define REMOTE_MAX 3584               /* of them; the rest is kept for local callers, whatever comes from the network */
#define CONNECTION_MEMORY (32 * 1024) /* a request head must fit; all of it is touched for each request */
#define STACK_BYTES (256 * 1024)

static const char *const method_names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

#define REMOTE_IDLE_S 120 /* a remote connection on which nothing moves, and no handler works, is closed */

/* An upgraded connection, from the 101 answer until http_upgrade_close(). */
struct upgraded {
	struct http_server *server;
	struct MHD_UpgradeResponseHandle *library;
	int fd;      /* the library's */
	void *owner; /* as request.owner; NULL: nobody's */
	bool foreign;
	struct upgraded *next, **link;
};

/*
 * A remote peer whose connection the library has not told us about yet. It is found by its socket's inode, which no
 * other socket has: the library may drop a connection silently, and then the fd's number is soon another's.
 */
struct arrival {
	int fd;
	ino_t inode;
	struct http_tls_peer *peer;
	struct arrival *next;
};

/* Connections of one known certificate. */
struct claim {
	char fingerprint[65];
	unsigned n;
	struct claim *next;
};

struct http_server {
	struct MHD_Daemon *daemon;
	struct http_handlers handlers;
	struct sockaddr_un name; /* of the listening socket: what is accepted on it bears it */
	_Atomic int remote;      /* connections that have a peer, or are on their way */
	struct mutex lock;
	struct upgraded *upgraded GUARDED_BY(lock);
	struct arrival *arrivals GUARDED_BY(lock);
	struct claim *claims GUARDED_BY(lock);
	struct http_tls_peer *peers GUARDED_BY(lock); /* newest first */
};

/* One request on its way through the library's repeated callbacks. */
struct exchange {
	struct http_request req;
	struct error failed; /* set while the body still arrives: the answer waits for its end */
	bool refused;
	bool upgraded;
	struct strv decoded; /* query values that http_query() has decoded */
};

const char *http_method_name(enum http_method m)
{
	return method_names[m];
}

static enum http_method method_parse(const char *name)
{
	for (int i = 0; i < HTTP_METHOD_MAX; i++)
		if (streq(name, method_names[i]))
			return (enum http_method)i;
	return HTTP_METHOD_INVALID;
}

const char *http_header(const struct http_request *req, const char *name)
{
	return MHD_lookup_connection_value(req->library, MHD_HEADER_KIND, name);
}

struct header_visit {
	const char *name;
	void (*fn)(const char *value, void *arg);
	void *arg;
};

static enum MHD_Result visit_header(void *cls, enum MHD_ValueKind kind UNUSED, const char *key, const char *value)
{
	const struct header_visit *v = cls;

	if (value && strcasecmp(key, v->name) == 0)
		v->fn(value, v->arg);
	return MHD_YES;
}

void http_each_header(const struct http_request *req, const char *name, void (*fn)(const char *value, void *arg),
		      void *arg)
{
	struct header_visit v = {name, fn, arg};

	MHD_get_connection_values(req->library, MHD_HEADER_KIND, visit_header, &v);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *http_decode(const char *s, size_t len)
{
	auto_free char *out = xmalloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)s[i];

		if (c == '%') {
			int hi = i + 1 < len ? hex_digit(s[i + 1]) : -1;
			int lo = i + 2 < len ? hex_digit(s[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return NULL;
			c = hi * 16 + lo;
			i += 2;
		}
		if (!c)
			return NULL;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return TAKE_PTR(out);
}

char *http_encode(const char *s)
{
	struct strbuf b = STRBUF_INIT;

	for (; *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._~", *s))
			strbuf_append_char(&b, *s);
		else
			strbuf_appendf(&b, "%%%02X", (unsigned char)*s);
	}
	return strbuf_take(&b);
}

const char *http_query(const struct http_request *req, const char *name)
{
	struct exchange *x = container_of((struct http_request *)(uintptr_t)req, struct exchange, req);
	const char *raw = MHD_lookup_connection_value(req->library, MHD_GET_ARGUMENT_KIND, name);
	char *text;

	if (!raw || !strchr(raw, '%'))
		return raw;
	text = http_decode(raw, strlen(raw));
	if (!text)
		return raw;
	strv_take(&x->decoded, text);
	return text;
}

void http_response_header(struct http_response *resp, const char *name, const char *value)
{
	if (resp->n_headers == ARRAY_SIZE(resp->headers))
		abort();
	resp->headers[resp->n_headers].name = xstrdup(name);
	resp->headers[resp->n_headers++].value = xstrdup(value);
}

static void response_done(struct http_response *resp)
{
	strbuf_done(&resp->body);
	fd_close(resp->fd);
	for (size_t i = 0; i < resp->n_headers; i++) {
		free(resp->headers[i].name);
		free(resp->headers[i].value);
	}
}

void http_tls_peer_free(struct http_tls_peer *p)
{
	if (!p)
		return;
	free(p->address);
	free(p->host);
	free(p->leaf);
	free(p->cipher);
	free(p);
}

void http_upgrade_close(void *handle)
{
	auto_free struct upgraded *u = handle;
	struct http_server *s = u->server;

	/* the fd goes back to the system below: nobody may find it any more */
	mutex_lock(&s->lock);
	*u->link = u->next;
	if (u->next)
		u->next->link = u->link;
	mutex_unlock(&s->lock);
	MHD_upgrade_action(u->library, MHD_UPGRADE_ACTION_CLOSE);
	free(u->owner);
}

bool http_server_park(struct http_server *s, uint64_t number)
{
	struct http_tls_peer *p;
	bool idle;

	mutex_lock(&s->lock);
	for (p = s->peers; p && p->connection != number; p = p->next)
		;
	idle = p && p->unlimited && !p->busy;
	/* the library sees its end, and closes it */
	if (idle)
		shutdown(p->fd, SHUT_RDWR);
	mutex_unlock(&s->lock);
	return idle;
}

static void peer_enter(struct http_server *s, struct http_tls_peer *p, int fd)
{
	p->fd = fd;
	mutex_lock(&s->lock);
	p->next = s->peers;
	p->link = &s->peers;
	if (p->next)
		p->next->link = &p->next;
	s->peers = p;
	mutex_unlock(&s->lock);
}

/* Before the library closes the fd. */
static void peer_leave(struct http_server *s, struct http_tls_peer *p)
{
	mutex_lock(&s->lock);
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	mutex_unlock(&s->lock);
}

static void note_busy(const struct http_request *req, bool busy)
{
	struct http_tls_peer *p = (struct http_tls_peer *)(uintptr_t)req->peer.tls;

	if (p)
		p->busy = busy;
}

static struct claim **find_claim_locked(struct http_server *s, const char *fingerprint) REQUIRES(s->lock)
{
	struct claim **at = &s->claims;

	while (*at && !streq((*at)->fingerprint, fingerprint))
		at = &(*at)->next;
	return at;
}

int http_server_claim(struct http_server *s, const struct http_tls_peer *p, unsigned max)
{
	struct http_tls_peer *mine = (struct http_tls_peer *)(uintptr_t)p;
	struct claim **at;
	int r = 1;

	if (mine->claimed)
		return 0;
	mutex_lock(&s->lock);
	at = find_claim_locked(s, p->fingerprint);
	if (!*at) {
		*at = xnew(struct claim);
		snprintf((*at)->fingerprint, sizeof((*at)->fingerprint), "%s", p->fingerprint);
	}
	if ((*at)->n >= max)
		r = -EUSERS;
	else
		(*at)->n++;
	mutex_unlock(&s->lock);
	mine->claimed = r > 0;
	mine->unlimited = max == UINT_MAX;
	return r;
}

static void unclaim(struct http_server *s, const struct http_tls_peer *p)
{
	struct claim **at, *c;

	if (!p->claimed)
		return;
	mutex_lock(&s->lock);
	at = find_claim_locked(s, p->fingerprint);
	c = *at;
	if (c && --c->n == 0) {
		*at = c->next;
		free(c);
	}
	mutex_unlock(&s->lock);
}

static void recheck_locked(struct http_server *s, const struct upgraded *u, bool authority) REQUIRES(s->lock)
{
	if (!u->owner || !s->handlers.holds)
		return;
	if ((authority && u->foreign) || !s->handlers.holds(u->owner, s->handlers.arg))
		shutdown(u->fd, SHUT_RDWR);
}

void http_server_recheck(struct http_server *s, bool authority)
{
	mutex_lock(&s->lock);
	for (const struct upgraded *u = s->upgraded; u; u = u->next)
		recheck_locked(s, u, authority);
	mutex_unlock(&s->lock);
}

struct upgrade {
	http_upgrade_fn fn;
	void *arg;
	struct http_server *server;
	void *owner;
	bool foreign;
};

static void on_upgrade(void *cls, struct MHD_Connection *connection UNUSED, void *con_cls UNUSED, const char *extra,
		       size_t extra_size, MHD_socket sock, struct MHD_UpgradeResponseHandle *urh)
{
	auto_free struct upgrade *u = cls;
	struct http_server *s = u->server;
	struct upgraded *up = xnew(struct upgraded);

	*up = (struct upgraded){.server = s, .library = urh, .fd = sock, .owner = u->owner, .foreign = u->foreign};
	mutex_lock(&s->lock);
	up->next = s->upgraded;
	up->link = &s->upgraded;
	if (up->next)
		up->next->link = &up->next;
	s->upgraded = up;
	/* trust may have changed since the request was let in, before it could be found here */
	recheck_locked(s, up, false);
	mutex_unlock(&s->lock);
	u->fn(sock, up, extra, extra_size, u->arg);
}

static struct MHD_Response *make_response(struct http_server *s, const struct http_request *req,
					  struct http_response *resp)
{
	size_t len = resp->body.len;

	if (resp->upgrade) {
		struct upgrade *u = xnew(struct upgrade);

		u->fn = resp->upgrade;
		u->arg = resp->upgrade_arg;
		u->server = s;
		u->foreign = req->foreign;
		if (req->owner) {
			u->owner = xmalloc(req->owner_len);
			memcpy(u->owner, req->owner, req->owner_len);
		}
		return MHD_create_response_for_upgrade(on_upgrade, u);
	}
	if (resp->fd >= 0) {
		struct stat st;

		if (fstat(resp->fd, &st) < 0)
			return NULL;
		return MHD_create_response_from_fd64((uint64_t)st.st_size, TAKE_FD(resp->fd));
	}
	return MHD_create_response_from_buffer(len, strbuf_take(&resp->body), MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result send_response(struct http_server *s, const struct http_request *req, struct http_response *resp)
{
	struct MHD_Connection *c = req->library;
	struct MHD_Response *r = make_response(s, req, resp);
	enum MHD_Result ok = MHD_NO;

	if (r) {
		for (size_t i = 0; i < resp->n_headers; i++)
			MHD_add_response_header(r, resp->headers[i].name, resp->headers[i].value);
		ok = MHD_queue_response(c, (unsigned)resp->status, r);
		MHD_destroy_response(r);
	}
	response_done(resp);
	return ok;
}

/* Was it accepted on the listening socket? Only such a connection bears its name. */
static bool is_local(const struct http_server *s, int fd)
{
	struct sockaddr_un name = {0};
	socklen_t len = sizeof(name);

	return *s->name.sun_path && getsockname(fd, (struct sockaddr *)&name, &len) == 0 &&
	       name.sun_family == AF_UNIX && memcmp(name.sun_path, s->name.sun_path, sizeof(name.sun_path)) == 0;
}

/* The gate's connections have their peer; what has neither peer nor name is nobody's, and a stranger. */
static void read_peer(const struct http_server *s, struct MHD_Connection *c, struct http_peer *peer)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct ucred cred;
	socklen_t len = sizeof(cred);

	*peer = (struct http_peer){.uid = (uid_t)-1};
	if (info && info->socket_context) {
		peer->tls = info->socket_context;
		return;
	}
	info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info && is_local(s, info->connect_fd) &&
	    getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0) {
		peer->local = true;
		peer->uid = cred.uid;
		peer->pid = cred.pid;
	}
}

static struct exchange *exchange_new(const struct http_server *s, struct MHD_Connection *c, const char *url,
				     const char *method)
{
	struct exchange *x = xnew(struct exchange);

	x->req.method = method_parse(method);
	x->req.method_name = method;
	x->req.path = url;
	x->req.body_max = 0;
	x->req.library = c;
	read_peer(s, c, &x->req.peer);
	return x;
}

static void exchange_free(struct exchange *x)
{
	if (x->req.user_free)
		x->req.user_free(x->req.user);
	strbuf_done(&x->req.body);
	strv_done(&x->decoded);
	error_clear(&x->failed);
	free(x);
}

static void on_completed(void *cls UNUSED, struct MHD_Connection *c UNUSED, void **con_cls,
			 enum MHD_RequestTerminationCode toe UNUSED)
{
	struct exchange *x = *con_cls;

	if (!x)
		return;
	if (x->req.done)
		x->req.done(x->req.done_arg);
	/* an upgraded connection is never between two requests */
	if (!x->upgraded)
		note_busy(&x->req, false);
	exchange_free(x);
	*con_cls = NULL;
}

static enum MHD_Result answer(struct http_server *s, struct exchange *x, struct http_response *resp)
{
	x->upgraded = resp->upgrade != NULL;
	if (s->handlers.finish)
		s->handlers.finish(&x->req, resp, s->handlers.arg);
	if (x->req.close_after && !resp->upgrade)
		http_response_header(resp, "Connection", "close");
	return send_response(s, &x->req, resp);
}

static enum MHD_Result answer_error(struct http_server *s, struct exchange *x)
{
	struct http_response resp = {.status = x->failed.status, .fd = -EBADF};

	s->handlers.fail(&resp, &x->failed, s->handlers.arg);
	return answer(s, x, &resp);
}

static void take_body(struct exchange *x, const char *data, size_t len)
{
	struct http_request *req = &x->req;

	if (x->refused)
		return;
	if (req->sink) {
		x->refused = req->sink(req, data, len, &x->failed) < 0;
		return;
	}
	if (len > req->body_max || req->body.len > req->body_max - len) {
		error_set(&x->failed, 413, "Request body is larger than %zu bytes", req->body_max);
		x->refused = true;
		return;
	}
	strbuf_append_len(&req->body, data, len);
}

/* 0 when nothing, or nothing sensible, is declared: then the bytes are counted as they come. */
static uint64_t declared_length(const struct http_request *req)
{
	const char *text = http_header(req, "Content-Length");
	uint64_t len;

	return text && parse_u64(text, &len) == 0 ? len : 0;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *c, const char *url, const char *method,
				 const char *version UNUSED, const char *upload_data, size_t *upload_data_size,
				 void **con_cls)
{
	struct http_server *s = cls;
	struct exchange *x = *con_cls;
	struct http_response resp = {.status = 200, .fd = -EBADF};

	if (!x) {
		x = *con_cls = exchange_new(s, c, url, method);
		note_busy(&x->req, true);
		if (s->handlers.begin(&x->req, s->handlers.arg, &x->failed) < 0)
			x->refused = true;
		/* a body that will not be taken need not be sent either */
		if (!x->req.sink && declared_length(&x->req) > x->req.body_max) {
			if (!x->refused)
				error_set(&x->failed, 413, "Request body is larger than %zu bytes", x->req.body_max);
			return answer_error(s, x);
		}
		return MHD_YES;
	}
	if (*upload_data_size) {
		take_body(x, upload_data, *upload_data_size);
		*upload_data_size = 0;
		return MHD_YES;
	}
	if (x->refused)
		return answer_error(s, x);
	s->handlers.handle(&x->req, &resp, s->handlers.arg);
	return answer(s, x, &resp);
}

/* The peer that http_server_add() left for @fd, or NULL: then the connection is a local one. */
static struct http_tls_peer *arrival_take(struct http_server *s, int fd)
{
	struct http_tls_peer *peer = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return NULL;
	mutex_lock(&s->lock);
	for (struct arrival **at = &s->arrivals; *at; at = &(*at)->next) {
		if ((*at)->fd == fd && (*at)->inode == st.st_ino) {
			auto_free struct arrival *found = *at;

			*at = found->next;
			peer = found->peer;
			break;
		}
	}
	mutex_unlock(&s->lock);
	return peer;
}

/* Note that @a's connection is on its way; who was noted under the same fd before it never came. */
static void arrival_add(struct http_server *s, struct arrival *a)
{
	struct arrival *next;

	mutex_lock(&s->lock);
	for (struct arrival **at = &s->arrivals; *at;) {
		if ((*at)->fd != a->fd) {
			at = &(*at)->next;
			continue;
		}
		next = (*at)->next;
		http_tls_peer_free((*at)->peer);
		free(*at);
		*at = next;
		s->remote--;
	}
	a->next = s->arrivals;
	s->arrivals = a;
	mutex_unlock(&s->lock);
}

/* A connection begins, before its first request is read, or has ended. */
static void on_connection(void *cls, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode code)
{
	struct http_server *s = cls;
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (*context) {
			s->remote--;
			unclaim(s, *context);
			peer_leave(s, *context);
		}
		http_tls_peer_free(*context);
		*context = NULL;
		return;
	}
	info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	*context = info ? arrival_take(s, info->connect_fd) : NULL;
	if (!*context)
		return;
	peer_enter(s, *context, info->connect_fd);
	MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)REMOTE_IDLE_S);
}

/* One end of a socket pair, as the gate makes them. */
static bool is_nameless_stream(int fd)
{
	int domain = 0, type = 0;
	socklen_t domain_len = sizeof(domain), type_len = sizeof(type), name_len = sizeof(struct sockaddr_un);
	struct sockaddr_un name;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_STREAM &&
	       getsockname(fd, (struct sockaddr *)&name, &name_len) == 0 &&
	       name_len <= offsetof(struct sockaddr_un, sun_path);
}

int http_server_add(struct http_server *s, int fd, struct http_tls_peer *peer, struct error *err)
{
	const struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct arrival *a = xnew(struct arrival);
	struct stat st;

	if (!is_nameless_stream(fd) || fstat(fd, &st) < 0 || s->remote >= REMOTE_MAX) {
		free(a);
		http_tls_peer_free(peer);
		fd_close(fd);
		return error_set(err, 503, "Too many connections, or none that is one");
	}
	s->remote++;
	*a = (struct arrival){.fd = fd, .inode = st.st_ino, .peer = peer};
	arrival_add(s, a);
	/* the library closes the fd when it refuses, too; what was noted goes with the next one of the same number */
	if (MHD_add_connection(s->daemon, fd, (const struct sockaddr *)&addr, sizeof(addr)) != MHD_YES)
		return error_set(err, 503, "Too many connections");
	return 0;
}

/* Path and query stay as sent; the API layer decodes each path segment, so that %2F stays inside one. */
static size_t keep_escaped(void *cls UNUSED, struct MHD_Connection *c UNUSED, char *s)
{
	return strlen(s);
}

static PRINTF_LIKE(2, 0) void library_log(void *cls UNUSED, const char *fmt, va_list ap)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	if (!log_enabled(LOG_LEVEL_DEBUG))
		return;
	/* what it tries on a UNIX socket, and that this failed, is not worth a line at each answer */
	if (strstr(fmt, "option to") || strstr(fmt, "push the data"))
		return;
	strbuf_vappendf(&b, fmt, ap);
	log_debug("http library", LOG_STR("message", strbuf_str(&b)));
}

int http_server_start(int fd, const struct http_handlers *handlers, struct http_server **ret, struct error *err)
{
	struct http_server *s = xnew(struct http_server);
	socklen_t name_len = sizeof(s->name);

	s->handlers = *handlers;
	mutex_init(&s->lock);
	if (getsockname(fd, (struct sockaddr *)&s->name, &name_len) < 0 || s->name.sun_family != AF_UNIX)
		s->name = (struct sockaddr_un){0};
	s->daemon = MHD_start_daemon(
		MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC |
			MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG,
		0, NULL, NULL, on_access, s, MHD_OPTION_EXTERNAL_LOGGER, library_log, NULL, MHD_OPTION_LISTEN_SOCKET,
		fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_THREAD_STACK_SIZE,
		(size_t)STACK_BYTES, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_escaped, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_END);
	if (!s->daemon) {
		free(s);
		fd_close(fd);
		return error_set(err, 500, "Start HTTP server: the library refused");
	}
	*ret = s;
	return 0;
}

void http_server_quiesce(struct http_server *s)
{
	int fd = MHD_quiesce_daemon(s->daemon);

	fd_close(fd);
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	MHD_stop_daemon(s->daemon);
	mutex_done(&s->lock);
	free(s);
}
