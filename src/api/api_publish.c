/* POST /1.0/images with an instance as the source: publishing. */
#include <string.h>

#include "api/api.h"
#include "api/image_remote.h"
#include "base/alloc.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "image/pack.h"
#include "instance/snapshot.h"

struct publish {
	struct api *api;
	struct identity id;
	struct instance *instance;
	char *snapshot; /* of it; NULL: the instance itself */
	struct image_request request;
	char *compression;
	/* of the running operation */
	struct operation *op;
	struct image_upload *upload;
	char *metadata;
};

static void publish_free(void *arg)
{
	struct publish *p = arg;

	instance_unref(p->instance);
	free(p->snapshot);
	image_request_done(&p->request);
	image_upload_free(p->upload);
	free(p->compression);
	free(p->metadata);
	free(p);
}

static bool is_cancelled(void *arg)
{
	return operation_is_cancelled(arg);
}

/* Properties, when there are any, are instead of those of the image that the instance was made from. */
static char *make_metadata(const struct publish *p)
{
	auto_free char *architecture = NULL;
	auto_free char *description = NULL;
	auto_strmap struct strmap config = STRMAP_INIT;
	CLEANUP(mapmap_done) struct mapmap devices = {0};
	auto_strv struct strv profiles = STRV_INIT;
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	bool ephemeral;

	if (p->snapshot)
		architecture = snapshot_architecture(p->instance, p->snapshot);
	else
		instance_current(p->instance, &architecture, &description, &ephemeral, &config, &devices, &profiles);
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "architecture", architecture ? architecture : "");
	jsonw_kv_int(&w, "creation_date", time_now_ns() / 1000000000);
	if (p->request.expires_ns)
		jsonw_kv_int(&w, "expiry_date", p->request.expires_ns / 1000000000);
	if (p->request.properties.len)
		jsonw_kv_strmap(&w, "properties", &p->request.properties);
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

static int pack(void *arg, const struct instance_volume *volume, struct error *err)
{
	struct publish *p = arg;
	auto_free char *uids = idmap_to_kernel(volume->idmap, true);
	auto_free char *gids = idmap_to_kernel(volume->idmap, false);
	struct image_pack_spec spec = {.dirfd = volume->dirfd,
				       .uid_map = uids,
				       .gid_map = gids,
				       .compression = p->compression,
				       .metadata = p->metadata,
				       .cancelled = is_cancelled,
				       .arg = p->op};

	return image_pack(&spec, p->upload, err);
}

static int add_image(struct publish *p, struct image_result *res, struct error *err)
{
	struct image_params params = {.project = p->request.project,
				      .filename = p->request.filename,
				      .is_public = p->request.is_public,
				      .properties = &p->request.properties,
				      .expires_ns = p->request.expires_ns,
				      .profiles = p->request.has_profiles ? &p->request.profiles : NULL};
	int r = image_upload_finish(p->upload, &params, res, err);

	return r < 0 ? r : image_add_aliases(p->api, &p->request, res->fingerprint, err);
}

static int publish_run(struct operation *op, void *arg, struct error *err)
{
	struct publish *p = arg;
	CLEANUP(image_result_done) struct image_result res = {0};
	auto_free char *url = NULL;
	int r = image_check_aliases(p->api, &p->request, NULL, err);

	p->op = op;
	p->metadata = make_metadata(p);
	if (r == 0 && !p->snapshot && instance_state(p->instance) != CONTAINER_STOPPED)
		r = error_set(err, 400, "Cannot export a running instance as an image");
	if (r == 0)
		r = image_upload_new(p->api->images, &p->upload, err);
	if (r == 0)
		r = p->snapshot ? snapshot_with_volume(p->instance, p->snapshot, pack, p, err)
				: instance_with_volume(p->instance, pack, p, err);
	if (r == 0)
		r = add_image(p, &res, err);
	image_upload_free(TAKE_PTR(p->upload));
	if (res.fingerprint)
		image_set_result(op, &res);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/images/%s", res.fingerprint);
	api_lifecycle_as(p->api, p->request.project, &p->id, "image-created", url);
	return 0;
}

int image_publish(struct api_call *c, const char *name, const char *compression, struct image_request *q,
		  struct error *err)
{
	struct operation_spec spec = {.description = "Publishing image", /* as the reference's */
				      .project = c->project,
				      .run = publish_run,
				      .cancel = image_obtain_cancel,
				      .arg_free = publish_free};
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	const char *slash = name ? strchr(name, '/') : NULL;
	auto_free char *instance = slash ? xstrndup(name, (size_t)(slash - name)) : xstrdup_null(name);
	struct publish *p;
	int r;

	if (str_is_empty(name))
		return error_set(err, 400, "No source instance specified");
	/* whoever has the image can read all that is in it, as who uses the instance can */
	if (!authorize(&c->id, PERM_INSTANCE_USE, c->project))
		return error_set(err, 403, "not authorized");
	if (str_is_empty(compression))
		compression = "gzip";
	if (!image_compression_known(compression))
		return error_set(err, 400,
				 "Invalid compression algorithm \"%s\": gzip, xz, zstd, bzip2 and none are there",
				 compression);
	if (q->auto_update)
		return error_set(err, 400, "An image of an instance can't be updated automatically");
	r = instance_find(c->api->instances, c->project, instance, &i, err);
	if (r == 0 && slash && !snapshot_exists(i, slash + 1))
		r = error_set(err, 404, "Snapshot not found");
	if (r < 0)
		return r;
	p = xnew(struct publish);
	*p = (struct publish){.api = c->api,
			      .id = c->id,
			      .instance = TAKE_PTR(i),
			      .snapshot = slash ? xstrdup(slash + 1) : NULL,
			      .request = *q};
	*q = (struct image_request){0};
	p->compression = xstrdup(compression);
	spec.arg = p;
	api_async(c, api_operation_new(c, &spec));
	return 0;
}
