/* `lxc list`: instances in columns. Filters are in list_filter.c. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/list_filter.h"
#include "client/table.h"

#define DEFAULT_COLUMNS "ns46tS"
#define FAST_COLUMNS "nsacPt"

struct column;
typedef char *(*cell_fn)(const struct json *inst, const struct column *col);

enum column_needs { NEEDS_STATE = 1, NEEDS_SNAPSHOTS = 2 };

struct column {
	const char *header;
	cell_fn cell;
	unsigned needs;
	/* custom columns */
	char *key, *own_header;
	bool device;
	int64_t max_width; /* -1: none */
};

struct columns {
	struct column *items;
	size_t len;
};

static void columns_done(struct columns *c)
{
	for (size_t i = 0; i < c->len; i++) {
		free(c->items[i].key);
		free(c->items[i].own_header);
	}
	free(c->items);
}

static const struct json *state_of(const struct json *inst)
{
	return json_get(inst, "state");
}

static bool is_running(const struct json *inst)
{
	const char *status = json_get_str(inst, "status");

	return status && !streq(status, "Stopped");
}

static char *text_of(const struct json *inst, const char *key)
{
	const char *s = json_get_str(inst, key);

	return xstrdup(s ? s : "");
}

static char *cell_name(const struct json *inst, const struct column *col UNUSED)
{
	return text_of(inst, "name");
}

static char *cell_architecture(const struct json *inst, const struct column *col UNUSED)
{
	return text_of(inst, "architecture");
}

static char *cell_description(const struct json *inst, const struct column *col UNUSED)
{
	return text_of(inst, "description");
}

static char *cell_project(const struct json *inst, const struct column *col UNUSED)
{
	return text_of(inst, "project");
}

static char *cell_location(const struct json *inst, const struct column *col UNUSED)
{
	return text_of(inst, "location");
}

static char *cell_state(const struct json *inst, const struct column *col UNUSED)
{
	return cli_upper(json_get_str(inst, "status"));
}

static char *cell_created(const struct json *inst, const struct column *col UNUSED)
{
	const char *t = json_get_str(inst, "created_at");

	return cli_time_is_never(t) ? xstrdup("") : cli_format_time(t);
}

static char *cell_last_used(const struct json *inst, const struct column *col UNUSED)
{
	const char *t = json_get_str(inst, "last_used_at");

	return cli_time_is_never(t) ? xstrdup("") : cli_format_time(t);
}

static char *cell_type(const struct json *inst, const struct column *col UNUSED)
{
	const char *type = json_get_str(inst, "type");
	auto_free char *up = cli_upper(str_is_empty(type) ? "container" : type);

	return xasprintf("%s%s", up, json_is_true(json_get(inst, "ephemeral")) ? " (EPHEMERAL)" : "");
}

static char *cell_profiles(const struct json *inst, const struct column *col UNUSED)
{
	const struct json *profiles = json_get(inst, "profiles");
	auto_strbuf struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < json_len(profiles); i++)
		strbuf_appendf(&b, "%s%s", i ? "\n" : "", json_str(json_at(profiles, i)));
	return strbuf_take(&b);
}

static char *cell_snapshots(const struct json *inst, const struct column *col UNUSED)
{
	return xasprintf("%zu", json_len(json_get(inst, "snapshots")));
}

static char *cell_pid(const struct json *inst, const struct column *col UNUSED)
{
	int64_t pid = json_int(json_get(state_of(inst), "pid"));

	return is_running(inst) && pid ? xasprintf("%lld", (long long)pid) : xstrdup("");
}

static char *cell_processes(const struct json *inst, const struct column *col UNUSED)
{
	return is_running(inst) ? xasprintf("%lld", (long long)json_int(json_get(state_of(inst), "processes")))
				: xstrdup("");
}

static char *cell_memory(const struct json *inst, const struct column *col UNUSED)
{
	int64_t usage = json_int(json_get(json_get(state_of(inst), "memory"), "usage"));

	return is_running(inst) && usage > 0 ? format_size_iec((uint64_t)usage) : xstrdup("");
}

static const char *expanded(const struct json *inst, const char *key)
{
	return json_get_str(json_get(inst, "expanded_config"), key);
}

static char *cell_memory_percent(const struct json *inst, const struct column *col UNUSED)
{
	auto_error struct error e = ERROR_INIT;
	int64_t usage = json_int(json_get(json_get(state_of(inst), "memory"), "usage"));
	const char *limit = expanded(inst, "limits.memory");
	uint64_t bytes = 0;

	if (!is_running(inst) || usage <= 0 || str_is_empty(limit) || parse_size(limit, &bytes, &e) < 0 || !bytes)
		return xstrdup("");
	return xasprintf("%.1f%%", 100.0 * (double)usage / (double)bytes);
}

static char *cell_cpu(const struct json *inst, const struct column *col UNUSED)
{
	int64_t ns = json_int(json_get(json_get(state_of(inst), "cpu"), "usage"));

	return is_running(inst) ? xasprintf("%llds", (long long)(ns / 1000000000)) : xstrdup("");
}

static int find_root(const char *key UNUSED, const struct json *device, void *arg)
{
	const char *type = json_get_str(device, "type"), *path = json_get_str(device, "path");

	if (type && path && streq(type, "disk") && streq(path, "/"))
		*(const struct json **)arg = device;
	return 0;
}

static char *cell_pool(const struct json *inst, const struct column *col UNUSED)
{
	const struct json *devices = json_get(inst, "expanded_devices"), *root = NULL;

	if (json_kind(devices) == JSON_OBJECT)
		json_each(devices, find_root, &root);
	return text_of(root, "pool");
}

static char *cell_disk(const struct json *inst, const struct column *col UNUSED)
{
	int64_t usage = json_int(json_get(json_get(json_get(state_of(inst), "disk"), "root"), "usage"));

	return usage > 0 ? format_size_iec((uint64_t)usage) : xstrdup("");
}

static char *cell_base_image(const struct json *inst, const struct column *col)
{
	const char *fp = json_get_str(json_get(inst, "config"), "volatile.base_image");

	return xstrndup(fp ? fp : "", col->max_width > 0 ? (size_t)col->max_width : SIZE_MAX / 2);
}

struct address_list {
	const char *family;
	struct strv lines;
};

static int add_addresses(const char *ifname, const struct json *nic, void *arg)
{
	struct address_list *list = arg;
	const struct json *addresses = json_get(nic, "addresses");

	for (size_t i = 0; i < json_len(addresses); i++) {
		const struct json *a = json_at(addresses, i);
		const char *family = json_get_str(a, "family"), *scope = json_get_str(a, "scope");
		const char *address = json_get_str(a, "address");

		if (!family || !scope || !address || !streq(family, list->family) || streq(scope, "link") ||
		    streq(scope, "local"))
			continue;
		strv_addf(&list->lines, "%s (%s)", address, ifname);
	}
	return 0;
}

static char *addresses(const struct json *inst, const char *family)
{
	struct address_list list = {.family = family};
	const struct json *network = json_get(state_of(inst), "network");
	char *text;

	if (is_running(inst) && json_kind(network) == JSON_OBJECT)
		json_each(network, add_addresses, &list);
	/* the reference shows the highest first */
	strv_sort(&list.lines);
	for (size_t i = 0; i < list.lines.len / 2; i++) {
		char *swap = list.lines.items[i];

		list.lines.items[i] = list.lines.items[list.lines.len - 1 - i];
		list.lines.items[list.lines.len - 1 - i] = swap;
	}
	text = list.lines.len ? strv_join(&list.lines, "\n") : xstrdup("");
	strv_done(&list.lines);
	return text;
}

static char *cell_ipv4(const struct json *inst, const struct column *col UNUSED)
{
	return addresses(inst, "inet");
}

static char *cell_ipv6(const struct json *inst, const struct column *col UNUSED)
{
	return addresses(inst, "inet6");
}

static char *cell_custom(const struct json *inst, const struct column *col)
{
	const char *value;
	const char *dot = strchr(col->key, '.');

	if (col->device) {
		auto_free char *device = dot ? xstrndup(col->key, (size_t)(dot - col->key)) : xstrdup(col->key);

		value = json_get_str(json_get(json_get(inst, "expanded_devices"), device), dot ? dot + 1 : "");
	} else {
		value = expanded(inst, col->key);
		if (!value)
			value = json_get_str(json_get(inst, "config"), col->key);
	}
	return xstrndup(value ? value : "", col->max_width >= 0 ? (size_t)col->max_width : SIZE_MAX / 2);
}

static const struct {
	char letter;
	struct column column;
	const char *doc;
} shorthands[] = {
	{'4', {.header = "IPV4", .cell = cell_ipv4, .needs = NEEDS_STATE}, "IPv4 addresses"},
	{'6', {.header = "IPV6", .cell = cell_ipv6, .needs = NEEDS_STATE}, "IPv6 addresses"},
	{'a', {.header = "ARCHITECTURE", .cell = cell_architecture}, "architecture"},
	{'b', {.header = "STORAGE POOL", .cell = cell_pool}, "storage pool of the root disk"},
	{'c', {.header = "CREATED AT", .cell = cell_created}, "time of creation"},
	{'d', {.header = "DESCRIPTION", .cell = cell_description}, "description"},
	{'D', {.header = "DISK USAGE", .cell = cell_disk, .needs = NEEDS_STATE}, "disk usage"},
	{'e', {.header = "PROJECT", .cell = cell_project}, "project"},
	{'f', {.header = "BASE IMAGE", .cell = cell_base_image, .max_width = 12}, "image it was made from, short"},
	{'F', {.header = "BASE IMAGE", .cell = cell_base_image}, "image it was made from"},
	{'l', {.header = "LAST USED AT", .cell = cell_last_used}, "time of last use"},
	{'L', {.header = "LOCATION", .cell = cell_location}, "cluster member"},
	{'m', {.header = "MEMORY USAGE", .cell = cell_memory, .needs = NEEDS_STATE}, "memory usage"},
	{'M', {.header = "MEMORY USAGE%", .cell = cell_memory_percent, .needs = NEEDS_STATE}, "the same in percent"},
	{'n', {.header = "NAME", .cell = cell_name}, "name"},
	{'N', {.header = "PROCESSES", .cell = cell_processes, .needs = NEEDS_STATE}, "number of processes"},
	{'p', {.header = "PID", .cell = cell_pid, .needs = NEEDS_STATE}, "pid of init, seen from the host"},
	{'P', {.header = "PROFILES", .cell = cell_profiles}, "profiles"},
	{'s', {.header = "STATE", .cell = cell_state}, "state"},
	{'S', {.header = "SNAPSHOTS", .cell = cell_snapshots, .needs = NEEDS_SNAPSHOTS}, "number of snapshots"},
	{'t', {.header = "TYPE", .cell = cell_type}, "type"},
	{'u', {.header = "CPU USAGE", .cell = cell_cpu, .needs = NEEDS_STATE}, "processor time used"},
};

static void add_column(struct columns *cols, const struct column *col)
{
	cols->items = xreallocarray(cols->items, cols->len + 1, sizeof(*cols->items));
	cols->items[cols->len++] = *col;
}

static int add_shorthands(struct columns *cols, const char *text, bool clustered, struct error *err)
{
	for (const char *p = text; *p; p++) {
		size_t i = 0;

		while (i < ARRAY_SIZE(shorthands) && shorthands[i].letter != *p)
			i++;
		if (i == ARRAY_SIZE(shorthands))
			return error_set(err, 400, "Unknown column shorthand char '%c' in '%s'", *p, text);
		if (*p == 'L' && !clustered)
			return error_set(err, 400, "Can't specify column L when not clustered");
		add_column(cols, &shorthands[i].column);
	}
	return 0;
}

/* "[config:|devices:]key[:NAME[:maxwidth]]" */
static int add_custom(struct columns *cols, const char *text, struct error *err)
{
	auto_strv struct strv parts = STRV_INIT;
	struct column col = {.cell = cell_custom, .max_width = -1};
	const char *key = startswith(text, "devices:");
	size_t rest;

	col.device = key != NULL;
	if (!key)
		key = startswith(text, "config:");
	strv_split(&parts, key ? key : text, ':');
	if (parts.len == 0 || !*parts.items[0])
		return error_set(err, 400, "Empty column entry (redundant, leading or trailing command) in '%s'", text);
	if (parts.len > 3)
		return error_set(err, 400, "Invalid config key column format (too many fields): '%s'", text);
	if (col.device && !strchr(parts.items[0], '.'))
		return error_set(err, 400, "Invalid config key '%s' in '%s'", parts.items[0], text);
	rest = parts.len;
	if (rest == 3 && (parse_i64(parts.items[2], &col.max_width) < 0 || col.max_width < -1))
		return error_set(err, 400, "Invalid max width (must be an integer) '%s' in '%s'", parts.items[2], text);
	col.key = xstrdup(parts.items[0]);
	if (rest > 1 && *parts.items[1]) {
		col.own_header = xstrdup(parts.items[1]);
	} else {
		/* the grid shows headers in upper case, with blanks for dots */
		col.own_header = xstrdup(parts.items[0]);
		for (char *p = col.own_header; *p; p++)
			*p = *p == '.' && col.device ? ' ' : *p;
	}
	if (col.max_width == 0)
		col.max_width = (int64_t)strlen(col.own_header);
	add_column(cols, &col);
	return 0;
}

static int parse_columns(const char *text, bool clustered, struct columns *ret, struct error *err)
{
	auto_strv struct strv parts = STRV_INIT;
	int r;

	strv_split(&parts, text, ',');
	for (size_t i = 0; i < parts.len; i++) {
		const char *part = parts.items[i];

		if (!*part)
			return error_set(err, 400,
					 "Empty column entry (redundant, leading or trailing command) in '%s'", text);
		if (strchr(part, '.') || strchr(part, ':'))
			r = add_custom(ret, part, err);
		else
			r = add_shorthands(ret, part, clustered, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int is_clustered(struct api *a, bool *ret, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r = api_get(a, "/1.0", &reply, err);

	if (r >= 0)
		*ret = json_is_true(json_get(json_get(reply.metadata, "environment"), "server_clustered"));
	return r;
}

static int choose_columns(struct cli *c, struct api *a, struct columns *ret, struct error *err)
{
	const char *text = option_bool(c->options, "fast") ? FAST_COLUMNS : option_str(c->options, "columns");
	auto_free char *with_project = NULL;
	bool clustered = false;
	int r;

	if (option_given(c->options, "columns") && option_bool(c->options, "fast"))
		return error_set(err, 400, "Can't specify --fast with --columns");
	if (!text)
		text = DEFAULT_COLUMNS;
	if (strchr(text, 'L')) {
		r = is_clustered(a, &clustered, err);
		if (r < 0)
			return r;
	}
	if (option_bool(c->options, "all-projects") && !option_given(c->options, "columns"))
		text = with_project = xasprintf("e%s", text);
	return parse_columns(text, clustered, ret, err);
}

static int fill_table(const struct json *list, const struct columns *cols, struct table *t)
{
	for (size_t i = 0; i < cols->len; i++) {
		auto_free char *up = cli_upper(cols->items[i].own_header);

		strv_add(&t->header, cols->items[i].own_header ? up : cols->items[i].header);
	}
	for (size_t k = 0; k < json_len(list); k++) {
		struct strv row = STRV_INIT;

		for (size_t i = 0; i < cols->len; i++)
			strv_take(&row, cols->items[i].cell(json_at(list, k), &cols->items[i]));
		table_take_row(t, &row);
	}
	table_sort(t);
	return 0;
}

static int print_list(const struct json *list, const struct columns *cols, enum table_format format, struct error *err)
{
	auto_table struct table t = TABLE_INIT;

	fill_table(list, cols, &t);
	return table_print(&t, format, list, err);
}

/* Arguments: a remote (its name ends in a colon, or is followed by a filter) and filters. */
static int open_remote(struct cli *c, struct target *t, struct strv *filters, struct error *err)
{
	int r;

	for (size_t i = 0; i < cli_argc(c); i++) {
		const char *arg = cli_arg(c, i);
		const char *colon = strchr(arg, ':');

		if (i == 0 && colon && !strchr(arg, '=')) {
			r = target_parse(c, arg, t, err);
			if (r < 0)
				return r;
			if (*t->name)
				strv_add(filters, t->name);
		} else {
			strv_add(filters, arg);
		}
	}
	if (!t->remote) {
		r = target_parse(c, NULL, t, err);
		if (r < 0)
			return r;
	}
	return target_connect(c, t, err);
}

static int run_list(struct cli *c, struct error *err)
{
	CLEANUP(columns_done) struct columns cols = {0};
	auto_target struct target t = TARGET_INIT;
	auto_strv struct strv filters = STRV_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_json struct json *kept = NULL;
	auto_free char *url = NULL;
	enum table_format format;
	unsigned needs = 0;
	int r;

	r = table_format_parse(option_str(c->options, "format"), &format, err);
	if (r >= 0)
		r = open_remote(c, &t, &filters, err);
	if (r >= 0)
		r = choose_columns(c, t.api, &cols, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < cols.len; i++)
		needs |= cols.items[i].needs;
	if (list_filter_needs_state(&filters) || format == TABLE_JSON || format == TABLE_YAML)
		needs |= NEEDS_STATE;
	url = xasprintf("/1.0/instances?recursion=%d%s", needs ? 2 : 1,
			option_bool(c->options, "all-projects") ? "&all-projects=true" : "");
	r = api_get(t.api, url, &reply, err);
	if (r >= 0 && filters.len)
		r = list_filter_apply(&filters, reply.metadata, &kept, err);
	if (r < 0)
		return r;
	return print_list(kept ? kept : reply.metadata, &cols, format, err);
}

static const struct option_row list_options[] = {
	{"all-projects", 0, OPTION_BOOL, NULL, "Show the instances of every project"},
	{"columns", 'c', OPTION_STRING, NULL, "Columns to show (default \"ns46tS\")"},
	{"fast", 0, OPTION_BOOL, NULL, "Short for --columns=nsacPt, which the server answers faster"},
	TABLE_FORMAT_OPTION,
	OPTION_END,
};

const struct command cmd_list = {
	.name = "list",
	.alias = "ls",
	.args = "[<remote>:] [<filter>...]",
	.max_args = COMMAND_ANY,
	.options = list_options,
	.run = run_list,
	.doc = "List instances",
	.more = "Filters must all match. A word is the beginning of a name, or a regular expression for the whole\n"
		"name. key=value compares type, status, architecture, location, ipv4 or ipv6 (an address or CIDR), or\n"
		"else a configuration key, whose dotted parts may be cut short (s.privileged=true).\n"
		"\n"
		"Columns: 4 and 6 addresses, a architecture, b storage pool, c creation, d description, D disk usage,\n"
		"e project, f and F base image (short and long), l last use, L location, m and M memory (M in "
		"percent),\n"
		"n name, N processes, p pid, P profiles, s state, S snapshots, t type, u processor time. A column of\n"
		"your own is [config:|devices:]key[:NAME[:max width]]; separate it with commas.",
};
