#include "config/snapshot_name.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"

#define DEFAULT_LAYOUT "2006-01-02_15-04-05"
#define NUMBER "%d"

/* Append the time as Go's layout of @len bytes says. */
static void append_date(struct strbuf *b, const char *layout, size_t len, int64_t now_ns)
{
	time_t seconds = (time_t)(now_ns / 1000000000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	const struct {
		const char *go;
		int value;
	} parts[] = {{"2006", tm.tm_year + 1900}, {"01", tm.tm_mon + 1}, {"02", tm.tm_mday},
		     {"15", tm.tm_hour},          {"04", tm.tm_min},     {"05", tm.tm_sec}};

	for (const char *p = layout; p < layout + len;) {
		size_t k = 0;

		while (k < ARRAY_SIZE(parts) && !startswith(p, parts[k].go))
			k++;
		if (k == ARRAY_SIZE(parts)) {
			strbuf_append_char(b, *p++);
			continue;
		}
		strbuf_appendf(b, "%0*d", (int)strlen(parts[k].go), parts[k].value);
		p += strlen(parts[k].go);
	}
}

static const char *skip_spaces(const char *p)
{
	while (*p == ' ')
		p++;
	return p;
}

/* "creation_date", perhaps "|date:'...'" or with double quotes; what lies between the braces. */
static bool expand_field(struct strbuf *b, const char *p, const char *end, int64_t now_ns)
{
	static const char name[] = "creation_date", filter[] = "date:";
	const char *layout = DEFAULT_LAYOUT;
	size_t len = strlen(DEFAULT_LAYOUT);

	p = skip_spaces(p);
	if (!startswith(p, name))
		return false;
	p = skip_spaces(p + strlen(name));
	if (*p == '|') {
		const char *close;
		char quote;

		p = skip_spaces(p + 1);
		if (!startswith(p, filter))
			return false;
		p = skip_spaces(p + strlen(filter));
		quote = *p;
		close = quote == '"' || quote == '\'' ? strchr(p + 1, quote) : NULL;
		if (!close || close >= end)
			return false;
		layout = p + 1;
		len = (size_t)(close - layout);
		p = skip_spaces(close + 1);
	}
	if (p != end)
		return false;
	append_date(b, layout, len, now_ns);
	return true;
}

static int expand(const char *pattern, int64_t now_ns, struct strbuf *b, struct error *err)
{
	for (const char *p = pattern; *p;) {
		const char *end;

		if (!startswith(p, "{{")) {
			strbuf_append_char(b, *p++);
			continue;
		}
		end = strstr(p, "}}");
		if (!end || !expand_field(b, p + 2, end, now_ns))
			return error_set(err, 400,
					 "Invalid snapshot pattern \"%s\": only {{ creation_date }} and "
					 "{{ creation_date|date:'2006-01-02' }} are known",
					 pattern);
		p = end + 2;
	}
	if (strstr(strbuf_str(b), "{%"))
		return error_set(err, 400, "Invalid snapshot pattern \"%s\": there are no tags", pattern);
	return 0;
}

/* The number in @name if it is @before, digits, @after; else -1. */
static int64_t number_in(const char *name, const char *before, size_t before_len, const char *after)
{
	size_t n = strlen(name), m = strlen(after);
	auto_free char *digits = NULL;
	uint32_t v;

	if (n <= before_len + m || strncmp(name, before, before_len) != 0 || !streq(name + n - m, after))
		return -1;
	digits = xstrndup(name + before_len, n - before_len - m);
	return parse_u32(digits, &v) < 0 ? -1 : (int64_t)v;
}

static char *numbered(const char *text, const struct strv *taken)
{
	const char *at = strstr(text, NUMBER);
	const char *after = at + strlen(NUMBER);
	size_t before_len = (size_t)(at - text);
	int64_t next = 0;

	for (size_t k = 0; k < taken->len; k++) {
		int64_t v = number_in(taken->items[k], text, before_len, after);

		if (v >= next)
			next = v + 1;
	}
	for (;; next++) {
		auto_free char *name = xasprintf("%.*s%lld%s", (int)before_len, text, (long long)next, after);

		if (!strv_contains(taken, name))
			return TAKE_PTR(name);
	}
}

int snapshot_name_make(const char *pattern, int64_t now_ns, const struct strv *taken, char **ret, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	const char *first;
	int r = expand(pattern, now_ns, &b, err);

	if (r < 0)
		return r;
	first = strstr(strbuf_str(&b), NUMBER);
	if (first && strstr(first + 1, NUMBER))
		return error_set(err, 400, "Snapshot pattern may contain '%%d' only once");
	if (!first && strv_contains(taken, strbuf_str(&b))) {
		strbuf_append(&b, "-" NUMBER);
		first = strbuf_str(&b);
	}
	*ret = first ? numbered(strbuf_str(&b), taken) : xstrdup(strbuf_str(&b));
	return 0;
}

int snapshot_pattern_check(const char *key UNUSED, const char *value, struct error *err)
{
	auto_free char *name = NULL;

	return snapshot_name_make(value, 0, &STRV_INIT, &name, err);
}
