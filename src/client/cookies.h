/*
 * A cookie jar, and its file as the reference client keeps it in jars/<remote>: a JSON array of cookies, guarded by a
 * lock file beside it. A cookie goes back only to the host that set it: there is no sharing between hosts of a domain,
 * nor between ports of one host.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "client/weburl.h"

#define COOKIE_NEVER INT64_MAX /* of .expires: as long as the program runs, or for ever */

struct cookie {
	char *name, *value;
	char *host;     /* that set it, in lower case */
	unsigned port;  /* that set it; 0: unknown, it comes from a file */
	char *path;     /* "/..." */
	bool secure;    /* over TLS only */
	bool http_only; /* kept for other clients */
	bool persistent;
	int64_t expires, creation, last_access, updated; /* ns */
};

struct cookie_jar {
	struct cookie *items;
	size_t len;
};

#define COOKIE_JAR_INIT ((struct cookie_jar){0})
#define auto_cookie_jar CLEANUP(cookie_jar_done)
void cookie_jar_done(struct cookie_jar *jar);

/* Set by @origin: @expires in ns, COOKIE_NEVER for a cookie of this session. One that has expired is removed. */
void cookie_jar_set(struct cookie_jar *jar, const struct web_url *origin, const char *name, const char *value,
		    const char *path, int64_t expires);
/* What a Set-Cookie header of @origin says; several may be joined by commas. What is malformed is left out. */
void cookie_jar_take_header(struct cookie_jar *jar, const struct web_url *origin, const char *header);
/* "a=1; b=2" for a request to @url; "" when there is none. */
void cookie_jar_header(struct cookie_jar *jar, const struct web_url *url, struct strbuf *ret);

/* The text of a file: malformed text gives no cookies, malformed entries are left out. */
void cookie_jar_parse(struct cookie_jar *jar, const char *text, size_t len);
/* Persistent ones that have not expired, in the file's order. "null\n" when there is none. */
void cookie_jar_format(struct cookie_jar *jar, struct strbuf *ret);

/* A missing file is an empty jar. */
int cookie_jar_load(struct cookie_jar *jar, const char *path, struct error *err);
/* The file is read again first: of two cookies with one name, the one set later stays. The folder is made. */
int cookie_jar_save(struct cookie_jar *jar, const char *path, struct error *err);
