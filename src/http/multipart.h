/* Streaming reader of multipart/form-data bodies. */
#pragma once

#include "base/error.h"
#include "http/server.h"

struct http_multipart;

/*
 * A piece of the part called @name; one without bytes at @offset 0 begins it. A negative return stops the upload with
 * err.
 */
typedef int (*http_part_fn)(void *arg, const char *name, uint64_t offset, const void *data, size_t len,
			    struct error *err);

/* For a request whose Content-Type is multipart/form-data with a boundary; else 400. */
int http_multipart_new(struct http_request *req, http_part_fn fn, void *arg, struct http_multipart **ret,
		       struct error *err);
int http_multipart_feed(struct http_multipart *m, const void *data, size_t len, struct error *err);
/* The body is complete; 400 when the last boundary is missing. Frees @m in any case. */
int http_multipart_finish(struct http_multipart *m, struct error *err);
void http_multipart_free(struct http_multipart *m);
