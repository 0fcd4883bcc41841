/* /1.0/projects: what each has for itself, who is in it, and its life. State is in project_state.c. */
#include <string.h>

#include "api/api.h"
#include "api/project.h"
#include "base/alloc.h"
#include "base/str.h"
#include "config/keys.h"
#include "config/names.h"

struct project_body {
	char *name;
	char *description;
	struct strmap config;
};

static const struct json_field project_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct project_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct project_body, description, "description", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct project_body, config, "config", 0),
	JSON_FIELD_END,
};

enum { GIVEN_NAME, GIVEN_DESCRIPTION, GIVEN_CONFIG };

static void body_done(struct project_body *b)
{
	json_decode_done(project_fields, b);
}

/* --- looking --- */

/* Everything in the project: instances, profiles, images, networks. */
static void project_users(struct api *api, const char *project, struct strv *urls)
{
	struct store *s = api->store;

	instances_in_project(api->instances, project, urls);
	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_profiles; k++)
		if (streq(s->profiles[k]->project, project))
			api_add_url(urls, project, "profiles", s->profiles[k]->name);
	for (size_t k = 0; k < s->n_images; k++)
		if (streq(s->images[k]->project, project))
			api_add_url(urls, project, "images", s->images[k]->fingerprint);
	for (size_t k = 0; k < s->n_networks && streq(project, "default"); k++)
		api_add_url(urls, project, "networks", s->networks[k]->name);
	mutex_unlock(&s->lock);
}

/* Nothing but the default profile, which comes and goes with the project. The references are held. */
static bool is_empty(struct api *api, const char *project)
{
	auto_strv struct strv urls = STRV_INIT, profile = STRV_INIT;

	project_users(api, project, &urls);
	api_add_url(&profile, project, "profiles", "default");
	return urls.len == 0 || strv_equal(&urls, &profile);
}

static void write_project(struct api_call *c, const struct db_project *p, struct jsonw *w)
{
	auto_strv struct strv urls = STRV_INIT;

	project_users(c->api, p->name, &urls);
	api_drop_unseen(c, &urls);
	jsonw_object_begin(w);
	jsonw_kv_strmap(w, "config", &p->config);
	jsonw_kv_str(w, "description", p->description);
	jsonw_kv_str(w, "name", p->name);
	jsonw_kv_strv(w, "used_by", &urls);
	jsonw_object_end(w);
}

static void project_etag(const struct db_project *p, char etag[65])
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	jsonw_str(&w, p->description);
	jsonw_strmap(&w, &p->config);
	jsonw_array_end(&w);
	api_etag(b.data, b.len, etag);
}

static int list_projects(struct api_call *c, struct error *err)
{
	auto_strv struct strv names = STRV_INIT;
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	store_project_names(c->api->store, &names);
	jsonw_array_begin(&w);
	for (size_t k = 0; k < names.len; k++) {
		CLEANUP(db_project_done) struct db_project p = {0};

		if (!authorize(&c->id, PERM_PROJECT_VIEW, names.items[k]))
			continue;
		if (!api_recursion(c))
			jsonw_strf(&w, "/1.0/projects/%s", names.items[k]);
		else if (store_project_dup(c->api->store, names.items[k], &p, err) == 0)
			write_project(c, &p, &w);
		else
			error_ignore(err, "deleted this moment: not in the list");
	}
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

int project_find(struct api_call *c, enum permission perm, struct db_project *ret, struct error *err)
{
	if (!authorize(&c->id, perm, c->params[0]))
		return error_set(err, 403, "not authorized");
	return store_project_dup(c->api->store, c->params[0], ret, err);
}

static int get_project(struct api_call *c, struct error *err)
{
	CLEANUP(db_project_done) struct db_project p = {0};
	struct strbuf b = STRBUF_INIT;
	char etag[65];
	int r = project_find(c, PERM_PROJECT_VIEW, &p, err);

	if (r < 0)
		return r;
	write_project(c, &p, &JSONW(&b));
	project_etag(&p, etag);
	api_sync_etag(c, &b, etag);
	return 0;
}

/* --- creating --- */

/* Keys by table, and against each other. Empty values unset their keys, which must exist all the same. */
static int settle(struct strmap *config, struct error *err)
{
	int r = config_validate(CONFIG_SCOPE_PROJECT, config, err);

	strmap_drop_empty(config);
	if (r == 0 && strmap_get_bool(config, "restricted", false) &&
	    !strmap_get_bool(config, "features.profiles", false))
		r = error_set(err, 400, "Projects without their own profiles cannot be restricted");
	return r;
}

/* What a new project has for itself unless it says otherwise. */
static void add_defaults(struct strmap *config)
{
	static const enum project_feature own[] = {PROJECT_IMAGES, PROJECT_PROFILES, PROJECT_VOLUMES};

	for (size_t k = 0; k < ARRAY_SIZE(own); k++)
		if (!strmap_get(config, project_feature_key(own[k])))
			strmap_set(config, project_feature_key(own[k]), "true");
}

static void make_profile(struct db_profile *ret, const char *project)
{
	*ret = (struct db_profile){.project = xstrdup(project),
				   .name = xstrdup("default"),
				   .description = xasprintf("Default LXD profile for project %s", project)};
}

static void tell_rbac(struct api *api)
{
	if (api->rbac)
		rbac_projects_changed(api->rbac);
}

static int post_project(struct api_call *c, struct error *err)
{
	CLEANUP(body_done) struct project_body body = {0};
	CLEANUP(db_project_done) struct db_project p = {0};
	CLEANUP(db_profile_done) struct db_profile profile = {0};
	auto_free char *url = NULL;
	int r = api_decode(c, project_fields, &body, NULL, err);

	if (r == 0)
		r = name_check_project(body.name ? body.name : "", err);
	if (r < 0)
		return r;
	p.name = xstrdup(body.name);
	p.description = xstrdup(body.description ? body.description : "");
	strmap_copy(&p.config, &body.config);
	add_defaults(&p.config);
	r = settle(&p.config, err);
	if (r < 0)
		return r;
	make_profile(&profile, p.name);
	instances_hold_references(c->api->instances);
	if (store_has_project(c->api->store, p.name))
		r = error_set(err, 409, "Project \"%s\" already exists", p.name);
	else
		r = store_project_add(c->api->store, &p,
				      strmap_get_bool(&p.config, "features.profiles", false) ? &profile : NULL, err);
	instances_release_references(c->api->instances);
	if (r < 0)
		return r;
	tell_rbac(c->api);
	url = xasprintf("/1.0/projects/%s", p.name);
	api_lifecycle_as(c->api, p.name, &c->id, "project-created", url);
	api_created(c, url);
	return 0;
}

/* --- changing --- */

/* Who is no administrator of the server cannot loosen what the project is held by. */
static int check_rights(struct api_call *c, const struct strmap *before, const struct strmap *after, struct error *err)
{
	static const char *const held[] = {"features.", "limits.", "restricted"};
	auto_strmap struct strmap all = STRMAP_INIT;

	if (identity_is_admin(&c->id))
		return 0;
	strmap_copy(&all, before);
	strmap_merge(&all, after);
	for (size_t k = 0; k < all.len; k++)
		for (size_t h = 0; h < ARRAY_SIZE(held); h++)
			if (startswith(all.items[k].key, held[h]) && !streq(strmap_get_or(before, all.items[k].key, ""),
									    strmap_get_or(after, all.items[k].key, "")))
				return error_set(err, 403, "Only administrators of the server may change \"%s\"",
						 all.items[k].key);
	return 0;
}

static bool feature_changes(const struct db_project *before, const struct strmap *after, enum project_feature f)
{
	const char *key = project_feature_key(f);

	return strmap_get_bool(&before->config, key, false) != strmap_get_bool(after, key, false);
}

static int check_features(struct api_call *c, const struct db_project *before, const struct strmap *after,
			  struct error *err)
{
	for (enum project_feature f = PROJECT_ITSELF + 1; f < PROJECT_FEATURE_MAX; f++) {
		if (!feature_changes(before, after, f))
			continue;
		if (streq(before->name, "default"))
			return error_set(err, 400, "You can't change the features of the default project");
		if (!is_empty(c->api, before->name))
			return error_set(err, 400, "Features can only be changed on empty projects");
	}
	return 0;
}

static int64_t default_profile_id(struct api_call *c, const char *project)
{
	CLEANUP(db_profile_done) struct db_profile p = {0};
	auto_error struct error absent = ERROR_INIT;

	return store_profile_dup(c->api->store, project, "default", &p, &absent) < 0 ? -1 : p.id;
}

/* Write the change; the default profile comes or goes with features.profiles. */
static int store_change(struct api_call *c, const struct db_project *before, const struct db_project *after,
			struct error *err)
{
	CLEANUP(db_profile_done) struct db_profile profile = {0};
	bool changes = feature_changes(before, &after->config, PROJECT_PROFILES);
	bool own = strmap_get_bool(&after->config, project_feature_key(PROJECT_PROFILES), false);

	make_profile(&profile, after->name);
	return store_project_update(c->api->store, after, changes && own ? &profile : NULL,
				    changes && !own ? default_profile_id(c, after->name) : -1, err);
}

static int change_held(struct api_call *c, bool replace, struct error *err)
{
	CLEANUP(body_done) struct project_body body = {0};
	CLEANUP(db_project_done) struct db_project before = {0};
	CLEANUP(db_project_done) struct db_project after = {0};
	uint64_t given;
	char etag[65];
	int r = project_find(c, PERM_PROJECT_EDIT, &before, err);

	if (r == 0) {
		project_etag(&before, etag);
		r = api_check_etag(c, etag, err);
	}
	if (r == 0)
		r = api_decode(c, project_fields, &body, &given, err);
	if (r < 0)
		return r;
	after = (struct db_project){.id = before.id, .name = xstrdup(before.name)};
	after.description = replace || (given & (1u << GIVEN_DESCRIPTION))
				    ? xstrdup(body.description ? body.description : "")
				    : xstrdup(before.description);
	if (!replace)
		strmap_copy(&after.config, &before.config);
	strmap_merge(&after.config, &body.config);
	r = settle(&after.config, err);
	if (r == 0)
		r = check_rights(c, &before.config, &after.config, err);
	if (r == 0)
		r = check_features(c, &before, &after.config, err);
	if (r == 0)
		r = instances_check_project(c->api->instances, &after, err);
	return r < 0 ? r : store_change(c, &before, &after, err);
}

/* The references are held: nothing comes into the project between the check of what is there and the change. */
static int change(struct api_call *c, bool replace, struct error *err)
{
	auto_free char *url = xasprintf("/1.0/projects/%s", c->params[0]);
	int r;

	instances_hold_references(c->api->instances);
	r = change_held(c, replace, err);
	instances_release_references(c->api->instances);
	if (r < 0)
		return r;
	api_lifecycle_as(c->api, c->params[0], &c->id, "project-updated", url);
	api_empty(c);
	return 0;
}

static int put_project(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ true, err);
}

static int patch_project(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ false, err);
}

/* --- renaming and deleting --- */

struct rename_job {
	struct api *api;
	struct identity id;
	char *old_name;
	char *name;
};

static void rename_free(void *arg)
{
	struct rename_job *j = arg;

	free(j->old_name);
	free(j->name);
	free(j);
}

/* Rights in the project have followed its name, or gone with it, in the database; invitations are gone. */
static void follow(struct api *api)
{
	trust_projects_changed(api->trust);
	tokens_forget_dropped(api->tokens);
	tell_rbac(api);
}

static int rename_held(struct rename_job *j, struct error *err)
{
	int r;

	if (!store_has_project(j->api->store, j->old_name))
		return error_set(err, 404, "Project not found");
	if (store_has_project(j->api->store, j->name))
		return error_set(err, 409, "A project named \"%s\" already exists", j->name);
	if (!is_empty(j->api, j->old_name))
		return error_set(err, 400, "Only empty projects can be renamed");
	r = store_project_rename(j->api->store, j->old_name, j->name, err);
	if (r == 0)
		follow(j->api);
	return r;
}

static int rename_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct rename_job *j = arg;
	auto_free char *url = xasprintf("/1.0/projects/%s", j->name);
	int r;

	instances_hold_references(j->api->instances);
	r = rename_held(j, err);
	instances_release_references(j->api->instances);
	if (r == 0)
		api_lifecycle_as(j->api, j->name, &j->id, "project-renamed", url);
	return r;
}

static int rename_project(struct api_call *c, struct error *err)
{
	CLEANUP(body_done) struct project_body body = {0};
	CLEANUP(db_project_done) struct db_project p = {0};
	struct operation_spec spec = {.description = "Renaming project", .run = rename_run, .arg_free = rename_free};
	struct rename_job *j;
	int r = project_find(c, PERM_ADMIN, &p, err);

	if (r == 0 && streq(p.name, "default"))
		r = error_set(err, 403, "The 'default' project cannot be renamed");
	if (r == 0)
		r = api_decode(c, project_fields, &body, NULL, err);
	if (r == 0)
		r = name_check_project(body.name ? body.name : "", err);
	if (r < 0)
		return r;
	j = xnew(struct rename_job);
	*j = (struct rename_job){.api = c->api, .id = c->id, .old_name = TAKE_PTR(p.name), .name = TAKE_PTR(body.name)};
	spec.arg = j;
	api_async(c, api_operation_new(c, &spec));
	return 0;
}

static int delete_project(struct api_call *c, struct error *err)
{
	CLEANUP(db_project_done) struct db_project p = {0};
	auto_free char *url = xasprintf("/1.0/projects/%s", c->params[0]);
	int r = project_find(c, PERM_ADMIN, &p, err);

	if (r == 0 && streq(p.name, "default"))
		r = error_set(err, 403, "The 'default' project cannot be deleted");
	if (r < 0)
		return r;
	instances_hold_references(c->api->instances);
	if (!is_empty(c->api, p.name))
		r = error_set(err, 400, "Only empty projects can be removed");
	else
		r = store_project_remove(c->api->store, p.name, err);
	if (r == 0)
		follow(c->api);
	instances_release_references(c->api->instances);
	if (r < 0)
		return r;
	api_lifecycle_as(c->api, p.name, &c->id, "project-deleted", url);
	api_empty(c);
	return 0;
}

const struct api_route api_project_routes[] = {
	{.path = "/1.0/projects",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = list_projects,
	 .doc = "Projects that the caller may view"},
	{.path = "/1.0/projects",
	 .method = HTTP_POST,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = post_project,
	 .body = project_fields,
	 .doc = "Create a project"},
	{.path = "/1.0/projects/{name}",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = get_project,
	 .doc = "One project"},
	{.path = "/1.0/projects/{name}",
	 .method = HTTP_PUT,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = put_project,
	 .body = project_fields,
	 .doc = "Replace a project's configuration"},
	{.path = "/1.0/projects/{name}",
	 .method = HTTP_PATCH,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = patch_project,
	 .body = project_fields,
	 .doc = "Change a project's configuration"},
	{.path = "/1.0/projects/{name}",
	 .method = HTTP_POST,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = rename_project,
	 .body = project_fields,
	 .doc = "Rename an empty project"},
	{.path = "/1.0/projects/{name}",
	 .method = HTTP_DELETE,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = delete_project,
	 .doc = "Delete an empty project"},
	{.path = "/1.0/projects/{name}/state",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = project_state_get,
	 .doc = "What a project may use, and what it does"},
	{0},
};
