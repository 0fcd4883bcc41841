/* Lists of strings. */
#include "unit.h"

#include "base/strv.h"

static void expect_list(const struct strv *v, const char *joined)
{
	auto_free char *text = strv_join(v, "|");

	assert_string_equal(text, joined);
	assert_true(!v->items || !v->items[v->len]);
}

static void split(void **state UNUSED)
{
	static const char *const rows[][2] = {{"", ""}, {"a", "a"}, {",", "|"}, {"a,,b,", "a||b|"}, {"a b", "a b"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_strv struct strv v = STRV_INIT;

		strv_split(&v, rows[i][0], ',');
		expect_list(&v, rows[i][1]);
	}
}

static void split_words(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"", ""}, {" \t\r\n", ""}, {"a", "a"}, {"  a \t b\n", "a|b"}, {"0 1000 65536", "0|1000|65536"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_strv struct strv v = STRV_INIT;

		strv_split_words(&v, rows[i][0]);
		expect_list(&v, rows[i][1]);
	}
}

static void changes(void **state UNUSED)
{
	auto_strv struct strv v = STRV_INIT;
	auto_strv struct strv copy = STRV_INIT;

	strv_add(&v, "b");
	strv_addf(&v, "%c%d", 'a', 1);
	strv_take(&v, xstrdup("b"));
	strv_copy(&copy, &v);
	assert_true(strv_equal(&v, &copy) && strv_contains(&v, "a1") && !strv_contains(&v, "a"));
	assert_true(strv_remove(&v, "b"));
	expect_list(&v, "a1|b");
	assert_false(strv_remove(&v, "zz"));
	assert_false(strv_equal(&v, &copy));
	strv_sort(&copy);
	expect_list(&copy, "a1|b|b");
	strv_copy(&copy, &copy);
	expect_list(&copy, "a1|b|b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(split), cmocka_unit_test(split_words),
					   cmocka_unit_test(changes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
