/* Envelopes and operations of the REST API, over http/client.c. */
#include "http/client_api.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/path.h"
#include "base/str.h"

char *api_default_socket(void)
{
	const char *socket = getenv("LXD_SOCKET");
	const char *dir = getenv("LXD_DIR");

	if (!str_is_empty(socket))
		return xstrdup(socket);
	return path_join(str_is_empty(dir) ? "/var/lib/lxd" : dir, "unix.socket");
}

static struct api *api_new(struct http_client *http, const char *project)
{
	struct api *a = xnew(struct api);

	a->http = http;
	a->project = xstrdup_null(project);
	return a;
}

int api_open(const char *socket_path, const char *project, struct api **ret, struct error *err)
{
	struct http_client *http = NULL;
	int r = http_client_new(socket_path, &http, err);

	if (r < 0)
		return r;
	*ret = api_new(http, project);
	return 0;
}

struct api *api_open_remote(const struct dial_target *t, const char *project)
{
	return api_new(http_client_new_remote(t), project);
}

int api_open_again(const struct api *a, struct api **ret, struct error *err)
{
	struct http_client *http = NULL;
	int r = http_client_again(a->http, &http, err);

	if (r < 0)
		return r;
	*ret = api_new(http, a->project);
	return 0;
}

void api_close(struct api *a)
{
	if (!a)
		return;
	http_client_free(a->http);
	free(a->project);
	free(a);
}

void api_reply_done(struct api_reply *r)
{
	json_free(r->body);
	free(r->etag);
	free(r->operation);
	*r = API_REPLY_INIT;
}

static bool names_project(const char *path)
{
	const char *query = strchr(path, '?');

	return query &&
	       (startswith(query + 1, "project=") || strstr(query, "&project=") || strstr(query, "all-projects=true"));
}

char *api_path(const struct api *a, const char *path)
{
	auto_free char *project = NULL;

	if (str_is_empty(a->project) || streq(a->project, "default") || names_project(path))
		return xstrdup(path);
	project = url_escaped(a->project);
	return xasprintf("%s%cproject=%s", path, strchr(path, '?') ? '&' : '?', project);
}

int api_response_error(const struct http_client_response *resp, struct error *err)
{
	auto_json struct json *body = NULL;
	auto_error struct error e = ERROR_INIT;
	const char *text = NULL;

	if (resp->head.status < 400)
		return 0;
	if (json_parse(strbuf_str(&resp->body), resp->body.len, &body, &e) < 0)
		error_ignore(&e, "the status says enough");
	else
		text = json_get_str(body, "error");
	if (str_is_empty(text))
		return error_set(err, resp->head.status, "The server answered with status %d", resp->head.status);
	return error_set(err, resp->head.status, "%s", text);
}

PRINTF_LIKE(2, 3) static void debug(const struct api *a, const char *fmt, ...)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	strbuf_vappendf(&b, fmt, ap);
	va_end(ap);
	a->debug(strbuf_str(&b));
	explicit_bzero(b.data, b.len);
}

int api_send_raw(struct api *a, const struct http_client_request *req, struct http_client_response *resp,
		 struct error *err)
{
	struct http_client_request mine = *req;
	auto_free char *path = api_path(a, req->path);
	int r;

	mine.path = path;
	mine.interrupted = a->interrupted;
	mine.interrupted_arg = a->interrupted_arg;
	if (a->debug) {
		debug(a, "%s %s", req->method, path);
		if (req->body_count == 1 && req->body[0].data)
			debug(a, "> %.*s", (int)MIN_OF(req->body[0].len, (uint64_t)65536),
			      (const char *)req->body[0].data);
	}
	r = http_client_send(a->http, &mine, resp, err);
	if (r >= 0 && a->debug)
		debug(a, "< %d %s", resp->head.status, strbuf_str(&resp->body));
	return r;
}

bool api_is_operation(const char *path)
{
	static const char prefix[] = "/1.0/operations/";
	auto_free char *id = NULL;

	if (!path || !startswith(path, prefix))
		return false;
	path += strlen(prefix);
	id = xstrndup(path, strcspn(path, "?"));
	return uuid_is_valid(id);
}

int api_send(struct api *a, const struct http_client_request *req, struct api_reply *ret, struct error *err)
{
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	const char *type, *op;
	int r;

	r = api_send_raw(a, req, &resp, err);
	if (r < 0)
		return r;
	r = api_response_error(&resp, err);
	if (r < 0)
		return r;
	r = json_parse(strbuf_str(&resp.body), resp.body.len, &ret->body, err);
	if (r < 0)
		return error_wrap(err, "Read the server's answer to %s %s", req->method, req->path);
	type = json_get_str(ret->body, "type");
	if (!type)
		return error_set(err, 500, "The server's answer to %s %s is no API answer", req->method, req->path);
	ret->status = resp.head.status;
	ret->metadata = json_get(ret->body, "metadata");
	ret->etag = xstrdup_null(strmap_get(&resp.head.headers, "etag"));
	op = json_get_str(ret->body, "operation");
	if (!streq(type, "async"))
		return 0;
	if (!api_is_operation(op))
		return error_set(err, 500, "The server's answer to %s %s names no operation", req->method, req->path);
	ret->operation = xstrdup(op);
	return 0;
}

int api_call(struct api *a, const char *method, const char *path, const char *body, const char *etag,
	     struct api_reply *ret, struct error *err)
{
	auto_free char *if_match = etag ? xasprintf("If-Match: %s", etag) : NULL;
	const char *headers[3];
	size_t n = 0;
	struct http_piece piece = {.data = body, .len = body ? strlen(body) : 0};
	struct http_client_request req = {.method = method, .path = path, .headers = headers};

	if (body) {
		headers[n++] = "Content-Type: application/json";
		req.body = &piece;
		req.body_count = 1;
	}
	if (if_match)
		headers[n++] = if_match;
	headers[n] = NULL;
	return api_send(a, &req, ret, err);
}

int api_get(struct api *a, const char *path, struct api_reply *ret, struct error *err)
{
	return api_call(a, "GET", path, NULL, NULL, ret, err);
}

bool api_has_extension(const struct json *server, const char *name)
{
	const struct json *list = json_get(server, "api_extensions");

	for (size_t i = 0; i < json_len(list); i++)
		if (json_str(json_at(list, i)) && streq(json_str(json_at(list, i)), name))
			return true;
	return false;
}

/* The operation's end: 0, or its failure. */
static int operation_result(const struct json *op, struct error *err)
{
	int64_t code = json_int(json_get(op, "status_code"));
	const char *text = json_get_str(op, "err");

	if (code == 200)
		return 0;
	if (!str_is_empty(text))
		return error_set(err, 400, "%s", text);
	return error_set(err, 400, "The operation ended as %s", code == 401 ? "cancelled" : "failed");
}

int api_wait(struct api *a, const char *path, api_progress_fn progress, void *arg, struct json **ret_op,
	     struct error *err)
{
	auto_free char *id = xstrndup(path, strcspn(path, "?"));
	const char *query = strchr(path, '?');
	auto_free char *url = xasprintf("%s/wait%s%ctimeout=%d", id, query ? query : "", query ? '&' : '?',
					progress ? 1 : -1);
	int r;

	for (;;) {
		auto_api_reply struct api_reply reply = API_REPLY_INIT;

		r = api_get(a, url, &reply, err);
		if (r < 0)
			return r;
		if (json_int(json_get(reply.metadata, "status_code")) < 200) {
			if (progress)
				progress(arg, reply.metadata);
			continue;
		}
		r = operation_result(reply.metadata, err);
		if (ret_op) {
			auto_error struct error e = ERROR_INIT;
			auto_free char *text = json_to_text(reply.metadata);

			if (json_parse(text, strlen(text), ret_op, &e) < 0)
				return r < 0 ? r : error_move(err, &e);
		}
		return r;
	}
}

int api_do(struct api *a, const char *method, const char *path, const char *body, const char *etag, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r;

	r = api_call(a, method, path, body, etag, &reply, err);
	if (r < 0 || !reply.operation)
		return r;
	return api_wait(a, reply.operation, NULL, NULL, NULL, err);
}
