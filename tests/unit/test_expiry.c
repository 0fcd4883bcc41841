/* Expiry expressions: the calendar, each unit once, and nothing else. */
#include "unit.h"

#include "base/timeutil.h"
#include "config/expiry.h"

static int64_t at(const char *text)
{
	int64_t ns;

	assert_int_equal(time_parse(text, &ns), 0);
	return ns;
}

static void expressions(void **state UNUSED)
{
	static const struct {
		const char *from, *text, *to;
	} rows[] = {
		{"2026-01-31T10:00:00.5Z", "1S", "2026-01-31T10:00:01.5Z"},
		{"2026-01-31T10:00:00Z", "90M", "2026-01-31T11:30:00Z"},
		{"2026-01-31T10:00:00Z", "24H", "2026-02-01T10:00:00Z"},
		{"2026-01-31T10:00:00Z", "1d", "2026-02-01T10:00:00Z"},
		{"2026-01-31T10:00:00Z", "2w", "2026-02-14T10:00:00Z"},
		{"2026-01-15T10:00:00Z", "1m", "2026-02-15T10:00:00Z"},
		/* as Go normalises it: February has no 31st */
		{"2026-01-31T10:00:00Z", "1m", "2026-03-03T10:00:00Z"},
		{"2024-02-29T10:00:00Z", "1y", "2025-03-01T10:00:00Z"},
		{"2026-01-31T10:00:00Z", "1y 1m 1w 1d 1H 1M 1S", "2027-03-11T11:01:01Z"},
		{"2026-01-31T10:00:00Z", "  1S\t1M ", "2026-01-31T10:01:01Z"},
		{"2026-01-31T10:00:00Z", "0S", "2026-01-31T10:00:00Z"},
		{"2026-01-31T10:00:00Z", "007d", "2026-02-07T10:00:00Z"},
		{"2026-01-31T10:00:00Z", "1000000000S", "2057-10-09T11:46:40Z"},
	};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char got[TIME_TEXT_MAX], want[TIME_TEXT_MAX];
		int64_t ns;

		expect_ok(expiry_from(rows[i].text, at(rows[i].from), &ns, &err), &err);
		assert_string_equal(time_format(ns, got), time_format(at(rows[i].to), want));
	}
}

static void nothing_is_never(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	int64_t ns = 1;

	expect_ok(expiry_from("", 5, &ns, &err), &err);
	assert_true(ns == TIME_GO_ZERO);
	ns = 1;
	expect_ok(expiry_from(" \t", 5, &ns, &err), &err);
	assert_true(ns == TIME_GO_ZERO);
}

static void refused(void **state UNUSED)
{
	static const char *const rows[] = {
		"1",           "S",           "1s",   "1h",    "1D",    "1H 2H",    "1H2M",    "-1H",
		"+1H",         "1.5H",        "1 H",  "0x1H",  "1H,",   "24 hours", "1HH",     "99999999999999999999S",
		"4294967296S", "1000000001S", "300y", "2200y", "5000m", "99999w",   "999999d", "\xc3\xa9",
	};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t ns = 7;

		expect_error(expiry_from(rows[i], at("2026-01-31T10:00:00Z"), &ns, &err), &err, 400,
			     "Invalid expiry expression");
		assert_int_equal(ns, 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expressions),
		cmocka_unit_test(nothing_is_never),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
