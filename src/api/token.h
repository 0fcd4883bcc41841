/*
 * Tokens: invitations that whoever knows the secret may use once. Each is a row of the database, shown as an operation
 * of class token, and comes back as a running one after a restart. A use, or a cancellation, removes the row before
 * anything else happens: however the daemon ends, no token is good twice.
 */
#pragma once

#include "api/operation.h"
#include "db/db.h"

struct api;
struct api_call;
struct tokens;

/* What a kind of token is good for; the rows stand in token.c. */
struct token_view {
	char *project;
	char *metadata; /* JSON object text without the secret; NULL: {} */
	char *resource_kind;
	char *resource_url; /* NULL: no resource */
};

struct token_kind {
	const char *name;        /* column kind */
	const char *description; /* of the operation */
	/* Fill in @ret, all owned, from the row; also for tokens of before a restart. */
	void (*view)(struct api *api, const struct db_token *t, struct token_view *ret);
};

extern const struct token_kind token_kind_certificate; /* api_certificates.c */

/* Load the rows and make their operations; expired ones go. The loop and the list of operations are there. */
int tokens_new(struct api *api, struct db *db, struct tokens **ret, struct error *err);
/* From now on none expires; waits for those that do. While the loop is still there. */
void tokens_stop(struct tokens *t);
/* After the loop has gone. */
void tokens_free(struct tokens *t);

/* The database has dropped tokens: those that it no longer has end here too. */
void tokens_forget_dropped(struct tokens *t);

/* What the views of tokens show may be another now: addresses, the server's certificate. */
void tokens_refresh(struct tokens *t);

/*
 * Make a token, durably; @request is JSON text, for the kind. Gives an operation that api_async() starts. @expires_ns:
 * TIME_GO_ZERO is never.
 */
int token_issue(struct api_call *c, const struct token_kind *kind, const char *request, int64_t expires_ns,
		struct operation **ret, struct error *err);
/*
 * Use up the token of @kind with @secret for which @fits(row, arg) holds (NULL: any): once, durably, before this
 * returns. Secrets are compared in constant time. -ENOENT (403): none; -ETIME (403) `Token has expired`: used up all
 * the same; others: it is still there.
 */
int token_take(struct tokens *t, const struct token_kind *kind, const char *secret,
	       bool (*fits)(const struct db_token *row, void *arg), void *arg, struct db_token *ret, struct error *err);
