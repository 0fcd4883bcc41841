/* `lxc operation`. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/entity.h"
#include "client/table.h"

/* The API groups operations by status; the list wants them in a row. */
static int add_group(const char *status UNUSED, const struct json *group, void *arg)
{
	struct jsonw *w = arg;

	for (size_t i = 0; i < json_len(group); i++) {
		auto_free char *text = json_to_text(json_at(group, i));

		jsonw_raw(w, text, strlen(text));
	}
	return 0;
}

static int flatten(const struct json *groups, struct json **ret, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	if (json_kind(groups) == JSON_OBJECT)
		json_each(groups, add_group, &w);
	jsonw_array_end(&w);
	return json_parse(strbuf_str(&b), b.len, ret, err);
}

static void add_operation(struct table *t, const struct json *op)
{
	auto_free char *class = cli_upper(json_get_str(op, "class"));
	auto_free char *status = cli_upper(json_get_str(op, "status"));
	auto_free char *created = cli_format_time(json_get_str(op, "created_at"));
	const char *cells[] = {json_get_str(op, "id"),
			       class,
			       json_get_str(op, "description"),
			       status,
			       json_is_true(json_get(op, "may_cancel")) ? "YES" : "NO",
			       created};

	table_add(t, cells, ARRAY_SIZE(cells));
}

static int run_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"ID", "TYPE", "DESCRIPTION", "STATUS", "CANCELABLE", "CREATED"};
	static const struct entity_list list = {.url = "/1.0/operations?recursion=1",
						.header = header,
						.columns = ARRAY_SIZE(header),
						.add_row = add_operation,
						.flatten = flatten};

	return entity_list(c, &list, err);
}

static int run_show(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *url = NULL;
	int r;

	r = target_open_named(c, cli_arg(c, 0), "operation", &t, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/operations/%s", t.name);
	r = api_get(t.api, url, &reply, err);
	return r < 0 ? r : cli_print_yaml(reply.metadata, 0, err);
}

static int run_delete(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_free char *url = NULL;
	int r;

	r = target_open_named(c, cli_arg(c, 0), "operation", &t, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/operations/%s", t.name);
	r = cli_do(c, t.api, "DELETE", url, NULL, NULL, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Operation %s deleted\n", t.name);
	return r;
}

static const struct option_row list_options[] = {TABLE_FORMAT_OPTION, OPTION_END};
static const struct command operation_list = {.name = "list",
					      .alias = "ls",
					      .args = "[<remote>:]",
					      .max_args = 1,
					      .options = list_options,
					      .run = run_list,
					      .doc = "List operations"};
static const struct command operation_show = {.name = "show",
					      .args = "[<remote>:]<operation>",
					      .min_args = 1,
					      .max_args = 1,
					      .run = run_show,
					      .doc = "Show an operation as YAML"};
static const struct command operation_delete = {.name = "delete",
						.alias = "rm",
						.args = "[<remote>:]<operation>",
						.min_args = 1,
						.max_args = 1,
						.run = run_delete,
						.doc = "Cancel an operation"};
static const struct command *const children[] = {&operation_delete, &operation_list, &operation_show, NULL};

const struct command cmd_operation = {.name = "operation", .children = children, .doc = "Background operations"};
