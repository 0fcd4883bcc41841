/* HTTP/1.1 response head and chunked coding: pure functions over bytes, strict. */
#include "http/client_parse.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define TRAILER_MAX 8192

void http_head_done(struct http_head *h)
{
	strmap_done(&h->headers);
	*h = HTTP_HEAD_INIT;
}

size_t http_head_length(const char *data, size_t len)
{
	const char *end = memmem(data, len, "\r\n\r\n", 4);

	return end ? (size_t)(end - data) + 4 : 0;
}

static bool is_token_char(unsigned char c)
{
	return isalnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* "HTTP/1.1 200 OK"; the reason may be empty or missing. */
static int parse_status_line(const char *line, size_t len, struct http_head *ret, bool *ret_http10, struct error *err)
{
	if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') || line[8] != ' ' ||
	    !isdigit((unsigned char)line[9]) || !isdigit((unsigned char)line[10]) ||
	    !isdigit((unsigned char)line[11]) || (len > 12 && line[12] != ' '))
		return error_set(err, 500, "Malformed HTTP response: bad status line");
	ret->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
	if (ret->status < 100 || ret->status > 599)
		return error_set(err, 500, "Malformed HTTP response: status %d", ret->status);
	*ret_http10 = line[7] == '0';
	return 0;
}

static int parse_header(const char *line, size_t len, struct http_head *ret, struct error *err)
{
	auto_free char *name = NULL;
	auto_free char *value = NULL;
	const char *colon = memchr(line, ':', len);
	const char *old;
	size_t n = colon ? (size_t)(colon - line) : 0;

	if (n == 0)
		return error_set(err, 500, "Malformed HTTP response: header without a name");
	for (size_t i = 0; i < n; i++)
		if (!is_token_char((unsigned char)line[i]))
			return error_set(err, 500, "Malformed HTTP response: bad character in a header name");
	for (size_t i = n + 1; i < len; i++)
		if ((unsigned char)line[i] < 0x20 && line[i] != '\t')
			return error_set(err, 500, "Malformed HTTP response: control character in a header");
	name = xstrndup(line, n);
	for (char *p = name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	value = xstrndup(colon + 1, len - n - 1);
	old = strmap_get(&ret->headers, name);
	if (old) {
		auto_free char *both = xasprintf("%s, %s", old, str_strip(value));

		strmap_set(&ret->headers, name, both);
	} else {
		strmap_set(&ret->headers, name, str_strip(value));
	}
	return 0;
}

static int decide_body(struct http_head *h, bool head_request, bool http10, struct error *err)
{
	const char *coding = strmap_get(&h->headers, "transfer-encoding");
	const char *length = strmap_get(&h->headers, "content-length");
	const char *connection = strmap_get_or(&h->headers, "connection", "");

	h->keep_alive = http10 ? strcasestr(connection, "keep-alive") != NULL : !strcasestr(connection, "close");
	if (coding && length)
		return error_set(err, 500, "Malformed HTTP response: both a length and a transfer coding");
	if (coding && strcasecmp(coding, "chunked") != 0)
		return error_set(err, 500, "Unknown HTTP transfer coding \"%s\"", coding);
	if (length && parse_u64(length, &h->length) < 0)
		return error_set(err, 500, "Malformed HTTP response: content length \"%s\"", length);
	if (head_request || h->status < 200 || h->status == 204 || h->status == 304) {
		h->body = HTTP_BODY_NONE;
	} else if (coding) {
		h->body = HTTP_BODY_CHUNKED;
	} else if (length) {
		h->body = HTTP_BODY_LENGTH;
	} else {
		h->body = HTTP_BODY_UNTIL_CLOSE;
		h->keep_alive = false;
	}
	return 0;
}

int http_head_parse(const char *data, size_t len, bool head_request, struct http_head *ret, struct error *err)
{
	size_t at = 0;
	bool first = true, http10 = false;
	int r;

	while (at < len) {
		const char *line = data + at;
		const char *end = memmem(line, len - at, "\r\n", 2);
		size_t n;

		if (!end)
			return error_set(err, 500, "Malformed HTTP response: line without an end");
		n = (size_t)(end - line);
		if (n == 0 && !first)
			return decide_body(ret, head_request, http10, err);
		r = first ? parse_status_line(line, n, ret, &http10, err) : parse_header(line, n, ret, err);
		if (r < 0)
			return r;
		first = false;
		at += n + 2;
	}
	return error_set(err, 500, "Malformed HTTP response: head has no end");
}

/* "1a2b" or "1a2b;extension" */
static int parse_chunk_size(const char *line, uint64_t *ret, struct error *err)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; isxdigit((unsigned char)line[i]); i++) {
		int c = tolower((unsigned char)line[i]);

		if (i == 15)
			return error_set(err, 500, "Malformed HTTP response: chunk is too large");
		v = v * 16 + (uint64_t)(isdigit(c) ? c - '0' : c - 'a' + 10);
	}
	if (i == 0 || (line[i] && line[i] != ';' && line[i] != ' '))
		return error_set(err, 500, "Malformed HTTP response: chunk size \"%s\"", line);
	*ret = v;
	return 0;
}

/* A line of the coding is complete in c->line. */
static int chunk_line(struct http_chunked *c, struct error *err)
{
	int r;

	if (c->line_len == 0 || c->line[c->line_len - 1] != '\r')
		return error_set(err, 500, "Malformed HTTP response: bad end of line in a chunk");
	c->line[--c->line_len] = '\0';
	switch (c->state) {
	case HTTP_CHUNK_SIZE:
		r = parse_chunk_size(c->line, &c->left, err);
		if (r < 0)
			return r;
		c->state = c->left ? HTTP_CHUNK_DATA : HTTP_CHUNK_TRAILER;
		break;
	case HTTP_CHUNK_DATA_END:
		if (c->line_len)
			return error_set(err, 500, "Malformed HTTP response: chunk is longer than its size");
		c->state = HTTP_CHUNK_SIZE;
		break;
	default: /* trailer */
		c->trailer_len += c->line_len;
		if (c->trailer_len > TRAILER_MAX)
			return error_set(err, 500, "Malformed HTTP response: trailer is too long");
		if (c->line_len == 0)
			c->state = HTTP_CHUNK_DONE;
	}
	c->line_len = 0;
	return 0;
}

int http_chunked_feed(struct http_chunked *c, const char *data, size_t len, size_t *ret_used, http_data_fn fn,
		      void *arg, struct error *err)
{
	size_t at = 0;
	int r;

	while (at < len && c->state != HTTP_CHUNK_DONE) {
		if (c->state == HTTP_CHUNK_DATA) {
			size_t n = (size_t)MIN_OF((uint64_t)(len - at), c->left);

			r = fn(arg, data + at, n, err);
			if (r < 0)
				return r;
			at += n;
			c->left -= n;
			if (c->left == 0)
				c->state = HTTP_CHUNK_DATA_END;
			continue;
		}
		if (data[at] == '\n') {
			r = chunk_line(c, err);
			if (r < 0)
				return r;
		} else if (c->line_len + 1 < sizeof(c->line)) {
			c->line[c->line_len++] = data[at];
		} else {
			return error_set(err, 500, "Malformed HTTP response: line of a chunk is too long");
		}
		at++;
	}
	*ret_used = at;
	return 0;
}
