/*
 * Two servers that cannot reach each other, with this client between them: control and fs of one are tied to control
 * and fs of the other, message by message. In a thread of its own, while the command waits for the operation.
 */
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"
#include "client/migrate.h"
#include "http/wsclient.h"

#define QUEUE_MAX (1024 * 1024)        /* bytes that wait for one side before the other is read on */
#define TURN_MAX (256 * 1024)          /* bytes read in one turn */
#define MESSAGE_MAX (64 * 1024 * 1024) /* headers of instances with many snapshots are large */
#define LINGER_MS 5000                 /* after the operation has ended */

enum { CONTROL_A, CONTROL_B, FS_A, FS_B, SOCKETS };

struct end {
	struct wsclient *ws;
	struct end *other;
	bool goodbye; /* said to this one */
};

struct relay {
	struct end ends[SOCKETS]; /* the thread's while it runs */
	int stop_fd;
	pthread_t thread;
	bool running;
};

static void on_message(struct wsclient *ws UNUSED, bool text, const void *data, size_t len, void *arg)
{
	struct end *e = arg;

	if (e->other->ws)
		wsclient_send(e->other->ws, text, data, len);
}

/* When one end has gone, the other is told once it has got all. A close frame would overtake what waits. */
static int pass_goodbyes(struct relay *r)
{
	int open = 0;

	for (int k = 0; k < SOCKETS; k++) {
		struct end *e = &r->ends[k];

		if (!wsclient_is_open(e->ws))
			continue;
		if (!e->goodbye && !wsclient_is_open(e->other->ws) && !wsclient_queued(e->ws)) {
			wsclient_close(e->ws);
			e->goodbye = true;
		}
		open += wsclient_is_open(e->ws);
	}
	return open;
}

static void turn(struct relay *r, int timeout_ms, bool *stopping)
{
	struct pollfd p[SOCKETS + 1];
	bool extra = false;

	for (int k = 0; k < SOCKETS; k++) {
		struct wsclient *ws = r->ends[k].ws;
		bool room = wsclient_queued(r->ends[k].other->ws) < QUEUE_MAX;
		short events = wsclient_is_open(ws) ? wsclient_events(ws) : 0;

		events = (short)(room ? events : events & ~POLLIN);
		p[k] = (struct pollfd){.fd = events ? wsclient_fd(ws) : -1, .events = events};
		extra = extra || (room && wsclient_has_extra(ws));
	}
	p[SOCKETS] = (struct pollfd){.fd = *stopping ? -1 : r->stop_fd, .events = POLLIN};
	if (poll(p, SOCKETS + 1, extra ? 0 : timeout_ms) < 0)
		return;
	*stopping = *stopping || p[SOCKETS].revents;
	for (int k = 0; k < SOCKETS; k++) {
		struct wsclient *ws = r->ends[k].ws;
		short more = wsclient_has_extra(ws) && wsclient_queued(r->ends[k].other->ws) < QUEUE_MAX ? POLLIN : 0;

		if (p[k].revents | more)
			wsclient_process(ws, (short)(p[k].revents | more));
	}
}

static void *relay_thread(void *arg)
{
	struct relay *r = arg;
	int64_t end = INT64_MAX;
	bool stopping = false;

	while (pass_goodbyes(r) > 0 && time_monotonic_ms() < end) {
		bool before = stopping;

		turn(r, stopping ? 100 : -1, &stopping);
		if (stopping && !before)
			end = time_monotonic_ms() + LINGER_MS;
	}
	return NULL;
}

static int open_end(struct relay *r, int which, struct api *a, const char *operation, const struct json *secrets,
		    struct error *err)
{
	const char *name = which <= CONTROL_B ? "control" : "fs";
	const char *secret = json_get_str(secrets, name);
	auto_free char *escaped = secret ? url_escaped(secret) : NULL;
	auto_free char *id = xstrndup(operation, strcspn(operation, "?"));
	auto_free char *path = NULL;
	int rc;

	if (!secret)
		return error_set(err, 400, "Migration target didn't setup the required \"%s\" socket", name);
	path = xasprintf("%s/websocket?secret=%s", id, escaped);
	rc = wsclient_open(a->http, path, on_message, &r->ends[which], &r->ends[which].ws, err);
	if (rc == 0)
		wsclient_limit(r->ends[which].ws, TURN_MAX, MESSAGE_MAX);
	return rc;
}

int relay_start(struct api *a, const char *path_a, const struct json *secrets_a, struct api *b, const char *path_b,
		const struct json *secrets_b, struct relay **ret, struct error *err)
{
	struct relay *r = xnew(struct relay);
	int rc = 0;

	r->stop_fd = eventfd(0, EFD_CLOEXEC);
	for (int k = 0; k < SOCKETS; k++)
		r->ends[k].other = &r->ends[k ^ 1];
	for (int k = 0; k < SOCKETS && rc == 0; k++)
		rc = k % 2 == 0 ? open_end(r, k, a, path_a, secrets_a, err) : open_end(r, k, b, path_b, secrets_b, err);
	if (rc == 0)
		rc = thread_start_joinable("relay", relay_thread, r, &r->thread, err);
	if (rc < 0) {
		relay_stop(r);
		return rc;
	}
	r->running = true;
	*ret = r;
	return 0;
}

void relay_stop(struct relay *r)
{
	uint64_t one = 1;

	if (!r)
		return;
	(void)!write(r->stop_fd, &one, sizeof(one));
	if (r->running)
		pthread_join(r->thread, NULL);
	for (int k = 0; k < SOCKETS; k++)
		wsclient_free(r->ends[k].ws);
	fd_close(r->stop_fd);
	free(r);
}
