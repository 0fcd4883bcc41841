/*
 * The two websockets between the servers of a migration, as this side has them: control carries messages, fs the bytes
 * of rsync, whose end is an empty text frame. Used by one thread; nothing blocks longer than asked for, and a cancel is
 * noticed at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/strbuf.h"

enum migration_socket { MIGRATION_CONTROL, MIGRATION_FS, MIGRATION_SOCKETS };

struct http_client;
struct migration_link;

/* @cancel_fd, borrowed, becomes readable when all shall end. */
struct migration_link *migration_link_new(int cancel_fd);
/* Goodbye to the peer, if it takes it within some seconds; NULL is fine. */
void migration_link_free(struct migration_link *l);
DEFINE_CLEANUP(struct migration_link *, migration_link_free)

/*
 * Add an upgraded socket: @fd is taken, @extra arrived with the handshake; @server is our role in it. @close_fn, if not
 * NULL, is called with @close_arg instead of closing the fd.
 */
void migration_link_attach(struct migration_link *l, enum migration_socket which, int fd, bool server,
			   const void *extra, size_t extra_len, void (*close_fn)(void *close_arg), void *close_arg);
/* Connect to GET @path of the server that @like leads to. Errors as wsclient_open(). */
int migration_link_dial(struct migration_link *l, enum migration_socket which, const struct http_client *like,
			const char *path, struct error *err);
bool migration_link_is_complete(const struct migration_link *l);
/* Send a control message. */
void migration_link_send(struct migration_link *l, const struct strbuf *message);
/*
 * The next control message. Errors: -ETIMEDOUT (504) after @timeout_ms; -ECANCELED (400); -ECONNRESET (500) the peer
 * has closed.
 */
int migration_link_recv(struct migration_link *l, int timeout_ms, struct strbuf *ret, struct error *err);
