#include "api/image_remote.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/alloc.h"
#include "base/str.h"

#define PROPERTIES_MAX 256u
#define PROPERTIES_BYTES (64u * 1024)

void image_request_done(struct image_request *q)
{
	free(q->project);
	image_source_done(&q->source);
	free(q->filename);
	strmap_done(&q->properties);
	strv_done(&q->profiles);
	strv_done(&q->aliases);
	strv_done(&q->alias_descriptions);
	*q = (struct image_request){0};
}

void image_set_result(struct operation *op, const struct image_result *res)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "fingerprint", res->fingerprint);
	jsonw_kv_strf(&w, "size", "%lld", (long long)res->size_bytes);
	if (res->skipped_nodes)
		jsonw_kv_uint(&w, "skipped_device_nodes", res->skipped_nodes);
	jsonw_object_end(&w);
	operation_set_metadata(op, b.data, /* publish= */ false);
}

/* --- aliases --- */

int image_check_aliases(struct api *api, const struct image_request *q, const char *fingerprint, struct error *err)
{
	struct store *s = api->store;
	const char *taken = NULL;

	mutex_lock(&s->lock);
	for (size_t i = 0; i < q->aliases.len && !taken; i++) {
		const struct db_alias *a = store_alias_locked(s, q->project, q->aliases.items[i]);
		const struct db_image *img = a ? store_image_by_id_locked(s, a->image_id) : NULL;

		if (a && !(fingerprint && img && streq(img->fingerprint, fingerprint)))
			taken = q->aliases.items[i];
	}
	mutex_unlock(&s->lock);
	return taken ? error_set(err, 409, "Alias already exists: %s", taken) : 0;
}

static int add_alias(struct api *api, const struct image_request *q, size_t i, int64_t image_id, struct error *err)
{
	CLEANUP(db_alias_done) struct db_alias row = {.image_id = image_id};
	const struct db_alias *there;
	bool same;
	int r;

	row.project = xstrdup(q->project);
	row.name = xstrdup(q->aliases.items[i]);
	row.description = xstrdup(i < q->alias_descriptions.len ? q->alias_descriptions.items[i] : "");
	mutex_lock(&api->store->lock);
	there = store_alias_locked(api->store, row.project, row.name);
	same = there && there->image_id == image_id;
	mutex_unlock(&api->store->lock);
	if (same)
		return 0;
	r = store_alias_add(api->store, &row, err);
	return r == -EEXIST ? error_set(err, 409, "Alias already exists: %s", row.name) : r;
}

int image_add_aliases(struct api *api, const struct image_request *q, const char *fingerprint, struct error *err)
{
	CLEANUP(db_image_done) struct db_image img = {0};
	int r = store_image_dup(api->store, q->project, fingerprint, &img, err);

	for (size_t i = 0; r == 0 && i < q->aliases.len; i++)
		r = add_alias(api, q, i, img.id, err);
	return r;
}

/* --- fetching --- */

static bool on_cancelled(void *arg)
{
	return operation_is_cancelled(arg);
}

static void on_progress(void *arg, const char *text)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "download_progress", text);
	jsonw_object_end(&w);
	operation_set_metadata(arg, b.data, /* publish= */ true);
}

void image_obtain_cancel(struct operation *op UNUSED, void *arg UNUSED)
{
	/* the work looks at operation_is_cancelled() */
}

static bool is_here(struct api *api, const char *project, const char *fingerprint, struct db_image *ret)
{
	auto_error struct error err = ERROR_INIT;

	if (store_image_dup(api->store, project, fingerprint, ret, &err) == 0)
		return true;
	error_ignore(&err, "not there");
	return false;
}

static bool same_text(const char *a, const char *b)
{
	return streq(a ? a : "", b ? b : "");
}

bool image_came_from(const struct db_image *img, const struct image_request *q)
{
	CLEANUP(image_source_done) struct image_source there = {0};
	const struct image_source *s = &q->source;

	return q->keep_source && image_source_from_json(img->source, &there) && same_text(there.server, s->server) &&
	       same_text(there.protocol, s->protocol) && same_text(there.certificate, s->certificate) &&
	       same_text(there.alias, s->alias);
}

/*
 * It is here already: what the caller wants of it still counts if it came from there. Of all other images a server can
 * name the fingerprint without having them: it must not make a private one public.
 */
static int adopt(struct api *api, struct db_image *img, const struct image_request *q, struct image_result *ret,
		 struct error *err)
{
	bool change = img->cached;

	ret->size_bytes = img->size_bytes;
	if (q->cached || q->refresh)
		return 0;
	img->cached = false;
	if (image_came_from(img, q)) {
		change = change || (q->is_public && !img->is_public) || (q->auto_update && !img->auto_update) ||
			 q->properties.len || q->has_profiles;
		img->is_public = img->is_public || q->is_public;
		img->auto_update = img->auto_update || q->auto_update;
		strmap_merge(&img->properties, &q->properties);
		if (q->has_profiles)
			strv_copy(&img->profiles, &q->profiles);
	}
	return change ? store_image_update(api->store, img, err) : 0;
}

/* Properties are kept in memory and shown in lists: no server may say more than this of its image. */
static int check_properties(const struct strmap *p, struct error *err)
{
	size_t bytes = 0;

	for (size_t i = 0; i < p->len; i++)
		bytes += strlen(p->items[i].key) + strlen(p->items[i].value);
	if (p->len > PROPERTIES_MAX || bytes > PROPERTIES_BYTES)
		return error_set(err, 400, "The image has too many properties: more than %u, or %u KiB", PROPERTIES_MAX,
				 PROPERTIES_BYTES >> 10);
	return 0;
}

static int download(struct api *api, struct image_remote *remote, const struct image_request *q,
		    struct image_result *ret, struct error *err)
{
	const struct image_found *found = image_remote_found(remote);
	auto_strmap struct strmap properties = STRMAP_INIT;
	auto_free char *source = q->keep_source ? image_source_to_json(&q->source) : NULL;
	struct image_params params = {.project = q->project,
				      .filename = q->filename ? q->filename : found->filename,
				      .expected = found->fingerprint,
				      .is_public = q->is_public,
				      .properties = &properties,
				      .properties_all = found->properties.len > 0,
				      .auto_update = q->auto_update,
				      .cached = q->cached,
				      .source = source,
				      .profiles = q->has_profiles ? &q->profiles : NULL,
				      .expires_ns = q->expires_ns ? q->expires_ns : found->expires_ns};
	struct image_upload *up = NULL;
	int r = check_properties(&found->properties, err);

	if (r == 0)
		r = image_upload_new(api->images, &up, err);
	if (r < 0)
		return r;
	strmap_copy(&properties, &found->properties);
	strmap_merge(&properties, &q->properties);
	r = image_remote_download(remote, up, err);
	if (r == 0)
		r = image_upload_finish(up, &params, ret, err);
	image_upload_free(up);
	return r;
}

int image_obtain(struct api *api, struct operation *op, const struct image_request *q, struct image_result *ret,
		 struct error *err)
{
	CLEANUP(image_remote_freep) struct image_remote *remote = NULL;
	CLEANUP(db_image_done) struct db_image img = {0};
	auto_strmap struct strmap config = STRMAP_INIT;
	struct fetch_spec spec = {.hooks = {on_cancelled, on_progress, op}};
	const char *fingerprint;
	struct utsname u;
	int r;

	uname(&u);
	store_config_copy(api->store, &config);
	spec.proxy = strmap_get(&config, "core.proxy_https");
	spec.no_proxy = strmap_get(&config, "core.proxy_ignore_hosts");
	r = image_remote_find(&q->source, &spec, u.machine, &remote, err);
	if (r < 0)
		return r;
	fingerprint = image_remote_found(remote)->fingerprint;
	ret->fingerprint = xstrdup(fingerprint);
	r = image_check_aliases(api, q, fingerprint, err);
	if (r < 0)
		return r;
	if (!is_here(api, q->project, fingerprint, &img)) {
		struct image_result got = {0};

		r = download(api, remote, q, &got, err);
		ret->size_bytes = got.size_bytes;
		ret->skipped_nodes = got.skipped_nodes;
		image_result_done(&got);
		ret->downloaded = r == 0;
		if (r == 0)
			return 0;
		/* another download of the same may have been faster */
		if (err->status != 409 || !is_here(api, q->project, fingerprint, &img))
			return r;
		error_clear(err);
	}
	return adopt(api, &img, q, ret, err);
}
