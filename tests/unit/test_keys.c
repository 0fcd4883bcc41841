/* Configuration keys: values by type, unknown keys, scopes, and the tables themselves. */
#include "unit.h"

#include "config/keys.h"

static int check(enum config_scope scope, const char *key, const char *value, struct error *err)
{
	auto_strmap struct strmap m = STRMAP_INIT;

	strmap_set(&m, key, value);
	return config_validate(scope, &m, err);
}

static void good_values(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"boot.autostart", "YES"},
		{"boot.autostart.priority", "-5"},
		{"environment.PATH", "/bin:/usr/bin"},
		{"limits.cpu", "4"},
		{"limits.cpu", "0-3,7"},
		{"limits.cpu.allowance", "50%"},
		{"limits.cpu.allowance", "25ms/100ms"},
		{"limits.cpu.priority", "10"},
		{"limits.memory", "100MiB"},
		{"limits.memory", "50%"},
		{"limits.memory.enforce", "soft"},
		{"limits.processes", "100"},
		{"limits.kernel.nofile", "1024:unlimited"},
		{"linux.sysctl.net.ipv4.ip_forward", "1"},
		{"raw.lxc", "lxc.a = b\n\tc"},
		{"raw.idmap", "both 1000 1000\nuid 50-60 500-510\n"},
		{"security.idmap.size", "auto"},
		{"security.idmap.size", "100000"},
		{"security.idmap.base", "200000"},
		{"user.anything at all", "\xc3\xa4\n"},
		{"image.os", "busybox"},
		{"volatile.uuid", "x"},
		{"volatile.eth0.hwaddr", "x"},
		{"volatile.eth0.last_state.vf.vlan", "x"},
		{"volatile.a.b.name", "x"},
		{"limits.memory", ""},
		{"nvidia.runtime", ""},
		{"security.nesting", ""},
	};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		expect_ok(check(CONFIG_SCOPE_INSTANCE, rows[i][0], rows[i][1], &err), &err);
}

static void bad_values(void **state UNUSED)
{
	static const char *const rows[][3] = {
		{"boot.autostart", "maybe", "Invalid value for a boolean \"maybe\""},
		{"boot.autostart.priority", "high", "Invalid value for an integer \"high\""},
		{"boot.autostart.delay", "-1", "Invalid value for uint32 \"-1\""},
		{"environment.A=B", "x", "variable name"},
		{"environment.A", "x\ny", "control characters"},
		{"limits.cpu", "0", "Invalid CPU limit syntax: 0"},
		{"limits.cpu", "3-1", "Invalid CPU limit syntax"},
		{"limits.cpu", "1,", "Invalid CPU limit syntax"},
		{"limits.cpu", "0-", "Invalid CPU limit syntax"},
		{"limits.cpu.allowance", "ten", "Invalid CPU allowance"},
		{"limits.cpu.allowance", "0%", "Invalid CPU allowance"},
		{"limits.cpu.allowance", "25ms", "Invalid CPU allowance"},
		{"limits.cpu.allowance", "25ms/0ms", "Invalid CPU allowance"},
		{"limits.cpu.priority", "11", "Invalid priority"},
		{"limits.memory", "12q", "Invalid value: 12q"},
		{"limits.memory", "0", "Memory limit can't be 0"},
		{"limits.memory", "0MB", "Memory limit can't be 0"},
		{"limits.memory", "0%", "Memory limit can't be 0"},
		{"limits.memory", "101%", "Invalid value: 101%"},
		{"limits.memory.enforce", "maybe", "maybe"},
		{"limits.processes", "many", "many"},
		{"limits.kernel.nofile", "1:2:3", "Invalid resource limit"},
		{"linux.sysctl.a b", "1", "sysctl name"},
		{"raw.idmap", "both 1-2 1-3", "The ID map ranges are of different sizes"},
		{"raw.idmap", "all 1 1", "Invalid ID map line: all 1 1"},
		{"security.idmap.size", "0", "Invalid value for uint32 \"0\""},
		{"security.idmap.size", "4294967296", "Invalid value for uint32"},
		{"security.idmap.base", "x", "Invalid value for uint32 \"x\""},
		{"user.x", "\xff", "UTF-8"},
		{"user.x", "\x1b[1m", "control characters"},
	};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int r = check(CONFIG_SCOPE_INSTANCE, rows[i][0], rows[i][1], &err);

		assert_non_null(strstr(error_msg(&err), rows[i][0])); /* names the key */
		expect_error(r, &err, 400, rows[i][2]);
	}
}

/* Unknown keys are unknown whatever their value, and nothing stands before the message. */
static void unknown_keys(void **state UNUSED)
{
	static const char *const names[] = {"foo",
					    "user.",
					    "user",
					    "limits.memoryx",
					    "limits.kernel.zz",
					    "volatile.x.zz",
					    "volatile.name",
					    "volatile..name",
					    "volatile.x.last_state.vf.",
					    "volatile.",
					    "security.devlxd.zz",
					    "",
					    "environment.",
					    "image",
					    "user.*.x\n"};
	static const char *const values[] = {"", "1"};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(values); k++) {
			auto_free char *text = xasprintf("Unknown configuration key: %s", names[i]);
			int r = check(CONFIG_SCOPE_INSTANCE, names[i], values[k], &err);

			assert_string_equal(error_msg(&err), text);
			expect_error(r, &err, 400, text);
		}
	}
}

static void keys_for_later(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	int r = check(CONFIG_SCOPE_INSTANCE, "nvidia.runtime", "true", &err);

	assert_string_equal(error_msg(&err),
			    "Configuration key \"nvidia.runtime\" is not supported by this server yet");
	expect_error(r, &err, 400, "not supported");
	expect_error(check(CONFIG_SCOPE_SERVER, "cluster.https_address", ":8443", &err), &err, 400, "not supported");
	expect_ok(check(CONFIG_SCOPE_SERVER, "cluster.https_address", "", &err), &err);
	expect_error(check(CONFIG_SCOPE_POOL, "volume.size", "1GB", &err), &err, 400, "not supported");
	expect_error(check(CONFIG_SCOPE_PROJECT, "images.auto_update_cached", "true", &err), &err, 400,
		     "not supported");
}

static void other_scopes(void **state UNUSED)
{
	static const struct {
		enum config_scope scope;
		const char *key, *value, *text;
	} rows[] = {
		{CONFIG_SCOPE_SERVER, "foo", "x", "cannot set 'foo' to 'x': unknown key"},
		{CONFIG_SCOPE_SERVER, "core.shutdown_timeout", "x",
		 "cannot set 'core.shutdown_timeout' to 'x': invalid integer"},
		{CONFIG_SCOPE_SERVER, "images.auto_update_interval", "6", "images"},
		{CONFIG_SCOPE_PROFILE, "volatile.uuid", "x", "Volatile keys can only be set on instances"},
		{CONFIG_SCOPE_PROFILE, "image.os", "x", "Image keys can only be set on instances"},
		{CONFIG_SCOPE_PROFILE, "foo", "x", "Unknown configuration key: foo"},
		{CONFIG_SCOPE_POOL, "foo", "x", "Invalid storage pool configuration key \"foo\""},
		{CONFIG_SCOPE_PROJECT, "foo", "x", "Invalid project configuration key \"foo\""},
		{CONFIG_SCOPE_PROJECT, "features.images", "x", "Invalid value for a boolean"},
	};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		expect_error(check(rows[i].scope, rows[i].key, rows[i].value, &err), &err, 400, rows[i].text);
	expect_ok(check(CONFIG_SCOPE_SERVER, "images.auto_update_interval", "0", &err), &err);
	expect_ok(check(CONFIG_SCOPE_PROFILE, "limits.cpu", "1", &err), &err);
	for (enum config_scope s = 0; s < CONFIG_SCOPE_COUNT; s++)
		expect_ok(check(s, "user.x", "1", &err), &err);
}

static void live_keys(void **state UNUSED)
{
	static const char *const live[] = {"limits.memory", "limits.cpu", "limits.processes", "user.a",
					   "environment.A"};
	static const char *const not_live[] = {"security.privileged", "security.nesting",     "raw.lxc",
					       "raw.apparmor",        "limits.kernel.nofile", "nonsense"};

	for (size_t i = 0; i < ARRAY_SIZE(live); i++)
		assert_true(config_key_is_live(CONFIG_SCOPE_INSTANCE, live[i]));
	for (size_t i = 0; i < ARRAY_SIZE(not_live); i++)
		assert_false(config_key_is_live(CONFIG_SCOPE_INSTANCE, not_live[i]));
}

struct walk {
	enum config_scope scope;
	size_t n;
};

static void check_row(const struct config_key *key, void *arg)
{
	struct walk *w = arg;
	auto_error struct error err = ERROR_INIT;

	w->n++;
	assert_true(key->doc && *key->doc);
	assert_true(config_type_name(key->type) != NULL);
	assert_true((key->type == CONFIG_ENUM) == (key->values != NULL));
	assert_true(!key->fits || endswith(key->name, ".*"));
	/* the row is the one that its own name finds, and its default is a value it takes */
	if (!endswith(key->name, ".*"))
		assert_ptr_equal(config_key_find(w->scope, key->name), key);
	if (key->def)
		expect_ok(config_check_value(key, key->name, key->def, &err), &err);
}

static void tables(void **state UNUSED)
{
	for (enum config_scope s = 0; s < CONFIG_SCOPE_COUNT; s++) {
		struct walk w = {.scope = s};

		config_keys_each(s, check_row, &w);
		assert_true(w.n > 3);
	}
}

static void networks_say_whose_key_it_is(void **state UNUSED)
{
	/* value, NULL: good, else what is said of it */
	static const char *const rows[][3] = {
		{"bridge.driver", "native", NULL},
		{"bridge.driver", "foo", "Invalid value \"foo\" (not one of [native openvswitch])"},
		{"bridge.driver", "openvswitch", "Open vSwitch bridges are not supported"},
		{"bridge.external_interfaces", "eth1, eth2", NULL},
		{"bridge.external_interfaces", "eth1,,eth2", "Item \"\": Invalid interface name"},
		{"bridge.external_interfaces", "../x", "Item \"../x\": Invalid interface name"},
		{"bridge.hwaddr", "00:16:3e:00:00:01", NULL},
		{"bridge.hwaddr", "00:16:3e", "Invalid MAC address, must be 6 bytes of hex separated by colons"},
		{"bridge.hwaddr", "01:16:3e:00:00:01", "none that an interface can have"},
		{"bridge.mode", "fan", "Fan bridges are not supported"},
		{"bridge.mtu", "1280", NULL},
		{"bridge.mtu", "500", "Out of MTU range (1280-16384) \"500\""},
		{"bridge.mtu", "16385", "Out of MTU range (1280-16384) \"16385\""},
		{"dns.mode", "managed", NULL},
		{"dns.mode", "x", "not one of [managed dynamic none]"},
		{"dns.domain", "a b", "Invalid domain \"a b\""},
		{"ipv4.address", "192.0.2.1/24", NULL},
		{"ipv4.address", "auto", NULL},
		{"ipv4.address", "none", NULL},
		{"ipv4.address", "", NULL},
		{"ipv4.address", "foo", "invalid CIDR address: foo"},
		{"ipv4.address", "192.0.2.1", "invalid CIDR address: 192.0.2.1"},
		{"ipv4.address", "192.0.2.0/24", "Not a usable IPv4 address \"192.0.2.0/24\""},
		{"ipv4.address", "192.0.2.255/24", "Not a usable IPv4 address \"192.0.2.255/24\""},
		{"ipv4.address", "192.0.2.1/32", "Not a usable IPv4 address"},
		{"ipv4.address", "127.0.0.1/8", "Not a usable IPv4 address"},
		{"ipv4.address", "2001:db8::1/64", "Not an IPv4 address \"2001:db8::1/64\""},
		{"ipv6.address", "2001:db8::1/64", NULL},
		{"ipv6.address", "2001:db8::/64", "Not a usable IPv6 address \"2001:db8::/64\""},
		{"ipv6.address", "ff02::1/64", "Not a usable IPv6 address"},
		{"ipv4.dhcp.gateway", "192.0.2.9", NULL},
		{"ipv4.dhcp.gateway", "x", "Not an IPv4 address \"x\""},
		{"ipv4.dhcp.ranges", "192.0.2.2-192.0.2.9, 192.0.2.20-192.0.2.30", NULL},
		{"ipv4.dhcp.ranges", "1.2.3.4", "Item \"1.2.3.4\": IP range must contain start and end IP addresses"},
		{"ipv6.dhcp.ranges", "192.0.2.2-192.0.2.9", "Start not an IPv6 address"},
		{"ipv4.nat.order", "after", NULL},
		{"ipv4.nat.order", "x", "not one of [before after]"},
		{"ipv4.routes", "198.51.100.0/24, 203.0.113.0/25", NULL},
		{"ipv4.routes", "198.51.100.1/24", "Not an IPv4 network address"},
		{"ipv6.routes", "2001:db8:9::/60", NULL},
		{"ipv6.dhcp.stateful", "maybe", "Invalid value for a boolean \"maybe\""},
		{"raw.dnsmasq", "a\nb", NULL},
		{"dns.search", "a\nb", "control characters"},
		{"user.x", "y", NULL},
		{"security.acls", "web", "Network ACLs are not supported by this server yet"},
		{"security.acls.default.egress.action", "drop", "Network ACLs are not supported"},
		{"tunnel.a.protocol", "gre", "Tunnels between bridges are not supported"},
		{"bgp.peers.a.address", "x", "BGP is not supported"},
		{"fan.underlay_subnet", "auto", "Fan bridges are not supported"},
		{"maas.subnet.ipv4", "x", "MAAS"},
		{"dns.zone.forward", "x", "Network zones are not supported"},
		{"ipv4.ovn.ranges", "x", "OVN networks are not supported"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_strmap struct strmap m = STRMAP_INIT;
		auto_error struct error err = ERROR_INIT;
		auto_free char *start = xasprintf("Invalid value for network \"br0\" option \"%s\": ", rows[i][0]);
		int r;

		strmap_set(&m, rows[i][0], rows[i][1]);
		r = config_validate_network("br0", &m, &err);
		if (!rows[i][2]) {
			expect_ok(r, &err);
			continue;
		}
		if (r == 0)
			fail_msg("%s=%s is accepted", rows[i][0], rows[i][1]);
		assert_ptr_equal(strstr(error_msg(&err), start), error_msg(&err));
		expect_error(r, &err, 400, rows[i][2]);
	}
}

static void networks_have_no_other_keys(void **state UNUSED)
{
	static const char *const names[] = {"zz", "user.", "ipv4", "volatile.x", "ipv4.address\n"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		auto_strmap struct strmap m = STRMAP_INIT;
		auto_error struct error err = ERROR_INIT;

		strmap_set(&m, names[i], "x");
		expect_error(config_validate_network("br0", &m, &err), &err, 400,
			     "Invalid option for network \"br0\" option");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_values),
		cmocka_unit_test(bad_values),
		cmocka_unit_test(unknown_keys),
		cmocka_unit_test(keys_for_later),
		cmocka_unit_test(other_scopes),
		cmocka_unit_test(live_keys),
		cmocka_unit_test(tables),
		cmocka_unit_test(networks_say_whose_key_it_is),
		cmocka_unit_test(networks_have_no_other_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
