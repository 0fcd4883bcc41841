/*
 * The REST API seen from a client: envelopes, errors, ETags, operations. What `lxc` and `lxd-admin` share.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"
#include "http/client.h"

struct api {
	struct http_client *http;
	char *project;                   /* added to every path that names none; NULL or "default": nothing is added */
	void (*debug)(const char *line); /* gets requests and replies, secrets and all; NULL: nobody does */
	/* A signal came while waiting: see http_client_request.interrupted. */
	int (*interrupted)(void *arg);
	void *interrupted_arg;
};

/* Where the daemon listens: $LXD_SOCKET, or unix.socket in $LXD_DIR or /var/lib/lxd; the caller frees. */
char *api_default_socket(void);
int api_open(const char *socket_path, const char *project, struct api **ret, struct error *err);
/* A server far away; connects with the first request, whose error then tells why it cannot be reached. */
struct api *api_open_remote(const struct dial_target *t, const char *project);
/* One more connection to the same place, for the same project. */
int api_open_again(const struct api *a, struct api **ret, struct error *err);
void api_close(struct api *a);
DEFINE_CLEANUP(struct api *, api_close)
#define auto_api CLEANUP(api_closep)

struct api_reply {
	int status;                  /* HTTP status, below 400 */
	struct json *body;           /* the envelope */
	const struct json *metadata; /* in it */
	char *etag;                  /* NULL: none was sent */
	char *operation; /* path of the operation (api_is_operation()) for an asynchronous answer, else NULL */
};

#define API_REPLY_INIT ((struct api_reply){0})
#define auto_api_reply CLEANUP(api_reply_done)
void api_reply_done(struct api_reply *r);

/*
 * One request with a JSON body (NULL: none); @etag (may be NULL) goes out as If-Match. An error envelope becomes an
 * error of its status with its text; an asynchronous answer without an operation is an error.
 */
int api_call(struct api *a, const char *method, const char *path, const char *body, const char *etag,
	     struct api_reply *ret, struct error *err);
int api_get(struct api *a, const char *path, struct api_reply *ret, struct error *err);
/* Does the server's object (the metadata of GET /1.0) name this API extension? */
bool api_has_extension(const struct json *server, const char *name);
/* The same for a request the caller has made (path without project); an envelope is expected as the answer. */
int api_send(struct api *a, const struct http_client_request *req, struct api_reply *ret, struct error *err);
/* The same, the answer as it is: error envelopes are left to api_response_error(). */
int api_send_raw(struct api *a, const struct http_client_request *req, struct http_client_response *resp,
		 struct error *err);
/* Fails with the text of the error envelope when @resp's status is 400 or more. */
int api_response_error(const struct http_client_response *resp, struct error *err);
/* Is @path one of an operation, "/1.0/operations/<uuid>" and perhaps a query? */
bool api_is_operation(const char *path);
/* @path with project= added as @a has it; the caller frees. */
char *api_path(const struct api *a, const char *path);

/* Sees a running operation object now and then. */
typedef void (*api_progress_fn)(void *arg, const struct json *operation);

/*
 * Wait for operation @path (as in api_reply.operation). With @progress the operation is read about once a second.
 * *@ret_op (unless NULL) is the final object, also when it failed: then the result is an error of status 400 with
 * the operation's text. Interrupted: -EINTR.
 */
int api_wait(struct api *a, const char *path, api_progress_fn progress, void *arg, struct json **ret_op,
	     struct error *err);
/* api_call() and, for an asynchronous answer, api_wait() without progress. */
int api_do(struct api *a, const char *method, const char *path, const char *body, const char *etag, struct error *err);
