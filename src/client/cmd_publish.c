/* `lxc publish`: an image of an instance. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "client/client.h"
#include "client/image.h"

struct publish {
	struct target from;
	struct strmap properties;
	const char *remote; /* "remote:", or NULL */
};

static void publish_done(struct publish *p)
{
	target_done(&p->from);
	strmap_done(&p->properties);
}

/* Behind the instance: a remote and properties, in any order. */
static int read_arguments(struct cli *c, struct publish *p, struct error *err)
{
	for (size_t i = 1; i < cli_argc(c); i++) {
		const char *arg = cli_arg(c, i);
		const char *equals = strchr(arg, '=');
		auto_free char *key = equals ? xstrndup(arg, (size_t)(equals - arg)) : NULL;

		if (equals)
			strmap_set(&p->properties, key, equals + 1);
		else if (endswith(arg, ":") && !p->remote)
			p->remote = arg;
		else
			return error_set(err, 400, "Invalid argument \"%s\": it is no remote or property", arg);
	}
	return 0;
}

static int check_remote(struct cli *c, const struct publish *p, struct error *err)
{
	auto_target struct target to = TARGET_INIT;
	int r = p->remote ? target_parse(c, p->remote, &to, err) : 0;

	if (r == 0 && p->remote && !streq(to.remote, p->from.remote))
		return error_set(err, 501, "Publish to another server in two steps: lxc publish, then lxc image copy");
	return r;
}

static char *make_body(struct cli *c, const struct publish *p)
{
	const char *compression = option_str(c->options, "compression");
	const char *expire = option_str(c->options, "expire");
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_key(&w, "source");
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "type", strchr(p->from.name, '/') ? "snapshot" : "instance");
	jsonw_kv_str(&w, "name", p->from.name);
	jsonw_object_end(&w);
	jsonw_kv_bool(&w, "public", option_bool(c->options, "public"));
	jsonw_kv_strmap(&w, "properties", &p->properties);
	if (!str_is_empty(compression))
		jsonw_kv_str(&w, "compression_algorithm", compression);
	if (!str_is_empty(expire))
		jsonw_kv_str(&w, "expires_at", expire);
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

static int send(struct cli *c, const struct publish *p, struct error *err)
{
	const struct strv *aliases = option_list(c->options, "alias");
	auto_free char *body = make_body(c, p);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_json struct json *op = NULL;
	const char *fingerprint;
	int r = api_call(p->from.api, "POST", "/1.0/images", body, NULL, &reply, err);

	if (r >= 0)
		r = cli_wait(c, p->from.api, &reply, &op, err);
	if (r < 0)
		return r;
	fingerprint = json_get_str(json_get(op, "metadata"), "fingerprint");
	if (!fingerprint)
		return error_set(err, 500, "The server does not name the image");
	for (size_t i = 0; i < aliases->len && r >= 0; i++)
		r = image_set_alias(c, p->from.api, aliases->items[i], fingerprint, err);
	if (r >= 0)
		cli_say("Instance published with fingerprint: %s\n", fingerprint);
	return r;
}

static int set_state(struct cli *c, const struct publish *p, const char *action, struct error *err)
{
	auto_free char *url = cli_url("/1.0/instances/%s/state", p->from.name);
	auto_free char *body = xasprintf("{\"action\":\"%s\",\"timeout\":-1,\"force\":true}", action);

	return cli_do(c, p->from.api, "PUT", url, body, NULL, err);
}

/* Is it to be started again afterwards? An ephemeral one would be gone when it is stopped. */
static int stop(struct cli *c, const struct publish *p, bool *ret_stopped, struct error *err)
{
	auto_free char *url = cli_url("/1.0/instances/%s", p->from.name);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	const char *status;
	int r;

	if (strchr(p->from.name, '/'))
		return 0;
	r = api_get(p->from.api, url, &reply, err);
	if (r < 0)
		return r;
	status = json_get_str(reply.metadata, "status");
	if (!status || streq(status, "Stopped"))
		return 0;
	if (!option_bool(c->options, "force"))
		return error_set(err, 400,
				 "The instance is currently running. Use --force to have it stopped and restarted");
	if (json_is_true(json_get(reply.metadata, "ephemeral")))
		return error_set(err, 400, "The instance is ephemeral: it would be gone when it is stopped");
	*ret_stopped = true;
	return set_state(c, p, "stop", err);
}

static int run_publish(struct cli *c, struct error *err)
{
	CLEANUP(publish_done) struct publish p = {.from = TARGET_INIT};
	auto_error struct error start = ERROR_INIT;
	bool stopped = false;
	int r = read_arguments(c, &p, err);

	if (r == 0)
		r = target_open_named(c, cli_arg(c, 0), "instance", &p.from, err);
	if (r == 0)
		r = check_remote(c, &p, err);
	if (r == 0)
		r = stop(c, &p, &stopped, err);
	if (r < 0)
		return r;
	r = send(c, &p, err);
	if (stopped && set_state(c, &p, "start", &start) < 0)
		return r < 0 ? r : error_move(err, &start);
	return r;
}

static const struct option_row publish_options[] = {
	{"alias", 0, OPTION_LIST, NULL, "New alias to define at target"},
	{"compression", 0, OPTION_STRING, "", "Compression: gzip, xz, zstd, bzip2 or none"},
	{"expire", 0, OPTION_STRING, "", "Image expiration date (RFC 3339)"},
	{"force", 'f', OPTION_BOOL, NULL, "Stop the instance if currently running"},
	{"public", 0, OPTION_BOOL, NULL, "Make the image public"},
	OPTION_END,
};

const struct command cmd_publish = {
	.name = "publish",
	.args = "[<remote>:]<instance>[/<snapshot>] [<remote>:] [key=value...]",
	.min_args = 1,
	.max_args = COMMAND_ANY,
	.options = publish_options,
	.run = run_publish,
	.doc = "Publish instances as images",
};
