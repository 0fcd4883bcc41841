/* `lxc copy`, `lxc move` and `lxc rename`, on one server. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/instance.h"

static int same_server(struct cli *c, struct target *source, struct target *dest, struct error *err)
{
	int r;

	r = target_open_named(c, cli_arg(c, 0), "source instance", source, err);
	if (r >= 0)
		r = target_open(c, cli_arg(c, 1), dest, err);
	if (r < 0)
		return r;
	if (source->api != dest->api)
		return error_set(err, 501, "Transfers between servers are not supported yet");
	return 0;
}

/* A copy keeps the source's settings, except what belongs to the source alone. */
static bool keeps_on_copy(const char *key)
{
	return !startswith(key, "volatile.") || streq(key, "volatile.base_image") ||
	       streq(key, "volatile.last_state.idmap");
}

static int copy_config(const struct json *source, struct cli *c, struct strmap *ret, struct error *err)
{
	auto_strmap struct strmap all = STRMAP_INIT;
	int r;

	r = json_to_strmap(json_get(source, "config"), "config", &all, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < all.len; i++)
		if (keeps_on_copy(all.items[i].key))
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

static void write_source(struct cli *c, struct jsonw *w, const char *source)
{
	jsonw_key(w, "source");
	jsonw_object_begin(w);
	jsonw_kv_str(w, "type", "copy");
	jsonw_kv_str(w, "source", source);
	jsonw_kv_bool(w, "instance_only", option_bool(c->options, "instance-only"));
	jsonw_kv_bool(w, "refresh", option_bool(c->options, "refresh"));
	jsonw_kv_bool(w, "allow_inconsistent", option_bool(c->options, "allow-inconsistent"));
	jsonw_object_end(w);
}

static int copy_body(struct cli *c, const struct json *inst, const char *source, const char *name, char **ret,
		     struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_mapmap struct mapmap devices = MAPMAP_INIT;
	auto_strv struct strv profiles = STRV_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	const char *type = json_get_str(inst, "type");
	int r;

	r = copy_config(inst, c, &config, err);
	if (r >= 0)
		r = copy_devices(inst, c, &devices, err);
	if (r >= 0)
		r = copy_profiles(inst, c, &profiles, err);
	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", name);
	jsonw_kv_str(&w, "type", type ? type : "container");
	jsonw_kv_str(&w, "architecture", json_get_str(inst, "architecture"));
	jsonw_kv_strmap(&w, "config", &config);
	jsonw_kv_mapmap(&w, "devices", &devices);
	jsonw_kv_strv(&w, "profiles", &profiles);
	jsonw_kv_bool(&w, "ephemeral", option_bool(c->options, "ephemeral"));
	jsonw_kv_bool(&w, "stateful",
		      json_is_true(json_get(inst, "stateful")) && !option_bool(c->options, "stateless"));
	jsonw_kv_str(&w, "description", json_get_str(inst, "description"));
	write_source(c, &w, source);
	jsonw_object_end(&w);
	*ret = strbuf_take(&b);
	return 0;
}

/* "c1" or "c1/snap" */
static char *source_url(const char *name)
{
	const char *slash = strchr(name, '/');
	auto_free char *inst = slash ? xstrndup(name, (size_t)(slash - name)) : NULL;

	return slash ? cli_url("/1.0/instances/%s/snapshots/%s", inst, slash + 1) : cli_url("/1.0/instances/%s", name);
}

static int run_copy(struct cli *c, struct error *err)
{
	auto_target struct target source = TARGET_INIT;
	auto_target struct target dest = TARGET_INIT;
	auto_api_reply struct api_reply inst = API_REPLY_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_json struct json *op = NULL;
	auto_free char *url = NULL;
	auto_free char *body = NULL;
	auto_free char *name = NULL;
	int r;

	r = same_server(c, &source, &dest, err);
	if (r < 0)
		return r;
	url = source_url(source.name);
	r = api_get(source.api, url, &inst, err);
	if (r >= 0)
		r = copy_body(c, inst.metadata, source.name, dest.name, &body, err);
	if (r >= 0)
		r = api_call(dest.api, "POST", "/1.0/instances", body, NULL, &reply, err);
	if (r >= 0)
		r = cli_wait(c, dest.api, &reply, &op, err);
	if (r < 0 || *dest.name)
		return r;
	name = instance_name_of_operation(op, source.name);
	if (name)
		printf("Instance name is: %s\n", name);
	return 0;
}

/* POST {name, and what else is asked} to the instance or snapshot. */
static int post_rename(struct cli *c, struct api *a, const char *url, const char *name, const char *pool,
		       struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", name);
	if (pool) {
		jsonw_kv_bool(&w, "migration", true);
		jsonw_kv_bool(&w, "instance_only", option_bool(c->options, "instance-only"));
		jsonw_kv_str(&w, "pool", pool);
	}
	jsonw_object_end(&w);
	return cli_do(c, a, "POST", url, strbuf_str(&b), NULL, err);
}

static int rename_target(struct cli *c, struct target *source, const char *new_name, const char *pool,
			 struct error *err)
{
	const char *slash = strchr(source->name, '/');
	const char *new_slash = strchr(new_name, '/');
	auto_free char *url = source_url(source->name);

	if (!slash)
		return post_rename(c, source->api, url, new_name, pool, err);
	if (!new_slash || new_slash - new_name != slash - source->name ||
	    strncmp(source->name, new_name, (size_t)(slash - source->name)) != 0)
		return error_set(err, 400, "Invalid new snapshot name, parent must be the same as source");
	return post_rename(c, source->api, url, new_slash + 1, NULL, err);
}

static int run_move(struct cli *c, struct error *err)
{
	static const char *const unsupported[] = {"target", "target-project", "config",
						  "device", "profile",        "no-profiles"};
	auto_target struct target source = TARGET_INIT;
	auto_target struct target dest = TARGET_INIT;
	const char *pool = option_str(c->options, "storage");
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
		if (option_given(c->options, unsupported[i]))
			return error_set(err, 501, "move --%s is not supported yet", unsupported[i]);
	r = same_server(c, &source, &dest, err);
	if (r < 0)
		return r;
	if (!*dest.name && !pool)
		return error_set(err, 400, "Missing new instance name");
	return rename_target(c, &source, *dest.name ? dest.name : source.name, pool, err);
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
	return rename_target(c, &source, new_name, NULL, err);
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
