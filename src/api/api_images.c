/* /1.0/images and /1.0/images/aliases */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "api/image_remote.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "config/filter.h"
#include "config/names.h"
#include "http/multipart.h"

#define STRANGERS_EXPORTS_MAX 4 /* of split images, at a time */

/* --- rendering --- */

static void write_aliases(struct store *s, const struct db_image *img, struct jsonw *w) REQUIRES(s->lock)
{
	jsonw_key(w, "aliases");
	jsonw_array_begin(w);
	for (size_t k = 0; k < s->n_aliases; k++) {
		if (s->aliases[k]->image_id != img->id)
			continue;
		jsonw_object_begin(w);
		jsonw_kv_str(w, "name", s->aliases[k]->name);
		jsonw_kv_str(w, "description", s->aliases[k]->description);
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
}

static void write_image(struct store *s, const struct db_image *img, struct jsonw *w) REQUIRES(s->lock)
{
	jsonw_object_begin(w);
	jsonw_kv_bool(w, "auto_update", img->auto_update);
	jsonw_kv_strmap(w, "properties", &img->properties);
	jsonw_kv_bool(w, "public", img->is_public);
	jsonw_kv_time(w, "expires_at", img->expires_ns);
	jsonw_kv_strv(w, "profiles", &img->profiles);
	write_aliases(s, img, w);
	jsonw_kv_str(w, "architecture", img->architecture);
	jsonw_kv_bool(w, "cached", img->cached);
	jsonw_kv_str(w, "filename", img->filename);
	jsonw_kv_str(w, "fingerprint", img->fingerprint);
	jsonw_kv_int(w, "size", img->size_bytes);
	if (!str_is_empty(img->source))
		jsonw_kv_raw(w, "update_source", img->source);
	jsonw_kv_str(w, "type", img->type);
	jsonw_kv_time(w, "created_at", img->created_ns);
	jsonw_kv_time(w, "last_used_at", img->last_used_ns);
	jsonw_kv_time(w, "uploaded_at", img->uploaded_ns);
	jsonw_object_end(w);
}

static void image_etag(const struct db_image *img, char etag[65])
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	jsonw_bool(&w, img->is_public);
	jsonw_bool(&w, img->auto_update);
	jsonw_strmap(&w, &img->properties);
	jsonw_array_end(&w);
	api_etag(b.data, b.len, etag);
}

/* Does the filter keep this object? */
static bool kept(const struct filter *f, const char *text, size_t len)
{
	auto_json struct json *j = NULL;
	auto_error struct error err = ERROR_INIT;

	if (!f)
		return true;
	if (json_parse(text, len, &j, &err) < 0)
		return false;
	return filter_match(f, filter_get_json, j);
}

/* Strangers, and who holds nothing in the project, see what is public. */
static bool sees_private(const struct api_call *c)
{
	return authorize(&c->id, PERM_PROJECT_VIEW, c->project);
}

/*
 * Where the caller finds images. Who may not view the project finds nothing of the default project's through it: one
 * that shares those looks like one that is not there.
 */
static const char *visible_home(const struct api_call *c)
{
	return sees_private(c) ? c->home : c->project;
}

static int list_images(struct api_call *c, struct error *err)
{
	CLEANUP(filter_freep) struct filter *f = NULL;
	const char *text = http_query(c->req, "filter");
	struct store *s = c->api->store;
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	bool objects = api_recursion(c) > 0, all = sees_private(c);
	const char *home = visible_home(c);
	int r = str_is_empty(text) ? 0 : filter_parse(text, &f, err);

	if (r < 0)
		return r;
	jsonw_array_begin(&w);
	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_images; k++) {
		auto_strbuf struct strbuf piece = STRBUF_INIT;
		const struct db_image *img = s->images[k];

		if (img->phase != DB_READY || !streq(img->project, home) || !(all || img->is_public))
			continue;
		write_image(s, img, &JSONW(&piece));
		if (!kept(f, piece.data, piece.len))
			continue;
		if (objects)
			jsonw_raw(&w, piece.data, piece.len);
		else
			jsonw_strf(&w, "/1.0/images/%s", img->fingerprint);
	}
	mutex_unlock(&s->lock);
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

int image_find(struct api_call *c, struct db_image *ret, struct error *err)
{
	auto_free char *fingerprint = NULL;
	int r = store_image_resolve(c->api->store, c->home, c->params[0], &fingerprint, err);

	return r < 0 ? r : store_image_dup(c->api->store, c->home, fingerprint, ret, err);
}

/*
 * The same for who may be a stranger: of other images than public ones, and the one that a secret is for, nothing can
 * be learned; a beginning that only they share is not ambiguous.
 */
static int find_visible(struct api_call *c, struct db_image *ret, struct error *err)
{
	const char *prefix = c->params[0], *secret = http_query(c->req, "secret");
	struct store *s = c->api->store;
	auto_free char *fingerprint = NULL;
	bool several = false;

	if (sees_private(c))
		return image_find(c, ret, err);
	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_images && *prefix; k++) {
		const struct db_image *img = s->images[k];

		if (img->phase != DB_READY || !streq(img->project, c->home) ||
		    strncasecmp(img->fingerprint, prefix, strlen(prefix)) != 0)
			continue;
		if (!(img->is_public && streq(img->project, c->project)) &&
		    !image_token_fits(c->api->image_tokens, IMAGE_TOKEN_READ, c->project, img->fingerprint, secret))
			continue;
		several = fingerprint != NULL;
		free(fingerprint);
		fingerprint = xstrdup(img->fingerprint);
	}
	mutex_unlock(&s->lock);
	if (several || !fingerprint)
		return error_set(err, 404, "Image not found");
	return store_image_dup(s, c->home, fingerprint, ret, err);
}

static int get_image(struct api_call *c, struct error *err)
{
	CLEANUP(db_image_done) struct db_image img = {0};
	struct strbuf b = STRBUF_INIT;
	char etag[65];
	int r = find_visible(c, &img, err);

	if (r < 0)
		return r;
	mutex_lock(&c->api->store->lock);
	write_image(c->api->store, &img, &JSONW(&b));
	mutex_unlock(&c->api->store->lock);
	image_etag(&img, etag);
	api_sync_etag(c, &b, etag);
	return 0;
}

/* --- changing --- */

struct image_body {
	bool auto_update;
	bool is_public;
	struct strmap properties;
	struct strv profiles;
	int64_t expires_ns;
};

static const struct json_field image_fields[] = {
	JSON_FIELD(JSON_FIELD_BOOL, struct image_body, auto_update, "auto_update", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct image_body, is_public, "public", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct image_body, properties, "properties", 0),
	JSON_FIELD(JSON_FIELD_STRV, struct image_body, profiles, "profiles", 0),
	JSON_FIELD(JSON_FIELD_TIME, struct image_body, expires_ns, "expires_at", 0),
	JSON_FIELD_END,
};

enum { GIVEN_AUTO_UPDATE, GIVEN_PUBLIC, GIVEN_PROPERTIES, GIVEN_PROFILES, GIVEN_EXPIRES };

static void body_done(struct image_body *b)
{
	json_decode_done(image_fields, b);
}

int image_check_profiles(struct api_call *c, const struct strv *profiles, struct error *err)
{
	const char *home = store_effective_project(c->api->store, c->project, PROJECT_PROFILES);

	for (size_t k = 0; k < profiles->len; k++) {
		CLEANUP(db_profile_done) struct db_profile p = {0};

		if (store_profile_dup(c->api->store, home, profiles->items[k], &p, err) < 0)
			return error_set(err, 400, "Requested profile \"%s\" doesn't exist", profiles->items[k]);
	}
	return 0;
}

static int change(struct api_call *c, bool replace, struct error *err)
{
	CLEANUP(body_done) struct image_body body = {0};
	CLEANUP(db_image_done) struct db_image img = {0};
	auto_free char *url = NULL;
	uint64_t given;
	char etag[65];
	int r = image_find(c, &img, err);

	if (r == 0) {
		image_etag(&img, etag);
		r = api_check_etag(c, etag, err);
	}
	if (r == 0)
		r = api_decode(c, image_fields, &body, &given, err);
	if (r == 0)
		r = image_check_profiles(c, &body.profiles, err);
	if (r < 0)
		return r;
	if (replace || (given & (1u << GIVEN_AUTO_UPDATE)))
		img.auto_update = body.auto_update;
	if (replace || (given & (1u << GIVEN_PUBLIC)))
		img.is_public = body.is_public;
	if (given & (1u << GIVEN_EXPIRES))
		img.expires_ns = body.expires_ns;
	if (given & (1u << GIVEN_PROFILES))
		strv_copy(&img.profiles, &body.profiles);
	if (replace)
		strmap_done(&img.properties);
	for (size_t k = 0; k < body.properties.len; k++)
		strmap_set(&img.properties, body.properties.items[k].key,
			   *body.properties.items[k].value || replace ? body.properties.items[k].value : NULL);
	r = store_image_update(c->api->store, &img, err);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/images/%s", img.fingerprint);
	api_lifecycle(c, "image-updated", url);
	api_empty(c);
	return 0;
}

static int put_image(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ true, err);
}

static int patch_image(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ false, err);
}

struct delete_job {
	struct api *api;
	struct identity id;
	char *project;
	char *fingerprint;
};

static void delete_job_free(void *arg)
{
	struct delete_job *j = arg;

	free(j->project);
	free(j->fingerprint);
	free(j);
}

static int delete_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct delete_job *j = arg;
	auto_free char *url = xasprintf("/1.0/images/%s", j->fingerprint);
	int r = image_delete(j->api->images, j->project, j->fingerprint, err);

	if (r == 0)
		api_lifecycle_as(j->api, j->project, &j->id, "image-deleted", url);
	return r;
}

static int delete_image(struct api_call *c, struct error *err)
{
	CLEANUP(db_image_done) struct db_image img = {0};
	struct operation_spec spec = {
		.description = "Deleting image", .project = c->project, .run = delete_run, .arg_free = delete_job_free};
	auto_free char *url = NULL;
	struct delete_job *j;
	struct operation *op;
	int r = image_find(c, &img, err);

	if (r < 0)
		return r;
	j = xnew(struct delete_job);
	*j = (struct delete_job){
		.api = c->api, .id = c->id, .project = xstrdup(c->home), .fingerprint = xstrdup(img.fingerprint)};
	spec.arg = j;
	op = api_operation_new(c, &spec);
	url = xasprintf("/1.0/images/%s", img.fingerprint);
	operation_add_resource(op, "images", url);
	api_async(c, op);
	return 0;
}

/* --- export --- */

static void export_name(const char *prefix, const char *fingerprint, const char *ext, struct strbuf *ret)
{
	strbuf_appendf(ret, "%s%s%s", prefix, fingerprint, ext);
}

/* Append a file to the multipart body that is being put together in @out. */
static int append_part(int out, const char *boundary, const char *name, const char *filename, int in, struct error *err)
{
	auto_free char *head = xasprintf("--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s\"\r\n"
					 "Content-Type: application/octet-stream\r\n\r\n",
					 boundary, name, filename);
	int r = fd_write_full(out, head, strlen(head));

	while (r == 0) {
		char chunk[64 * 1024];
		ssize_t n = fd_read_full(in, chunk, sizeof(chunk));

		if (n <= 0) {
			r = (int)n;
			break;
		}
		r = fd_write_full(out, chunk, (size_t)n);
	}
	if (r == 0)
		r = fd_write_full(out, "\r\n", 2);
	return r < 0 ? error_errno(err, -r, "Export image") : 0;
}

static int export_split(struct api_call *c, const struct db_image *img, struct error *err)
{
	auto_strbuf struct strbuf meta_name = STRBUF_INIT, rootfs_name = STRBUF_INIT;
	auto_free char *boundary = random_hex(24);
	auto_free char *type = xasprintf("multipart/form-data; boundary=%s", boundary);
	auto_free char *tail = xasprintf("--%s--\r\n", boundary);
	auto_free char *dir = xasprintf("%s/images", c->api->lxd_dir);
	auto_close int meta = image_file_open(c->api->images, img->project, img->fingerprint, IMAGE_PART_META, err);
	auto_close int rootfs = meta < 0 ? -EBADF
					 : image_file_open(c->api->images, img->project, img->fingerprint,
							   IMAGE_PART_ROOTFS, err);
	auto_close int out = -EBADF;
	int r;

	if (rootfs < 0)
		return -err->errnum;
	out = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (out < 0)
		return error_errno(err, errno, "Create temporary file for export");
	export_name("meta-", img->fingerprint, img->meta_ext, &meta_name);
	export_name("", img->fingerprint, img->rootfs_ext, &rootfs_name);
	r = append_part(out, boundary, "metadata", meta_name.data, meta, err);
	if (r == 0)
		r = append_part(out, boundary, "rootfs", rootfs_name.data, rootfs, err);
	if (r == 0 && fd_write_full(out, tail, strlen(tail)) < 0)
		r = error_errno(err, EIO, "Export image");
	if (r < 0)
		return r;
	c->resp->fd = TAKE_FD(out);
	http_response_header(c->resp, "Content-Type", type);
	return 0;
}

/* Each export of a split image is a copy of it on the disk while it is sent. */
static _Atomic unsigned strangers_exports;

static void export_done(void *count)
{
	atomic_fetch_sub((_Atomic unsigned *)count, 1);
}

static int limit_exports(struct api_call *c, struct error *err)
{
	if (atomic_fetch_add(&strangers_exports, 1) >= STRANGERS_EXPORTS_MAX) {
		atomic_fetch_sub(&strangers_exports, 1);
		return error_set(err, 503, "Too many exports");
	}
	c->req->done = export_done;
	c->req->done_arg = &strangers_exports;
	return 0;
}

static int export_image(struct api_call *c, struct error *err)
{
	CLEANUP(db_image_done) struct db_image img = {0};
	auto_strbuf struct strbuf name = STRBUF_INIT;
	auto_free char *url = NULL;
	int fd, r = find_visible(c, &img, err);

	if (r < 0)
		return r;
	if (img.split && !sees_private(c))
		r = limit_exports(c, err);
	if (r < 0)
		return r;
	/* a secret opens the image once */
	if (!sees_private(c) && !img.is_public &&
	    !image_token_use(c->api->image_tokens, IMAGE_TOKEN_READ, c->project, img.fingerprint,
			     http_query(c->req, "secret"), NULL))
		return error_set(err, 404, "Image not found");
	url = xasprintf("/1.0/images/%s", img.fingerprint);
	if (img.split) {
		r = export_split(c, &img, err);
	} else {
		fd = image_file_open(c->api->images, img.project, img.fingerprint, IMAGE_PART_META, err);
		r = fd < 0 ? fd : 0;
		export_name("", img.fingerprint, img.meta_ext, &name);
		if (r == 0)
			api_file(c, fd, "application/octet-stream", name.data);
	}
	if (r == 0)
		api_lifecycle(c, "image-retrieved", url);
	return r;
}

/* --- upload --- */

struct upload {
	struct api *api;
	struct identity id;
	struct image_upload *image;
	struct http_multipart *multipart; /* NULL: unified */
	char *project;
	char *filename;
	char *expected;
	bool is_public;
	struct strmap properties;
	struct image_request pushed; /* what the token says, of an upload that needed one */
	char *secret;                /* the token's, NULL: it needed none */
	unsigned parts;              /* bit per enum image_part seen */
};

static void upload_free(void *arg)
{
	struct upload *u = arg;

	http_multipart_free(u->multipart);
	image_upload_free(u->image);
	free(u->project);
	free(u->filename);
	free(u->expected);
	strmap_done(&u->properties);
	image_request_done(&u->pushed);
	if (u->secret)
		explicit_bzero(u->secret, strlen(u->secret));
	free(u->secret);
	free(u);
}

static int on_part(void *arg, const char *name, uint64_t offset, const void *data, size_t len, struct error *err)
{
	struct upload *u = arg;
	enum image_part part;

	if (streq(name, "metadata") && !(u->parts & (1u << IMAGE_PART_ROOTFS)))
		part = IMAGE_PART_META;
	else if (streq(name, "rootfs") && (u->parts & (1u << IMAGE_PART_META)))
		part = IMAGE_PART_ROOTFS;
	else if (streq(name, "rootfs.img"))
		return error_set(err, 400, "Virtual machine images are not supported on this server");
	else
		return error_set(err, 400, "Invalid multipart image: unexpected part \"%s\"", name);
	if (offset == 0 && len == 0 && (u->parts & (1u << part)))
		return error_set(err, 400, "Invalid multipart image: part \"%s\" twice", name);
	u->parts |= 1u << part;
	return len ? image_upload_write(u->image, part, data, len, err) : 0;
}

static int on_data(struct http_request *req, const void *data, size_t len, struct error *err)
{
	struct api_call *c = req->user;
	struct upload *u = c->upload;

	if (u->multipart)
		return http_multipart_feed(u->multipart, data, len, err);
	return image_upload_write(u->image, IMAGE_PART_META, data, len, err);
}

/* "a=b&c=d", URL-encoded. */
static int parse_properties(const char *text, struct strmap *ret, struct error *err)
{
	auto_strv struct strv pairs = STRV_INIT;

	strv_split(&pairs, text, '&');
	for (size_t k = 0; k < pairs.len; k++) {
		char *pair = pairs.items[k], *eq = strchr(pair, '=');
		auto_free char *key = NULL;
		auto_free char *value = NULL;

		for (char *p = pair; *p; p++)
			if (*p == '+')
				*p = ' ';
		if (!eq)
			return error_set(err, 400, "Invalid X-LXD-properties: \"%s\" has no value", pair);
		key = http_decode(pair, (size_t)(eq - pair));
		value = http_decode(eq + 1, strlen(eq + 1));
		if (!key || !value || !*key)
			return error_set(err, 400, "Invalid X-LXD-properties: bad percent-encoding");
		strmap_set(ret, key, value);
	}
	return 0;
}

static bool is_json(const struct http_request *req)
{
	const char *type = http_header(req, "Content-Type");

	return type && strncasecmp(type, "application/json", 16) == 0;
}

/*
 * Who may not upload may do so by a token, for the image that it names, once. With a token it decides what becomes of
 * the image. Others get 403, whatever they sent.
 */
static int use_token(struct api_call *c, struct upload *u, struct error *err)
{
	const char *secret = http_header(c->req, "X-LXD-secret");
	bool may = authorize(&c->id, PERM_IMAGE_EDIT, c->project);

	if (may && str_is_empty(secret))
		return 0;
	if (!image_token_use(c->api->image_tokens, IMAGE_TOKEN_PUSH, c->project, u->expected, secret, &u->pushed))
		return may ? 0 : error_set(err, 403, "not authorized");
	u->secret = xstrdup(secret);
	u->is_public = u->pushed.is_public;
	strmap_merge(&u->properties, &u->pushed.properties);
	return 0;
}

/* By the headers: JSON (kept in memory), or an image that is written to disk as it arrives. */
static int begin_post(struct api_call *c, struct error *err)
{
	const char *type = http_header(c->req, "Content-Type");
	const char *properties = http_header(c->req, "X-LXD-properties");
	const char *fingerprint = http_header(c->req, "X-LXD-fingerprint");
	struct upload *u;
	int r = 0;

	if (is_json(c->req))
		return authorize(&c->id, PERM_IMAGE_EDIT, c->project) ? 0 : error_set(err, 403, "not authorized");
	u = xnew(struct upload);
	c->upload = u;
	u->api = c->api;
	u->id = c->id;
	u->project = xstrdup(c->home);
	u->filename = xstrdup_null(http_header(c->req, "X-LXD-filename"));
	u->expected = xstrdup_null(fingerprint);
	u->is_public = parse_bool_or(http_header(c->req, "X-LXD-public"), false);
	if (properties)
		r = parse_properties(properties, &u->properties, err);
	if (r == 0)
		r = use_token(c, u, err);
	if (r == 0)
		r = image_upload_new(c->api->images, &u->image, err);
	if (r == 0 && type && strncasecmp(type, "multipart/form-data", 19) == 0)
		r = http_multipart_new(c->req, on_part, u, &u->multipart, err);
	c->req->sink = on_data;
	return r;
}

static int upload_run(struct operation *op, void *arg, struct error *err)
{
	struct upload *u = arg;
	CLEANUP(image_result_done) struct image_result res = {0};
	struct image_params params = {.project = u->project,
				      .filename = u->filename,
				      .expected = u->expected,
				      .is_public = u->is_public,
				      .properties = &u->properties,
				      .expires_ns = u->pushed.expires_ns,
				      .profiles = u->pushed.has_profiles ? &u->pushed.profiles : NULL};
	auto_free char *url = NULL;
	int r = image_upload_finish(u->image, &params, &res, err);

	if (r == 0 && u->pushed.aliases.len)
		r = image_add_aliases(u->api, &u->pushed, res.fingerprint, err);
	if (res.fingerprint)
		image_set_result(op, &res);
	image_upload_free(TAKE_PTR(u->image));
	if (r < 0)
		return r;
	url = xasprintf("/1.0/images/%s", res.fingerprint);
	api_lifecycle_as(u->api, u->project, &u->id, "image-created", url);
	return 0;
}

static int post_image(struct api_call *c, struct error *err)
{
	struct operation_spec spec = {
		.description = "Downloading image", .project = c->project, .run = upload_run, .arg_free = upload_free};
	struct upload *u = c->upload;
	struct operation *op;
	int r = 0;

	if (!u)
		return image_post_json(c, err);
	if (u->multipart)
		r = http_multipart_finish(TAKE_PTR(u->multipart), err);
	if (r == 0 && u->parts && u->parts != 3)
		r = error_set(err, 400, "Invalid multipart image: both \"metadata\" and \"rootfs\" are needed");
	if (r < 0)
		return r;
	c->upload = NULL;
	spec.arg = u;
	op = api_operation_new(c, &spec);
	if (u->secret) {
		/* used up, it still lets whoever brought the image wait for the end */
		auto_free char *metadata = xasprintf("{\"secret\":\"%s\"}", u->secret);

		operation_set_secret(op, u->secret);
		operation_set_metadata(op, metadata, /* publish= */ false);
	}
	api_async(c, op);
	return 0;
}

/* --- aliases --- */

struct alias_body {
	char *name;
	char *description;
	char *target;
};

static const struct json_field alias_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct alias_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct alias_body, description, "description", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct alias_body, target, "target", 0),
	JSON_FIELD_END,
};

static void alias_body_done(struct alias_body *b)
{
	json_decode_done(alias_fields, b);
}

/* An alias with what the API shows of it. */
struct alias_view {
	struct db_alias row;
	char *target;
	char *type;
	bool is_public;
};

static void alias_view_done(struct alias_view *v)
{
	db_alias_done(&v->row);
	free(v->target);
	free(v->type);
}

static void view_locked(struct store *s, const struct db_alias *a, struct alias_view *v) REQUIRES(s->lock)
{
	const struct db_image *img = store_image_by_id_locked(s, a->image_id);

	v->row = (struct db_alias){.id = a->id,
				   .image_id = a->image_id,
				   .project = xstrdup(a->project),
				   .name = xstrdup(a->name),
				   .description = xstrdup(a->description)};
	v->target = xstrdup(img ? img->fingerprint : "");
	v->type = xstrdup(img ? img->type : "container");
	v->is_public = img && img->is_public && img->phase == DB_READY;
}

static int find_alias(struct api_call *c, const char *name, struct alias_view *v, struct error *err)
{
	struct store *s = c->api->store;
	const struct db_alias *a;

	mutex_lock(&s->lock);
	a = store_alias_locked(s, c->home, name);
	if (a)
		view_locked(s, a, v);
	mutex_unlock(&s->lock);
	return a ? 0 : error_set(err, 404, "Image alias not found");
}

static void write_alias(const struct alias_view *v, struct jsonw *w)
{
	jsonw_object_begin(w);
	jsonw_kv_str(w, "description", v->row.description);
	jsonw_kv_str(w, "target", v->target);
	jsonw_kv_str(w, "name", v->row.name);
	jsonw_kv_str(w, "type", v->type);
	jsonw_object_end(w);
}

static void alias_etag(const struct alias_view *v, char etag[65])
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	write_alias(v, &JSONW(&b));
	api_etag(b.data, b.len, etag);
}

static int list_aliases(struct api_call *c, struct error *err UNUSED)
{
	struct store *s = c->api->store;
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	bool objects = api_recursion(c) > 0;

	jsonw_array_begin(&w);
	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_aliases; k++) {
		CLEANUP(alias_view_done) struct alias_view v = {0};
		auto_free char *encoded = NULL;

		if (!streq(s->aliases[k]->project, c->home))
			continue;
		view_locked(s, s->aliases[k], &v);
		encoded = http_encode(v.row.name);
		if (objects)
			write_alias(&v, &w);
		else
			jsonw_strf(&w, "/1.0/images/aliases/%s", encoded);
	}
	mutex_unlock(&s->lock);
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

static int get_alias(struct api_call *c, struct error *err)
{
	CLEANUP(alias_view_done) struct alias_view v = {0};
	struct strbuf b = STRBUF_INIT;
	char etag[65];
	int r = find_alias(c, c->params[0], &v, err);

	if (r < 0)
		return r;
	if (!sees_private(c) && !(v.is_public && streq(v.row.project, c->project)))
		return error_set(err, 404, "Image alias not found");
	write_alias(&v, &JSONW(&b));
	alias_etag(&v, etag);
	api_sync_etag(c, &b, etag);
	return 0;
}

/* The image that a body's target means. */
static int resolve_target(struct api_call *c, const char *target, int64_t *ret_id, struct error *err)
{
	CLEANUP(db_image_done) struct db_image img = {0};
	auto_free char *fingerprint = NULL;
	int r = store_image_resolve(c->api->store, c->home, target, &fingerprint, err);

	if (r == 0)
		r = store_image_dup(c->api->store, c->home, fingerprint, &img, err);
	*ret_id = img.id;
	return r;
}

static char *alias_url(const char *name)
{
	auto_free char *encoded = http_encode(name);

	return xasprintf("/1.0/images/aliases/%s", encoded);
}

static int post_alias(struct api_call *c, struct error *err)
{
	CLEANUP(alias_body_done) struct alias_body body = {0};
	CLEANUP(db_alias_done) struct db_alias row = {0};
	auto_free char *url = NULL;
	int r = api_decode(c, alias_fields, &body, NULL, err);

	if (r == 0 && (str_is_empty(body.name) || str_is_empty(body.target)))
		r = error_set(err, 400, "name and target are required");
	if (r == 0)
		r = name_check_alias(body.name, err);
	if (r == 0)
		r = resolve_target(c, body.target, &row.image_id, err);
	if (r < 0)
		return r;
	row.project = xstrdup(c->home);
	row.name = xstrdup(body.name);
	row.description = xstrdup(body.description ? body.description : "");
	r = store_alias_add(c->api->store, &row, err);
	if (r == -EEXIST)
		return error_set(err, 409, "Alias \"%s\" already exists", row.name);
	if (r < 0)
		return r;
	url = alias_url(row.name);
	api_lifecycle(c, "image-alias-created", url);
	api_created(c, url);
	return 0;
}

static int change_alias(struct api_call *c, bool replace, struct error *err)
{
	CLEANUP(alias_body_done) struct alias_body body = {0};
	CLEANUP(alias_view_done) struct alias_view v = {0};
	auto_free char *url = NULL;
	char etag[65];
	int r = find_alias(c, c->params[0], &v, err);

	if (r == 0) {
		alias_etag(&v, etag);
		r = api_check_etag(c, etag, err);
	}
	if (r == 0)
		r = api_decode(c, alias_fields, &body, NULL, err);
	if (r == 0 && replace && str_is_empty(body.target))
		r = error_set(err, 400, "The target field is required");
	if (r == 0 && !str_is_empty(body.target))
		r = resolve_target(c, body.target, &v.row.image_id, err);
	if (r < 0)
		return r;
	if (replace || body.description) {
		free(v.row.description);
		v.row.description = xstrdup(body.description ? body.description : "");
	}
	r = store_alias_update(c->api->store, &v.row, err);
	if (r < 0)
		return r;
	url = alias_url(v.row.name);
	api_lifecycle(c, "image-alias-updated", url);
	api_empty(c);
	return 0;
}

static int put_alias(struct api_call *c, struct error *err)
{
	return change_alias(c, /* replace= */ true, err);
}

static int patch_alias(struct api_call *c, struct error *err)
{
	return change_alias(c, /* replace= */ false, err);
}

static int rename_alias(struct api_call *c, struct error *err)
{
	CLEANUP(alias_body_done) struct alias_body body = {0};
	CLEANUP(alias_view_done) struct alias_view v = {0};
	auto_free char *url = NULL;
	int r = find_alias(c, c->params[0], &v, err);

	if (r == 0)
		r = api_decode(c, alias_fields, &body, NULL, err);
	if (r == 0)
		r = name_check_alias(body.name ? body.name : "", err);
	if (r < 0)
		return r;
	free(v.row.name);
	v.row.name = xstrdup(body.name);
	r = store_alias_update(c->api->store, &v.row, err);
	if (r == -EEXIST)
		return error_set(err, 409, "Alias \"%s\" already exists", v.row.name);
	if (r < 0)
		return r;
	url = alias_url(v.row.name);
	api_lifecycle(c, "image-alias-renamed", url);
	api_created(c, url);
	return 0;
}

static int delete_alias(struct api_call *c, struct error *err)
{
	CLEANUP(alias_view_done) struct alias_view v = {0};
	auto_free char *url = NULL;
	int r = find_alias(c, c->params[0], &v, err);

	if (r == 0)
		r = store_alias_remove(c->api->store, v.row.id, err);
	if (r < 0)
		return r;
	url = alias_url(v.row.name);
	api_lifecycle(c, "image-alias-deleted", url);
	api_empty(c);
	return 0;
}

const struct api_route api_image_routes[] = {
	{.path = "/1.0/images",
	 .method = HTTP_GET,
	 .perm = PERM_ANYONE,
	 .flags = API_ANY_PROJECT,
	 .feature = PROJECT_IMAGES,
	 .handler = list_images,
	 .doc = "Images; ?filter="},
	{.path = "/1.0/images",
	 .method = HTTP_POST,
	 .perm = PERM_ANYONE,
	 .feature = PROJECT_IMAGES,
	 .handler = post_image,
	 .begin = begin_post,
	 .upload_free = upload_free,
	 .doc = "Upload an image: a tarball, or multipart metadata and rootfs"},
	{.path = "/1.0/images/aliases",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .flags = API_ANY_PROJECT,
	 .feature = PROJECT_IMAGES,
	 .handler = list_aliases,
	 .doc = "Image aliases"},
	{.path = "/1.0/images/aliases",
	 .method = HTTP_POST,
	 .perm = PERM_IMAGE_EDIT,
	 .feature = PROJECT_IMAGES,
	 .handler = post_alias,
	 .body = alias_fields,
	 .doc = "Create an alias"},
	{.path = "/1.0/images/aliases/{name...}",
	 .method = HTTP_GET,
	 .perm = PERM_ANYONE,
	 .feature = PROJECT_IMAGES,
	 .handler = get_alias,
	 .doc = "One alias"},
	{.path = "/1.0/images/aliases/{name...}",
	 .method = HTTP_PUT,
	 .perm = PERM_IMAGE_EDIT,
	 .feature = PROJECT_IMAGES,
	 .handler = put_alias,
	 .body = alias_fields,
	 .doc = "Replace an alias"},
	{.path = "/1.0/images/aliases/{name...}",
	 .method = HTTP_PATCH,
	 .perm = PERM_IMAGE_EDIT,
	 .feature = PROJECT_IMAGES,
	 .handler = patch_alias,
	 .body = alias_fields,
	 .doc = "Change an alias"},
	{.path = "/1.0/images/aliases/{name...}",
	 .method = HTTP_POST,
	 .perm = PERM_IMAGE_EDIT,
	 .feature = PROJECT_IMAGES,
	 .handler = rename_alias,
	 .body = alias_fields,
	 .doc = "Rename an alias"},
	{.path = "/1.0/images/aliases/{name...}",
	 .method = HTTP_DELETE,
	 .perm = PERM_IMAGE_EDIT,
	 .feature = PROJECT_IMAGES,
	 .handler = delete_alias,
	 .doc = "Delete an alias"},
	{.path = "/1.0/images/{fingerprint}",
	 .method = HTTP_GET,
	 .perm = PERM_ANYONE,
	 .feature = PROJECT_IMAGES,
	 .handler = get_image,
	 .doc = "One image, by a prefix of its fingerprint"},
	{.path = "/1.0/images/{fingerprint}",
	 .method = HTTP_PUT,
	 .perm = PERM_IMAGE_EDIT,
	 .feature = PROJECT_IMAGES,
	 .handler = put_image,
	 .body = image_fields,
	 .doc = "Replace an image's properties"},
	{.path = "/1.0/images/{fingerprint}",
	 .method = HTTP_PATCH,
	 .perm = PERM_IMAGE_EDIT,
	 .feature = PROJECT_IMAGES,
	 .handler = patch_image,
	 .body = image_fields,
	 .doc = "Change an image's properties"},
	{.path = "/1.0/images/{fingerprint}",
	 .method = HTTP_DELETE,
	 .perm = PERM_IMAGE_EDIT,
	 .feature = PROJECT_IMAGES,
	 .handler = delete_image,
	 .doc = "Delete an image"},
	{.path = "/1.0/images/{fingerprint}/export",
	 .method = HTTP_GET,
	 .perm = PERM_ANYONE,
	 .feature = PROJECT_IMAGES,
	 .handler = export_image,
	 .doc = "The image's files as uploaded"},
	{0},
};
