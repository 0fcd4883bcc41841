/* The cookie jar: who gets which cookie, Set-Cookie, and the file. Beside it: which browser is asked. */
#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/timeutil.h"
#include "client/cookies.h"
#include "client/interact.h"

#define HOUR_NS (3600 * 1000000000LL)

static struct web_url url(const char *text)
{
	struct web_url u = WEB_URL_INIT;
	auto_error struct error err = ERROR_INIT;

	expect_ok(web_url_parse(text, &u, &err), &err);
	return u;
}

static void sends(struct cookie_jar *jar, const char *where, const char *wanted)
{
	auto_web_url struct web_url u = url(where);
	auto_strbuf struct strbuf got = STRBUF_INIT;

	cookie_jar_header(jar, &u, &got);
	if (!streq(strbuf_str(&got), wanted))
		fail_msg("%s gets \"%s\", not \"%s\"", where, strbuf_str(&got), wanted);
}

static void set_header(struct cookie_jar *jar, const char *where, const char *header)
{
	auto_web_url struct web_url u = url(where);

	cookie_jar_take_header(jar, &u, header);
}

static void only_where_they_come_from(void **state)
{
	auto_cookie_jar struct cookie_jar jar = COOKIE_JAR_INIT;

	(void)state;
	set_header(&jar, "https://a.example:8443/1.0/x", "c=1; Path=/1.0; Domain=example");
	sends(&jar, "https://a.example:8443/1.0", "c=1");
	sends(&jar, "https://A.EXAMPLE:8443/1.0/y?z", "c=1");
	sends(&jar, "https://a.example:8443/1.0x", "");
	sends(&jar, "https://a.example:8443/", "");
	sends(&jar, "https://a.example/1.0", "");
	sends(&jar, "https://b.example:8443/1.0", "");
	sends(&jar, "https://x.a.example:8443/1.0", "");
}

static void of_tls_for_tls(void **state)
{
	auto_cookie_jar struct cookie_jar jar = COOKIE_JAR_INIT;

	(void)state;
	set_header(&jar, "https://127.0.0.1:80/", "c=1");
	sends(&jar, "https://127.0.0.1:80/", "c=1");
	sends(&jar, "http://127.0.0.1:80/", "");
}

static void set_cookie(void **state)
{
	static const struct {
		const char *header, *wanted;
	} rows[] = {
		{"a=1", "a=1"},
		{"a=1; Path=/, b=2; Path=/", "a=1; b=2"},
		{"a=1; Expires=Wed, 21 Oct 2099 07:28:00 GMT; Path=/, b=2", "a=1; b=2"},
		{"a=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT", ""},
		{"a=1; Expires=Wed, 21-Oct-2099 07:28:00 GMT", "a=1"},
		{"a=1; Expires=rubbish", "a=1"},
		{"a=1; Max-Age=0", ""},
		{"a=1; Max-Age=-5; Expires=Wed, 21 Oct 2099 07:28:00 GMT", ""},
		{"a=1; Max-Age=99999999999999999", "a=1"},
		{"a=1, a=2", "a=2"},
		{"a=1, a=; Max-Age=0", ""},
		{"a", ""},
		{"=1", ""},
		{"", ""},
		{";;;,,,", ""},
		{"a b=1", ""},
		{"a=x y", ""},
		{"a=1\rb", ""},
		{"a=\"1\"", ""},
		{"a=1; Path=nowhere", "a=1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_cookie_jar struct cookie_jar jar = COOKIE_JAR_INIT;

		set_header(&jar, "https://a/", rows[i].header);
		sends(&jar, "https://a/", rows[i].wanted);
	}
}

static void many_cookies_are_not_kept(void **state)
{
	auto_cookie_jar struct cookie_jar jar = COOKIE_JAR_INIT;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		auto_free char *header = xasprintf("c%d=1", i);

		set_header(&jar, "https://a/", header);
	}
	assert_true(jar.len <= 200);
}

static void the_file(void **state)
{
	/* as Debian's client writes it */
	static const char text[] =
		"[{\"Name\":\"macaroon-auth\",\"Value\":\"W3siYyI6\",\"Domain\":\"127.0.0.1\",\"Path\":\"/"
		"\",\"Secure\":false,"
		"\"HttpOnly\":false,\"Persistent\":true,\"HostOnly\":true,\"Expires\":\"2126-11-23T18:53:41Z\","
		"\"Creation\":"
		"\"2026-11-23T19:53:41.5+01:00\",\"LastAccess\":\"2026-11-23T19:53:41.5+01:00\",\"Updated\":"
		"\"2026-11-23T19:53:41.5+01:00\",\"CanonicalHost\":\"127.0.0.1\"}]\n";
	static const char again[] = "[{\"Name\":\"macaroon-auth\",\"Value\":\"W3siYyI6\",\"Domain\":\"127.0.0.1\","
				    "\"Path\":\"/\",\"Secure\":false,"
				    "\"HttpOnly\":false,\"Persistent\":true,\"HostOnly\":true,\"Expires\":\"2126-11-"
				    "23T18:53:41Z\",\"Creation\":"
				    "\"2026-11-23T18:53:41.5Z\",\"LastAccess\":\"2026-11-23T18:53:41.5Z\",\"Updated\":"
				    "\"2026-11-23T18:53:41.5Z\",\"CanonicalHost\":\"127.0.0.1\"}]\n";
	auto_cookie_jar struct cookie_jar jar = COOKIE_JAR_INIT;
	auto_strbuf struct strbuf out = STRBUF_INIT;

	(void)state;
	cookie_jar_parse(&jar, text, strlen(text));
	cookie_jar_format(&jar, &out);
	assert_string_equal(strbuf_str(&out), again);
	sends(&jar, "https://127.0.0.1:8443/1.0", "macaroon-auth=W3siYyI6");
}

static void other_files(void **state)
{
	static const char *const files[] = {
		"",
		"null",
		"null\n",
		"{}",
		"[",
		"[1,null,\"x\",{}]",
		"[{\"Name\":\"a\",\"Value\":\"b\"}]",
		"[{\"Name\":\"a\",\"Value\":\"b\\r\\nX: "
		"y\",\"Path\":\"/\",\"CanonicalHost\":\"a\",\"Persistent\":true}]",
		"[{\"Name\":\"a\",\"Value\":\"b\",\"Path\":\"/\",\"CanonicalHost\":\"a\",\"Persistent\":false}]",
		"[{\"Name\":\"a\",\"Value\":\"b\",\"Path\":\"/\",\"CanonicalHost\":\"a\",\"Persistent\":true,"
		"\"Expires\":\"2001-01-01T00:00:00Z\"}]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_cookie_jar struct cookie_jar jar = COOKIE_JAR_INIT;
		auto_strbuf struct strbuf out = STRBUF_INIT;

		cookie_jar_parse(&jar, files[i], strlen(files[i]));
		sends(&jar, "https://a/", "");
		cookie_jar_format(&jar, &out);
		assert_string_equal(strbuf_str(&out), "null\n");
	}
}

static void order_and_session(void **state)
{
	auto_cookie_jar struct cookie_jar jar = COOKIE_JAR_INIT;
	auto_strbuf struct strbuf out = STRBUF_INIT;
	auto_web_url struct web_url b = url("https://b/"), a = url("https://a/");
	int64_t later = time_now_ns() + HOUR_NS;
	const char *text;

	(void)state;
	cookie_jar_set(&jar, &b, "n1", "v", "/", later);
	cookie_jar_set(&jar, &a, "n2", "v", "/", later);
	cookie_jar_set(&jar, &a, "n3", "v", "/deep", later);
	cookie_jar_set(&jar, &a, "session", "v", "/", COOKIE_NEVER);
	cookie_jar_format(&jar, &out);
	text = strbuf_str(&out);
	assert_null(strstr(text, "session"));
	assert_true(strstr(text, "n3") < strstr(text, "n2") && strstr(text, "n2") < strstr(text, "n1"));
}

/* Two clients, one after the other: nobody's cookies are lost, and of one name the later stays. */
static void saved_together(void **state)
{
	char dir[] = "/tmp/test-cookies-XXXXXX";
	auto_free char *path = NULL;
	auto_free char *lock = NULL;
	auto_free char *folder = NULL;
	auto_cookie_jar struct cookie_jar first = COOKIE_JAR_INIT, second = COOKIE_JAR_INIT, third = COOKIE_JAR_INIT;
	auto_web_url struct web_url a = url("https://a/");
	auto_error struct error err = ERROR_INIT;
	int64_t later = time_now_ns() + HOUR_NS;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	folder = xasprintf("%s/jars", dir);
	path = xasprintf("%s/m", folder);
	lock = xasprintf("%s.lock", path);
	expect_ok(cookie_jar_load(&first, path, &err), &err);
	expect_ok(cookie_jar_load(&second, path, &err), &err);
	assert_int_equal(first.len, 0);
	cookie_jar_set(&first, &a, "x", "old", "/", later);
	cookie_jar_set(&first, &a, "y", "kept", "/", later);
	cookie_jar_set(&second, &a, "x", "new", "/", later);
	expect_ok(cookie_jar_save(&second, path, &err), &err);
	expect_ok(cookie_jar_save(&first, path, &err), &err);
	expect_ok(cookie_jar_load(&third, path, &err), &err);
	sends(&third, "https://a/", "x=new; y=kept");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(folder, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(stat(lock, &st), 0);
	assert_int_equal(st.st_size, 0);
	unlink(path);
	unlink(lock);
	rmdir(folder);
	rmdir(dir);
}

static void browsers(void **state)
{
	static const struct {
		const char *browser;
		bool display;
		const char *wanted;
	} rows[] = {
		{NULL, false, ""},
		{"", false, ""},
		{NULL, true, "xdg-open"},
		{"", true, "xdg-open"},
		{"firefox", false, "firefox"},
		{"firefox:lynx", true, "firefox"},
		{"a -b %s", true, "a -b"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_strv struct strv words = STRV_INIT;
		auto_free char *got = NULL;

		browser_command(rows[i].browser, rows[i].display, &words);
		got = strv_join(&words, " ");
		assert_string_equal(got, rows[i].wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_where_they_come_from),
		cmocka_unit_test(of_tls_for_tls),
		cmocka_unit_test(set_cookie),
		cmocka_unit_test(many_cookies_are_not_kept),
		cmocka_unit_test(the_file),
		cmocka_unit_test(other_files),
		cmocka_unit_test(order_and_session),
		cmocka_unit_test(saved_together),
		cmocka_unit_test(browsers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
