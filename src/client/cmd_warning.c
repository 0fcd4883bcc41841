/* `lxc warning`. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/print.h"
#include "client/table.h"

#define DEFAULT_COLUMNS "utSscpLl"
#define COLUMNS_MAX 64
#define TOLD_MAX 3 /* lines below `lxc info` */

enum cell { CELL_TEXT, CELL_UPPER, CELL_TIME, CELL_NUMBER };

static const struct column {
	char letter;
	const char *header;
	const char *member;
	enum cell cell;
} all_columns[] = {
	{'c', "COUNT", "count", CELL_NUMBER},     {'l', "LAST SEEN", "last_seen_at", CELL_TIME},
	{'L', "LOCATION", "location", CELL_TEXT}, {'f', "FIRST SEEN", "first_seen_at", CELL_TIME},
	{'p', "PROJECT", "project", CELL_TEXT},   {'s', "SEVERITY", "severity", CELL_UPPER},
	{'S', "STATUS", "status", CELL_UPPER},    {'t', "TYPE", "type", CELL_TEXT},
	{'u', "UUID", "uuid", CELL_TEXT},
};

struct chosen {
	const struct column *items[COLUMNS_MAX];
	size_t len;
};

static const struct column *find_column(char letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_columns); i++)
		if (all_columns[i].letter == letter)
			return &all_columns[i];
	return NULL;
}

static int choose_columns(const char *text, bool clustered, struct chosen *ret, struct error *err)
{
	bool is_default = streq(text, DEFAULT_COLUMNS);

	for (const char *p = text; *p; p++) {
		const struct column *col = find_column(*p);

		if (*p == ',')
			continue;
		if (!col)
			return error_set(err, 400, "Unknown column shorthand char '%c' in '%s'", *p, text);
		if (*p == 'L' && !clustered && is_default)
			continue;
		if (*p == 'L' && !clustered)
			return error_set(err, 400, "Can't specify column L when not clustered");
		if (ret->len == COLUMNS_MAX)
			return error_set(err, 400, "Too many columns in '%s'", text);
		ret->items[ret->len++] = col;
	}
	return 0;
}

static int choose_for_server(struct cli *c, struct api *a, struct chosen *ret, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	const char *text = option_str(c->options, "columns");
	bool clustered = false;
	int r = 0;

	if (strchr(text, 'L')) {
		r = api_get(a, "/1.0", &reply, err);
		clustered = json_is_true(json_get(json_get(reply.metadata, "environment"), "server_clustered"));
	}
	return r < 0 ? r : choose_columns(text, clustered, ret, err);
}

static char *cell_text(const struct json *warning, const struct column *col)
{
	const struct json *value = json_get(warning, col->member);
	const char *text = json_str(value) ? json_str(value) : "";

	switch (col->cell) {
	case CELL_UPPER:
		return cli_upper(text);
	case CELL_TIME:
		return cli_format_time_long(text);
	case CELL_NUMBER:
		return xasprintf("%lld", (long long)json_int(value));
	case CELL_TEXT:
		break;
	}
	return xstrdup(text);
}

/* Those that nobody has looked at yet, unless @all are wanted. */
static int keep_new(const struct json *list, bool all, struct json **ret, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json *warning = json_at(list, i);
		const char *status = json_get_str(warning, "status");
		auto_free char *text = NULL;

		if (!all && !(status && streq(status, "new")))
			continue;
		text = json_to_text(warning);
		jsonw_raw(&w, text, strlen(text));
	}
	jsonw_array_end(&w);
	return json_parse(strbuf_str(&b), b.len, ret, err);
}

/* All warnings, unless a project is asked for: then also the default one is said. */
static char *list_url(const struct cli *c)
{
	const char *project = option_str(c->options, "project");

	if (str_is_empty(project))
		return xstrdup("/1.0/warnings?recursion=1");
	return cli_url("/1.0/warnings?recursion=1&project=%s", project);
}

static int run_list(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_table struct table table = TABLE_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_json struct json *list = NULL;
	struct chosen columns = {0};
	enum table_format format;
	auto_free char *url = list_url(c);
	int r = target_open(c, cli_arg(c, 0), &t, err);

	if (r >= 0)
		r = api_get(t.api, url, &reply, err);
	if (r >= 0)
		r = choose_for_server(c, t.api, &columns, err);
	if (r >= 0)
		r = table_format_parse(option_str(c->options, "format"), &format, err);
	if (r >= 0)
		r = keep_new(reply.metadata, option_bool(c->options, "all"), &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < columns.len; i++)
		strv_add(&table.header, columns.items[i]->header);
	for (size_t k = 0; k < json_len(list); k++) {
		struct strv row = STRV_INIT;

		for (size_t i = 0; i < columns.len; i++)
			strv_take(&row, cell_text(json_at(list, k), columns.items[i]));
		table_take_row(&table, &row);
	}
	table_sort(&table);
	return table_print(&table, format, list, err);
}

static int run_show(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *url = NULL;
	int r = target_open_named(c, cli_arg(c, 0), "warning", &t, err);

	if (r < 0)
		return r;
	url = cli_url("/1.0/warnings/%s", t.name);
	r = api_get(t.api, url, &reply, err);
	return r < 0 ? r : cli_print_yaml(reply.metadata, 0, err);
}

static int run_acknowledge(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_free char *url = NULL;
	int r = target_open_named(c, cli_arg(c, 0), "warning", &t, err);

	if (r < 0)
		return r;
	url = cli_url("/1.0/warnings/%s", t.name);
	return cli_do(c, t.api, "PUT", url, "{\"status\":\"acknowledged\"}", NULL, err);
}

static int delete_all(struct cli *c, struct api *a, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r = api_get(a, "/1.0/warnings", &reply, err);

	for (size_t i = 0; r >= 0 && i < json_len(reply.metadata); i++) {
		const char *url = json_str(json_at(reply.metadata, i));

		/* one that another client was faster to delete is gone as wanted */
		r = url ? cli_do(c, a, "DELETE", url, NULL, NULL, err) : 0;
		if (r < 0 && err->status == 404) {
			error_clear(err);
			r = 0;
		}
	}
	return r < 0 ? r : 0;
}

static int run_delete(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_free char *url = NULL;
	bool all = option_bool(c->options, "all");
	int r = all ? target_open(c, cli_arg(c, 0), &t, err) : target_open_named(c, cli_arg(c, 0), "warning", &t, err);

	if (r < 0)
		return r;
	if (all && !*t.name)
		return delete_all(c, t.api, err);
	url = cli_url("/1.0/warnings/%s", t.name);
	return cli_do(c, t.api, "DELETE", url, NULL, NULL, err);
}

static bool knows_warnings(const struct json *server)
{
	const struct json *list = json_get(server, "api_extensions");

	for (size_t i = 0; i < json_len(list); i++)
		if (json_str(json_at(list, i)) && streq(json_str(json_at(list, i)), "warnings"))
			return true;
	return false;
}

void cli_tell_warnings(struct api *a, const struct json *server)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_error struct error err = ERROR_INIT;
	unsigned told = 0;

	if (!knows_warnings(server))
		return;
	if (api_get(a, "/1.0/warnings?recursion=1", &reply, &err) < 0) {
		error_ignore(&err, "not for this caller, and not what was asked for");
		return;
	}
	for (size_t i = 0; i < json_len(reply.metadata); i++) {
		const struct json *warning = json_at(reply.metadata, i);
		const char *status = json_get_str(warning, "status"), *severity = json_get_str(warning, "severity");
		const char *type = json_get_str(warning, "type"), *message = json_get_str(warning, "last_message");
		auto_free char *text = NULL, *safe = NULL;

		if (!status || !severity || !streq(status, "new") || streq(severity, "low"))
			continue;
		if (told++ == TOLD_MAX) {
			fprintf(stderr, "Warning: there are more, see `lxc warning list`\n");
			return;
		}
		text = xasprintf("Warning: %s: %s", type ? type : "", message ? message : "");
		safe = print_safe_text(text, "");
		fprintf(stderr, "%s\n", safe);
	}
}

static const struct option_row list_options[] = {
	{"all", 'a', OPTION_BOOL, NULL, "Acknowledged and resolved ones too"},
	{"columns", 'c', OPTION_STRING, DEFAULT_COLUMNS, "Columns to show"},
	TABLE_FORMAT_OPTION,
	OPTION_END,
};
static const struct option_row delete_options[] = {
	{"all", 'a', OPTION_BOOL, NULL, "Delete all warnings of the server"},
	OPTION_END,
};
static const struct command warning_list = {
	.name = "list",
	.alias = "ls",
	.args = "[<remote>:]",
	.max_args = 1,
	.options = list_options,
	.run = run_list,
	.doc = "List warnings",
	.more = "Columns (-c): c count, f first seen, l last seen, L location, p project, s severity, S status,\n"
		"t type, u UUID.",
};
static const struct command warning_show = {.name = "show",
					    .args = "[<remote>:]<uuid>",
					    .min_args = 1,
					    .max_args = 1,
					    .run = run_show,
					    .doc = "Show a warning as YAML"};
static const struct command warning_acknowledge = {.name = "acknowledge",
						   .alias = "ack",
						   .args = "[<remote>:]<uuid>",
						   .min_args = 1,
						   .max_args = 1,
						   .run = run_acknowledge,
						   .doc = "Say that a warning has been seen: lists leave it out"};
static const struct command warning_delete = {.name = "delete",
					      .alias = "rm",
					      .args = "[<remote>:][<uuid>]",
					      .max_args = 1,
					      .options = delete_options,
					      .run = run_delete,
					      .doc = "Delete a warning, or with --all every one"};
static const struct command *const children[] = {&warning_acknowledge, &warning_delete, &warning_list, &warning_show,
						 NULL};

const struct command cmd_warning = {.name = "warning", .children = children, .doc = "What the server has found wrong"};
