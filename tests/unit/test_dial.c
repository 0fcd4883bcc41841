/* Addresses of servers, and when a proxy is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire_dial.h"
#include "http/client.h"
#include "http/dial.h"

static void urls_that_are_taken(void **state)
{
	static const struct {
		const char *url, *host;
		unsigned port;
		const char *path, *authority;
	} rows[] = {
		{"https://example.com", "example.com", 8443, "", "example.com:8443"},
		{"https://example.com/", "example.com", 8443, "/", "example.com:8443"},
		{"https://example.com:1/a/b?c=d", "example.com", 1, "/a/b?c=d", "example.com:1"},
		{"https://example.com:", "example.com", 8443, "", "example.com:8443"},
		{"https://192.0.2.1:65535", "192.0.2.1", 65535, "", "192.0.2.1:65535"},
		{"https://[2001:db8::1]", "2001:db8::1", 8443, "", "[2001:db8::1]:8443"},
		{"https://[::1]:9443/x", "::1", 9443, "/x", "[::1]:9443"},
		{"https://[fe80::1%eth0]:9443", "fe80::1%eth0", 9443, "", "[fe80::1%eth0]:9443"},
		{"https://example.com?x", "example.com", 8443, "?x", "example.com:8443"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_dial_target struct dial_target t = DIAL_TARGET_INIT;
		auto_error struct error err = ERROR_INIT;
		auto_free char *path = NULL;
		auto_free char *authority = NULL;

		if (dial_target_parse(rows[i].url, 8443, &t, &path, &err) < 0)
			fail_msg("%s: %s", rows[i].url, error_msg(&err));
		authority = dial_target_authority(&t);
		assert_string_equal(t.host, rows[i].host);
		assert_int_equal(t.port, rows[i].port);
		assert_string_equal(path, rows[i].path);
		assert_string_equal(authority, rows[i].authority);
	}
}

static void urls_that_are_refused(void **state)
{
	static const char *const urls[] = {
		"",
		"example.com",
		"http://example.com",
		"https://",
		"https://:8443",
		"https:///x",
		"https://user@host",
		"https://user:pw@host/",
		"https://host:0",
		"https://host:65536",
		"https://host:x",
		"https://host:1:2",
		"https://[::1",
		"https://[::1]x",
		"https://[nonsense]",
		"https://ho st",
		"https://host/a b",
		"https://host/a\r\nb",
		"https://ho\\st",
		"HTTPS://host",
		"https://host:-1",
		"https://2001:db8::1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		auto_dial_target struct dial_target t = DIAL_TARGET_INIT;
		auto_error struct error err = ERROR_INIT;

		if (dial_target_parse(urls[i], 8443, &t, NULL, &err) == 0)
			fail_msg("\"%s\" was taken", urls[i]);
		assert_int_equal(err.status, 400);
		assert_non_null(strstr(error_msg(&err), "Invalid URL"));
	}
}

static void proxy_exceptions(void **state)
{
	static const struct {
		const char *no_proxy, *host;
		unsigned port;
		bool proxied;
	} rows[] = {
		{NULL, "example.com", 8443, true},
		{"", "example.com", 8443, true},
		{"*", "example.com", 8443, false},
		{NULL, "localhost", 8443, false},
		{NULL, "LOCALHOST", 8443, false},
		{NULL, "127.1.2.3", 8443, false},
		{NULL, "::1", 8443, false},
		{NULL, "192.0.2.1", 8443, true},
		{"example.com", "example.com", 8443, false},
		{"example.com", "EXAMPLE.com", 8443, false},
		{"example.com", "a.example.com", 8443, false},
		{"example.com", "badexample.com", 8443, true},
		{".example.com", "example.com", 8443, true},
		{".example.com", "a.example.com", 8443, false},
		{"*.example.com", "a.example.com", 8443, false},
		{"*.example.com", "example.com", 8443, true},
		{"example.com:443", "example.com", 8443, true},
		{"example.com:8443", "example.com", 8443, false},
		{" a , example.com ", "example.com", 8443, false},
		{"192.0.2.0/24", "192.0.2.77", 8443, false},
		{"192.0.2.0/24", "192.0.3.77", 8443, true},
		{"192.0.2.0/33", "192.0.2.77", 8443, true},
		{"0.0.0.0/0", "192.0.2.77", 8443, false},
		{"192.0.2.64/26", "192.0.2.63", 8443, true},
		{"192.0.2.77", "192.0.2.77", 8443, false},
		{"192.0.2.77:1", "192.0.2.77", 8443, true},
		{"2001:db8::/32", "2001:db8::5", 8443, false},
		{"2001:db8::5", "2001:db8:0::5", 8443, false},
		{"[2001:db8::5]:8443", "2001:db8::5", 8443, false},
		{"2001:db8::/32", "192.0.2.1", 8443, true},
		{",,", "example.com", 8443, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_free char *p = dial_proxy_pick("http://proxy:3128", rows[i].no_proxy, rows[i].host, rows[i].port);

		if ((p != NULL) != rows[i].proxied)
			fail_msg("no_proxy \"%s\", host %s", rows[i].no_proxy ? rows[i].no_proxy : "(none)",
				 rows[i].host);
	}
}

static void proxy_from_the_environment(void **state)
{
	auto_free char *upper = NULL;
	auto_free char *lower = NULL;
	auto_free char *none = NULL;

	(void)state;
	unsetenv("HTTPS_PROXY");
	unsetenv("NO_PROXY");
	unsetenv("no_proxy");
	setenv("https_proxy", "proxy:3128", 1);
	lower = dial_proxy_from_env("example.com", 443);
	assert_string_equal(lower, "http://proxy:3128");
	setenv("HTTPS_PROXY", "https://u:p@other", 1);
	upper = dial_proxy_from_env("example.com", 443);
	assert_string_equal(upper, "https://u:p@other");
	setenv("no_proxy", "example.com", 1);
	none = dial_proxy_from_env("example.com", 443);
	assert_null(none);
}

static void target_copies_are_independent(void **state)
{
	auto_dial_target struct dial_target a = DIAL_TARGET_INIT, b = DIAL_TARGET_INIT;
	auto_error struct error err = ERROR_INIT;

	(void)state;
	assert_return_code(dial_target_parse("https://host:1", 8443, &a, NULL, &err), 0);
	a.flags = WIRE_DIAL_PIN;
	strv_add(&a.pins, "00");
	a.client_key = xstrdup("key");
	dial_target_copy(&b, &a);
	dial_target_done(&a);
	assert_string_equal(b.host, "host");
	assert_string_equal(b.pins.items[0], "00");
	assert_string_equal(b.client_key, "key");
	assert_null(b.proxy);
}

static void remote_client_connects_late(void **state)
{
	auto_dial_target struct dial_target t = DIAL_TARGET_INIT;
	auto_http_client struct http_client *c = NULL;
	auto_error struct error err = ERROR_INIT;

	(void)state;
	assert_return_code(dial_target_parse("https://[::1]:1", 8443, &t, NULL, &err), 0);
	c = http_client_new_remote(&t);
	assert_true(http_client_is_remote(c));
	assert_string_equal(http_client_where(c), "[::1]:1");
	assert_null(http_client_peer(c)->leaf_pem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_that_are_taken),
		cmocka_unit_test(urls_that_are_refused),
		cmocka_unit_test(proxy_exceptions),
		cmocka_unit_test(proxy_from_the_environment),
		cmocka_unit_test(target_copies_are_independent),
		cmocka_unit_test(remote_client_connects_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
