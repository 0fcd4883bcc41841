/* Reading JSON: hostile texts, and the decoding of request bodies by table. */
#include "unit.h"

#include "base/json.h"
#include "base/jsonw.h"
#include "base/timeutil.h"

static void refuse(const char *text, size_t len, const char *why)
{
	auto_error struct error err = ERROR_INIT;
	struct json *j = NULL;

	expect_error(json_parse(text, len, &j, &err), &err, 400, why);
	assert_null(j);
}

static void bad_texts(void **state UNUSED)
{
	static const char *const bad[] = {
		"",           " ",       "{",         "[1,",      "\"abc",    "{\"a\"}",      "{\"a\":}",
		"[1,]",       "{,}",     "tru",       "nul",      "'a'",      "{a:1}",        "/* c */1",
		"[1] x",      "{} {}",   "1 2",       "01",       "+1",       "1.",           "NaN",
		"Infinity",   "\"\\x\"", "\"\\u12\"", "\"a\nb\"", "\"\xff\"", "\"\xc0\x80\"", "[1 2]",
		"{\"a\":1,}", "-",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_json struct json *j = NULL;

		if (json_parse(bad[i], strlen(bad[i]), &j, &err) >= 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(err.status, 400);
		assert_non_null(strstr(error_msg(&err), "Invalid JSON"));
	}
	refuse("{}\0", 3, "NUL");
	refuse("\"a\\u0000b\"", 10, "NUL");
	refuse("{\"a\\u0000b\":1}", 14, "NUL");
}

static void bare_values(void **state UNUSED)
{
	static const struct {
		const char *text;
		enum json_kind kind;
		const char *name;
	} rows[] = {
		{"1", JSON_INT, "float64"},
		{"-12", JSON_INT, "float64"},
		{"1.5", JSON_FLOAT, "float64"},
		{"1e3", JSON_FLOAT, "float64"},
		{"true", JSON_BOOL, "bool"},
		{"false", JSON_BOOL, "bool"},
		{"null", JSON_NULL, "nil"},
		{"\"x\"", JSON_STRING, "string"},
		{"[]", JSON_ARRAY, "slice"},
		{"{}", JSON_OBJECT, "map"},
		{" \n {} \t\r\n", JSON_OBJECT, "map"},
		{"\"\\\\u0000\"", JSON_STRING, "string"},
	};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_json struct json *j = NULL;

		expect_ok(json_parse(rows[i].text, strlen(rows[i].text), &j, &err), &err);
		assert_int_equal(json_kind(j), rows[i].kind);
		assert_string_equal(json_kind_name(j), rows[i].name);
	}
}

/* @depth arrays inside each other. */
static char *nested(size_t depth)
{
	char *text = xmalloc(2 * depth + 1);

	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	text[2 * depth] = '\0';
	return text;
}

static void depth_is_bounded(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_free char *fits = nested(JSON_DEPTH_MAX - 1);
	auto_free char *deep = nested(JSON_DEPTH_MAX + 1);
	auto_free char *deeper = nested(1000000);
	auto_json struct json *j = NULL;

	expect_ok(json_parse(fits, strlen(fits), &j, &err), &err);
	refuse(deep, strlen(deep), "Invalid JSON");
	refuse(deeper, strlen(deeper), "Invalid JSON");
	refuse(deeper, 1000000, "Invalid JSON");
}

static void huge_texts(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	size_t n = 2 << 20;
	auto_free char *text = xmalloc(n + 3);
	auto_json struct json *j = NULL;
	struct json *none = NULL;

	memset(text, 'x', n + 2);
	text[0] = text[n + 1] = '"';
	expect_ok(json_parse(text, n + 2, &j, &err), &err);
	assert_int_equal(strlen(json_str(j)), n);
	expect_error(json_parse(text, (size_t)INT32_MAX + 1, &none, &err), &err, 413, "too large");
}

static void numbers(void **state UNUSED)
{
	static const char text[] =
		"{\"big\":99999999999999999999,\"small\":-99999999999999999999,\"f\":2.9,\"s\":\"5\"}";
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;

	expect_ok(json_parse(text, strlen(text), &j, &err), &err);
	assert_true(json_int(json_get(j, "big")) == INT64_MAX);
	assert_true(json_int(json_get(j, "small")) == INT64_MIN);
	assert_int_equal(json_int(json_get(j, "f")), 2);
	assert_int_equal(json_int(json_get(j, "s")), 0);
	assert_int_equal(json_int(json_get(j, "absent")), 0);
}

static void last_of_duplicate_keys_wins(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_strmap struct strmap m = STRMAP_INIT;

	expect_ok(json_text_to_strmap("{\"a\":\"1\",\"a\":\"2\"}", &m, &err), &err);
	assert_int_equal(m.len, 1);
	assert_string_equal(strmap_get(&m, "a"), "2");
}

struct body {
	char *name;
	bool force;
	int64_t timeout;
	int64_t when;
	struct strv profiles;
	struct strmap config;
	struct mapmap devices;
	const struct json *source;
};

static const struct json_field fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct body, name, "name", JSON_REQUIRED),
	JSON_FIELD(JSON_FIELD_BOOL, struct body, force, "force", 0),
	JSON_FIELD(JSON_FIELD_INT, struct body, timeout, "timeout", 0),
	JSON_FIELD(JSON_FIELD_TIME, struct body, when, "when", 0),
	JSON_FIELD(JSON_FIELD_STRV, struct body, profiles, "profiles", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct body, config, "config", 0),
	JSON_FIELD(JSON_FIELD_MAPMAP, struct body, devices, "devices", 0),
	JSON_FIELD(JSON_FIELD_RAW, struct body, source, "source", 0),
	JSON_FIELD_END,
};

static void decode(void **state UNUSED)
{
	static const char text[] = "{\"name\":\"c1\",\"force\":true,\"timeout\":-1,\"when\":\"\",\"profiles\":[\"a\","
				   "\"b\"],\"unknown\":[1],"
				   "\"config\":{\"k\":\"v\",\"gone\":null},\"devices\":{\"d\":{\"type\":\"none\"}},"
				   "\"source\":{\"type\":\"x\"}}";
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;
	struct body b = {0};
	uint64_t given;

	expect_ok(json_parse(text, strlen(text), &j, &err), &err);
	expect_ok(json_decode(j, "", fields, &b, &given, &err), &err);
	assert_true(given == 0xff);
	assert_string_equal(b.name, "c1");
	assert_true(b.force && b.timeout == -1 && b.when == TIME_GO_ZERO);
	assert_int_equal(b.profiles.len, 2);
	assert_string_equal(strmap_get(&b.config, "gone"), "");
	assert_string_equal(strmap_get(mapmap_get(&b.devices, "d"), "type"), "none");
	assert_string_equal(json_get_str(b.source, "type"), "x");
	json_decode_done(fields, &b);
	assert_null(b.name);
}

static void decode_mistyped(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"[]", "body"},
		{"{}", "\"x.name\" is missing"},
		{"{\"name\":null}", "\"x.name\" is missing"},
		{"{\"name\":5}", "\"x.name\" must be a string, not float64"},
		{"{\"name\":\"a\",\"force\":\"true\"}", "\"x.force\" must be a boolean, not string"},
		{"{\"name\":\"a\",\"timeout\":\"5\"}", "\"x.timeout\" must be an integer, not string"},
		{"{\"name\":\"a\",\"timeout\":1.5}", "\"x.timeout\" must be an integer"},
		{"{\"name\":\"a\",\"when\":\"yesterday\"}", "\"x.when\""},
		{"{\"name\":\"a\",\"when\":7}", "\"x.when\" must be a time"},
		{"{\"name\":\"a\",\"profiles\":\"p\"}", "\"x.profiles\" must be an array of strings"},
		{"{\"name\":\"a\",\"profiles\":[\"p\",1]}", "\"x.profiles\" must be an array of strings, not float64"},
		{"{\"name\":\"a\",\"config\":[]}", "\"x.config\" must be an object of strings, not slice"},
		{"{\"name\":\"a\",\"config\":{\"k\":1}}", "\"x.config.k\" must be a string, not float64"},
		{"{\"name\":\"a\",\"devices\":{\"d\":\"e\"}}",
		 "\"x.devices.d\" must be an object of strings, not string"},
		{"{\"name\":\"a\",\"devices\":{\"d\":{\"k\":{}}}}", "\"x.devices.d.k\" must be a string, not map"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_json struct json *j = NULL;
		struct body b = {0};
		const char *path = i ? "x" : "";

		expect_ok(json_parse(rows[i][0], strlen(rows[i][0]), &j, &err), &err);
		expect_error(json_decode(j, path, fields, &b, NULL, &err), &err, 400, rows[i][1]);
		json_decode_done(fields, &b);
	}
}

static void text_again(void **state UNUSED)
{
	static const char text[] = "{\"a\":[1,{\"b\":\"x/y\\n\"}],\"e\":{},\"f\":[]}";
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;
	auto_free char *plain = NULL;
	auto_free char *pretty = NULL;

	expect_ok(json_parse(text, strlen(text), &j, &err), &err);
	plain = json_to_text(j);
	pretty = json_to_pretty(j);
	assert_string_equal(plain, text);
	assert_non_null(strstr(pretty, "\"e\": {}"));
	assert_non_null(strstr(pretty, "\"f\": []"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_texts),        cmocka_unit_test(bare_values),
		cmocka_unit_test(depth_is_bounded), cmocka_unit_test(huge_texts),
		cmocka_unit_test(numbers),          cmocka_unit_test(last_of_duplicate_keys_wins),
		cmocka_unit_test(decode),           cmocka_unit_test(decode_mistyped),
		cmocka_unit_test(text_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
