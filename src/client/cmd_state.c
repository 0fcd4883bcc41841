/* `lxc start`, `stop`, `restart`, `pause` and `delete`. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/console.h"
#include "client/state.h"

char *state_body(const char *action, int64_t timeout, bool force, bool stateful)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "action", action);
	jsonw_kv_int(&w, "timeout", timeout);
	jsonw_kv_bool(&w, "force", force);
	jsonw_kv_bool(&w, "stateful", stateful);
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

/* What the present command asks of an instance. */
static const char *action_of(const struct cli *c)
{
	return streq(c->command->name, "pause") ? "freeze" : c->command->name;
}

static char *body_for(const struct cli *c, const char *action)
{
	bool force = option_bool(c->options, "force");
	int64_t timeout = option_given(c->options, "timeout") ? option_int(c->options, "timeout") : -1;

	return state_body(action, timeout, force, option_bool(c->options, "stateful"));
}

/* A frozen instance is started by thawing it. */
static int pick_action(struct cli *c, struct target *t, const char **action, struct error *err)
{
	auto_free char *url = cli_url("/1.0/instances/%s", t->name);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	const char *status;
	int r;

	*action = action_of(c);
	if (!streq(*action, "start"))
		return 0;
	r = api_get(t->api, url, &reply, err);
	if (r < 0)
		return r;
	status = json_get_str(reply.metadata, "status");
	if (status && strcasecmp(status, "frozen") == 0)
		*action = "unfreeze";
	return 0;
}

struct pending {
	struct target target;
	struct api_reply reply;
};

/* Send the request; the operation is waited for later, so that several run at the same time. */
static int begin(struct cli *c, const char *name, struct pending *p, struct error *err)
{
	auto_free char *url = NULL;
	auto_free char *body = NULL;
	const char *action;
	int r;

	r = target_open_named(c, name, "instance", &p->target, err);
	if (r < 0)
		return r;
	r = pick_action(c, &p->target, &action, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/instances/%s/state", p->target.name);
	body = body_for(c, action);
	return api_call(p->target.api, "PUT", url, body, NULL, &p->reply, err);
}

static int finish(struct cli *c, const char *name, struct pending *p, struct error *err)
{
	int r = cli_wait(c, p->target.api, &p->reply, NULL, err);

	if (r < 0 && !streq(c->command->name, "pause") && !streq(c->command->name, "stop"))
		error_set(err, 400, "%s\nTry `lxc info --show-log %s` for more info", error_msg(err), name);
	return r;
}

/*
 * --console: attached as soon as the instance has started, and while it stops. One that has stopped before has no
 * console any more, which is what was asked for.
 */
static int show_console(struct cli *c, const char *name, struct pending *p, struct error *err)
{
	const char *type = option_str(c->options, "console");
	auto_error struct error gone = ERROR_INIT;
	int r;

	if (streq(c->command->name, "stop")) {
		if (console_attach(p->target.api, p->target.name, type, &gone) < 0)
			cli_complain("%s\n", error_msg(&gone));
		return finish(c, name, p, err);
	}
	r = finish(c, name, p, err);
	return r < 0 ? r : console_attach(p->target.api, p->target.name, type, err);
}

static int run_one(struct cli *c, const char *name, struct error *err)
{
	struct pending p = {0};
	int r = begin(c, name, &p, err);

	if (r >= 0)
		r = option_given(c->options, "console") ? show_console(c, name, &p, err) : finish(c, name, &p, err);
	target_done(&p.target);
	api_reply_done(&p.reply);
	return r;
}

static int run_several(struct cli *c, struct error *err)
{
	size_t n = cli_argc(c), failed = 0;
	auto_free struct pending *list = xnew_array(struct pending, n);
	auto_free struct error *errors = xnew_array(struct error, n);

	for (size_t i = 0; i < n; i++)
		begin(c, cli_arg(c, i), &list[i], &errors[i]);
	for (size_t i = 0; i < n; i++) {
		if (!errors[i].msg)
			finish(c, cli_arg(c, i), &list[i], &errors[i]);
		if (errors[i].msg) {
			cli_complain("%s: error: %s\n", cli_arg(c, i), errors[i].msg);
			failed++;
		}
		error_clear(&errors[i]);
		target_done(&list[i].target);
		api_reply_done(&list[i].reply);
	}
	if (!failed)
		return 0;
	fputc('\n', stderr);
	return error_set(err, 400, "Some instances failed to %s", c->command->name);
}

/* --all: one request for all instances of each remote named (default: the default remote). */
static int run_all(struct cli *c, struct error *err)
{
	size_t n = MAX_OF(cli_argc(c), (size_t)1);
	int r;

	for (size_t i = 0; i < n; i++) {
		auto_target struct target t = TARGET_INIT;
		auto_free char *body = body_for(c, action_of(c));
		auto_free char *wrapped = xasprintf("{\"state\":%s}", body);

		r = target_open(c, cli_arg(c, i), &t, err);
		if (r < 0)
			return r;
		if (*t.name)
			return error_set(err, 400, "Both --all and instance name given");
		r = cli_do(c, t.api, "PUT", "/1.0/instances", wrapped, NULL, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_console(struct cli *c, struct error *err)
{
	if (!option_given(c->options, "console"))
		return 0;
	if (option_bool(c->options, "all"))
		return error_set(err, 400, "--console can't be used with --all");
	if (cli_argc(c) != 1)
		return error_set(err, 400, "--console only works with a single instance");
	return console_check(option_str(c->options, "console"), err);
}

static int run_state(struct cli *c, struct error *err)
{
	int r = check_console(c, err);

	if (r < 0)
		return r;
	if (option_bool(c->options, "all"))
		return run_all(c, err);
	if (cli_argc(c) == 0) {
		help_print(c, c->command, c->path, false);
		return 0;
	}
	return cli_argc(c) == 1 ? run_one(c, cli_arg(c, 0), err) : run_several(c, err);
}

#define OPTION_ALL                                                           \
	{                                                                    \
		"all", 0, OPTION_BOOL, NULL, "Do it to all instances", false \
	}
#define OPTION_CONSOLE                                                                           \
	{                                                                                        \
		"console", 0, OPTION_OPTIONAL, "console", "Attach to the console at once", false \
	}
#define OPTION_FORCE                                                                   \
	{                                                                              \
		"force", 'f', OPTION_BOOL, NULL, "Kill it instead of asking it", false \
	}
#define OPTION_TIMEOUT                                                                                \
	{                                                                                             \
		"timeout", 0, OPTION_INT, "-1", "Seconds to wait for a clean stop; -1: no end", false \
	}

static const struct option_row start_options[] = {
	OPTION_ALL,
	OPTION_CONSOLE,
	{"stateless", 0, OPTION_BOOL, NULL, "Ignore a stored state"},
	OPTION_END,
};

static const struct option_row stop_options[] = {
	OPTION_ALL,     OPTION_CONSOLE, OPTION_FORCE, {"stateful", 0, OPTION_BOOL, NULL, "Store the state"},
	OPTION_TIMEOUT, OPTION_END,
};

static const struct option_row restart_options[] = {
	OPTION_ALL, OPTION_CONSOLE, OPTION_FORCE, OPTION_TIMEOUT, OPTION_END,
};

static const struct option_row pause_options[] = {
	OPTION_ALL,
	OPTION_END,
};

#define STATE_ARGS .args = "[<remote>:]<instance>...", .max_args = COMMAND_ANY, .run = run_state

const struct command cmd_start = {.name = "start", .options = start_options, STATE_ARGS, .doc = "Start instances"};
const struct command cmd_stop = {.name = "stop", .options = stop_options, STATE_ARGS, .doc = "Stop instances"};
const struct command cmd_restart = {
	.name = "restart", .options = restart_options, STATE_ARGS, .doc = "Restart instances"};
const struct command cmd_pause = {.name = "pause",
				  .options = pause_options,
				  STATE_ARGS,
				  .doc = "Freeze instances",
				  .more = "A frozen instance goes on with `lxc start`."};

/* ---- delete ---- */

static int confirm(const char *name, struct error *err)
{
	auto_free char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	printf("Remove %s (yes/no): ", name);
	fflush(stdout);
	n = getline(&line, &cap, stdin);
	if (n > 0 && (streq(str_strip(line), "yes") || streq(str_strip(line), "y")))
		return 0;
	return error_set(err, 400, "User aborted delete operation");
}

static int delete_snapshot(struct cli *c, struct target *t, const char *slash, struct error *err)
{
	auto_free char *inst = xstrndup(t->name, (size_t)(slash - t->name));
	auto_free char *url = cli_url("/1.0/instances/%s/snapshots/%s", inst, slash + 1);

	return cli_do(c, t->api, "DELETE", url, NULL, NULL, err);
}

static int delete_instance(struct cli *c, struct target *t, struct error *err)
{
	auto_free char *url = cli_url("/1.0/instances/%s", t->name);
	auto_free char *state_url = xasprintf("%s/state", url);
	auto_free char *stop = state_body("stop", -1, true, false);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int64_t code;
	int r;

	r = api_get(t->api, url, &reply, err);
	if (r < 0)
		return error_wrap(err, "Failed checking instance exists \"%s:%s\"", t->remote, t->name);
	code = json_int(json_get(reply.metadata, "status_code"));
	if (code != 0 && code != 102 && code != 112) {
		if (!option_bool(c->options, "force"))
			return error_set(err, 400, "The instance is currently running, stop it first or pass --force");
		r = cli_do(c, t->api, "PUT", state_url, stop, NULL, err);
		if (r < 0)
			return error_wrap(err, "Stopping the instance failed");
		/* an ephemeral one is gone now */
		if (json_is_true(json_get(reply.metadata, "ephemeral")))
			return 0;
	}
	return cli_do(c, t->api, "DELETE", url, NULL, NULL, err);
}

static int run_delete(struct cli *c, struct error *err)
{
	for (size_t i = 0; i < cli_argc(c); i++) {
		auto_target struct target t = TARGET_INIT;
		const char *slash;
		int r;

		r = target_open_named(c, cli_arg(c, i), "instance", &t, err);
		if (r >= 0 && option_bool(c->options, "interactive"))
			r = confirm(cli_arg(c, i), err);
		if (r < 0)
			return r;
		slash = strchr(t.name, '/');
		r = slash ? delete_snapshot(c, &t, slash, err) : delete_instance(c, &t, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static const struct option_row delete_options[] = {
	{"force", 'f', OPTION_BOOL, NULL, "Stop running instances first"},
	{"interactive", 'i', OPTION_BOOL, NULL, "Ask before each one"},
	OPTION_END,
};

const struct command cmd_delete = {
	.name = "delete",
	.alias = "rm",
	.args = "[<remote>:]<instance>[/<snapshot>]...",
	.min_args = 1,
	.max_args = COMMAND_ANY,
	.options = delete_options,
	.run = run_delete,
	.doc = "Delete instances and snapshots",
};
