/* Websocket client around wslay's event API. */
#include "http/wsclient.h"

#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <nettle/base64.h>
#include <nettle/sha1.h>
#include <wslay/wslay.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "http/client.h"

#define MESSAGE_MAX (64u * 1024 * 1024)
#define KEY_BYTES 16
#define QUEUED_MAX 1024    /* frames that wait for the peer: answers to its pings too */
#define FRAGMENTS_MAX 1024 /* of one message: each costs more memory than its bytes */

struct wsclient {
	int fd;
	wslay_event_context_ptr ctx;
	wsclient_message_fn fn;
	void *arg;
	struct strbuf extra; /* arrived behind the answer's head, not yet seen by wslay */
	size_t extra_used;
	bool eof;
	unsigned fragments;       /* of the message that is arriving */
	size_t limit, budget;     /* bytes one turn may read, and of these still to go */
	void (*close_fn)(void *); /* of adopted sockets; NULL: close the fd */
	void *close_arg;
};

/* Who does not take the answers to its pings may not send more of them. */
static bool may_read(const struct wsclient *ws)
{
	return wslay_event_get_queued_msg_count(ws->ctx) < QUEUED_MAX;
}

static ssize_t recv_cb(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags UNUSED, void *user)
{
	struct wsclient *ws = user;
	size_t left = ws->extra.len - ws->extra_used;
	ssize_t n;

	if (!ws->budget || !may_read(ws)) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	len = MIN_OF(len, ws->budget);
	if (left) {
		n = (ssize_t)MIN_OF(left, len);
		ws->budget -= (size_t)n;
		memcpy(buf, ws->extra.data + ws->extra_used, (size_t)n);
		ws->extra_used += (size_t)n;
		return n;
	}
	do {
		n = recv(ws->fd, buf, len, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		ws->budget -= (size_t)n;
		return n;
	}
	if (n == 0)
		ws->eof = true;
	wslay_event_set_error(ctx, n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? WSLAY_ERR_WOULDBLOCK
										      : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t send_cb(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags UNUSED, void *user)
{
	struct wsclient *ws = user;
	ssize_t n;

	do {
		n = send(ws->fd, data, len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		wslay_event_set_error(ctx, errno == EAGAIN || errno == EWOULDBLOCK ? WSLAY_ERR_WOULDBLOCK
										   : WSLAY_ERR_CALLBACK_FAILURE);
	return n;
}

static int mask_cb(wslay_event_context_ptr ctx UNUSED, uint8_t *buf, size_t len, void *user UNUSED)
{
	return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -1;
}

static void message_cb(wslay_event_context_ptr ctx UNUSED, const struct wslay_event_on_msg_recv_arg *msg, void *user)
{
	struct wsclient *ws = user;

	if (msg->opcode == WSLAY_TEXT_FRAME || msg->opcode == WSLAY_BINARY_FRAME)
		ws->fn(ws, msg->opcode == WSLAY_TEXT_FRAME, msg->msg, msg->msg_length, ws->arg);
}

static void frame_cb(wslay_event_context_ptr ctx, const struct wslay_event_on_frame_recv_start_arg *frame, void *user)
{
	struct wsclient *ws = user;

	if (wslay_is_ctrl_frame(frame->opcode))
		return;
	ws->fragments = frame->opcode == WSLAY_CONTINUATION_FRAME ? ws->fragments + 1 : 0;
	if (ws->fragments > FRAGMENTS_MAX) {
		ws->eof = true;
		wslay_event_shutdown_read(ctx);
	}
}

static void accept_for_key(const char *key, char out[BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE) + 1])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	uint8_t digest[SHA1_DIGEST_SIZE];
	struct sha1_ctx sha;

	sha1_init(&sha);
	sha1_update(&sha, strlen(key), (const uint8_t *)key);
	sha1_update(&sha, sizeof(guid) - 1, (const uint8_t *)guid);
	sha1_digest(&sha, sizeof(digest), digest);
	base64_encode_raw(out, sizeof(digest), digest);
	out[BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE)] = '\0';
}

/* The server said no before the upgrade: its error text is better than ours. */
static void take_server_error(const struct http_client_response *resp, struct error *err)
{
	auto_json struct json *body = NULL;
	auto_error struct error e = ERROR_INIT;
	const char *text;

	if (json_parse(strbuf_str(&resp->body), resp->body.len, &body, &e) < 0) {
		error_ignore(&e, "not an API answer; the HTTP status says enough");
		return;
	}
	text = json_get_str(body, "error");
	if (!str_is_empty(text))
		error_set(err, resp->head.status >= 400 ? resp->head.status : 500, "%s", text);
}

static int handshake(const struct http_client *like, const char *path, struct wsclient *ws, struct error *err)
{
	auto_http_client struct http_client *c = NULL;
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	uint8_t raw[KEY_BYTES];
	char key[BASE64_ENCODE_RAW_LENGTH(KEY_BYTES) + 1] = "";
	char expected[BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE) + 1];
	auto_free char *key_header = NULL;
	int r;

	r = http_client_again(like, &c, err);
	if (r < 0)
		return r;
	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return error_errno(err, errno, "Get random bytes");
	base64_encode_raw(key, sizeof(raw), raw);
	key_header = xasprintf("Sec-WebSocket-Key: %s", key);
	const char *headers[] = {"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key_header,
				 NULL};
	struct http_client_request req = {.method = "GET", .path = path, .headers = headers};

	r = http_client_upgrade(c, &req, &resp, &ws->fd, &ws->extra, err);
	if (r == -EPROTO)
		take_server_error(&resp, err);
	if (r < 0)
		return r;
	accept_for_key(key, expected);
	if (!streq(strmap_get_or(&resp.head.headers, "sec-websocket-accept", ""), expected))
		return error_set(err, 500, "The server's answer to the websocket handshake is wrong");
	return 0;
}

static const struct wslay_event_callbacks callbacks = {
	.recv_callback = recv_cb,
	.send_callback = send_cb,
	.genmask_callback = mask_cb,
	.on_frame_recv_start_callback = frame_cb,
	.on_msg_recv_callback = message_cb,
};

struct wsclient *wsclient_adopt(int fd, bool server, const void *extra, size_t extra_len, size_t message_max,
				wsclient_message_fn fn, void *arg, void (*close_fn)(void *close_arg), void *close_arg)
{
	struct wsclient *ws = xnew(struct wsclient);
	int r;

	ws->fd = fd;
	ws->fn = fn;
	ws->arg = arg;
	ws->limit = SIZE_MAX;
	ws->close_fn = close_fn;
	ws->close_arg = close_arg;
	strbuf_append_len(&ws->extra, extra, extra_len);
	fd_set_nonblock(fd, true);
	r = server ? wslay_event_context_server_init(&ws->ctx, &callbacks, ws)
		   : wslay_event_context_client_init(&ws->ctx, &callbacks, ws);
	if (r != 0)
		abort(); /* out of memory */
	wsclient_limit(ws, SIZE_MAX, message_max);
	return ws;
}

int wsclient_open(const struct http_client *like, const char *path, wsclient_message_fn fn, void *arg,
		  struct wsclient **ret, struct error *err)
{
	auto_wsclient struct wsclient *ws = xnew(struct wsclient);
	int r;

	ws->fd = -EBADF;
	ws->limit = SIZE_MAX;
	ws->fn = fn;
	ws->arg = arg;
	r = handshake(like, path, ws, err);
	if (r < 0)
		return r;
	r = fd_set_nonblock(ws->fd, true);
	if (r < 0)
		return error_errno(err, -r, "Prepare the websocket");
	if (wslay_event_context_client_init(&ws->ctx, &callbacks, ws) != 0)
		return error_set(err, 507, "Out of memory for a websocket");
	wslay_event_config_set_max_recv_msg_length(ws->ctx, MESSAGE_MAX);
	*ret = TAKE_PTR(ws);
	return 0;
}

static void shut(struct wsclient *ws)
{
	if (ws->fd >= 0 && ws->close_fn) {
		shutdown(ws->fd, SHUT_RDWR);
		ws->close_fn(ws->close_arg);
		ws->fd = -EBADF;
	}
	ws->fd = fd_close(ws->fd);
}

void wsclient_free(struct wsclient *ws)
{
	if (!ws)
		return;
	if (ws->ctx)
		wslay_event_context_free(ws->ctx);
	shut(ws);
	strbuf_done(&ws->extra);
	free(ws);
}

/* Both sides have said all. */
static void shut_when_done(struct wsclient *ws)
{
	if (ws->eof || (!wslay_event_want_read(ws->ctx) && !wslay_event_want_write(ws->ctx)))
		shut(ws);
}

int wsclient_fd(const struct wsclient *ws)
{
	return ws->fd >= 0 ? ws->fd : -1;
}

short wsclient_events(const struct wsclient *ws)
{
	bool in = wslay_event_want_read(ws->ctx) && may_read(ws);

	return (short)((in ? POLLIN : 0) | (wslay_event_want_write(ws->ctx) ? POLLOUT : 0));
}

bool wsclient_is_open(const struct wsclient *ws)
{
	return ws->fd >= 0;
}

void wsclient_process(struct wsclient *ws, short revents)
{
	if (ws->fd < 0)
		return;
	ws->budget = ws->limit;
	/* what came with the handshake wakes nobody */
	if (((revents & (POLLIN | POLLHUP | POLLERR)) || (ws->extra.len > ws->extra_used && may_read(ws))) &&
	    wslay_event_recv(ws->ctx) != 0) {
		shut(ws);
		return;
	}
	if (wslay_event_want_write(ws->ctx) && wslay_event_send(ws->ctx) != 0) {
		shut(ws);
		return;
	}
	shut_when_done(ws);
}

void wsclient_process_extra(struct wsclient *ws)
{
	if (ws->extra.len > ws->extra_used)
		wsclient_process(ws, POLLIN);
}

void wsclient_limit(struct wsclient *ws, size_t turn_max, size_t message_max)
{
	ws->limit = turn_max;
	wslay_event_config_set_max_recv_msg_length(ws->ctx, message_max);
}

bool wsclient_has_extra(const struct wsclient *ws)
{
	return ws->fd >= 0 && ws->extra.len > ws->extra_used;
}

bool wsclient_was_closed_by_peer(const struct wsclient *ws)
{
	return wslay_event_get_close_received(ws->ctx);
}

unsigned wsclient_close_code(const struct wsclient *ws)
{
	return wsclient_was_closed_by_peer(ws) ? wslay_event_get_status_code_received(ws->ctx) : 1006;
}

size_t wsclient_queued(const struct wsclient *ws)
{
	return wslay_event_get_queued_msg_length(ws->ctx);
}

void wsclient_send(struct wsclient *ws, bool text, const void *data, size_t len)
{
	struct wslay_event_msg msg = {
		.opcode = text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME, .msg = data, .msg_length = len};

	if (ws->fd < 0)
		return;
	if (wslay_event_queue_msg(ws->ctx, &msg) != 0 || wslay_event_send(ws->ctx) != 0)
		shut(ws);
}

void wsclient_close(struct wsclient *ws)
{
	if (ws->fd < 0)
		return;
	if (wslay_event_queue_close(ws->ctx, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) != 0 || wslay_event_send(ws->ctx) != 0)
		shut(ws);
}
