#include "api/origin.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/str.h"

/* Must a page elsewhere not be able to make a browser send this? */
static bool is_guarded(const struct http_request *req)
{
	if (req->method == HTTP_GET || req->method == HTTP_HEAD)
		return http_header(req, "Upgrade") != NULL;
	return req->method != HTTP_OPTIONS;
}

static char *config_value(struct api *api, const char *key)
{
	char *value;

	mutex_lock(&api->store->lock);
	value = xstrdup(strmap_get_or(&api->store->config, key, ""));
	mutex_unlock(&api->store->lock);
	return value;
}

/* The page came from the server itself, or from where the administrator says. "*" is no origin. */
static bool is_trusted_origin(const struct api_call *c, const char *origin)
{
	const char *host = http_header(c->req, "Host");
	/* no browser says "wss"; ws4py, and with it pylxd, does */
	const char *rest = startswith(origin, "https://") ?: startswith(origin, "wss://");
	auto_free char *allowed = config_value(c->api, "core.https_allowed_origin");

	if (*allowed && streq(origin, allowed))
		return true;
	return rest && host && strcasecmp(rest, host) == 0;
}

int origin_check(const struct api_call *c, struct error *err)
{
	const char *origin = http_header(c->req, "Origin");
	const char *site = http_header(c->req, "Sec-Fetch-Site");

	if (c->req->peer.local || !is_guarded(c->req))
		return 0;
	if (origin && is_trusted_origin(c, origin))
		return 0;
	if (site && (strcasecmp(site, "cross-site") == 0 || strcasecmp(site, "same-site") == 0))
		return error_set(err, 403, "Forbidden Sec-Fetch-Site header value");
	return origin ? error_set(err, 403, "Forbidden Origin header value") : 0;
}

void origin_add_headers(struct api *api, const struct http_request *req, struct http_response *resp)
{
	static const struct {
		const char *key;
		const char *header;
	} rows[] = {
		{"core.https_allowed_origin", "Access-Control-Allow-Origin"},
		{"core.https_allowed_methods", "Access-Control-Allow-Methods"},
		{"core.https_allowed_headers", "Access-Control-Allow-Headers"},
	};
	const char *origin = http_header(req, "Origin");

	if (startswith(req->path, "/internal/") || req->peer.local)
		return;
	mutex_lock(&api->store->lock);
	for (size_t i = 0; origin && i < ARRAY_SIZE(rows); i++) {
		const char *value = strmap_get(&api->store->config, rows[i].key);

		if (!str_is_empty(value))
			http_response_header(resp, rows[i].header, value);
	}
	if (strmap_get_bool(&api->store->config, "core.https_allowed_credentials", false))
		http_response_header(resp, "Access-Control-Allow-Credentials", "true");
	mutex_unlock(&api->store->lock);
}
