/*
 * Strict parsing of an HTTP/1.1 response, apart from any socket so that it can be tested and fuzzed: the head,
 * and the chunked coding.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strmap.h"

#define HTTP_HEAD_MAX (64 * 1024)

enum http_body_kind { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_UNTIL_CLOSE };

struct http_head {
	int status;            /* 100 to 599 */
	struct strmap headers; /* names in lower case; repeated ones joined by ", " */
	enum http_body_kind body;
	uint64_t length; /* of the body, for HTTP_BODY_LENGTH */
	bool keep_alive; /* the connection may be used again after the body */
};

#define HTTP_HEAD_INIT ((struct http_head){0})
void http_head_done(struct http_head *h);

/* Length of the head including its empty line, or 0 while it is not complete in @len bytes. */
size_t http_head_length(const char *data, size_t len);
/*
 * Parse a whole head (as http_head_length() measured it). @head_request: the response has no body whatever its
 * headers say. Refused: bad status line, control characters, folded lines, contradicting lengths. -EIO.
 */
int http_head_parse(const char *data, size_t len, bool head_request, struct http_head *ret, struct error *err);

enum http_chunk_state { HTTP_CHUNK_SIZE, HTTP_CHUNK_DATA, HTTP_CHUNK_DATA_END, HTTP_CHUNK_TRAILER, HTTP_CHUNK_DONE };

struct http_chunked {
	enum http_chunk_state state;
	uint64_t left; /* bytes of the present chunk still to come */
	char line[128];
	size_t line_len;
	size_t trailer_len;
};

#define HTTP_CHUNKED_INIT ((struct http_chunked){0})

/* Gets each piece of the body; a negative result stops and is returned. */
typedef int (*http_data_fn)(void *arg, const void *data, size_t len, struct error *err);

/*
 * Feed @len bytes; @fn gets what they hold of the body. *@ret_used tells how many were eaten: fewer than @len only
 * when the state is HTTP_CHUNK_DONE.
 */
int http_chunked_feed(struct http_chunked *c, const char *data, size_t len, size_t *ret_used, http_data_fn fn,
		      void *arg, struct error *err);
