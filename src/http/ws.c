#include "http/ws.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <nettle/sha1.h>
#include <wslay/wslay.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/str.h"

#define PING_MS 10000
#define CLOSE_MS 5000
#define MESSAGE_MAX (1024 * 1024)
#define CHUNK (128 * 1024)
#define READ_BUDGET (1024 * 1024) /* bytes read from one socket before others get their turn */
#define QUEUED_MAX 1024           /* frames that wait for a peer: empty ones count too */
#define FRAGMENTS_MAX 1024        /* of one message: each costs more memory than its bytes */
#define HIGH_WATER (256 * 1024)   /* stop reading one side while this much waits for the other */

struct ws {
	struct loop *loop;
	int fd;
	void *handle;
	wslay_event_context_ptr ctx;
	struct loop_source *src;
	struct loop_timer *ping;
	struct loop_timer *close_timer;
	struct ws_callbacks cb;
	unsigned char *extra; /* bytes that came with the upgrade request */
	size_t extra_len, extra_at;
	bool close_wanted;  /* say goodbye when the queue is empty: the library sends control frames first */
	bool closing;       /* close frame queued: nothing new is sent */
	size_t budget;      /* bytes that may still be read in this turn */
	unsigned fragments; /* of the message that is coming in */
	bool busy;          /* inside a callback: freeing waits */
	bool dead;

	int source_fd;
	struct loop_source *source; /* NULL while paused */
	char *chunk;                /* read buffer of the source */
	bool source_paused;
	bool source_finishing; /* nothing more to read now means nothing more will come */
	bool source_lossy;     /* read on, and drop it, when the peer is slow */
	const char *farewell;  /* at the source's end; NULL: none */

	int sink_fd;
	struct loop_source *sink; /* only while data waits */
	struct strbuf pending;    /* for the sink */
	size_t pending_at;
	bool sink_eof; /* close the sink when pending is out */
};

static bool update(struct ws *ws);
static void on_source(struct loop_source *src, uint32_t events, void *arg);
static void on_socket(struct loop_source *src, uint32_t events, void *arg);

int ws_accept(const struct http_request *req, struct http_response *resp, http_upgrade_fn ready, void *arg,
	      struct error *err)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	const char *upgrade = http_header(req, "Upgrade"), *key = http_header(req, "Sec-WebSocket-Key");
	const char *version = http_header(req, "Sec-WebSocket-Version");
	unsigned char digest[SHA1_DIGEST_SIZE];
	auto_free char *answer = NULL;
	struct sha1_ctx sha;

	if (!upgrade || strcasecmp(upgrade, "websocket") != 0 || !key || strlen(key) > 64 || req->method != HTTP_GET)
		return error_set(err, 400, "Not a websocket request");
	if (!version || !streq(version, "13"))
		return error_set(err, 400, "Unsupported websocket version");
	sha1_init(&sha);
	sha1_update(&sha, strlen(key), (const uint8_t *)key);
	sha1_update(&sha, sizeof(guid) - 1, (const uint8_t *)guid);
	sha1_digest(&sha, sizeof(digest), digest);
	answer = base64_encode(digest, sizeof(digest));
	resp->status = 101;
	resp->upgrade = ready;
	resp->upgrade_arg = arg;
	http_response_header(resp, "Upgrade", "websocket");
	http_response_header(resp, "Sec-WebSocket-Accept", answer);
	return 0;
}

static size_t queued(struct ws *ws)
{
	return wslay_event_get_queued_msg_length(ws->ctx);
}

/* Is there room for what the peer may send: on the way to the sink, and of answers that it does not take? */
static bool may_read(struct ws *ws)
{
	return ws->pending.len < HIGH_WATER && queued(ws) < HIGH_WATER &&
	       wslay_event_get_queued_msg_count(ws->ctx) < QUEUED_MAX;
}

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags UNUSED, void *user)
{
	struct ws *ws = user;
	ssize_t n;

	if (ws->dead) {
		wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
		return -1;
	}
	/* leave the rest in the socket: its sender then waits, and other sockets get their turn */
	if (!may_read(ws) || ws->budget == 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (ws->extra_at < ws->extra_len) {
		size_t take = MIN_OF(len, ws->extra_len - ws->extra_at);

		memcpy(buf, ws->extra + ws->extra_at, take);
		ws->extra_at += take;
		return (ssize_t)take;
	}
	do
		n = recv(ws->fd, buf, len, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		ws->budget -= MIN_OF(ws->budget, (size_t)n);
		return n;
	}
	if (n < 0 && errno == EAGAIN) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *user)
{
	struct ws *ws = user;
	ssize_t n;

	do
		n = send(ws->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL | ((flags & WSLAY_MSG_MORE) ? MSG_MORE : 0));
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	wslay_event_set_error(ctx, errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static void close_source(struct ws *ws)
{
	loop_remove(ws->source);
	ws->source = NULL;
	ws->source_fd = fd_close(ws->source_fd);
	free(ws->chunk);
	ws->chunk = NULL;
}

void ws_close_sink(struct ws *ws)
{
	loop_remove(ws->sink);
	ws->sink = NULL;
	ws->sink_fd = fd_close(ws->sink_fd);
	strbuf_done(&ws->pending);
	ws->pending_at = 0;
}

/* Write what waits for the sink; a sink that nobody reads any more is closed. */
static void flush_sink(struct ws *ws)
{
	while (ws->sink_fd >= 0 && ws->pending_at < ws->pending.len) {
		ssize_t n = write(ws->sink_fd, ws->pending.data + ws->pending_at, ws->pending.len - ws->pending_at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			ws_close_sink(ws);
			return;
		}
		ws->pending_at += (size_t)n;
	}
	strbuf_truncate(&ws->pending, 0);
	ws->pending_at = 0;
	if (ws->sink_eof)
		ws_close_sink(ws);
}

static void on_sink(struct loop_source *src UNUSED, uint32_t events UNUSED, void *arg)
{
	struct ws *ws = arg;

	flush_sink(ws);
	update(ws);
}

static void on_frame(wslay_event_context_ptr ctx UNUSED, const struct wslay_event_on_frame_recv_start_arg *f,
		     void *user)
{
	struct ws *ws = user;

	if (wslay_is_ctrl_frame(f->opcode))
		return;
	ws->fragments = f->opcode == WSLAY_CONTINUATION_FRAME ? ws->fragments + 1 : 1;
	if (ws->fragments > FRAGMENTS_MAX)
		ws->dead = true;
}

static void on_message(wslay_event_context_ptr ctx UNUSED, const struct wslay_event_on_msg_recv_arg *m, void *user)
{
	struct ws *ws = user;
	bool text = m->opcode == WSLAY_TEXT_FRAME;

	if (wslay_is_ctrl_frame(m->opcode))
		return;
	if (ws->sink_fd >= 0) {
		if (text && m->msg_length == 0)
			ws->sink_eof = true;
		else
			strbuf_append_len(&ws->pending, m->msg, m->msg_length);
		flush_sink(ws);
	} else if (ws->cb.message) {
		ws->cb.message(ws, text, m->msg, m->msg_length, ws->cb.arg);
	}
}

static void destroy(struct ws *ws)
{
	loop_remove(ws->src);
	close_source(ws);
	ws_close_sink(ws);
	loop_timer_cancel(ws->ping);
	loop_timer_cancel(ws->close_timer);
	wslay_event_context_free(ws->ctx);
	free(ws->extra);
	shutdown(ws->fd, SHUT_RDWR);
	http_upgrade_close(ws->handle);
	ws->cb.closed(ws, ws->cb.arg);
	free(ws);
}

void ws_abort(struct ws *ws)
{
	if (ws->busy)
		ws->dead = true;
	else
		destroy(ws);
}

static void queue(struct ws *ws, uint8_t opcode, const void *data, size_t len)
{
	struct wslay_event_msg msg = {.opcode = opcode, .msg = data, .msg_length = len};

	if (!ws->closing)
		wslay_event_queue_msg(ws->ctx, &msg);
}

static void on_close_timeout(void *arg)
{
	struct ws *ws = arg;

	ws->close_timer = NULL;
	ws_abort(ws);
}

/* A peer that does not take what waits, or does not answer the goodbye, is cut off. */
static void begin_close(struct ws *ws)
{
	if (ws->close_wanted)
		return;
	ws->close_wanted = true;
	ws->close_timer = loop_timer_add(ws->loop, CLOSE_MS, on_close_timeout, ws);
}

static void send_queued(struct ws *ws)
{
	if (!ws->dead && wslay_event_want_write(ws->ctx) && wslay_event_send(ws->ctx) != 0)
		ws->dead = true;
}

/* Read the source while the peer keeps up; at its end tell the peer by an empty text frame. */
static void pump_source(struct ws *ws)
{
	size_t budget = READ_BUDGET; /* of a lossy source: others have their turn, too */

	while (ws->source_fd >= 0 && (ws->source_lossy ? budget > 0 : queued(ws) < HIGH_WATER)) {
		ssize_t n = read(ws->source_fd, ws->chunk, CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && !ws->source_finishing)
			break;
		if (n > 0) {
			budget -= MIN_OF(budget, (size_t)n);
			if (queued(ws) < HIGH_WATER)
				queue(ws, WSLAY_BINARY_FRAME, ws->chunk, (size_t)n);
			/* the peer is alive while it takes data: the time to say goodbye in starts anew */
			if (ws->close_timer) {
				loop_timer_cancel(ws->close_timer);
				ws->close_timer = loop_timer_add(ws->loop, CLOSE_MS, on_close_timeout, ws);
			}
			continue;
		}
		/* a pty master gives EIO when the last slave is closed */
		close_source(ws);
		if (ws->farewell)
			queue(ws, WSLAY_BINARY_FRAME, ws->farewell, strlen(ws->farewell));
		queue(ws, WSLAY_TEXT_FRAME, "", 0);
		if (ws->source_finishing)
			begin_close(ws);
	}
}

static void on_source(struct loop_source *src UNUSED, uint32_t events UNUSED, void *arg)
{
	struct ws *ws = arg;

	ws->busy = true;
	pump_source(ws);
	ws->busy = false;
	update(ws);
}

static void on_socket(struct loop_source *src UNUSED, uint32_t events, void *arg)
{
	struct ws *ws = arg;

	ws->busy = true;
	ws->budget = READ_BUDGET;
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && wslay_event_recv(ws->ctx) != 0)
		ws->dead = true;
	ws->busy = false;
	update(ws);
}

/* After anything happened: send what can be sent, then say what to wait for. Frees a dead socket. */
static bool update(struct ws *ws)
{
	uint32_t want = 0;

	ws->busy = true;
	send_queued(ws);
	if (!ws->dead && ws->source_paused && queued(ws) < HIGH_WATER) {
		pump_source(ws);
		send_queued(ws);
	}
	if (ws->close_wanted && !ws->closing && ws->source_fd < 0 && queued(ws) == 0) {
		wslay_event_queue_close(ws->ctx, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0);
		ws->closing = true;
		send_queued(ws);
	}
	ws->busy = false;
	if (ws->dead || (!wslay_event_want_read(ws->ctx) && !wslay_event_want_write(ws->ctx))) {
		destroy(ws);
		return false;
	}
	if (ws->sink_fd >= 0 && ws->pending.len && !ws->sink)
		ws->sink = loop_add(ws->loop, ws->sink_fd, EPOLLOUT, on_sink, ws);
	else if (ws->sink && !ws->pending.len) {
		loop_remove(ws->sink);
		ws->sink = NULL;
	}
	if (ws->source_fd >= 0) {
		ws->source_paused = !ws->source_lossy && queued(ws) >= HIGH_WATER;
		/* out of the poll set altogether: a hang-up would be reported again and again */
		if (ws->source_paused) {
			loop_remove(ws->source);
			ws->source = NULL;
		} else if (!ws->source) {
			ws->source = loop_add(ws->loop, ws->source_fd, EPOLLIN, on_source, ws);
		}
	}
	if (wslay_event_want_read(ws->ctx) && may_read(ws))
		want |= EPOLLIN;
	if (wslay_event_want_write(ws->ctx))
		want |= EPOLLOUT;
	/* nothing to wait for: out of the poll set, or a hang-up would be reported again and again */
	if (!want) {
		loop_remove(ws->src);
		ws->src = NULL;
	} else if (!ws->src) {
		ws->src = loop_add(ws->loop, ws->fd, want, on_socket, ws);
	} else {
		loop_modify(ws->src, want);
	}
	return true;
}

static void on_ping(void *arg)
{
	struct ws *ws = arg;

	queue(ws, WSLAY_PING, "keepalive", 9);
	ws->ping = loop_timer_add(ws->loop, PING_MS, on_ping, ws);
	update(ws);
}

struct ws *ws_new(struct loop *l, int fd, void *handle, const void *extra, size_t extra_len,
		  const struct ws_callbacks *cb)
{
	static const struct wslay_event_callbacks callbacks = {.recv_callback = on_recv,
							       .send_callback = on_send,
							       .on_frame_recv_start_callback = on_frame,
							       .on_msg_recv_callback = on_message};
	struct ws *ws = xnew(struct ws);

	ws->loop = l;
	ws->fd = fd;
	ws->handle = handle;
	ws->cb = *cb;
	ws->source_fd = ws->sink_fd = -EBADF;
	if (extra_len) {
		ws->extra = xmemdup(extra, extra_len);
		ws->extra_len = extra_len;
	}
	wslay_event_context_server_init(&ws->ctx, &callbacks, ws);
	wslay_event_config_set_max_recv_msg_length(ws->ctx, MESSAGE_MAX);
	ws->src = loop_add(l, fd, EPOLLIN, on_socket, ws);
	/* none at once, as the reference does: ws4py, and so pylxd, answers one thread's ping while another closes, and
	   over TLS loses what came in between */
	ws->ping = loop_timer_add(l, PING_MS, on_ping, ws);
	return ws;
}

bool ws_send(struct ws *ws, bool text, const void *data, size_t len, size_t queue_max)
{
	if (queue_max && queued(ws) > queue_max) {
		ws_abort(ws);
		return false;
	}
	queue(ws, text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME, data, len);
	return ws->busy || update(ws);
}

void ws_set_source(struct ws *ws, int fd)
{
	fd_set_nonblock(fd, true);
	ws->chunk = xmalloc(CHUNK);
	ws->source_fd = fd;
	ws->source_paused = false;
	ws->source = loop_add(ws->loop, fd, EPOLLIN, on_source, ws);
}

void ws_set_farewell(struct ws *ws, const char *text)
{
	ws->farewell = text;
}

void ws_set_lossy(struct ws *ws)
{
	ws->source_lossy = true;
}

void ws_set_sink(struct ws *ws, int fd)
{
	fd_set_nonblock(fd, true);
	ws->sink_fd = fd;
}

void ws_finish_source(struct ws *ws)
{
	ws->source_finishing = true;
	if (ws->source_fd < 0)
		begin_close(ws);
	if (ws->busy)
		return;
	ws->busy = true;
	pump_source(ws);
	ws->busy = false;
	update(ws);
}

void ws_close(struct ws *ws)
{
	begin_close(ws);
	if (!ws->busy)
		update(ws);
}
