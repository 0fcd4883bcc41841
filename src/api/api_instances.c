/* /1.0/instances (and its aliases containers, virtual-machines): the objects; state, exec and logs stand apart. */
#include <string.h>

#include "api/api.h"
#include "api/instance_job.h"
#include "base/alloc.h"
#include "base/str.h"
#include "config/filter.h"
#include "config/names.h"
#include "instance/snapshot.h"
#include "migration/migration.h"

/* --- reading --- */

static int keep_by_filter(const char *text, size_t len, void *arg, struct error *err)
{
	auto_json struct json *j = NULL;
	int r = json_parse(text, len, &j, err);

	return r < 0 ? r : filter_match(arg, filter_get_json, j);
}

/* Of all projects that the caller may view: one list. */
static int render_seen(struct api_call *c, enum instance_list_form form, struct filter *f, struct strbuf *out,
		       struct error *err)
{
	auto_strv struct strv names = STRV_INIT;
	const char *separator = "";
	int r = 0;

	store_project_names(c->api->store, &names);
	strbuf_append_char(out, '[');
	for (size_t k = 0; k < names.len && r == 0; k++) {
		auto_strbuf struct strbuf part = STRBUF_INIT;

		if (!authorize(&c->id, PERM_PROJECT_VIEW, names.items[k]))
			continue;
		r = instances_render(c->api->instances, names.items[k], form, c->prefix, f ? keep_by_filter : NULL, f,
				     &JSONW(&part), err);
		if (r == 0 && part.len > 2) {
			strbuf_append(out, separator);
			strbuf_append_len(out, part.data + 1, part.len - 2);
			separator = ",";
		}
	}
	strbuf_append_char(out, ']');
	return r;
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
	else if (all && !identity_is_admin(&c->id))
		r = render_seen(c, form, f, out, err);
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
	bool instance_only;
	bool container_only; /* its older name */
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
	JSON_FIELD(JSON_FIELD_BOOL, struct source_body, instance_only, "instance_only", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct source_body, container_only, "container_only", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct source_body, properties, "properties", 0),
	JSON_FIELD_END,
};

static void source_done(struct source_body *b)
{
	json_decode_done(source_fields, b);
}

/* The project whose images the caller's project has. */
static const char *image_home(struct api_call *c)
{
	return store_effective_project(c->api->store, c->project, PROJECT_IMAGES);
}

/* Newest image that has all of these properties. */
static int find_by_properties(struct api_call *c, const struct strmap *want, char **ret, struct error *err)
{
	struct store *s = c->api->store;
	const char *home = image_home(c);
	const struct db_image *best = NULL;

	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_images; k++) {
		const struct db_image *img = s->images[k];
		bool fits = img->phase == DB_READY && streq(img->project, home);

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
static int source_remote(struct api_call *c, struct source_body *src, struct instance_job *j, struct error *err)
{
	const char *name = str_is_empty(src->fingerprint) ? src->alias : src->fingerprint;

	if (str_is_empty(name))
		return error_set(err, 400, "Must specify one of alias or fingerprint for init from image");
	j->remote.project = xstrdup(image_home(c));
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

static int source_image(struct api_call *c, struct source_body *src, struct instance_job *j, struct error *err)
{
	struct store *s = c->api->store;
	const char *home = image_home(c);
	const struct db_alias *a;
	const struct db_image *img = NULL;

	j->source = INSTANCE_SOURCE_IMAGE;
	if (!str_is_empty(src->server))
		return source_remote(c, src, j, err);
	if (!str_is_empty(src->fingerprint))
		return store_image_resolve(s, home, src->fingerprint, &j->fingerprint, err);
	if (!str_is_empty(src->alias)) {
		mutex_lock(&s->lock);
		a = store_alias_locked(s, home, src->alias);
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

/* "c1", with its snapshots unless they are not wanted, or "c1/snap". */
static int find_original(struct api_call *c, const struct source_body *src, const char *project, struct instance_job *j,
			 struct error *err)
{
	const char *slash = strchr(src->source, '/');
	auto_free char *name = slash ? xstrndup(src->source, (size_t)(slash - src->source)) : xstrdup(src->source);
	int r = instance_find(c->api->instances, project, name, &j->original, err);

	if (r < 0)
		return r;
	if (slash) {
		if (!snapshot_exists(j->original, slash + 1))
			return error_set(err, 404, "Snapshot not found");
		j->snapshot = xstrdup(slash + 1);
		return 0;
	}
	j->with_snapshots = !src->instance_only && !src->container_only && instance_has_snapshots(j->original);
	return j->with_snapshots ? project_allows_snapshots(c->api->instances, c->project, err) : 0;
}

static int source_copy(struct api_call *c, struct source_body *src, struct instance_job *j, struct error *err)
{
	const char *project = str_is_empty(src->project) ? c->project : src->project;
	int r;

	j->source = INSTANCE_SOURCE_COPY;
	if (str_is_empty(src->source))
		return error_set(err, 400, "Must specify a source instance");
	/* whoever has a copy can read all that is in it, as who uses the instance can */
	r = api_check_project(c, PERM_PROJECT_VIEW, project, err);
	if (r == 0)
		r = api_check_project(c, PERM_INSTANCE_USE, project, err);
	if (r < 0)
		return r;
	if (src->live)
		return error_set(err, 400, "Live copies are not supported by this server yet");
	if (src->refresh)
		return error_set(err, 400, "Refreshing copies are not supported by this server yet");
	return find_original(c, src, project, j, err);
}

static int source_none(struct api_call *c UNUSED, struct source_body *src UNUSED, struct instance_job *j,
		       struct error *err UNUSED)
{
	j->source = INSTANCE_SOURCE_NONE;
	return 0;
}

/* From another server: we connect to it (pull), or it, or a client between the two, to us (push). */
static int source_migration(struct api_call *c UNUSED, struct source_body *src, struct instance_job *j,
			    struct error *err)
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
	int (*fn)(struct api_call *c, struct source_body *src, struct instance_job *j, struct error *err);
} sources[] = {
	{"image", source_image},
	{"copy", source_copy},
	{"none", source_none},
	{"migration", source_migration},
};

static int decode_source(struct api_call *c, const struct json *j, struct instance_job *job, struct error *err)
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
static struct instance_create_spec create_spec(const struct instance_job *j)
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
		.snapshot = j->snapshot,
		.with_snapshots = j->with_snapshots,
	};
}

static int fetch_image(struct operation *op, struct instance_job *j, struct error *err)
{
	CLEANUP(image_result_done) struct image_result res = {0};
	int r = image_obtain(j->api, op, &j->remote, &res, err);

	if (r == 0)
		j->fingerprint = TAKE_PTR(res.fingerprint);
	return r;
}

static int create_run(struct operation *op, void *arg, struct error *err)
{
	struct instance_job *j = arg;
	struct instance_create_spec spec;
	int r = j->remote.project ? fetch_image(op, j, err) : 0;

	if (r < 0)
		return r;
	spec = create_spec(j);
	r = instance_create(j->api->instances, &spec, err);
	if (r == 0)
		instance_job_event(j, j->name, "instance-created");
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
	struct instance_job *j = arg;
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
		instance_job_event(j, j->name, "instance-created");
	return r;
}

static int start_receive(struct api_call *c, struct instance_job *j, struct error *err)
{
	struct instance_create_spec spec = create_spec(j);
	int r = instance_create_begin(c->api->instances, &spec, &j->begun, err);

	if (r == 0)
		instance_job_start(c, j, "Creating instance", receive_run);
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
	struct instance_job *j;
	int r = api_decode(c, post_fields, &body, &given, err);

	mapmap_drop_empty(&body.devices);
	if (r == 0)
		r = check_post(c, &body, err);
	if (r < 0)
		return r;
	j = instance_job_new(c, body.name, NULL);
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
		instance_job_start(c, j, "Creating instance", create_run);
	if (r < 0)
		instance_job_free(j);
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

static int apply_update(struct instance_job *j, struct error *err)
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
		instance_job_event(j, j->name, "instance-updated");
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
	if (r >= 0)
		r = api_decode(c, put_fields, body, given, err);
	mapmap_drop_empty(&body->devices);
	return r;
}

static int restore_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct instance_job *j = arg;
	int r = snapshot_exists(j->instance, j->new_name)
			? instance_restore(j->instance, j->new_name, err)
			: error_set(err, 404, "Snapshot %s/%s does not exist", j->name, j->new_name);

	if (r == 0)
		instance_job_event(j, j->name, "instance-restored");
	return r;
}

/* The body names a snapshot: nothing else in it counts. */
static int restore_instance(struct api_call *c, struct instance *i, const char *name)
{
	const char *slash = strrchr(name, '/');
	struct instance_job *j;

	/* "c1/snap0" is taken for "snap0" */
	name = slash ? slash + 1 : name;
	j = instance_job_new(c, c->params[0], i);
	j->new_name = xstrdup(name);
	instance_job_start(c, j, "Restoring snapshot", restore_run);
	return 0;
}

static int put_instance(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(put_done) struct put_body body = {0};
	struct instance_job *j;
	uint64_t given;
	int r = begin_change(c, &i, &body, &given, err);

	if (r == 0 && !str_is_empty(body.restore))
		return restore_instance(c, i, body.restore);
	if (r < 0)
		return r;
	j = instance_job_new(c, c->params[0], i);
	j->architecture = TAKE_PTR(body.architecture);
	j->description = TAKE_PTR(body.description);
	j->ephemeral = body.ephemeral;
	strmap_copy(&j->config, &body.config);
	mapmap_copy(&j->devices, &body.devices);
	strv_copy(&j->profiles, &body.profiles);
	if (!(given & (1u << PUT_PROFILES)))
		strv_add(&j->profiles, "default");
	instance_job_start(c, j, "Updating instance", update_run);
	return 0;
}

static int patch_instance(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(put_done) struct put_body body = {0};
	auto_free char *architecture = NULL;
	auto_free char *description = NULL;
	struct instance_job *j;
	uint64_t given;
	int r = begin_change(c, &i, &body, &given, err);

	if (r == 0 && !str_is_empty(body.restore))
		r = error_set(err, 400, "Can't call PATCH in restore mode");
	if (r < 0)
		return r;
	j = instance_job_new(c, c->params[0], i);
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
	instance_job_free(j);
	if (r == 0)
		api_empty(c);
	return r;
}

static int rename_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct instance_job *j = arg;
	int r = instance_rename(j->instance, j->new_name, err);

	if (r == 0)
		instance_job_event(j, j->new_name, "instance-renamed");
	return r;
}

/* --- to another project --- */

static int move_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct instance_job *j = arg;
	auto_free char *url = xasprintf("/1.0/instances/%s", j->new_name);
	int r = instance_move(j->instance, j->new_project, j->new_name, err);

	if (r < 0)
		return r;
	instance_job_event(j, j->name, "instance-deleted");
	api_lifecycle_as(j->api, j->new_project, &j->id, "instance-created", url);
	return 0;
}

static int move_to_project(struct api_call *c, const char *project, const char *name, struct instance *i,
			   struct error *err)
{
	struct instance_job *j;
	int r = api_check_project(c, PERM_INSTANCE_EDIT, project, err);

	if (r == 0)
		r = name_check_instance(name, err);
	if (r < 0)
		return r;
	if (streq(project, c->project))
		return error_set(err, 400, "The instance is in project \"%s\" already", project);
	j = instance_job_new(c, c->params[0], i);
	j->new_name = xstrdup(name);
	j->new_project = xstrdup(project);
	instance_job_start(c, j, "Moving instance", move_run);
	return 0;
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
	struct instance_job *j = arg;
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
	bool instance_only;
	bool container_only; /* its older name */
	const struct json *target;
};

static const struct json_field rename_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct rename_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct rename_body, pool, "pool", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct rename_body, project, "project", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct rename_body, migration, "migration", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct rename_body, live, "live", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct rename_body, instance_only, "instance_only", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct rename_body, container_only, "container_only", 0),
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
	struct instance_job *j;
	int r = 0;

	if (instance_state(i) != CONTAINER_STOPPED)
		return error_set(err, 400,
				 body->live ? "Live migration is not supported by this server: stop the instance first"
					    : "Only stopped instances can be migrated by this server: stop it first");
	/* who moves it deletes it here afterwards, and them with it */
	if (!body->instance_only && !body->container_only && instance_has_snapshots(i))
		return error_set(
			err, 400,
			"Snapshots cannot be sent to another server yet: leave them out with --instance-only, or "
			"delete them first");
	j = instance_job_new(c, c->params[0], i);
	if (json_kind(body->target) == JSON_OBJECT)
		r = migration_session_new_dial(body->target, &j->migration, err);
	else
		j->migration = migration_session_new();
	if (r < 0) {
		instance_job_free(j);
		return r;
	}
	instance_job_start(c, j, "Migrating instance", send_run);
	return 0;
}

static int post_to_instance(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(instance_unrefp) struct instance *other = NULL;
	CLEANUP(rename_done) struct rename_body body = {0};
	auto_error struct error absent = ERROR_INIT;
	struct instance_job *j;
	int r = find(c, &i, err);

	if (r == 0)
		r = api_decode(c, rename_fields, &body, NULL, err);
	if (r == 0 && !str_is_empty(body.pool))
		r = error_set(err, 400, "Moving instances to another pool is not supported by this server yet");
	if (r == 0 && !str_is_empty(body.project))
		return move_to_project(c, body.project, str_is_empty(body.name) ? c->params[0] : body.name, i, err);
	if (r == 0 && body.migration)
		return migrate_instance(c, &body, i, err);
	if (r == 0)
		r = name_check_instance(body.name ? body.name : "", err);
	if (r == 0 && instance_find(c->api->instances, c->project, body.name, &other, &absent) == 0)
		r = error_set(err, 409, "Name \"%s\" already in use", body.name);
	if (r < 0)
		return r;
	j = instance_job_new(c, c->params[0], i);
	j->new_name = TAKE_PTR(body.name);
	instance_job_start(c, j, "Renaming instance", rename_run);
	return 0;
}

static int delete_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct instance_job *j = arg;
	int r = instance_delete(j->instance, err);

	if (r == 0)
		instance_job_event(j, j->name, "instance-deleted");
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
	instance_job_start(c, instance_job_new(c, c->params[0], i), "Deleting instance", delete_run);
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
	 .doc = "Rename an instance, move it to another project, or send it to another server"},
	{.path = "/1.0/instances/{name}",
	 .method = HTTP_DELETE,
	 .perm = PERM_INSTANCE_EDIT,
	 .handler = delete_instance,
	 .doc = "Delete a stopped instance"},
	{0},
};
