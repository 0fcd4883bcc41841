/* Writing JSON: commas, escapes, bad bytes; what is written can be read. */
#include "unit.h"

#include "base/crypto.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/timeutil.h"

static char *written(const char *s)
{
	struct strbuf b = STRBUF_INIT;

	jsonw_str(&JSONW(&b), s);
	return strbuf_take(&b);
}

static void strings(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"", "\"\""},
		{"plain", "\"plain\""},
		{"a\"b\\c", "\"a\\\"b\\\\c\""},
		{"\b\t\n\f\r", "\"\\b\\t\\n\\f\\r\""},
		{"\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\""},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{"a\xff"
		 "b",
		 "\"a\xef\xbf\xbd"
		 "b\""},
		{"\xc3", "\"\xef\xbf\xbd\""},                                 /* cut short */
		{"\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* too long a form of NUL */
		{"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* half of a pair */
		{"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
		{"\xe2\x82x", "\"\xef\xbf\xbd\xef\xbf\xbdx\""},
	};
	auto_free char *null = written(NULL);

	assert_string_equal(null, "\"\"");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_free char *text = written(rows[i][0]);

		assert_string_equal(text, rows[i][1]);
	}
}

static void structure(void **state UNUSED)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_strmap struct strmap m = STRMAP_INIT;
	auto_strv struct strv v = STRV_INIT;
	struct jsonw w = JSONW(&b);

	strmap_set(&m, "k", "v");
	jsonw_object_begin(&w);
	jsonw_kv_int(&w, "i", INT64_MIN);
	jsonw_kv_uint(&w, "u", UINT64_MAX);
	jsonw_kv_bool(&w, "b", true);
	jsonw_kv_null(&w, "n");
	jsonw_kv_time(&w, "t", TIME_GO_ZERO);
	jsonw_kv_strf(&w, "f", "%d\"", 5);
	jsonw_kv_raw(&w, "r", "[1,2]");
	jsonw_kv_strmap(&w, "m", &m);
	jsonw_kv_strv(&w, "v", &v);
	jsonw_key(&w, "a");
	jsonw_array_begin(&w);
	jsonw_object_begin(&w);
	jsonw_object_end(&w);
	jsonw_array_begin(&w);
	jsonw_array_end(&w);
	jsonw_bool(&w, false);
	jsonw_array_end(&w);
	jsonw_object_end(&w);
	assert_string_equal(strbuf_str(&b),
			    "{\"i\":-9223372036854775808,\"u\":18446744073709551615,\"b\":true,\"n\":null,"
			    "\"t\":\"0001-01-01T00:00:00Z\",\"f\":\"5\\\"\",\"r\":[1,2],\"m\":{\"k\":\"v\"},\"v\":[],"
			    "\"a\":[{},[],false]}");
}

/* Any bytes at all give text that our own strict parser takes. */
static void any_bytes_can_be_read(void **state UNUSED)
{
	for (int step = 0; step < 2000; step++) {
		auto_error struct error err = ERROR_INIT;
		auto_json struct json *j = NULL;
		char raw[33];
		auto_free char *text = NULL;

		random_bytes(raw, sizeof(raw));
		raw[sizeof(raw) - 1] = '\0';
		text = written(raw);
		expect_ok(json_parse(text, strlen(text), &j, &err), &err);
		assert_int_equal(json_kind(j), JSON_STRING);
	}
}

static void maps_come_back(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_mapmap struct mapmap m = MAPMAP_INIT;
	auto_mapmap struct mapmap again = MAPMAP_INIT;
	auto_free char *text = NULL;

	strmap_set(mapmap_ensure(&m, "d \"1\""), "path", "/a\\b\n");
	strmap_set(mapmap_ensure(&m, "e"), "", "\xc3\xa4");
	mapmap_ensure(&m, "empty");
	text = mapmap_to_json(&m);
	expect_ok(json_text_to_mapmap(text, &again, &err), &err);
	assert_true(mapmap_equal(&m, &again));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(strings), cmocka_unit_test(structure),
					   cmocka_unit_test(any_bytes_can_be_read), cmocka_unit_test(maps_come_back)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
