#include "api/exec_session.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "api/console_input.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"
#include "http/ws.h"

enum { SLOT_0, SLOT_1, SLOT_2, SLOT_CONTROL, SLOTS };

static const char *const slot_names[] = {"0", "1", "2", "control"};

/* A socket on its way from the connection's thread to the loop. */
struct slot {
	char *secret; /* NULL: this session has no such socket */
	bool taken;   /* its secret was used */
	bool arrived; /* the fields below are set */
	int fd;
	void *handle;
	void *extra;
	size_t extra_len;
};

struct exec_session {
	_Atomic int refs;
	struct loop *loop;
	enum exec_session_kind kind;
	struct mutex lock;
	struct cond changed;
	struct slot slots[SLOTS] GUARDED_BY(lock);
	bool over GUARDED_BY(lock);                         /* nothing may connect any more */
	struct container_exec *x GUARDED_BY(lock);          /* while the command runs */
	struct container_console *console GUARDED_BY(lock); /* while attached to it */

	/* the loop's thread only */
	bool running;
	bool control_seen;
	int fds[3];
	int pty;     /* for the terminal's size, or -EBADF */
	int monitor; /* the monitor's side of a console, or -EBADF */
	struct console_input *input;
	struct ws *ws[SLOTS];
};

/* What a socket's callbacks know. */
struct socket_ref {
	struct exec_session *session;
	int slot;
};

struct exec_session *exec_session_new(struct loop *l, enum exec_session_kind kind) UNSHARED
{
	struct exec_session *s = xnew(struct exec_session);

	s->refs = 1;
	s->loop = l;
	s->kind = kind;
	mutex_init(&s->lock);
	cond_init(&s->changed);
	for (int k = 0; k < SLOTS; k++)
		if (kind == EXEC_SESSION_STREAMS || k == SLOT_0 || k == SLOT_CONTROL)
			s->slots[k].secret = random_hex(32);
	for (int k = 0; k < 3; k++)
		s->fds[k] = -EBADF;
	s->pty = -EBADF;
	s->monitor = -EBADF;
	return s;
}

static struct exec_session *session_ref(struct exec_session *s)
{
	s->refs++;
	return s;
}

void exec_session_unref(struct exec_session *s) UNSHARED
{
	if (!s || --s->refs > 0)
		return;
	for (int k = 0; k < SLOTS; k++) {
		if (s->slots[k].arrived)
			http_upgrade_close(s->slots[k].handle);
		free(s->slots[k].secret);
		free(s->slots[k].extra);
	}
	for (int k = 0; k < 3; k++)
		fd_close(s->fds[k]);
	fd_close(s->pty);
	fd_close(s->monitor);
	cond_done(&s->changed);
	mutex_done(&s->lock);
	free(s);
}

void exec_session_render_fds(struct exec_session *s, struct jsonw *w)
{
	jsonw_object_begin(w);
	mutex_lock(&s->lock);
	for (int k = 0; k < SLOTS; k++)
		if (s->slots[k].secret)
			jsonw_kv_str(w, slot_names[k], s->slots[k].secret);
	mutex_unlock(&s->lock);
	jsonw_object_end(w);
}

/* --- the loop's side --- */

static void kill_command(struct exec_session *s)
{
	auto_error struct error err = ERROR_INIT;

	mutex_lock(&s->lock);
	if (s->x && container_exec_signal(s->x, SIGKILL, &err) < 0)
		error_ignore(&err, "it has ended already");
	if (s->console)
		container_console_detach(s->console);
	mutex_unlock(&s->lock);
}

/* Does nobody watch the command any more? Control did if there was one, else who reads its output. */
static bool ends_with(const struct exec_session *s, int slot)
{
	if (slot == SLOT_CONTROL || s->kind == EXEC_SESSION_CONSOLE)
		return true;
	return !s->control_seen && slot == (s->kind == EXEC_SESSION_STREAMS ? SLOT_1 : SLOT_0);
}

static void on_closed(struct ws *ws UNUSED, void *arg)
{
	struct socket_ref *ref = arg;
	struct exec_session *s = ref->session;

	s->ws[ref->slot] = NULL;
	if (s->running && ends_with(s, ref->slot))
		kill_command(s);
	exec_session_unref(s);
	free(ref);
}

static void control_resize(struct exec_session *s, const struct json *args)
{
	const char *w = json_get_str(args, "width"), *h = json_get_str(args, "height");
	auto_error struct error err = ERROR_INIT;
	uint32_t width, height;

	if (!w || !h || parse_u32(w, &width) < 0 || parse_u32(h, &height) < 0 || width > 65535 || height > 65535)
		return;
	if (s->pty >= 0 && container_exec_resize(s->pty, width, height, &err) < 0)
		error_ignore(&err, "it has ended already");
}

static void control_signal(struct exec_session *s, int64_t signum)
{
	auto_error struct error err = ERROR_INIT;

	if (signum < 1 || signum >= NSIG)
		return;
	mutex_lock(&s->lock);
	if (s->x && container_exec_signal(s->x, (int)signum, &err) < 0)
		error_ignore(&err, "it has ended already");
	mutex_unlock(&s->lock);
}

/* Unknown or malformed messages are ignored, as newer clients may send more. */
static void on_control(struct ws *ws UNUSED, bool text UNUSED, const void *data, size_t len, void *arg)
{
	struct socket_ref *ref = arg;
	struct exec_session *s = ref->session;
	auto_json struct json *j = NULL;
	auto_error struct error err = ERROR_INIT;
	const char *command;

	if (!len || json_parse(data, len, &j, &err) < 0)
		return;
	command = json_get_str(j, "command");
	if (command && streq(command, "window-resize") && s->kind != EXEC_SESSION_STREAMS)
		control_resize(s, json_get(j, "args"));
	else if (command && streq(command, "signal") && s->kind != EXEC_SESSION_CONSOLE)
		control_signal(s, json_int(json_get(j, "signal")));
}

/* Make websockets of what has arrived, and tie the streams once the command runs. */
static void attach(struct exec_session *s, int k)
{
	struct ws_callbacks cb = {.closed = on_closed, .message = k == SLOT_CONTROL ? on_control : NULL};
	struct slot slot;
	struct socket_ref *ref;

	mutex_lock(&s->lock);
	slot = s->slots[k];
	s->slots[k].arrived = false;
	s->slots[k].extra = NULL;
	mutex_unlock(&s->lock);
	if (!slot.arrived)
		return;
	ref = xnew(struct socket_ref);
	ref->session = session_ref(s);
	ref->slot = k;
	cb.arg = ref;
	if (k == SLOT_CONTROL)
		s->control_seen = true;
	s->ws[k] = ws_new(s->loop, slot.fd, slot.handle, slot.extra, slot.extra_len, &cb);
	free(slot.extra);
}

static void tie_terminal(struct exec_session *s)
{
	if (!s->ws[SLOT_0] || s->fds[0] < 0)
		return;
	ws_set_sink(s->ws[SLOT_0], fcntl(s->fds[0], F_DUPFD_CLOEXEC, 3));
	ws_set_source(s->ws[SLOT_0], TAKE_FD(s->fds[0]));
}

/* The console's monitor must be kept waiting neither by what it has for us nor by what we have for it. */
static void tie_console(struct exec_session *s)
{
	auto_error struct error err = ERROR_INIT;
	int typed;

	if (!s->ws[SLOT_0] || s->fds[0] < 0)
		return;
	ws_set_farewell(s->ws[SLOT_0], "\n\r");
	ws_set_lossy(s->ws[SLOT_0]);
	s->monitor = fcntl(s->fds[0], F_DUPFD_CLOEXEC, 3);
	if (console_input_new(s->loop, s->pty, s->monitor, &s->input, &typed, &err) == 0)
		ws_set_sink(s->ws[SLOT_0], typed);
	else
		error_ignore(&err, "out of fds: it can be watched at least");
	ws_set_source(s->ws[SLOT_0], TAKE_FD(s->fds[0]));
}

static void tie_streams(struct exec_session *s)
{
	if (s->ws[SLOT_0] && s->fds[0] >= 0)
		ws_set_sink(s->ws[SLOT_0], TAKE_FD(s->fds[0]));
	for (int k = SLOT_1; k <= SLOT_2; k++)
		if (s->ws[k] && s->fds[k] >= 0)
			ws_set_source(s->ws[k], TAKE_FD(s->fds[k]));
}

static void run_in_loop(void *arg)
{
	static void (*const tie[])(struct exec_session *) = {
		[EXEC_SESSION_STREAMS] = tie_streams,
		[EXEC_SESSION_TERMINAL] = tie_terminal,
		[EXEC_SESSION_CONSOLE] = tie_console,
	};
	struct exec_session *s = arg;

	s->running = true;
	/* control last: what it says goes to a command whose streams are tied */
	for (int k = 0; k < SLOTS; k++)
		attach(s, k);
	tie[s->kind](s);
	exec_session_unref(s);
}

/* control may come after the start where it is not waited for. */
static void late_in_loop(void *arg)
{
	struct exec_session *s = arg;

	if (s->running)
		attach(s, SLOT_CONTROL);
	exec_session_unref(s);
}

static void end_in_loop(void *arg)
{
	struct exec_session *s = arg;

	s->running = false;
	console_input_free(s->input);
	s->input = NULL;
	/* an open copy would keep the terminal's other end from seeing us leave */
	s->monitor = fd_close(s->monitor);
	s->pty = fd_close(s->pty);
	for (int k = 0; k < SLOTS; k++)
		attach(s, k);
	if (s->ws[SLOT_CONTROL])
		ws_close(s->ws[SLOT_CONTROL]);
	for (int k = 0; k < SLOT_CONTROL; k++) {
		if (!s->ws[k])
			continue;
		if (k == SLOT_0)
			ws_close_sink(s->ws[k]);
		ws_finish_source(s->ws[k]);
	}
	exec_session_unref(s);
}

/* --- the other threads' side --- */

static void on_upgraded(int fd, void *handle, const void *extra, size_t extra_len, void *arg)
{
	struct socket_ref *ref = arg;
	struct exec_session *s = ref->session;
	struct slot *slot = &s->slots[ref->slot];
	bool late = false;

	mutex_lock(&s->lock);
	slot->arrived = true;
	slot->fd = fd;
	slot->handle = handle;
	slot->extra = xmemdup(extra, extra_len);
	slot->extra_len = extra_len;
	late = s->x || s->console;
	cond_broadcast(&s->changed);
	mutex_unlock(&s->lock);
	if (late)
		loop_post(s->loop, late_in_loop, session_ref(s));
	exec_session_unref(s);
	free(ref);
}

int exec_session_connect(struct exec_session *s, const char *secret, const struct http_request *req,
			 struct http_response *resp, struct error *err)
{
	struct socket_ref *ref;
	int found = -1, r = 0;

	mutex_lock(&s->lock);
	/* every secret is compared, so that time tells nothing */
	for (int k = 0; k < SLOTS; k++)
		if (s->slots[k].secret && secret_equal(s->slots[k].secret, secret))
			found = k;
	if (found < 0 || s->over)
		r = error_set(err, 403, "permission denied");
	else if (s->slots[found].taken)
		r = error_set(err, 400, "Websocket number already connected");
	else
		s->slots[found].taken = true;
	mutex_unlock(&s->lock);
	if (r < 0)
		return r;
	ref = xnew(struct socket_ref);
	ref->session = session_ref(s);
	ref->slot = found;
	r = ws_accept(req, resp, on_upgraded, ref, err);
	if (r < 0) {
		mutex_lock(&s->lock);
		s->slots[found].taken = false;
		mutex_unlock(&s->lock);
		exec_session_unref(s);
		free(ref);
	}
	return r;
}

static bool complete_locked(const struct exec_session *s) REQUIRES(s->lock)
{
	if (s->kind == EXEC_SESSION_CONSOLE)
		return s->slots[SLOT_0].arrived;
	if (s->kind == EXEC_SESSION_TERMINAL)
		return s->slots[SLOT_0].arrived && s->slots[SLOT_CONTROL].arrived;
	return s->slots[SLOT_0].arrived && s->slots[SLOT_1].arrived && s->slots[SLOT_2].arrived;
}

int exec_session_wait(struct exec_session *s, int64_t timeout_ms, struct error *err)
{
	int64_t deadline = time_monotonic_ms() + timeout_ms;
	bool complete;

	mutex_lock(&s->lock);
	while (!complete_locked(s) && cond_wait_until(&s->changed, &s->lock, deadline))
		;
	complete = complete_locked(s);
	if (!complete)
		s->over = true;
	mutex_unlock(&s->lock);
	if (complete)
		return 0;
	error_set(err, 400, "Timed out waiting for websockets to connect");
	return -ETIMEDOUT;
}

void exec_session_run(struct exec_session *s, struct container_exec *x, const int fds[3])
{
	/* the loop looks at them after the post */
	memcpy(s->fds, fds, sizeof(s->fds));
	if (s->kind == EXEC_SESSION_TERMINAL)
		s->pty = fcntl(fds[0], F_DUPFD_CLOEXEC, 3);
	mutex_lock(&s->lock);
	s->x = x;
	mutex_unlock(&s->lock);
	loop_post(s->loop, run_in_loop, session_ref(s));
}

void exec_session_run_console(struct exec_session *s, struct container_console *con)
{
	s->fds[0] = TAKE_FD(con->pty_fd);
	s->pty = TAKE_FD(con->tty_fd);
	mutex_lock(&s->lock);
	s->console = con;
	mutex_unlock(&s->lock);
	loop_post(s->loop, run_in_loop, session_ref(s));
}

void exec_session_end(struct exec_session *s)
{
	mutex_lock(&s->lock);
	s->x = NULL;
	s->console = NULL;
	s->over = true;
	mutex_unlock(&s->lock);
	loop_post(s->loop, end_in_loop, session_ref(s));
}
