/* Times as text and back. */
#include "unit.h"

#include "base/crypto.h"
#include "base/timeutil.h"

#define NS 1000000000ll

static void formats(void **state UNUSED)
{
	static const struct {
		int64_t ns;
		const char *text;
	} rows[] = {
		{TIME_GO_ZERO, "0001-01-01T00:00:00Z"}, {TIME_EPOCH, "1970-01-01T00:00:00Z"},
		{1, "1970-01-01T00:00:00.000000001Z"},  {-1, "1969-12-31T23:59:59.999999999Z"},
		{1500000000, "1970-01-01T00:00:01.5Z"}, {1795455845 * NS + 120000000, "2026-11-23T17:44:05.12Z"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[TIME_TEXT_MAX];
		int64_t again = 5;

		assert_string_equal(time_format(rows[i].ns, text), rows[i].text);
		assert_int_equal(time_parse(text, &again), 0);
		assert_true(again == rows[i].ns);
	}
}

static void zones(void **state UNUSED)
{
	int64_t a, b;

	assert_int_equal(time_parse("2026-11-23T17:44:05Z", &a), 0);
	assert_int_equal(time_parse("2026-11-23T19:44:05+02:00", &b), 0);
	assert_true(a == b);
	assert_int_equal(time_parse("2026-11-23T12:14:05-05:30", &b), 0);
	assert_true(a == b);
	assert_int_equal(time_parse("2024-02-29t00:00:00.123456789z", &b), 0);
	assert_int_equal(b % NS, 123456789);
}

static void refused(void **state UNUSED)
{
	static const char *const bad[] = {
		"",
		"now",
		"2026-11-23",
		"2026-11-23T17:44:05",
		"2026-11-23 17:44:05Z",
		" 2026-11-23T17:44:05Z",
		"2026-1-2T03:04:05Z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-01-01T24:00:00Z",
		"2026-01-01T00:60:00Z",
		"2026-01-01T00:00:61Z",
		"2026-01-01T00:00:00.Z",
		"2026-01-01T00:00:00.1234567890Z",
		"2026-01-01T00:00:00Zx",
		"2026-01-01T00:00:00+1:00",
		"2026-01-01T00:00:00+-1:+2",
		"2026-01-01T00:00:00+25:00",
		"9999-12-31T23:59:59Z",
		"-026-01-01T00:00:00Z",
		"20260-01-01T00:00:00Z",
	};
	int64_t v = 3;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (time_parse(bad[i], &v) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(v, 3);
}

static void round_trip(void **state UNUSED)
{
	for (int i = 0; i < 2000; i++) {
		char text[TIME_TEXT_MAX];
		int64_t ns, again;

		random_bytes(&ns, sizeof(ns));
		ns /= 2;
		assert_int_equal(time_parse(time_format(ns, text), &again), 0);
		assert_true(ns == again);
	}
}

static void clocks(void **state UNUSED)
{
	int64_t a = time_monotonic_ms(), b = time_monotonic_ms();

	assert_true(b >= a && time_now_ns() > 1700000000 * NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(formats), cmocka_unit_test(zones),
					   cmocka_unit_test(refused), cmocka_unit_test(round_trip),
					   cmocka_unit_test(clocks)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
