/*
 * `lxc exec`. One poll loop relays standard streams and the websockets; rest-api.md 3.2 has the framing: binary
 * frames, an empty text frame for the end of a stream.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/session.h"

#define CHUNK (64 * 1024)
#define QUEUE_MAX (256 * 1024)

/* A websocket of the session and the local fd that its data goes to. */
struct stream {
	struct wsclient *ws;
	int out_fd; /* -1: none */
	bool ended; /* the server has sent its end of stream */
};

struct session {
	struct stream control, streams[3];
	size_t count; /* 1: a terminal on stream 0; 3: separate streams */
	bool interactive;
	int in_fd;
	bool in_ended;
	int signal_fd;
	bool output_failed; /* nobody reads our output any more */
};

static void session_done(struct session *s)
{
	wsclient_free(s->control.ws);
	for (size_t i = 0; i < ARRAY_SIZE(s->streams); i++)
		wsclient_free(s->streams[i].ws);
	if (s->in_fd > STDERR_FILENO)
		fd_close(s->in_fd);
	fd_close(s->signal_fd);
}

/* ---- modes and the request ---- */

static int choose_mode(struct cli *c, bool *ret_interactive, struct error *err)
{
	bool t = option_bool(c->options, "force-interactive"), no_t = option_bool(c->options, "force-noninteractive");
	const char *mode = option_str(c->options, "mode");

	if (t && no_t)
		return error_set(err, 400, "You can't pass -t and -T at the same time");
	if ((t || no_t) && !streq(mode, "auto"))
		return error_set(err, 400, "You can't pass -t or -T at the same time as --mode");
	if (!streq(mode, "auto") && !streq(mode, "interactive") && !streq(mode, "non-interactive"))
		return error_set(err, 400, "Invalid mode \"%s\": auto, interactive or non-interactive", mode);
	if (t || streq(mode, "interactive"))
		*ret_interactive = true;
	else if (no_t || streq(mode, "non-interactive") || option_bool(c->options, "disable-stdin"))
		*ret_interactive = false;
	else
		*ret_interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	return 0;
}

static int read_environment(struct cli *c, struct strmap *ret, struct error *err)
{
	const struct strv *list = option_list(c->options, "env");
	const char *term = getenv("TERM");

	if (!str_is_empty(term))
		strmap_set(ret, "TERM", term);
	for (size_t i = 0; i < list->len; i++) {
		const char *item = list->items[i];
		auto_free char *key = xstrndup(item, strcspn(item, "="));

		if (!*key)
			return error_set(err, 400, "Invalid environment variable \"%s\"", item);
		strmap_set(ret, key, strchr(item, '=') ? strchr(item, '=') + 1 : "");
	}
	return 0;
}

static int request_body(struct cli *c, bool interactive, struct strbuf *out, struct error *err)
{
	auto_strmap struct strmap env = STRMAP_INIT;
	unsigned width = 0, height = 0;
	struct jsonw w = JSONW(out);
	int r = read_environment(c, &env, err);

	if (r < 0)
		return r;
	if (interactive)
		session_window_size(&width, &height);
	jsonw_object_begin(&w);
	jsonw_key(&w, "command");
	jsonw_array_begin(&w);
	for (size_t i = 1; i < cli_argc(c); i++)
		jsonw_str(&w, cli_arg(c, i));
	jsonw_array_end(&w);
	jsonw_kv_strmap(&w, "environment", &env);
	jsonw_kv_bool(&w, "wait-for-websocket", true);
	jsonw_kv_bool(&w, "interactive", interactive);
	jsonw_kv_uint(&w, "width", width);
	jsonw_kv_uint(&w, "height", height);
	jsonw_kv_int(&w, "user", option_int(c->options, "user"));
	jsonw_kv_int(&w, "group", option_int(c->options, "group"));
	jsonw_kv_str(&w, "cwd", option_str(c->options, "cwd"));
	jsonw_object_end(&w);
	return 0;
}

/* ---- relaying ---- */

/* What arrives on a data stream; standard output may block, as it does for any program. */
static void on_data(struct wsclient *ws, bool is_text, const void *data, size_t len, void *arg)
{
	struct session *s = arg;

	for (size_t i = 0; i < s->count; i++) {
		struct stream *st = &s->streams[i];

		if (st->ws != ws)
			continue;
		if (is_text && len == 0) {
			st->ended = true;
			if (s->interactive)
				wsclient_send(ws, true, "", 0); /* the server waits for ours */
			wsclient_close(ws);
		} else if (st->out_fd >= 0 && fd_write_full(st->out_fd, data, len) < 0) {
			s->output_failed = true;
		}
	}
}

static void on_control(struct wsclient *ws UNUSED, bool is_text UNUSED, const void *data UNUSED, size_t len UNUSED,
		       void *arg UNUSED)
{
	/* the server has nothing to say here */
}

static void send_signal(struct session *s, int sig)
{
	auto_free char *msg = xasprintf("{\"command\":\"signal\",\"signal\":%d}", sig);

	wsclient_send(s->control.ws, true, msg, strlen(msg));
}

static void send_window_size(struct session *s)
{
	if (s->interactive)
		session_send_window_size(s->control.ws);
}

static void handle_signal(struct session *s)
{
	struct signalfd_siginfo info;

	if (read(s->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH)
		send_window_size(s);
	else
		send_signal(s, (int)info.ssi_signo);
}

static void handle_input(struct session *s)
{
	char buf[CHUNK];
	ssize_t n = read(s->in_fd, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0) {
		wsclient_send(s->streams[0].ws, false, buf, (size_t)n);
		return;
	}
	s->in_ended = true;
	wsclient_send(s->streams[0].ws, true, "", 0);
}

/* Every stream with output has ended, or is broken. */
static bool all_done(const struct session *s)
{
	if (s->output_failed)
		return true;
	for (size_t i = s->interactive ? 0 : 1; i < s->count; i++)
		if (!s->streams[i].ended && wsclient_is_open(s->streams[i].ws))
			return false;
	return true;
}

static void relay(struct session *s)
{
	enum { P_SIGNAL, P_INPUT, P_CONTROL, P_STREAMS };

	send_window_size(s);
	wsclient_process_extra(s->control.ws);
	for (size_t i = 0; i < s->count; i++)
		wsclient_process_extra(s->streams[i].ws);
	while (!all_done(s)) {
		struct pollfd p[P_STREAMS + 3];
		bool feed = !s->in_ended && wsclient_is_open(s->streams[0].ws) &&
			    wsclient_queued(s->streams[0].ws) < QUEUE_MAX;

		p[P_SIGNAL] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
		p[P_INPUT] = (struct pollfd){.fd = feed ? s->in_fd : -1, .events = POLLIN};
		p[P_CONTROL] = (struct pollfd){.fd = wsclient_fd(s->control.ws),
					       .events = wsclient_events(s->control.ws)};
		for (size_t i = 0; i < s->count; i++)
			p[P_STREAMS + i] = (struct pollfd){.fd = wsclient_fd(s->streams[i].ws),
							   .events = wsclient_events(s->streams[i].ws)};
		if (poll(p, (nfds_t)(P_STREAMS + s->count), -1) < 0)
			continue;
		if (p[P_SIGNAL].revents)
			handle_signal(s);
		if (p[P_INPUT].revents)
			handle_input(s);
		if (p[P_CONTROL].revents)
			wsclient_process(s->control.ws, p[P_CONTROL].revents);
		for (size_t i = 0; i < s->count; i++)
			if (p[P_STREAMS + i].revents)
				wsclient_process(s->streams[i].ws, p[P_STREAMS + i].revents);
	}
}

/* ---- the session ---- */

static int connect_session(struct session *s, struct api *a, const struct api_reply *reply, struct error *err)
{
	static const char *const names[] = {"0", "1", "2"};
	int r = session_open_socket(a, reply, "control", on_control, s, &s->control.ws, err);

	for (size_t i = 0; r >= 0 && i < s->count; i++)
		r = session_open_socket(a, reply, names[i], on_data, s, &s->streams[i].ws, err);
	return r;
}

/* From here on signals are forwarded instead of ending the client. */
static int catch_signals(struct session *s, sigset_t *before, struct error *err)
{
	static const int forwarded[] = {SIGTERM, SIGHUP,  SIGINT,  SIGQUIT, SIGABRT, SIGTSTP,
					SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
		sigaddset(&set, forwarded[i]);
	sigprocmask(SIG_BLOCK, &set, before);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return s->signal_fd < 0 ? error_errno(err, errno, "Catch signals") : 0;
}

static int prepare_streams(struct cli *c, struct session *s, struct error *err)
{
	s->count = s->interactive ? 1 : 3;
	s->streams[0].out_fd = s->interactive ? STDOUT_FILENO : -1;
	s->streams[1].out_fd = STDOUT_FILENO;
	s->streams[2].out_fd = STDERR_FILENO;
	s->in_fd = STDIN_FILENO;
	if (option_bool(c->options, "disable-stdin")) {
		s->in_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (s->in_fd < 0)
			return error_errno(err, errno, "Open /dev/null");
	}
	return 0;
}

static void relay_on_terminal(struct session *s)
{
	struct termios before, raw;
	bool is_terminal = s->interactive && tcgetattr(STDIN_FILENO, &before) == 0;

	if (is_terminal) {
		raw = before;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	relay(s);
	if (is_terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static int run_exec(struct cli *c, struct error *err)
{
	CLEANUP(session_done) struct session s = {.in_fd = -1, .signal_fd = -EBADF};
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_json struct json *op = NULL;
	auto_strbuf struct strbuf body = STRBUF_INIT;
	auto_free char *base = NULL;
	auto_free char *url = NULL;
	const struct json *code;
	sigset_t before;
	int r;

	r = choose_mode(c, &s.interactive, err);
	if (r >= 0)
		r = prepare_streams(c, &s, err);
	if (r >= 0)
		r = request_body(c, s.interactive, &body, err);
	if (r >= 0)
		r = target_open_named(c, cli_arg(c, 0), "instance", &t, err);
	if (r < 0)
		return r;
	base = cli_url("/1.0/instances/%s", t.name);
	url = xasprintf("%s/exec", base);
	r = api_call(t.api, "POST", url, strbuf_str(&body), NULL, &reply, err);
	if (r >= 0 && !reply.operation)
		r = error_set(err, 500, "The server's answer to POST %s names no operation", url);
	if (r >= 0)
		r = catch_signals(&s, &before, err);
	if (r >= 0)
		r = connect_session(&s, t.api, &reply, err);
	if (r < 0)
		return r;
	relay_on_terminal(&s);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (s.output_failed)
		return error_set(err, 500, "Write to standard output failed");
	r = api_wait(t.api, reply.operation, NULL, NULL, &op, err);
	code = json_get(json_get(op, "metadata"), "return");
	if (json_kind(code) == JSON_INT || json_kind(code) == JSON_FLOAT)
		c->exit_code = (int)json_int(code) & 0xff;
	return r;
}

static const struct option_row exec_options[] = {
	{"cwd", 0, OPTION_STRING, NULL, "Directory to run it in"},
	{"disable-stdin", 'n', OPTION_BOOL, NULL, "Give it no standard input"},
	{"env", 0, OPTION_LIST, NULL, "Environment variable NAME=value"},
	{"force-interactive", 't', OPTION_BOOL, NULL, "Give it a terminal in any case"},
	{"force-noninteractive", 'T', OPTION_BOOL, NULL, "Give it no terminal in any case"},
	{"group", 0, OPTION_INT, "0", "Group id to run it as"},
	{"mode", 0, OPTION_STRING, "auto", "Terminal or not: auto, interactive or non-interactive"},
	{"user", 0, OPTION_INT, "0", "User id to run it as"},
	OPTION_END,
};

const struct command cmd_exec = {
	.name = "exec",
	.args = "[<remote>:]<instance> [--] <command line>",
	.min_args = 2,
	.max_args = COMMAND_ANY,
	.options = exec_options,
	.run = run_exec,
	.doc = "Run a command in an instance",
	.more = "The command gets a terminal when standard input and output are one. No shell is involved: for\n"
		"pipes, variables and patterns run sh -c '...'. Write -- before a command with flags of its own.",
};
