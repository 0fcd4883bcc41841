/* Printing: YAML, times, text that must not reach the terminal raw. */
#include "client/print.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "base/yamltext.h"
#include "client/client.h"

#define STDIN_MAX (16u * 1024 * 1024)

char *print_safe_text(const char *text, const char *keep)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if ((*p < 0x20 || *p == 0x7f) && !strchr(keep, *p)) {
			strbuf_appendf(&b, "\\x%02x", *p);
		} else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f) {
			strbuf_appendf(&b, "\\u%04x", p[1]);
			p++;
		} else {
			strbuf_append_char(&b, (char)*p);
		}
	}
	return strbuf_take(&b);
}

void cli_print_safe(const char *text)
{
	auto_free char *safe = isatty(STDOUT_FILENO) ? print_safe_text(text, "\n\t") : NULL;

	fputs(safe ? safe : text, stdout);
}

void cli_complain(const char *fmt, ...)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_free char *safe = NULL;
	va_list ap;

	va_start(ap, fmt);
	strbuf_vappendf(&b, fmt, ap);
	va_end(ap);
	safe = isatty(STDERR_FILENO) ? print_safe_text(strbuf_str(&b), "\n\t") : NULL;
	fputs(safe ? safe : strbuf_str(&b), stderr);
}

void cli_say(const char *fmt, ...)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	strbuf_vappendf(&b, fmt, ap);
	va_end(ap);
	cli_print_safe(strbuf_str(&b));
}

/* Behind the JSON string that begins at @p. */
static const char *string_end(const char *p)
{
	for (p++; *p && *p != '"'; p++)
		if (*p == '\\' && p[1])
			p++;
	return *p ? p + 1 : p;
}

static bool is_secret_name(const char *name, size_t len)
{
	static const char *const ends[] = {"password\"", "secret\"", "token\""};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		size_t n = strlen(ends[i]);

		if (len > n && strncasecmp(name + len - n, ends[i], n) == 0)
			return true;
	}
	return false;
}

char *print_hide_secrets(const char *text)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	while (*text) {
		const char *end = *text == '"' ? string_end(text) : text + strcspn(text, "\"");
		const char *value = end + strspn(end, " \t\r\n:");
		bool hide = *text == '"' && *value == '"' && memchr(end, ':', (size_t)(value - end)) &&
			    is_secret_name(text, (size_t)(end - text));

		strbuf_append_len(&b, text, (size_t)(end - text));
		text = end;
		if (hide) {
			strbuf_append_len(&b, end, (size_t)(value - end));
			strbuf_append(&b, string_end(value) == value + 2 ? "\"\"" : "\"***\"");
			text = string_end(value);
		}
	}
	return strbuf_take(&b);
}

void cli_debug(const char *line)
{
	auto_free char *shown = print_hide_secrets(line);

	cli_complain("DEBUG: %s\n", shown);
}

void print_json(const char *json)
{
	for (const unsigned char *p = (const unsigned char *)json; *p; p++) {
		if (*p == 0x7f)
			fputs("\\u007f", stdout);
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
			printf("\\u%04x", *++p);
		else
			putchar(*p);
	}
	putchar('\n');
}

int cli_print_yaml(const struct json *j, unsigned flags, struct error *err)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	int r = yaml_write(j, flags, &out, err);

	if (r >= 0)
		fputs(strbuf_str(&out), stdout);
	return r;
}

int cli_read_stdin(struct strbuf *ret, struct error *err)
{
	char buf[16384];

	ret->max = STDIN_MAX;
	for (;;) {
		ssize_t n = fd_read_full(STDIN_FILENO, buf, sizeof(buf));

		if (n < 0)
			return error_errno(err, (int)-n, "Read standard input");
		if (n == 0)
			return 0;
		strbuf_append_len(ret, buf, (size_t)n);
		if (ret->truncated)
			return error_set(err, 413, "Standard input holds more than %u MiB", STDIN_MAX >> 20);
	}
}

bool cli_stdin_is_piped(void)
{
	return !isatty(STDIN_FILENO);
}

bool cli_time_is_never(const char *text)
{
	int64_t ns;

	return str_is_empty(text) || (time_parse(text, &ns) >= 0 && (ns == TIME_GO_ZERO || ns == TIME_EPOCH));
}

static char *format_time(const char *text, bool long_form)
{
	char buf[80], pm[3];
	struct tm tm;
	int64_t ns;
	time_t t;

	if (!text || time_parse(text, &ns) < 0 || ns == TIME_GO_ZERO)
		return xstrdup(text ? text : "");
	t = (time_t)(ns / 1000000000 - (ns % 1000000000 < 0));
	if (!localtime_r(&t, &tm))
		return xstrdup(text);
	if (!long_form) {
		strftime(buf, sizeof(buf), "%Y/%m/%d %H:%M %Z", &tm);
		return xstrdup(buf);
	}
	strftime(buf, sizeof(buf), "%b", &tm);
	snprintf(pm, sizeof(pm), "%s", tm.tm_hour < 12 ? "am" : "pm");
	return xasprintf("%s %d, %d at %d:%02d%s (%s)", buf, tm.tm_mday, tm.tm_year + 1900,
			 tm.tm_hour % 12 ? tm.tm_hour % 12 : 12, tm.tm_min, pm, tm.tm_zone);
}

char *cli_format_time(const char *text)
{
	return format_time(text, false);
}

char *cli_format_time_long(const char *text)
{
	return format_time(text, true);
}

char *cli_url_last(const char *url)
{
	size_t len = strcspn(url, "?");
	const char *start = url + len;

	while (start > url && start[-1] != '/')
		start--;
	return xstrndup(start, len - (size_t)(start - url));
}

char *cli_upper(const char *s)
{
	char *up = xstrdup(s ? s : "");

	for (char *p = up; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return up;
}

char *cli_url(const char *fmt, ...)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		if (fmt[0] == '%' && fmt[1] == 's') {
			url_escape(&b, va_arg(ap, const char *));
			fmt++;
		} else {
			strbuf_append_char(&b, *fmt);
		}
	}
	va_end(ap);
	return strbuf_take(&b);
}
