/*
 * Streaming reader of a multipart/form-data body that a server sends: the files of a split image. Bounded: the head of
 * a part is small, and bodies are never kept.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"

#define MULTIPART_HEAD_MAX (16u * 1024) /* bytes of a part's head */
#define MULTIPART_PARTS_MAX 16u

/* A piece of the part called @name; one without bytes at @offset 0 begins it. A negative result stops. */
typedef int (*multipart_part_fn)(void *arg, const char *name, uint64_t offset, const void *data, size_t len,
				 struct error *err);

enum multipart_state { MULTIPART_PREAMBLE, MULTIPART_AFTER_BOUNDARY, MULTIPART_HEAD, MULTIPART_BODY, MULTIPART_END };

struct multipart_reply {
	enum multipart_state state;
	char *delimiter; /* "\r\n--boundary" */
	struct strbuf buf;
	char *name;      /* of the present part */
	uint64_t offset; /* in it */
	unsigned parts;
	multipart_part_fn fn;
	void *arg;
};

#define MULTIPART_REPLY_INIT ((struct multipart_reply){0})
#define auto_multipart_reply CLEANUP(multipart_reply_done)
void multipart_reply_done(struct multipart_reply *m);

/* True for the Content-Type of such a body. */
bool multipart_reply_is_type(const char *content_type);
/* Begin, by the boundary in @content_type. Errors: 400. */
int multipart_reply_init(struct multipart_reply *m, const char *content_type, multipart_part_fn fn, void *arg,
			 struct error *err);
int multipart_reply_feed(struct multipart_reply *m, const void *data, size_t len, struct error *err);
/* The body is over: 400 unless its last boundary was seen. */
int multipart_reply_finish(struct multipart_reply *m, struct error *err);
