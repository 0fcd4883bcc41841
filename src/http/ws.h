/*
 * Server side of websockets (RFC 6455 by wslay): all upgraded sockets live in the event loop's thread. A socket
 * either carries messages (events, control) or is a stream tied to a file descriptor (exec), where an empty text
 * frame stands for end of file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/loop.h"
#include "http/server.h"

struct ws;

struct ws_callbacks {
	/* A whole message; NULL: messages are read and dropped. */
	void (*message)(struct ws *ws, bool text, const void *data, size_t len, void *arg);
	/* The socket is gone; @ws is freed after the call. Called exactly once. Required. */
	void (*closed)(struct ws *ws, void *arg);
	void *arg;
};

/*
 * Fill @resp so that the server upgrades the connection, if the request asks for a websocket; else an error (400).
 * @ready(fd, handle, arg) then runs in the connection's thread: it hands over by loop_post() and ws_new().
 */
int ws_accept(const struct http_request *req, struct http_response *resp, http_upgrade_fn ready, void *arg,
	      struct error *err);

/* All of the following in the loop's thread only. */

/* Take the upgraded socket; sends pings every 10 s. @extra is what the client sent already. */
struct ws *ws_new(struct loop *l, int fd, void *handle, const void *extra, size_t extra_len,
		  const struct ws_callbacks *cb);
/*
 * Send a message. When more than @queue_max bytes wait already (0: no limit) the peer is too slow: the
 * socket is closed and false returned.
 */
bool ws_send(struct ws *ws, bool text, const void *data, size_t len, size_t queue_max);
/* Copy what @fd (non-blocking, owned) yields to the peer as binary frames; at its end send an empty text frame. */
void ws_set_source(struct ws *ws, int fd);
/* Sent as a binary frame when the source has ended, before the empty text frame; borrowed, of static life. */
void ws_set_farewell(struct ws *ws, const char *text);
/* The source's writer must never wait: what the peer does not take in time it misses. */
void ws_set_lossy(struct ws *ws);
/* The source's writer has ended: send what can still be read at once, then the end marker, and say goodbye. */
void ws_finish_source(struct ws *ws);
/* Write what the peer sends to @fd (non-blocking, owned); its end-of-stream frame closes @fd. */
void ws_set_sink(struct ws *ws, int fd);
/* Give up the sink and close its fd, if it is still open. */
void ws_close_sink(struct ws *ws);
/* Say goodbye when all queued data is out; closed() follows. */
void ws_close(struct ws *ws);
/* Close at once; closed() is called before this returns. */
void ws_abort(struct ws *ws);
