/* Where an HTTP answer ends: its head, and a body with Content-Length or in chunks. For the load generators. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum answer_body { BODY_UNKNOWN, BODY_LENGTH, BODY_CHUNKED };

struct answer {
	char *data;      /* the caller's, with room for a NUL after what was read */
	size_t used;     /* bytes of it so far */
	size_t head;     /* length of the head; 0 while incomplete */
	size_t expected; /* length of head and body, or where the next chunk begins */
	enum answer_body body;
	int status;
};

/* Begin with the next answer; the buffer stays. */
static inline void answer_reset(struct answer *a)
{
	a->used = a->head = a->expected = 0;
	a->body = BODY_UNKNOWN;
	a->status = 0;
}

/* Once the head is complete: find out how the body ends. False: no answer that we understand. */
static inline bool answer_read_head(struct answer *a)
{
	char *end, *field;

	a->data[a->used] = '\0';
	end = strstr(a->data, "\r\n\r\n");
	if (!end)
		return true;
	a->head = (size_t)(end - a->data) + 4;
	if (strncmp(a->data, "HTTP/1.1 ", 9) != 0)
		return false;
	a->status = (int)strtoul(a->data + 9, NULL, 10);
	*end = '\0';
	field = strcasestr(a->data, "\r\nContent-Length:");
	if (field) {
		a->body = BODY_LENGTH;
		a->expected = a->head + strtoull(field + 17, NULL, 10);
	} else if (strcasestr(a->data, "\r\nTransfer-Encoding: chunked")) {
		a->body = BODY_CHUNKED;
		a->expected = a->head;
	}
	*end = '\r';
	return a->body != BODY_UNKNOWN;
}

/* Walk over the chunks that have arrived; true at the end of the last one. */
static inline bool answer_chunks_complete(struct answer *a)
{
	while (a->expected < a->used) {
		char *line = a->data + a->expected, *end;
		size_t size;

		a->data[a->used] = '\0';
		end = strstr(line, "\r\n");
		if (!end)
			return false;
		size = strtoull(line, NULL, 16);
		a->expected = (size_t)(end - a->data) + 2 + size + 2;
		if (size == 0)
			return a->expected <= a->used;
	}
	return false;
}

/* @n more bytes lie behind what was there. 1: the answer is complete; 0: not yet; -1: it is none. */
static inline int answer_grown(struct answer *a, size_t n)
{
	a->used += n;
	if (a->head == 0 && !answer_read_head(a))
		return -1;
	if (a->head == 0)
		return 0;
	return a->body == BODY_LENGTH ? a->used >= a->expected : answer_chunks_complete(a);
}
