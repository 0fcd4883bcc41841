/* Schedules: what is one, and the minutes that it means. */
#include "unit.h"

#include <time.h>

#include "config/cron.h"
#include "config/snapshot_name.h"

/* "2026-11-26 17:05", which is a Thursday. */
static struct tm at(const char *text)
{
	struct tm tm = {0};

	assert_non_null(strptime(text, "%Y-%m-%d %H:%M", &tm));
	return tm;
}

static void minutes(void **state UNUSED)
{
	static const struct {
		const char *schedule, *when;
		bool due;
	} rows[] = {
		{"* * * * *", "2026-11-26 17:05", true},
		{"5 17 * * *", "2026-11-26 17:05", true},
		{"5 17 * * *", "2026-11-26 17:06", false},
		{"*/5 * * * *", "2026-11-26 17:05", true},
		{"*/5 * * * *", "2026-11-26 17:06", false},
		{"1-10/3 * * * *", "2026-11-26 17:07", true},
		{"1-10/3 * * * *", "2026-11-26 17:08", false},
		{"10/20 * * * *", "2026-11-26 17:50", true},
		{"0,5,9 * * * *", "2026-11-26 17:05", true},
		{"5 * * nov *", "2026-11-26 17:05", true},
		{"5 * * 12 *", "2026-11-26 17:05", false},
		{"5 * * * thu", "2026-11-26 17:05", true},
		{"5 * * * mon-fri", "2026-11-26 17:05", true},
		{"5 * * * 0", "2026-11-26 17:05", false},
		/* both days are said: either is enough */
		{"5 * 1 * thu", "2026-11-26 17:05", true},
		{"5 * 26 * 0", "2026-11-26 17:05", true},
		{"5 * 1 * 0", "2026-11-26 17:05", false},
		{"@hourly", "2026-11-26 17:00", true},
		{"@hourly", "2026-11-26 17:01", false},
		{"@daily", "2026-11-26 00:00", true},
		{"@weekly", "2026-11-29 00:00", true},
		{"@weekly", "2026-11-26 00:00", false},
		{"@yearly", "2026-01-01 00:00", true},
		{"@startup", "2026-01-01 00:00", false},
		{"@hourly, 30 * * * *", "2026-11-26 17:30", true},
		{"@hourly, @never", "2026-11-26 17:00", false},
		{"", "2026-11-26 17:00", false},
	};

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		auto_error struct error err = ERROR_INIT;
		struct tm tm = at(rows[k].when);

		expect_ok(schedule_check("k", rows[k].schedule, &err), &err);
		if (schedule_matches(rows[k].schedule, &tm) != rows[k].due)
			print_error("%s at %s\n", rows[k].schedule, rows[k].when);
		assert_int_equal(schedule_matches(rows[k].schedule, &tm), rows[k].due);
	}
	assert_true(schedule_at_startup("@daily, @startup"));
	assert_false(schedule_at_startup("@startup, @never") || schedule_at_startup("@daily"));
}

static void what_is_none(void **state UNUSED)
{
	static const char *const bad[] = {
		"*",           "* * * *",      "* * * * * *", "60 * * * *",  "* 24 * * *", "* * 0 * *",    "* * 32 * *",
		"* * * 13 *",  "* * * * 7",    "*/0 * * * *", "5-1 * * * *", "x * * * *",  "* * * foo *",  "@sometimes",
		"@daily, now", "1,,2 * * * *", "*-5 * * * *", "-1 * * * *",  "1- * * * *", "*/99 * * * *",
	};

	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		auto_error struct error err = ERROR_INIT;

		if (schedule_check("k", bad[k], &err) >= 0)
			print_error("taken: %s\n", bad[k]);
		assert_int_equal(err.status, 400);
	}
}

static void names(void **state UNUSED)
{
	/* 2026-11-26 17:05:09 UTC */
	static const int64_t now = INT64_C(1795712709) * 1000000000;
	static const struct {
		const char *pattern, *taken[4], *name;
	} rows[] = {
		{"snap%d", {NULL}, "snap0"},
		{"snap%d", {"snap0", "snap7", "snapx"}, "snap8"},
		{"a-%d-b", {"a-3-b", "a-9-c"}, "a-4-b"},
		{"snap%d", {"snap4294967295"}, "snap4294967296"},
		{"snap%d", {"snap4294967295", "snap4294967296"}, "snap4294967297"},
		{"fixed", {NULL}, "fixed"},
		{"fixed", {"fixed"}, "fixed-0"},
		{"fixed", {"fixed", "fixed-0"}, "fixed-1"},
		{"{{ creation_date }}", {NULL}, "2026-11-26_17-05-09"},
		{"d{{creation_date|date:\"20060102\"}}-%d", {"d20261126-1"}, "d20261126-2"},
		{"{{ creation_date | date: '15h04' }}", {NULL}, "17h05"},
	};

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		auto_strv struct strv taken = STRV_INIT;
		auto_error struct error err = ERROR_INIT;
		auto_free char *name = NULL;

		for (size_t t = 0; rows[k].taken[t]; t++)
			strv_add(&taken, rows[k].taken[t]);
		expect_ok(snapshot_name_make(rows[k].pattern, now, &taken, &name, &err), &err);
		assert_string_equal(name, rows[k].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(minutes),
		cmocka_unit_test(what_is_none),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
