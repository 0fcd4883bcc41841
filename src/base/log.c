#include "base/log.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/strbuf.h"

static _Atomic int minimum = LOG_LEVEL_WARN;
static _Atomic int log_fd = STDERR_FILENO;
static log_sink_fn log_sink;

void log_set_level(enum log_level level)
{
	minimum = (int)level;
}

void log_set_sink(log_sink_fn sink)
{
	log_sink = sink;
}

int log_set_file(const char *path, struct error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_errno(err, errno, "Open log file %s", path);
	log_fd = fd;
	return 0;
}

bool log_enabled(enum log_level level)
{
	return (int)level >= minimum;
}

const char *log_level_name(enum log_level level)
{
	static const char *const names[] = {"debug", "info", "warning", "error"};

	return names[level];
}

/* Values may come from anybody: quote them, and keep every line one line. */
static void append_quoted(struct strbuf *b, const char *s)
{
	strbuf_append_char(b, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			strbuf_appendf(b, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			strbuf_appendf(b, "\\x%02x", c);
		else
			strbuf_append_char(b, (char)c);
	}
	strbuf_append_char(b, '"');
}

void log_write(enum log_level level, const char *sentence, const struct log_field *fields)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct timespec now;
	struct tm tm;
	char stamp[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	strbuf_appendf(&b, "%s.%03ldZ %s %s", stamp, now.tv_nsec / 1000000, log_level_name(level), sentence);
	for (const struct log_field *f = fields; f->key; f++) {
		strbuf_appendf(&b, " %s=", f->key);
		if (f->str)
			append_quoted(&b, f->str);
		else
			strbuf_appendf(&b, "%lld", (long long)f->num);
	}
	strbuf_append_char(&b, '\n');
	(void)!write(log_fd, b.data, b.len);
	if (log_sink)
		log_sink(level, sentence, fields);
}
