/* Filters: the grammar with its errors, matching by kind of value, order of evaluation. */
#include "unit.h"

#include "base/json.h"
#include "base/strbuf.h"
#include "config/filter.h"

static const char object[] =
	"{\"name\":\"web-1\",\"status\":\"Running\",\"ephemeral\":false,\"size\":1500,\"ratio\":0.5,\"none\":null,"
	"\"profiles\":[\"default\"],\"config\":{\"user.a\":\"x\",\"user.a.b\":\"dotted\",\"image.os\":\"busybox\","
	"\"r\":\"(\"},"
	"\"expanded_devices\":{\"eth0\":{\"type\":\"nic\"},\"my.disk\":{\"type\":\"disk\"}},\"empty\":\"\"}";

static bool matches(const char *text)
{
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;
	CLEANUP(filter_freep) struct filter *f = NULL;

	expect_ok(json_parse(object, strlen(object), &j, &err), &err);
	expect_ok(filter_parse(text, &f, &err), &err);
	return filter_match(f, filter_get_json, j);
}

static void fitting(void **state UNUSED)
{
	static const char *const yes[] = {
		"",
		"  ",
		"name eq web-1",
		"NAME eq x or name eq WEB-1",
		"name eq web-.",
		"name eq ^web",
		"name eq 1$",
		"name eq web-1|db",
		"name ne web",
		"not name eq web",
		"status eq running",
		"ephemeral eq false",
		"ephemeral eq no",
		"ephemeral ne true",
		"size eq 1500",
		"size eq 1500.0",
		"size ne 15",
		"ratio eq 0.5",
		"config.user.a eq x",
		"config.user.a.b eq dotted",
		"config.image.os eq BUSY.*",
		"expanded_devices.eth0.type eq nic",
		"expanded_devices.my.disk.type eq disk",
		"name eq \"web-1\"",
		"\"name\" eq web-1",
		"empty eq \"\"",
		"missing ne x",
		"not missing eq x",
		"profiles ne default",
		"none ne x",
		"config.r eq (",
		"Not name Eq db AND size NE 3",
	};
	static const char *const no[] = {
		"name eq web",       "name eq eb-1",        "name eq db|eb-1",    "name ne web-1",
		"not name eq web-1", "ephemeral eq true",   "ephemeral eq maybe", "size eq 150",
		"size eq 1500x",     "size eq \"\"",        "missing eq x",       "config eq x",
		"config.user eq x",  "profiles eq default", "none eq null",       "name eq \"web-1 \"",
		"config.r eq x",
	};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (!matches(yes[i]))
			fail_msg("does not match: %s", yes[i]);
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (matches(no[i]))
			fail_msg("matches: %s", no[i]);
}

/* Strictly from left to right: "and" does not bind closer than "or". */
static void order(void **state UNUSED)
{
	assert_true(matches("name eq x and name eq x or name eq web-1"));
	assert_false(matches("name eq web-1 or name eq x and name eq x"));
	assert_true(matches("name eq x or name eq web-1 and size eq 1500"));
	assert_false(matches("name eq web-1 and not size eq 1500 or name eq x"));
}

static void bad_filters(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"name", "Invalid filter: clause has no operator"},
		{"not name", "Invalid filter: clause has no operator"},
		{"name eq", "Invalid filter: clause has no value"},
		{"not", "Invalid filter: incomplete not clause"},
		{"name eq a and not", "Invalid filter: incomplete not clause"},
		{"name eq \"a b", "Invalid filter: unterminated quote"},
		{"\"", "Invalid filter: unterminated quote"},
		{"name eq a b", "Invalid filter: invalid clause composition"},
		{"name eq a name eq b", "Invalid filter: invalid clause composition"},
		{"name eq a and", "Invalid filter: unterminated compound clause"},
		{"name eq a or", "Invalid filter: unterminated compound clause"},
		{"name like a", "Invalid filter: unknown operator \"like\""},
	};
	auto_error struct error err = ERROR_INIT;
	struct filter *f = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int r = filter_parse(rows[i][0], &f, &err);

		assert_string_equal(error_msg(&err), rows[i][1]);
		expect_error(r, &err, 400, rows[i][1]);
		assert_null(f);
	}
}

static void costs_are_bounded(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf many = STRBUF_INIT;
	auto_strbuf struct strbuf wide = STRBUF_INIT;
	/* these take the library gigabytes, or hours */
	static const char *const costly[] = {"((((.{1,255}){1,255}){1,255}){1,255})",
					     ".{1,30000}",
					     ".{30000}",
					     "((a*)*)*b",
					     "(a)\\1",
					     "(a|(b|c)+)+",
					     "(x)?",
					     "a{2}b{2}",
					     "(a*.*)*(b*.*)*"};
	struct filter *f = NULL;

	for (int i = 0; i < 65; i++)
		strbuf_appendf(&many, "%sname eq a", i ? " or " : "");
	expect_error(filter_parse(strbuf_str(&many), &f, &err), &err, 400, "64 clauses");
	strbuf_append(&wide, "name eq ");
	for (int i = 0; i < 300; i++)
		strbuf_append(&wide, "a");
	expect_error(filter_parse(strbuf_str(&wide), &f, &err), &err, 400, "more than 256 bytes");
	for (size_t i = 0; i < ARRAY_SIZE(costly); i++) {
		auto_free char *text = xasprintf("name eq %s", costly[i]);

		expect_error(filter_parse(text, &f, &err), &err, 400, "too complex");
	}
	assert_true(matches("name eq .{5}"));
}

static void repeated_repetitions_are_plain_text(void **state)
{
	static const char *const plain[] = {"a++", "a**", "a+*", "a{2}{3}",
					    "a+++++++++++++++++++++++++++++++++++++++++"};
	static const char *const patterns[] = {"a+?", "a*?", "[+*a]+", "a+a+", "a?a?"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(plain) + ARRAY_SIZE(patterns); i++) {
		bool is_plain = i < ARRAY_SIZE(plain);
		const char *value = is_plain ? plain[i] : patterns[i - ARRAY_SIZE(plain)];
		auto_free char *text = xasprintf("name eq %s", value);
		auto_free char *named = xasprintf("{\"name\":\"%s\"}", is_plain ? value : "aa");
		CLEANUP(filter_freep) struct filter *f = NULL;
		auto_error struct error err = ERROR_INIT;
		auto_json struct json *j = NULL;

		if (filter_parse(text, &f, &err) < 0 && is_plain)
			continue; /* too complex is as good */
		expect_ok(0, &err);
		expect_ok(json_parse(named, strlen(named), &j, &err), &err);
		if (!filter_match(f, filter_get_json, j))
			fail_msg("%s does not fit", value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(fitting), cmocka_unit_test(order),
					   cmocka_unit_test(bad_filters), cmocka_unit_test(costs_are_bounded),
					   cmocka_unit_test(repeated_repetitions_are_plain_text)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
