#include "http/server.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <microhttpd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/strv.h"

#define CONNECTIONS_MAX 4096
#define CONNECTION_MEMORY (64 * 1024)
#define STACK_BYTES (256 * 1024)

static const char *const method_names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

struct http_server {
	struct MHD_Daemon *daemon;
	struct http_handlers handlers;
};

/* One request on its way through the library's repeated callbacks. */
struct exchange {
	struct http_request req;
	struct error failed; /* set while the body still arrives: the answer waits for its end */
	bool refused;
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

void http_upgrade_close(void *handle)
{
	MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}

struct upgrade {
	http_upgrade_fn fn;
	void *arg;
};

static void on_upgrade(void *cls, struct MHD_Connection *connection UNUSED, void *con_cls UNUSED, const char *extra,
		       size_t extra_size, MHD_socket sock, struct MHD_UpgradeResponseHandle *urh)
{
	auto_free struct upgrade *u = cls;

	u->fn(sock, urh, extra, extra_size, u->arg);
}

static struct MHD_Response *make_response(struct http_response *resp)
{
	size_t len = resp->body.len;

	if (resp->upgrade) {
		struct upgrade *u = xnew(struct upgrade);

		u->fn = resp->upgrade;
		u->arg = resp->upgrade_arg;
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

static enum MHD_Result send_response(struct MHD_Connection *c, struct http_response *resp)
{
	struct MHD_Response *r = make_response(resp);
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

static void read_peer(struct MHD_Connection *c, struct http_peer *peer)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct ucred cred;
	socklen_t len = sizeof(cred);

	*peer = (struct http_peer){.uid = (uid_t)-1};
	if (info && getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0) {
		peer->local = true;
		peer->uid = cred.uid;
		peer->pid = cred.pid;
	}
}

static struct exchange *exchange_new(struct MHD_Connection *c, const char *url, const char *method)
{
	struct exchange *x = xnew(struct exchange);

	x->req.method = method_parse(method);
	x->req.method_name = method;
	x->req.path = url;
	x->req.body_max = 0;
	x->req.library = c;
	read_peer(c, &x->req.peer);
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
	if (*con_cls)
		exchange_free(*con_cls);
	*con_cls = NULL;
}

static enum MHD_Result answer(struct exchange *x, struct http_response *resp)
{
	if (x->req.close_after && !resp->upgrade)
		http_response_header(resp, "Connection", "close");
	return send_response(x->req.library, resp);
}

static enum MHD_Result answer_error(struct http_server *s, struct exchange *x)
{
	struct http_response resp = {.status = x->failed.status, .fd = -EBADF};

	s->handlers.fail(&resp, &x->failed, s->handlers.arg);
	return answer(x, &resp);
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
		x = *con_cls = exchange_new(c, url, method);
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
	return answer(x, &resp);
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
	strbuf_vappendf(&b, fmt, ap);
	log_debug("http library", LOG_STR("message", strbuf_str(&b)));
}

int http_server_start(int fd, const struct http_handlers *handlers, struct http_server **ret, struct error *err)
{
	struct http_server *s = xnew(struct http_server);

	s->handlers = *handlers;
	s->daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
					     MHD_USE_ITC | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG,
				     0, NULL, NULL, on_access, s, MHD_OPTION_EXTERNAL_LOGGER, library_log, NULL,
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned)CONNECTIONS_MAX, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
				     MHD_OPTION_UNESCAPE_CALLBACK, keep_escaped, NULL, MHD_OPTION_NOTIFY_COMPLETED,
				     on_completed, NULL, MHD_OPTION_END);
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
	free(s);
}
