/* `lxc monitor`: events as they come. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/yamltext.h"
#include "client/client.h"
#include "client/print.h"
#include "http/wsclient.h"

enum monitor_format { MONITOR_YAML, MONITOR_JSON, MONITOR_PRETTY };

struct monitor {
	enum monitor_format format;
	const char *loglevel;
};

static int level_rank(const char *level)
{
	static const char *const names[] = {"trace", "debug", "info", "warning", "error"};

	for (size_t i = 0; level && i < ARRAY_SIZE(names); i++)
		if (strcasecmp(level, names[i]) == 0 || (i == 3 && strcasecmp(level, "warn") == 0))
			return (int)i;
	return -1;
}

/* One line: level or type, time, what. */
static void print_pretty(const struct monitor *m, const struct json *event)
{
	const struct json *metadata = json_get(event, "metadata");
	const char *type = json_get_str(event, "type"), *level = json_get_str(metadata, "level");
	const char *what = json_get_str(metadata, "message");
	auto_free char *head = NULL;
	auto_free char *safe = NULL;
	auto_free char *context = NULL;
	auto_free char *text = NULL;

	if (type && streq(type, "logging") && m->loglevel && level_rank(level) < level_rank(m->loglevel))
		return;
	if (!what)
		what = json_get_str(metadata, "action");
	if (!what)
		what = json_get_str(metadata, "description");
	head = cli_upper(level ? level : "info");
	context = json_to_text(json_get(metadata, "context"));
	text = xasprintf("%-7s [%s] %s %s", head, json_get_str(event, "timestamp"), what ? what : "",
			 json_len(json_get(metadata, "context")) ? context : "");
	safe = print_safe_text(text, "");
	puts(safe);
}

static void on_message(struct wsclient *ws UNUSED, bool is_text UNUSED, const void *data, size_t len, void *arg)
{
	const struct monitor *m = arg;
	auto_json struct json *event = NULL;
	auto_error struct error e = ERROR_INIT;
	auto_free char *compact = NULL;

	if (json_parse(data, len, &event, &e) < 0) {
		cli_complain("Unreadable event: %s\n", error_msg(&e));
		return;
	}
	switch (m->format) {
	case MONITOR_JSON:
		compact = json_to_text(event);
		print_json(compact);
		break;
	case MONITOR_PRETTY:
		print_pretty(m, event);
		break;
	default:
		if (cli_print_yaml(event, YAML_SORT_KEYS | YAML_KEEP_NULL | YAML_QUOTE_TIMES, &e) < 0)
			cli_complain("Unreadable event: %s\n", error_msg(&e));
		puts("\n");
	}
	fflush(stdout);
}

static int parse_format(struct cli *c, struct monitor *m, struct error *err)
{
	static const char *const names[] = {"yaml", "json", "pretty"};
	const char *format = option_bool(c->options, "pretty") ? "pretty" : option_str(c->options, "format");

	m->loglevel = option_str(c->options, "loglevel");
	if (m->loglevel && level_rank(m->loglevel) < 0)
		return error_set(err, 400, "Invalid log level \"%s\"", m->loglevel);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (streq(format, names[i])) {
			m->format = (enum monitor_format)i;
			return 0;
		}
	}
	return error_set(err, 400, "Invalid format: %s", format);
}

static char *events_url(struct cli *c)
{
	const struct strv *types = option_list(c->options, "type");
	auto_free char *joined = types->len ? strv_join(types, ",") : NULL;
	auto_strbuf struct strbuf b = STRBUF_INIT;

	strbuf_append(&b, "/1.0/events?");
	if (option_bool(c->options, "all-projects"))
		strbuf_append(&b, "all-projects=true&");
	if (joined) {
		auto_free char *escaped = url_escaped(joined);

		strbuf_appendf(&b, "type=%s&", escaped);
	}
	strbuf_truncate(&b, b.len - 1);
	return strbuf_take(&b);
}

static int run_monitor(struct cli *c, struct error *err)
{
	struct monitor m = {0};
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply server = API_REPLY_INIT;
	auto_wsclient struct wsclient *ws = NULL;
	auto_free char *events = events_url(c);
	auto_free char *url = NULL;
	int r;

	r = parse_format(c, &m, err);
	if (r >= 0)
		r = target_open(c, cli_arg(c, 0), &t, err);
	/* the reference accepts no further connection while one that it accepted has sent nothing */
	if (r >= 0)
		r = api_get(t.api, "/1.0", &server, err);
	if (r < 0)
		return r;
	url = api_path(t.api, events);
	r = wsclient_open(t.api->http, url, on_message, &m, &ws, err);
	if (r < 0)
		return r;
	wsclient_process_extra(ws);
	while (wsclient_is_open(ws)) {
		struct pollfd p = {.fd = wsclient_fd(ws), .events = wsclient_events(ws)};

		if (poll(&p, 1, -1) > 0)
			wsclient_process(ws, p.revents);
	}
	/* nobody but the server ends it: a signal ends the program */
	if (wsclient_was_closed_by_peer(ws))
		return error_set(err, 500, "websocket: close %u: the server ended the connection",
				 wsclient_close_code(ws));
	return error_set(err, 500, "websocket: close 1006 (abnormal closure): unexpected EOF");
}

static const struct option_row monitor_options[] = {
	{"all-projects", 0, OPTION_BOOL, NULL, "Show the events of every project"},
	{"format", 'f', OPTION_STRING, "yaml", "Form of the events: json, pretty or yaml"},
	{"loglevel", 0, OPTION_STRING, NULL, "Lowest level of log messages, with --pretty"},
	{"pretty", 0, OPTION_BOOL, NULL, "Short for --format=pretty"},
	{"type", 0, OPTION_LIST, NULL, "Only events of this type: logging, operation or lifecycle"},
	OPTION_END,
};

const struct command cmd_monitor = {
	.name = "monitor",
	.args = "[<remote>:]",
	.max_args = 1,
	.options = monitor_options,
	.run = run_monitor,
	.doc = "Show events of a server as they happen",
	.hidden = true,
};
