/* /1.0/operations */
#include <ctype.h>
#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/str.h"

#define STRANGERS_WAIT_S 15

/* Operations grouped by status, as the API lists them: arrays of URLs or of objects. */
struct groups {
	const struct identity *viewer;
	bool objects;
	size_t n;
	struct {
		char *status; /* lower case */
		struct strbuf items;
		struct jsonw w;
	} by_status[8];
};

static void add_to_group(struct operation *op, void *arg)
{
	struct groups *g = arg;
	auto_free char *status = xstrdup(operation_status_name(op));
	size_t k = 0;

	if (!operation_visible(op, g->viewer))
		return;
	for (char *p = status; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	while (k < g->n && !streq(g->by_status[k].status, status))
		k++;
	if (k == g->n) {
		g->by_status[k].status = TAKE_PTR(status);
		g->by_status[k].items = STRBUF_INIT;
		g->by_status[k].w = JSONW(&g->by_status[k].items);
		g->n++;
	}
	if (g->objects)
		operation_render(op, g->viewer, &g->by_status[k].w);
	else
		jsonw_strf(&g->by_status[k].w, "/1.0/operations/%s", operation_id(op));
}

static int list_operations(struct api_call *c, struct error *err UNUSED)
{
	struct groups g = {.viewer = &c->id, .objects = api_recursion(c) > 0};
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	bool all = parse_bool_or(http_query(c->req, "all-projects"), false);

	operations_each(c->api->operations, all ? NULL : c->project, add_to_group, &g);
	jsonw_object_begin(&w);
	for (size_t k = 0; k < g.n; k++) {
		jsonw_key(&w, g.by_status[k].status);
		jsonw_array_begin(&w);
		jsonw_raw(&w, strbuf_str(&g.by_status[k].items), g.by_status[k].items.len);
		jsonw_array_end(&w);
		free(g.by_status[k].status);
		strbuf_done(&g.by_status[k].items);
	}
	jsonw_object_end(&w);
	api_sync(c, &b);
	return 0;
}

/* One that the caller may know of; others are as if they were not there. */
static int find(struct api_call *c, struct operation **ret, struct error *err)
{
	struct operation *op = operation_find(c->api->operations, c->params[0]);

	if (op && !operation_visible(op, &c->id)) {
		operation_unref(op);
		op = NULL;
	}
	*ret = op;
	return op ? 0 : error_set(err, 404, "Operation not found");
}

static void answer(struct api_call *c, struct operation *op)
{
	struct strbuf b = STRBUF_INIT;

	operation_render(op, &c->id, &JSONW(&b));
	api_sync(c, &b);
}

static int get_operation(struct api_call *c, struct error *err)
{
	CLEANUP(operation_unrefp) struct operation *op = NULL;
	int r = find(c, &op, err);

	if (r == 0)
		answer(c, op);
	return r;
}

static int delete_operation(struct api_call *c, struct error *err)
{
	CLEANUP(operation_unrefp) struct operation *op = NULL;
	auto_free char *url = xasprintf("/1.0/operations/%s", c->params[0]);
	int r = find(c, &op, err);

	if (r == 0 && !operation_cancellable_by(op, &c->id))
		r = error_set(err, 403, "not authorized");
	if (r == 0)
		r = operation_cancel(op, err);
	if (r < 0)
		return r;
	api_lifecycle(c, "operation-cancelled", url);
	api_empty(c);
	return 0;
}

/*
 * For waiting and connecting: a caller with a secret needs no right but that; strangers, who have nothing else, hear
 * the same whether the operation is there or not.
 */
static int find_by_secret(struct api_call *c, struct operation **ret, struct error *err)
{
	if (c->id.kind != IDENTITY_NONE && str_is_empty(http_query(c->req, "secret")))
		return find(c, ret, err);
	*ret = str_is_empty(http_query(c->req, "secret")) ? NULL : operation_find(c->api->operations, c->params[0]);
	if (*ret)
		return 0;
	if (c->id.kind == IDENTITY_NONE)
		return error_set(err, 403, "not authorized");
	return error_set(err, 404, "Operation not found");
}

static int wait_operation(struct api_call *c, struct error *err)
{
	CLEANUP(operation_unrefp) struct operation *op = NULL;
	const char *text = http_query(c->req, "timeout"), *secret = http_query(c->req, "secret");
	int64_t seconds = -1;
	int r = find_by_secret(c, &op, err);

	if (r == 0 && !str_is_empty(secret) && !operation_secret_fits(op, secret))
		r = error_set(err, 403, "not authorized");
	if (r < 0)
		return r;
	if (!str_is_empty(text) && (parse_i64(text, &seconds) < 0 || seconds > INT32_MAX))
		return error_set(err, 400, "Invalid value \"%s\" for timeout", text);
	/* a secret may be in many hands: strangers hold a connection for a short while, and ask again */
	if (c->id.kind == IDENTITY_NONE && (seconds < 0 || seconds > STRANGERS_WAIT_S))
		seconds = STRANGERS_WAIT_S;
	operation_wait(op, seconds < 0 ? -1 : seconds * 1000);
	answer(c, op);
	return 0;
}

static int connect_operation(struct api_call *c, struct error *err)
{
	CLEANUP(operation_unrefp) struct operation *op = NULL;
	int r = find_by_secret(c, &op, err);

	/* whoever shows the secret: it is the creator's rights that the websocket lives on, and with which it ends */
	if (r == 0) {
		c->owner = *operation_creator(op);
		c->req->owner = &c->owner;
		c->req->foreign = !identity_equal(&c->owner, &c->id);
		if (!trust_still_holds(c->api->trust, &c->owner))
			r = error_set(err, 403, "not authorized");
	}
	if (r == 0)
		r = operation_connect(op, http_query(c->req, "secret"), c->req, c->resp, err);
	if (r == 0)
		api_vouch(c);
	/* to strangers a wrong secret is no different from an operation that is not there */
	if (r < 0 && c->id.kind == IDENTITY_NONE) {
		error_clear(err);
		r = error_set(err, 403, "not authorized");
	}
	return r;
}

const struct api_route api_operation_routes[] = {
	{.path = "/1.0/operations",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = list_operations,
	 .doc = "Operations by status"},
	{.path = "/1.0/operations/{id}",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .handler = get_operation,
	 .doc = "One operation"},
	{.path = "/1.0/operations/{id}",
	 .method = HTTP_DELETE,
	 .perm = PERM_TRUSTED,
	 .flags = API_WHILE_STOPPING,
	 .handler = delete_operation,
	 .doc = "Cancel an operation"},
	{.path = "/1.0/operations/{id}/wait",
	 .method = HTTP_GET,
	 .perm = PERM_ANYONE,
	 .handler = wait_operation,
	 .doc = "Wait for the end, at most ?timeout= seconds"},
	{.path = "/1.0/operations/{id}/websocket",
	 .method = HTTP_GET,
	 .perm = PERM_ANYONE,
	 .handler = connect_operation,
	 .doc = "Connect to an operation by ?secret="},
	{0},
};
