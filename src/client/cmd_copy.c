/* `lxc copy`, `lxc move` and `lxc rename`, on one server; between two: migrate.c. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/instance.h"
#include "client/migrate.h"

static int open_both(struct cli *c, struct target *source, struct target *dest, struct error *err)
{
	int r = target_open_named(c, cli_arg(c, 0), "source instance", source, err);

	/* to another project under the same name */
	if (r >= 0 && !cli_arg(c, 1) && option_str(c->options, "target-project"))
		return target_open(c, cli_arg(c, 0), dest, err);
	return r < 0 ? r : target_open(c, cli_arg(c, 1), dest, err);
}

/* A copy keeps the source's settings, except what belongs to the source alone. */
static bool keeps_on_copy(const char *key)
{
	return !startswith(key, "volatile.") || streq(key, "volatile.base_image") ||
	       streq(key, "volatile.last_state.idmap");
}

/* @moves: it stays the same instance. */
static int copy_config(const struct json *source, struct cli *c, bool moves, struct strmap *ret, struct error *err)
{
	auto_strmap struct strmap all = STRMAP_INIT;
	int r;

	r = json_to_strmap(json_get(source, "config"), "config", &all, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < all.len; i++)
		if (moves ? !streq(all.items[i].key, "volatile.last_state.power") : keeps_on_copy(all.items[i].key))
			strmap_set(ret, all.items[i].key, all.items[i].value);
	return instance_parse_config(option_list(c->options, "config"), ret, err);
}

static int copy_devices(const struct json *source, struct cli *c, struct mapmap *ret, struct error *err)
{
	const char *pool = option_str(c->options, "storage");
	int r;

	r = json_to_mapmap(json_get(source, "devices"), "devices", ret, err);
	if (r < 0)
		return r;
	if (pool) {
		struct strmap *root = mapmap_ensure(ret, "root");

		strmap_set(root, "type", "disk");
		strmap_set(root, "path", "/");
		strmap_set(root, "pool", pool);
	}
	return instance_parse_devices(option_list(c->options, "device"), ret, err);
}

static int copy_profiles(const struct json *source, struct cli *c, struct strv *ret, struct error *err)
{
	const struct strv *given = option_list(c->options, "profile");

	if (option_bool(c->options, "no-profiles"))
		return 0;
	if (given->len) {
		strv_copy(ret, given);
		return 0;
	}
	return json_to_strv(json_get(source, "profiles"), "profiles", ret, err);
}

/* @project is the source's. */
static void write_source(struct cli *c, struct jsonw *w, const char *source, const char *project)
{
	jsonw_key(w, "source");
	jsonw_object_begin(w);
	jsonw_kv_str(w, "type", "copy");
	jsonw_kv_str(w, "source", source);
	if (option_str(c->options, "target-project"))
		jsonw_kv_str(w, "project", project);
	jsonw_kv_bool(w, "instance_only", option_bool(c->options, "instance-only"));
	jsonw_kv_bool(w, "refresh", option_bool(c->options, "refresh"));
	jsonw_kv_bool(w, "allow_inconsistent", option_bool(c->options, "allow-inconsistent"));
	jsonw_object_end(w);
}

/* What a new instance is made of: the old one, under another name. */
struct copying {
	struct cli *c;
	const struct json *inst;
	const char *name;
	bool moves;
};

/* The members of the request but for the source. */
static int copy_members(void *arg, struct jsonw *w, struct error *err)
{
	const struct copying *cp = arg;
	struct cli *c = cp->c;
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_mapmap struct mapmap devices = MAPMAP_INIT;
	auto_strv struct strv profiles = STRV_INIT;
	const char *type = json_get_str(cp->inst, "type");
	int r = copy_config(cp->inst, c, cp->moves, &config, err);

	if (r >= 0)
		r = copy_devices(cp->inst, c, &devices, err);
	if (r >= 0)
		r = copy_profiles(cp->inst, c, &profiles, err);
	if (r < 0)
		return r;
	jsonw_kv_str(w, "name", cp->name);
	jsonw_kv_str(w, "type", type ? type : "container");
	jsonw_kv_str(w, "architecture", json_get_str(cp->inst, "architecture"));
	jsonw_kv_strmap(w, "config", &config);
	jsonw_kv_mapmap(w, "devices", &devices);
	jsonw_kv_strv(w, "profiles", &profiles);
	jsonw_kv_bool(w, "ephemeral",
		      cp->moves ? json_is_true(json_get(cp->inst, "ephemeral")) : option_bool(c->options, "ephemeral"));
	jsonw_kv_bool(w, "stateful",
		      json_is_true(json_get(cp->inst, "stateful")) && !option_bool(c->options, "stateless"));
	jsonw_kv_str(w, "description", json_get_str(cp->inst, "description"));
	return 0;
}

/* "c1" or "c1/snap" */
static char *source_url(const char *name)
{
	const char *slash = strchr(name, '/');
	auto_free char *inst = slash ? xstrndup(name, (size_t)(slash - name)) : NULL;

	return slash ? cli_url("/1.0/instances/%s/snapshots/%s", inst, slash + 1) : cli_url("/1.0/instances/%s", name);
}

static int copy_on_server(struct copying *cp, const struct target *source, const struct target *dest,
			  struct json **ret_op, struct error *err)
{
	const char *project = option_str(cp->c->options, "target-project");
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *url = NULL;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r;

	jsonw_object_begin(&w);
	r = copy_members(cp, &w, err);
	if (r < 0)
		return r;
	write_source(cp->c, &w, source->name, str_is_empty(source->api->project) ? "default" : source->api->project);
	jsonw_object_end(&w);
	url = project ? cli_url("/1.0/instances?project=%s", project) : xstrdup("/1.0/instances");
	r = api_call(dest->api, "POST", url, b.data, NULL, &reply, err);
	return r < 0 ? r : cli_wait(cp->c, dest->api, &reply, ret_op, err);
}

static int copy_between(struct copying *cp, const struct target *source, const struct target *dest,
			struct json **ret_op, struct error *err)
{
	const char *mode = option_str(cp->c->options, "mode");
	const char *project = option_str(cp->c->options, "target-project");
	const char *status = json_get_str(cp->inst, "status");
	bool runs = status && !streq(status, "Stopped");
	struct migration m = {.c = cp->c,
			      .source = source,
			      .dest = dest,
			      .mode = mode ? mode : "pull",
			      .live = runs && !option_bool(cp->c->options, "stateless"),
			      .instance_only = option_bool(cp->c->options, "instance-only"),
			      .body = copy_members,
			      .body_arg = cp};

	if (project) {
		free(dest->api->project);
		dest->api->project = xstrdup(project);
	}
	if (strchr(source->name, '/'))
		return error_set(err, 501, "Copies of snapshots between servers are not supported yet");
	if (option_bool(cp->c->options, "refresh"))
		return error_set(err, 501, "--refresh between servers is not supported yet");
	return migration_run(&m, ret_op, err);
}

/* Copy @source to @dest, whose name may be empty: the same on another server, one of the server's choice on the same.
 */
static int copy_to(struct cli *c, const struct target *source, struct target *dest, bool moves, struct json **ret_op,
		   struct error *err)
{
	auto_api_reply struct api_reply inst = API_REPLY_INIT;
	auto_free char *url = source_url(source->name);
	struct copying cp = {.c = c, .moves = moves};
	bool same = source->api == dest->api;
	int r = api_get(source->api, url, &inst, err);

	if (r < 0)
		return r;
	if (!*dest->name && cli_arg(c, 1) && !same) {
		free(dest->name);
		dest->name = xstrndup(source->name, strcspn(source->name, "/"));
	}
	cp.inst = inst.metadata;
	cp.name = dest->name;
	return same ? copy_on_server(&cp, source, dest, ret_op, err) : copy_between(&cp, source, dest, ret_op, err);
}

static int run_copy(struct cli *c, struct error *err)
{
	auto_target struct target source = TARGET_INIT;
	auto_target struct target dest = TARGET_INIT;
	auto_json struct json *op = NULL;
	auto_free char *name = NULL;
	int r = open_both(c, &source, &dest, err);

	if (r >= 0)
		r = copy_to(c, &source, &dest, /* moves= */ false, &op, err);
	if (r < 0 || *dest.name)
		return r;
	name = instance_name_of_operation(op, source.api == dest.api ? source.name : NULL);
	if (name)
		cli_say("Instance name is: %s\n", name);
	return 0;
}

/* POST {name, and what else is asked} to the instance or snapshot. */
static int post_rename(struct cli *c, struct api *a, const char *url, const char *name, const char *pool,
		       const char *project, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", name);
	if (pool || project) {
		jsonw_kv_bool(&w, "migration", true);
		jsonw_kv_bool(&w, "instance_only", option_bool(c->options, "instance-only"));
	}
	if (pool)
		jsonw_kv_str(&w, "pool", pool);
	if (project)
		jsonw_kv_str(&w, "project", project);
	jsonw_object_end(&w);
	return cli_do(c, a, "POST", url, strbuf_str(&b), NULL, err);
}

static int rename_target(struct cli *c, struct target *source, const char *new_name, const char *pool,
			 const char *project, struct error *err)
{
	const char *slash = strchr(source->name, '/');
	const char *new_slash = strchr(new_name, '/');
	auto_free char *url = source_url(source->name);

	if (!slash)
		return post_rename(c, source->api, url, new_name, pool, project, err);
	if (!new_slash || new_slash - new_name != slash - source->name ||
	    strncmp(source->name, new_name, (size_t)(slash - source->name)) != 0)
		return error_set(err, 400, "Invalid new snapshot name, parent must be the same as source");
	return post_rename(c, source->api, url, new_slash + 1, NULL, NULL, err);
}

/* To another server: a copy that stays the same instance, then the original goes. */
static int move_between(struct cli *c, const struct target *source, struct target *dest, struct error *err)
{
	auto_free char *url = source_url(source->name);
	auto_json struct json *op = NULL;
	int r = copy_to(c, source, dest, /* moves= */ true, &op, err);

	if (r < 0)
		return r;
	r = cli_do(c, source->api, "DELETE", url, NULL, NULL, err);
	return r < 0 ? error_wrap(err, "Failed to delete original instance after copying it") : 0;
}

static int move_on_server(struct cli *c, struct target *source, const struct target *dest, struct error *err)
{
	static const char *const unsupported[] = {"config", "device", "profile", "no-profiles"};
	const char *pool = option_str(c->options, "storage");
	const char *project = option_str(c->options, "target-project");

	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
		if (option_given(c->options, unsupported[i]))
			return pool || project ? error_set(err, 501, "move --%s is not supported on one server yet",
							   unsupported[i])
					       : error_set(err, 400,
							   "Can't override configuration or profiles in local rename");
	if (!*dest->name && !pool && !project)
		return error_set(err, 400, "Missing new instance name");
	return rename_target(c, source, *dest->name ? dest->name : source->name, pool, project, err);
}

static int run_move(struct cli *c, struct error *err)
{
	auto_target struct target source = TARGET_INIT;
	auto_target struct target dest = TARGET_INIT;
	int r;

	if (option_given(c->options, "target"))
		return error_set(err, 501, "move --target is not supported yet");
	r = open_both(c, &source, &dest, err);
	if (r < 0)
		return r;
	if (source.api == dest.api)
		return move_on_server(c, &source, &dest, err);
	return move_between(c, &source, &dest, err);
}

static int run_rename(struct cli *c, struct error *err)
{
	auto_target struct target source = TARGET_INIT;
	const char *new_name = cli_arg(c, 1);
	const char *colon = strchr(new_name, ':');
	int r;

	r = target_open_named(c, cli_arg(c, 0), "instance", &source, err);
	if (r < 0)
		return r;
	if (colon)
		return error_set(err, 400, "Can't specify a different remote for rename");
	return rename_target(c, &source, new_name, NULL, NULL, err);
}

#define COPY_OPTIONS                                                                                   \
	{"allow-inconsistent", 0, OPTION_BOOL, NULL, "Ignore errors for files that change meanwhile"}, \
		{"config", 'c', OPTION_LIST, NULL, "Configuration key=value for the target"},          \
		{"device", 'd', OPTION_LIST, NULL, "Device setting device,key=value"},                 \
		{"instance-only", 0, OPTION_BOOL, NULL, "Leave the snapshots out"},                    \
		{"mode", 0, OPTION_STRING, "pull", "Between servers: pull, push or relay"},            \
		{"no-profiles", 0, OPTION_BOOL, NULL, "Use no profile for the target"},                \
		{"profile", 'p', OPTION_LIST, NULL, "Profile for the target"},                         \
		{"stateless", 0, OPTION_BOOL, NULL, "Leave a stored state out"},                       \
		{"storage", 's', OPTION_STRING, NULL, "Storage pool of the target"},                   \
		{"target", 0, OPTION_STRING, NULL, "Cluster member"},                                  \
	{                                                                                              \
		"target-project", 0, OPTION_STRING, NULL, "Project of the target"                      \
	}

static const struct option_row copy_options[] = {
	COPY_OPTIONS,
	{"ephemeral", 'e', OPTION_BOOL, NULL, "Delete the copy when it stops"},
	{"refresh", 0, OPTION_BOOL, NULL, "Bring an existing copy up to date"},
	OPTION_END,
};
static const struct option_row move_options[] = {COPY_OPTIONS, OPTION_END};

const struct command cmd_copy = {
	.name = "copy",
	.alias = "cp",
	.args = "[<remote>:]<source>[/<snapshot>] [[<remote>:]<destination>]",
	.min_args = 1,
	.max_args = 2,
	.options = copy_options,
	.run = run_copy,
	.doc = "Copy an instance or a snapshot",
};

const struct command cmd_move = {
	.name = "move",
	.alias = "mv",
	.args = "[<remote>:]<instance>[/<snapshot>] [<remote>:][<instance>[/<snapshot>]]",
	.min_args = 1,
	.max_args = 2,
	.options = move_options,
	.run = run_move,
	.doc = "Move or rename an instance or a snapshot",
};

const struct command cmd_rename = {
	.name = "rename",
	.args = "[<remote>:]<instance>[/<snapshot>] <instance>[/<snapshot>]",
	.min_args = 2,
	.max_args = 2,
	.run = run_rename,
	.doc = "Rename an instance or a snapshot",
};
