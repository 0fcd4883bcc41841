/* Strict parsers: what they take, what they refuse, and that a refusal leaves the result alone. */
#include "unit.h"

static void affixes(void **state UNUSED)
{
	char padded[] = " \t a b \n", blank[] = "  ";

	assert_string_equal(startswith("volatile.x", "volatile."), "x");
	assert_null(startswith("vol", "volatile."));
	assert_string_equal(endswith("a.json", ".json"), ".json");
	assert_null(endswith("json", ".json"));
	assert_string_equal(endswith("a", ""), "");
	assert_string_equal(str_strip(padded), "a b");
	assert_string_equal(str_strip(blank), "");
	assert_true(str_is_empty(NULL) && str_is_empty("") && !str_is_empty(" "));
}

static void unsigned_numbers(void **state UNUSED)
{
	static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "1x", "0x10", "1.0", "x"};
	uint64_t v = 7;
	uint32_t w = 7;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse_u64(bad[i], &v), -EINVAL);
		assert_int_equal(parse_u32(bad[i], &w), -EINVAL);
	}
	assert_int_equal(parse_u64("18446744073709551616", &v), -ERANGE);
	assert_int_equal(parse_u32("4294967296", &w), -ERANGE);
	assert_true(v == 7 && w == 7);
	assert_int_equal(parse_u64("18446744073709551615", &v), 0);
	assert_int_equal(parse_u32("4294967295", &w), 0);
	assert_true(v == UINT64_MAX && w == UINT32_MAX);
	assert_int_equal(parse_u32("007", &w), 0);
	assert_int_equal(w, 7);
}

static void signed_numbers(void **state UNUSED)
{
	static const char *const bad[] = {"", "-", "--1", "+1", "- 1", "1-"};
	int64_t v = 7;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_i64(bad[i], &v), -EINVAL);
	assert_int_equal(parse_i64("9223372036854775808", &v), -ERANGE);
	assert_int_equal(parse_i64("-9223372036854775809", &v), -ERANGE);
	assert_int_equal(v, 7);
	assert_int_equal(parse_i64("-9223372036854775808", &v), 0);
	assert_true(v == INT64_MIN);
	assert_int_equal(parse_i64("9223372036854775807", &v), 0);
	assert_true(v == INT64_MAX);
}

static void octal(void **state UNUSED)
{
	unsigned v = 1;

	assert_int_equal(parse_octal("0660", &v), 0);
	assert_int_equal(v, 0660);
	assert_int_equal(parse_octal("8", &v), -EINVAL);
	assert_int_equal(parse_octal("rw", &v), -EINVAL);
	assert_int_equal(parse_octal("777777777777", &v), -ERANGE);
	assert_int_equal(v, 0660);
}

static void booleans(void **state UNUSED)
{
	static const char *const yes[] = {"true", "TRUE", "1", "yes", "On"};
	static const char *const no[] = {"false", "False", "0", "NO", "off"};
	static const char *const bad[] = {"", "maybe", "2", "true ", "t", "enabled"};
	bool b;

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		b = false;
		assert_int_equal(parse_bool(yes[i], &b), 0);
		assert_true(b);
		assert_int_equal(parse_bool(no[i], &b), 0);
		assert_false(b);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse_bool(bad[i], &b), -EINVAL);
		assert_true(parse_bool_or(bad[i], true));
	}
	assert_true(parse_bool_or(NULL, true) && !parse_bool_or("no", true));
}

static void sizes(void **state UNUSED)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"0", 0},
		    {"5", 5},
		    {"5B", 5},
		    {"2kB", 2000},
		    {"3MB", 3000000},
		    {"1KiB", 1024},
		    {"5MiB", 5 << 20},
		    {"1GiB", 1 << 30},
		    {"1EB", 1000000000000000000},
		    {"7EiB", 7ull << 60}};
	static const char *const bad[] = {
		"", "kB", "1.5GB", "-1", "12q", "1 MB", "1mb", "1K", "8EiB", "99999999999999999999", "1MBx"};
	auto_error struct error err = ERROR_INIT;
	uint64_t v;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		expect_ok(parse_size(good[i].text, &v, &err), &err);
		assert_true(v == good[i].bytes);
	}
	v = 1;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_error(parse_size(bad[i], &v, &err), &err, 400, "Invalid value: ");
	assert_int_equal(v, 1);
}

static void formatted_sizes(void **state UNUSED)
{
	static const struct {
		uint64_t bytes;
		const char *si, *iec;
	} rows[] = {{0, "0B", "0B"},
		    {999, "999B", "999B"},
		    {1000, "1.00kB", "1000B"},
		    {1536, "1.54kB", "1.50KiB"},
		    {12340000, "12.34MB", "11.77MiB"},
		    {UINT64_MAX, "18.45EB", "16.00EiB"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_free char *si = format_size_si(rows[i].bytes);
		auto_free char *iec = format_size_iec(rows[i].bytes);

		assert_string_equal(si, rows[i].si);
		assert_string_equal(iec, rows[i].iec);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(affixes),         cmocka_unit_test(unsigned_numbers), cmocka_unit_test(signed_numbers),
		cmocka_unit_test(octal),           cmocka_unit_test(booleans),         cmocka_unit_test(sizes),
		cmocka_unit_test(formatted_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
