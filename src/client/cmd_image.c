/* `lxc image`: list, show, properties, delete. Import and export are in image_transfer.c, aliases in image_alias.c. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/client.h"
#include "client/doc.h"
#include "client/image.h"
#include "client/print.h"
#include "client/table.h"

#define SHORT_FINGERPRINT 12

int image_resolve(struct api *a, const char *name, char **ret, struct error *err)
{
	auto_free char *alias_url = cli_url("/1.0/images/aliases/%s", name);
	auto_free char *url = cli_url("/1.0/images/%s", name);
	auto_api_reply struct api_reply alias = API_REPLY_INIT;
	auto_api_reply struct api_reply image = API_REPLY_INIT;
	auto_error struct error e = ERROR_INIT;
	const char *fingerprint;
	int r;

	if (!*name)
		return error_set(err, 400, "Missing image name");
	r = api_get(a, alias_url, &alias, &e);
	if (r >= 0) {
		fingerprint = json_get_str(alias.metadata, "target");
	} else if (e.status == 404) {
		r = api_get(a, url, &image, err);
		if (r < 0)
			return r;
		fingerprint = json_get_str(image.metadata, "fingerprint");
	} else {
		return error_move(err, &e);
	}
	if (str_is_empty(fingerprint))
		return error_set(err, 500, "The server sent no fingerprint for image \"%s\"", name);
	if (!image_is_fingerprint(fingerprint))
		return error_set(err, 500, "The server sent \"%s\" for image \"%s\", which is no fingerprint",
				 fingerprint, name);
	*ret = xstrdup(fingerprint);
	return 0;
}

/* To be looked at: public servers have images too. */
static int look(struct cli *c, struct target *t, struct doc *d, struct error *err)
{
	auto_image_source struct image_source source = IMAGE_SOURCE_INIT;
	struct json *image = NULL;
	int r;

	r = target_parse(c, cli_arg(c, 0), t, err);
	if (r >= 0 && !*t->name)
		r = error_set(err, 400, "Missing image name");
	if (r >= 0)
		r = image_source_open(c, t, &source, err);
	if (r >= 0)
		r = image_source_find(&source, t->name, &image, err);
	return r < 0 ? r : doc_take(image, &doc_image, d, err);
}

/* To be changed. */
static int load(struct cli *c, struct target *t, struct doc *d, struct error *err)
{
	auto_free char *fingerprint = NULL;
	auto_free char *url = NULL;
	int r;

	r = target_open_named(c, cli_arg(c, 0), "image", t, err);
	if (r >= 0)
		r = image_resolve(t->api, t->name, &fingerprint, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/images/%s", fingerprint);
	return doc_load(t->api, url, &doc_image, d, err);
}

/* ---- list ---- */

static char *alias_cell(const struct json *image)
{
	const struct json *aliases = json_get(image, "aliases");
	const char *shortest = NULL;

	for (size_t i = 0; i < json_len(aliases); i++) {
		const char *name = json_get_str(json_at(aliases, i), "name");

		if (name && (!shortest || strlen(name) < strlen(shortest)))
			shortest = name;
	}
	if (!shortest)
		return xstrdup("");
	return json_len(aliases) > 1 ? xasprintf("%s (%zu more)", shortest, json_len(aliases) - 1) : xstrdup(shortest);
}

static char *aliases_cell(const struct json *image)
{
	const struct json *aliases = json_get(image, "aliases");
	auto_strv struct strv names = STRV_INIT;

	for (size_t i = 0; i < json_len(aliases); i++)
		strv_add(&names, json_get_str(json_at(aliases, i), "name"));
	strv_sort(&names);
	return strv_join(&names, "\n");
}

static char *fingerprint_cell(const struct json *image)
{
	const char *fp = json_get_str(image, "fingerprint");

	return xstrndup(fp ? fp : "", SHORT_FINGERPRINT);
}

static char *full_fingerprint_cell(const struct json *image)
{
	return xstrdup_null(json_get_str(image, "fingerprint"));
}

static char *public_cell(const struct json *image)
{
	return xstrdup(json_is_true(json_get(image, "public")) ? "yes" : "no");
}

static char *description_cell(const struct json *image)
{
	const char *text = json_get_str(json_get(image, "properties"), "description");

	return xstrdup(text ? text : "");
}

static char *architecture_cell(const struct json *image)
{
	return xstrdup_null(json_get_str(image, "architecture"));
}

static char *type_cell(const struct json *image)
{
	return cli_upper(json_get_str(image, "type"));
}

/* Binary megabytes under the name that the reference gives them. */
static char *size_cell(const struct json *image)
{
	return xasprintf("%.2fMB", (double)json_int(json_get(image, "size")) / 1024.0 / 1024.0);
}

static char *uploaded_cell(const struct json *image)
{
	return cli_format_time_long(json_get_str(image, "uploaded_at"));
}

static const struct image_column {
	char letter;
	const char *header;
	char *(*cell)(const struct json *image);
} image_columns[] = {
	{'l', "ALIAS", alias_cell},
	{'L', "ALIASES", aliases_cell},
	{'f', "FINGERPRINT", fingerprint_cell},
	{'F', "FINGERPRINT", full_fingerprint_cell},
	{'p', "PUBLIC", public_cell},
	{'d', "DESCRIPTION", description_cell},
	{'a', "ARCHITECTURE", architecture_cell},
	{'t', "TYPE", type_cell},
	{'s', "SIZE", size_cell},
	{'u', "UPLOAD DATE", uploaded_cell},
};

struct chosen {
	const struct image_column *items[64];
	size_t len;
};

static int choose_columns(const char *text, struct chosen *ret, struct error *err)
{
	for (const char *p = text; *p; p++) {
		size_t i = 0;

		if (*p == ',')
			continue;
		while (i < ARRAY_SIZE(image_columns) && image_columns[i].letter != *p)
			i++;
		if (i == ARRAY_SIZE(image_columns))
			return error_set(err, 400, "Unknown column shorthand char '%c' in '%s'", *p, text);
		if (ret->len == ARRAY_SIZE(ret->items))
			return error_set(err, 400, "Too many columns in '%s'", text);
		ret->items[ret->len++] = &image_columns[i];
	}
	return 0;
}

static bool matches_one(const struct json *image, const char *filter)
{
	const char *equals = strchr(filter, '=');
	const struct json *aliases = json_get(image, "aliases");
	const char *fp = json_get_str(image, "fingerprint");

	if (equals) {
		auto_free char *key = xstrndup(filter, (size_t)(equals - filter));
		const char *value = json_get_str(json_get(image, "properties"), key);

		if (!value && (streq(key, "type") || streq(key, "architecture")))
			value = json_get_str(image, key);
		return value && strcasecmp(value, equals + 1) == 0;
	}
	if (fp && startswith(fp, filter))
		return true;
	for (size_t i = 0; i < json_len(aliases); i++) {
		const char *name = json_get_str(json_at(aliases, i), "name");

		if (name && strstr(name, filter))
			return true;
	}
	return false;
}

static bool matches(struct cli *c, const struct target *t, size_t first, const struct json *image)
{
	if (first && *t->name && !matches_one(image, t->name))
		return false;
	for (size_t i = first; i < cli_argc(c); i++)
		if (!matches_one(image, cli_arg(c, i)))
			return false;
	return true;
}

static int keep_matching(struct cli *c, const struct target *t, size_t first, const struct json *list,
			 struct json **ret, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	bool any = false;

	strbuf_append_char(&b, '[');
	for (size_t i = 0; i < json_len(list); i++) {
		auto_free char *text = NULL;

		if (!matches(c, t, first, json_at(list, i)))
			continue;
		text = json_to_text(json_at(list, i));
		strbuf_appendf(&b, "%s%s", any ? "," : "", text);
		any = true;
	}
	strbuf_append_char(&b, ']');
	return json_parse(strbuf_str(&b), b.len, ret, err);
}

/* "remote:" may come first, and a filter at once behind it; everything else is a filter. */
static int open_list(struct cli *c, struct target *t, size_t *ret_first, struct error *err)
{
	const char *first = cli_arg(c, 0);
	bool has_remote = first && strchr(first, ':') && !strchr(first, '=');

	*ret_first = has_remote ? 1 : 0;
	return target_parse(c, has_remote ? first : NULL, t, err);
}

static int run_list(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_table struct table table = TABLE_INIT;
	auto_image_source struct image_source source = IMAGE_SOURCE_INIT;
	auto_json struct json *all = NULL;
	auto_json struct json *list = NULL;
	struct chosen columns = {0};
	enum table_format format;
	size_t first;
	int r;

	r = table_format_parse(option_str(c->options, "format"), &format, err);
	if (r >= 0)
		r = choose_columns(option_str(c->options, "columns"), &columns, err);
	if (r >= 0)
		r = open_list(c, &t, &first, err);
	if (r >= 0)
		r = image_source_open(c, &t, &source, err);
	if (r >= 0)
		r = image_source_list(&source, &all, err);
	if (r >= 0)
		r = keep_matching(c, &t, first, all, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < columns.len; i++)
		strv_add(&table.header, columns.items[i]->header);
	for (size_t k = 0; k < json_len(list); k++) {
		struct strv row = STRV_INIT;

		for (size_t i = 0; i < columns.len; i++) {
			char *cell = columns.items[i]->cell(json_at(list, k));

			strv_take(&row, cell ? cell : xstrdup(""));
		}
		table_take_row(&table, &row);
	}
	table_sort_empty_last(&table);
	return table_print(&table, format, list, err);
}

/* ---- info ---- */

static void info_time(const char *label, const char *time)
{
	auto_free char *text = cli_time_is_never(time) ? xstrdup("never") : cli_format_time(time);

	cli_say("    %s: %s\n", label, text);
}

static void info_text(const char *label, const struct json *o, const char *key)
{
	const char *value = json_get_str(o, key);
	auto_free char *safe = print_safe_text(value ? value : "", "");

	printf("%s: %s\n", label, safe);
}

static int info_property(const char *key, const struct json *value, void *arg UNUSED)
{
	auto_free char *text = xasprintf("    %s: %s", key, json_str(value) ? json_str(value) : "");
	auto_free char *safe = print_safe_text(text, "");

	puts(safe);
	return 0;
}

static void info_list(const char *title, const struct json *list, bool named)
{
	printf("%s:\n", title);
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json *item = json_at(list, i);
		const char *name = named ? json_get_str(item, "name") : json_str(item);
		auto_free char *safe = print_safe_text(name ? name : "", "");

		printf("    - %s\n", safe);
	}
}

static void info_source(const struct json *source)
{
	static const char *const rows[][2] = {{"Server", "server"}, {"Protocol", "protocol"}, {"Alias", "alias"}};

	if (json_kind(source) != JSON_OBJECT)
		return;
	puts("Source:");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *value = json_get_str(source, rows[i][1]);
		auto_free char *safe = print_safe_text(value ? value : "", "");

		printf("    %s: %s\n", rows[i][0], safe);
	}
}

static int run_info(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	auto_free char *size = NULL;
	const struct json *o;
	int r = look(c, &t, &d, err);

	if (r < 0)
		return r;
	o = d.object;
	size = size_cell(o);
	info_text("Fingerprint", o, "fingerprint");
	printf("Size: %s\n", size);
	info_text("Architecture", o, "architecture");
	info_text("Type", o, "type");
	printf("Public: %s\n", json_is_true(json_get(o, "public")) ? "yes" : "no");
	puts("Timestamps:");
	if (!cli_time_is_never(json_get_str(o, "created_at")))
		info_time("Created", json_get_str(o, "created_at"));
	info_time("Uploaded", json_get_str(o, "uploaded_at"));
	info_time("Expires", json_get_str(o, "expires_at"));
	info_time("Last used", json_get_str(o, "last_used_at"));
	puts("Properties:");
	if (json_kind(json_get(o, "properties")) == JSON_OBJECT)
		json_each(json_get(o, "properties"), info_property, NULL);
	info_list("Aliases", json_get(o, "aliases"), true);
	printf("Cached: %s\n", json_is_true(json_get(o, "cached")) ? "yes" : "no");
	printf("Auto update: %s\n", json_is_true(json_get(o, "auto_update")) ? "enabled" : "disabled");
	info_source(json_get(o, "update_source"));
	if (json_len(json_get(o, "profiles")))
		info_list("Profiles", json_get(o, "profiles"), false);
	else
		puts("Profiles: []");
	return 0;
}

/* ---- properties and the rest ---- */

static int run_show(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = look(c, &t, &d, err);

	return r < 0 ? r : doc_show(&d, err);
}

static int run_edit(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = load(c, &t, &d, err);

	return r < 0 ? r : doc_edit(c, &d, NULL, err);
}

static int run_get_property(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	const char *value;
	int r = look(c, &t, &d, err);

	if (r < 0)
		return r;
	value = strmap_get(&d.config, cli_arg(c, 1));
	if (!value)
		return error_set(err, 404, "Property not found");
	cli_print_safe(value);
	putchar('\n');
	return 0;
}

static int run_set_property(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = load(c, &t, &d, err);

	if (r < 0)
		return r;
	doc_set_config(&d, cli_arg(c, 1), cli_arg(c, 2));
	return doc_save(c, &d, err);
}

static int run_unset_property(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = load(c, &t, &d, err);

	if (r < 0)
		return r;
	if (!strmap_get(&d.config, cli_arg(c, 1)))
		return error_set(err, 404, "Property not found");
	doc_set_config(&d, cli_arg(c, 1), NULL);
	return doc_save(c, &d, err);
}

static int run_delete(struct cli *c, struct error *err)
{
	for (size_t i = 0; i < cli_argc(c); i++) {
		auto_target struct target t = TARGET_INIT;
		auto_free char *fingerprint = NULL;
		auto_free char *url = NULL;
		int r;

		r = target_open_named(c, cli_arg(c, i), "image", &t, err);
		if (r >= 0)
			r = image_resolve(t.api, t.name, &fingerprint, err);
		if (r < 0)
			return r;
		url = cli_url("/1.0/images/%s", fingerprint);
		r = cli_do(c, t.api, "DELETE", url, NULL, NULL, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int refresh(struct cli *c, const char *name, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_free char *fingerprint = NULL;
	auto_free char *url = NULL;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_json struct json *op = NULL;
	bool refreshed;
	int r;

	r = target_open_named(c, name, "image", &t, err);
	if (r >= 0)
		r = image_resolve(t.api, t.name, &fingerprint, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/images/%s/refresh", fingerprint);
	r = api_call(t.api, "POST", url, NULL, NULL, &reply, err);
	if (r >= 0)
		r = cli_wait(c, t.api, &reply, &op, err);
	if (r < 0)
		return r;
	refreshed = json_is_true(json_get(json_get(op, "metadata"), "refreshed"));
	if (!cli_quiet(c))
		puts(refreshed ? "Image refreshed successfully!" : "Image already up to date.");
	return 0;
}

static int run_refresh(struct cli *c, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < cli_argc(c); i++)
		r = refresh(c, cli_arg(c, i), err);
	return r;
}

static const struct option_row list_options[] = {
	{"columns", 'c', OPTION_STRING, "lfpdatsu", "Columns to show"},
	TABLE_FORMAT_OPTION,
	OPTION_END,
};
static const struct option_row vm_options[] = {
	{"vm", 0, OPTION_BOOL, NULL, "Look for images of virtual machines"},
	OPTION_END,
};

#define ROW(id, nm, arguments, min, max, fn, text, ...) \
	static const struct command id = {              \
		.name = nm, .args = arguments, .min_args = min, .max_args = max, .run = fn, .doc = text, __VA_ARGS__}

ROW(image_delete, "delete", "[<remote>:]<image>...", 1, COMMAND_ANY, run_delete, "Delete images", .alias = "rm");
ROW(image_edit, "edit", "[<remote>:]<image>", 1, 1, run_edit, "Edit an image's properties as YAML");
ROW(image_get, "get-property", "[<remote>:]<image> <key>", 2, 2, run_get_property, "Show a property of an image");
ROW(image_info, "info", "[<remote>:]<image>", 1, 1, run_info, "Show an image for people", .options = vm_options);
ROW(image_list, "list", "[<remote>:] [<filter>...]", 0, COMMAND_ANY, run_list, "List images", .alias = "ls",
    .options = list_options,
    .more = "A filter is key=value for a property, or part of an alias or the beginning of a fingerprint.\n"
	    "\n"
	    "Columns: l shortest alias, L all aliases, f and F fingerprint (short and long), p public,\n"
	    "d description, a architecture, t type, s size, u time of upload.");
ROW(image_refresh, "refresh", "[<remote>:]<image>...", 1, COMMAND_ANY, run_refresh,
    "Fetch images anew from where they came from");
ROW(image_set, "set-property", "[<remote>:]<image> <key> <value>", 3, 3, run_set_property,
    "Set a property of an image");
ROW(image_show, "show", "[<remote>:]<image>", 1, 1, run_show, "Show an image's properties as YAML",
    .options = vm_options);
ROW(image_unset, "unset-property", "[<remote>:]<image> <key>", 2, 2, run_unset_property,
    "Unset a property of an image");

static const struct command *const children[] = {
	&cmd_image_alias, &cmd_image_copy,   &image_delete, &image_edit, &cmd_image_export,
	&image_get,       &cmd_image_import, &image_info,   &image_list, &image_refresh,
	&image_set,       &image_show,       &image_unset,  NULL,
};

const struct command cmd_image = {.name = "image", .children = children, .doc = "Images"};
