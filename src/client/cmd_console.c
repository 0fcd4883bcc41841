/* `lxc console`. One poll loop between this terminal and two websockets: the bytes, and the size of the window. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/console.h"
#include "client/session.h"

#define CTRL_A '\x01'
#define CHUNK 4096
#define QUEUE_MAX (64 * 1024)
#define FAREWELL_MS 2000 /* how long the server may take to say goodbye */

size_t console_keys_filter(struct console_keys *k, const char *in, size_t n, char *out, bool *ret_leave)
{
	size_t len = 0;

	*ret_leave = false;
	for (size_t i = 0; i < n; i++) {
		if (!k->escape && in[i] == CTRL_A) {
			k->escape = true;
			continue;
		}
		if (k->escape && in[i] == 'q') {
			*ret_leave = true;
			return len;
		}
		/* nothing of ours: the Ctrl+a was meant for the console */
		if (k->escape && in[i] != CTRL_A)
			out[len++] = CTRL_A;
		k->escape = false;
		out[len++] = in[i];
	}
	return len;
}

struct console {
	struct wsclient *control, *tty;
	struct console_keys keys;
	int signal_fd;
	bool ended;         /* the server has sent the end of the stream */
	bool output_failed; /* nobody reads our output any more */
	bool left;          /* the user has left, or the terminal is gone */
};

static void console_done(struct console *s)
{
	wsclient_free(s->control);
	wsclient_free(s->tty);
	fd_close(s->signal_fd);
}

static void on_tty(struct wsclient *ws UNUSED, bool is_text, const void *data, size_t len, void *arg)
{
	struct console *s = arg;

	if (is_text && len == 0)
		s->ended = true;
	else if (fd_write_full(STDOUT_FILENO, data, len) < 0)
		s->output_failed = true;
}

static void on_control(struct wsclient *ws UNUSED, bool is_text UNUSED, const void *data UNUSED, size_t len UNUSED,
		       void *arg UNUSED)
{
	/* the server has nothing to say here */
}

static void handle_input(struct console *s)
{
	char in[CHUNK], out[CHUNK + 1];
	ssize_t n = read(STDIN_FILENO, in, sizeof(in));
	size_t len;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		s->left = true;
		return;
	}
	len = console_keys_filter(&s->keys, in, (size_t)n, out, &s->left);
	if (len)
		wsclient_send(s->tty, false, out, len);
}

static void handle_signal(struct console *s)
{
	struct signalfd_siginfo info;

	if (read(s->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH)
		session_send_window_size(s->control);
	else
		s->left = true;
}

static bool is_over(const struct console *s)
{
	return s->ended || s->output_failed || !wsclient_is_open(s->tty);
}

/* Wait for what happens next, and handle it; false when nothing did for @timeout_ms. */
static bool relay_once(struct console *s, int timeout_ms)
{
	bool feed = !s->left && wsclient_queued(s->tty) < QUEUE_MAX;
	struct pollfd p[] = {
		{.fd = s->signal_fd, .events = POLLIN},
		{.fd = feed ? STDIN_FILENO : -1, .events = POLLIN},
		{.fd = wsclient_fd(s->control), .events = wsclient_events(s->control)},
		{.fd = wsclient_fd(s->tty), .events = wsclient_events(s->tty)},
	};
	int r = poll(p, ARRAY_SIZE(p), timeout_ms);

	if (r == 0)
		return false;
	if (r < 0)
		return true;
	if (p[0].revents)
		handle_signal(s);
	if (p[1].revents)
		handle_input(s);
	if (p[2].revents)
		wsclient_process(s->control, p[2].revents);
	if (p[3].revents)
		wsclient_process(s->tty, p[3].revents);
	return true;
}

static void relay(struct console *s)
{
	wsclient_process_extra(s->control);
	wsclient_process_extra(s->tty);
	while (!s->left && !is_over(s))
		relay_once(s, -1);
	/* what has come to the console until it was left is shown still */
	wsclient_close(s->control);
	while (!is_over(s) && relay_once(s, FAREWELL_MS))
		;
}

/* SIGWINCH, and what would end us with the terminal in raw mode. */
static int catch_signals(struct console *s, sigset_t *ret_before, struct error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, ret_before);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return s->signal_fd < 0 ? error_errno(err, errno, "Catch signals") : 0;
}

static char *request_body(const char *type)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	unsigned width = 0, height = 0;

	session_window_size(&width, &height);
	jsonw_object_begin(&w);
	jsonw_kv_uint(&w, "width", width);
	jsonw_kv_uint(&w, "height", height);
	jsonw_kv_str(&w, "type", type);
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

static int open_console(struct api *a, const char *instance, const char *type, struct console *s,
			struct api_reply *reply, struct error *err)
{
	auto_free char *url = cli_url("/1.0/instances/%s/console", instance);
	auto_free char *body = request_body(type);
	int r = api_call(a, "POST", url, body, NULL, reply, err);

	if (r >= 0 && streq(type, "vga"))
		return error_set(err, 501, "This client cannot show VGA consoles");
	if (r >= 0 && !reply->operation)
		r = error_set(err, 500, "The server's answer to POST %s names no operation", url);
	if (r >= 0)
		r = session_open_socket(a, reply, "control", on_control, s, &s->control, err);
	if (r >= 0)
		r = session_open_socket(a, reply, "0", on_tty, s, &s->tty, err);
	return r;
}

static int check_type(const char *type, struct error *err)
{
	if (streq(type, "console") || streq(type, "vga"))
		return 0;
	return error_set(err, 400, "Unknown output type \"%s\"", type);
}

int console_check(const char *type, struct error *err)
{
	if (check_type(type, err) < 0)
		return -err->errnum;
	return isatty(STDIN_FILENO) ? 0
				    : error_set(err, 400, "A console needs a terminal, which standard input is not");
}

int console_attach(struct api *a, const char *instance, const char *type, struct error *err)
{
	CLEANUP(console_done) struct console s = {.signal_fd = -EBADF};
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	struct termios before, raw;
	sigset_t signals;
	int r;

	r = console_check(type, err);
	if (r >= 0 && tcgetattr(STDIN_FILENO, &before) < 0)
		r = error_errno(err, errno, "Read the terminal's settings");
	if (r < 0)
		return r;
	r = open_console(a, instance, type, &s, &reply, err);
	if (r >= 0)
		r = catch_signals(&s, &signals, err);
	if (r < 0)
		return r;
	printf("To detach from the console, press: <ctrl>+a q\n");
	fflush(stdout);
	raw = before;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	relay(&s);
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
	sigprocmask(SIG_SETMASK, &signals, NULL);
	if (s.output_failed)
		return error_set(err, 500, "Write to standard output failed");
	return api_wait(a, reply.operation, NULL, NULL, NULL, err);
}

/* ---- the log ---- */

/* As it is; on a terminal as text, with what would control that made visible. */
static void print_log(const struct strbuf *log)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;

	if (!isatty(STDOUT_FILENO)) {
		fwrite(log->data, 1, log->len, stdout);
		return;
	}
	for (size_t i = 0; i < log->len; i++)
		if (log->data[i] && !(log->data[i] == '\r' && i + 1 < log->len && strchr("\r\n", log->data[i + 1])))
			strbuf_append_char(&text, log->data[i]);
	cli_print_safe(strbuf_str(&text));
}

static int show_log(struct api *a, const char *instance, struct error *err)
{
	auto_free char *url = cli_url("/1.0/instances/%s/console", instance);
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	struct http_client_request req = {.method = "GET", .path = url};
	int r = api_send_raw(a, &req, &resp, err);

	if (r >= 0)
		r = api_response_error(&resp, err);
	if (r < 0)
		return r;
	printf("\nConsole log:\n\n");
	print_log(&resp.body);
	putchar('\n');
	return 0;
}

static int run_console(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	const char *type = option_str(c->options, "type");
	bool log = option_bool(c->options, "show-log");
	int r = check_type(type, err);

	if (r >= 0 && log && !streq(type, "console"))
		r = error_set(err, 400, "The --show-log flag is only supported for by 'console' output type");
	if (r >= 0)
		r = target_open_named(c, cli_arg(c, 0), "instance", &t, err);
	if (r < 0)
		return r;
	return log ? show_log(t.api, t.name, err) : console_attach(t.api, t.name, type, err);
}

static const struct option_row console_options[] = {
	{"show-log", 0, OPTION_BOOL, NULL, "Show what was written to the console lately"},
	{"type", 't', OPTION_STRING, "console", "Type of connection: console or vga"},
	OPTION_END,
};

const struct command cmd_console = {
	.name = "console",
	.args = "[<remote>:]<instance>",
	.min_args = 1,
	.max_args = 1,
	.options = console_options,
	.run = run_console,
	.doc = "Attach to an instance's console",
	.more = "Ctrl+a q leaves the console, Ctrl+a Ctrl+a types one Ctrl+a. One client at a time is attached.",
};
