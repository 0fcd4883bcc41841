#include "base/strv.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"

void strv_done(struct strv *v)
{
	int saved = errno;

	for (size_t i = 0; i < v->len; i++)
		free(v->items[i]);
	free(v->items);
	*v = STRV_INIT;
	errno = saved;
}

void strv_take(struct strv *v, char *s)
{
	v->items = xreallocarray(v->items, v->len + 2, sizeof(char *));
	v->items[v->len++] = s;
	v->items[v->len] = NULL;
}

void strv_add(struct strv *v, const char *s)
{
	strv_take(v, xstrdup(s));
}

void strv_addf(struct strv *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strv_take(v, xvasprintf(fmt, ap));
	va_end(ap);
}

static ssize_t find(const struct strv *v, const char *s)
{
	for (size_t i = 0; i < v->len; i++)
		if (strcmp(v->items[i], s) == 0)
			return (ssize_t)i;
	return -1;
}

bool strv_contains(const struct strv *v, const char *s)
{
	return find(v, s) >= 0;
}

bool strv_remove(struct strv *v, const char *s)
{
	ssize_t i = find(v, s);

	if (i < 0)
		return false;
	free(v->items[i]);
	/* the terminating NULL moves along */
	memmove(&v->items[i], &v->items[i + 1], (v->len - (size_t)i) * sizeof(char *));
	v->len--;
	return true;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(struct strv *v)
{
	if (v->len > 1)
		qsort(v->items, v->len, sizeof(char *), compare);
}

void strv_copy(struct strv *dst, const struct strv *src)
{
	struct strv copy = STRV_INIT;

	for (size_t i = 0; i < src->len; i++)
		strv_add(&copy, src->items[i]);
	strv_done(dst);
	*dst = copy;
}

bool strv_equal(const struct strv *a, const struct strv *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

void strv_split(struct strv *v, const char *s, char sep)
{
	if (!*s)
		return;
	for (;;) {
		const char *end = strchr(s, sep);

		if (!end) {
			strv_add(v, s);
			return;
		}
		strv_take(v, xstrndup(s, (size_t)(end - s)));
		s = end + 1;
	}
}

void strv_split_list(struct strv *v, const char *s)
{
	auto_strv struct strv parts = STRV_INIT;

	strv_split(&parts, s, ',');
	for (size_t i = 0; i < parts.len; i++) {
		const char *part = str_strip(parts.items[i]);

		if (*part)
			strv_add(v, part);
	}
}

void strv_split_words(struct strv *v, const char *s)
{
	static const char space[] = " \t\n\v\f\r";

	for (s += strspn(s, space); *s; s += strspn(s, space)) {
		size_t n = strcspn(s, space);

		strv_take(v, xstrndup(s, n));
		s += n;
	}
}

char *strv_join(const struct strv *v, const char *sep)
{
	struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < v->len; i++) {
		if (i)
			strbuf_append(&b, sep);
		strbuf_append(&b, v->items[i]);
	}
	return strbuf_take(&b);
}
