/* The event stream: who listens, and sending to all of them without ever waiting for a slow one. */
#pragma once

#include <stdbool.h>

#include "auth/authorize.h"
#include "base/error.h"
#include "base/loop.h"
#include "http/server.h"

enum event_type { EVENT_OPERATION, EVENT_LIFECYCLE, EVENT_LOGGING, EVENT_TYPE_MAX };

struct events;

/* The hub of the event sockets; they are served by @l, which must outlive it. */
struct events *events_new(struct loop *l);
/* For tests: how long a listener waits for its socket. */
void events_set_attach_time(struct events *e, int64_t ms);
/* After the loop has stopped. */
void events_free(struct events *e);
/* Does anybody listen to @type? For sparing work; a false answer is final for events made before the call. */
bool events_wanted(struct events *e, enum event_type type);
/*
 * Send to every listener of @type that sees @project (NULL: the server's own, for administrators). @metadata is JSON
 * text. Any thread; events of one thread keep their order.
 */
void events_publish(struct events *e, enum event_type type, const char *project, const char *metadata);
/*
 * Answer GET /1.0/events: @types is the comma list of the query or NULL, @project NULL means all projects. @id gets
 * what it may view; the log is for administrators: 403 `Forbidden` when others name it.
 */
int events_accept(struct events *e, const struct http_request *req, struct http_response *resp, const char *types,
		  const char *project, const struct identity *id, struct error *err);
/* Close all listeners; for shutdown. */
void events_close(struct events *e);
