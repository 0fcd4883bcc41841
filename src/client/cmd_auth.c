/* `lxc auth`: roles, who holds them, and groups; an extension of this project. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/entity.h"
#include "client/table.h"

static char *joined(const struct json *list)
{
	auto_strv struct strv texts = STRV_INIT;

	for (size_t k = 0; k < json_len(list); k++)
		strv_add(&texts, json_str(json_at(list, k)) ? json_str(json_at(list, k)) : "");
	return strv_join(&texts, "\n");
}

/* --- roles --- */

static void add_role(struct table *t, const struct json *role)
{
	auto_free char *may = joined(json_get(role, "permissions"));
	const char *cells[] = {json_get_str(role, "name"), json_get_str(role, "description"), may};

	table_add(t, cells, ARRAY_SIZE(cells));
}

static int run_role_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"NAME", "DESCRIPTION", "PERMISSIONS"};
	const struct entity_list list = {
		.url = "/1.0/auth/roles", .header = header, .columns = ARRAY_SIZE(header), .add_row = add_role};

	return entity_list(c, &list, err);
}

/* --- bindings --- */

static const char *shown_project(const struct json *binding)
{
	const char *scope = json_get_str(binding, "scope");

	if (scope && streq(scope, "project"))
		return json_get_str(binding, "project");
	return scope && streq(scope, "server") ? "(server)" : "(all projects)";
}

static void add_binding(struct table *t, const struct json *b)
{
	const char *cells[] = {json_get_str(b, "identity"), json_get_str(b, "role"), shown_project(b)};

	table_add(t, cells, ARRAY_SIZE(cells));
}

static int run_binding_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"IDENTITY", "ROLE", "PROJECT"};
	const struct entity_list list = {
		.url = "/1.0/auth/bindings", .header = header, .columns = ARRAY_SIZE(header), .add_row = add_binding};

	return entity_list(c, &list, err);
}

/* What IDENTITY ROLE [PROJECT] and --all-projects ask for. */
struct grant {
	const char *identity;
	const char *role;
	const char *scope;
	const char *project;
};

static int read_grant(struct cli *c, const struct target *t, struct grant *ret, struct error *err)
{
	bool all = option_bool(c->options, "all-projects");
	const char *project = cli_arg(c, 2);

	if (all && project)
		return error_set(err, 400, "A project and --all-projects exclude each other");
	*ret = (struct grant){.identity = t->name,
			      .role = cli_arg(c, 1),
			      .scope = all       ? "projects"
				       : project ? "project"
						 : "server",
			      .project = project ? project : ""};
	return 0;
}

static int run_binding_add(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	struct grant g = {0};
	int r = target_open_named(c, cli_arg(c, 0), "identity", &t, err);

	if (r >= 0)
		r = read_grant(c, &t, &g, err);
	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "identity", g.identity);
	jsonw_kv_str(&w, "role", g.role);
	jsonw_kv_str(&w, "scope", g.scope);
	jsonw_kv_str(&w, "project", g.project);
	jsonw_object_end(&w);
	return cli_do(c, t.api, "POST", "/1.0/auth/bindings", strbuf_str(&b), NULL, err);
}

static bool member_is(const struct json *object, const char *member, const char *text)
{
	const char *value = json_get_str(object, member);

	return streq(value ? value : "", text);
}

/* Fingerprints may be cut short. */
static bool identity_is(const struct json *binding, const char *given)
{
	const char *value = json_get_str(binding, "identity");

	return value && (streq(value, given) ||
			 (startswith(given, "tls/") && strlen(given) > strlen("tls/") && startswith(value, given)));
}

static bool grants(const struct json *binding, const struct grant *g)
{
	return identity_is(binding, g->identity) && member_is(binding, "role", g->role) &&
	       member_is(binding, "scope", g->scope) && member_is(binding, "project", g->project);
}

static int run_binding_remove(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	const struct json *found = NULL;
	auto_free char *url = NULL;
	struct grant g = {0};
	int r = target_open_named(c, cli_arg(c, 0), "identity", &t, err);

	if (r >= 0)
		r = read_grant(c, &t, &g, err);
	if (r >= 0)
		r = api_get(t.api, "/1.0/auth/bindings", &reply, err);
	if (r < 0)
		return r;
	for (size_t k = 0; k < json_len(reply.metadata); k++) {
		if (!grants(json_at(reply.metadata, k), &g))
			continue;
		if (found)
			return error_set(err, 400, "More than one identity matches \"%s\"", g.identity);
		found = json_at(reply.metadata, k);
	}
	if (!found)
		return error_set(err, 404, "\"%s\" does not hold the role \"%s\" there", g.identity, g.role);
	url = xasprintf("/1.0/auth/bindings/%lld", (long long)json_int(json_get(found, "id")));
	return cli_do(c, t.api, "DELETE", url, NULL, NULL, err);
}

/* --- groups --- */

static void add_group(struct table *t, const struct json *g)
{
	auto_free char *members = joined(json_get(g, "members"));
	const char *cells[] = {json_get_str(g, "name"), json_get_str(g, "description"), members};

	table_add(t, cells, ARRAY_SIZE(cells));
}

static int run_group_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"NAME", "DESCRIPTION", "MEMBERS"};
	const struct entity_list list = {.url = "/1.0/auth/groups?recursion=1",
					 .header = header,
					 .columns = ARRAY_SIZE(header),
					 .add_row = add_group};

	return entity_list(c, &list, err);
}

static int run_group_create(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r = target_open_named(c, cli_arg(c, 0), "group", &t, err);

	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", t.name);
	jsonw_kv_str(&w, "description", cli_arg(c, 1) ? cli_arg(c, 1) : "");
	jsonw_object_end(&w);
	r = cli_do(c, t.api, "POST", "/1.0/auth/groups", strbuf_str(&b), NULL, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Group %s created\n", t.name);
	return r;
}

static int run_group_delete(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_free char *url = NULL;
	int r = target_open_named(c, cli_arg(c, 0), "group", &t, err);

	if (r < 0)
		return r;
	url = cli_url("/1.0/auth/groups/%s", t.name);
	r = cli_do(c, t.api, "DELETE", url, NULL, NULL, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Group %s deleted\n", t.name);
	return r;
}

/* The group with its members as @members are: what somebody else changed meanwhile is a conflict. */
static int put_members(struct cli *c, struct target *t, const struct api_reply *was, const struct strv *members,
		       struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	auto_free char *url = cli_url("/1.0/auth/groups/%s", t->name);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "description", json_get_str(was->metadata, "description"));
	jsonw_kv_strv(&w, "members", members);
	jsonw_object_end(&w);
	return cli_do(c, t->api, "PUT", url, strbuf_str(&b), was->etag, err);
}

static int change_members(struct cli *c, bool add, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_strv struct strv members = STRV_INIT;
	auto_free char *url = NULL;
	const char *given = cli_arg(c, 1);
	const struct json *list;
	bool found = false;
	int r = target_open_named(c, cli_arg(c, 0), "group", &t, err);

	if (r < 0)
		return r;
	url = cli_url("/1.0/auth/groups/%s", t.name);
	r = api_get(t.api, url, &reply, err);
	if (r < 0)
		return r;
	list = json_get(reply.metadata, "members");
	for (size_t k = 0; k < json_len(list); k++) {
		bool is_it = streq(json_str(json_at(list, k)), given);

		found = found || is_it;
		if (add || !is_it)
			strv_add(&members, json_str(json_at(list, k)));
	}
	if (!add && !found)
		return error_set(err, 404, "\"%s\" is no member of group \"%s\"", given, t.name);
	if (add)
		strv_add(&members, given);
	return put_members(c, &t, &reply, &members, err);
}

static int run_group_add(struct cli *c, struct error *err)
{
	return change_members(c, /* add= */ true, err);
}

static int run_group_remove(struct cli *c, struct error *err)
{
	return change_members(c, /* add= */ false, err);
}

/* --- commands --- */

static const struct option_row list_options[] = {
	TABLE_FORMAT_OPTION,
	OPTION_END,
};
static const struct option_row grant_options[] = {
	{"all-projects", 0, OPTION_BOOL, NULL, "In every project, those to come too"},
	OPTION_END,
};

static const struct command role_list = {.name = "list",
					 .alias = "ls",
					 .args = "[<remote>:]",
					 .max_args = 1,
					 .options = list_options,
					 .run = run_role_list,
					 .doc = "List roles, and what each may do"};
static const struct command *const role_children[] = {&role_list, NULL};
static const struct command cmd_role = {.name = "role", .children = role_children, .doc = "What the roles are"};

static const struct command binding_add = {
	.name = "add",
	.args = "[<remote>:]<identity> <role> [<project>]",
	.min_args = 2,
	.max_args = 3,
	.options = grant_options,
	.run = run_binding_add,
	.doc = "Grant a role",
	.more = "An identity is tls/FINGERPRINT (a restricted certificate), candid/USER or group/NAME.\n"
		"Without a project the role is held on the server: in every project, and an admin\n"
		"is an administrator of the server.",
};
static const struct command binding_list = {.name = "list",
					    .alias = "ls",
					    .args = "[<remote>:]",
					    .max_args = 1,
					    .options = list_options,
					    .run = run_binding_list,
					    .doc = "List who holds which role where"};
static const struct command binding_remove = {.name = "remove",
					      .alias = "rm",
					      .args = "[<remote>:]<identity> <role> [<project>]",
					      .min_args = 2,
					      .max_args = 3,
					      .options = grant_options,
					      .run = run_binding_remove,
					      .doc = "Revoke a role"};
static const struct command *const binding_children[] = {&binding_add, &binding_list, &binding_remove, NULL};
static const struct command cmd_binding = {
	.name = "binding", .children = binding_children, .doc = "Who holds which role where"};

static const struct command group_add = {.name = "add",
					 .args = "[<remote>:]<group> <identity>",
					 .min_args = 2,
					 .max_args = 2,
					 .run = run_group_add,
					 .doc = "Add a certificate or user to a group"};
static const struct command group_create = {.name = "create",
					    .args = "[<remote>:]<group> [<description>]",
					    .min_args = 1,
					    .max_args = 2,
					    .run = run_group_create,
					    .doc = "Create a group"};
static const struct command group_delete = {.name = "delete",
					    .args = "[<remote>:]<group>",
					    .min_args = 1,
					    .max_args = 1,
					    .run = run_group_delete,
					    .doc = "Delete a group, and what was granted to it"};
static const struct command group_list = {.name = "list",
					  .alias = "ls",
					  .args = "[<remote>:]",
					  .max_args = 1,
					  .options = list_options,
					  .run = run_group_list,
					  .doc = "List groups"};
static const struct command group_remove = {.name = "remove",
					    .alias = "rm",
					    .args = "[<remote>:]<group> <identity>",
					    .min_args = 2,
					    .max_args = 2,
					    .run = run_group_remove,
					    .doc = "Take a certificate or user out of a group"};
static const struct command *const group_children[] = {&group_add,  &group_create, &group_delete,
						       &group_list, &group_remove, NULL};
static const struct command cmd_group = {
	.name = "group", .children = group_children, .doc = "Groups of certificates and users"};

static const struct command *const children[] = {&cmd_binding, &cmd_group, &cmd_role, NULL};

const struct command cmd_auth = {.name = "auth", .children = children, .doc = "Manage roles, and who holds them"};
