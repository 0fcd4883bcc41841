#include "base/jsonw.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/timeutil.h"

static void before_value(struct jsonw *w)
{
	if (w->comma)
		strbuf_append_char(w->out, ',');
	w->comma = true;
}

static void open_bracket(struct jsonw *w, char c)
{
	before_value(w);
	strbuf_append_char(w->out, c);
	w->comma = false;
}

static void close_bracket(struct jsonw *w, char c)
{
	strbuf_append_char(w->out, c);
	w->comma = true;
}

void jsonw_object_begin(struct jsonw *w)
{
	open_bracket(w, '{');
}

void jsonw_object_end(struct jsonw *w)
{
	close_bracket(w, '}');
}

void jsonw_array_begin(struct jsonw *w)
{
	open_bracket(w, '[');
}

void jsonw_array_end(struct jsonw *w)
{
	close_bracket(w, ']');
}

static void append_escape(struct strbuf *b, unsigned char c)
{
	static const char named[] = "\bb\tt\nn\ff\rr\"\"\\\\";

	for (const char *p = named; *p; p += 2) {
		if ((unsigned char)*p == c) {
			strbuf_append_char(b, '\\');
			strbuf_append_char(b, p[1]);
			return;
		}
	}
	strbuf_appendf(b, "\\u%04x", c);
}

static void append_text(struct strbuf *b, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t left = strlen(text), run = 0;

	strbuf_append_char(b, '"');
	while (run < left) {
		unsigned char c = s[run];
		size_t n;

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
			run++;
			continue;
		}
		n = c < 0x80 ? 0 : utf8_char_len((const char *)s + run, left - run);
		if (n) {
			run += n;
			continue;
		}
		strbuf_append_len(b, s, run);
		if (c < 0x80)
			append_escape(b, c);
		else
			strbuf_append(b, "\xef\xbf\xbd");
		s += run + 1;
		left -= run + 1;
		run = 0;
	}
	strbuf_append_len(b, s, run);
	strbuf_append_char(b, '"');
}

void jsonw_key(struct jsonw *w, const char *key)
{
	before_value(w);
	append_text(w->out, key);
	strbuf_append_char(w->out, ':');
	w->comma = false;
}

void jsonw_raw(struct jsonw *w, const char *json, size_t len)
{
	before_value(w);
	strbuf_append_len(w->out, json, len);
}

void jsonw_null(struct jsonw *w)
{
	jsonw_raw(w, "null", 4);
}

void jsonw_bool(struct jsonw *w, bool v)
{
	jsonw_raw(w, v ? "true" : "false", v ? 4 : 5);
}

void jsonw_int(struct jsonw *w, int64_t v)
{
	char text[24];

	jsonw_raw(w, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)v));
}

void jsonw_uint(struct jsonw *w, uint64_t v)
{
	char text[24];

	jsonw_raw(w, text, (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)v));
}

void jsonw_str(struct jsonw *w, const char *s)
{
	before_value(w);
	append_text(w->out, s ? s : "");
}

void jsonw_strf(struct jsonw *w, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	jsonw_str(w, text);
}

void jsonw_time(struct jsonw *w, int64_t ns)
{
	char text[TIME_TEXT_MAX];

	jsonw_str(w, time_format(ns, text));
}

void jsonw_strmap(struct jsonw *w, const struct strmap *m)
{
	jsonw_object_begin(w);
	for (size_t i = 0; i < m->len; i++)
		jsonw_kv_str(w, m->items[i].key, m->items[i].value);
	jsonw_object_end(w);
}

void jsonw_mapmap(struct jsonw *w, const struct mapmap *m)
{
	jsonw_object_begin(w);
	for (size_t i = 0; i < m->len; i++)
		jsonw_kv_strmap(w, m->items[i].key, &m->items[i].map);
	jsonw_object_end(w);
}

void jsonw_strv(struct jsonw *w, const struct strv *v)
{
	jsonw_array_begin(w);
	for (size_t i = 0; i < v->len; i++)
		jsonw_str(w, v->items[i]);
	jsonw_array_end(w);
}

void jsonw_kv_str(struct jsonw *w, const char *key, const char *v)
{
	jsonw_key(w, key);
	jsonw_str(w, v);
}

void jsonw_kv_strf(struct jsonw *w, const char *key, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	jsonw_kv_str(w, key, text);
}

void jsonw_kv_bool(struct jsonw *w, const char *key, bool v)
{
	jsonw_key(w, key);
	jsonw_bool(w, v);
}

void jsonw_kv_int(struct jsonw *w, const char *key, int64_t v)
{
	jsonw_key(w, key);
	jsonw_int(w, v);
}

void jsonw_kv_uint(struct jsonw *w, const char *key, uint64_t v)
{
	jsonw_key(w, key);
	jsonw_uint(w, v);
}

void jsonw_kv_time(struct jsonw *w, const char *key, int64_t ns)
{
	jsonw_key(w, key);
	jsonw_time(w, ns);
}

void jsonw_kv_null(struct jsonw *w, const char *key)
{
	jsonw_key(w, key);
	jsonw_null(w);
}

void jsonw_kv_raw(struct jsonw *w, const char *key, const char *json)
{
	jsonw_key(w, key);
	jsonw_raw(w, json, strlen(json));
}

void jsonw_kv_strmap(struct jsonw *w, const char *key, const struct strmap *m)
{
	jsonw_key(w, key);
	jsonw_strmap(w, m);
}

void jsonw_kv_mapmap(struct jsonw *w, const char *key, const struct mapmap *m)
{
	jsonw_key(w, key);
	jsonw_mapmap(w, m);
}

void jsonw_kv_strv(struct jsonw *w, const char *key, const struct strv *v)
{
	jsonw_key(w, key);
	jsonw_strv(w, v);
}

char *strmap_to_json(const struct strmap *m)
{
	struct strbuf b = STRBUF_INIT;

	jsonw_strmap(&JSONW(&b), m);
	return strbuf_take(&b);
}

char *mapmap_to_json(const struct mapmap *m)
{
	struct strbuf b = STRBUF_INIT;

	jsonw_mapmap(&JSONW(&b), m);
	return strbuf_take(&b);
}

char *strv_to_json(const struct strv *v)
{
	struct strbuf b = STRBUF_INIT;

	jsonw_strv(&JSONW(&b), v);
	return strbuf_take(&b);
}
