/* A growing, always NUL-terminated byte buffer with a limit. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct strbuf {
	char *data; /* NULL until the first append; NUL-terminated after it */
	size_t len;
	size_t cap;
	size_t max;     /* 0: no limit */
	bool truncated; /* an append was refused because of max */
};

#define STRBUF_INIT ((struct strbuf){0})
#define auto_strbuf CLEANUP(strbuf_done)

void strbuf_done(struct strbuf *b);
/* Make room for @extra more bytes; false (and truncated set) when the limit forbids it. */
bool strbuf_reserve(struct strbuf *b, size_t extra);
void strbuf_append_len(struct strbuf *b, const void *data, size_t len);
void strbuf_append(struct strbuf *b, const char *s);
void strbuf_append_char(struct strbuf *b, char c);
void strbuf_appendf(struct strbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void strbuf_vappendf(struct strbuf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/* Cut to @len bytes (no-op when shorter). */
void strbuf_truncate(struct strbuf *b, size_t len);
/* The text, "" when empty; borrowed until the next change. */
const char *strbuf_str(const struct strbuf *b);
/* Hand the text over; the buffer is empty afterwards. Never NULL. */
char *strbuf_take(struct strbuf *b);
