/* `lxc project`; which one a remote uses is in config.yml. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/entity.h"
#include "client/instance.h"
#include "client/table.h"

static int run_create(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r = target_open_named(c, cli_arg(c, 0), "project", &t, err);

	if (r >= 0)
		r = instance_parse_config(option_list(c->options, "config"), &config, err);
	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", t.name);
	jsonw_kv_strmap(&w, "config", &config);
	jsonw_kv_str(&w, "description", "");
	jsonw_object_end(&w);
	r = cli_do(c, t.api, "POST", "/1.0/projects", strbuf_str(&b), NULL, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Project %s created\n", t.name);
	return r;
}

/* --- the project that a remote uses --- */

struct choice {
	const char *remote;
	const char *project; /* NULL: none, which is default */
	const char *only_if; /* not NULL: leave the remote alone unless it uses this one */
};

static int choose(struct cli_config *config, void *arg, struct error *err)
{
	const struct choice *ch = arg;
	struct strmap *remote = mapmap_get(&config->remotes, ch->remote);

	if (!remote)
		return error_set(err, 404, "The remote \"%s\" doesn't exist", ch->remote);
	if (!ch->only_if || streq(strmap_get_or(remote, "project", ""), ch->only_if))
		strmap_set(remote, "project", ch->project);
	return 0;
}

static int run_switch(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = entity_load(c, &t, &d, err);

	return r < 0 ? r : cli_config_change(c->config, choose, &(struct choice){t.remote, t.name, NULL}, err);
}

static int run_delete(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	int r = target_parse(c, cli_arg(c, 0), &t, err);

	if (r >= 0)
		r = entity_delete(c, err);
	if (r < 0 || !streq(strmap_get_or(mapmap_get(&c->config->remotes, t.remote), "project", ""), t.name))
		return r;
	/* the remote's own is gone */
	return cli_config_change(c->config, choose, &(struct choice){t.remote, NULL, t.name}, err);
}

/* --- lists --- */

static const char *yes_no(const struct json *config, const char *key)
{
	return parse_bool_or(json_get_str(config, key), false) ? "YES" : "NO";
}

static void add_project(struct table *t, const struct json *p, const char *current)
{
	const struct json *config = json_get(p, "config");
	const char *name = json_get_str(p, "name");
	bool is_current = name && streq(name, current);
	auto_free char *shown = xasprintf("%s%s", name ? name : "", is_current ? " (current)" : "");
	auto_free char *used = xasprintf("%zu", json_len(json_get(p, "used_by")));
	const char *cells[] = {shown,
			       yes_no(config, "features.images"),
			       yes_no(config, "features.profiles"),
			       yes_no(config, "features.storage.volumes"),
			       yes_no(config, "features.networks"),
			       json_get_str(p, "description"),
			       used};

	table_add(t, cells, ARRAY_SIZE(cells));
}

static int run_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"NAME",     "IMAGES",      "PROFILES", "STORAGE VOLUMES",
					     "NETWORKS", "DESCRIPTION", "USED BY"};
	auto_target struct target t = TARGET_INIT;
	auto_table struct table table = TABLE_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	enum table_format format;
	int r = table_format_parse(option_str(c->options, "format"), &format, err);

	if (r >= 0)
		r = target_open(c, cli_arg(c, 0), &t, err);
	if (r >= 0)
		r = api_get(t.api, "/1.0/projects?recursion=1", &reply, err);
	if (r < 0)
		return r;
	table_set_header(&table, header, ARRAY_SIZE(header));
	for (size_t i = 0; i < json_len(reply.metadata); i++)
		add_project(&table, json_at(reply.metadata, i),
			    str_is_empty(t.api->project) ? "default" : t.api->project);
	table_sort(&table);
	return table_print(&table, format, reply.metadata, err);
}

static char *amount(const char *resource, int64_t value)
{
	if (streq(resource, "disk") || streq(resource, "memory"))
		return format_size_iec((uint64_t)value);
	return xasprintf("%lld", (long long)value);
}

static int add_resource(const char *key, const struct json *value, void *arg)
{
	int64_t limit = json_int(json_get(value, "Limit")), usage = json_int(json_get(value, "Usage"));
	auto_free char *name = cli_upper(key);
	auto_free char *limit_text = NULL;
	auto_free char *usage_text = NULL;

	limit_text = limit < 0 ? xstrdup("UNLIMITED") : amount(key, limit);
	usage_text = amount(key, usage);
	table_add(arg, (const char *const[]){name, limit_text, usage_text}, 3);
	return 0;
}

static int run_info(struct cli *c, struct error *err)
{
	static const char *const header[] = {"RESOURCE", "LIMIT", "USAGE"};
	auto_target struct target t = TARGET_INIT;
	auto_table struct table table = TABLE_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *url = NULL;
	enum table_format format;
	int r = table_format_parse(option_str(c->options, "format"), &format, err);

	if (r >= 0)
		r = target_open_named(c, cli_arg(c, 0), "project", &t, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/projects/%s/state", t.name);
	r = api_get(t.api, url, &reply, err);
	if (r < 0)
		return r;
	table_set_header(&table, header, ARRAY_SIZE(header));
	json_each(json_get(reply.metadata, "resources"), add_resource, &table);
	table_sort(&table);
	return table_print(&table, format, reply.metadata, err);
}

static const struct option_row create_options[] = {
	{"config", 'c', OPTION_LIST, NULL, "Configuration key=value for the project"},
	OPTION_END,
};
static const struct option_row list_options[] = {TABLE_FORMAT_OPTION, OPTION_END};

#define ROW(id, nm, arguments, min, max, fn, text, ...) \
	static const struct command id = {              \
		.name = nm, .args = arguments, .min_args = min, .max_args = max, .run = fn, .doc = text, __VA_ARGS__}

ROW(project_create, "create", "[<remote>:]<project>", 1, 1, run_create, "Create a project", .options = create_options);
ROW(project_delete, "delete", "[<remote>:]<project>", 1, 1, run_delete, "Delete an empty project", .alias = "rm");
ROW(project_edit, "edit", "[<remote>:]<project>", 1, 1, entity_edit, "Edit a project as YAML");
ROW(project_get, "get", "[<remote>:]<project> <key>", 2, 2, entity_get, "Show the value of a key");
ROW(project_info, "info", "[<remote>:]<project>", 1, 1, run_info, "Show limits of a project and what it uses",
    .options = list_options);
ROW(project_list, "list", "[<remote>:]", 0, 1, run_list, "List projects", .alias = "ls", .options = list_options);
ROW(project_rename, "rename", "[<remote>:]<project> <new name>", 2, 2, entity_rename, "Rename an empty project",
    .alias = "mv");
ROW(project_set, "set", "[<remote>:]<project> <key>=<value>...", 2, COMMAND_ANY, entity_set, "Set keys of a project");
ROW(project_show, "show", "[<remote>:]<project>", 1, 1, entity_show, "Show a project as YAML");
ROW(project_switch, "switch", "[<remote>:]<project>", 1, 1, run_switch, "Work in this project from now on");
ROW(project_unset, "unset", "[<remote>:]<project> <key>", 2, 2, entity_unset, "Unset a key of a project");

static const struct command *const children[] = {
	&project_create, &project_delete, &project_edit, &project_get,    &project_info,  &project_list,
	&project_rename, &project_set,    &project_show, &project_switch, &project_unset, NULL,
};

const struct command cmd_project = {.name = "project", .children = children, .doc = "Projects"};
