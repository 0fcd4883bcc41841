/*
 * Requests that a browser makes for somebody else's page: what may be read is said by CORS headers (none by default),
 * and what changes something, or opens a websocket, is refused unless it comes from our own pages or the configured
 * origin.
 */
#pragma once

#include "api/api.h"

/* 403 `Forbidden Origin header value`, `Forbidden Sec-Fetch-Site header value`. Local callers are no browsers. */
int origin_check(const struct api_call *c, struct error *err);
/* The Access-Control-* headers of any answer; none below /internal. */
void origin_add_headers(struct api *api, const struct http_request *req, struct http_response *resp);
