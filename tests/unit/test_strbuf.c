/* Growing buffers: contents, the limit, cutting, handing over. */
#include "unit.h"

#include "base/strbuf.h"

static void grows(void **state UNUSED)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	assert_string_equal(strbuf_str(&b), "");
	for (int i = 0; i < 1000; i++)
		strbuf_appendf(&b, "%d,", i % 10);
	strbuf_append_len(&b, "a\0b", 3);
	strbuf_append_char(&b, '!');
	assert_int_equal(b.len, 2004);
	assert_memory_equal(b.data + 2000, "a\0b!", 5);
	assert_memory_equal(b.data, "0,1,2,", 6);
	assert_true(b.cap > b.len && !b.truncated);
}

static void limit(void **state UNUSED)
{
	auto_strbuf struct strbuf b = {.max = 10};

	strbuf_append(&b, "0123456789");
	assert_false(b.truncated);
	strbuf_append_char(&b, 'x');
	assert_true(b.truncated);
	assert_string_equal(strbuf_str(&b), "0123456789");
	assert_false(strbuf_reserve(&b, SIZE_MAX));
	strbuf_truncate(&b, 20);
	assert_int_equal(b.len, 10);
	strbuf_truncate(&b, 3);
	assert_string_equal(strbuf_str(&b), "012");
}

static void taken(void **state UNUSED)
{
	struct strbuf b = STRBUF_INIT;
	auto_free char *empty = strbuf_take(&b);
	auto_free char *full = NULL;

	assert_string_equal(empty, "");
	strbuf_append(&b, "text");
	full = strbuf_take(&b);
	assert_string_equal(full, "text");
	assert_true(!b.data && b.len == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(grows), cmocka_unit_test(limit), cmocka_unit_test(taken)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
