/* Waiting for operations: progress on a terminal, Ctrl-C. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/client.h"
#include "client/print.h"

static volatile sig_atomic_t interrupts;

static void on_interrupt(int sig UNUSED)
{
	interrupts++;
}

struct waiting {
	const char *operation;
	const struct api *api;
	int handled;  /* interrupts dealt with */
	size_t width; /* of the progress line on the screen */
};

/* The first Ctrl-C asks the server to cancel, on a connection of its own; the third gives up. */
static int interrupted(void *arg)
{
	struct waiting *w = arg;
	auto_api struct api *a = NULL;
	auto_error struct error e = ERROR_INIT;

	if (interrupts == w->handled)
		return 0;
	w->handled = interrupts;
	if (interrupts >= 3)
		return -EINTR;
	if (api_open_again(w->api, &a, &e) >= 0 && api_do(a, "DELETE", w->operation, NULL, NULL, &e) >= 0)
		return 0;
	cli_complain("%s (interrupt %s to force)\n", error_msg(&e),
		     interrupts == 1 ? "two more times" : "one more time");
	return 0;
}

static int show_member(const char *key, const struct json *value, void *arg)
{
	struct waiting *w = arg;
	auto_free char *safe = NULL;
	int n;

	if (!endswith(key, "_progress") || !json_str(value))
		return 0;
	safe = print_safe_text(json_str(value), "");
	n = printf("\r%-*s", (int)w->width, safe);
	fflush(stdout);
	if (n > 1)
		w->width = strlen(safe);
	return 0;
}

static void show_progress(void *arg, const struct json *op)
{
	const struct json *metadata = json_get(op, "metadata");

	if (json_kind(metadata) == JSON_OBJECT)
		json_each(metadata, show_member, arg);
}

int cli_wait(struct cli *c, struct api *a, const struct api_reply *reply, struct json **ret_op, struct error *err)
{
	struct waiting w = {.operation = reply->operation, .api = a};
	struct sigaction catch = {.sa_handler = on_interrupt}, before;
	int r;

	if (!reply->operation)
		return 0;
	interrupts = 0;
	a->interrupted = interrupted;
	a->interrupted_arg = &w;
	sigaction(SIGINT, &catch, &before);
	r = api_wait(a, reply->operation, cli_shows_progress(c) ? show_progress : NULL, &w, ret_op, err);
	sigaction(SIGINT, &before, NULL);
	a->interrupted = NULL;
	if (w.width)
		printf("\r%*s\r", (int)w.width, "");
	if (interrupts >= 3)
		return error_set(err, 400, "The wait was interrupted; the operation goes on in the background");
	return r;
}

int cli_do(struct cli *c, struct api *a, const char *method, const char *path, const char *body, const char *etag,
	   struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r = api_call(a, method, path, body, etag, &reply, err);

	return r < 0 ? r : cli_wait(c, a, &reply, NULL, err);
}

const char *cli_arg(const struct cli *c, size_t n)
{
	const struct strv *args = option_args(c->options);

	return n < args->len ? args->items[n] : NULL;
}

size_t cli_argc(const struct cli *c)
{
	return option_args(c->options)->len;
}

bool cli_quiet(const struct cli *c)
{
	return option_bool(c->options, "quiet");
}

bool cli_shows_progress(const struct cli *c)
{
	return !cli_quiet(c) && isatty(STDOUT_FILENO);
}
