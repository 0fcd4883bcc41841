/* `lxc remote`: the servers in the client's own configuration. Adding one is in remote_add.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/remote.h"
#include "client/table.h"

#define PIN_MAX (1024 * 1024)

/* The caller frees. */
static char *auth_type(const struct strmap *remote)
{
	const char *type = strmap_get(remote, "auth_type"), *domain = strmap_get(remote, "domain");

	if (!str_is_empty(type) && streq(type, "candid") && !str_is_empty(domain))
		return xasprintf("candid (%s)", domain);
	if (!str_is_empty(type))
		return xstrdup(type);
	if (startswith(strmap_get_or(remote, "addr", ""), "unix:"))
		return xstrdup("file access");
	return xstrdup(streq(strmap_get_or(remote, "protocol", "lxd"), "simplestreams") ? "none" : "tls");
}

/* YAML has the fields of config.yml; JSON has the names that the reference client gives them. */
static int remotes_as_json(const struct cli_config *config, bool capital, struct json **ret, struct error *err)
{
	static const struct {
		const char *name, *key;
	} fields[] = {
		{"Addr", "addr"},       {"AuthType", "auth_type"}, {"Domain", "domain"},
		{"Project", "project"}, {"Protocol", "protocol"},
	};
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	for (size_t i = 0; i < config->remotes.len; i++) {
		const struct mapmap_item *item = &config->remotes.items[i];
		bool public = strmap_get_bool(&item->map, "public", false);

		jsonw_key(&w, item->key);
		jsonw_object_begin(&w);
		for (size_t k = 0; k < ARRAY_SIZE(fields); k++) {
			const char *value = strmap_get(&item->map, fields[k].key);

			if (capital || value)
				jsonw_kv_str(&w, capital ? fields[k].name : fields[k].key, value);
		}
		jsonw_kv_bool(&w, capital ? "Public" : "public", public);
		if (capital) {
			jsonw_kv_bool(&w, "Global", cli_config_is_global(config, item->key));
			jsonw_kv_bool(&w, "Static", cli_config_is_static(item->key));
		}
		jsonw_object_end(&w);
	}
	jsonw_object_end(&w);
	return json_parse(strbuf_str(&b), b.len, ret, err);
}

static int run_remote_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"NAME", "URL", "PROTOCOL", "AUTH TYPE", "PUBLIC", "STATIC", "GLOBAL"};
	auto_table struct table table = TABLE_INIT;
	auto_json struct json *j = NULL;
	enum table_format format;
	int r;

	r = table_format_parse(option_str(c->options, "format"), &format, err);
	if (r >= 0)
		r = remotes_as_json(c->config, format == TABLE_JSON, &j, err);
	if (r < 0)
		return r;
	table_set_header(&table, header, ARRAY_SIZE(header));
	for (size_t i = 0; i < c->config->remotes.len; i++) {
		const struct mapmap_item *item = &c->config->remotes.items[i];
		bool current = streq(item->key, cli_config_default_remote(c->config));
		auto_free char *name = xasprintf("%s%s", item->key, current ? " (current)" : "");
		auto_free char *auth = auth_type(&item->map);
		const char *cells[] = {name,
				       strmap_get(&item->map, "addr"),
				       strmap_get_or(&item->map, "protocol", "lxd"),
				       auth,
				       strmap_get_bool(&item->map, "public", false) ? "YES" : "NO",
				       cli_config_is_static(item->key) ? "YES" : "NO",
				       cli_config_is_global(c->config, item->key) ? "YES" : "NO"};

		table_add(&table, cells, ARRAY_SIZE(cells));
	}
	table_sort(&table);
	return table_print(&table, format, j, err);
}

static int run_get_default(struct cli *c, struct error *err UNUSED)
{
	puts(cli_config_default_remote(c->config));
	return 0;
}

/* The changes run on the file as it is when it is locked; @arg is the command's context. */

static int must_exist(const struct cli_config *config, const char *name, struct error *err)
{
	if (!mapmap_get(&config->remotes, name))
		return error_set(err, 404, "Remote %s doesn't exist", name);
	return 0;
}

/* It exists, and is the user's own. */
static int must_be_own(const struct cli_config *config, const char *name, const char *verb, struct error *err)
{
	int r = must_exist(config, name, err);

	if (r < 0)
		return r;
	if (cli_config_is_static(name))
		return error_set(err, 400, "Remote %s is static and cannot be modified", name);
	if (cli_config_is_global(config, name))
		return error_set(err, 400, "Remote %s is global and cannot be %s", name, verb);
	return 0;
}

static int switch_remote(struct cli_config *config, void *arg, struct error *err)
{
	const char *name = cli_arg(arg, 0);
	int r = must_exist(config, name, err);

	if (r < 0)
		return r;
	free(config->default_remote);
	config->default_remote = xstrdup(name);
	return 0;
}

static int run_switch(struct cli *c, struct error *err)
{
	return cli_config_change(c->config, switch_remote, c, err);
}

static int remove_remote(struct cli_config *config, void *arg, struct error *err)
{
	const char *name = cli_arg(arg, 0);
	int r = must_be_own(config, name, "removed", err);

	if (r < 0)
		return r;
	if (streq(name, config->default_remote) || streq(name, cli_config_default_remote(config)))
		return error_set(err, 400, "Can't remove the default remote");
	mapmap_remove(&config->remotes, name);
	return 0;
}

/* The files go last: without the remote nothing looks at them. */
static int run_remove(struct cli *c, struct error *err)
{
	const char *name = cli_arg(c, 0);
	auto_free char *jar = cli_config_jar_path(c->config, name);
	int r = cli_config_change(c->config, remove_remote, c, err);

	if (r >= 0)
		r = cli_config_set_pin(c->config, name, NULL, err);
	if (r >= 0 && unlink(jar) < 0 && errno != ENOENT && errno != ENOTDIR)
		r = error_errno(err, errno, "Remove %s", jar);
	return r;
}

/* The pinned certificate under the new name, before the remote has it; a global remote's is copied. */
static int copy_pin(struct cli_config *config, const char *from, const char *to, struct error *err)
{
	auto_free char *path = cli_config_pin_path(config, from);
	auto_strbuf struct strbuf pem = STRBUF_INIT;
	auto_error struct error e = ERROR_INIT;
	int r = file_read_at(AT_FDCWD, path, PIN_MAX, &pem, &e);

	if (r == -ENOENT || r == -ENOTDIR)
		return cli_config_set_pin(config, to, NULL, err);
	return r < 0 ? error_move(err, &e) : cli_config_set_pin(config, to, strbuf_str(&pem), err);
}

static int rename_remote(struct cli_config *config, void *arg, struct error *err)
{
	const char *from = cli_arg(arg, 0), *to = cli_arg(arg, 1);
	const char *bad = cli_config_bad_name(to);
	auto_strmap struct strmap fields = STRMAP_INIT;
	int r = must_exist(config, from, err);

	if (r < 0)
		return r;
	if (cli_config_is_static(from))
		return error_set(err, 400, "Remote %s is static and cannot be modified", from);
	if (mapmap_get(&config->remotes, to))
		return error_set(err, 409, "Remote %s already exists", to);
	if (bad)
		return error_set(err, 400, "%s", bad);
	r = copy_pin(config, from, to, err);
	if (r < 0)
		return r;
	strmap_copy(&fields, mapmap_get(&config->remotes, from));
	mapmap_set(&config->remotes, to, &fields);
	mapmap_remove(&config->remotes, from);
	if (streq(config->default_remote, from)) {
		free(config->default_remote);
		config->default_remote = xstrdup(to);
	}
	return 0;
}

static int run_rename(struct cli *c, struct error *err)
{
	const char *from = cli_arg(c, 0);
	auto_free char *old_jar = cli_config_jar_path(c->config, from);
	auto_free char *new_jar = cli_config_jar_path(c->config, cli_arg(c, 1));
	int r = cli_config_change(c->config, rename_remote, c, err);

	if (r >= 0)
		r = cli_config_set_pin(c->config, from, NULL, err);
	if (r >= 0 && rename(old_jar, new_jar) < 0 && errno != ENOENT && errno != ENOTDIR)
		r = error_errno(err, errno, "Rename %s to %s", old_jar, new_jar);
	return r;
}

static int set_url(struct cli_config *config, void *arg, struct error *err)
{
	const char *name = cli_arg(arg, 0);
	int r = must_be_own(config, name, "modified", err);

	if (r < 0)
		return r;
	if (!*cli_arg(arg, 1))
		return error_set(err, 400, "The address is empty");
	strmap_set(mapmap_get(&config->remotes, name), "addr", cli_arg(arg, 1));
	return 0;
}

static int run_set_url(struct cli *c, struct error *err)
{
	return cli_config_change(c->config, set_url, c, err);
}

static const struct option_row list_options[] = {TABLE_FORMAT_OPTION, OPTION_END};
static const struct command remote_list = {
	.name = "list", .alias = "ls", .options = list_options, .run = run_remote_list, .doc = "List remotes"};
static const struct command remote_default = {
	.name = "get-default", .run = run_get_default, .doc = "Show the default remote"};
static const struct command remote_switch = {.name = "switch",
					     .alias = "set-default",
					     .args = "<remote>",
					     .min_args = 1,
					     .max_args = 1,
					     .run = run_switch,
					     .doc = "Make a remote the default"};
static const struct command remote_remove = {
	.name = "remove",
	.alias = "rm",
	.args = "<remote>",
	.min_args = 1,
	.max_args = 1,
	.run = run_remove,
	.doc = "Remove a remote",
	.more = "The server goes on trusting this client; `lxc config trust remove` on the server ends that.",
};
static const struct command remote_rename = {.name = "rename",
					     .alias = "mv",
					     .args = "<remote> <new name>",
					     .min_args = 2,
					     .max_args = 2,
					     .run = run_rename,
					     .doc = "Rename a remote"};
static const struct command remote_set_url = {.name = "set-url",
					      .args = "<remote> <URL>",
					      .min_args = 2,
					      .max_args = 2,
					      .run = run_set_url,
					      .doc = "Change the address of a remote"};
static const struct command *const remote_children[] = {
	&cmd_remote_add, &remote_default, &remote_list,   &remote_remove,
	&remote_rename,  &remote_set_url, &remote_switch, NULL};

const struct command cmd_remote = {.name = "remote", .children = remote_children, .doc = "The list of servers"};
