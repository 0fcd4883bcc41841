/* The program `lxd-admin`: what `lxd init`, `lxd waitready`, `lxd shutdown` and `lxd version` run as. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/audit.h"
#include "admin/init.h"
#include "base/alloc.h"
#include "base/options.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "http/client_api.h"

#define RETRY_MS 100

static const struct option_row global_options[] = {
	{"debug", 'd', OPTION_BOOL, NULL, "Print more"},
	{"help", 'h', OPTION_BOOL, NULL, "Print this help"},
	{"verbose", 'v', OPTION_BOOL, NULL, "Print more"},
	{"version", 0, OPTION_BOOL, NULL, "Print the version"},
	OPTION_END,
};

static void pause_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

/* One attempt: 0 when the daemon answers that it is ready. */
static int ask_ready(struct error *err)
{
	auto_api struct api *a = NULL;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *socket = api_default_socket();
	int r = api_open(socket, NULL, &a, err);

	return r < 0 ? r : api_get(a, "/internal/ready", &reply, err);
}

static int run_waitready(const struct options *o, struct error *err)
{
	int64_t timeout = option_int(o, "timeout");
	int64_t deadline = time_monotonic_ms() + timeout * 1000;

	for (;;) {
		auto_error struct error e = ERROR_INIT;

		if (ask_ready(&e) >= 0)
			return 0;
		if (timeout > 0 && time_monotonic_ms() + RETRY_MS > deadline)
			return error_set(err, 504, "LXD still not running after %llds timeout (%s)", (long long)timeout,
					 error_msg(&e));
		pause_ms(RETRY_MS);
	}
}

/* The daemon is gone when nobody accepts connections any more. */
static int wait_gone(const char *socket, int64_t timeout, struct error *err)
{
	int64_t deadline = time_monotonic_ms() + timeout * 1000;

	for (;;) {
		auto_http_client struct http_client *c = NULL;
		auto_error struct error e = ERROR_INIT;

		if (http_client_new(socket, &c, &e) < 0)
			return 0;
		if (timeout > 0 && time_monotonic_ms() > deadline)
			return error_set(err, 504, "LXD still running after %llds timeout", (long long)timeout);
		pause_ms(RETRY_MS);
	}
}

static int run_shutdown(const struct options *o, struct error *err)
{
	auto_api struct api *a = NULL;
	auto_free char *socket = api_default_socket();
	auto_free char *url = xasprintf("/internal/shutdown?force=%s", option_bool(o, "force") ? "true" : "false");
	int r;

	r = api_open(socket, NULL, &a, err);
	if (r < 0)
		return r;
	r = api_do(a, "PUT", url, "{}", NULL, err);
	/* it may go away before it has answered */
	if (r == -EPIPE || r == -ECONNRESET)
		error_clear(err);
	else if (r < 0)
		return r;
	return wait_gone(socket, option_int(o, "timeout"), err);
}

static int run_version(const struct options *o UNUSED, struct error *err UNUSED)
{
	puts(LXD_VERSION);
	return 0;
}

static const struct option_row no_options[] = {OPTION_END};
static const struct option_row waitready_options[] = {
	{"timeout", 't', OPTION_INT, "0", "Seconds to wait; 0: no end"},
	OPTION_END,
};
static const struct option_row shutdown_options[] = {
	{"force", 'f', OPTION_BOOL, NULL, "Do not wait for running operations"},
	{"timeout", 't', OPTION_INT, "0", "Seconds to wait; 0: no end"},
	OPTION_END,
};

static const struct admin_command {
	const char *name;
	const struct option_row *options;
	int (*run)(const struct options *o, struct error *err);
	const char *doc;
	const char *args; /* as the usage line shows them; NULL: none */
	const char *more; /* further lines of the help */
} commands[] = {
	{"audit", no_options, audit_run, "Check that the audit log was not changed", "verify",
	 "  Reads the audit log, its rotated files, and what the database knows of its end. Says OK, or which\n"
	 "  entries were changed, moved or removed; the exit status is 1 then. Changes nothing, and works while\n"
	 "  the daemon runs too.\n"},
	{"init", init_options, init_run, "Configure the daemon"},
	{"shutdown", shutdown_options, run_shutdown, "Stop all instances and the daemon"},
	{"version", no_options, run_version, "Print the version"},
	{"waitready", waitready_options, run_waitready, "Wait until the daemon answers"},
};

static const struct admin_command *find_command(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(commands); i++)
		if (streq(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static void print_help(const struct admin_command *cmd)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;

	if (cmd) {
		strbuf_appendf(&out, "Description:\n  %s\n\n%s%sUsage:\n  lxd %s%s%s [flags]\n\nFlags:\n", cmd->doc,
			       cmd->more ? cmd->more : "", cmd->more ? "\n" : "", cmd->name, cmd->args ? " " : "",
			       cmd->args ? cmd->args : "");
		options_help(cmd->options, &out);
	} else {
		strbuf_append(&out, "Usage:\n  lxd [command]\n\nAvailable Commands:\n");
		for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
			strbuf_appendf(&out, "  %-10s %s\n", commands[i].name, commands[i].doc);
	}
	strbuf_append(&out, "\nGlobal Flags:\n");
	options_help(global_options, &out);
	fputs(strbuf_str(&out), stdout);
}

static int run(int argc, char **argv, struct error *err)
{
	const struct admin_command *cmd = find_command(argc > 1 ? argv[1] : NULL);
	int skip = cmd ? 2 : 1;
	auto_options struct options *o = NULL;
	int r;

	if (!cmd && argc > 1 && argv[1][0] != '-')
		return error_set(err, 400, "unknown command \"%s\" for \"lxd\"", argv[1]);
	r = options_parse(cmd ? cmd->options : NULL, global_options, argv + MIN_OF(skip, argc),
			  (size_t)(argc > skip ? argc - skip : 0), &o, err);
	if (r < 0)
		return r;
	if (option_bool(o, "version"))
		return run_version(o, err);
	if (!cmd || option_bool(o, "help")) {
		print_help(cmd);
		return 0;
	}
	return cmd->run(o, err);
}

int main(int argc, char **argv)
{
	auto_error struct error err = ERROR_INIT;
	int r;

	signal(SIGPIPE, SIG_IGN);
	r = run(argc, argv, &err);
	if (fflush(stdout) != 0 && r >= 0)
		r = error_errno(&err, errno, "Write to standard output");
	if (r < 0)
		fprintf(stderr, "Error: %s\n", error_msg(&err));
	return r < 0 ? 1 : 0;
}
