/*
 * Client side of a websocket (RFC 6455 by wslay) over a connection to the daemon, non-blocking, for a poll() loop
 * of the caller. Pings are answered inside.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct http_client;
struct wsclient;

/* A whole message arrived. */
typedef void (*wsclient_message_fn)(struct wsclient *ws, bool text, const void *data, size_t len, void *arg);

/*
 * Make a connection of its own to where @like leads, and upgrade GET @path (with its query). Errors: as
 * http_client_new(), or the status and the message the server answered with.
 */
int wsclient_open(const struct http_client *like, const char *path, wsclient_message_fn fn, void *arg,
		  struct wsclient **ret, struct error *err);
/*
 * The same for a socket that is upgraded already, in the role of the client or of the server: @fd is taken, and given
 * back through @close_fn(@close_arg) if that is not NULL. Bytes @extra arrived with the handshake. A message of more
 * than @message_max bytes ends the connection.
 */
struct wsclient *wsclient_adopt(int fd, bool server, const void *extra, size_t extra_len, size_t message_max,
				wsclient_message_fn fn, void *arg, void (*close_fn)(void *close_arg), void *close_arg);
void wsclient_free(struct wsclient *ws);
DEFINE_CLEANUP(struct wsclient *, wsclient_free)
#define auto_wsclient CLEANUP(wsclient_freep)

/* For poll(): the fd (-1 when closed), and the events to wait for. */
int wsclient_fd(const struct wsclient *ws);
short wsclient_events(const struct wsclient *ws);
/* Handle what poll() reported; messages are delivered from here. After a failure or a close the fd is -1. */
void wsclient_process(struct wsclient *ws, short revents);
/*
 * At most about @turn_max bytes are read by one wsclient_process() (default: all there is); what is left is reported
 * again by poll(), or by wsclient_has_extra() if it came with the handshake. A message of more than @message_max bytes
 * ends the connection.
 */
void wsclient_limit(struct wsclient *ws, size_t turn_max, size_t message_max);
bool wsclient_has_extra(const struct wsclient *ws);
/* Why it is closed: the peer said goodbye, rather than that the connection broke. */
bool wsclient_was_closed_by_peer(const struct wsclient *ws);
/* The status code of the peer's goodbye; 1006 when there was none. */
unsigned wsclient_close_code(const struct wsclient *ws);
/* Messages that arrived together with the answer; call once before the first poll(). */
void wsclient_process_extra(struct wsclient *ws);
bool wsclient_is_open(const struct wsclient *ws);
/* Bytes waiting to be sent: stop feeding above some limit. */
size_t wsclient_queued(const struct wsclient *ws);
/* Queue a message and try to send it. */
void wsclient_send(struct wsclient *ws, bool text, const void *data, size_t len);
/* Queue a close frame. */
void wsclient_close(struct wsclient *ws);
