/*
 * The meeting of two servers: secrets that are handed out and the websockets that come for them, or the other server's
 * address and its secrets. Shared by the operation and the sockets on their way; freed when the last lets go.
 */
#pragma once

#include "api/operation.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "http/server.h"
#include "migration/link.h"

struct migration_session;

/* One that waits to be connected to; its secrets are made now. NULL never. */
struct migration_session *migration_session_new(void);
/*
 * One that connects: @j is an object with `operation` (URL), `certificate` (PEM; empty: what the system trusts) and
 * `secrets`. 400 for what is missing or malformed.
 */
int migration_session_new_dial(const struct json *j, struct migration_session **ret, struct error *err);
void migration_session_unref(struct migration_session *s);
bool migration_session_is_waiting(const struct migration_session *s);
/* Give the secrets to the creator of @op, before it starts. */
void migration_session_publish(struct migration_session *s, struct operation *op);
/* A socket for @secret, which is good once. Errors: 403 unknown or used. */
int migration_session_connect(struct migration_session *s, const char *secret, const struct http_request *req,
			      struct http_response *resp, struct error *err);
/* End whatever it is at; any thread. */
void migration_session_cancel(struct migration_session *s);
/*
 * Both sockets, waited for or connected. Errors: -ETIMEDOUT (400) `Timed out waiting for connections`; those of
 * the connection; -ECANCELED (400).
 */
int migration_session_link(struct migration_session *s, struct migration_link **ret, struct error *err);

/* What a migration_progress_fn wants: the operation, and the name to show. */
struct migration_progress {
	struct operation *op;
	const char *name;
};
/* Notes `fs_progress` in the operation's metadata. */
void migration_progress_note(void *progress, uint64_t bytes, uint64_t per_second);
