/*
 * The websockets of one exec or console: they connect by secret, are tied to the command's pipes or terminal in the
 * event loop, and are let go when it has ended. Shared by the operation and the sockets; freed when the last lets go.
 */
#pragma once

#include "base/jsonw.h"
#include "base/loop.h"
#include "http/server.h"
#include "instance/container.h"

struct exec_session;

enum exec_session_kind {
	EXEC_SESSION_STREAMS,  /* sockets "0", "1", "2", of which each is one stream */
	EXEC_SESSION_TERMINAL, /* "0" for both ways */
	EXEC_SESSION_CONSOLE,  /* the same; ends when any socket closes, takes no signals, need not have "control" */
};

/* There is "control" besides in all kinds. */
struct exec_session *exec_session_new(struct loop *l, enum exec_session_kind kind);
void exec_session_unref(struct exec_session *s);
/* Append {"0":secret,...,"control":secret}. */
void exec_session_render_fds(struct exec_session *s, struct jsonw *w);
/* A socket for @secret. Errors: 403 unknown, 400 `Websocket number already connected`. */
int exec_session_connect(struct exec_session *s, const char *secret, const struct http_request *req,
			 struct http_response *resp, struct error *err);
/* Wait until the needed sockets are there; -ETIMEDOUT with the reference's text after @timeout_ms. */
int exec_session_wait(struct exec_session *s, int64_t timeout_ms, struct error *err);
/*
 * Tie the sockets to the command. @fds: our ends of stdin (write), stdout, stderr (read), or the terminal in fds[0];
 * all taken. @x stays the caller's until exec_session_end() has returned.
 */
void exec_session_run(struct exec_session *s, struct container_exec *x, const int fds[3]);
/* The same for a console; @con stays the caller's, but for its pty_fd and tty_fd. Who leaves detaches from it. */
void exec_session_run_console(struct exec_session *s, struct container_console *con);
/* The command has ended, or never began: flush what it wrote and close the sockets. */
void exec_session_end(struct exec_session *s);
