/* /1.0/warnings: what is wrong, for administrators. */
#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/str.h"

struct warning_put {
	char *status;
};

static const struct json_field put_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct warning_put, status, "status", 0),
	JSON_FIELD_END,
};

static int list_warnings(struct api_call *c, struct error *err UNUSED)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	const char *project = http_query(c->req, "project");

	warnings_render_list(c->api->warnings, str_is_empty(project) ? NULL : project, api_recursion(c) > 0, &w);
	api_sync(c, &b);
	return 0;
}

/* The tag is that of what can be changed: a count that grows is no conflict. */
static int status_etag(struct api_call *c, char etag[65], struct error *err)
{
	auto_free char *status = NULL, *text = NULL;
	int r = warnings_status(c->api->warnings, c->params[0], &status, err);

	if (r < 0)
		return r;
	text = xasprintf("%s %s", c->params[0], status);
	api_etag(text, strlen(text), etag);
	return 0;
}

static int get_warning(struct api_call *c, struct error *err)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	char etag[65];
	int r = status_etag(c, etag, err);

	if (r == 0)
		r = warnings_render_one(c->api->warnings, c->params[0], &w, err);
	if (r < 0) {
		strbuf_done(&b);
		return r;
	}
	api_sync_etag(c, &b, etag);
	return 0;
}

static void tell(struct api_call *c, const char *action)
{
	auto_free char *url = xasprintf("/1.0/warnings/%s", c->params[0]);

	api_lifecycle(c, action, url);
}

static int set_status(struct api_call *c, const char *status, struct error *err)
{
	char etag[65];
	int r;

	if (!streq(status, "new") && !streq(status, "acknowledged") && !streq(status, "resolved"))
		return error_set(err, 400, "Invalid warning type \"%s\"", status);
	if (streq(status, "resolved"))
		return error_set(err, 403, "Status may only be set to \"acknowledge\" or \"new\"");
	r = status_etag(c, etag, err);
	if (r == 0)
		r = api_check_etag(c, etag, err);
	if (r == 0)
		r = warnings_set_status(c->api->warnings, c->params[0], status, err);
	if (r < 0)
		return r;
	tell(c, streq(status, "new") ? "warning-reset" : "warning-acknowledged");
	api_empty(c);
	return 0;
}

static int put_warning(struct api_call *c, struct error *err)
{
	struct warning_put put = {0};
	int r = api_decode(c, put_fields, &put, NULL, err);

	if (r == 0)
		r = set_status(c, put.status ? put.status : "", err);
	json_decode_done(put_fields, &put);
	return r;
}

static int delete_warning(struct api_call *c, struct error *err)
{
	int r = warnings_delete(c->api->warnings, c->params[0], err);

	if (r < 0)
		return r;
	tell(c, "warning-deleted");
	api_empty(c);
	return 0;
}

const struct api_route api_warning_routes[] = {
	{.path = "/1.0/warnings",
	 .method = HTTP_GET,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = list_warnings,
	 .doc = "Warnings; ?project= those of a project alone"},
	{.path = "/1.0/warnings/{uuid}",
	 .method = HTTP_GET,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = get_warning,
	 .doc = "One warning"},
	{.path = "/1.0/warnings/{uuid}",
	 .method = HTTP_PUT,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = put_warning,
	 .body = put_fields,
	 .doc = "Acknowledge a warning, or make it new again"},
	{.path = "/1.0/warnings/{uuid}",
	 .method = HTTP_PATCH,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = put_warning,
	 .body = put_fields,
	 .doc = "Acknowledge a warning, or make it new again"},
	{.path = "/1.0/warnings/{uuid}",
	 .method = HTTP_DELETE,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = delete_warning,
	 .doc = "Delete a warning"},
	{0},
};

/* For `lxd audit verify`: while the daemon runs, the database is its own. */
static int get_audit(struct api_call *c, struct error *err UNUSED)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	struct db_audit state;

	audit_state(c->api->audit, &state);
	jsonw_object_begin(&w);
	jsonw_kv_int(&w, "count", state.count);
	jsonw_kv_str(&w, "head", state.head);
	jsonw_kv_int(&w, "first", state.first);
	jsonw_kv_str(&w, "first_prev", state.first_prev);
	jsonw_object_end(&w);
	api_sync(c, &b);
	return 0;
}

const struct api_route api_audit_routes[] = {
	{.path = "/internal/audit",
	 .method = HTTP_GET,
	 .perm = PERM_INTERNAL,
	 .handler = get_audit,
	 .doc = "Where the audit log stands, for lxd audit verify"},
	{0},
};
