/* `lxc query` and `lxc version`. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/client.h"

/* A file's bytes; a terminal does not get them raw. */
static int print_bytes(const struct strbuf *bytes, struct error *err)
{
	if (isatty(STDOUT_FILENO))
		cli_print_safe(strbuf_str(bytes));
	else if (fwrite(strbuf_str(bytes), 1, bytes->len, stdout) != bytes->len)
		return error_errno(err, errno, "Write to standard output");
	return 0;
}

static int print_pretty(const struct json *j)
{
	auto_free char *text = json_to_pretty(j);

	cli_print_safe(text);
	puts("\n");
	return 0;
}

/* The answer: an envelope, or a file whose bytes are printed as they are. */
static int show_answer(struct cli *c, struct api *a, const struct http_client_response *resp, struct error *err)
{
	const char *type = strmap_get_or(&resp->head.headers, "content-type", "");
	auto_json struct json *body = NULL;
	auto_json struct json *op = NULL;
	struct api_reply reply = API_REPLY_INIT;
	bool raw = option_bool(c->options, "raw");
	const char *path;
	int r;

	if (!raw) {
		r = api_response_error(resp, err);
		if (r < 0)
			return r;
	}
	if (!startswith(type, "application/json"))
		return print_bytes(&resp->body, err);
	r = json_parse(strbuf_str(&resp->body), resp->body.len, &body, err);
	if (r < 0)
		return error_wrap(err, "Read the server's answer");
	path = json_get_str(body, "operation");
	if (option_bool(c->options, "wait") && !str_is_empty(path)) {
		if (!api_is_operation(path))
			return error_set(err, 500, "The server's answer names no operation");
		reply.operation = (char *)(uintptr_t)path;
		r = cli_wait(c, a, &reply, &op, err);
		if (r < 0)
			return r;
	}
	if (op)
		return print_pretty(op);
	if (raw)
		return print_pretty(body);
	if (json_len(json_get(body, "metadata")) || json_kind(json_get(body, "metadata")) == JSON_ARRAY ||
	    json_kind(json_get(body, "metadata")) == JSON_STRING)
		return print_pretty(json_get(body, "metadata"));
	return 0;
}

static int run_query(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	auto_strbuf struct strbuf in = STRBUF_INIT;
	const char *data = option_str(c->options, "data");
	const char *const headers[] = {"Content-Type: application/json", NULL};
	struct http_client_request req = {.method = option_str(c->options, "request"), .headers = headers};
	struct http_piece piece;
	int r;

	if (option_given(c->options, "project"))
		return error_set(err, 400, "--project cannot be used with the query command");
	r = target_open(c, cli_arg(c, 0), &t, err);
	if (r < 0)
		return r;
	if (t.name[0] != '/')
		return error_set(err, 400, "Query path must start with /");
	if (data && streq(data, "-")) {
		r = cli_read_stdin(&in, err);
		if (r < 0)
			return r;
		data = strbuf_str(&in);
	}
	req.path = t.name;
	if (data) {
		piece = (struct http_piece){.data = data, .len = strlen(data)};
		req.body = &piece;
		req.body_count = 1;
	}
	r = api_send_raw(t.api, &req, &resp, err);
	return r < 0 ? r : show_answer(c, t.api, &resp, err);
}

static const struct option_row query_options[] = {
	{"data", 'd', OPTION_STRING, NULL, "Body of the request (- reads standard input)"},
	{"raw", 0, OPTION_BOOL, NULL, "Print the whole answer"},
	{"request", 'X', OPTION_STRING, "GET", "Method of the request"},
	{"wait", 0, OPTION_BOOL, NULL, "Wait for the operation that it starts"},
	OPTION_END,
};

const struct command cmd_query = {
	.name = "query",
	.args = "[<remote>:]<API path>",
	.min_args = 1,
	.max_args = 1,
	.options = query_options,
	.run = run_query,
	.doc = "Send a request to the API and print the answer",
	.hidden = true,
};

static int run_version(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_error struct error e = ERROR_INIT;
	const char *version = NULL;
	int r;

	r = target_parse(c, cli_arg(c, 0), &t, err);
	if (r < 0)
		return r;
	if (target_connect(c, &t, &e) >= 0 && api_get(t.api, "/1.0", &reply, &e) >= 0)
		version = json_get_str(json_get(reply.metadata, "environment"), "server_version");
	error_ignore(&e, "an unreachable server is shown as such");
	printf("Client version: %s\n", LXD_VERSION);
	cli_say("Server version: %s\n", version ? version : "unreachable");
	return 0;
}

const struct command cmd_version = {
	.name = "version",
	.args = "[<remote>:]",
	.max_args = 1,
	.run = run_version,
	.doc = "Show the versions of client and server",
};
