/* The reader of multipart bodies: every way of cutting them into pieces, and bodies that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "http/multipart_reply.h"

#define TYPE "multipart/form-data; boundary=xyz"

static int note(void *arg, const char *name, uint64_t offset, const void *data, size_t len, struct error *err)
{
	struct strbuf *b = arg;

	if (streq(name, "stop"))
		return error_set(err, 400, "stopped");
	if (len == 0 && offset == 0)
		strbuf_appendf(b, "[%s]", name);
	strbuf_append_len(b, data, len);
	return 0;
}

/* What @text holds when it comes in pieces of @step bytes: parts as "[name]content", or the error. */
static char *read_in(const char *type, const char *text, size_t step)
{
	auto_multipart_reply struct multipart_reply m = MULTIPART_REPLY_INIT;
	auto_strbuf struct strbuf out = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	size_t len = strlen(text);
	int r = multipart_reply_init(&m, type, note, &out, &err);

	for (size_t at = 0; r == 0 && at < len; at += step)
		r = multipart_reply_feed(&m, text + at, MIN_OF(step, len - at), &err);
	if (r == 0)
		r = multipart_reply_finish(&m, &err);
	return r < 0 ? xasprintf("error: %s", error_msg(&err)) : strbuf_take(&out);
}

static void expect(const char *type, const char *text, const char *want)
{
	for (size_t step = 1; step <= strlen(text) + 1; step++) {
		auto_free char *got = read_in(type, text, step);

		if (!streq(got, want))
			fail_msg("in pieces of %zu: \"%s\", wanted \"%s\"", step, got, want);
	}
}

#define HEAD(name) "Content-Disposition: form-data; name=\"" name "\"; filename=\"f;x\"\r\nContent-Type: a/b\r\n\r\n"

static void parts_in_any_pieces(void **state)
{
	(void)state;
	expect(TYPE, "--xyz\r\n" HEAD("a") "one\r\n--xyz\r\n" HEAD("b") "t\r\n-w\r\n--xyo\r\n--xyz--\r\n",
	       "[a]one[b]t\r\n-w\r\n--xyo");
	expect(TYPE, "preamble\r\n--xyz\r\n" HEAD("a") "\r\n--xyz--", "[a]");
	expect("Multipart/Form-Data; charset=x; boundary=\"xyz\"",
	       "--xyz\r\n" HEAD("a") "1\r\n--xyz--epilogue\r\n--xyz--", "[a]1");
	expect("multipart/form-data; boundary=-", "---\r\n" HEAD("a") "\r\n--\r\n--\r\n-----\r\n", "[a]\r\n--\r\n--");
}

static void bodies_that_are_none(void **state)
{
	(void)state;
	expect("multipart/form-data", "x", "error: Malformed multipart answer: no boundary in its Content-Type");
	expect("text/plain; boundary=xyz", "x", "error: Malformed multipart answer: no boundary in its Content-Type");
	expect("multipart/form-data; boundary=\"xyz", "x",
	       "error: Malformed multipart answer: no boundary in its Content-Type");
	expect(TYPE, "", "error: Malformed multipart answer: it ends early");
	expect(TYPE, "--xyz\r\n" HEAD("a") "one", "error: Malformed multipart answer: it ends early");
	expect(TYPE, "--xyz\r\n" HEAD("a") "one\r\n--xyz", "error: Malformed multipart answer: it ends early");
	expect(TYPE, "--xyz\r\nContent-Type: a/b\r\n\r\none\r\n--xyz--",
	       "error: Malformed multipart answer: a part without a name");
	expect(TYPE, "--xyzz\r\n" HEAD("a") "one\r\n--xyz--",
	       "error: Malformed multipart answer: something follows a boundary");
	expect(TYPE, "--xyz\r\n" HEAD("stop") "one\r\n--xyz--", "error: stopped");
}

static void bounds(void **state)
{
	auto_strbuf struct strbuf parts = STRBUF_INIT, head = STRBUF_INIT;
	auto_free char *many = NULL;
	auto_free char *long_head = NULL;

	(void)state;
	for (unsigned i = 0; i <= MULTIPART_PARTS_MAX; i++)
		strbuf_append(&parts, "\r\n--xyz\r\n" HEAD("a"));
	many = read_in(TYPE, parts.data, 100);
	assert_string_equal(many, "error: Malformed multipart answer: too many parts");
	strbuf_append(&head, "--xyz\r\n");
	while (head.len < 2u * MULTIPART_HEAD_MAX)
		strbuf_append(&head, "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n");
	long_head = read_in(TYPE, head.data, 1000);
	assert_string_equal(long_head, "error: Malformed multipart answer: the head of a part is too long");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_in_any_pieces),
		cmocka_unit_test(bodies_that_are_none),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
