/* The HTTP response parser: honest heads and chunks, split anywhere, and what it must refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "base/strbuf.h"
#include "http/client.h"

static int parse(const char *text, struct http_head *head)
{
	auto_error struct error err = ERROR_INIT;

	return http_head_parse(text, strlen(text), false, head, &err);
}

static void honest_heads(void **state UNUSED)
{
	CLEANUP(http_head_done) struct http_head a = HTTP_HEAD_INIT;
	CLEANUP(http_head_done) struct http_head b = HTTP_HEAD_INIT;
	CLEANUP(http_head_done) struct http_head c = HTTP_HEAD_INIT;

	assert_int_equal(parse("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nETag: \"x\"\r\n\r\n", &a), 0);
	assert_int_equal(a.status, 200);
	assert_int_equal(a.body, HTTP_BODY_LENGTH);
	assert_int_equal(a.length, 12);
	assert_true(a.keep_alive);
	assert_string_equal(strmap_get(&a.headers, "etag"), "\"x\"");
	assert_int_equal(parse("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", &b), 0);
	assert_int_equal(b.body, HTTP_BODY_CHUNKED);
	assert_false(b.keep_alive);
	assert_int_equal(parse("HTTP/1.0 404 Not Found\r\n\r\n", &c), 0);
	assert_int_equal(c.body, HTTP_BODY_UNTIL_CLOSE);
	assert_false(c.keep_alive);
}

static void refused_heads(void **state UNUSED)
{
	static const char *const bad[] = {
		"HTTP/2 200 OK\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 999 X\r\n\r\n",
		"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
		"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA b: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: x\r\n folded\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: x\r\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CLEANUP(http_head_done) struct http_head h = HTTP_HEAD_INIT;

		assert_true(parse(bad[i], &h) < 0);
	}
}

static int append(void *arg, const void *data, size_t len, struct error *err UNUSED)
{
	strbuf_append_len(arg, data, len);
	return 0;
}

/* Feed @text in pieces of @step bytes; the bytes left over, or a negative error. */
static int feed(const char *text, size_t step, struct strbuf *out)
{
	struct http_chunked c = HTTP_CHUNKED_INIT;
	auto_error struct error err = ERROR_INIT;
	size_t len = strlen(text), at = 0, used;

	while (at < len && c.state != HTTP_CHUNK_DONE) {
		int r = http_chunked_feed(&c, text + at, MIN_OF(step, len - at), &used, append, out, &err);

		if (r < 0)
			return r;
		at += used;
	}
	return c.state == HTTP_CHUNK_DONE ? (int)(len - at) : -EAGAIN;
}

static void chunks_split_anywhere(void **state UNUSED)
{
	for (size_t step = 1; step < 40; step++) {
		auto_strbuf struct strbuf out = STRBUF_INIT;

		assert_int_equal(feed("5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: a\r\n\r\nrest", step, &out), 4);
		assert_string_equal(strbuf_str(&out), "hello world");
	}
}

static void refused_chunks(void **state UNUSED)
{
	static const char *const bad[] = {"x\r\n", "5\nhello\r\n", "5\r\nhelloX\r\n", "ffffffffffffffffff\r\n",
					  "-1\r\n"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_strbuf struct strbuf out = STRBUF_INIT;

		assert_int_equal(feed(bad[i], 100, &out), -EIO);
	}
}

static void escaping(void **state UNUSED)
{
	char *s = url_escaped("a/b c%?\xc3\xa9-._~");

	assert_string_equal(s, "a%2Fb%20c%25%3F%C3%A9-._~");
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(honest_heads),
		cmocka_unit_test(refused_heads),
		cmocka_unit_test(chunks_split_anywhere),
		cmocka_unit_test(refused_chunks),
		cmocka_unit_test(escaping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
