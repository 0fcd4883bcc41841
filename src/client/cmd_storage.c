/* `lxc storage`: pools. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/entity.h"
#include "client/table.h"

static void add_pool(struct table *t, const struct json *p)
{
	auto_free char *used = xasprintf("%zu", json_len(json_get(p, "used_by")));
	auto_free char *state = cli_upper(json_get_str(p, "status"));
	const char *cells[] = {json_get_str(p, "name"),
			       json_get_str(p, "driver"),
			       json_get_str(json_get(p, "config"), "source"),
			       json_get_str(p, "description"),
			       used,
			       state};

	table_add(t, cells, ARRAY_SIZE(cells));
}

static int run_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"NAME", "DRIVER", "SOURCE", "DESCRIPTION", "USED BY", "STATE"};
	static const struct entity_list list = {.url = "/1.0/storage-pools?recursion=1",
						.header = header,
						.columns = ARRAY_SIZE(header),
						.add_row = add_pool};

	return entity_list(c, &list, err);
}

static int run_create(struct cli *c, struct error *err)
{
	static const char *const complaint[2] = {"Bad key=value pair: [", "]"};
	auto_target struct target t = TARGET_INIT;
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r;

	r = args_to_pairs(c, 2, complaint, &config, err);
	if (r >= 0)
		r = target_open(c, cli_arg(c, 0), &t, err);
	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", t.name);
	jsonw_kv_str(&w, "driver", cli_arg(c, 1));
	jsonw_kv_strmap(&w, "config", &config);
	jsonw_kv_str(&w, "description", "");
	jsonw_object_end(&w);
	r = cli_do(c, t.api, "POST", "/1.0/storage-pools", strbuf_str(&b), NULL, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Storage pool %s created\n", t.name);
	return r;
}

static int get_resources(struct target *t, struct api_reply *ret, struct error *err)
{
	auto_free char *base = cli_url("/1.0/storage-pools/%s", t->name);
	auto_free char *url = xasprintf("%s/resources", base);

	return api_get(t->api, url, ret, err);
}

static int run_show(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r;

	if (!option_bool(c->options, "resources"))
		return entity_show(c, err);
	r = target_open_named(c, cli_arg(c, 0), "storage pool", &t, err);
	if (r >= 0)
		r = get_resources(&t, &reply, err);
	return r < 0 ? r : cli_print_yaml(reply.metadata, 0, err);
}

static char *size_text(struct cli *c, int64_t bytes)
{
	return option_bool(c->options, "bytes") ? xasprintf("%lld", (long long)bytes)
						: format_size_iec((uint64_t)bytes);
}

/* "/1.0/instances/c1" is c1 of kind instances; the snapshots below keep their path. */
static void used_name(const char *url, char **ret_kind, char **ret_name)
{
	const char *rest = startswith(url, "/1.0/");
	size_t kind_len;

	rest = rest ? rest : url;
	kind_len = strcspn(rest, "/?");
	*ret_kind = xstrndup(rest, kind_len);
	rest += kind_len + (rest[kind_len] == '/');
	*ret_name = xstrndup(rest, strcspn(rest, "?"));
}

static void write_used_by(struct jsonw *w, const struct json *list)
{
	auto_strv struct strv kinds = STRV_INIT;

	for (size_t i = 0; i < json_len(list); i++) {
		auto_free char *kind = NULL;
		auto_free char *name = NULL;

		used_name(json_str(json_at(list, i)), &kind, &name);
		if (!strv_contains(&kinds, kind))
			strv_add(&kinds, kind);
	}
	strv_sort(&kinds);
	jsonw_object_begin(w);
	for (size_t k = 0; k < kinds.len; k++) {
		jsonw_key(w, kinds.items[k]);
		jsonw_array_begin(w);
		for (size_t i = 0; i < json_len(list); i++) {
			auto_free char *kind = NULL;
			auto_free char *name = NULL;

			used_name(json_str(json_at(list, i)), &kind, &name);
			if (streq(kind, kinds.items[k]))
				jsonw_str(w, name);
		}
		jsonw_array_end(w);
	}
	jsonw_object_end(w);
}

static int run_info(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	auto_api_reply struct api_reply res = API_REPLY_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_json struct json *j = NULL;
	struct jsonw w = JSONW(&b);
	auto_free char *used = NULL;
	auto_free char *total = NULL;
	int r;

	r = entity_load(c, &t, &d, err);
	if (r >= 0)
		r = get_resources(&t, &res, err);
	if (r < 0)
		return r;
	used = size_text(c, json_int(json_get(json_get(res.metadata, "space"), "used")));
	total = size_text(c, json_int(json_get(json_get(res.metadata, "space"), "total")));
	jsonw_object_begin(&w);
	jsonw_key(&w, "info");
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "description", json_get_str(d.object, "description"));
	jsonw_kv_str(&w, "driver", json_get_str(d.object, "driver"));
	jsonw_kv_str(&w, "name", json_get_str(d.object, "name"));
	jsonw_kv_str(&w, "space used", used);
	jsonw_kv_str(&w, "total space", total);
	jsonw_object_end(&w);
	jsonw_key(&w, "used by");
	write_used_by(&w, json_get(d.object, "used_by"));
	jsonw_object_end(&w);
	r = json_parse(strbuf_str(&b), b.len, &j, err);
	return r < 0 ? r : cli_print_yaml(j, 0, err);
}

#define TARGET_ROW                                                        \
	{                                                                 \
		"target", 0, OPTION_STRING, NULL, "Cluster member", false \
	}

static const struct option_row list_options[] = {TABLE_FORMAT_OPTION, OPTION_END};
static const struct option_row target_options[] = {TARGET_ROW, OPTION_END};
static const struct option_row show_options[] = {
	{"resources", 0, OPTION_BOOL, NULL, "Show how full the pool is"},
	TARGET_ROW,
	OPTION_END,
};
static const struct option_row info_options[] = {
	{"bytes", 0, OPTION_BOOL, NULL, "Sizes in bytes"},
	TARGET_ROW,
	OPTION_END,
};

#define ROW(id, nm, arguments, min, max, fn, text, ...) \
	static const struct command id = {              \
		.name = nm, .args = arguments, .min_args = min, .max_args = max, .run = fn, .doc = text, __VA_ARGS__}

ROW(storage_create, "create", "[<remote>:]<pool> <driver> [key=value...]", 2, COMMAND_ANY, run_create,
    "Create a storage pool", .options = target_options);
ROW(storage_delete, "delete", "[<remote>:]<pool>", 1, 1, entity_delete, "Delete a storage pool", .alias = "rm");
ROW(storage_edit, "edit", "[<remote>:]<pool>", 1, 1, entity_edit, "Edit a storage pool as YAML");
ROW(storage_get, "get", "[<remote>:]<pool> <key>", 2, 2, entity_get, "Show the value of a key",
    .options = target_options);
ROW(storage_info, "info", "[<remote>:]<pool>", 1, 1, run_info, "Show how full a storage pool is and who uses it",
    .options = info_options);
ROW(storage_list, "list", "[<remote>:]", 0, 1, run_list, "List storage pools", .alias = "ls", .options = list_options);
ROW(storage_set, "set", "[<remote>:]<pool> <key>=<value>...", 2, COMMAND_ANY, entity_set, "Set keys of a storage pool",
    .options = target_options);
ROW(storage_show, "show", "[<remote>:]<pool>", 1, 1, run_show, "Show a storage pool as YAML", .options = show_options);
ROW(storage_unset, "unset", "[<remote>:]<pool> <key>", 2, 2, entity_unset, "Unset a key of a storage pool",
    .options = target_options);

static const struct command *const children[] = {
	&storage_create, &storage_delete, &storage_edit, &storage_get,   &storage_info,
	&storage_list,   &storage_set,    &storage_show, &storage_unset, NULL,
};

const struct command cmd_storage = {.name = "storage", .children = children, .doc = "Storage pools"};
