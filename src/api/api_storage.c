/* /1.0/storage-pools */
#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/str.h"
#include "config/keys.h"
#include "config/names.h"
#include "storage/storage.h"

struct pool_body {
	char *name;
	char *driver;
	char *description;
	struct strmap config;
};

static const struct json_field pool_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct pool_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct pool_body, driver, "driver", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct pool_body, description, "description", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct pool_body, config, "config", 0),
	JSON_FIELD_END,
};

enum { GIVEN_NAME, GIVEN_DRIVER, GIVEN_DESCRIPTION, GIVEN_CONFIG };

static void body_done(struct pool_body *b)
{
	json_decode_done(pool_fields, b);
}

/* Instances on the pool, and profiles whose root disk names it. */
static void pool_users(struct api_call *c, const char *pool, struct strv *urls)
{
	struct store *s = c->api->store;

	instances_using_pool(c->api->instances, pool, urls);
	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_profiles; k++)
		for (size_t d = 0; d < s->profiles[k]->devices.len; d++)
			if (streq(strmap_get_or(&s->profiles[k]->devices.items[d].map, "pool", ""), pool))
				api_add_url(urls, s->profiles[k]->project, "profiles", s->profiles[k]->name);
	mutex_unlock(&s->lock);
}

static void write_pool(struct api_call *c, const struct db_pool *p, struct jsonw *w)
{
	auto_strv struct strv users = STRV_INIT;

	pool_users(c, p->name, &users);
	api_drop_unseen(c, &users);
	jsonw_object_begin(w);
	if (identity_is_admin(&c->id))
		jsonw_kv_strmap(w, "config", &p->config);
	else
		jsonw_kv_null(w, "config");
	jsonw_kv_str(w, "description", p->description);
	jsonw_kv_str(w, "name", p->name);
	jsonw_kv_str(w, "driver", p->driver);
	jsonw_kv_strv(w, "used_by", &users);
	jsonw_kv_str(w, "status", "Created");
	jsonw_kv_raw(w, "locations", "[\"none\"]");
	jsonw_object_end(w);
}

static void pool_etag(const struct db_pool *p, char etag[65])
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	jsonw_str(&w, p->name);
	jsonw_str(&w, p->driver);
	jsonw_str(&w, p->description);
	jsonw_strmap(&w, &p->config);
	jsonw_array_end(&w);
	api_etag(b.data, b.len, etag);
}

static int list_pools(struct api_call *c, struct error *err)
{
	struct store *s = c->api->store;
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	auto_strv struct strv names = STRV_INIT;

	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_pools; k++)
		strv_add(&names, s->pools[k]->name);
	mutex_unlock(&s->lock);
	strv_sort(&names);
	jsonw_array_begin(&w);
	for (size_t k = 0; k < names.len; k++) {
		CLEANUP(db_pool_done) struct db_pool p = {0};

		if (!api_recursion(c))
			jsonw_strf(&w, "/1.0/storage-pools/%s", names.items[k]);
		else if (store_pool_dup(s, names.items[k], &p, err) == 0)
			write_pool(c, &p, &w);
		else
			error_ignore(err, "deleted this moment: not in the list");
	}
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

static int get_pool(struct api_call *c, struct error *err)
{
	CLEANUP(db_pool_done) struct db_pool p = {0};
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	char etag[65];
	int r = store_pool_dup(c->api->store, c->params[0], &p, err);

	if (r < 0)
		return r;
	write_pool(c, &p, &w);
	pool_etag(&p, etag);
	api_sync_etag(c, &b, etag);
	return 0;
}

static int check_config(const char *driver, const struct strmap *config, struct error *err)
{
	const struct storage_driver *d;
	int r = storage_driver_find(driver, &d, err);

	return r < 0 ? r : config_validate(CONFIG_SCOPE_POOL, config, err);
}

static int post_pool(struct api_call *c, struct error *err)
{
	CLEANUP(body_done) struct pool_body body = {0};
	CLEANUP(db_pool_done) struct db_pool row = {0};
	CLEANUP(db_pool_done) struct db_pool other = {0};
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_error struct error absent = ERROR_INIT;
	auto_free char *url = NULL;
	int r = api_decode(c, pool_fields, &body, NULL, err);

	if (r == 0)
		r = name_check_pool(body.name ? body.name : "", err);
	if (r == 0 && str_is_empty(body.driver))
		r = error_set(err, 400, "No driver provided");
	if (r == 0)
		r = check_config(body.driver, &body.config, err);
	if (r == 0 && store_pool_dup(c->api->store, body.name, &other, &absent) == 0)
		r = error_set(err, 409, "The storage pool already exists: %s", body.name);
	if (r == 0)
		r = storage_pool_init(&pool, c->api->lxd_dir, body.name, body.driver, &body.config, err);
	if (r == 0)
		r = storage_pool_create(&pool, err);
	if (r < 0)
		return r;
	row.name = xstrdup(body.name);
	row.driver = xstrdup(body.driver);
	row.description = xstrdup(body.description ? body.description : "");
	strmap_copy(&row.config, &pool.config);
	r = store_pool_add(c->api->store, &row, err);
	if (r < 0) {
		storage_pool_delete(&pool, &absent);
		return r;
	}
	url = xasprintf("/1.0/storage-pools/%s", body.name);
	api_lifecycle(c, "storage-pool-created", url);
	api_created(c, url);
	return 0;
}

static int change(struct api_call *c, bool replace, struct error *err)
{
	CLEANUP(body_done) struct pool_body body = {0};
	CLEANUP(db_pool_done) struct db_pool p = {0};
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_free char *url = NULL;
	uint64_t given;
	char etag[65];
	int r = store_pool_dup(c->api->store, c->params[0], &p, err);

	if (r == 0) {
		pool_etag(&p, etag);
		r = api_check_etag(c, etag, err);
	}
	if (r == 0)
		r = api_decode(c, pool_fields, &body, &given, err);
	if (r < 0)
		return r;
	/* an unknown key is one even if it is to be unset */
	r = config_validate(CONFIG_SCOPE_POOL, &body.config, err);
	if (r < 0)
		return r;
	if (!replace)
		strmap_copy(&config, &p.config);
	for (size_t k = 0; k < body.config.len; k++)
		strmap_set(&config, body.config.items[k].key,
			   *body.config.items[k].value ? body.config.items[k].value : NULL);
	if (!streq(strmap_get_or(&config, "source", ""), strmap_get_or(&p.config, "source", "")))
		return error_set(err, 400, "Pool source cannot be changed when not in pending state");
	r = check_config(p.driver, &config, err);
	if (r < 0)
		return r;
	strmap_copy(&p.config, &config);
	if (replace || (given & (1u << GIVEN_DESCRIPTION))) {
		free(p.description);
		p.description = xstrdup(body.description ? body.description : "");
	}
	r = store_pool_update(c->api->store, &p, err);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/storage-pools/%s", p.name);
	api_lifecycle(c, "storage-pool-updated", url);
	api_empty(c);
	return 0;
}

static int put_pool(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ true, err);
}

static int patch_pool(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ false, err);
}

static int open_pool(struct api_call *c, struct storage_pool *pool, struct error *err)
{
	CLEANUP(db_pool_done) struct db_pool p = {0};
	int r = store_pool_dup(c->api->store, c->params[0], &p, err);

	if (r == 0)
		r = storage_pool_init(pool, c->api->lxd_dir, p.name, p.driver, &p.config, err);
	return r < 0 ? r : storage_pool_open(pool, err);
}

static int delete_pool(struct api_call *c, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_strv struct strv users = STRV_INIT;
	auto_free char *url = xasprintf("/1.0/storage-pools/%s", c->params[0]);
	int r = open_pool(c, &pool, err);

	if (r < 0)
		return r;
	instances_hold_references(c->api->instances);
	pool_users(c, pool.name, &users);
	if (users.len)
		r = error_set(err, 400, "The storage pool is currently in use");
	if (r == 0)
		r = storage_pool_delete(&pool, err);
	if (r == 0)
		r = store_pool_remove(c->api->store, c->params[0], err);
	instances_release_references(c->api->instances);
	if (r < 0)
		return r;
	api_lifecycle(c, "storage-pool-deleted", url);
	api_empty(c);
	return 0;
}

static void write_pair(struct jsonw *w, const char *key, uint64_t used, uint64_t total)
{
	jsonw_key(w, key);
	jsonw_object_begin(w);
	jsonw_kv_uint(w, "used", used);
	jsonw_kv_uint(w, "total", total);
	jsonw_object_end(w);
}

static int get_resources(struct api_call *c, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	struct storage_resources res = {0};
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r = open_pool(c, &pool, err);

	if (r == 0)
		r = storage_pool_resources(&pool, &res, err);
	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	write_pair(&w, "space", res.space_used, res.space_total);
	write_pair(&w, "inodes", res.inodes_used, res.inodes_total);
	jsonw_object_end(&w);
	api_sync(c, &b);
	return 0;
}

/* --- volumes: those of instances; custom ones come later --- */

static void write_volume(const char *project, const char *name, struct jsonw *w)
{
	auto_free char *user = project_url(project, "/1.0/instances/%s", name);

	jsonw_object_begin(w);
	jsonw_kv_raw(w, "config", "{}");
	jsonw_kv_str(w, "description", "");
	jsonw_kv_str(w, "name", name);
	jsonw_kv_str(w, "type", "container");
	jsonw_key(w, "used_by");
	jsonw_array_begin(w);
	jsonw_str(w, user);
	jsonw_array_end(w);
	jsonw_kv_str(w, "location", "none");
	jsonw_kv_str(w, "content_type", "filesystem");
	jsonw_kv_str(w, "project", project);
	jsonw_object_end(w);
}

static int check_volume_type(const char *type, struct error *err)
{
	static const char *const types[] = {"container", "virtual-machine", "custom", "image"};

	for (size_t k = 0; k < ARRAY_SIZE(types); k++)
		if (streq(type, types[k]))
			return 0;
	return error_set(err, 400, "Invalid storage volume type name: %s", type);
}

/* The volumes of the instances of one project. */
static void write_volumes(struct api_call *c, const char *project, const char *pool, struct jsonw *w)
{
	auto_strv struct strv names = STRV_INIT;

	instances_on_pool(c->api->instances, project, pool, &names);
	for (size_t k = 0; k < names.len; k++) {
		auto_free char *url = project_url(project, "/1.0/storage-pools/%s/volumes/container/%s", pool,
						  names.items[k]);

		if (api_recursion(c))
			write_volume(project, names.items[k], w);
		else
			jsonw_str(w, url);
	}
}

static int list_volumes(struct api_call *c, struct error *err)
{
	bool all = parse_bool_or(http_query(c->req, "all-projects"), false);
	CLEANUP(db_pool_done) struct db_pool p = {0};
	auto_strv struct strv projects = STRV_INIT;
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r = store_pool_dup(c->api->store, c->params[0], &p, err);

	if (r == 0 && c->params[1])
		r = check_volume_type(c->params[1], err);
	if (r < 0)
		return r;
	if (all)
		store_project_names(c->api->store, &projects);
	else
		strv_add(&projects, c->project);
	jsonw_array_begin(&w);
	for (size_t k = 0; k < projects.len && (!c->params[1] || streq(c->params[1], "container")); k++)
		if (authorize(&c->id, PERM_PROJECT_VIEW, projects.items[k]))
			write_volumes(c, projects.items[k], p.name, &w);
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

static int get_volume(struct api_call *c, struct error *err)
{
	CLEANUP(db_pool_done) struct db_pool p = {0};
	auto_strv struct strv names = STRV_INIT;
	struct strbuf b = STRBUF_INIT;
	int r = store_pool_dup(c->api->store, c->params[0], &p, err);

	if (r == 0)
		r = check_volume_type(c->params[1], err);
	if (r < 0)
		return r;
	instances_on_pool(c->api->instances, c->project, p.name, &names);
	if (!streq(c->params[1], "container") || !strv_contains(&names, c->params[2]))
		return error_set(err, 404, "Storage pool volume not found");
	write_volume(c->project, c->params[2], &JSONW(&b));
	api_sync(c, &b);
	return 0;
}

const struct api_route api_storage_routes[] = {
	{.path = "/1.0/storage-pools",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = list_pools,
	 .doc = "Storage pools"},
	{.path = "/1.0/storage-pools",
	 .method = HTTP_POST,
	 .perm = PERM_ADMIN,
	 .handler = post_pool,
	 .body = pool_fields,
	 .doc = "Create a storage pool"},
	{.path = "/1.0/storage-pools/{name}",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .handler = get_pool,
	 .doc = "One storage pool"},
	{.path = "/1.0/storage-pools/{name}",
	 .method = HTTP_PUT,
	 .perm = PERM_ADMIN,
	 .handler = put_pool,
	 .body = pool_fields,
	 .doc = "Replace a pool's configuration"},
	{.path = "/1.0/storage-pools/{name}",
	 .method = HTTP_PATCH,
	 .perm = PERM_ADMIN,
	 .handler = patch_pool,
	 .body = pool_fields,
	 .doc = "Change a pool's configuration"},
	{.path = "/1.0/storage-pools/{name}",
	 .method = HTTP_DELETE,
	 .perm = PERM_ADMIN,
	 .handler = delete_pool,
	 .doc = "Delete an unused pool"},
	{.path = "/1.0/storage-pools/{name}/resources",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .handler = get_resources,
	 .doc = "Space and inodes of a pool"},
	{.path = "/1.0/storage-pools/{name}/volumes",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .handler = list_volumes,
	 .doc = "Volumes of a pool"},
	{.path = "/1.0/storage-pools/{name}/volumes/{type}",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .handler = list_volumes,
	 .doc = "Volumes of one type"},
	{.path = "/1.0/storage-pools/{name}/volumes/{type}/{volume}",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .handler = get_volume,
	 .doc = "One volume"},
	{0},
};
