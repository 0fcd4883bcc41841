/* `lxc remote` and `lxc alias`: the client's own configuration. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/table.h"

static const char *auth_type(const struct strmap *remote)
{
	const char *type = strmap_get(remote, "auth_type");

	if (startswith(strmap_get_or(remote, "addr", ""), "unix:"))
		return "file access";
	if (streq(strmap_get_or(remote, "protocol", "lxd"), "simplestreams"))
		return "none";
	return str_is_empty(type) ? "tls" : type;
}

/* YAML has the fields of config.yml; JSON has the names that the reference client gives them. */
static int remotes_as_json(const struct cli_config *config, bool capital, struct json **ret, struct error *err)
{
	static const struct {
		const char *name, *key;
	} fields[] = {
		{"Addr", "addr"},       {"AuthType", "auth_type"}, {"Domain", "domain"},
		{"Project", "project"}, {"Protocol", "protocol"},
	};
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	for (size_t i = 0; i < config->remotes.len; i++) {
		const struct mapmap_item *item = &config->remotes.items[i];
		bool public = strmap_get_bool(&item->map, "public", false);

		jsonw_key(&w, item->key);
		jsonw_object_begin(&w);
		for (size_t k = 0; k < ARRAY_SIZE(fields); k++) {
			const char *value = strmap_get(&item->map, fields[k].key);

			if (capital || value)
				jsonw_kv_str(&w, capital ? fields[k].name : fields[k].key, value);
		}
		jsonw_kv_bool(&w, capital ? "Public" : "public", public);
		if (capital) {
			jsonw_kv_bool(&w, "Global", false);
			jsonw_kv_bool(&w, "Static", cli_config_is_static(item->key));
		}
		jsonw_object_end(&w);
	}
	jsonw_object_end(&w);
	return json_parse(strbuf_str(&b), b.len, ret, err);
}

static int run_remote_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"NAME", "URL", "PROTOCOL", "AUTH TYPE", "PUBLIC", "STATIC", "GLOBAL"};
	auto_table struct table table = TABLE_INIT;
	auto_json struct json *j = NULL;
	enum table_format format;
	int r;

	r = table_format_parse(option_str(c->options, "format"), &format, err);
	if (r >= 0)
		r = remotes_as_json(c->config, format == TABLE_JSON, &j, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(header); i++)
		strv_add(&table.header, header[i]);
	for (size_t i = 0; i < c->config->remotes.len; i++) {
		const struct mapmap_item *item = &c->config->remotes.items[i];
		bool current = streq(item->key, cli_config_default_remote(c->config));
		auto_free char *name = xasprintf("%s%s", item->key, current ? " (current)" : "");
		const char *cells[] = {name,
				       strmap_get(&item->map, "addr"),
				       strmap_get_or(&item->map, "protocol", "lxd"),
				       auth_type(&item->map),
				       strmap_get_bool(&item->map, "public", false) ? "YES" : "NO",
				       cli_config_is_static(item->key) ? "YES" : "NO",
				       "NO"};

		table_add(&table, cells, ARRAY_SIZE(cells));
	}
	table_sort(&table);
	return table_print(&table, format, j, err);
}

static int run_remote_default(struct cli *c, struct error *err UNUSED)
{
	puts(cli_config_default_remote(c->config));
	return 0;
}

static int run_remote_switch(struct cli *c, struct error *err)
{
	if (!mapmap_get(&c->config->remotes, cli_arg(c, 0)))
		return error_set(err, 404, "Remote %s doesn't exist", cli_arg(c, 0));
	free(c->config->default_remote);
	c->config->default_remote = xstrdup(cli_arg(c, 0));
	return cli_config_save(c->config, err);
}

static int run_remote_remove(struct cli *c, struct error *err)
{
	const char *name = cli_arg(c, 0);

	if (!mapmap_get(&c->config->remotes, name))
		return error_set(err, 404, "Remote %s doesn't exist", name);
	if (cli_config_is_static(name))
		return error_set(err, 400, "Remote %s is static and cannot be modified", name);
	if (streq(name, c->config->default_remote))
		return error_set(err, 400, "Can't remove the default remote");
	mapmap_remove(&c->config->remotes, name);
	return cli_config_save(c->config, err);
}

static int run_remote_add(struct cli *c UNUSED, struct error *err)
{
	return error_set(err, 501, "Remotes on the network are not supported yet");
}

static const struct option_row list_options[] = {TABLE_FORMAT_OPTION, OPTION_END};
static const struct command remote_add = {.name = "add",
					  .args = "[<remote>] <address>",
					  .min_args = 1,
					  .max_args = 2,
					  .run = run_remote_add,
					  .doc = "Add a remote"};
static const struct command remote_list = {
	.name = "list", .alias = "ls", .options = list_options, .run = run_remote_list, .doc = "List remotes"};
static const struct command remote_default = {
	.name = "get-default", .run = run_remote_default, .doc = "Show the default remote"};
static const struct command remote_switch = {.name = "switch",
					     .alias = "set-default",
					     .args = "<remote>",
					     .min_args = 1,
					     .max_args = 1,
					     .run = run_remote_switch,
					     .doc = "Make a remote the default"};
static const struct command remote_remove = {.name = "remove",
					     .alias = "rm",
					     .args = "<remote>",
					     .min_args = 1,
					     .max_args = 1,
					     .run = run_remote_remove,
					     .doc = "Remove a remote"};
static const struct command *const remote_children[] = {&remote_add,    &remote_default, &remote_list,
							&remote_remove, &remote_switch,  NULL};

const struct command cmd_remote = {.name = "remote", .children = remote_children, .doc = "The list of servers"};

/* ---- aliases ---- */

static int run_alias_list(struct cli *c, struct error *err)
{
	auto_table struct table table = TABLE_INIT;
	auto_json struct json *j = NULL;
	auto_free char *text = strmap_to_json(&c->config->aliases);
	enum table_format format;
	int r;

	r = table_format_parse(option_str(c->options, "format"), &format, err);
	if (r >= 0)
		r = json_parse(text, strlen(text), &j, err);
	if (r < 0)
		return r;
	strv_add(&table.header, "ALIAS");
	strv_add(&table.header, "TARGET");
	for (size_t i = 0; i < c->config->aliases.len; i++) {
		const char *cells[] = {c->config->aliases.items[i].key, c->config->aliases.items[i].value};

		table_add(&table, cells, ARRAY_SIZE(cells));
	}
	table_sort(&table);
	return table_print(&table, format, j, err);
}

static int run_alias_add(struct cli *c, struct error *err)
{
	if (strmap_get(&c->config->aliases, cli_arg(c, 0)))
		return error_set(err, 409, "Alias %s already exists", cli_arg(c, 0));
	strmap_set(&c->config->aliases, cli_arg(c, 0), cli_arg(c, 1));
	return cli_config_save(c->config, err);
}

static int run_alias_remove(struct cli *c, struct error *err)
{
	if (!strmap_remove(&c->config->aliases, cli_arg(c, 0)))
		return error_set(err, 404, "Alias %s doesn't exist", cli_arg(c, 0));
	return cli_config_save(c->config, err);
}

static int run_alias_rename(struct cli *c, struct error *err)
{
	const char *target = strmap_get(&c->config->aliases, cli_arg(c, 0));

	if (!target)
		return error_set(err, 404, "Alias %s doesn't exist", cli_arg(c, 0));
	if (strmap_get(&c->config->aliases, cli_arg(c, 1)))
		return error_set(err, 409, "Alias %s already exists", cli_arg(c, 1));
	strmap_set(&c->config->aliases, cli_arg(c, 1), target);
	strmap_remove(&c->config->aliases, cli_arg(c, 0));
	return cli_config_save(c->config, err);
}

static const struct command alias_add = {.name = "add",
					 .args = "<alias> <target>",
					 .min_args = 2,
					 .max_args = 2,
					 .run = run_alias_add,
					 .doc = "Add an alias",
					 .more = "@ARGS@ in the target stands for the arguments, @ARG1@ for the first\n"
						 "of them; without these they are appended."};
static const struct command alias_list = {
	.name = "list", .alias = "ls", .options = list_options, .run = run_alias_list, .doc = "List aliases"};
static const struct command alias_remove = {.name = "remove",
					    .alias = "rm",
					    .args = "<alias>",
					    .min_args = 1,
					    .max_args = 1,
					    .run = run_alias_remove,
					    .doc = "Remove an alias"};
static const struct command alias_rename = {.name = "rename",
					    .alias = "mv",
					    .args = "<old alias> <new alias>",
					    .min_args = 2,
					    .max_args = 2,
					    .run = run_alias_rename,
					    .doc = "Rename an alias"};
static const struct command *const alias_children[] = {&alias_add, &alias_list, &alias_remove, &alias_rename, NULL};

const struct command cmd_alias = {.name = "alias", .children = alias_children, .doc = "Aliases of commands"};
