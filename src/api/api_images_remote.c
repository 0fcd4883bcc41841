/* Images from other servers and for them: POST /1.0/images with a source, secrets, pushing, refreshing. */
#include <string.h>

#include "api/api.h"
#include "api/image_remote.h"
#include "base/alloc.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "base/wire_dial.h"
#include "config/names.h"
#include "http/dial.h"
#include "image/push.h"

/* --- POST /1.0/images --- */

struct source_body {
	char *type;
	char *mode;
	char *server;
	char *protocol;
	char *alias;
	char *fingerprint;
	char *certificate;
	char *secret;
	char *image_type;
	char *url;
	char *name;
	char *project;
	struct strmap properties;
};

static const struct json_field source_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, type, "type", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, mode, "mode", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, server, "server", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, protocol, "protocol", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, alias, "alias", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, fingerprint, "fingerprint", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, certificate, "certificate", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, secret, "secret", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, image_type, "image_type", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, url, "url", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct source_body, project, "project", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct source_body, properties, "properties", 0),
	JSON_FIELD_END,
};

struct post_body {
	bool auto_update;
	bool is_public;
	char *filename;
	char *compression;
	struct strmap properties;
	struct strv profiles;
	int64_t expires_ns;
	const struct json *aliases;
	const struct json *source;
};

static const struct json_field post_fields[] = {
	JSON_FIELD(JSON_FIELD_BOOL, struct post_body, auto_update, "auto_update", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct post_body, is_public, "public", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct post_body, filename, "filename", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct post_body, compression, "compression_algorithm", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct post_body, properties, "properties", 0),
	JSON_FIELD(JSON_FIELD_STRV, struct post_body, profiles, "profiles", 0),
	JSON_FIELD(JSON_FIELD_TIME, struct post_body, expires_ns, "expires_at", 0),
	JSON_FIELD(JSON_FIELD_RAW, struct post_body, aliases, "aliases", 0),
	JSON_FIELD(JSON_FIELD_RAW, struct post_body, source, "source", 0),
	JSON_FIELD_END,
};

enum { POST_PROFILES = 5, POST_EXPIRES = 6 };

static void source_body_done(struct source_body *b)
{
	if (b->secret)
		explicit_bzero(b->secret, strlen(b->secret));
	json_decode_done(source_fields, b);
}

static void post_body_done(struct post_body *b)
{
	json_decode_done(post_fields, b);
}

static int read_aliases(const struct json *list, struct image_request *q, struct error *err)
{
	if (json_kind(list) != JSON_NULL && json_kind(list) != JSON_ARRAY)
		return error_set(err, 400, "Invalid aliases: a list is expected");
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json *a = json_at(list, i);
		const char *name = json_get_str(a, "name"), *description = json_get_str(a, "description");
		int r = name_check_alias(name ? name : "", err);

		if (r < 0)
			return r;
		if (strv_contains(&q->aliases, name))
			continue;
		strv_add(&q->aliases, name);
		strv_add(&q->alias_descriptions, description ? description : "");
	}
	return 0;
}

/* What the body says of the image beside its source. */
static int make_request(struct api_call *c, struct post_body *body, uint64_t given, struct image_request *q,
			struct error *err)
{
	int r = image_check_profiles(c, &body->profiles, err);

	if (r == 0)
		r = read_aliases(body->aliases, q, err);
	if (r < 0)
		return r;
	q->project = xstrdup(c->home);
	q->is_public = body->is_public;
	q->auto_update = body->auto_update;
	q->filename = str_is_empty(body->filename) ? NULL : xstrdup(body->filename);
	strmap_copy(&q->properties, &body->properties);
	q->has_profiles = (given & (1u << POST_PROFILES)) && body->profiles.len > 0;
	if (q->has_profiles)
		strv_copy(&q->profiles, &body->profiles);
	if ((given & (1u << POST_EXPIRES)) && body->expires_ns != TIME_GO_ZERO)
		q->expires_ns = body->expires_ns;
	return 0;
}

struct job {
	struct api *api;
	struct identity id;
	struct image_request request;
};

static void job_free(void *arg)
{
	struct job *j = arg;

	image_request_done(&j->request);
	free(j);
}

static int fetch_run(struct operation *op, void *arg, struct error *err)
{
	struct job *j = arg;
	CLEANUP(image_result_done) struct image_result res = {0};
	auto_free char *url = NULL;
	int r = image_obtain(j->api, op, &j->request, &res, err);

	if (r == 0)
		r = image_add_aliases(j->api, &j->request, res.fingerprint, err);
	if (res.fingerprint)
		image_set_result(op, &res);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/images/%s", res.fingerprint);
	api_lifecycle_as(j->api, j->request.project, &j->id, "image-created", url);
	return 0;
}

static int start_fetch(struct api_call *c, struct image_request *q)
{
	struct operation_spec spec = {.description = "Downloading image",
				      .project = c->project,
				      .run = fetch_run,
				      .cancel = image_obtain_cancel,
				      .arg_free = job_free};
	struct job *j = xnew(struct job);

	*j = (struct job){.api = c->api, .id = c->id, .request = *q};
	*q = (struct image_request){0};
	spec.arg = j;
	api_async(c, api_operation_new(c, &spec));
	return 0;
}

static int post_push_token(struct api_call *c, const struct source_body *src, struct image_request *q,
			   struct error *err)
{
	struct operation *op;
	int r;

	if (!src->fingerprint || strlen(src->fingerprint) != 64 ||
	    src->fingerprint[strspn(src->fingerprint, "0123456789abcdef")])
		return error_set(err, 400, "The fingerprint of the image that is to be pushed is missing");
	r = image_check_aliases(c->api, q, NULL, err);
	if (r == 0)
		r = image_token_new(c, IMAGE_TOKEN_PUSH, src->fingerprint, q, &op, err);
	if (r == 0)
		api_async(c, op);
	return r;
}

static int post_remote(struct api_call *c, struct source_body *src, struct image_request *q, struct error *err)
{
	struct image_source *s = &q->source;

	if (!str_is_empty(src->mode) && !streq(src->mode, "pull"))
		return error_set(err, 400, "Invalid image source mode \"%s\"", src->mode);
	if (streq(src->type, "url") ? str_is_empty(src->url) : str_is_empty(src->server))
		return error_set(err, 400,
				 streq(src->type, "url") ? "Missing URL"
							 : "The address of the image's server is missing");
	*s = (struct image_source){
		.server = xstrdup(streq(src->type, "url") ? src->url : src->server),
		.protocol = xstrdup(streq(src->type, "url")       ? "direct"
				    : str_is_empty(src->protocol) ? "lxd"
								  : src->protocol),
		.certificate = TAKE_PTR(src->certificate),
		.alias = str_is_empty(src->fingerprint) ? TAKE_PTR(src->alias) : TAKE_PTR(src->fingerprint),
		.secret = TAKE_PTR(src->secret),
		.image_type = xstrdup(str_is_empty(src->image_type) ? "container" : src->image_type),
		.project = TAKE_PTR(src->project),
	};
	/* what needed a secret cannot be had again */
	q->keep_source = streq(src->type, "image") && str_is_empty(s->secret);
	if (q->auto_update && !q->keep_source)
		return error_set(err, 400, "An image from this source can't be updated automatically");
	return start_fetch(c, q);
}

int image_post_json(struct api_call *c, struct error *err)
{
	CLEANUP(post_body_done) struct post_body body = {0};
	CLEANUP(source_body_done) struct source_body src = {0};
	CLEANUP(image_request_done) struct image_request q = {0};
	uint64_t given;
	int r = api_decode(c, post_fields, &body, &given, err);

	if (r == 0 && json_kind(body.source) != JSON_OBJECT)
		r = error_set(err, 400, "Invalid images JSON");
	if (r == 0)
		r = json_decode(body.source, "source", source_fields, &src, NULL, err);
	if (r == 0)
		r = make_request(c, &body, given, &q, err);
	if (r < 0)
		return r;
	/* clients leave the type out of what is pushed */
	if (src.mode && streq(src.mode, "push") && (str_is_empty(src.type) || streq(src.type, "image")))
		return post_push_token(c, &src, &q, err);
	if (str_is_empty(src.type))
		return error_set(err, 400, "Invalid images JSON");
	if (streq(src.type, "image") || streq(src.type, "url"))
		return post_remote(c, &src, &q, err);
	if (streq(src.type, "snapshot") && !(src.name && strchr(src.name, '/')))
		return error_set(err, 400, "A snapshot is named as INSTANCE/SNAPSHOT");
	if (streq(src.type, "instance") || streq(src.type, "container") || streq(src.type, "snapshot"))
		return image_publish(c, src.name, body.compression, &q, err);
	return error_set(err, 400, "Image source type \"%s\" is not supported by this server yet", src.type);
}

/* --- secrets --- */

static int post_secret(struct api_call *c, struct error *err)
{
	CLEANUP(db_image_done) struct db_image img = {0};
	auto_free char *url = NULL;
	struct operation *op;
	int r = image_find(c, &img, err);

	if (r == 0)
		r = image_token_new(c, IMAGE_TOKEN_READ, img.fingerprint, NULL, &op, err);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/images/%s", img.fingerprint);
	api_lifecycle(c, "image-secret-created", url);
	api_async(c, op);
	return 0;
}

/* --- pushing to another server --- */

struct export_body {
	char *target;
	char *secret;
	char *certificate;
	char *project;
	struct strv profiles;
	const struct json *aliases;
};

static const struct json_field export_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct export_body, target, "target", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct export_body, secret, "secret", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct export_body, certificate, "certificate", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct export_body, project, "project", 0),
	JSON_FIELD(JSON_FIELD_STRV, struct export_body, profiles, "profiles", 0),
	JSON_FIELD(JSON_FIELD_RAW, struct export_body, aliases, "aliases", 0),
	JSON_FIELD_END,
};

static void export_body_done(struct export_body *b)
{
	if (b->secret)
		explicit_bzero(b->secret, strlen(b->secret));
	json_decode_done(export_fields, b);
}

struct push {
	struct api *api;
	struct identity id;
	char *project;
	struct db_image image;
	struct dial_target target;
	char *secret;
	char *remote_project;
};

static void push_free(void *arg)
{
	struct push *p = arg;

	free(p->project);
	db_image_done(&p->image);
	dial_target_done(&p->target);
	if (p->secret)
		explicit_bzero(p->secret, strlen(p->secret));
	free(p->secret);
	free(p->remote_project);
	free(p);
}

static bool push_cancelled(void *arg)
{
	return operation_is_cancelled(arg);
}

static int push_run(struct operation *op, void *arg, struct error *err)
{
	struct push *p = arg;
	auto_free char *url = xasprintf("/1.0/images/%s", p->image.fingerprint);
	struct image_push_spec spec = {.images = p->api->images,
				       .image = &p->image,
				       .target = &p->target,
				       .secret = p->secret,
				       .project = p->remote_project,
				       .cancelled = push_cancelled,
				       .arg = op};
	int r = image_push(&spec, err);

	if (r == 0)
		api_lifecycle_as(p->api, p->project, &p->id, "image-retrieved", url);
	return r;
}

/* Whom to believe, and which way leads there. */
static int push_target(struct api_call *c, const struct export_body *body, struct dial_target *t, struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	char pin[65];
	int r;

	if (str_is_empty(body->target))
		return error_set(err, 400, "The target server is missing");
	r = dial_target_parse(body->target, 443, t, NULL, err);
	if (r < 0)
		return r;
	if (str_is_empty(body->certificate)) {
		t->flags = WIRE_DIAL_SYSTEM_ROOTS;
	} else {
		r = fetch_pin(body->certificate, pin, err);
		if (r < 0)
			return r;
		t->flags = WIRE_DIAL_PIN;
		strv_add(&t->pins, pin);
	}
	store_config_copy(c->api->store, &config);
	t->proxy = dial_proxy_pick(strmap_get(&config, "core.proxy_https"),
				   strmap_get(&config, "core.proxy_ignore_hosts"), t->host, t->port);
	return 0;
}

static int post_export(struct api_call *c, struct error *err)
{
	CLEANUP(export_body_done) struct export_body body = {0};
	struct operation_spec spec = {.description = "Downloading image",
				      .project = c->project,
				      .run = push_run,
				      .cancel = image_obtain_cancel,
				      .arg_free = push_free};
	auto_free char *url = NULL;
	struct operation *op;
	struct push *p = xnew(struct push);
	int r = api_decode(c, export_fields, &body, NULL, err);

	p->api = c->api;
	p->id = c->id;
	p->project = xstrdup(c->home);
	if (r == 0)
		r = image_find(c, &p->image, err);
	if (r == 0 && str_is_empty(body.secret))
		r = error_set(err, 400, "The secret for the target server is missing");
	if (r == 0)
		r = push_target(c, &body, &p->target, err);
	if (r < 0) {
		push_free(p);
		return r;
	}
	p->secret = TAKE_PTR(body.secret);
	p->remote_project = TAKE_PTR(body.project);
	url = xasprintf("/1.0/images/%s", p->image.fingerprint);
	spec.arg = p;
	op = api_operation_new(c, &spec);
	operation_add_resource(op, "images", url);
	api_async(c, op);
	return 0;
}

/* --- refreshing --- */

struct refresh {
	struct api *api;
	struct identity id;
	struct image_request request;
	struct db_image old;
};

static void refresh_free(void *arg)
{
	struct refresh *j = arg;

	image_request_done(&j->request);
	db_image_done(&j->old);
	free(j);
}

/* Names of the old image lead to the new one. */
static int move_aliases(struct api *api, const struct db_image *from, const struct db_image *to, struct error *err)
{
	struct store *s = api->store;

	for (;;) {
		CLEANUP(db_alias_done) struct db_alias row = {0};
		const struct db_alias *a = NULL;
		int r;

		mutex_lock(&s->lock);
		for (size_t i = 0; i < s->n_aliases && !a; i++)
			if (s->aliases[i]->image_id == from->id)
				a = s->aliases[i];
		if (a)
			row = (struct db_alias){.id = a->id,
						.image_id = to->id,
						.project = xstrdup(a->project),
						.name = xstrdup(a->name),
						.description = xstrdup(a->description)};
		mutex_unlock(&s->lock);
		if (!a)
			return 0;
		r = store_alias_update(s, &row, err);
		if (r < 0)
			return r;
	}
}

static int refresh_run(struct operation *op, void *arg, struct error *err)
{
	struct refresh *j = arg;
	CLEANUP(image_result_done) struct image_result res = {0};
	CLEANUP(db_image_done) struct db_image fresh = {0};
	auto_free char *url = NULL;
	bool same;
	int r;

	if (str_is_empty(j->request.source.server))
		return error_set(err, 404, "Image source not found");
	r = image_obtain(j->api, op, &j->request, &res, err);
	if (r < 0)
		return error_wrap(err, "Failed to refresh image %s", j->old.fingerprint);
	same = streq(res.fingerprint, j->old.fingerprint);
	if (!same) {
		r = store_image_dup(j->api->store, j->request.project, res.fingerprint, &fresh, err);
		/* an image that was here before, from elsewhere, replaces none: the server may not even have it */
		if (r == 0 && !res.downloaded && !image_came_from(&fresh, &j->request))
			same = true;
		if (r == 0 && !same)
			r = move_aliases(j->api, &j->old, &fresh, err);
		if (r == 0 && !same)
			r = image_delete(j->api->images, j->request.project, j->old.fingerprint, err);
	}
	if (r < 0)
		return r;
	operation_set_metadata(op, same ? "{\"refreshed\":false}" : "{\"refreshed\":true}", /* publish= */ false);
	url = xasprintf("/1.0/images/%s", same ? j->old.fingerprint : res.fingerprint);
	api_lifecycle_as(j->api, j->request.project, &j->id, "image-refreshed", url);
	return 0;
}

static int post_refresh(struct api_call *c, struct error *err)
{
	struct operation_spec spec = {.description = "Refreshing image",
				      .project = c->project,
				      .run = refresh_run,
				      .cancel = image_obtain_cancel,
				      .arg_free = refresh_free};
	struct refresh *j = xnew(struct refresh);
	auto_free char *url = NULL;
	struct operation *op;
	int r = image_find(c, &j->old, err);

	if (r < 0) {
		refresh_free(j);
		return r;
	}
	j->api = c->api;
	j->id = c->id;
	j->request = (struct image_request){.project = xstrdup(c->home),
					    .is_public = j->old.is_public,
					    .auto_update = j->old.auto_update,
					    .cached = j->old.cached,
					    .has_profiles = true,
					    .keep_source = true,
					    .refresh = true};
	strv_copy(&j->request.profiles, &j->old.profiles);
	image_source_from_json(j->old.source, &j->request.source);
	spec.arg = j;
	op = api_operation_new(c, &spec);
	url = xasprintf("/1.0/images/%s", j->old.fingerprint);
	operation_add_resource(op, "images", url);
	api_async(c, op);
	return 0;
}

const struct api_route api_image_remote_routes[] = {
	{.path = "/1.0/images/{fingerprint}/secret",
	 .method = HTTP_POST,
	 .perm = PERM_IMAGE_EDIT,
	 .feature = PROJECT_IMAGES,
	 .handler = post_secret,
	 .doc = "A token by which a stranger may read the image, once"},
	{.path = "/1.0/images/{fingerprint}/export",
	 .method = HTTP_POST,
	 .perm = PERM_IMAGE_EDIT,
	 .feature = PROJECT_IMAGES,
	 .handler = post_export,
	 .body = export_fields,
	 .doc = "Push the image to another server that gave a secret for it"},
	{.path = "/1.0/images/{fingerprint}/refresh",
	 .method = HTTP_POST,
	 .perm = PERM_IMAGE_EDIT,
	 .feature = PROJECT_IMAGES,
	 .handler = post_refresh,
	 .doc = "Fetch the image anew from where it came from"},
	{0},
};
