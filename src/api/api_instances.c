/* /1.0/instances (and its aliases containers, virtual-machines): objects and state; exec and logs stand apart. */
#include <fcntl.h>
#include <string.h>

#include "api/api.h"
#include "api/image_remote.h"
#include "api/migrate.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "config/filter.h"
#include "config/names.h"
#include "migration/migration.h"

/* --- reading --- */

static int keep_by_filter(const char *text, size_t len, void *arg, struct error *err)
{
	auto_json struct json *j = NULL;
	int r = json_parse(text, len, &j, err);

	return r < 0 ? r : filter_match(arg, filter_get_json, j);
}

static int list_instances(struct api_call *c, struct error *err)
{
	CLEANUP(filter_freep) struct filter *f = NULL;
	const char *text = http_query(c->req, "filter");
	const char *type = http_query(c->req, "instance-type");
	bool all = parse_bool_or(http_query(c->req, "all-projects"), false);
	unsigned recursion = api_recursion(c);
	enum instance_list_form form = recursion == 0   ? INSTANCE_LIST_NAMES
				       : recursion == 1 ? INSTANCE_LIST_OBJECTS
							: INSTANCE_LIST_FULL;
	struct strbuf *out;
	int r = str_is_empty(text) ? 0 : filter_parse(text, &f, err);

	if (r == 0 && type && !streq(type, "container") && !streq(type, "virtual-machine") && !streq(type, "any"))
		r = error_set(err, 400, "Invalid instance type \"%s\"", type);
	if (r < 0)
		return r;
	out = api_sync_begin(c);
	/* there are only containers */
	if (streq(c->prefix, "virtual-machines") || (type && streq(type, "virtual-machine")))
		strbuf_append(out, "[]");
	else
		r = instances_render(c->api->instances, all ? NULL : c->project, form, c->prefix,
				     f ? keep_by_filter : NULL, f, &JSONW(out), err);
	if (r == 0)
		api_sync_end(c);
	return r;
}

static int find(struct api_call *c, struct instance **ret, struct error *err)
{
	return instance_find(c->api->instances, c->project, c->params[0], ret, err);
}

static int get_instance(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	struct strbuf b = STRBUF_INIT;
	char etag[65];
	int r = find(c, &i, err);

	if (r < 0)
		return r;
	instance_etag(i, etag);
	if (api_recursion(c))
		instance_render_full(i, &JSONW(&b));
	else
		instance_render(i, &JSONW(&b));
	api_sync_etag(c, &b, etag);
	return 0;
}

static int get_state(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	struct strbuf b = STRBUF_INIT;
	int r = find(c, &i, err);

	if (r < 0)
		return r;
	instance_render_state(i, &JSONW(&b));
	api_sync(c, &b);
	return 0;
}

/* --- operations on one instance --- */

enum job_kind { JOB_CREATE, JOB_UPDATE, JOB_RENAME, JOB_DELETE, JOB_STATE, JOB_STATE_ALL };

struct action;

/* What the operation's thread works on: copies of everything. */
struct job {
	struct api *api;
	struct identity id;
	char *project;
	char *name;
	struct instance *instance; /* reference, NULL for create */
	/* create, update */
	char *architecture;
	char *description;
	bool ephemeral;
	struct strmap config;
	struct mapmap devices;
	struct strv profiles;
	bool has_profiles;
	enum instance_source source;
	char *fingerprint;
	struct image_request remote; /* the image, when it is on another server */
	struct instance *original;
	char *new_name;
	/* from or to another server */
	struct migration_session *migration;
	struct instance *begun; /* created as far as its name is taken */
	/* state */
	const struct action *action;
	bool force;
	int64_t timeout_s;
};

static void job_free(void *arg)
{
	struct job *j = arg;

	free(j->project);
	free(j->name);
	instance_unref(j->instance);
	instance_unref(j->original);
	free(j->architecture);
	free(j->description);
	strmap_done(&j->config);
	mapmap_done(&j->devices);
	strv_done(&j->profiles);
	free(j->fingerprint);
	image_request_done(&j->remote);
	free(j->new_name);
	migration_session_unref(j->migration);
	if (j->begun)
		instance_create_abandon(j->begun);
	instance_unref(j->begun);
	free(j);
}

static struct job *job_new(struct api_call *c, const char *name, struct instance *i)
{
	struct job *j = xnew(struct job);

	j->api = c->api;
	j->id = c->id;
	j->project = xstrdup(c->project);
	j->name = xstrdup(name);
	j->instance = i ? instance_ref(i) : NULL;
	return j;
}

static void job_event(struct job *j, const char *name, const char *action)
{
	auto_free char *url = xasprintf("/1.0/instances/%s", name);

	api_lifecycle_as(j->api, j->project, &j->id, action, url);
}

static int connect_migration(struct operation *op UNUSED, void *arg, const char *secret, const struct http_request *req,
			     struct http_response *resp, struct error *err)
{
	struct job *j = arg;

	return migration_session_connect(j->migration, secret, req, resp, err);
}

static void cancel_migration(struct operation *op UNUSED, void *arg)
{
	struct job *j = arg;

	migration_session_cancel(j->migration);
}

/* What an operation that works with another server is besides. */
static void describe_migration(struct job *j, struct operation_spec *spec)
{
	spec->cancel = cancel_migration;
	if (!migration_session_is_waiting(j->migration))
		return;
	spec->class = OPERATION_WEBSOCKET;
	spec->connect = connect_migration;
}

/* Answer with an operation that runs @run on the job. State changes name the instance only, others the container too.
 */
static void start_job(struct api_call *c, struct job *j, const char *description,
		      int (*run)(struct operation *, void *, struct error *))
{
	struct operation_spec spec = {
		.description = description,
		.project = c->project,
		.run = run,
		.arg_free = job_free,
		.arg = j,
		/* what is downloaded can be cancelled */
		.cancel = j->remote.project ? image_obtain_cancel : NULL,
	};
	auto_free char *url = xasprintf("/1.0/instances/%s", j->name);
	auto_free char *alias = xasprintf("/1.0/containers/%s", j->name);
	struct operation *op;

	if (j->migration)
		describe_migration(j, &spec);
	op = api_operation_new(c, &spec);
	if (j->migration && migration_session_is_waiting(j->migration))
		migration_session_publish(j->migration, op);
	operation_add_resource(op, "instances", url);
	if (!j->action)
		operation_add_resource(op, "containers", alias);
	api_async(c, op);
}

/* --- create --- */

struct post_body {
	char *name;
	char *type;
	char *architecture;
	char *description;
	char *instance_type;
	bool ephemeral;
	bool stateful;
	struct strmap config;
	struct mapmap devices;
	struct strv profiles;
	const struct json *source;
};

static const struct json_field post_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct post_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct post_body, type, "type", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct post_body, architecture, "architecture", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct post_body, description, "description", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct post_body, instance_type, "instance_type", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct post_body, ephemeral, "ephemeral", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct post_body, stateful, "stateful", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct post_body, config, "config", 0),
	JSON_FIELD(JSON_FIELD_MAPMAP, struct post_body, devices, "devices", 0),
	JSON_FIELD(JSON_FIELD_STRV, struct post_body, profiles, "profiles", 0),
	JSON_FIELD(JSON_FIELD_RAW, struct post_body, source, "source", 0),
	JSON_FIELD_END,
};

enum { POST_PROFILES = 9 };

static void post_done(struct post_body *b)
{
	json_decode_done(post_fields, b);
}

struct source_body {
	char *type;
	char *alias;
	char *fingerprint;
	char *server;
	char *protocol;
	char *certificate;
	char *secret;
	char *source;
	char *project;
	char *mode;
	bool live;
	bool refresh;
	struct strmap properties;
	const struct json *json; /* of which this is a part */
};

static const struct json_field source_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, type, "type", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, alias, "alias", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, fingerprint, "fingerprint", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, server, "server", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, protocol, "protocol", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, certificate, "certificate", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, secret, "secret", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, source, "source", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, project, "project", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, mode, "mode", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct source_body, live, "live", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct source_body, refresh, "refresh", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct source_body, properties, "properties", 0),
	JSON_FIELD_END,
};

static void source_done(struct source_body *b)
{
	json_decode_done(source_fields, b);
}

/* Newest image that has all of these properties. */
static int find_by_properties(struct api_call *c, const struct strmap *want, char **ret, struct error *err)
{
	struct store *s = c->api->store;
	const struct db_image *best = NULL;

	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_images; k++) {
		const struct db_image *img = s->images[k];
		bool fits = img->phase == DB_READY && streq(img->project, c->project);

		for (size_t p = 0; p < want->len && fits; p++)
			fits = streq(strmap_get_or(&img->properties, want->items[p].key, ""), want->items[p].value);
		if (fits && (!best || img->created_ns > best->created_ns))
			best = img;
	}
	if (best)
		*ret = xstrdup(best->fingerprint);
	mutex_unlock(&s->lock);
	return best ? 0 : error_set(err, 404, "No matching image could be found");
}

/* The image is on another server: it is fetched first, and stays here as long as it is of use. */
static int source_remote(struct api_call *c, struct source_body *src, struct job *j, struct error *err)
{
	const char *name = str_is_empty(src->fingerprint) ? src->alias : src->fingerprint;

	if (str_is_empty(name))
		return error_set(err, 400, "Must specify one of alias or fingerprint for init from image");
	j->remote.project = xstrdup(c->project);
	j->remote.cached = true;
	j->remote.keep_source = str_is_empty(src->secret);
	j->remote.source = (struct image_source){
		.server = xstrdup(src->server),
		.protocol = xstrdup(str_is_empty(src->protocol) ? "lxd" : src->protocol),
		.certificate = xstrdup_null(src->certificate),
		.alias = xstrdup(name),
		.secret = xstrdup_null(src->secret),
		.image_type = xstrdup("container"),
		.project = xstrdup_null(src->project),
	};
	return 0;
}

static int source_image(struct api_call *c, struct source_body *src, struct job *j, struct error *err)
{
	struct store *s = c->api->store;
	const struct db_alias *a;
	const struct db_image *img = NULL;

	j->source = INSTANCE_SOURCE_IMAGE;
	if (!str_is_empty(src->server))
		return source_remote(c, src, j, err);
	if (!str_is_empty(src->fingerprint))
		return store_image_resolve(s, c->project, src->fingerprint, &j->fingerprint, err);
	if (!str_is_empty(src->alias)) {
		mutex_lock(&s->lock);
		a = store_alias_locked(s, c->project, src->alias);
		img = a ? store_image_by_id_locked(s, a->image_id) : NULL;
		if (img)
			j->fingerprint = xstrdup(img->fingerprint);
		mutex_unlock(&s->lock);
		return img ? 0 : error_set(err, 404, "Image alias not found");
	}
	if (src->properties.len)
		return find_by_properties(c, &src->properties, &j->fingerprint, err);
	return error_set(err, 400, "Must specify one of alias, fingerprint or properties for init from image");
}

static int source_copy(struct api_call *c, struct source_body *src, struct job *j, struct error *err)
{
	j->source = INSTANCE_SOURCE_COPY;
	if (str_is_empty(src->source))
		return error_set(err, 400, "Must specify a source instance");
	if (!str_is_empty(src->project) && !streq(src->project, c->project))
		return error_set(err, 404, "Failed loading project \"%s\": Project not found", src->project);
	if (src->live)
		return error_set(err, 400, "Live copies are not supported by this server yet");
	if (src->refresh)
		return error_set(err, 400, "Refreshing copies are not supported by this server yet");
	if (strchr(src->source, '/'))
		return error_set(err, 400, "Copies of snapshots are not supported by this server yet");
	return instance_find(c->api->instances, c->project, src->source, &j->original, err);
}

static int source_none(struct api_call *c UNUSED, struct source_body *src UNUSED, struct job *j,
		       struct error *err UNUSED)
{
	j->source = INSTANCE_SOURCE_NONE;
	return 0;
}

/* From another server: we connect to it (pull), or it, or a client between the two, to us (push). */
static int source_migration(struct api_call *c UNUSED, struct source_body *src, struct job *j, struct error *err)
{
	const char *mode = src->mode ? src->mode : "";

	j->source = INSTANCE_SOURCE_RECEIVE;
	if (src->live)
		return error_set(err, 400, "Live migration is not supported by this server: stop the instance first");
	if (src->refresh)
		return error_set(err, 400, "Refreshing copies are not supported by this server yet");
	if (streq(mode, "pull"))
		return migration_session_new_dial(src->json, &j->migration, err);
	if (!streq(mode, "push"))
		return error_set(err, 501, "Mode \"%s\" not implemented", mode);
	j->migration = migration_session_new();
	return 0;
}

static const struct {
	const char *type;
	int (*fn)(struct api_call *c, struct source_body *src, struct job *j, struct error *err);
} sources[] = {
	{"image", source_image},
	{"copy", source_copy},
	{"none", source_none},
	{"migration", source_migration},
};

static int decode_source(struct api_call *c, const struct json *j, struct job *job, struct error *err)
{
	CLEANUP(source_done) struct source_body src = {.json = j};
	int r = j ? json_decode(j, "source", source_fields, &src, NULL, err) : 0;

	if (r < 0)
		return r;
	for (size_t k = 0; k < ARRAY_SIZE(sources); k++)
		if (src.type && streq(src.type, sources[k].type))
			return sources[k].fn(c, &src, job, err);
	return error_set(err, 400, "Unknown source type %s", src.type ? src.type : "");
}

/* What a create spec takes from the job, which must stay as it is meanwhile. */
static struct instance_create_spec create_spec(const struct job *j)
{
	return (struct instance_create_spec){
		.project = j->project,
		.name = j->name,
		.architecture = j->architecture,
		.description = j->description,
		.ephemeral = j->ephemeral,
		.config = &j->config,
		.devices = &j->devices,
		.profiles = j->has_profiles ? &j->profiles : NULL,
		.source = j->source,
		.fingerprint = j->fingerprint,
		.original = j->original,
	};
}

static int fetch_image(struct operation *op, struct job *j, struct error *err)
{
	CLEANUP(image_result_done) struct image_result res = {0};
	int r = image_obtain(j->api, op, &j->remote, &res, err);

	if (r == 0)
		j->fingerprint = TAKE_PTR(res.fingerprint);
	return r;
}

static int create_run(struct operation *op, void *arg, struct error *err)
{
	struct job *j = arg;
	struct instance_create_spec spec;
	int r = j->remote.project ? fetch_image(op, j, err) : 0;

	if (r < 0)
		return r;
	spec = create_spec(j);
	r = instance_create(j->api->instances, &spec, err);
	if (r == 0)
		job_event(j, j->name, "instance-created");
	return r;
}

/* What the callbacks of a migration need. */
struct moving {
	struct migration_link *link;
	struct migration_progress progress;
	bool told; /* the other server knows how it ended */
};

static int receive_volume(void *arg, const struct instance_volume *volume, struct idmap *ret_idmap, struct error *err)
{
	struct moving *m = arg;
	struct migration_sink sink = {.dirfd = volume->dirfd,
				      .compress = volume->compress,
				      .progress = migration_progress_note,
				      .progress_arg = &m->progress};

	return migration_receive(m->link, &sink, ret_idmap, err);
}

/* The name has been taken when the request was answered; the other server hears of the end when it is durable. */
static int receive_run(struct operation *op, void *arg, struct error *err)
{
	struct job *j = arg;
	struct instance_create_spec spec = create_spec(j);
	CLEANUP(migration_link_freep) struct migration_link *link = NULL;
	struct moving m = {.progress = {.op = op, .name = j->name}};
	CLEANUP(instance_unrefp) struct instance *begun = TAKE_PTR(j->begun);
	int r = migration_session_link(j->migration, &link, err);

	if (r < 0) {
		instance_create_abandon(begun);
		return r;
	}
	m.link = link;
	spec.receive = receive_volume;
	spec.receive_arg = &m;
	r = instance_create_finish(begun, &spec, err);
	migration_answer(link, r < 0 ? error_msg(err) : NULL);
	if (r == 0)
		job_event(j, j->name, "instance-created");
	return r;
}

static int start_receive(struct api_call *c, struct job *j, struct error *err)
{
	struct instance_create_spec spec = create_spec(j);
	int r = instance_create_begin(c->api->instances, &spec, &j->begun, err);

	if (r == 0)
		start_job(c, j, "Creating instance", receive_run);
	return r;
}

static int check_post(struct api_call *c, struct post_body *body, struct error *err)
{
	if (str_is_empty(body->name)) {
		free(body->name);
		body->name = instance_name_random();
	}
	if (streq(c->prefix, "virtual-machines") || (body->type && streq(body->type, "virtual-machine")))
		return error_set(
			err, 400,
			"Instance type \"virtual-machine\" is not supported on this server: only containers are");
	if (!str_is_empty(body->type) && !streq(body->type, "container"))
		return error_set(err, 400, "Invalid instance type \"%s\"", body->type);
	if (!str_is_empty(body->instance_type))
		return error_set(err, 400, "Instance types (\"%s\") are not supported by this server yet",
				 body->instance_type);
	if (body->stateful)
		return error_set(err, 400, "Stateful instances are not supported by this server yet");
	if (!str_is_empty(http_query(c->req, "target")))
		return error_set(err, 400, "Target only allowed when clustered");
	return name_check_instance(body->name, err);
}

static int post_instance(struct api_call *c, struct error *err)
{
	CLEANUP(post_done) struct post_body body = {0};
	uint64_t given;
	struct job *j;
	int r = api_decode(c, post_fields, &body, &given, err);

	if (r == 0)
		r = check_post(c, &body, err);
	if (r < 0)
		return r;
	j = job_new(c, body.name, NULL);
	j->architecture = TAKE_PTR(body.architecture);
	j->description = TAKE_PTR(body.description);
	j->ephemeral = body.ephemeral;
	strmap_copy(&j->config, &body.config);
	mapmap_copy(&j->devices, &body.devices);
	strv_copy(&j->profiles, &body.profiles);
	j->has_profiles = given & (1u << POST_PROFILES);
	r = decode_source(c, body.source, j, err);
	if (r == 0 && j->migration)
		r = start_receive(c, j, err);
	else if (r == 0)
		start_job(c, j, "Creating instance", create_run);
	if (r < 0)
		job_free(j);
	return r;
}

/* --- update, rename, delete --- */

struct put_body {
	char *architecture;
	char *description;
	bool ephemeral;
	struct strmap config;
	struct mapmap devices;
	struct strv profiles;
	char *restore;
};

static const struct json_field put_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct put_body, architecture, "architecture", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct put_body, description, "description", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct put_body, ephemeral, "ephemeral", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct put_body, config, "config", 0),
	JSON_FIELD(JSON_FIELD_MAPMAP, struct put_body, devices, "devices", 0),
	JSON_FIELD(JSON_FIELD_STRV, struct put_body, profiles, "profiles", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct put_body, restore, "restore", 0),
	JSON_FIELD_END,
};

enum { PUT_ARCHITECTURE, PUT_DESCRIPTION, PUT_EPHEMERAL, PUT_CONFIG, PUT_DEVICES, PUT_PROFILES };

static void put_done(struct put_body *b)
{
	json_decode_done(put_fields, b);
}

static int apply_update(struct job *j, struct error *err)
{
	struct instance_put put = {
		.architecture = j->architecture ? j->architecture : "",
		.description = j->description ? j->description : "",
		.ephemeral = j->ephemeral,
		.config = &j->config,
		.devices = &j->devices,
		.profiles = &j->profiles,
	};
	int r = instance_update(j->instance, &put, err);

	if (r == 0)
		job_event(j, j->name, "instance-updated");
	return r;
}

static int update_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	return apply_update(arg, err);
}

static int begin_change(struct api_call *c, struct instance **ret, struct put_body *body, uint64_t *given,
			struct error *err)
{
	char etag[65];
	int r = find(c, ret, err);

	if (r < 0)
		return r;
	instance_etag(*ret, etag);
	r = api_check_etag(c, etag, err);
	return r < 0 ? r : api_decode(c, put_fields, body, given, err);
}

static int put_instance(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(put_done) struct put_body body = {0};
	struct job *j;
	uint64_t given;
	int r = begin_change(c, &i, &body, &given, err);

	if (r == 0 && !str_is_empty(body.restore))
		r = error_set(err, 400, "Snapshots are not supported by this server yet");
	if (r < 0)
		return r;
	j = job_new(c, c->params[0], i);
	j->architecture = TAKE_PTR(body.architecture);
	j->description = TAKE_PTR(body.description);
	j->ephemeral = body.ephemeral;
	strmap_copy(&j->config, &body.config);
	mapmap_copy(&j->devices, &body.devices);
	strv_copy(&j->profiles, &body.profiles);
	if (!(given & (1u << PUT_PROFILES)))
		strv_add(&j->profiles, "default");
	start_job(c, j, "Updating instance", update_run);
	return 0;
}

static int patch_instance(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(put_done) struct put_body body = {0};
	auto_free char *architecture = NULL;
	auto_free char *description = NULL;
	struct job *j;
	uint64_t given;
	int r = begin_change(c, &i, &body, &given, err);

	if (r == 0 && !str_is_empty(body.restore))
		r = error_set(err, 400, "Can't call PATCH in restore mode");
	if (r < 0)
		return r;
	j = job_new(c, c->params[0], i);
	instance_current(i, &architecture, &description, &j->ephemeral, &j->config, &j->devices, &j->profiles);
	j->architecture = given & (1u << PUT_ARCHITECTURE) ? TAKE_PTR(body.architecture) : TAKE_PTR(architecture);
	j->description = given & (1u << PUT_DESCRIPTION) ? TAKE_PTR(body.description) : TAKE_PTR(description);
	if (given & (1u << PUT_EPHEMERAL))
		j->ephemeral = body.ephemeral;
	if (given & (1u << PUT_PROFILES))
		strv_copy(&j->profiles, &body.profiles);
	strmap_merge(&j->config, &body.config);
	for (size_t k = 0; k < body.devices.len; k++)
		mapmap_set(&j->devices, body.devices.items[k].key, &body.devices.items[k].map);
	r = apply_update(j, err);
	job_free(j);
	if (r == 0)
		api_empty(c);
	return r;
}

static int rename_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct job *j = arg;
	int r = instance_rename(j->instance, j->new_name, err);

	if (r == 0)
		job_event(j, j->new_name, "instance-renamed");
	return r;
}

/* --- to another server --- */

static int send_volume(void *arg, const struct instance_volume *volume, struct error *err)
{
	struct moving *m = arg;
	struct migration_source source = {.dirfd = volume->dirfd,
					  .idmap = volume->idmap,
					  .compress = volume->compress,
					  .progress = migration_progress_note,
					  .progress_arg = &m->progress};

	m->told = true;
	return migration_send(m->link, &source, err);
}

static int send_run(struct operation *op, void *arg, struct error *err)
{
	struct job *j = arg;
	CLEANUP(migration_link_freep) struct migration_link *link = NULL;
	struct moving m = {.progress = {.op = op, .name = j->name}};
	int r = migration_session_link(j->migration, &link, err);

	if (r < 0)
		return r;
	m.link = link;
	r = instance_with_volume(j->instance, send_volume, &m, err);
	if (r < 0 && !m.told)
		migration_answer(link, error_msg(err));
	return r;
}

struct rename_body {
	char *name;
	char *pool;
	char *project;
	bool migration;
	bool live;
	const struct json *target;
};

static const struct json_field rename_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct rename_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct rename_body, pool, "pool", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct rename_body, project, "project", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct rename_body, migration, "migration", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct rename_body, live, "live", 0),
	JSON_FIELD(JSON_FIELD_RAW, struct rename_body, target, "target", 0),
	JSON_FIELD_END,
};

static void rename_done(struct rename_body *b)
{
	json_decode_done(rename_fields, b);
}

/* A client asks for live where it can be had: of an instance that does not run there is nothing live to move. */
static int migrate_instance(struct api_call *c, const struct rename_body *body, struct instance *i, struct error *err)
{
	struct job *j;
	int r = 0;

	if (instance_state(i) != CONTAINER_STOPPED)
		return error_set(err, 400,
				 body->live ? "Live migration is not supported by this server: stop the instance first"
					    : "Only stopped instances can be migrated by this server: stop it first");
	j = job_new(c, c->params[0], i);
	if (json_kind(body->target) == JSON_OBJECT)
		r = migration_session_new_dial(body->target, &j->migration, err);
	else
		j->migration = migration_session_new();
	if (r < 0) {
		job_free(j);
		return r;
	}
	start_job(c, j, "Migrating instance", send_run);
	return 0;
}

static int post_to_instance(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(instance_unrefp) struct instance *other = NULL;
	CLEANUP(rename_done) struct rename_body body = {0};
	auto_error struct error absent = ERROR_INIT;
	struct job *j;
	int r = find(c, &i, err);

	if (r == 0)
		r = api_decode(c, rename_fields, &body, NULL, err);
	if (r == 0 && (!str_is_empty(body.pool) || !str_is_empty(body.project)))
		r = error_set(err, 400,
			      "Moving instances to another pool or project is not supported by this server yet");
	if (r == 0 && body.migration)
		return migrate_instance(c, &body, i, err);
	if (r == 0)
		r = name_check_instance(body.name ? body.name : "", err);
	if (r == 0 && instance_find(c->api->instances, c->project, body.name, &other, &absent) == 0)
		r = error_set(err, 409, "Name \"%s\" already in use", body.name);
	if (r < 0)
		return r;
	j = job_new(c, c->params[0], i);
	j->new_name = TAKE_PTR(body.name);
	start_job(c, j, "Renaming instance", rename_run);
	return 0;
}

static int delete_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct job *j = arg;
	int r = instance_delete(j->instance, err);

	if (r == 0)
		job_event(j, j->name, "instance-deleted");
	return r;
}

static int delete_instance(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	int r = find(c, &i, err);

	if (r < 0)
		return r;
	if (instance_state(i) != CONTAINER_STOPPED)
		return error_set(err, 400, "Instance is running");
	start_job(c, job_new(c, c->params[0], i), "Deleting instance", delete_run);
	return 0;
}

/* --- state --- */

static int do_start(struct job *j, struct error *err)
{
	return instance_start(j->instance, err);
}

static int do_stop(struct job *j, struct error *err)
{
	return instance_stop(j->instance, j->force, j->timeout_s < 0 ? -1 : MIN_OF(j->timeout_s, INT32_MAX) * 1000,
			     err);
}

static int do_restart(struct job *j, struct error *err)
{
	return instance_restart(j->instance, j->force, j->timeout_s < 0 ? -1 : MIN_OF(j->timeout_s, INT32_MAX) * 1000,
				err);
}

static int do_freeze(struct job *j, struct error *err)
{
	return instance_freeze(j->instance, err);
}

static int do_unfreeze(struct job *j, struct error *err)
{
	return instance_unfreeze(j->instance, err);
}

/* The actions of PUT state; which instances a bulk change takes. */
static const struct action {
	const char *name;
	int (*fn)(struct job *j, struct error *err);
	const char *description;
	const char *event;
	unsigned bulk_states; /* bit per enum container_state */
} actions[] = {
	{"start", do_start, "Starting instance", "instance-started", 1u << CONTAINER_STOPPED},
	{"stop", do_stop, "Stopping instance", "instance-stopped", 1u << CONTAINER_RUNNING | 1u << CONTAINER_FROZEN},
	{"restart", do_restart, "Restarting instance", "instance-restarted",
	 1u << CONTAINER_RUNNING | 1u << CONTAINER_FROZEN},
	{"freeze", do_freeze, "Freezing instance", "instance-paused", 1u << CONTAINER_RUNNING},
	{"unfreeze", do_unfreeze, "Unfreezing instance", "instance-resumed", 1u << CONTAINER_FROZEN},
};

struct state_body {
	char *action;
	int64_t timeout;
	bool force;
	bool stateful;
};

static const struct json_field state_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct state_body, action, "action", 0),
	JSON_FIELD(JSON_FIELD_INT, struct state_body, timeout, "timeout", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct state_body, force, "force", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct state_body, stateful, "stateful", 0),
	JSON_FIELD_END,
};

static void state_done(struct state_body *b)
{
	json_decode_done(state_fields, b);
}

static int find_action(const struct state_body *body, const struct action **ret, struct error *err)
{
	if (body->stateful)
		return error_set(err, 400, "Stateful stop and start are not supported by this server yet");
	for (size_t k = 0; k < ARRAY_SIZE(actions); k++) {
		if (body->action && streq(body->action, actions[k].name)) {
			*ret = &actions[k];
			return 0;
		}
	}
	return error_set(err, 400, "Unknown action: '%s'", body->action ? body->action : "");
}

static int state_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct job *j = arg;
	int r = j->action->fn(j, err);

	if (r == 0)
		job_event(j, j->name, j->action->event);
	return r;
}

static int put_state(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(state_done) struct state_body body = {.timeout = -1};
	const struct action *action = NULL;
	struct job *j;
	int r = find(c, &i, err);

	if (r == 0)
		r = api_decode(c, state_fields, &body, NULL, err);
	if (r == 0)
		r = find_action(&body, &action, err);
	if (r < 0)
		return r;
	j = job_new(c, c->params[0], i);
	j->action = action;
	j->force = body.force;
	j->timeout_s = body.timeout;
	start_job(c, j, action->description, state_run);
	return 0;
}

/* --- state of all --- */

struct bulk {
	struct api *api;
	struct job **jobs;
	size_t n;
};

static void bulk_free(void *arg)
{
	struct bulk *b = arg;

	for (size_t k = 0; k < b->n; k++)
		job_free(b->jobs[k]);
	free(b->jobs);
	free(b);
}

static int bulk_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct bulk *b = arg;
	int first = 0;

	for (size_t k = 0; k < b->n; k++) {
		struct job *j = b->jobs[k];
		auto_error struct error e = ERROR_INIT;
		int r = j->action->fn(j, &e);

		if (r == 0) {
			job_event(j, j->name, j->action->event);
		} else if (first == 0) {
			error_wrap(&e, "Instance \"%s\"", j->name);
			first = error_move(err, &e);
		}
	}
	return first;
}

/* Names of the project's instances whose state the action wants. */
static int bulk_collect(struct api_call *c, const struct action *action, const struct state_body *body, struct bulk *b,
			struct error *err)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_json struct json *list = NULL;
	int r = instances_render(c->api->instances, c->project, INSTANCE_LIST_OBJECTS, "instances", NULL, NULL,
				 &JSONW(&text), err);

	if (r == 0)
		r = json_parse(text.data, text.len, &list, err);
	for (size_t k = 0; r == 0 && k < json_len(list); k++) {
		CLEANUP(instance_unrefp) struct instance *i = NULL;
		const char *name = json_get_str(json_at(list, k), "name");
		auto_error struct error gone = ERROR_INIT;
		struct job *j;

		if (instance_find(c->api->instances, c->project, name, &i, &gone) < 0 ||
		    !(action->bulk_states & (1u << instance_state(i))))
			continue;
		j = job_new(c, name, i);
		j->action = action;
		j->force = body->force;
		j->timeout_s = body->timeout;
		b->jobs = xreallocarray(b->jobs, b->n + 1, sizeof(*b->jobs));
		b->jobs[b->n++] = j;
	}
	return r;
}

static int put_instances(struct api_call *c, struct error *err)
{
	CLEANUP(state_done) struct state_body body = {.timeout = -1};
	struct operation_spec spec = {.project = c->project, .run = bulk_run, .arg_free = bulk_free};
	const struct action *action = NULL;
	const struct json *json;
	struct operation *op;
	struct bulk *b;
	int r = api_body(c, &json, err);

	if (r == 0)
		r = json_decode(json_get(json, "state"), "state", state_fields, &body, NULL, err);
	if (r == 0)
		r = find_action(&body, &action, err);
	if (r < 0)
		return r;
	b = xnew(struct bulk);
	b->api = c->api;
	r = bulk_collect(c, action, &body, b, err);
	if (r < 0) {
		bulk_free(b);
		return r;
	}
	spec.arg = b;
	spec.description = action->description;
	op = api_operation_new(c, &spec);
	for (size_t k = 0; k < b->n; k++) {
		auto_free char *url = xasprintf("/1.0/instances/%s", b->jobs[k]->name);

		operation_add_resource(op, "instances", url);
	}
	api_async(c, op);
	return 0;
}

const struct api_route api_instance_routes[] = {
	{.path = "/1.0/instances",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .flags = API_ANY_PROJECT,
	 .handler = list_instances,
	 .doc = "Instances; ?recursion=, ?filter="},
	{.path = "/1.0/instances",
	 .method = HTTP_POST,
	 .perm = PERM_INSTANCE_EDIT,
	 .handler = post_instance,
	 .body = post_fields,
	 .doc = "Create an instance from an image, as a copy, from another server, or empty"},
	{.path = "/1.0/instances",
	 .method = HTTP_PUT,
	 .perm = PERM_INSTANCE_USE,
	 .handler = put_instances,
	 .body = state_fields,
	 .doc = "Change the state of all instances of the project"},
	{.path = "/1.0/instances/{name}",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .handler = get_instance,
	 .doc = "One instance; ?recursion=1 with its state"},
	{.path = "/1.0/instances/{name}",
	 .method = HTTP_PUT,
	 .perm = PERM_INSTANCE_EDIT,
	 .handler = put_instance,
	 .body = put_fields,
	 .doc = "Replace an instance's configuration"},
	{.path = "/1.0/instances/{name}",
	 .method = HTTP_PATCH,
	 .perm = PERM_INSTANCE_EDIT,
	 .handler = patch_instance,
	 .body = put_fields,
	 .doc = "Change an instance's configuration"},
	{.path = "/1.0/instances/{name}",
	 .method = HTTP_POST,
	 .perm = PERM_INSTANCE_EDIT,
	 .handler = post_to_instance,
	 .body = rename_fields,
	 .doc = "Rename an instance, or send it to another server"},
	{.path = "/1.0/instances/{name}",
	 .method = HTTP_DELETE,
	 .perm = PERM_INSTANCE_EDIT,
	 .handler = delete_instance,
	 .doc = "Delete a stopped instance"},
	{.path = "/1.0/instances/{name}/state",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .handler = get_state,
	 .doc = "What an instance uses now"},
	{.path = "/1.0/instances/{name}/state",
	 .method = HTTP_PUT,
	 .perm = PERM_INSTANCE_USE,
	 .handler = put_state,
	 .body = state_fields,
	 .doc = "Start, stop, restart, freeze or unfreeze"},
	{0},
};
