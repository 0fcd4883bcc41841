/* What liblxc wrote into a log during one call, made into an error message. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "container/container.h"

#define LOG_READ_MAX (256 * 1024)
#define LOG_ERRORS_MAX 4

void lxc_log_mark_file(struct lxc_log_mark *mark, const char *path)
{
	mark->fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	mark->offset = mark->fd >= 0 ? lseek(mark->fd, 0, SEEK_END) : 0;
}

void lxc_log_mark_memory(struct lxc_log_mark *mark, struct lxc_container *c)
{
	auto_free char *path = NULL;

	mark->fd = memfd_create("lxc.log", MFD_CLOEXEC);
	mark->offset = 0;
	if (mark->fd < 0)
		return;
	path = xasprintf("/proc/self/fd/%d", mark->fd);
	c->set_config_item(c, "lxc.log.file", path);
	c->set_config_item(c, "lxc.log.level", "ERROR");
}

/* The sentence of a log line "lxc NAME TIME ERROR    CATEGORY - FILE:FUNCTION:LINE - SENTENCE", or NULL. */
static char *error_of_line(char *line)
{
	char *level = strstr(line, " ERROR ");
	char *p;

	if (!level)
		return NULL;
	p = strstr(level, " - ");
	p = p ? strstr(p + 3, " - ") : NULL;
	return p ? p + 3 : NULL;
}

/* liblxc begins with the errno's text when there is one; find the number again. 0: none. */
static int errno_of_text(const char *text)
{
	for (int e = 1; e < 134; e++) {
		const char *name = strerrordesc_np(e);

		if (name && startswith(text, name))
			return e;
	}
	return 0;
}

int lxc_log_error(struct lxc_log_mark *mark, struct error *err, int status, const char *what)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	auto_free char *text = xcalloc(1, LOG_READ_MAX + 1);
	ssize_t n = mark->fd >= 0 ? pread(mark->fd, text, LOG_READ_MAX, mark->offset) : 0;
	char *rest = text, *line;
	int errnum = 0, count = 0;

	text[n > 0 ? n : 0] = '\0';
	mark->fd = fd_close(mark->fd);
	while (count < LOG_ERRORS_MAX && (line = strsep(&rest, "\n"))) {
		char *sentence = error_of_line(line);

		if (!sentence || strstr(strbuf_str(&out), sentence))
			continue;
		if (!errnum)
			errnum = errno_of_text(sentence);
		strbuf_appendf(&out, "%s%s", count++ ? "; " : "", sentence);
	}
	error_set(err, status, "%s: %s", what, count ? strbuf_str(&out) : "liblxc gave no reason");
	if (errnum)
		err->errnum = errnum;
	return -err->errnum;
}
