/*
 * The HTTP/1.1 server around libmicrohttpd: plain sockets, one thread per connection, so that handlers may
 * block. What the library does stays in server.c; the API layer sees requests and responses only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/strbuf.h"

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_PATCH,
	HTTP_DELETE,
	HTTP_OPTIONS,
	HTTP_METHOD_MAX,
	HTTP_METHOD_INVALID = -1,
};

/* "GET" and so on; a constant. */
const char *http_method_name(enum http_method m);

/*
 * A connection that came through lxd-gate, as the gate describes it; lives as long as its connection. Immutable but for
 * what the server notes at the end. Only
 * the leaf is here: it is the certificate whose key was proven.
 */
struct http_tls_peer {
	uint64_t connection;  /* the gate's number for it */
	bool metrics;         /* through the metrics listener */
	char *address;        /* "192.0.2.1:4000" */
	char *host;           /* "192.0.2.1" */
	char fingerprint[65]; /* SHA-256 of the leaf, lower-case hex; "" without certificate */
	unsigned char *leaf;  /* DER; NULL without certificate */
	size_t leaf_len;
	int64_t not_before; /* seconds since the epoch */
	int64_t not_after;
	unsigned verdict;     /* enum wire_gate_verdict */
	unsigned tls_version; /* 0x0303, 0x0304 */
	char *cipher;
	bool claimed;      /* http_server_claim() counts it */
	bool unlimited;    /* and its certificate may have any number */
	_Atomic bool busy; /* a request is being served, or the connection has been upgraded */
	int fd;
	struct http_tls_peer *next, **link; /* of the server's connections; its lock */
};

/* Who is at the other end, by the door through which the connection came. */
struct http_peer {
	bool local; /* UNIX socket */
	uid_t uid;
	pid_t pid;
	const struct http_tls_peer *tls; /* through the gate; NULL for local connections */
};

/* Frees what it holds, too. NULL is fine. */
void http_tls_peer_free(struct http_tls_peer *p);

struct http_request;

/* Receives a body that is not to be kept in memory; a negative return refuses the rest (err becomes the answer). */
typedef int (*http_sink_fn)(struct http_request *req, const void *data, size_t len, struct error *err);

struct http_request {
	enum http_method method;
	const char *method_name; /* as sent */
	const char *path;        /* as sent: percent-encoded, starts with '/' */
	struct http_peer peer;
	struct strbuf body; /* unless a sink took it */
	bool close_after;   /* set by the begin callback or the handler: the answer ends the connection */
	size_t body_max;    /* set by the begin callback; more is answered with 413 */
	http_sink_fn sink;  /* set by the begin callback */
	/* Set by the begin callback or the handler: whose rights a websocket runs on; copied when it is made. */
	const void *owner;
	size_t owner_len;
	bool foreign; /* they are not the connection's own: another showed a secret for it */
	void *user;   /* the API layer's own */
	void (*user_free)(void *user);
	/* Set by the handler: called when the answer has gone out, or its receiver has. */
	void (*done)(void *done_arg);
	void *done_arg;
	void *library; /* server.c */
};

/* A query parameter, percent-decoded, or NULL; borrowed for the life of the request. */
const char *http_query(const struct http_request *req, const char *name);
/* A header by name (any case), or NULL. */
const char *http_header(const struct http_request *req, const char *name);
/* Each value of a header that may come several times. */
void http_each_header(const struct http_request *req, const char *name, void (*fn)(const char *value, void *arg),
		      void *arg);
/* Percent-decode @len bytes of @s; NULL when it holds a bad escape or a NUL byte. The caller frees. */
char *http_decode(const char *s, size_t len);
/* Percent-encode for use as one path segment or query value; the caller frees. */
char *http_encode(const char *s);

/* Takes the upgraded socket, which it closes through http_upgrade_close(). Runs in the connection's thread. */
typedef void (*http_upgrade_fn)(int fd, void *handle, const void *extra, size_t extra_len, void *arg);
/* End an upgraded connection; the library closes the socket. From any thread. */
void http_upgrade_close(void *handle);

struct http_response {
	int status;
	struct strbuf body;
	int fd; /* >= 0: the body is this file, owned by the response */
	struct {
		char *name;
		char *value;
	} headers[12];
	size_t n_headers;
	http_upgrade_fn upgrade; /* with status 101 */
	void *upgrade_arg;
};

/* Both are copied. */
void http_response_header(struct http_response *resp, const char *name, const char *value);

struct http_handlers {
	/* Called when the headers are in: sets body_max, sink, user. A negative return answers with @err at once. */
	int (*begin)(struct http_request *req, void *arg, struct error *err);
	/* Called when the body is complete; fills @resp. */
	void (*handle)(struct http_request *req, struct http_response *resp, void *arg);
	/* Fills @resp from an error of the server itself (body too large and the like). */
	void (*fail)(struct http_response *resp, const struct error *err, void *arg);
	/* Adds to every answer, also of the server itself, before it is sent. May be NULL. */
	void (*finish)(struct http_request *req, struct http_response *resp, void *arg);
	/* Are the rights of @owner (http_request.owner) still what they were? Short; called with a lock held. */
	bool (*holds)(const void *owner, void *arg);
	void *arg;
};

struct http_server;

/* Serve connections of the listening socket @fd (owned by the server from now on). */
int http_server_start(int fd, const struct http_handlers *handlers, struct http_server **ret, struct error *err);
/*
 * Serve a connection that came through the gate: @fd (taken) is the plain stream, @peer (taken) who is at its end. Any
 * thread. 503 when there are too many connections; 500 for what is no nameless UNIX stream.
 */
int http_server_add(struct http_server *s, int fd, struct http_tls_peer *peer, struct error *err);
/*
 * Trust has changed: cut the websockets whose owners are trusted less than when they opened them. With @authority, what
 * certificate authorities say has changed: a foreign websocket's owner cannot be judged again by it, and is cut. Any
 * thread.
 */
void http_server_recheck(struct http_server *s, bool authority);
/*
 * End the gate's connection @number if no request is being served on it: true. The gate must have sent nothing since
 * the last answer. Where a certificate may have so many connections only they stay: the gate counts none. Any thread.
 */
bool http_server_park(struct http_server *s, uint64_t number);
/*
 * The connection's certificate is one that is known, and may have @max connections at once: 1 the first time, 0 later,
 * -EUSERS when there are too many. From the connection's own thread.
 */
int http_server_claim(struct http_server *s, const struct http_tls_peer *p, unsigned max);
/* Stop accepting; running requests go on. */
void http_server_quiesce(struct http_server *s);
/* Close all connections and free. Websockets must be closed before. */
void http_server_free(struct http_server *s);
