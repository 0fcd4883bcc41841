/* From a request to its route: path matching, identity, permission, project, body limit; and errors as answers. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/api.h"
#include "api/origin.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/str.h"
#include "base/timeutil.h"

#define BODY_MAX (4u << 20)
#define STRANGERS_BODY_MAX (64u << 10)
#define SEGMENTS_MAX 12
#define RESTRICTED_CONNECTIONS_MAX 256 /* at once, of one certificate */
#define METRICS_CONNECTIONS_MAX 16
#define RESTRICTED_OPERATIONS_MAX 64

/* one a line */
/* clang-format off */
const struct api_route *const api_route_tables[] = {
	api_server_routes,
	api_certificate_routes,
	api_operation_routes,
	api_instance_routes,
	api_state_routes,
	api_exec_routes,
	api_console_routes,
	api_log_routes,
	api_file_routes,
	api_snapshot_routes,
	api_image_routes,
	api_image_remote_routes,
	api_profile_routes,
	api_storage_routes,
	api_network_routes,
	api_project_routes,
	api_resources_routes,
	api_internal_routes,
	api_warning_routes,
	api_audit_routes,
	api_metrics_routes,
	api_auth_routes,
	NULL,
};
/* clang-format on */

/* The paths that older clients use for instances. */
static const char *const instance_prefixes[] = {"instances", "containers", "virtual-machines"};

int api_routes_check(struct error *err)
{
	for (size_t t = 0; api_route_tables[t]; t++) {
		for (const struct api_route *r = api_route_tables[t]; r->path; r++) {
			if (r->perm <= PERM_INVALID || r->perm >= PERM_MAX)
				return error_set(err, 500, "Route %s %s has no permission", http_method_name(r->method),
						 r->path);
			if (!r->handler || !r->doc)
				return error_set(err, 500, "Route %s %s has no handler or doc",
						 http_method_name(r->method), r->path);
		}
	}
	return 0;
}

/* A request path cut at its slashes; each segment still encoded. */
struct segments {
	const char *at[SEGMENTS_MAX];
	size_t len[SEGMENTS_MAX];
	size_t n; /* SEGMENTS_MAX + 1: too many */
};

static struct segments split(const char *path)
{
	struct segments s = {0};

	if (*path == '/')
		path++;
	for (;;) {
		const char *slash = strchrnul(path, '/');

		if (s.n == SEGMENTS_MAX) {
			s.n++;
			return s;
		}
		s.at[s.n] = path;
		s.len[s.n++] = (size_t)(slash - path);
		if (!*slash)
			return s;
		path = slash + 1;
	}
}

static bool segment_is(const struct segments *s, size_t i, const char *text, size_t len)
{
	return s->len[i] == len && memcmp(s->at[i], text, len) == 0;
}

/* Which of the instance prefixes segment 1 is, or NULL. */
static const char *instance_prefix(const struct segments *s)
{
	if (s->n < 2 || !segment_is(s, 0, "1.0", 3))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(instance_prefixes); i++)
		if (segment_is(s, 1, instance_prefixes[i], strlen(instance_prefixes[i])))
			return instance_prefixes[i];
	return NULL;
}

/*
 * Does the path fit the pattern? "{x}" takes one segment, "{x...}" at the end takes all that remain (names that may
 * hold slashes). Segment positions of parameters go to @params.
 */
static bool matches(const char *pattern, const struct segments *s, const char *prefix, size_t params[API_PARAMS_MAX],
		    size_t *n_params)
{
	size_t i = 0;

	*n_params = 0;
	for (pattern++;; i++) {
		const char *end = strchrnul(pattern, '/');
		size_t len = (size_t)(end - pattern);

		if (i >= s->n)
			return false;
		if (*pattern == '{') {
			if (s->len[i] == 0 && i > 0)
				return false;
			params[(*n_params)++] = i;
			if (len > 4 && memcmp(end - 4, "...}", 4) == 0)
				return true;
		} else if (i == 1 && prefix && len == 9 && memcmp(pattern, "instances", 9) == 0) {
			/* any alias fits */
		} else if (!segment_is(s, i, pattern, len)) {
			return false;
		}
		if (!*end)
			return i + 1 == s->n;
		pattern = end + 1;
	}
}

/* The row for path and method; *@ret_known tells whether the path exists with another method. */
static const struct api_route *find_route(struct api_call *c, const struct segments *s, size_t params[API_PARAMS_MAX],
					  size_t *n_params, bool *ret_known)
{
	enum http_method method = c->req->method == HTTP_HEAD ? HTTP_GET : c->req->method;

	*ret_known = false;
	for (size_t t = 0; api_route_tables[t]; t++) {
		for (const struct api_route *r = api_route_tables[t]; r->path; r++) {
			if (!matches(r->path, s, c->prefix, params, n_params))
				continue;
			*ret_known = true;
			if (r->method == method)
				return r;
		}
	}
	return NULL;
}

static int decode_params(struct api_call *c, const struct segments *s, const size_t params[API_PARAMS_MAX], size_t n,
			 struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		size_t seg = params[i];
		bool rest = strstr(c->route->path, "...}") && i + 1 == n;
		size_t len = rest ? strlen(s->at[seg]) : s->len[seg];

		c->params[i] = http_decode(s->at[seg], len);
		if (!c->params[i])
			return error_set(err, 404, "not found");
	}
	return 0;
}

static bool metrics_are_open(struct api *api)
{
	bool wanted;

	mutex_lock(&api->store->lock);
	wanted = strmap_get_bool(&api->store->config, "core.metrics_authentication", true);
	mutex_unlock(&api->store->lock);
	return !wanted;
}

/* What strangers may call at all; the handlers of these routes look at each of them again. */
static bool open_to_strangers(const struct api_call *c)
{
	if (!c->route || (c->req->method != HTTP_GET && c->req->method != HTTP_POST))
		return false;
	if (!str_is_empty(http_header(c->req, "X-LXD-authenticated")))
		return false;
	return c->route->perm == PERM_ANYONE || (c->route->perm == PERM_METRICS && metrics_are_open(c->api));
}

static void become_stranger(struct api_call *c)
{
	c->id.kind = IDENTITY_NONE;
	c->req->body_max = STRANGERS_BODY_MAX;
	c->req->close_after = true;
}

int api_check_project(struct api_call *c, enum permission perm, const char *project, struct error *err)
{
	if (!authorize(&c->id, perm, project))
		return error_set(err, 403, "not authorized");
	if (!store_has_project(c->api->store, project))
		return error_set(err, 404, "Failed loading project \"%s\": Project not found", project);
	return 0;
}

static int check_project(struct api_call *c, struct error *err)
{
	const char *project = http_query(c->req, "project");
	bool all = parse_bool_or(http_query(c->req, "all-projects"), false);

	if (all && project)
		return error_set(err, 400, "Cannot specify a project when requesting all projects");
	c->home = store_effective_project(c->api->store, c->project, c->route->feature);
	if (streq(c->project, "default"))
		return 0;
	/* to strangers a project that is not there looks like one that shows them nothing */
	if (c->id.kind == IDENTITY_NONE)
		return 0;
	/* lists of a project that is not there are empty */
	if (c->route->flags & API_ANY_PROJECT)
		return 0;
	return api_check_project(c, PERM_PROJECT_VIEW, c->project, err);
}

/* The metrics listener knows three paths. */
static bool listener_serves(const struct http_request *req)
{
	return !req->peer.tls || !req->peer.tls->metrics || streq(req->path, "/") || streq(req->path, "/1.0") ||
	       streq(req->path, "/1.0/metrics");
}

static int check_agent(const struct api_call *c, struct error *err)
{
	const char *agent = http_header(c->req, "User-Agent");

	/* other members of a cluster say so; there is none */
	if (c->req->peer.tls && agent && streq(agent, "lxd-cluster-notifier"))
		return error_set(err, 500, "Cluster notification isn't using trusted server certificate");
	return 0;
}

/* A stranger is told where to log in, if it can. */
static int refuse_stranger(struct api_call *c, struct error *err)
{
	int r = c->needs_login ? candid_challenge(c->api->candid, c->req, &c->challenge, err) : 0;

	if (r < 0)
		return r;
	return c->challenge ? error_set(err, 401, "macaroon discharge required: authentication required")
			    : error_set(err, 403, "not authorized");
}

/*
 * Who may do what, in the order that keeps strangers from learning anything: they get the same 403 whether the method,
 * the object or the project is there or not.
 */
static int check_access(struct api_call *c, struct error *err)
{
	const char *project = http_query(c->req, "project");
	int r = check_agent(c, err);

	if (r == 0)
		r = origin_check(c, err);
	if (r < 0)
		return r;
	/* a metrics certificate is a stranger's everywhere but at the metrics */
	if (c->id.kind == IDENTITY_METRICS && (!c->route || c->route->perm != PERM_METRICS))
		become_stranger(c);
	c->project = str_is_empty(project) ? "default" : project;
	if (c->id.kind == IDENTITY_NONE && !open_to_strangers(c))
		return refuse_stranger(c, err);
	if (c->req->method == HTTP_METHOD_INVALID)
		return error_set(err, 404, "Method \"%s\" not found", c->req->method_name);
	if (!c->route)
		return error_set(err, 501, "not implemented");
	if (c->api->shutting_down && c->route->method != HTTP_GET && !(c->route->flags & API_WHILE_STOPPING))
		return error_set(err, 503, "LXD is shutting down");
	if (c->id.kind != IDENTITY_NONE && !authorize(&c->id, c->route->perm, c->project))
		return error_set(err, 403, "not authorized");
	return check_project(c, err);
}

static void call_free(void *arg)
{
	struct api_call *c = arg;

	if (c->upload)
		c->route->upload_free(c->upload);
	for (size_t i = 0; i < API_PARAMS_MAX; i++)
		free(c->params[i]);
	free(c->challenge);
	json_free(c->body);
	free(c);
}

/* A caller whom we know is no stranger to the gate any more; but none but administrators may take all connections. */
static int claim(struct api_call *c, struct error *err)
{
	static const unsigned max[] = {
		[IDENTITY_TLS] = RESTRICTED_CONNECTIONS_MAX,
		[IDENTITY_METRICS] = METRICS_CONNECTIONS_MAX,
		[IDENTITY_CANDID] = RESTRICTED_CONNECTIONS_MAX,
	};
	const struct http_tls_peer *tls = c->req->peer.tls;

	if (!tls || !c->api->remote || c->id.kind == IDENTITY_NONE)
		return 0;
	if (remote_claim(c->api->remote, tls, identity_is_admin(&c->id) ? UINT_MAX : max[c->id.kind]) < 0) {
		c->req->close_after = true;
		return error_set(err, 503, "Too many connections with this certificate");
	}
	/* each operation is a thread, and may be a process or two */
	if (c->route->method != HTTP_GET && !identity_is_admin(&c->id) &&
	    operations_running_of(c->api->operations, &c->id) >= RESTRICTED_OPERATIONS_MAX)
		return error_set(err, 429, "Too many running operations of this certificate");
	return 0;
}

/* By the door and the certificate, or, where the request is one of Candid's protocol, by its macaroons alone. */
static int identify(struct api_call *c, struct error *err)
{
	int r;

	c->id = trust_identify(c->api->trust, &c->req->peer);
	if (!c->api->candid || !candid_concerns(c->api->candid, c->req))
		return 0;
	c->id.kind = IDENTITY_NONE;
	r = candid_identify(c->api->candid, c->req, &c->id, err);
	c->needs_login = r == 0;
	if (r < 0)
		become_stranger(c);
	if (r == 1 && rbac_is_on(c->api->rbac))
		rbac_prepare(c->api->rbac, c->id.user);
	if (r == 1)
		c->id.rights_seen = access_seen(&c->id);
	/* somebody, but nobody who may do anything */
	if (r == 1 && !access_knows(&c->id))
		c->id.kind = IDENTITY_NONE;
	return MIN_OF(r, 0);
}

/* All that is decided before a body is read. */
static int on_begin(struct http_request *req, void *arg, struct error *err)
{
	struct api_call *c = xnew(struct api_call);
	struct segments s = split(req->path);
	size_t params[API_PARAMS_MAX], n = 0;
	bool known;
	int r;

	c->api = arg;
	c->req = req;
	req->user = c;
	req->user_free = call_free;
	req->body_max = BODY_MAX;
	r = identify(c, err);
	req->owner = &c->id;
	req->owner_len = sizeof(c->id);
	if (r < 0 && req->method != HTTP_OPTIONS)
		return r;
	if (c->id.kind == IDENTITY_NONE)
		become_stranger(c);
	if (req->method == HTTP_OPTIONS)
		return 0;
	if (s.n > SEGMENTS_MAX || !listener_serves(req))
		return error_set(err, 404, "not found");
	c->prefix = instance_prefix(&s);
	c->route = find_route(c, &s, params, &n, &known);
	if (!known)
		return error_set(err, 404, "not found");
	if (!c->api->ready && (!c->route || c->route->perm != PERM_INTERNAL || !req->peer.local))
		return error_set(err, 503, "LXD daemon setup in progress");
	r = check_access(c, err);
	if (r < 0 && err->status == 403)
		api_audit_note(c, "request-denied", "denied", NULL);
	if (r == 0)
		r = claim(c, err);
	if (r == 0)
		r = decode_params(c, &s, params, n, err);
	if (r == 0 && c->route->begin)
		r = c->route->begin(c, err);
	return r;
}

static void write_error(struct http_response *resp, const struct error *err)
{
	struct jsonw w;

	strbuf_truncate(&resp->body, 0);
	w = JSONW(&resp->body);
	resp->status = err->status >= 400 && err->status <= 599 ? err->status : 500;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "type", "error");
	jsonw_kv_str(&w, "status", "");
	jsonw_kv_int(&w, "status_code", 0);
	jsonw_kv_str(&w, "operation", "");
	jsonw_kv_int(&w, "error_code", resp->status);
	jsonw_kv_str(&w, "error", error_msg(err));
	jsonw_kv_null(&w, "metadata");
	jsonw_object_end(&w);
	strbuf_append_char(&resp->body, '\n');
	resp->n_headers = 0;
	http_response_header(resp, "Content-Type", "application/json");
	http_response_header(resp, "X-Content-Type-Options", "nosniff");
}

static void on_fail(struct http_response *resp, const struct error *err, void *arg UNUSED)
{
	write_error(resp, err);
}

static void on_handle(struct http_request *req, struct http_response *resp, void *arg UNUSED)
{
	struct api_call *c = req->user;
	auto_error struct error err = ERROR_INIT;
	int r;

	if (req->method == HTTP_OPTIONS) {
		resp->status = 200;
		return;
	}
	c->resp = resp;
	/* a body may have taken its time, and trust may be gone meanwhile */
	if (trust_still_holds(c->api->trust, &c->id)) {
		r = c->route->handler(c, &err);
	} else {
		api_audit_note(c, "request-denied", "denied", NULL);
		r = error_set(&err, 403, "not authorized");
	}
	if (r < 0) {
		log_debug("request failed", LOG_STR("method", req->method_name), LOG_STR("path", req->path),
			  LOG_ERR(&err));
		write_error(resp, &err);
	}
}

/* The answer that Candid's protocol wants in the place of an error. */
static void write_challenge(const struct api_call *c, struct http_response *resp)
{
	strbuf_truncate(&resp->body, 0);
	strbuf_append(&resp->body, c->challenge);
	resp->n_headers = 0;
	http_response_header(resp, "Content-Type", "application/json");
	http_response_header(resp, "WWW-Authenticate", "Macaroon");
}

static void on_finish(struct http_request *req, struct http_response *resp, void *arg)
{
	const struct api_call *c = req->user;

	if (c && c->challenge && resp->status == 401)
		write_challenge(c, resp);
	origin_add_headers(arg, req, resp);
}

static bool on_holds(const void *owner, void *arg)
{
	struct api *api = arg;

	return trust_still_holds(api->trust, owner);
}

struct http_handlers api_http_handlers(struct api *api)
{
	return (struct http_handlers){.begin = on_begin,
				      .handle = on_handle,
				      .fail = on_fail,
				      .finish = on_finish,
				      .holds = on_holds,
				      .arg = api};
}

void api_vouch(struct api_call *c)
{
	if (c->api->remote && c->req->peer.tls)
		remote_vouch(c->api->remote, c->req->peer.tls);
}

int api_audit(struct api_call *c, const char *event, const char *verdict, const char *detail, struct error *err)
{
	const struct audit_entry entry = {.event = event,
					  .verdict = verdict,
					  .id = &c->id,
					  .method = c->req->method_name,
					  .path = c->req->path,
					  .detail = detail};

	return c->api->audit ? audit_write(c->api->audit, &entry, err) : 0;
}

void api_audit_note(struct api_call *c, const char *event, const char *verdict, const char *detail)
{
	auto_error struct error err = ERROR_INIT;

	if (api_audit(c, event, verdict, detail, &err) < 0)
		log_error("cannot write to the audit log", LOG_STR("event", event), LOG_ERR(&err));
}

int api_body(struct api_call *c, const struct json **ret, struct error *err)
{
	if (!c->body) {
		int r;

		if (!c->req->body.len)
			return error_set(err, 400, "Invalid JSON: the request has no body");
		r = json_parse(c->req->body.data, c->req->body.len, &c->body, err);
		if (r < 0)
			return r;
	}
	*ret = c->body;
	return 0;
}

int api_decode(struct api_call *c, const struct json_field *fields, void *dst, uint64_t *ret_given, struct error *err)
{
	const struct json *body = NULL;
	int r = api_body(c, &body, err);

	return r < 0 ? r : json_decode(body, "", fields, dst, ret_given, err);
}

unsigned api_recursion(struct api_call *c)
{
	const char *text = http_query(c->req, "recursion");
	uint32_t v = 0;

	if (!text || parse_u32(text, &v) < 0)
		return 0;
	return v;
}

void api_etag(const char *json, size_t len, char etag[65])
{
	sha256_hex(json, len, etag);
}

int api_check_etag(struct api_call *c, const char *etag, struct error *err)
{
	const char *sent = http_header(c->req, "If-Match");
	size_t len;

	if (str_is_empty(sent))
		return 0;
	len = strlen(sent);
	if (len >= 2 && sent[0] == '"' && sent[len - 1] == '"') {
		sent++;
		len -= 2;
	}
	if (len == strlen(etag) && memcmp(sent, etag, len) == 0)
		return 0;
	return error_set(err, 412, "ETag doesn't match: %s vs %.*s", etag, (int)len, sent);
}

static const char sync_head[] = "{\"type\":\"sync\",\"status\":\"Success\",\"status_code\":200,\"operation\":\"\","
				"\"error_code\":0,\"error\":\"\",\"metadata\":";

struct strbuf *api_sync_begin(struct api_call *c)
{
	strbuf_append_len(&c->resp->body, sync_head, sizeof(sync_head) - 1);
	return &c->resp->body;
}

void api_sync_end(struct api_call *c)
{
	strbuf_append_len(&c->resp->body, "}\n", 2);
	http_response_header(c->resp, "Content-Type", "application/json");
}

void api_sync(struct api_call *c, struct strbuf *metadata)
{
	strbuf_reserve(&c->resp->body, sizeof(sync_head) + metadata->len + 4);
	strbuf_append_len(api_sync_begin(c), metadata->data, metadata->len);
	strbuf_done(metadata);
	api_sync_end(c);
}

void api_sync_etag(struct api_call *c, struct strbuf *metadata, const char *etag)
{
	auto_free char *quoted = xasprintf("\"%s\"", etag);

	api_sync(c, metadata);
	http_response_header(c->resp, "ETag", quoted);
}

void api_empty(struct api_call *c)
{
	struct strbuf b = STRBUF_INIT;

	strbuf_append(&b, "{}");
	api_sync(c, &b);
}

void api_created(struct api_call *c, const char *location)
{
	auto_free char *url = project_url(c->route->feature == PROJECT_ITSELF ? "default" : c->project, "%s", location);
	struct strbuf b = STRBUF_INIT;

	strbuf_append(&b, "null");
	api_sync(c, &b);
	c->resp->status = 201;
	http_response_header(c->resp, "Location", url);
}

struct operation *api_operation_new(struct api_call *c, const struct operation_spec *spec)
{
	struct operation_spec full = *spec;

	full.creator = c->id;
	full.cancel_perm = c->route->perm;
	return operation_new(c->api->operations, &full);
}

void api_async(struct api_call *c, struct operation *op)
{
	struct jsonw w = JSONW(&c->resp->body);
	auto_free char *url = xasprintf("/1.0/operations/%s", operation_id(op));

	operation_start(op);
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "type", "async");
	jsonw_kv_str(&w, "status", "Operation created");
	jsonw_kv_int(&w, "status_code", 100);
	jsonw_kv_str(&w, "operation", url);
	jsonw_kv_int(&w, "error_code", 0);
	jsonw_kv_str(&w, "error", "");
	jsonw_key(&w, "metadata");
	operation_render(op, &c->id, &w);
	jsonw_object_end(&w);
	strbuf_append_char(&c->resp->body, '\n');
	c->resp->status = 202;
	http_response_header(c->resp, "Content-Type", "application/json");
	http_response_header(c->resp, "Location", url);
	operation_unref(op);
}

void api_file(struct api_call *c, int fd, const char *content_type, const char *filename)
{
	auto_free char *disposition = xasprintf("inline;filename=%s", filename);

	c->resp->fd = fd;
	http_response_header(c->resp, "Content-Type", content_type);
	http_response_header(c->resp, "Content-Disposition", disposition);
}

void api_add_url(struct strv *urls, const char *project, const char *kind, const char *name)
{
	strv_take(urls, project_url(project, "/1.0/%s/%s", kind, name));
}

void api_drop_unseen(const struct api_call *c, struct strv *urls)
{
	auto_strv struct strv seen = STRV_INIT;

	for (size_t k = 0; k < urls->len; k++) {
		const char *project = strstr(urls->items[k], "?project=");

		if (authorize(&c->id, PERM_PROJECT_VIEW, project ? project + strlen("?project=") : "default"))
			strv_add(&seen, urls->items[k]);
	}
	strv_done(urls);
	*urls = seen;
	seen = STRV_INIT;
}

static void write_requestor(struct jsonw *w, const struct identity *id)
{
	bool local = id->kind == IDENTITY_LOCAL;

	jsonw_key(w, "requestor");
	jsonw_object_begin(w);
	if (!local)
		jsonw_kv_str(w, "username", identity_name(id));
	else if (id->uid == 0)
		jsonw_kv_str(w, "username", "root");
	else
		jsonw_kv_strf(w, "username", "%u", (unsigned)id->uid);
	jsonw_kv_str(w, "protocol", identity_protocol(id));
	jsonw_kv_str(w, "address", local ? "@" : id->address);
	jsonw_object_end(w);
}

/* What has a project in its URL: not what is the server's, whatever project the request named. */
static bool is_of_project(const char *project, const char *url)
{
	static const char *const kinds[] = {"/1.0/images/", "/1.0/instances/", "/1.0/networks/", "/1.0/profiles/"};

	for (size_t k = 0; project && k < ARRAY_SIZE(kinds); k++)
		if (startswith(url, kinds[k]))
			return true;
	return false;
}

static void publish_lifecycle(struct api *api, const char *project, const struct identity *id, const char *action,
			      const char *source, const struct strmap *context)
{
	auto_free char *url = project_url(is_of_project(project, source) ? project : "default", "%s", source);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	if (!events_wanted(api->events, EVENT_LIFECYCLE))
		return;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "action", action);
	jsonw_kv_str(&w, "source", url);
	jsonw_kv_strmap(&w, "context", context);
	if (id && id->kind != IDENTITY_NONE)
		write_requestor(&w, id);
	jsonw_object_end(&w);
	events_publish(api->events, EVENT_LIFECYCLE, project, b.data);
}

void api_lifecycle_as(struct api *api, const char *project, const struct identity *id, const char *action,
		      const char *source)
{
	publish_lifecycle(api, project, id, action, source, &STRMAP_INIT);
}

void api_lifecycle_context(struct api_call *c, const char *action, const char *source, const struct strmap *context)
{
	publish_lifecycle(c->api, c->project, &c->id, action, source, context);
}

void api_lifecycle(struct api_call *c, const char *action, const char *source)
{
	api_lifecycle_as(c->api, c->project, &c->id, action, source);
}
