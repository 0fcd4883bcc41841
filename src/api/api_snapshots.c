/* /1.0/instances/{name}/snapshots. */
#include <string.h>

#include "api/api.h"
#include "api/instance_job.h"
#include "base/alloc.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "config/names.h"
#include "instance/snapshot.h"

static int find(struct api_call *c, struct instance **ret, struct error *err)
{
	return instance_find(c->api->instances, c->project, c->params[0], ret, err);
}

/* --- reading --- */

static int list_snapshots(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	struct strbuf b = STRBUF_INIT;
	int r = find(c, &i, err);

	if (r < 0)
		return r;
	snapshots_render(i, c->prefix, api_recursion(c) > 0, &JSONW(&b));
	api_sync(c, &b);
	return 0;
}

/* The tag is that of what can be changed. */
static int expiry_etag(struct instance *i, const char *name, char etag[65], struct error *err)
{
	char text[TIME_TEXT_MAX];
	int64_t expires_ns;
	int r = snapshot_expiry(i, name, &expires_ns, err);

	if (r < 0)
		return r;
	time_format(expires_ns, text);
	api_etag(text, strlen(text), etag);
	return 0;
}

static int get_snapshot(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	struct strbuf b = STRBUF_INIT;
	char etag[65];
	int r = find(c, &i, err);

	if (r == 0)
		r = expiry_etag(i, c->params[1], etag, err);
	if (r == 0)
		r = snapshot_render(i, c->params[1], &JSONW(&b), err);
	if (r < 0) {
		strbuf_done(&b);
		return r;
	}
	api_sync_etag(c, &b, etag);
	return 0;
}

/* --- work --- */

struct snapshot_job {
	struct api *api;
	struct identity id;
	char *project;
	char *instance_name;
	struct instance *instance;
	char *name; /* NULL: by the pattern */
	char *new_name;
	int64_t expires_ns;
	bool has_expiry; /* else by snapshots.expiry */
};

static void job_free(void *arg)
{
	struct snapshot_job *j = arg;

	free(j->project);
	free(j->instance_name);
	instance_unref(j->instance);
	free(j->name);
	free(j->new_name);
	free(j);
}

static struct snapshot_job *job_new(struct api_call *c, struct instance *i, const char *name)
{
	struct snapshot_job *j = xnew(struct snapshot_job);

	*j = (struct snapshot_job){.api = c->api,
				   .id = c->id,
				   .project = xstrdup(c->project),
				   .instance_name = xstrdup(c->params[0]),
				   .instance = instance_ref(i),
				   .name = xstrdup_null(name)};
	return j;
}

static void tell(const struct snapshot_job *j, const char *action, const char *name)
{
	auto_free char *url = xasprintf("/1.0/instances/%s/snapshots/%s", j->instance_name, name);

	api_lifecycle_as(j->api, j->project, &j->id, action, url);
}

static void start(struct api_call *c, struct snapshot_job *j, const char *description,
		  int (*run)(struct operation *, void *, struct error *))
{
	const struct operation_spec spec = {
		.description = description, .project = c->project, .run = run, .arg_free = job_free, .arg = j};
	auto_free char *url = xasprintf("/1.0/instances/%s", j->instance_name);
	auto_free char *alias = xasprintf("/1.0/containers/%s", j->instance_name);
	auto_free char *snapshot = j->name ? xasprintf("/1.0/instances/%s/snapshots/%s", j->instance_name, j->name)
					   : NULL;
	struct operation *op = api_operation_new(c, &spec);

	operation_add_resource(op, "instances", url);
	operation_add_resource(op, "containers", alias);
	if (snapshot)
		operation_add_resource(op, "instances_snapshots", snapshot);
	api_async(c, op);
}

/* --- making --- */

struct post_body {
	char *name;
	bool stateful;
	char *expires_at;
};

static const struct json_field post_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct post_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct post_body, stateful, "stateful", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct post_body, expires_at, "expires_at", 0),
	JSON_FIELD_END,
};

static void post_done(struct post_body *b)
{
	json_decode_done(post_fields, b);
}

/* A time, or never; NULL: @def. */
static int read_expiry(const char *text, int64_t def, int64_t *ret, struct error *err)
{
	*ret = def;
	if (!text)
		return 0;
	if (*text && time_parse(text, ret) < 0)
		return error_set(err, 400, "Invalid time \"%s\" in \"expires_at\"", text);
	if (!*text)
		*ret = TIME_GO_ZERO;
	return 0;
}

static int create_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct snapshot_job *j = arg;
	auto_free char *made = NULL;
	int r = instance_snapshot(j->instance, j->name, j->has_expiry ? &j->expires_ns : NULL, &made, err);

	if (r == 0)
		tell(j, "instance-snapshot-created", made);
	return r;
}

static int post_snapshot(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(post_done) struct post_body body = {0};
	struct snapshot_job *j;
	int64_t expires_ns = 0;
	int r = find(c, &i, err);

	if (r == 0)
		r = project_allows_snapshots(c->api->instances, c->project, err);
	if (r == 0)
		r = api_decode(c, post_fields, &body, NULL, err);
	if (r == 0 && body.stateful)
		r = error_set(err, 400, "Snapshots of running state need CRIU, which this server does not use");
	if (r == 0 && !str_is_empty(body.name))
		r = name_check_snapshot(body.name, err);
	if (r == 0)
		r = read_expiry(body.expires_at, TIME_GO_ZERO, &expires_ns, err);
	if (r < 0)
		return r;
	j = job_new(c, i, str_is_empty(body.name) ? NULL : body.name);
	j->expires_ns = expires_ns;
	j->has_expiry = body.expires_at != NULL;
	start(c, j, "Snapshotting instance", create_run);
	return 0;
}

/* --- changing --- */

static int update_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct snapshot_job *j = arg;
	int r = snapshot_set_expiry(j->instance, j->name, j->expires_ns, err);

	if (r == 0)
		tell(j, "instance-snapshot-updated", j->name);
	return r;
}

struct put_body {
	char *expires_at;
};

static const struct json_field put_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct put_body, expires_at, "expires_at", 0),
	JSON_FIELD_END,
};

static void put_done(struct put_body *b)
{
	json_decode_done(put_fields, b);
}

static int change(struct api_call *c, bool replace, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(put_done) struct put_body body = {0};
	struct snapshot_job *j;
	int64_t before = 0, after = 0;
	char etag[65];
	int r = find(c, &i, err);

	if (r == 0)
		r = expiry_etag(i, c->params[1], etag, err);
	if (r == 0)
		r = api_check_etag(c, etag, err);
	if (r == 0)
		r = snapshot_expiry(i, c->params[1], &before, err);
	if (r == 0)
		r = api_decode(c, put_fields, &body, NULL, err);
	if (r == 0)
		r = read_expiry(body.expires_at, replace ? TIME_GO_ZERO : before, &after, err);
	if (r < 0)
		return r;
	j = job_new(c, i, c->params[1]);
	j->expires_ns = after;
	start(c, j, "Updating snapshot", update_run);
	return 0;
}

static int put_snapshot(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ true, err);
}

static int patch_snapshot(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ false, err);
}

struct rename_body {
	char *name;
	bool migration;
};

static const struct json_field rename_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct rename_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct rename_body, migration, "migration", 0),
	JSON_FIELD_END,
};

static void rename_done(struct rename_body *b)
{
	json_decode_done(rename_fields, b);
}

static int rename_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct snapshot_job *j = arg;
	int r = snapshot_rename(j->instance, j->name, j->new_name, err);

	if (r == 0)
		tell(j, "instance-snapshot-renamed", j->new_name);
	return r;
}

static int rename_snapshot(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(rename_done) struct rename_body body = {0};
	struct snapshot_job *j;
	int r = find(c, &i, err);

	if (r == 0 && !snapshot_exists(i, c->params[1]))
		r = error_set(err, 404, "Snapshot not found");
	if (r == 0)
		r = api_decode(c, rename_fields, &body, NULL, err);
	if (r == 0 && body.migration)
		r = error_set(err, 501, "Snapshots cannot be sent to another server yet");
	if (r == 0)
		r = name_check_snapshot(body.name ? body.name : "", err);
	if (r == 0 && snapshot_exists(i, body.name))
		r = error_set(err, 409, "Name \"%s\" already in use", body.name);
	if (r < 0)
		return r;
	j = job_new(c, i, c->params[1]);
	j->new_name = TAKE_PTR(body.name);
	start(c, j, "Renaming snapshot", rename_run);
	return 0;
}

static int delete_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct snapshot_job *j = arg;
	int r = snapshot_delete(j->instance, j->name, err);

	if (r == 0)
		tell(j, "instance-snapshot-deleted", j->name);
	return r;
}

static int delete_snapshot(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	int r = find(c, &i, err);

	if (r == 0 && !snapshot_exists(i, c->params[1]))
		r = error_set(err, 404, "Snapshot not found");
	if (r < 0)
		return r;
	start(c, job_new(c, i, c->params[1]), "Deleting snapshot", delete_run);
	return 0;
}

const struct api_route api_snapshot_routes[] = {
	{.path = "/1.0/instances/{name}/snapshots",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .handler = list_snapshots,
	 .doc = "Snapshots of an instance"},
	{.path = "/1.0/instances/{name}/snapshots",
	 .method = HTTP_POST,
	 .perm = PERM_INSTANCE_USE,
	 .handler = post_snapshot,
	 .body = post_fields,
	 .doc = "Make a snapshot"},
	{.path = "/1.0/instances/{name}/snapshots/{snapshot}",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .handler = get_snapshot,
	 .doc = "One snapshot"},
	{.path = "/1.0/instances/{name}/snapshots/{snapshot}",
	 .method = HTTP_PUT,
	 .perm = PERM_INSTANCE_USE,
	 .handler = put_snapshot,
	 .body = put_fields,
	 .doc = "Set when a snapshot expires"},
	{.path = "/1.0/instances/{name}/snapshots/{snapshot}",
	 .method = HTTP_PATCH,
	 .perm = PERM_INSTANCE_USE,
	 .handler = patch_snapshot,
	 .body = put_fields,
	 .doc = "Set when a snapshot expires"},
	{.path = "/1.0/instances/{name}/snapshots/{snapshot}",
	 .method = HTTP_POST,
	 .perm = PERM_INSTANCE_USE,
	 .handler = rename_snapshot,
	 .body = rename_fields,
	 .doc = "Rename a snapshot"},
	{.path = "/1.0/instances/{name}/snapshots/{snapshot}",
	 .method = HTTP_DELETE,
	 .perm = PERM_INSTANCE_USE,
	 .handler = delete_snapshot,
	 .doc = "Delete a snapshot"},
	{0},
};
