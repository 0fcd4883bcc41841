/* What an identity provider wants of the user before it discharges: a form, or a page in the browser. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "client/web.h"

/* What shows the provider that the user is who he says. */
struct interact_token {
	char *kind;
	struct strbuf value; /* any bytes */
};

#define INTERACT_TOKEN_INIT ((struct interact_token){0})
#define auto_interact_token CLEANUP(interact_token_done)
/* The value is wiped. */
void interact_token_done(struct interact_token *t);

/*
 * @wanted: the `Info` of an answer "interaction required" of the provider at @location (its path ends with a slash).
 * @domain (may be NULL) goes to a page in the browser. The oldest providers give the discharge itself instead of a
 * token: then *@ret_discharge is the answer that holds it, for the caller to free. What the provider says of itself
 * is shown without control characters; forms and waiting stay with its origin.
 */
int interact(const struct web *w, const struct web_url *location, const struct json *wanted, const char *domain,
	     struct interact_token *ret, struct json **ret_discharge, struct error *err);

/* The browser to open a page with: words of a command, without the page; empty when there is none. In browser.c. */
void browser_command(const char *browser, bool has_display, struct strv *ret);
/* Show the user the page: in the browser, when there is one, and as text on standard error in any case. */
void browser_show(const char *url);
