/*
 * Operations: background work that a client can look at, wait for, cancel or connect to. An operation ends exactly
 * once, stays readable for five seconds after its end, and every change is published as an event.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/events.h"
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
	/* The work, in a thread of its own; its result ends the operation. Required. */
	int (*run)(struct operation *op, void *arg, struct error *err);
	/* Ask the work to stop; NULL: it cannot be cancelled. Any thread. */
	void (*cancel)(struct operation *op, void *arg);
	/* A websocket for @secret arrives (OPERATION_WEBSOCKET). */
	int (*connect)(struct operation *op, void *arg, const char *secret, const struct http_request *req,
		       struct http_response *resp, struct error *err);
	void (*arg_free)(void *arg);
	void *arg; /* owned by the operation, freed when nobody can reach it any more */
};

/* The list of operations; @l runs their timers, @e gets an event for each change. Both must outlive it. */
struct operations *operations_new(struct loop *l, struct events *e);
void operations_free(struct operations *ops);

/*
 * Make an operation (spec is copied, arg taken); the caller holds a reference. Add resources and metadata, then
 * operation_start(), from which on others find it.
 */
struct operation *operation_new(struct operations *ops, const struct operation_spec *spec);
/* Name an object that is worked on: operation_add_resource(op, "instances", "/1.0/instances/c1"). Before start. */
void operation_add_resource(struct operation *op, const char *kind, const char *url);
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
/* Append the operation object. */
void operation_render(struct operation *op, struct jsonw *w);
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
/* How many have not ended. */
size_t operations_running(struct operations *ops);
