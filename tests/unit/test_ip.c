/* IP addresses, prefixes, ranges and hardware addresses. */
#include "config/ip.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "unit.h"

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p = {0};

	assert_true(ip_prefix_parse(AF_UNSPEC, text, &p));
	return p;
}

static struct ip_addr addr(const char *text)
{
	struct ip_addr a = {0};

	assert_true(ip_parse(AF_UNSPEC, text, &a));
	return a;
}

static void test_parse(void **state UNUSED)
{
	static const char *const good[] = {"192.0.2.1/24", "0.0.0.0/0", "2001:db8::1/64", "::/0", "2001:db8::1/128"};
	static const char *const bad[] = {"",           "192.0.2.1",      "192.0.2.1/33",  "192.0.2.1/",
					  "192.0.2/24", "2001:db8::/129", "192.0.2.1/024", "fe80::1%a/64",
					  "/24",        "192.0.2.1/-1"};
	struct ip_prefix p;
	struct ip_addr a;
	char buf[IP_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		p = prefix(good[i]);
		assert_string_equal(ip_prefix_format(&p, buf), good[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(ip_prefix_parse(AF_UNSPEC, bad[i], &p));
	assert_false(ip_parse(AF_INET6, "192.0.2.1", &a));
	assert_false(ip_parse(AF_INET, "2001:db8::1", &a));
}

static void test_mac(void **state UNUSED)
{
	static const char *const bad[] = {"",
					  "00:16:3e:00:00",
					  "00:16:3e:00:00:0g",
					  "00-16-3e-00-00-00",
					  "00:16:3e:00:00:00:00",
					  "00:16:3e:00:00:000"};
	struct mac_addr m;
	char buf[MAC_TEXT_MAX];

	assert_true(mac_parse("00:16:3E:aB:cd:0f", &m));
	assert_string_equal(mac_format(&m, buf), "00:16:3e:ab:cd:0f");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(mac_parse(bad[i], &m));
}

static void test_network(void **state UNUSED)
{
	static const struct {
		const char *in, *network, *last;
	} rows[] = {
		{"192.0.2.77/24", "192.0.2.0/24", "192.0.2.255"},
		{"192.0.2.77/27", "192.0.2.64/27", "192.0.2.95"},
		{"192.0.2.77/32", "192.0.2.77/32", "192.0.2.77"},
		{"2001:db8:9:f::5/60", "2001:db8:9::/60", "2001:db8:9:f:ffff:ffff:ffff:ffff"},
	};
	char buf[IP_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ip_prefix p = prefix(rows[i].in), net = ip_network(&p);
		struct ip_addr last = ip_last(&p);

		assert_string_equal(ip_prefix_format(&net, buf), rows[i].network);
		assert_string_equal(ip_format(&last, buf), rows[i].last);
		assert_int_equal(ip_prefix_is_network(&p), streq(rows[i].in, rows[i].network));
	}
}

static void test_contains(void **state UNUSED)
{
	struct ip_prefix a = prefix("192.0.2.0/25"), b = prefix("192.0.2.0/24"), c = prefix("192.0.2.128/25");
	struct ip_prefix six = prefix("::/0");
	struct ip_addr in = addr("192.0.2.127"), out = addr("192.0.2.128");

	assert_true(ip_prefix_contains(&a, &in));
	assert_false(ip_prefix_contains(&a, &out));
	assert_false(ip_prefix_contains(&six, &in));
	assert_true(ip_prefix_overlaps(&a, &b) && ip_prefix_overlaps(&b, &a));
	assert_false(ip_prefix_overlaps(&a, &c));
	assert_true(ip_compare(&in, &out) < 0 && ip_compare(&six.addr, &in) > 0);
}

static void test_nth(void **state UNUSED)
{
	struct ip_prefix p = prefix("192.0.2.9/24"), six = prefix("2001:db8::/64");
	struct ip_addr a;
	char buf[IP_TEXT_MAX];

	assert_true(ip_nth(&p, 1, &a));
	assert_string_equal(ip_format(&a, buf), "192.0.2.1");
	assert_false(ip_nth(&p, 256, &a));
	assert_true(ip_nth(&six, 0x1ffff, &a));
	assert_string_equal(ip_format(&a, buf), "2001:db8::1:ffff");
	a = addr("192.0.2.255");
	assert_true(ip_next(&a));
	assert_string_equal(ip_format(&a, buf), "192.0.3.0");
	a = addr("255.255.255.255");
	assert_false(ip_next(&a));
}

static void test_eui64(void **state UNUSED)
{
	struct ip_prefix p = prefix("2001:db8::1/64");
	struct mac_addr m;
	struct ip_addr a;
	char buf[IP_TEXT_MAX];

	assert_true(mac_parse("00:16:3e:12:34:56", &m));
	a = ip_eui64(&p, &m);
	assert_string_equal(ip_format(&a, buf), "2001:db8::216:3eff:fe12:3456");
}

static void test_lists(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_free struct ip_prefix *p = NULL;
	auto_free struct ip_range *r = NULL;
	size_t n;
	char buf[IP_TEXT_MAX];

	assert_int_equal(ip_prefixes_parse(AF_INET, "192.0.2.0/24, 198.51.100.7", &p, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_string_equal(ip_prefix_format(&p[1], buf), "198.51.100.7/32");
	assert_int_equal(ip_ranges_parse(AF_INET, "192.0.2.2-192.0.2.9 , 192.0.2.20 - 192.0.2.30", &r, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_string_equal(ip_format(&r[1].last, buf), "192.0.2.30");
}

static void test_bad_lists(void **state UNUSED)
{
	static const struct {
		const char *list, *message;
	} rows[] = {
		{"1.2.3.4", "Item \"1.2.3.4\": IP range must contain start and end IP addresses"},
		{"a-b", "Item \"a-b\": Start not an IPv4 address"},
		{"192.0.2.1-::1", "Item \"192.0.2.1-::1\": End not an IPv4 address"},
		{"192.0.2.9-192.0.2.2", "Item \"192.0.2.9-192.0.2.2\": The range ends before it begins"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_error struct error err = ERROR_INIT;
		struct ip_range *r = NULL;
		size_t n;

		assert_true(ip_ranges_parse(AF_INET, rows[i].list, &r, &n, &err) < 0);
		assert_string_equal(error_msg(&err), rows[i].message);
		assert_null(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),    cmocka_unit_test(test_mac),       cmocka_unit_test(test_network),
		cmocka_unit_test(test_contains), cmocka_unit_test(test_nth),       cmocka_unit_test(test_eui64),
		cmocka_unit_test(test_lists),    cmocka_unit_test(test_bad_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
