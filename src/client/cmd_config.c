/* `lxc config`: server and instance settings. Devices are in device.c. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/device.h"
#include "client/doc.h"

/* Load what @t names: the server, an instance or a snapshot. */
static int load(struct target *t, struct doc *ret, struct error *err)
{
	const char *slash = strchr(t->name, '/');
	auto_free char *inst = slash ? xstrndup(t->name, (size_t)(slash - t->name)) : NULL;
	auto_free char *url = slash ? cli_url("/1.0/instances/%s/snapshots/%s", inst, slash + 1)
				    : cli_url("/1.0/instances/%s", t->name);

	if (!*t->name)
		return doc_load(t->api, "/1.0", &doc_server, ret, err);
	return doc_load(t->api, url, slash ? &doc_snapshot : &doc_instance, ret, err);
}

/* Print a value of any kind as text. */
static void print_value(const struct json *value)
{
	auto_free char *text = NULL;

	if (json_str(value) || json_kind(value) == JSON_NULL) {
		cli_print_safe(json_str(value) ? json_str(value) : "");
	} else {
		text = json_to_text(value);
		cli_print_safe(text);
	}
	putchar('\n');
}

static int run_get(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	bool has_target = cli_argc(c) == 2;
	const char *key = cli_arg(c, has_target ? 1 : 0);
	bool expanded = option_bool(c->options, "expanded");
	int r;

	r = target_open(c, has_target ? cli_arg(c, 0) : NULL, &t, err);
	if (r >= 0 && expanded && !*t.name)
		return error_set(err, 400, "--expanded cannot be used with a server");
	if (r >= 0)
		r = load(&t, &d, err);
	if (r < 0)
		return r;
	print_value(json_get(json_get(d.object, expanded ? "expanded_config" : "config"), key));
	return 0;
}

/* Does the first argument name what is changed, or is it a key of the server already? */
static bool first_is_target(const struct cli *c)
{
	const char *first = cli_arg(c, 0);
	const char *colon = strchr(first, ':');
	bool all_pairs = true;

	for (size_t i = 0; i < cli_argc(c); i++)
		all_pairs = all_pairs && strchr(cli_arg(c, i), '=');
	if (all_pairs || strchr(colon && !strchr(first, '=') ? colon + 1 : first, '.'))
		return false;
	return !(cli_argc(c) == 2 && !strchr(cli_arg(c, 1), '=')) || (colon && !colon[1]);
}

static int set_one(struct doc *d, const char *key, const char *value, bool unset, struct error *err)
{
	if (unset && !json_get(json_get(d->object, "config"), key) && d->kind == &doc_instance)
		return error_set(err, 404, "Can't unset key '%s', it's not currently set", key);
	doc_set_config(d, key, *value || d->kind == &doc_server ? value : NULL);
	return 0;
}

static int change(struct cli *c, const char *target, const struct strmap *values, bool unset, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	int r;

	r = target_open(c, target, &t, err);
	if (r >= 0)
		r = load(&t, &d, err);
	for (size_t i = 0; r >= 0 && i < values->len; i++)
		r = set_one(&d, values->items[i].key, values->items[i].value, unset, err);
	return r < 0 ? r : doc_save(c, &d, err);
}

static int run_set(struct cli *c, struct error *err)
{
	auto_strmap struct strmap values = STRMAP_INIT;
	bool has_target = first_is_target(c);
	int r;

	r = args_to_map(c, has_target ? 1 : 0, true, &values, err);
	return r < 0 ? r : change(c, has_target ? cli_arg(c, 0) : NULL, &values, false, err);
}

static int run_unset(struct cli *c, struct error *err)
{
	auto_strmap struct strmap values = STRMAP_INIT;
	bool has_target = cli_argc(c) == 2;

	strmap_set(&values, cli_arg(c, has_target ? 1 : 0), "");
	return change(c, has_target ? cli_arg(c, 0) : NULL, &values, true, err);
}

/* The instance with what it inherits in place of its own settings. */
static int show_expanded(const struct doc *d, struct error *err)
{
	static const struct {
		const char *shown, *from;
	} rows[] = {
		{"architecture", "architecture"}, {"config", "expanded_config"}, {"devices", "expanded_devices"},
		{"ephemeral", "ephemeral"},       {"profiles", "profiles"},      {"stateful", "stateful"},
		{"description", "description"},
	};
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_json struct json *j = NULL;
	struct jsonw w = JSONW(&b);
	int r;

	jsonw_object_begin(&w);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_free char *text = json_to_text(json_get(d->object, rows[i].from));

		jsonw_kv_raw(&w, rows[i].shown, text);
	}
	jsonw_object_end(&w);
	r = json_parse(strbuf_str(&b), b.len, &j, err);
	return r < 0 ? r : cli_print_yaml(j, 0, err);
}

static int run_show(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	bool expanded = option_bool(c->options, "expanded");
	int r;

	r = target_open(c, cli_arg(c, 0), &t, err);
	if (r >= 0)
		r = load(&t, &d, err);
	if (r < 0)
		return r;
	if (d.kind == &doc_server && expanded)
		return error_set(err, 400, "--expanded cannot be used with a server");
	if (d.kind == &doc_snapshot)
		return cli_print_yaml(d.object, 0, err);
	return expanded ? show_expanded(&d, err) : doc_show(&d, err);
}

static int run_edit(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	int r;

	r = target_open(c, cli_arg(c, 0), &t, err);
	if (r >= 0)
		r = load(&t, &d, err);
	return r < 0 ? r : doc_edit(c, &d, NULL, err);
}

#define TARGET_OPTION                                                     \
	{                                                                 \
		"target", 0, OPTION_STRING, NULL, "Cluster member", false \
	}

static const struct option_row get_options[] = {
	{"expanded", 'e', OPTION_BOOL, NULL, "With what comes from profiles"},
	TARGET_OPTION,
	OPTION_END,
};
static const struct option_row set_options[] = {TARGET_OPTION, OPTION_END};

static const struct command config_get = {
	.name = "get",
	.args = "[<remote>:][<instance>] <key>",
	.min_args = 1,
	.max_args = 2,
	.options = get_options,
	.run = run_get,
	.doc = "Show the value of a key of an instance or of the server",
};
static const struct command config_set = {
	.name = "set",
	.args = "[<remote>:][<instance>] <key>=<value>...",
	.min_args = 1,
	.max_args = COMMAND_ANY,
	.options = set_options,
	.run = run_set,
	.doc = "Set keys of an instance or of the server",
	.more = "The older form <key> <value> sets one key. The value - reads standard input.",
};
static const struct command config_unset = {
	.name = "unset",
	.args = "[<remote>:][<instance>] <key>",
	.min_args = 1,
	.max_args = 2,
	.options = set_options,
	.run = run_unset,
	.doc = "Unset a key of an instance or of the server",
};
static const struct command config_show = {
	.name = "show",
	.args = "[<remote>:][<instance>[/<snapshot>]]",
	.max_args = 1,
	.options = get_options,
	.run = run_show,
	.doc = "Show the settings of an instance or of the server",
};
static const struct command config_edit = {
	.name = "edit",
	.args = "[<remote>:][<instance>[/<snapshot>]]",
	.max_args = 1,
	.options = set_options,
	.run = run_edit,
	.doc = "Edit the settings of an instance or of the server as YAML",
};

static const struct command *const config_children[] = {
	&cmd_config_device, &config_edit,      &config_get,   &config_set,
	&config_show,       &cmd_config_trust, &config_unset, NULL,
};

const struct command cmd_config = {
	.name = "config",
	.children = config_children,
	.doc = "Settings of instances and of the server",
};
