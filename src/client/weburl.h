/* Absolute URLs of web servers, as identity providers and cookies have them; pure parsing. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define WEB_URL_MAX 8192

struct web_url {
	bool tls;      /* false: http, to this machine only */
	char *host;    /* without brackets, in lower case */
	unsigned port; /* 1 to 65535 */
	char *path;    /* "/..." with its query, without fragment */
};

#define WEB_URL_INIT ((struct web_url){0})
#define auto_web_url CLEANUP(web_url_done)
void web_url_done(struct web_url *u);

/*
 * "https://host[:port][/path][?query][#fragment]". http:// is for loopback addresses and `localhost` alone. Refused
 * (400): other schemes, user names, control characters, blanks, quotes, more than WEB_URL_MAX bytes.
 */
int web_url_parse(const char *text, struct web_url *ret, struct error *err);
/* What @reference, absolute or relative, means on the page @base. */
int web_url_resolve(const struct web_url *base, const char *reference, struct web_url *ret, struct error *err);
/* The URL as text, without the port that its scheme has anyway; the caller frees. */
char *web_url_text(const struct web_url *u);
/* The path without its query; the caller frees. */
char *web_url_plain_path(const struct web_url *u);
/* Add "name=value", the value percent-encoded, to the query. */
void web_url_add_query(struct web_url *u, const char *name, const char *value);
/* The machine itself: 127.0.0.0/8, ::1, `localhost`. */
bool web_host_is_loopback(const char *host);
