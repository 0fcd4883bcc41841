/*
 * Operations: background work that a client can look at, wait for, cancel or connect to. An operation ends exactly
 * once, stays readable for five seconds after its end, and every change is published as an event.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/events.h"
#include "auth/authorize.h"
#include "base/error.h"
#include "base/jsonw.h"
#include "http/server.h"

enum operation_class { OPERATION_TASK, OPERATION_WEBSOCKET, OPERATION_TOKEN };

struct operation;
struct operations;

struct operation_spec {
	enum operation_class class;
	const char *description; /* constant */
	const char *project;     /* NULL: of the server */
	/* Who asked for it: sees its secrets and may cancel it. NONE: the server itself. */
	struct identity creator;
	/* Who else, beside administrators, may cancel it: whoever has this in its project. PERM_INVALID: nobody. */
	enum permission cancel_perm;
	/* The work, in a thread of its own; its result ends the operation. NULL: there is none, the operation runs
	   until operation_end(), or until it is cancelled. */
	int (*run)(struct operation *op, void *arg, struct error *err);
	/* Ask the work to stop; NULL: it cannot be cancelled. Any thread. */
	void (*cancel)(struct operation *op, void *arg);
	/* Without work: what must be undone, durably, before it counts as cancelled; failure leaves it running. NULL:
	   it cannot be cancelled. */
	int (*withdraw)(struct operation *op, void *arg, struct error *err);
	/* A websocket for @secret arrives (OPERATION_WEBSOCKET). */
	int (*connect)(struct operation *op, void *arg, const char *secret, const struct http_request *req,
		       struct http_response *resp, struct error *err);
	void (*arg_free)(void *arg);
	void *arg; /* owned by the operation, freed when nobody can reach it any more */
	/* For one that comes back after a restart: its id (NULL: a new one) and time. */
	const char *id;
	int64_t created_ns;
};

/* The list of operations; @l runs their timers, @e gets an event for each change. Both must outlive it. */
struct operations *operations_new(struct loop *l, struct events *e);
void operations_free(struct operations *ops);

/*
 * Make an operation (spec is copied, arg taken); the caller holds a reference. Add resources and metadata, then
 * operation_start(), from which on others find it.
 */
struct operation *operation_new(struct operations *ops, const struct operation_spec *spec);
/* Name an object that is worked on: operation_add_resource(op, "instances", "/1.0/instances/c1"). Before start. Outside
 * the default project ?project= is added. */
void operation_add_resource(struct operation *op, const char *kind, const char *url);
/*
 * Members of the metadata that only its creator sees, and of tokens administrators too: JSON text, "\"fds\":{...}"
 * (copied, wiped in the end). They are in no event. Before start.
 */
void operation_set_private(struct operation *op, const char *members);
/* What lets a stranger wait for it (?secret=). Copied. Before start. */
void operation_set_secret(struct operation *op, const char *secret);
/* Publish it and start the thread. Failure to start ends the operation with that error. */
void operation_start(struct operation *op);

/* One more owner; gives @op back. */
struct operation *operation_ref(struct operation *op);
void operation_unref(struct operation *op);
DEFINE_CLEANUP(struct operation *, operation_unref)

/* Its UUID, and its project (NULL: none); valid as long as @op. */
const char *operation_id(const struct operation *op);
const char *operation_project(const struct operation *op);
/* Replace the metadata (JSON object text, copied); published when @publish. */
void operation_set_metadata(struct operation *op, const char *json, bool publish);
bool operation_is_cancelled(struct operation *op);
/* May @id know of it: what is in a project by the right to view it, what is the server's only administrators. */
const struct identity *operation_creator(const struct operation *op);
bool operation_visible(const struct operation *op, const struct identity *id);
/* May @id cancel it? */
bool operation_cancellable_by(const struct operation *op, const struct identity *id);
/* Is @secret, not empty, the one of operation_set_secret()? Constant time. */
bool operation_secret_fits(const struct operation *op, const char *secret);
/* Append the operation object as @viewer (NULL: anybody) may see it. */
void operation_render(struct operation *op, const struct identity *viewer, struct jsonw *w);
/* End one that has no work, as cancelled; harmless when it has ended. */
void operation_end(struct operation *op);
/* Wait for the end; @timeout_ms < 0: for ever. True when it has ended. */
bool operation_wait(struct operation *op, int64_t timeout_ms);

/* Found by id, referenced; NULL when unknown. */
struct operation *operation_find(struct operations *ops, const char *id);
/* Errors: 400 when it cannot be cancelled or has ended. */
int operation_cancel(struct operation *op, struct error *err);
int operation_connect(struct operation *op, const char *secret, const struct http_request *req,
		      struct http_response *resp, struct error *err);
/* Call @fn for each, newest last, that belongs to @project (NULL: all) or to no project; @fn borrows. */
void operations_each(struct operations *ops, const char *project, void (*fn)(struct operation *op, void *arg),
		     void *arg);
const char *operation_status_name(struct operation *op);
/* How many have not ended, of those that work. */
size_t operations_running(struct operations *ops);
/* The same of those that @id has made. */
size_t operations_running_of(struct operations *ops, const struct identity *id);
