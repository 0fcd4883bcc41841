/* `lxc profile`. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/yamltext.h"
#include "client/client.h"
#include "client/device.h"
#include "client/entity.h"
#include "client/table.h"

static void add_profile(struct table *t, const struct json *p)
{
	auto_free char *used = xasprintf("%zu", json_len(json_get(p, "used_by")));
	const char *cells[] = {json_get_str(p, "name"), json_get_str(p, "description"), used};

	table_add(t, cells, ARRAY_SIZE(cells));
}

static int run_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"NAME", "DESCRIPTION", "USED BY"};
	static const struct entity_list list = {.url = "/1.0/profiles?recursion=1",
						.header = header,
						.columns = ARRAY_SIZE(header),
						.add_row = add_profile};

	return entity_list(c, &list, err);
}

/* POST to @url the profile with members of @from (may be NULL) under the name @name. */
static int post_profile(struct cli *c, struct api *a, const char *url, const struct json *from, const char *name,
			struct error *err)
{
	static const char *const fields[] = {"config", "description", "devices"};
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", name);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const struct json *value = json_get(from, fields[i]);
		auto_free char *text = json_kind(value) != JSON_NULL ? json_to_text(value) : NULL;

		if (text)
			jsonw_kv_raw(&w, fields[i], text);
	}
	jsonw_object_end(&w);
	return cli_do(c, a, "POST", url, strbuf_str(&b), NULL, err);
}

static int run_create(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_strbuf struct strbuf in = STRBUF_INIT;
	auto_json struct json *j = NULL;
	int r;

	if (cli_stdin_is_piped()) {
		r = cli_read_stdin(&in, err);
		if (r >= 0)
			r = yaml_read(strbuf_str(&in), in.len, NULL, &j, err);
		if (r < 0)
			return r;
	}
	r = target_open_named(c, cli_arg(c, 0), "profile", &t, err);
	if (r >= 0)
		r = post_profile(c, t.api, "/1.0/profiles", j, t.name, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Profile %s created\n", t.name);
	return r;
}

static int run_copy(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_target struct target dest = TARGET_INIT;
	const char *project = option_str(c->options, "target-project");
	auto_doc struct doc d = DOC_INIT;
	auto_free char *url = project ? cli_url("/1.0/profiles?project=%s", project) : xstrdup("/1.0/profiles");
	int r;

	r = entity_load(c, &t, &d, err);
	if (r >= 0)
		r = target_open(c, cli_arg(c, 1), &dest, err);
	if (r < 0)
		return r;
	return post_profile(c, dest.api, url, d.object, *dest.name ? dest.name : t.name, err);
}

/* ---- profiles of instances ---- */

static int load_instance(struct cli *c, struct target *t, struct doc *d, struct error *err)
{
	auto_free char *url = NULL;
	int r = target_open_named(c, cli_arg(c, 0), "instance", t, err);

	if (r < 0)
		return r;
	url = cli_url("/1.0/instances/%s", t->name);
	d->profiles_changed = true;
	r = doc_load(t->api, url, &doc_instance, d, err);
	return r;
}

static int run_add(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = load_instance(c, &t, &d, err);

	if (r < 0)
		return r;
	strv_add(&d.profiles, cli_arg(c, 1));
	r = doc_save(c, &d, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Profile %s added to %s\n", cli_arg(c, 1), t.name);
	return r;
}

static int run_remove(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = load_instance(c, &t, &d, err);

	if (r < 0)
		return r;
	if (!strv_remove(&d.profiles, cli_arg(c, 1)))
		return error_set(err, 404, "Profile %s isn't currently applied to %s", cli_arg(c, 1), t.name);
	r = doc_save(c, &d, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Profile %s removed from %s\n", cli_arg(c, 1), t.name);
	return r;
}

static int run_assign(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	auto_free char *joined = NULL;
	int r = load_instance(c, &t, &d, err);

	if (r < 0)
		return r;
	strv_done(&d.profiles);
	strv_split(&d.profiles, cli_arg(c, 1), ',');
	joined = d.profiles.len ? strv_join(&d.profiles, ",") : xstrdup("(none)");
	r = doc_save(c, &d, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Profiles %s applied to %s\n", joined, t.name);
	return r;
}

static const struct option_row list_options[] = {TABLE_FORMAT_OPTION, OPTION_END};
static const struct option_row copy_options[] = {
	{"target-project", 0, OPTION_STRING, NULL, "Project of the copy"},
	OPTION_END,
};

#define ROW(id, nm, arguments, min, max, fn, text, ...) \
	static const struct command id = {              \
		.name = nm, .args = arguments, .min_args = min, .max_args = max, .run = fn, .doc = text, __VA_ARGS__}

ROW(profile_add, "add", "[<remote>:]<instance> <profile>", 2, 2, run_add, "Add a profile to an instance");
ROW(profile_assign, "assign", "[<remote>:]<instance> <profiles>", 2, 2, run_assign,
    "Set the list of profiles of an instance", .alias = "apply");
ROW(profile_copy, "copy", "[<remote>:]<profile> [<remote>:]<profile>", 2, 2, run_copy, "Copy a profile", .alias = "cp",
    .options = copy_options);
ROW(profile_create, "create", "[<remote>:]<profile>", 1, 1, run_create, "Create a profile",
    .more = "YAML on standard input supplies configuration, description and devices.");
ROW(profile_delete, "delete", "[<remote>:]<profile>", 1, 1, entity_delete, "Delete a profile", .alias = "rm");
ROW(profile_edit, "edit", "[<remote>:]<profile>", 1, 1, entity_edit, "Edit a profile as YAML");
ROW(profile_get, "get", "[<remote>:]<profile> <key>", 2, 2, entity_get, "Show the value of a key");
ROW(profile_list, "list", "[<remote>:]", 0, 1, run_list, "List profiles", .alias = "ls", .options = list_options);
ROW(profile_remove, "remove", "[<remote>:]<instance> <profile>", 2, 2, run_remove, "Remove a profile from an instance");
ROW(profile_rename, "rename", "[<remote>:]<profile> <new name>", 2, 2, entity_rename, "Rename a profile",
    .alias = "mv");
ROW(profile_set, "set", "[<remote>:]<profile> <key>=<value>...", 2, COMMAND_ANY, entity_set, "Set keys of a profile");
ROW(profile_show, "show", "[<remote>:]<profile>", 1, 1, entity_show, "Show a profile as YAML");
ROW(profile_unset, "unset", "[<remote>:]<profile> <key>", 2, 2, entity_unset, "Unset a key of a profile");

static const struct command *const children[] = {
	&profile_add,        &profile_assign, &profile_copy, &profile_create, &profile_delete,
	&cmd_profile_device, &profile_edit,   &profile_get,  &profile_list,   &profile_remove,
	&profile_rename,     &profile_set,    &profile_show, &profile_unset,  NULL,
};

const struct command cmd_profile = {.name = "profile", .children = children, .doc = "Profiles"};
