/* `lxc network`: networks themselves. What an interface does is in network_info.c, NICs are in network_attach.c. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/entity.h"
#include "client/network.h"
#include "client/table.h"

static int run_create(struct cli *c, struct error *err)
{
	static const char *const complaint[2] = {"Bad key/value pair: ", ""};
	auto_target struct target t = TARGET_INIT;
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r;

	r = args_to_pairs(c, 1, complaint, &config, err);
	if (r >= 0)
		r = target_open(c, cli_arg(c, 0), &t, err);
	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", t.name);
	jsonw_kv_str(&w, "type", option_str(c->options, "type"));
	jsonw_kv_strmap(&w, "config", &config);
	jsonw_kv_str(&w, "description", "");
	jsonw_object_end(&w);
	r = cli_do(c, t.api, "POST", "/1.0/networks", strbuf_str(&b), NULL, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Network %s created\n", t.name);
	return r;
}

/* Interfaces that nobody would put an instance on. */
static bool is_hidden(const struct json *network)
{
	const char *type = json_get_str(network, "type");

	return type && (streq(type, "loopback") || streq(type, "unknown"));
}

static void add_network(struct table *t, const struct json *network)
{
	const struct json *config = json_get(network, "config");
	auto_free char *used = xasprintf("%zu", json_len(json_get(network, "used_by")));
	auto_free char *state = cli_upper(json_get_str(network, "status"));
	const char *cells[] = {json_get_str(network, "name"),
			       json_get_str(network, "type"),
			       json_is_true(json_get(network, "managed")) ? "YES" : "NO",
			       json_get_str(config, "ipv4.address"),
			       json_get_str(config, "ipv6.address"),
			       json_get_str(network, "description"),
			       used,
			       state};

	if (!is_hidden(network))
		table_add(t, cells, ARRAY_SIZE(cells));
}

static int run_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"NAME", "TYPE",        "MANAGED", "IPV4",
					     "IPV6", "DESCRIPTION", "USED BY", "STATE"};
	static const struct entity_list list = {.url = "/1.0/networks?recursion=1",
						.header = header,
						.columns = ARRAY_SIZE(header),
						.add_row = add_network};
	auto_target struct target t = TARGET_INIT;
	int r = target_parse(c, cli_arg(c, 0), &t, err);

	if (r >= 0 && *t.name)
		r = error_set(err, 400, "Filtering isn't supported yet");
	return r < 0 ? r : entity_list(c, &list, err);
}

static int compare_text(const void *a, const void *b)
{
	const char *x = json_str(*(const struct json *const *)a), *y = json_str(*(const struct json *const *)b);

	return strcmp(x ? x : "", y ? y : "");
}

/* used_by in order, the rest as it came. */
static int write_member(const char *key, const struct json *value, void *arg)
{
	struct jsonw *w = arg;
	size_t n = json_len(value);
	auto_free const struct json **urls = NULL;
	auto_free char *text = NULL;

	if (!streq(key, "used_by")) {
		text = json_to_text(value);
		jsonw_kv_raw(w, key, text);
		return 0;
	}
	urls = xnew_array(const struct json *, n + 1);
	for (size_t i = 0; i < n; i++)
		urls[i] = json_at(value, i);
	qsort(urls, n, sizeof(*urls), compare_text);
	jsonw_key(w, key);
	jsonw_array_begin(w);
	for (size_t i = 0; i < n; i++)
		jsonw_str(w, json_str(urls[i]));
	jsonw_array_end(w);
	return 0;
}

static int run_show(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_json struct json *sorted = NULL;
	struct jsonw w = JSONW(&b);
	int r = entity_load(c, &t, &d, err);

	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	json_each(d.object, write_member, &w);
	jsonw_object_end(&w);
	r = json_parse(strbuf_str(&b), b.len, &sorted, err);
	return r < 0 ? r : cli_print_yaml(sorted, 0, err);
}

static int run_list_leases(struct cli *c, struct error *err)
{
	static const char *const header[] = {"HOSTNAME", "MAC ADDRESS", "IP ADDRESS", "TYPE"};
	auto_target struct target t = TARGET_INIT;
	auto_table struct table table = TABLE_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *url = NULL;
	enum table_format format;
	int r;

	r = table_format_parse(option_str(c->options, "format"), &format, err);
	if (r >= 0)
		r = target_open_named(c, cli_arg(c, 0), "network", &t, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/networks/%s/leases", t.name);
	r = api_get(t.api, url, &reply, err);
	if (r < 0)
		return r;
	table_set_header(&table, header, ARRAY_SIZE(header));
	for (size_t i = 0; i < json_len(reply.metadata); i++) {
		const struct json *lease = json_at(reply.metadata, i);
		auto_free char *type = cli_upper(json_get_str(lease, "type"));
		const char *cells[] = {json_get_str(lease, "hostname"), json_get_str(lease, "hwaddr"),
				       json_get_str(lease, "address"), type};

		table_add(&table, cells, ARRAY_SIZE(cells));
	}
	table_sort(&table);
	return table_print(&table, format, reply.metadata, err);
}

#define TARGET_ROW                                                        \
	{                                                                 \
		"target", 0, OPTION_STRING, NULL, "Cluster member", false \
	}

static const struct option_row list_options[] = {TABLE_FORMAT_OPTION, OPTION_END};
static const struct option_row target_options[] = {TARGET_ROW, OPTION_END};
static const struct option_row create_options[] = {
	{"type", 't', OPTION_STRING, "", "Kind of the network (bridge)"},
	TARGET_ROW,
	OPTION_END,
};

#define ROW(id, nm, arguments, min, max, fn, text, ...) \
	static const struct command id = {              \
		.name = nm, .args = arguments, .min_args = min, .max_args = max, .run = fn, .doc = text, __VA_ARGS__}

ROW(network_create, "create", "[<remote>:]<network> [key=value...]", 1, COMMAND_ANY, run_create, "Create a network",
    .options = create_options);
ROW(network_delete, "delete", "[<remote>:]<network>", 1, 1, entity_delete, "Delete a network", .alias = "rm");
ROW(network_edit, "edit", "[<remote>:]<network>", 1, 1, entity_edit, "Edit a network as YAML",
    .options = target_options);
ROW(network_get, "get", "[<remote>:]<network> <key>", 2, 2, entity_get, "Show the value of a key",
    .options = target_options);
ROW(network_list, "list", "[<remote>:]", 0, 1, run_list, "List networks, and interfaces of the host", .alias = "ls",
    .options = list_options);
ROW(network_list_leases, "list-leases", "[<remote>:]<network>", 1, 1, run_list_leases,
    "List the addresses that instances got or are given", .options = list_options);
ROW(network_rename, "rename", "[<remote>:]<network> <new name>", 2, 2, entity_rename, "Rename a network",
    .alias = "mv");
ROW(network_set, "set", "[<remote>:]<network> <key>=<value>...", 2, COMMAND_ANY, entity_set, "Set keys of a network",
    .options = target_options);
ROW(network_show, "show", "[<remote>:]<network>", 1, 1, run_show, "Show a network as YAML", .options = target_options);
ROW(network_unset, "unset", "[<remote>:]<network> <key>", 2, 2, entity_unset, "Unset a key of a network",
    .options = target_options);

static const struct command *const children[] = {
	&cmd_network_attach,  &cmd_network_attach_profile,
	&network_create,      &network_delete,
	&cmd_network_detach,  &cmd_network_detach_profile,
	&network_edit,        &network_get,
	&cmd_network_info,    &network_list,
	&network_list_leases, &network_rename,
	&network_set,         &network_show,
	&network_unset,       NULL,
};

const struct command cmd_network = {.name = "network", .children = children, .doc = "Networks, and who is on them"};
