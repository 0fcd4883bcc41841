/*
 * Requests to web servers that are no LXD: an identity provider's. The server is judged by the system's authorities, is
 * shown no certificate, gets its own cookies only, and may neither be endless in what it says nor in how long it takes.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strmap.h"
#include "client/cookies.h"
#include "client/weburl.h"

struct web {
	struct cookie_jar *jar; /* borrowed */
	bool loopback;          /* http:// and this machine are fine: whoever names the servers is on it, too */
};

struct web_answer {
	int status;
	struct strmap headers;
	struct json *doc; /* NULL when the body is no JSON */
};

#define WEB_ANSWER_INIT ((struct web_answer){0})
#define auto_web_answer CLEANUP(web_answer_done)
void web_answer_done(struct web_answer *a);

/* Longest wait for a whole answer, and for one that waits for a person. */
#define WEB_PATIENCE_MS (60u * 1000)
#define WEB_PERSON_MS (15u * 60 * 1000)

/*
 * GET, or POST @body (JSON; NULL: empty). Redirects of a GET are followed, five at most and never away from TLS. Any
 * HTTP status is a success.
 */
int web_send(const struct web *w, const char *method, const struct web_url *url, const char *body, unsigned patience_ms,
	     struct web_answer *ret, struct error *err);
/* Fails with what an answer of status 400 or more says, in the form "Post https://...: message". */
int web_answer_error(const struct web_answer *a, const char *method, const struct web_url *url, struct error *err);
