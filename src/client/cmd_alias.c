/* `lxc alias`: aliases of commands in the client's own configuration. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/table.h"

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

/* The changes run on the file as it is when it is locked; @arg is the command's context. */

static int add_alias(struct cli_config *config, void *arg, struct error *err)
{
	const struct cli *c = arg;

	if (strmap_get(&config->aliases, cli_arg(c, 0)))
		return error_set(err, 409, "Alias %s already exists", cli_arg(c, 0));
	strmap_set(&config->aliases, cli_arg(c, 0), cli_arg(c, 1));
	return 0;
}

static int run_alias_add(struct cli *c, struct error *err)
{
	return cli_config_change(c->config, add_alias, c, err);
}

static int remove_alias(struct cli_config *config, void *arg, struct error *err)
{
	const struct cli *c = arg;

	if (!strmap_remove(&config->aliases, cli_arg(c, 0)))
		return error_set(err, 404, "Alias %s doesn't exist", cli_arg(c, 0));
	return 0;
}

static int run_alias_remove(struct cli *c, struct error *err)
{
	return cli_config_change(c->config, remove_alias, c, err);
}

static int rename_alias(struct cli_config *config, void *arg, struct error *err)
{
	const struct cli *c = arg;
	auto_free char *target = xstrdup_null(strmap_get(&config->aliases, cli_arg(c, 0)));

	if (!target)
		return error_set(err, 404, "Alias %s doesn't exist", cli_arg(c, 0));
	if (strmap_get(&config->aliases, cli_arg(c, 1)))
		return error_set(err, 409, "Alias %s already exists", cli_arg(c, 1));
	strmap_set(&config->aliases, cli_arg(c, 1), target);
	strmap_remove(&config->aliases, cli_arg(c, 0));
	return 0;
}

static int run_alias_rename(struct cli *c, struct error *err)
{
	return cli_config_change(c->config, rename_alias, c, err);
}

static const struct option_row list_options[] = {TABLE_FORMAT_OPTION, OPTION_END};
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
