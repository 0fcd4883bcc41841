#include "http/multipart_reply.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/str.h"

#define BOUNDARY_MAX 200u

void multipart_reply_done(struct multipart_reply *m)
{
	free(m->delimiter);
	free(m->name);
	strbuf_done(&m->buf);
	*m = MULTIPART_REPLY_INIT;
}

static const char type_prefix[] = "multipart/form-data";

bool multipart_reply_is_type(const char *content_type)
{
	return content_type && strncasecmp(content_type, type_prefix, sizeof(type_prefix) - 1) == 0;
}

static int malformed(const char *why, struct error *err)
{
	return error_set(err, 400, "Malformed multipart answer: %s", why);
}

/* The value of parameter @name in a header such as `form-data; name="a"; filename="b"`; NULL when absent. */
static char *parameter(const char *header, const char *name)
{
	size_t len = strlen(name);
	bool quoted = false;

	for (const char *p = header; *p; p++) {
		const char *v;

		if (*p == '"')
			quoted = !quoted;
		if (quoted || *p != ';')
			continue;
		v = p + 1 + strspn(p + 1, " \t");
		if (strncasecmp(v, name, len) != 0 || v[len] != '=')
			continue;
		v += len + 1;
		if (*v != '"')
			return xstrndup(v, strcspn(v, "; \t"));
		v++;
		return strchr(v, '"') ? xstrndup(v, strcspn(v, "\"")) : NULL;
	}
	return NULL;
}

int multipart_reply_init(struct multipart_reply *m, const char *content_type, multipart_part_fn fn, void *arg,
			 struct error *err)
{
	auto_free char *boundary = parameter(content_type, "boundary");

	if (!multipart_reply_is_type(content_type) || str_is_empty(boundary) || strlen(boundary) > BOUNDARY_MAX)
		return malformed("no boundary in its Content-Type", err);
	m->delimiter = xasprintf("\r\n--%s", boundary);
	m->fn = fn;
	m->arg = arg;
	/* the first boundary may be the first line */
	strbuf_append(&m->buf, "\r\n");
	return 0;
}

static void eat(struct multipart_reply *m, size_t n)
{
	if (n == 0)
		return;
	memmove(m->buf.data, m->buf.data + n, m->buf.len - n);
	strbuf_truncate(&m->buf, m->buf.len - n);
}

/* The name in the part's head, of @len bytes up to its empty line. */
static int read_head(struct multipart_reply *m, size_t len, struct error *err)
{
	auto_free char *text = xstrndup(m->buf.data, len);
	char *rest = text;

	free(TAKE_PTR(m->name));
	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		static const char disposition[] = "Content-Disposition:";

		line[strcspn(line, "\r")] = '\0';
		if (strncasecmp(line, disposition, sizeof(disposition) - 1) == 0)
			m->name = parameter(line, "name");
	}
	if (str_is_empty(m->name))
		return malformed("a part without a name", err);
	if (++m->parts > MULTIPART_PARTS_MAX)
		return malformed("too many parts", err);
	m->offset = 0;
	/* also of an empty part somebody should hear */
	return m->fn(m->arg, m->name, 0, "", 0, err);
}

static int give(struct multipart_reply *m, size_t len, struct error *err)
{
	int r = len ? m->fn(m->arg, m->name, m->offset, m->buf.data, len, err) : 0;

	m->offset += len;
	return r;
}

/* Up to the next boundary: bytes of a part, or (before the first) of nothing. What may begin a boundary waits. */
static int step_body(struct multipart_reply *m, struct error *err)
{
	size_t len = strlen(m->delimiter), sure;
	const char *at = memmem(m->buf.data, m->buf.len, m->delimiter, len);
	int r;

	if (at)
		sure = (size_t)(at - m->buf.data);
	else
		sure = m->buf.len >= len ? m->buf.len - len + 1 : 0;
	r = m->state == MULTIPART_BODY ? give(m, sure, err) : 0;
	eat(m, at ? sure + len : sure);
	if (at)
		m->state = MULTIPART_AFTER_BOUNDARY;
	return r < 0 ? r : at != NULL;
}

static int step_after_boundary(struct multipart_reply *m, struct error *err)
{
	if (m->buf.len < 2)
		return 0;
	if (memcmp(m->buf.data, "--", 2) == 0)
		m->state = MULTIPART_END;
	else if (memcmp(m->buf.data, "\r\n", 2) == 0)
		m->state = MULTIPART_HEAD;
	else
		return malformed("something follows a boundary", err);
	eat(m, 2);
	return 1;
}

static int step_head(struct multipart_reply *m, struct error *err)
{
	const char *at = memmem(m->buf.data, m->buf.len, "\r\n\r\n", 4);
	size_t len = at ? (size_t)(at - m->buf.data) : m->buf.len;
	int r;

	if (len > MULTIPART_HEAD_MAX)
		return malformed("the head of a part is too long", err);
	if (!at)
		return 0;
	r = read_head(m, len, err);
	eat(m, len + 4);
	m->state = MULTIPART_BODY;
	return r < 0 ? r : 1;
}

/* 1: there may be another step, 0: more bytes are needed. */
static int step(struct multipart_reply *m, struct error *err)
{
	switch (m->state) {
	case MULTIPART_PREAMBLE:
	case MULTIPART_BODY:
		return step_body(m, err);
	case MULTIPART_AFTER_BOUNDARY:
		return step_after_boundary(m, err);
	case MULTIPART_HEAD:
		return step_head(m, err);
	case MULTIPART_END:
		break;
	}
	strbuf_truncate(&m->buf, 0);
	return 0;
}

int multipart_reply_feed(struct multipart_reply *m, const void *data, size_t len, struct error *err)
{
	int r;

	strbuf_append_len(&m->buf, data, len);
	do
		r = step(m, err);
	while (r > 0);
	return r;
}

int multipart_reply_finish(struct multipart_reply *m, struct error *err)
{
	return m->state == MULTIPART_END ? 0 : malformed("it ends early", err);
}
