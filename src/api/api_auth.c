/* /1.0/auth: roles, who holds them where, and groups. */
#include <inttypes.h>
#include <string.h>

#include "api/api.h"
#include "api/server_config.h"
#include "auth/bindings.h"
#include "base/alloc.h"
#include "base/str.h"

/* --- roles --- */

static void write_permissions(permission_set may, struct jsonw *w)
{
	jsonw_key(w, "permissions");
	jsonw_array_begin(w);
	for (enum permission p = PERM_INVALID + 1; p < PERM_MAX; p++)
		if (may & PERMISSION_BIT(p) && permission_name(p))
			jsonw_str(w, permission_name(p));
	jsonw_array_end(w);
}

static int list_roles(struct api_call *c, struct error *err UNUSED)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	for (enum role r = ROLE_AUDITOR; r < ROLE_MAX; r++) {
		jsonw_object_begin(&w);
		jsonw_kv_str(&w, "description", role_description(r));
		jsonw_kv_str(&w, "name", role_name(r));
		write_permissions(role_permissions(r, SCOPE_PROJECT), &w);
		jsonw_object_end(&w);
	}
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

/* --- bindings --- */

struct binding_body {
	char *identity;
	char *role;
	char *scope;
	char *project;
};

static const struct json_field binding_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct binding_body, identity, "identity", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct binding_body, role, "role", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct binding_body, scope, "scope", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct binding_body, project, "project", 0),
	JSON_FIELD_END,
};

static void binding_body_done(struct binding_body *b)
{
	json_decode_done(binding_fields, b);
}

static void write_binding(struct db_binding *row, void *arg)
{
	struct jsonw *w = arg;

	jsonw_object_begin(w);
	jsonw_kv_int(w, "id", row->id);
	jsonw_kv_str(w, "identity", row->identity);
	jsonw_kv_str(w, "project", row->project ? row->project : "");
	jsonw_kv_str(w, "role", row->role);
	jsonw_kv_str(w, "scope", row->scope);
	jsonw_object_end(w);
}

static int list_bindings(struct api_call *c, struct error *err)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r;

	jsonw_array_begin(&w);
	r = db_bindings_load(c->api->store->db, write_binding, &w, err);
	if (r < 0) {
		strbuf_done(&b);
		return r;
	}
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

/* Role, scope and project against each other and against what there is. */
static int check_grant(const struct binding_body *b, enum role_scope *ret_scope, struct error *err)
{
	const char *scope = b->scope ? b->scope : "";
	enum role role;
	int r = role_parse(b->role ? b->role : "", /* or_none= */ false, &role, err);

	if (r < 0)
		return r;
	if (!role_scope_parse(scope, ret_scope))
		return error_set(err, 400, "Invalid scope \"%s\": it is project, projects or server", scope);
	if (*ret_scope == SCOPE_PROJECT && str_is_empty(b->project))
		return error_set(err, 400, "A role in a project needs the project's name");
	if (*ret_scope != SCOPE_PROJECT && !str_is_empty(b->project))
		return error_set(err, 400, "A role of scope \"%s\" is for no project alone", scope);
	return 0;
}

static char *describe(const struct db_binding *b)
{
	if (b->project)
		return xasprintf("%s %s project %s", b->identity, b->role, b->project);
	return xasprintf("%s %s %s", b->identity, b->role, b->scope);
}

/* The references are held: the project stays what it is. */
static int grant_held(struct api_call *c, struct db_binding *row, struct error *err)
{
	auto_free char *detail = describe(row);
	int r;

	if (row->project && !store_has_project(c->api->store, row->project))
		return error_set(err, 404, "Project \"%s\" not found", row->project);
	r = api_audit(c, "role-granted", "allowed", detail, err);
	if (r == 0) {
		r = binding_add(c->api->trust, c->api->store->db, row, err);
		if (r < 0)
			api_audit_note(c, "role-granted", "failed", detail);
	}
	return r;
}

static bool has_users(const struct db_group *g)
{
	for (size_t k = 0; k < g->members.len; k++)
		if (startswith(g->members.items[k], "candid/"))
			return true;
	return false;
}

/* Is the identity a user, or a group with users in it? */
static bool concerns_users(struct api_call *c, const char *identity)
{
	CLEANUP(db_group_done) struct db_group g = {0};
	auto_error struct error gone = ERROR_INIT;

	if (!startswith(identity, "group/"))
		return startswith(identity, "candid/");
	return group_load(c->api->store->db, identity + strlen("group/"), &g, &gone) == 0 && has_users(&g);
}

static int post_binding(struct api_call *c, struct error *err)
{
	CLEANUP(binding_body_done) struct binding_body body = {0};
	CLEANUP(db_binding_done) struct db_binding row = {0};
	auto_free char *url = NULL;
	enum role_scope scope = SCOPE_MAX;
	int r = api_decode(c, binding_fields, &body, NULL, err);

	if (r == 0)
		r = check_grant(&body, &scope, err);
	if (r == 0)
		r = identity_resolve(c->api->trust, c->api->store->db, body.identity ? body.identity : "",
				     /* or_group= */ true, &row.identity, err);
	if (r < 0)
		return r;
	if (concerns_users(c, row.identity))
		r = server_config_note_users(c, err);
	if (r < 0)
		return r;
	row.role = TAKE_PTR(body.role);
	row.scope = xstrdup(role_scope_name(scope));
	row.project = scope == SCOPE_PROJECT ? TAKE_PTR(body.project) : NULL;
	instances_hold_references(c->api->instances);
	r = grant_held(c, &row, err);
	instances_release_references(c->api->instances);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/auth/bindings/%" PRId64, row.id);
	api_lifecycle(c, "auth-binding-created", url);
	api_created(c, url);
	return 0;
}

static int delete_binding(struct api_call *c, struct error *err)
{
	CLEANUP(db_binding_done) struct db_binding was = {0};
	auto_free char *url = NULL, *detail = NULL;
	uint32_t id = 0;
	int r;

	if (parse_u32(c->params[0], &id) < 0)
		return error_set(err, 404, "Binding not found");
	/* before, so that what is not written down is not done; what it was is written after */
	r = api_audit(c, "role-revoked", "allowed", c->params[0], err);
	if (r == 0)
		r = binding_remove(c->api->trust, c->api->store->db, id, &was, err);
	if (r < 0)
		return r;
	detail = describe(&was);
	api_audit_note(c, "role-revoked", "allowed", detail);
	url = xasprintf("/1.0/auth/bindings/%" PRIu32, id);
	api_lifecycle(c, "auth-binding-deleted", url);
	api_empty(c);
	return 0;
}

/* --- groups --- */

struct group_body {
	char *name;
	char *description;
	struct strv members;
};

static const struct json_field group_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct group_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct group_body, description, "description", 0),
	JSON_FIELD(JSON_FIELD_STRV, struct group_body, members, "members", 0),
	JSON_FIELD_END,
};

static void group_body_done(struct group_body *b)
{
	json_decode_done(group_fields, b);
}

static void write_group(const struct db_group *g, struct jsonw *w)
{
	jsonw_object_begin(w);
	jsonw_kv_str(w, "description", g->description);
	jsonw_kv_strv(w, "members", &g->members);
	jsonw_kv_str(w, "name", g->name);
	jsonw_object_end(w);
}

struct group_list {
	struct jsonw w;
	bool objects;
};

static void add_group(struct db_group *g, void *arg)
{
	struct group_list *l = arg;

	if (l->objects)
		write_group(g, &l->w);
	else
		jsonw_strf(&l->w, "/1.0/auth/groups/%s", g->name);
}

static int list_groups(struct api_call *c, struct error *err)
{
	struct strbuf b = STRBUF_INIT;
	struct group_list l = {.w = JSONW(&b), .objects = api_recursion(c) > 0};
	int r;

	jsonw_array_begin(&l.w);
	r = db_groups_load(c->api->store->db, add_group, &l, err);
	if (r < 0) {
		strbuf_done(&b);
		return r;
	}
	jsonw_array_end(&l.w);
	api_sync(c, &b);
	return 0;
}

static void group_etag(const struct db_group *g, char etag[65])
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	write_group(g, &JSONW(&b));
	api_etag(b.data, b.len, etag);
}

static int get_group(struct api_call *c, struct error *err)
{
	CLEANUP(db_group_done) struct db_group g = {0};
	struct strbuf b = STRBUF_INIT;
	char etag[65];
	int r = group_load(c->api->store->db, c->params[0], &g, err);

	if (r < 0)
		return r;
	write_group(&g, &JSONW(&b));
	group_etag(&g, etag);
	api_sync_etag(c, &b, etag);
	return 0;
}

static int resolve_members(struct api_call *c, const struct strv *given, struct strv *ret, struct error *err)
{
	int r = 0;

	for (size_t k = 0; k < given->len && r == 0; k++) {
		auto_free char *identity = NULL;

		r = identity_resolve(c->api->trust, c->api->store->db, given->items[k], /* or_group= */ false,
				     &identity, err);
		if (r == 0 && !strv_contains(ret, identity))
			strv_add(ret, identity);
	}
	return r;
}

typedef int (*group_store)(struct trust *t, struct db *db, const struct db_group *g, struct error *err);

static int store(struct api_call *c, const struct db_group *g, const char *event, group_store fn, struct error *err)
{
	auto_free char *members = strv_join(&g->members, ",");
	auto_free char *detail = xasprintf("%s: %s", g->name, members);
	int r = has_users(g) ? server_config_note_users(c, err) : 0;

	if (r == 0)
		r = api_audit(c, event, "allowed", detail, err);
	if (r == 0) {
		r = fn(c->api->trust, c->api->store->db, g, err);
		if (r < 0)
			api_audit_note(c, event, "failed", detail);
	}
	return r;
}

static int post_group(struct api_call *c, struct error *err)
{
	CLEANUP(group_body_done) struct group_body body = {0};
	CLEANUP(db_group_done) struct db_group g = {0};
	auto_free char *url = NULL;
	int r = api_decode(c, group_fields, &body, NULL, err);

	if (r == 0 && !user_name_is_valid(body.name ? body.name : ""))
		r = error_set(err, 400, "Invalid group name \"%s\"", body.name ? body.name : "");
	if (r == 0)
		r = resolve_members(c, &body.members, &g.members, err);
	if (r < 0)
		return r;
	g.name = TAKE_PTR(body.name);
	g.description = body.description ? TAKE_PTR(body.description) : xstrdup("");
	r = store(c, &g, "group-created", group_add, err);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/auth/groups/%s", g.name);
	api_lifecycle(c, "auth-group-created", url);
	api_created(c, url);
	return 0;
}

static int put_group(struct api_call *c, struct error *err)
{
	CLEANUP(group_body_done) struct group_body body = {0};
	CLEANUP(db_group_done) struct db_group was = {0}, now = {0};
	auto_free char *url = NULL;
	char etag[65];
	int r = group_load(c->api->store->db, c->params[0], &was, err);

	if (r < 0)
		return r;
	group_etag(&was, etag);
	r = api_check_etag(c, etag, err);
	if (r == 0)
		r = api_decode(c, group_fields, &body, NULL, err);
	if (r == 0)
		r = resolve_members(c, &body.members, &now.members, err);
	if (r < 0)
		return r;
	now.name = xstrdup(was.name);
	now.description = body.description ? TAKE_PTR(body.description) : xstrdup("");
	r = store(c, &now, "group-updated", group_update, err);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/auth/groups/%s", now.name);
	api_lifecycle(c, "auth-group-updated", url);
	api_empty(c);
	return 0;
}

static int delete_group(struct api_call *c, struct error *err)
{
	CLEANUP(db_group_done) struct db_group g = {0};
	auto_free char *url = NULL;
	int r = group_load(c->api->store->db, c->params[0], &g, err);

	if (r == 0)
		r = api_audit(c, "group-deleted", "allowed", g.name, err);
	if (r == 0)
		r = group_remove(c->api->trust, c->api->store->db, g.name, err);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/auth/groups/%s", g.name);
	api_lifecycle(c, "auth-group-deleted", url);
	api_empty(c);
	return 0;
}

const struct api_route api_auth_routes[] = {
	{.path = "/1.0/auth/roles",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = list_roles,
	 .doc = "Roles, and what each may do where it is held"},
	{.path = "/1.0/auth/bindings",
	 .method = HTTP_GET,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = list_bindings,
	 .doc = "Who holds which role where"},
	{.path = "/1.0/auth/bindings",
	 .method = HTTP_POST,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = post_binding,
	 .body = binding_fields,
	 .doc = "Grant a role to a restricted certificate, a user or a group"},
	{.path = "/1.0/auth/bindings/{id}",
	 .method = HTTP_DELETE,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = delete_binding,
	 .doc = "Revoke a role"},
	{.path = "/1.0/auth/groups",
	 .method = HTTP_GET,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = list_groups,
	 .doc = "Groups of identities"},
	{.path = "/1.0/auth/groups",
	 .method = HTTP_POST,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = post_group,
	 .body = group_fields,
	 .doc = "Create a group"},
	{.path = "/1.0/auth/groups/{name}",
	 .method = HTTP_GET,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = get_group,
	 .doc = "One group"},
	{.path = "/1.0/auth/groups/{name}",
	 .method = HTTP_PUT,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = put_group,
	 .body = group_fields,
	 .doc = "Replace a group's description and members"},
	{.path = "/1.0/auth/groups/{name}",
	 .method = HTTP_DELETE,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = delete_group,
	 .doc = "Delete a group, and what was granted to it"},
	{0},
};
