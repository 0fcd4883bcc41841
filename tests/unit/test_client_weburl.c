/* URLs of identity providers: what is one, and what a reference on a page means. */
#include "unit.h"

#include "client/weburl.h"

static void parse_gives(const char *text, const char *wanted)
{
	auto_web_url struct web_url u = WEB_URL_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_free char *got = NULL;

	expect_ok(web_url_parse(text, &u, &err), &err);
	got = web_url_text(&u);
	assert_string_equal(got, wanted);
}

static void good_urls(void **state)
{
	(void)state;
	parse_gives("https://Example.COM", "https://example.com/");
	parse_gives("HTTPS://example.com:443/a?b=c#d", "https://example.com/a?b=c");
	parse_gives("https://example.com:8443?q", "https://example.com:8443/?q");
	parse_gives("https://[2001:db8::1]:99/x", "https://[2001:db8::1]:99/x");
	parse_gives("http://127.9.9.9:8081/x", "http://127.9.9.9:8081/x");
	parse_gives("http://[::1]/", "http://[::1]/");
	parse_gives("http://localhost:80", "http://localhost/");
}

static void bad_urls(void **state)
{
	static const char *const bad[] = {
		"",
		"example.com",
		"/x",
		"file:///etc/passwd",
		"javascript:alert(1)",
		"ftp://example.com",
		"unix:/x",
		"https://",
		"https:///x",
		"https://u@example.com/",
		"https://u:p@example.com/",
		"https://example.com:0/",
		"https://example.com:65536/",
		"https://example.com/a b",
		"https://example.com/\r\nX: y",
		"https://example.com/\x1b[2J",
		"https://example.com/\x7f",
		"https://example.com/\xc2\x9b",
		"https://example.com/\"",
		"https://example.com/`x`",
		"http://example.com/",
		"http://192.0.2.1/",
		"http://127.0.0.1.example.com/",
		"http://localhost.example.com/",
		"http://[2001:db8::1]/",
		"http://0.0.0.0/",
	};
	auto_free char *longest = xmalloc(WEB_URL_MAX + 20);
	auto_web_url struct web_url u = WEB_URL_INIT;
	auto_error struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (web_url_parse(bad[i], &u, &err) >= 0)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(err.status, 400);
		assert_null(u.host);
		error_clear(&err);
	}
	memset(longest, 'a', WEB_URL_MAX + 19);
	longest[WEB_URL_MAX + 19] = '\0';
	memcpy(longest, "https://", 8);
	expect_error(web_url_parse(longest, &u, &err), &err, 400, "more than");
}

static void references(void **state)
{
	static const struct {
		const char *base, *reference, *wanted;
	} rows[] = {
		{"https://a/1.0", ".", "https://a/"},
		{"https://a/1.0/x", "../", "https://a/"},
		{"https://a/1.0/x/y", "../../", "https://a/"},
		{"https://a/1.0/x/y?p=../q", "../../../../..", "https://a/"},
		{"https://a/c/", "discharge", "https://a/c/discharge"},
		{"https://a/c/", "/form", "https://a/form"},
		{"https://a/c/", "./x/./y/../z", "https://a/c/x/z"},
		{"https://a/c/", "?q=1", "https://a/c/?q=1"},
		{"https://a/c/d?old", "", "https://a/c/d"},
		{"https://a/c/", "x?u=https://b/../c", "https://a/c/x?u=https://b/../c"},
		{"https://a:99/c/", "//b/x", "https://b/x"},
		{"https://a/c/", "https://b:1/x", "https://b:1/x"},
		{"https://a/c/", "x#frag", "https://a/c/x"},
		{"https://a/c/", "...", "https://a/c/..."},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_web_url struct web_url base = WEB_URL_INIT;
		auto_web_url struct web_url u = WEB_URL_INIT;
		auto_error struct error err = ERROR_INIT;
		auto_free char *got = NULL;

		expect_ok(web_url_parse(rows[i].base, &base, &err), &err);
		expect_ok(web_url_resolve(&base, rows[i].reference, &u, &err), &err);
		got = web_url_text(&u);
		assert_string_equal(got, rows[i].wanted);
	}
}

static void bad_references(void **state)
{
	static const char *const bad[] = {"mailto:x", "data:text/html,x", "http://b/", "//u@b/", "a b",
					  "x\n",      "https://"};
	auto_web_url struct web_url base = WEB_URL_INIT;
	auto_web_url struct web_url u = WEB_URL_INIT;
	auto_error struct error err = ERROR_INIT;

	(void)state;
	expect_ok(web_url_parse("https://a/c/", &base, &err), &err);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (web_url_resolve(&base, bad[i], &u, &err) >= 0)
			fail_msg("taken: %s", bad[i]);
		error_clear(&err);
	}
}

static void queries(void **state)
{
	auto_web_url struct web_url u = WEB_URL_INIT;
	auto_error struct error err = ERROR_INIT;

	(void)state;
	expect_ok(web_url_parse("https://a/c", &u, &err), &err);
	web_url_add_query(&u, "x", "a b&c=d");
	web_url_add_query(&u, "y", "");
	assert_string_equal(u.path, "/c?x=a%20b%26c%3Dd&y=");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_urls),      cmocka_unit_test(bad_urls), cmocka_unit_test(references),
		cmocka_unit_test(bad_references), cmocka_unit_test(queries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
