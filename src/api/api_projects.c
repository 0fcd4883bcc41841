/* /1.0/projects: the default project; others come later. */
#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/str.h"
#include "config/names.h"

static const char later[] = "Projects other than \"default\" are not supported by this server yet";

static void write_used_by(struct api_call *c, struct jsonw *w)
{
	auto_strv struct strv urls = STRV_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf list = STRBUF_INIT;
	struct jsonw lw = JSONW(&list);
	struct store *s = c->api->store;

	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_profiles; k++)
		strv_addf(&urls, "/1.0/profiles/%s", s->profiles[k]->name);
	for (size_t k = 0; k < s->n_images; k++)
		if (s->images[k]->phase == DB_READY)
			strv_addf(&urls, "/1.0/images/%s", s->images[k]->fingerprint);
	mutex_unlock(&s->lock);
	jsonw_key(w, "used_by");
	jsonw_array_begin(w);
	if (instances_render(c->api->instances, "default", INSTANCE_LIST_NAMES, "instances", NULL, NULL, &lw, &err) ==
		    0 &&
	    list.len > 2)
		jsonw_raw(w, list.data + 1, list.len - 2);
	for (size_t k = 0; k < urls.len; k++)
		jsonw_str(w, urls.items[k]);
	jsonw_array_end(w);
}

static void write_project(struct api_call *c, struct jsonw *w)
{
	jsonw_object_begin(w);
	jsonw_kv_raw(w, "config",
		     "{\"features.images\":\"true\",\"features.networks\":\"true\",\"features.profiles\":\"true\","
		     "\"features.storage.volumes\":\"true\"}");
	jsonw_kv_str(w, "description", "Default LXD project");
	jsonw_kv_str(w, "name", "default");
	write_used_by(c, w);
	jsonw_object_end(w);
}

static int list_projects(struct api_call *c, struct error *err UNUSED)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	if (!authorize(&c->id, PERM_PROJECT_VIEW, "default"))
		(void)0; /* trusted, but sees no project */
	else if (api_recursion(c))
		write_project(c, &w);
	else
		jsonw_str(&w, "/1.0/projects/default");
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

/* Whether a project is there is told only to those who may view it. */
static int find(struct api_call *c, struct error *err)
{
	if (!authorize(&c->id, PERM_PROJECT_VIEW, c->params[0]))
		return error_set(err, 403, "not authorized");
	return streq(c->params[0], "default") ? 0 : error_set(err, 404, "Project not found");
}

static int get_project(struct api_call *c, struct error *err)
{
	static const char tag_source[] = "default";
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	char etag[65];
	int r = find(c, err);

	if (r < 0)
		return r;
	write_project(c, &w);
	api_etag(tag_source, sizeof(tag_source) - 1, etag);
	api_sync_etag(c, &b, etag);
	return 0;
}

static int post_project(struct api_call *c, struct error *err)
{
	const struct json *body;
	const char *name;
	int r = api_body(c, &body, err);

	if (r < 0)
		return r;
	name = json_get_str(body, "name");
	r = name_check_project(name ? name : "", err);
	if (r < 0)
		return r;
	if (streq(name, "default"))
		return error_set(err, 409, "Project \"default\" already exists");
	return error_set(err, 501, "%s", later);
}

static int change_project(struct api_call *c, struct error *err)
{
	int r = find(c, err);

	if (r < 0)
		return r;
	return error_set(err, 501, "Changing projects is not supported by this server yet");
}

static int rename_project(struct api_call *c, struct error *err)
{
	int r = find(c, err);

	return r < 0 ? r : error_set(err, 403, "The 'default' project cannot be renamed");
}

static int delete_project(struct api_call *c, struct error *err)
{
	int r = find(c, err);

	return r < 0 ? r : error_set(err, 403, "The 'default' project cannot be deleted");
}

const struct api_route api_project_routes[] = {
	{.path = "/1.0/projects",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = list_projects,
	 .doc = "Projects"},
	{.path = "/1.0/projects",
	 .method = HTTP_POST,
	 .perm = PERM_ADMIN,
	 .handler = post_project,
	 .doc = "Create a project (refused for now)"},
	{.path = "/1.0/projects/{name}",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = get_project,
	 .doc = "One project"},
	{.path = "/1.0/projects/{name}",
	 .method = HTTP_PUT,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = change_project,
	 .doc = "Replace a project's configuration (refused for now)"},
	{.path = "/1.0/projects/{name}",
	 .method = HTTP_PATCH,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = change_project,
	 .doc = "Change a project's configuration (refused for now)"},
	{.path = "/1.0/projects/{name}",
	 .method = HTTP_POST,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = rename_project,
	 .doc = "Rename a project"},
	{.path = "/1.0/projects/{name}",
	 .method = HTTP_DELETE,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = delete_project,
	 .doc = "Delete a project"},
	{0},
};
