/* `lxc image alias`. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/image.h"
#include "client/table.h"

static bool matches_one(const struct json *alias, const char *filter)
{
	const char *name = json_get_str(alias, "name"), *target = json_get_str(alias, "target");

	return (name && strstr(name, filter)) || (target && strstr(target, filter));
}

/* @behind: what stands behind "remote:" */
static bool matches(struct cli *c, const char *behind, size_t first, const struct json *alias)
{
	if (!matches_one(alias, behind))
		return false;
	for (size_t i = first; i < cli_argc(c); i++)
		if (!matches_one(alias, cli_arg(c, i)))
			return false;
	return true;
}

static int run_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"ALIAS", "FINGERPRINT", "TYPE", "DESCRIPTION"};
	const char *first = cli_arg(c, 0);
	bool has_remote = first && strchr(first, ':');
	auto_target struct target t = TARGET_INIT;
	auto_table struct table table = TABLE_INIT;
	auto_image_source struct image_source source = IMAGE_SOURCE_INIT;
	auto_json struct json *list = NULL;
	enum table_format format;
	int r;

	r = table_format_parse(option_str(c->options, "format"), &format, err);
	if (r >= 0)
		r = target_parse(c, has_remote ? first : NULL, &t, err);
	if (r >= 0)
		r = image_source_open(c, &t, &source, err);
	if (r >= 0)
		r = image_source_aliases(&source, &list, err);
	if (r < 0)
		return r;
	table_set_header(&table, header, ARRAY_SIZE(header));
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json *alias = json_at(list, i);
		const char *target = json_get_str(alias, "target"), *kind = json_get_str(alias, "type");
		auto_free char *fp = xstrndup(target ? target : "", 12);
		auto_free char *type = cli_upper(str_is_empty(kind) ? "container" : kind);
		const char *cells[] = {json_get_str(alias, "name"), fp, type, json_get_str(alias, "description")};

		if (matches(c, has_remote ? t.name : "", has_remote ? 1 : 0, alias))
			table_add(&table, cells, ARRAY_SIZE(cells));
	}
	table_sort(&table);
	return table_print(&table, format, list, err);
}

static int run_create(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r;

	r = target_open_named(c, cli_arg(c, 0), "alias", &t, err);
	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", t.name);
	jsonw_kv_str(&w, "target", cli_arg(c, 1));
	jsonw_kv_str(&w, "description", "");
	jsonw_object_end(&w);
	return cli_do(c, t.api, "POST", "/1.0/images/aliases", strbuf_str(&b), NULL, err);
}

static int run_delete(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_free char *url = NULL;
	int r;

	r = target_open_named(c, cli_arg(c, 0), "alias", &t, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/images/aliases/%s", t.name);
	return cli_do(c, t.api, "DELETE", url, NULL, NULL, err);
}

static int run_rename(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_free char *url = NULL;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r;

	r = target_open_named(c, cli_arg(c, 0), "alias", &t, err);
	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", cli_arg(c, 1));
	jsonw_object_end(&w);
	url = cli_url("/1.0/images/aliases/%s", t.name);
	return cli_do(c, t.api, "POST", url, strbuf_str(&b), NULL, err);
}

static const struct option_row list_options[] = {TABLE_FORMAT_OPTION, OPTION_END};
static const struct command alias_create = {.name = "create",
					    .args = "[<remote>:]<alias> <fingerprint>",
					    .min_args = 2,
					    .max_args = 2,
					    .run = run_create,
					    .doc = "Give an image an alias"};
static const struct command alias_delete = {.name = "delete",
					    .alias = "rm",
					    .args = "[<remote>:]<alias>",
					    .min_args = 1,
					    .max_args = 1,
					    .run = run_delete,
					    .doc = "Delete an alias"};
static const struct command alias_list = {.name = "list",
					  .alias = "ls",
					  .args = "[<remote>:] [<filter>...]",
					  .max_args = COMMAND_ANY,
					  .options = list_options,
					  .run = run_list,
					  .doc = "List aliases"};
static const struct command alias_rename = {.name = "rename",
					    .alias = "mv",
					    .args = "[<remote>:]<alias> <new name>",
					    .min_args = 2,
					    .max_args = 2,
					    .run = run_rename,
					    .doc = "Rename an alias"};
static const struct command *const children[] = {&alias_create, &alias_delete, &alias_list, &alias_rename, NULL};

const struct command cmd_image_alias = {.name = "alias", .children = children, .doc = "Aliases of images"};
