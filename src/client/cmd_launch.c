/* `lxc init` and `lxc launch`. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/yamltext.h"
#include "client/client.h"
#include "client/console.h"
#include "client/image_pull.h"
#include "client/instance.h"
#include "client/state.h"

struct launch {
	struct strmap config;
	struct mapmap devices;
	struct strv profiles;
	bool profiles_given;
	char *description;
};

static void launch_done(struct launch *l)
{
	strmap_done(&l->config);
	mapmap_done(&l->devices);
	strv_done(&l->profiles);
	free(l->description);
}

int instance_parse_config(const struct strv *args, struct strmap *ret, struct error *err)
{
	for (size_t i = 0; i < args->len; i++) {
		const char *equals = strchr(args->items[i], '=');
		auto_free char *key = NULL;

		if (!equals)
			return error_set(err, 400, "Bad key=value pair: %s", args->items[i]);
		key = xstrndup(args->items[i], (size_t)(equals - args->items[i]));
		strmap_set(ret, key, equals + 1);
	}
	return 0;
}

/* A YAML instance on standard input. */
static int read_piped(struct launch *l, struct error *err)
{
	auto_strbuf struct strbuf in = STRBUF_INIT;
	auto_json struct json *j = NULL;
	int r;

	r = cli_read_stdin(&in, err);
	if (r >= 0)
		r = yaml_read(strbuf_str(&in), in.len, NULL, &j, err);
	if (r < 0 || json_kind(j) == JSON_NULL)
		return r;
	if (json_kind(j) != JSON_OBJECT)
		return error_set(err, 400, "yaml: the instance on standard input must be a mapping");
	l->description = xstrdup_null(json_get_str(j, "description"));
	l->profiles_given = json_kind(json_get(j, "profiles")) == JSON_ARRAY;
	r = json_to_strmap(json_get(j, "config"), "config", &l->config, err);
	if (r >= 0)
		r = json_to_mapmap(json_get(j, "devices"), "devices", &l->devices, err);
	if (r >= 0)
		r = json_to_strv(json_get(j, "profiles"), "profiles", &l->profiles, err);
	return r;
}

/* All but the image; @a is the server that the instance is made on. */
static int gather(struct cli *c, struct api *a, struct launch *l, struct error *err)
{
	const struct strv *profiles = option_list(c->options, "profile");
	int r = cli_stdin_is_piped() ? read_piped(l, err) : 0;

	if (r >= 0)
		r = instance_parse_config(option_list(c->options, "config"), &l->config, err);
	if (r < 0)
		return r;
	if (profiles->len) {
		strv_done(&l->profiles);
		strv_copy(&l->profiles, profiles);
		l->profiles_given = true;
	}
	if (option_bool(c->options, "no-profiles")) {
		strv_done(&l->profiles);
		l->profiles_given = true;
	}
	return instance_new_devices(c, a, &l->profiles, &l->devices, err);
}

/* @image NULL: an empty instance; @server: where it is fetched from, NULL: it is there */
static char *request_body(struct cli *c, const struct launch *l, const char *name, const struct image_pull *image,
			  const char *server)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", name);
	jsonw_kv_str(&w, "type", option_bool(c->options, "vm") ? "virtual-machine" : "container");
	jsonw_kv_strmap(&w, "config", &l->config);
	jsonw_kv_mapmap(&w, "devices", &l->devices);
	if (l->profiles_given)
		jsonw_kv_strv(&w, "profiles", &l->profiles);
	jsonw_kv_bool(&w, "ephemeral", option_bool(c->options, "ephemeral"));
	jsonw_kv_str(&w, "description", l->description);
	jsonw_kv_str(&w, "instance_type", option_str(c->options, "type"));
	jsonw_key(&w, "source");
	jsonw_object_begin(&w);
	if (image)
		image_pull_write(image, server, &w);
	else
		jsonw_kv_str(&w, "type", "none");
	jsonw_object_end(&w);
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

char *instance_name_of_operation(const struct json *op, const char *not_this)
{
	static const char *const kinds[] = {"instances", "containers"};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct json *urls = json_get(json_get(op, "resources"), kinds[i]);

		for (size_t k = 0; k < json_len(urls); k++) {
			const char *url = json_str(json_at(urls, k));
			char *name = url ? cli_url_last(url) : NULL;

			if (name && !(not_this && streq(name, not_this)))
				return name;
			free(name);
		}
	}
	return NULL;
}

static int is_nic(const char *name UNUSED, const struct json *device, void *arg)
{
	const char *type = json_get_str(device, "type");

	if (type && streq(type, "nic"))
		*(bool *)arg = true;
	return 0;
}

static int hint_network(struct api *a, const char *name, struct error *err)
{
	auto_free char *url = cli_url("/1.0/instances/%s", name);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	bool has_nic = false;
	int r = api_get(a, url, &reply, err);

	if (r < 0)
		return r;
	if (json_kind(json_get(reply.metadata, "expanded_devices")) == JSON_OBJECT)
		json_each(json_get(reply.metadata, "expanded_devices"), is_nic, &has_nic);
	if (!has_nic)
		fputs("\nThe instance you are starting doesn't have any network attached to it.\n"
		      "  To create a new network, use: lxc network create\n"
		      "  To attach a network to an instance, use: lxc network attach\n\n",
		      stderr);
	return 0;
}

/* Which arguments are image and name: with --empty there is no image. */
static int open_targets(struct cli *c, struct target *image, struct target *dest, struct error *err)
{
	bool empty = option_bool(c->options, "empty");
	int r;

	if (empty && cli_argc(c) > 1)
		return error_set(err, 400, "--empty cannot be combined with an image name");
	if (!empty && cli_argc(c) == 0)
		return error_set(err, 400, "Missing image name");
	r = target_open(c, cli_arg(c, empty ? 0 : 1), dest, err);
	if (r >= 0 && !empty)
		r = target_parse(c, cli_arg(c, 0), image, err);
	return r;
}

static int try_server(struct cli *c, struct target *dest, const struct launch *l, const struct image_pull *image,
		      const char *server, struct json **ret_op, struct error *err)
{
	auto_free char *body = request_body(c, l, dest->name, image, server);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r = api_call(dest->api, "POST", "/1.0/instances", body, NULL, &reply, err);

	return r < 0 ? r : cli_wait(c, dest->api, &reply, ret_op, err);
}

/* The addresses of the image's server one after the other. */
static int try_servers(struct cli *c, struct target *dest, const struct launch *l, const struct image_pull *image,
		       struct json **ret_op, struct error *err)
{
	auto_strbuf struct strbuf all = STRBUF_INIT;
	bool differ = false;
	int r = 0;

	for (size_t i = 0; i < image->servers.len; i++) {
		auto_error struct error e = ERROR_INIT;

		r = try_server(c, dest, l, image, image->servers.items[i], ret_op, &e);
		if (r >= 0)
			return 0;
		json_free(TAKE_PTR(*ret_op));
		differ = differ || (i && !streq(error_msg(err), error_msg(&e)));
		strbuf_appendf(&all, "\n - %s: %s", image->servers.items[i], error_msg(&e));
		r = error_move(err, &e);
	}
	if (differ)
		return error_set(err, err->status, "Failed instance creation:%s", strbuf_str(&all));
	return error_wrap(err, "Failed instance creation");
}

static int create(struct cli *c, struct target *dest, char **ret_name, struct error *err)
{
	CLEANUP(launch_done) struct launch l = {0};
	auto_target struct target image = TARGET_INIT;
	auto_image_pull struct image_pull pull = IMAGE_PULL_INIT;
	auto_json struct json *op = NULL;
	int r;

	r = open_targets(c, &image, dest, err);
	if (r < 0)
		return r;
	if (!cli_quiet(c))
		printf(*dest->name ? "Creating %s\n" : "Creating the instance\n", dest->name);
	fflush(stdout);
	r = gather(c, dest->api, &l, err);
	if (r >= 0 && image.remote)
		r = image_pull_prepare(c, &image, dest, &pull, err);
	if (r >= 0 && pull.servers.len)
		r = try_servers(c, dest, &l, &pull, &op, err);
	else if (r >= 0)
		r = try_server(c, dest, &l, image.remote ? &pull : NULL, NULL, &op, err);
	if (r < 0)
		return r;
	*ret_name = *dest->name ? xstrdup(dest->name) : instance_name_of_operation(op, NULL);
	if (!*ret_name)
		return error_set(err, 500, "The server did not say how it named the instance");
	if (!*dest->name && !cli_quiet(c))
		cli_say("Instance name is: %s\n", *ret_name);
	return hint_network(dest->api, *ret_name, err);
}

static int run_init(struct cli *c, struct error *err)
{
	auto_target struct target dest = TARGET_INIT;
	auto_free char *name = NULL;

	return create(c, &dest, &name, err);
}

static int run_launch(struct cli *c, struct error *err)
{
	auto_target struct target dest = TARGET_INIT;
	auto_free char *name = NULL;
	auto_free char *url = NULL;
	auto_free char *body = state_body("start", -1, false, false);
	const char *console = option_given(c->options, "console") ? option_str(c->options, "console") : NULL;
	int r;

	r = console ? console_check(console, err) : 0;
	if (r == 0)
		r = create(c, &dest, &name, err);
	if (r < 0)
		return r;
	if (!cli_quiet(c))
		cli_say("Starting %s\n", name);
	fflush(stdout);
	url = cli_url("/1.0/instances/%s/state", name);
	r = cli_do(c, dest.api, "PUT", url, body, NULL, err);
	if (r < 0)
		return error_set(err, 400, "%s\nTry `lxc info --show-log %s:%s` for more info", error_msg(err),
				 dest.remote, name);
	return console ? console_attach(dest.api, name, console, err) : 0;
}

#define INIT_OPTIONS                                                                              \
	{"config", 'c', OPTION_LIST, NULL, "Configuration key=value for the new instance"},       \
		{"device", 'd', OPTION_LIST, NULL, "Device setting device,key=value"},            \
		{"empty", 0, OPTION_BOOL, NULL, "Make it without an image"},                      \
		{"ephemeral", 'e', OPTION_BOOL, NULL, "Delete it when it stops"},                 \
		{"network", 'n', OPTION_STRING, NULL, "Network to attach it to"},                 \
		{"no-profiles", 0, OPTION_BOOL, NULL, "Use no profile at all"},                   \
		{"profile", 'p', OPTION_LIST, NULL, "Profile to use instead of the default one"}, \
		{"storage", 's', OPTION_STRING, NULL, "Storage pool of the root disk"},           \
		{"target", 0, OPTION_STRING, NULL, "Cluster member"},                             \
		{"type", 't', OPTION_STRING, NULL, "Instance type, such as c2-m4"},               \
	{                                                                                         \
		"vm", 0, OPTION_BOOL, NULL, "Make a virtual machine"                              \
	}

static const struct option_row init_options[] = {INIT_OPTIONS, OPTION_END};
static const struct option_row launch_options[] = {
	INIT_OPTIONS,
	{"console", 0, OPTION_OPTIONAL, "console", "Attach to the console at once"},
	OPTION_END,
};

#define INIT_ARGS .args = "[<remote>:]<image> [<remote>:][<name>]", .min_args = 1, .max_args = 2

const struct command cmd_init = {
	.name = "init",
	INIT_ARGS,
	.options = init_options,
	.run = run_init,
	.doc = "Create an instance from an image",
	.more = "A YAML instance on standard input supplies configuration, devices and profiles.",
	.hidden = true,
};

const struct command cmd_launch = {
	.name = "launch",
	INIT_ARGS,
	.options = launch_options,
	.run = run_launch,
	.doc = "Create an instance from an image and start it",
	.more = "A YAML instance on standard input supplies configuration, devices and profiles.",
};
