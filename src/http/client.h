/*
 * HTTP/1.1 client over a UNIX socket, or over TLS by way of lxd-dial: keep-alive, bodies streamed from and to files. A
 * connection serves one request at a time. Made for a short start-up: nothing here needs an HTTP or TLS library.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/strv.h"
#include "http/client_parse.h"
#include "http/dial.h"

#define HTTP_CLIENT_BODY_MAX (256u * 1024 * 1024)

struct http_client;

/* One piece of a request body: memory, or @len bytes of a file from its present position. */
struct http_piece {
	const void *data; /* NULL: read from fd */
	int fd;
	uint64_t len;
};

struct http_client_request {
	const char *method;
	const char *path;              /* with its query, already encoded */
	const char *const *headers;    /* "Name: value", NULL-terminated; may be NULL */
	const struct http_piece *body; /* pieces in order; the length is known before */
	size_t body_count;
	/* Sees the body of a response of status 200 instead of client_response.body; may be NULL. */
	http_data_fn sink;
	void *sink_arg;
	size_t body_max; /* of a body kept in memory; 0: HTTP_CLIENT_BODY_MAX */
	/* Sees the head of a response of status 200 before its body; negative gives up. May be NULL; gets sink_arg. */
	int (*on_head)(void *arg, const struct http_head *head, struct error *err);
	/* Called when a signal interrupted the wait for the answer, and at each tick of http_client_set_patience():
	   negative gives up (-EINTR). May be NULL. */
	int (*interrupted)(void *arg);
	void *interrupted_arg;
};

struct http_client_response {
	struct http_head head;
	struct strbuf body;
};

/* Answers a server's demand to log in; shared by all connections to it, and outlives them. */
struct http_login {
	/* Header lines ("Name: value") for a request to @path. */
	void (*headers)(const struct http_login *login, const char *path, struct strv *ret);
	/* @resp, the answer to @req, has status 401: 1 when the request is worth repeating now, 0 when not. */
	int (*refused)(const struct http_login *login, const struct http_client_request *req,
		       const struct http_client_response *resp, struct error *err);
};

#define HTTP_CLIENT_RESPONSE_INIT ((struct http_client_response){0})
#define auto_http_client_response CLEANUP(http_client_response_done)
void http_client_response_done(struct http_client_response *r);

/* Connect to the UNIX socket @path. Errors: the connect() errno, message naming the path. */
int http_client_new(const char *path, struct http_client **ret, struct error *err);
void http_client_free(struct http_client *c);
DEFINE_CLEANUP(struct http_client *, http_client_free)
#define auto_http_client CLEANUP(http_client_freep)
/* Plain HTTP over TCP to a loopback address or `localhost`, where nobody listens in; others are refused (400). */
struct http_client *http_client_new_loopback(const char *host, unsigned port);
/* For a server far away (@t is copied). Connects with the first request: its message then names what was asked for. */
struct http_client *http_client_new_remote(const struct dial_target *t);
/* One more to the same place. Errors as http_client_new(). */
int http_client_again(const struct http_client *c, struct http_client **ret, struct error *err);
bool http_client_is_remote(const struct http_client *c);
/* The socket's path, or host:port; borrowed. */
const char *http_client_where(const struct http_client *c);
/* What the server showed; empty for a UNIX socket, and before the first request. Borrowed until the next request. */
const struct dial_result *http_client_peer(const struct http_client *c);
/*
 * While waiting for the server, ask http_client_request.interrupted every @tick_ms; give up (504) when nothing came or
 * went for @stall_ms. For connections made from now on.
 */
void http_client_set_patience(struct http_client *c, unsigned tick_ms, unsigned stall_ms);

/* Borrowed by this connection and by those that http_client_again() makes of it. */
void http_client_set_login(struct http_client *c, const struct http_login *login);

/* Send and read the whole answer. Any HTTP status is a success here. */
int http_client_send(struct http_client *c, const struct http_client_request *req, struct http_client_response *resp,
		     struct error *err);
/*
 * Send a request that asks to upgrade; on status 101 the connection's fd, owned by the caller, and what arrived
 * behind the head in @ret_extra; @c is then only good for being freed. Other statuses: @resp is filled, -EPROTO.
 */
int http_client_upgrade(struct http_client *c, const struct http_client_request *req, struct http_client_response *resp,
			int *ret_fd, struct strbuf *ret_extra, struct error *err);

/* Percent-encode everything but unreserved characters into @out. */
void url_escape(struct strbuf *out, const char *text);
/* The same as a new string; the caller frees. */
char *url_escaped(const char *text);
