/* /1.0/profiles. A change is checked against every instance that uses the profile before it is stored. */
#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/str.h"
#include "config/keys.h"
#include "config/names.h"
#include "device/device.h"

struct profile_body {
	char *name;
	char *description;
	struct strmap config;
	struct mapmap devices;
};

static const struct json_field profile_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct profile_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct profile_body, description, "description", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct profile_body, config, "config", 0),
	JSON_FIELD(JSON_FIELD_MAPMAP, struct profile_body, devices, "devices", 0),
	JSON_FIELD_END,
};

enum { GIVEN_NAME, GIVEN_DESCRIPTION, GIVEN_CONFIG, GIVEN_DEVICES };

static void body_done(struct profile_body *b)
{
	json_decode_done(profile_fields, b);
}

static void write_profile(struct api_call *c, const struct db_profile *p, struct jsonw *w)
{
	auto_strv struct strv users = STRV_INIT;

	instances_using_profile(c->api->instances, p->project, p->name, &users);
	api_drop_unseen(c, &users);
	jsonw_object_begin(w);
	jsonw_kv_strmap(w, "config", &p->config);
	jsonw_kv_str(w, "description", p->description);
	jsonw_kv_mapmap(w, "devices", &p->devices);
	jsonw_kv_str(w, "name", p->name);
	jsonw_kv_strv(w, "used_by", &users);
	jsonw_object_end(w);
}

static void profile_etag(const struct db_profile *p, char etag[65])
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	jsonw_strmap(&w, &p->config);
	jsonw_str(&w, p->description);
	jsonw_mapmap(&w, &p->devices);
	jsonw_array_end(&w);
	api_etag(b.data, b.len, etag);
}

static void profile_names(struct api_call *c, struct strv *names)
{
	struct store *s = c->api->store;

	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_profiles; k++)
		if (streq(s->profiles[k]->project, c->home))
			strv_add(names, s->profiles[k]->name);
	mutex_unlock(&s->lock);
	strv_sort(names);
}

static int list_profiles(struct api_call *c, struct error *err)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	auto_strv struct strv names = STRV_INIT;

	profile_names(c, &names);
	jsonw_array_begin(&w);
	for (size_t k = 0; k < names.len; k++) {
		auto_free char *url = project_url(c->project, "/1.0/profiles/%s", names.items[k]);
		CLEANUP(db_profile_done) struct db_profile p = {0};

		if (!api_recursion(c))
			jsonw_str(&w, url);
		else if (store_profile_dup(c->api->store, c->home, names.items[k], &p, err) == 0)
			write_profile(c, &p, &w);
		else
			error_ignore(err, "deleted this moment: not in the list");
	}
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

static int get_profile(struct api_call *c, struct error *err)
{
	CLEANUP(db_profile_done) struct db_profile p = {0};
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	char etag[65];
	int r = store_profile_dup(c->api->store, c->home, c->params[0], &p, err);

	if (r < 0)
		return r;
	write_profile(c, &p, &w);
	profile_etag(&p, etag);
	api_sync_etag(c, &b, etag);
	return 0;
}

/* The commit point of profiles. */
/* Empty values unset their keys, which must exist all the same. */
static int settle(struct db_profile *p, struct error *err)
{
	int r = config_validate(CONFIG_SCOPE_PROFILE, &p->config, err);

	strmap_drop_empty(&p->config);
	mapmap_drop_empty(&p->devices);
	return r;
}

static int check(struct api_call *c, const struct db_profile *p, struct error *err)
{
	int r = 0;

	if (!streq(store_effective_project(c->api->store, c->project, PROJECT_PROFILES), c->home))
		return error_set(err, 409, "The features of project \"%s\" have changed meanwhile", c->project);
	for (size_t k = 0; k < p->devices.len && r == 0; k++)
		r = device_validate(p->devices.items[k].key, &p->devices.items[k].map, err);
	return r < 0 ? r : instances_check_profile(c->api->instances, p, err);
}

static int post_profile(struct api_call *c, struct error *err)
{
	CLEANUP(body_done) struct profile_body body = {0};
	CLEANUP(db_profile_done) struct db_profile p = {0};
	auto_free char *url = NULL;
	int r = api_decode(c, profile_fields, &body, NULL, err);

	if (r == 0)
		r = name_check_profile(body.name ? body.name : "", err);
	if (r < 0)
		return r;
	p.project = xstrdup(c->home);
	p.name = xstrdup(body.name);
	p.description = xstrdup(body.description ? body.description : "");
	strmap_copy(&p.config, &body.config);
	mapmap_copy(&p.devices, &body.devices);
	r = settle(&p, err);
	if (r < 0)
		return r;
	instances_hold_references(c->api->instances);
	r = check(c, &p, err);
	if (r == 0)
		r = store_profile_add(c->api->store, &p, err);
	instances_release_references(c->api->instances);
	if (r == -EEXIST)
		return error_set(err, 409, "Error inserting \"%s\" into database: The profile already exists", p.name);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/profiles/%s", p.name);
	api_lifecycle(c, "profile-created", url);
	api_created(c, url);
	return 0;
}

static void merge(struct db_profile *p, const struct profile_body *body)
{
	for (size_t k = 0; k < body->config.len; k++)
		strmap_set(&p->config, body->config.items[k].key, body->config.items[k].value);
	for (size_t k = 0; k < body->devices.len; k++)
		mapmap_set(&p->devices, body->devices.items[k].key, &body->devices.items[k].map);
}

static int change(struct api_call *c, bool replace, struct error *err)
{
	CLEANUP(body_done) struct profile_body body = {0};
	CLEANUP(db_profile_done) struct db_profile before = {0};
	CLEANUP(db_profile_done) struct db_profile p = {0};
	auto_free char *url = NULL;
	uint64_t given;
	char etag[65];
	int r = store_profile_dup(c->api->store, c->home, c->params[0], &p, err);

	if (r == 0)
		r = store_profile_dup(c->api->store, c->home, c->params[0], &before, err);
	if (r == 0) {
		profile_etag(&p, etag);
		r = api_check_etag(c, etag, err);
	}
	if (r == 0)
		r = api_decode(c, profile_fields, &body, &given, err);
	if (r < 0)
		return r;
	if (replace || (given & (1u << GIVEN_DESCRIPTION))) {
		free(p.description);
		p.description = xstrdup(body.description ? body.description : "");
	}
	if (replace) {
		strmap_done(&p.config);
		mapmap_done(&p.devices);
	}
	merge(&p, &body);
	r = settle(&p, err);
	if (r < 0)
		return r;
	instances_hold_references(c->api->instances);
	r = check(c, &p, err);
	if (r == 0)
		r = store_profile_update(c->api->store, &p, err);
	instances_release_references(c->api->instances);
	if (r == 0)
		r = instances_apply_profile(c->api->instances, &before, &p, err);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/profiles/%s", p.name);
	api_lifecycle(c, "profile-updated", url);
	api_empty(c);
	return 0;
}

static int put_profile(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ true, err);
}

static int patch_profile(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ false, err);
}

static int rename_profile(struct api_call *c, struct error *err)
{
	CLEANUP(body_done) struct profile_body body = {0};
	CLEANUP(db_profile_done) struct db_profile p = {0};
	CLEANUP(db_profile_done) struct db_profile other = {0};
	auto_error struct error absent = ERROR_INIT;
	auto_free char *url = NULL;
	int r = store_profile_dup(c->api->store, c->home, c->params[0], &p, err);

	if (r == 0 && streq(p.name, "default"))
		r = error_set(err, 403, "The \"default\" profile cannot be renamed");
	if (r == 0)
		r = api_decode(c, profile_fields, &body, NULL, err);
	if (r == 0)
		r = name_check_profile(body.name ? body.name : "", err);
	if (r == 0 && store_profile_dup(c->api->store, c->home, body.name, &other, &absent) == 0)
		r = error_set(err, 409, "Name \"%s\" already in use", body.name);
	if (r < 0)
		return r;
	free(p.name);
	p.name = xstrdup(body.name);
	instances_hold_references(c->api->instances);
	r = instances_rename_profile(c->api->instances, &p, c->params[0], err);
	instances_release_references(c->api->instances);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/profiles/%s", p.name);
	api_lifecycle(c, "profile-renamed", url);
	api_created(c, url);
	return 0;
}

static int delete_profile(struct api_call *c, struct error *err)
{
	CLEANUP(db_profile_done) struct db_profile p = {0};
	auto_strv struct strv users = STRV_INIT;
	auto_free char *url = NULL;
	int r = store_profile_dup(c->api->store, c->home, c->params[0], &p, err);

	if (r == 0 && streq(p.name, "default"))
		r = error_set(err, 403, "The \"default\" profile cannot be deleted");
	if (r < 0)
		return r;
	instances_hold_references(c->api->instances);
	instances_using_profile(c->api->instances, c->home, p.name, &users);
	if (users.len)
		r = error_set(err, 400, "Profile is currently in use");
	else
		r = store_profile_remove(c->api->store, p.id, err);
	instances_release_references(c->api->instances);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/profiles/%s", p.name);
	api_lifecycle(c, "profile-deleted", url);
	api_empty(c);
	return 0;
}

const struct api_route api_profile_routes[] = {
	{.path = "/1.0/profiles",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .flags = API_ANY_PROJECT,
	 .feature = PROJECT_PROFILES,
	 .handler = list_profiles,
	 .doc = "Profiles"},
	{.path = "/1.0/profiles",
	 .method = HTTP_POST,
	 .perm = PERM_PROFILE_EDIT,
	 .feature = PROJECT_PROFILES,
	 .handler = post_profile,
	 .body = profile_fields,
	 .doc = "Create a profile"},
	{.path = "/1.0/profiles/{name}",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .feature = PROJECT_PROFILES,
	 .handler = get_profile,
	 .doc = "One profile"},
	{.path = "/1.0/profiles/{name}",
	 .method = HTTP_PUT,
	 .perm = PERM_PROFILE_EDIT,
	 .feature = PROJECT_PROFILES,
	 .handler = put_profile,
	 .body = profile_fields,
	 .doc = "Replace a profile"},
	{.path = "/1.0/profiles/{name}",
	 .method = HTTP_PATCH,
	 .perm = PERM_PROFILE_EDIT,
	 .feature = PROJECT_PROFILES,
	 .handler = patch_profile,
	 .body = profile_fields,
	 .doc = "Change a profile"},
	{.path = "/1.0/profiles/{name}",
	 .method = HTTP_POST,
	 .perm = PERM_PROFILE_EDIT,
	 .feature = PROJECT_PROFILES,
	 .handler = rename_profile,
	 .body = profile_fields,
	 .doc = "Rename a profile"},
	{.path = "/1.0/profiles/{name}",
	 .method = HTTP_DELETE,
	 .perm = PERM_PROFILE_EDIT,
	 .feature = PROJECT_PROFILES,
	 .handler = delete_profile,
	 .doc = "Delete a profile"},
	{0},
};
