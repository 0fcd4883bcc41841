#include "base/strbuf.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

void strbuf_done(struct strbuf *b)
{
	int saved = errno;

	free(b->data);
	*b = STRBUF_INIT;
	errno = saved;
}

bool strbuf_reserve(struct strbuf *b, size_t extra)
{
	size_t need, cap;

	if (b->max && (extra > b->max || b->len > b->max - extra)) {
		b->truncated = true;
		return false;
	}
	need = b->len + extra + 1;
	if (need <= b->cap)
		return true;
	cap = b->cap ? b->cap : 64;
	while (cap < need)
		cap *= 2;
	b->data = xrealloc(b->data, cap);
	b->cap = cap;
	b->data[b->len] = '\0';
	return true;
}

void strbuf_append_len(struct strbuf *b, const void *data, size_t len)
{
	if (!strbuf_reserve(b, len))
		return;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void strbuf_append(struct strbuf *b, const char *s)
{
	strbuf_append_len(b, s, strlen(s));
}

void strbuf_append_char(struct strbuf *b, char c)
{
	strbuf_append_len(b, &c, 1);
}

void strbuf_vappendf(struct strbuf *b, const char *fmt, va_list ap)
{
	auto_free char *text = xvasprintf(fmt, ap);

	strbuf_append(b, text);
}

void strbuf_appendf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vappendf(b, fmt, ap);
	va_end(ap);
}

void strbuf_truncate(struct strbuf *b, size_t len)
{
	if (len < b->len) {
		b->len = len;
		b->data[len] = '\0';
	}
}

const char *strbuf_str(const struct strbuf *b)
{
	return b->data ? b->data : "";
}

char *strbuf_take(struct strbuf *b)
{
	char *s = b->data ? b->data : xstrdup("");

	*b = STRBUF_INIT;
	return s;
}
