/* Addresses as users write them: every short form, and what is none. */
#include "base/address.h"

#include "unit.h"

static void good(const char *text, const char *host, unsigned port)
{
	auto_host_port struct host_port hp = HOST_PORT_INIT;
	auto_error struct error err = ERROR_INIT;

	expect_ok(host_port_parse(text, 8443, &hp, &err), &err);
	assert_string_equal(hp.host, host);
	assert_int_equal(hp.port, port);
}

static void bad(const char *text, const char *reason)
{
	auto_host_port struct host_port hp = HOST_PORT_INIT;
	auto_error struct error err = ERROR_INIT;

	expect_error(host_port_parse(text, 8443, &hp, &err), &err, 400, reason);
	assert_null(hp.host);
}

static void all_forms(void **state UNUSED)
{
	good("192.0.2.1", "192.0.2.1", 8443);
	good("192.0.2.1:9443", "192.0.2.1", 9443);
	good("2001:db8::1", "2001:db8::1", 8443);
	good("[2001:db8::1]", "2001:db8::1", 8443);
	good("[2001:db8::1]:9443", "2001:db8::1", 9443);
	good("[::]", "::", 8443);
	good("[::]:1", "::", 1);
	good("::", "::", 8443);
	good(":9443", "", 9443);
	good(":", "", 8443);
	good("0.0.0.0", "0.0.0.0", 8443);
	good("host.example", "host.example", 8443);
	good("host:65535", "host", 65535);
	good("host:", "host", 8443);
}

static void refused(void **state UNUSED)
{
	bad("", "empty");
	bad("host:0", "port");
	bad("host:65536", "port");
	bad("host:http", "port");
	bad("host:-1", "port");
	bad("host:000001", "port");
	bad("[::1", "bracket");
	bad("[192.0.2.1]", "IPv6");
	bad("[::1]x", "port");
	bad("[::1]:x", "port");
	bad("1:2:3", "colon");
	bad("https://host", "port");
	bad("a b", "neither");
	bad("-host", "neither");
	bad("host/24", "neither");
	bad("h\nost", "neither");
}

static void formats(void **state UNUSED)
{
	auto_free char *four = host_port_format("192.0.2.1", 1), *six = host_port_format("2001:db8::1", 2);
	auto_free char *host4 = host_port_host(four), *host6 = host_port_host(six);

	assert_string_equal(four, "192.0.2.1:1");
	assert_string_equal(six, "[2001:db8::1]:2");
	assert_string_equal(host4, "192.0.2.1");
	assert_string_equal(host6, "2001:db8::1");
	assert_true(address_is_wildcard("") && address_is_wildcard("::") && address_is_wildcard("0.0.0.0"));
	assert_true(address_is_wildcard("0:0:0:0:0:0:0:0"));
	assert_false(address_is_wildcard("::1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_forms),
		cmocka_unit_test(refused),
		cmocka_unit_test(formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
