#include "api/events.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "http/ws.h"

#define QUEUE_MAX (4 * 1024 * 1024) /* a listener this far behind is dropped */
#define ATTACH_MS 10000             /* from the 101 answer until its socket must be ours */

static const char *const type_names[] = {"operation", "lifecycle", "logging"};

/* Lives in the loop's thread from its first post on. */
struct listener {
	struct events *events;
	uint64_t number;
	unsigned types; /* bit per event_type */
	char *project;  /* NULL: all */
	struct identity id;
	struct ws *ws; /* NULL until the socket has been upgraded: events wait in early */
	struct strv early;
	struct loop_timer *attach_timer;
	struct listener *next;
	/* the upgraded socket on its way to the loop */
	int fd;
	void *handle;
	void *extra;
	size_t extra_len;
};

struct events {
	struct loop *loop;
	struct listener *listeners;         /* loop thread */
	_Atomic int wanted[EVENT_TYPE_MAX]; /* listeners per type, counted before the client hears of its success */
	_Atomic uint64_t numbered;          /* listeners so far */
	int64_t attach_ms;
};

struct event {
	struct events *events;
	enum event_type type;
	char *project;
	char *text;
};

struct events *events_new(struct loop *l)
{
	struct events *e = xnew(struct events);

	e->loop = l;
	e->attach_ms = ATTACH_MS;
	return e;
}

void events_set_attach_time(struct events *e, int64_t ms)
{
	e->attach_ms = ms;
}

static void listener_free(struct listener *l)
{
	for (int t = 0; t < EVENT_TYPE_MAX; t++)
		if (l->types & (1u << t))
			l->events->wanted[t]--;
	strv_done(&l->early);
	free(l->project);
	free(l->extra);
	free(l);
}

void events_free(struct events *e)
{
	if (!e)
		return;
	while (e->listeners) {
		struct listener *l = e->listeners;

		e->listeners = l->next;
		listener_free(l);
	}
	free(e);
}

bool events_wanted(struct events *e, enum event_type type)
{
	return e->wanted[type] > 0;
}

static void unlink_listener(struct listener *l)
{
	for (struct listener **at = &l->events->listeners; *at; at = &(*at)->next) {
		if (*at == l) {
			*at = l->next;
			break;
		}
	}
	listener_free(l);
}

static void on_closed(struct ws *ws UNUSED, void *arg)
{
	struct listener *l = arg;

	l->ws = NULL;
	unlink_listener(l);
}

static bool wants(const struct listener *l, const struct event *ev)
{
	if (!(l->types & (1u << ev->type)))
		return false;
	if (ev->project && l->project && !streq(ev->project, l->project))
		return false;
	if (identity_is_admin(&l->id))
		return true;
	return ev->project && authorize(&l->id, PERM_PROJECT_VIEW, ev->project);
}

static void deliver(void *arg)
{
	struct event *ev = arg;
	struct listener *next;

	for (struct listener *l = ev->events->listeners; l; l = next) {
		next = l->next;
		if (!wants(l, ev))
			continue;
		if (l->ws)
			ws_send(l->ws, /* text= */ true, ev->text, strlen(ev->text), QUEUE_MAX);
		else
			strv_add(&l->early, ev->text);
	}
	free(ev->project);
	free(ev->text);
	free(ev);
}

void events_publish(struct events *e, enum event_type type, const char *project, const char *metadata)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	struct event *ev;

	if (!events_wanted(e, type))
		return;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "type", type_names[type]);
	jsonw_kv_time(&w, "timestamp", time_now_ns());
	jsonw_kv_raw(&w, "metadata", metadata);
	jsonw_kv_str(&w, "location", "none");
	if (project)
		jsonw_kv_str(&w, "project", project);
	jsonw_object_end(&w);
	strbuf_append_char(&b, '\n');
	ev = xnew(struct event);
	ev->events = e;
	ev->type = type;
	ev->project = xstrdup_null(project);
	ev->text = strbuf_take(&b);
	loop_post(e->loop, deliver, ev);
}

static void on_attach_timeout(void *arg)
{
	unlink_listener(arg);
}

/* First post: the listener hears events from now on, before the client knows that it is connected. */
static void listener_add(void *arg)
{
	struct listener *l = arg;

	l->next = l->events->listeners;
	l->events->listeners = l;
	l->attach_timer = loop_timer_add(l->events->loop, l->events->attach_ms, on_attach_timeout, l);
}

/*
 * Second post: the socket has arrived. The listener may have timed out, and its memory may be another caller's: it is
 * known by its number alone.
 */
struct attach {
	uint64_t listener;
	struct events *events;
	int fd;
	void *handle;
	void *extra;
	size_t extra_len;
};

static void listener_attach(void *arg)
{
	auto_free struct attach *a = arg;
	auto_free void *extra = a->extra;
	struct listener *l = a->events->listeners;
	struct ws_callbacks cb = {.closed = on_closed};

	while (l && l->number != a->listener)
		l = l->next;
	if (!l || l->ws) {
		http_upgrade_close(a->handle);
		return;
	}
	loop_timer_cancel(l->attach_timer);
	l->attach_timer = NULL;
	cb.arg = l;
	l->ws = ws_new(l->events->loop, a->fd, a->handle, extra, a->extra_len, &cb);
	for (size_t i = 0; l->ws && i < l->early.len; i++)
		if (!ws_send(l->ws, true, l->early.items[i], strlen(l->early.items[i]), QUEUE_MAX))
			return;
	strv_done(&l->early);
}

static void on_upgraded(int fd, void *handle, const void *extra, size_t extra_len, void *arg)
{
	struct attach *a = arg;

	a->fd = fd;
	a->handle = handle;
	a->extra = xmemdup(extra, extra_len);
	a->extra_len = extra_len;
	loop_post(a->events->loop, listener_attach, a);
}

static int parse_types(const char *text, const struct identity *id, unsigned *ret, struct error *err)
{
	auto_strv struct strv parts = STRV_INIT;
	bool admin = identity_is_admin(id);

	*ret = 0;
	if (str_is_empty(text))
		text = admin ? "operation,lifecycle,logging" : "operation,lifecycle";
	strv_split(&parts, text, ',');
	for (size_t i = 0; i < parts.len; i++) {
		int t = 0;

		while (t < EVENT_TYPE_MAX && !streq(parts.items[i], type_names[t]))
			t++;
		if (t == EVENT_TYPE_MAX)
			return error_set(err, 400, "\"%s\" isn't a supported event type", parts.items[i]);
		if (t == EVENT_LOGGING && !admin)
			return error_set(err, 403, "Forbidden");
		*ret |= 1u << t;
	}
	return 0;
}

int events_accept(struct events *e, const struct http_request *req, struct http_response *resp, const char *types,
		  const char *project, const struct identity *id, struct error *err)
{
	struct listener *l;
	struct attach *a;
	unsigned mask;
	int r = parse_types(types, id, &mask, err);

	if (r < 0)
		return r;
	a = xnew(struct attach);
	r = ws_accept(req, resp, on_upgraded, a, err);
	if (r < 0) {
		free(a);
		return r;
	}
	l = xnew(struct listener);
	l->events = e;
	l->types = mask;
	l->project = xstrdup_null(project);
	l->id = *id;
	l->number = a->listener = ++e->numbered;
	a->events = e;
	for (int t = 0; t < EVENT_TYPE_MAX; t++)
		if (mask & (1u << t))
			e->wanted[t]++;
	loop_post(e->loop, listener_add, l);
	return 0;
}

static void close_all(void *arg)
{
	struct events *e = arg;
	struct listener *next;

	for (struct listener *l = e->listeners; l; l = next) {
		next = l->next;
		if (l->ws)
			ws_abort(l->ws);
	}
}

void events_close(struct events *e)
{
	loop_post(e->loop, close_all, e);
}
