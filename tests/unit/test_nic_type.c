/* Network cards as devices: kinds, options, values, and cards of one instance beside each other. */
#include "unit.h"

#include "base/strmap.h"
#include "base/strv.h"
#include "config/nic_type.h"
#include "device/device.h"

/* "nictype=bridged;parent=br0" as a card. */
static void parse(struct strmap *d, const char *text)
{
	auto_strv struct strv parts = STRV_INIT;

	strv_split(&parts, text, ';');
	strmap_set(d, "type", "nic");
	for (size_t i = 0; i < parts.len; i++) {
		char *eq = strchr(parts.items[i], '=');

		assert_non_null(eq);
		*eq = '\0';
		strmap_set(d, parts.items[i], eq + 1);
	}
}

static int validate(const char *text, struct error *err)
{
	auto_strmap struct strmap d = STRMAP_INIT;

	parse(&d, text);
	return device_validate("eth0", &d, err);
}

static void good_cards(void **state UNUSED)
{
	static const char *const good[] = {
		"network=br0",
		"network=br0;name=eth0;host_name=vm-1.a_b;hwaddr=00:16:3E:aa:bb:cc",
		"network=br0;ipv4.address=192.0.2.10;ipv6.address=2001:db8::10",
		"network=br0;ipv4.address=none;security.ipv4_filtering=true",
		"network=br0;ipv4.routes=198.51.100.0/24, 203.0.113.0/25;ipv6.routes=2001:db8:9::/60",
		"network=br0;ipv4.routes.external=198.51.100.7/32",
		"network=br0;limits.ingress=10Mbit;limits.egress=1Gibit;limits.max=",
		"network=br0;security.mac_filtering=TRUE;security.ipv6_filtering=off;security.port_isolation=1",
		"network=br0;nictype=;parent=",
		"network=br0;boot.priority=3",
		"nictype=bridged;parent=br0;mtu=1400",
		"nictype=routed",
		"nictype=routed;parent=eth1;ipv4.address=192.0.2.10,192.0.2.11;ipv6.address=2001:db8::1",
		("nictype=routed;ipv4.address=192.0.2.10;ipv4.routes=198.51.100.0/24;"
		 "ipv4.gateway=none;ipv4.host_table=100"),
		"nictype=routed;ipv4.host_address=192.0.2.1;ipv4.neighbor_probe=false;limits.max=100",
		"nictype=p2p",
		"nictype=p2p;host_name=p2p0;ipv4.routes=192.0.2.0/24;limits.max=1kbit",
		"nictype=macvlan;parent=eth0;mtu=1280;hwaddr=00:16:3e:00:00:01",
		"nictype=physical;parent=eth1;name=wan",
	};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (validate(good[i], &err) < 0)
			fail_msg("%s: %s", good[i], error_msg(&err));
}

static void bad_cards(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"name=eth0", "Failed loading device \"eth0\": Unsupported device type"},
		{"nictype=sriov;parent=eth0", "Failed loading device \"eth0\": Unsupported device type"},
		{"nictype=ipvlan", "Unsupported device type"},
		{"nictype=ovn", "Unsupported device type"},
		{"nictype=foo", "Unsupported device type"},
		{"network=br0;nictype=bridged",
		 "Cannot use \"nictype\" property in conjunction with \"network\" property"},
		{"network=br0;parent=br0", "Cannot use \"parent\" property in conjunction with \"network\" property"},
		{"network=br0;mtu=1400", "Cannot use \"mtu\" property in conjunction with \"network\" property"},
		{"nictype=bridged", "Invalid value for device option \"parent\": Required value"},
		{"nictype=bridged;parent=", "Invalid value for device option \"parent\": Required value"},
		{"nictype=macvlan", "Invalid value for device option \"parent\": Required value"},
		{"nictype=physical", "Invalid value for device option \"parent\": Required value"},
		{"nictype=bridged;parent=a/b", "Network interface contains invalid characters"},
		{"network=br0;foo=bar", "Invalid device option \"foo\""},
		{"network=br0;name=x",
		 "Invalid value for device option \"name\": Network interface is too short (minimum 2 characters)"},
		{"network=br0;name=sixteencharacter", "Network interface is too long (maximum 15 characters)"},
		{"network=br0;name=a b", "Network interface contains invalid characters"},
		{"network=br0;name=lo", "the container's loopback"},
		{"network=br0;host_name=../x", "Network interface contains invalid characters"},
		{"network=br0;host_name=a\"b", "Network interface contains invalid characters"},
		{"network=br0;host_name=all", "Network interface cannot be called \"all\""},
		{"network=br0;host_name=default", "Network interface cannot be called \"default\""},
		{"network=br0;hwaddr=00:16:3e:00:00",
		 "Invalid value for device option \"hwaddr\": Invalid MAC address, must be 6 bytes of hex separated by "
		 "colons"},
		{"network=br0;hwaddr=00-16-3e-00-00-01", "Invalid MAC address"},
		{"network=br0;hwaddr=01:00:5e:00:00:01", "is none that an interface can have"},
		{"nictype=bridged;parent=br0;mtu=500", "Out of MTU range (1280-16384) \"500\""},
		{"nictype=bridged;parent=br0;mtu=big", "Invalid value for uint32 \"big\""},
		{"network=br0;ipv4.address=2001:db8::1",
		 "Invalid value for device option \"ipv4.address\": Not an IPv4 address \"2001:db8::1\""},
		{"network=br0;ipv4.address=192.0.2.10/24", "Not an IPv4 address \"192.0.2.10/24\""},
		{"network=br0;ipv4.address=192.0.2.10,192.0.2.11", "Not an IPv4 address"},
		{"network=br0;ipv6.address=192.0.2.10", "Not an IPv6 address \"192.0.2.10\""},
		{"network=br0;ipv4.routes=192.0.2.1/24", "Not an IPv4 network address"},
		{"network=br0;ipv4.routes=foo", "invalid CIDR address: foo"},
		{"network=br0;limits.ingress=12q",
		 "Invalid value for device option \"limits.ingress\": Invalid value: 12q"},
		{"network=br0;limits.egress=-1", "Invalid value: -1"},
		{"network=br0;limits.max=99999999999Ebit", "Invalid value: 99999999999Ebit"},
		{"network=br0;security.mac_filtering=maybe",
		 "Invalid value for device option \"security.mac_filtering\": Invalid value for a boolean \"maybe\""},
		{"network=br0;security.ipv4_filtering=2", "Invalid value for a boolean \"2\""},
		{"network=br0;security.ipv6_filtering=tru", "Invalid value for a boolean \"tru\""},
		{"network=br0;vlan=5", "needs VLAN filtering"},
		{"network=br0;vlan.tagged=5-7", "needs VLAN filtering"},
		{"network=br0;security.acls=a", "Network ACLs are not supported"},
		{"nictype=p2p;parent=br0", "Invalid device option \"parent\""},
		{"nictype=p2p;security.mac_filtering=true", "Invalid device option \"security.mac_filtering\""},
		{"nictype=routed;security.mac_filtering=true", "Invalid device option \"security.mac_filtering\""},
		{"nictype=routed;ipv4.address=192.0.2.1, 192.0.2.2, 192.0.2.1",
		 "Duplicate address \"192.0.2.1\" in \"ipv4.address\""},
		{"nictype=routed;ipv6.address=2001:db8::1,2001:db8:0::1",
		 "Duplicate address \"2001:db8::1\" in \"ipv6.address\""},
		{"nictype=routed;ipv4.routes=192.0.2.0/24", "ipv4.routes requires ipv4.address to be set"},
		{"nictype=routed;ipv4.address=192.0.2.1;ipv6.routes=2001:db8::/64",
		 "ipv6.routes requires ipv6.address to be set"},
		{"nictype=routed;ipv4.gateway=foo", "Invalid gateway: foo"},
		{"nictype=routed;ipv4.address=none", "Not an IPv4 address \"none\""},
		{"nictype=routed;vlan=5", "The vlan setting can only be used when combined with a parent interface"},
		{"nictype=routed;parent=eth0;vlan=5", "needs VLAN interfaces"},
		{"nictype=routed;ipv4.host_table=-1", "Invalid value for uint32"},
		{"nictype=macvlan;parent=eth0;limits.max=1Mbit", "Invalid device option \"limits.max\""},
		{"nictype=physical;parent=eth0;host_name=a1", "Invalid device option \"host_name\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_error struct error err = ERROR_INIT;
		int r = validate(rows[i][0], &err);

		if (r >= 0)
			fail_msg("accepted: %s", rows[i][0]);
		assert_true(startswith(error_msg(&err), "Device validation failed for \"eth0\": ") != NULL);
		expect_error(r, &err, 400, rows[i][1]);
	}
}

static int validate_two(const char *one, const char *two, struct error *err)
{
	auto_mapmap struct mapmap m = MAPMAP_INIT;

	parse(mapmap_ensure(&m, "eth0"), one);
	parse(mapmap_ensure(&m, "eth1"), two);
	return devices_validate(&m, err);
}

static void cards_of_one_instance(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;

	expect_ok(validate_two("network=br0;name=eth0", "network=br1;name=eth1", &err), &err);
	expect_error(validate_two("network=br0;name=eth0", "nictype=p2p;name=eth0", &err), &err, 400,
		     "Device validation failed for \"eth1\": Duplicate NIC name detected \"eth0\"");
	expect_error(validate_two("nictype=routed", "nictype=routed", &err), &err, 400,
		     "Existing NIC \"eth0\" already uses \"ipv4.gateway\" in auto mode");
	expect_error(validate_two("nictype=routed", "nictype=routed;ipv4.gateway=none", &err), &err, 400,
		     "Existing NIC \"eth0\" already uses \"ipv6.gateway\" in auto mode");
	expect_ok(validate_two("nictype=routed", "nictype=routed;ipv4.gateway=none;ipv6.gateway=none", &err), &err);
	expect_ok(validate_two("nictype=routed", "nictype=p2p", &err), &err);
}

static void rates_are_read(void **state UNUSED)
{
	static const struct {
		const char *text;
		uint64_t bits;
	} rows[] = {
		{"0", 0},
		{"512", 512},
		{"8bit", 8},
		{"10kbit", 10000},
		{"10Mbit", 10000000},
		{"1Gbit", 1000000000},
		{"1Kibit", 1024},
		{"3Mibit", 3145728},
		{"1Gibit", 1073741824},
		{"18Ebit", UINT64_C(18000000000000000000)},
	};
	static const char *const bad[] = {"",        "Mbit",   "10mbit",  "10 Mbit", "10MB",
					  "1.5Mbit", "19Ebit", "16Eibit", "0x1"};
	auto_error struct error err = ERROR_INIT;
	uint64_t bits;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		expect_ok(nic_rate_parse(rows[i].text, &bits, &err), &err);
		assert_int_equal(bits, rows[i].bits);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_error(nic_rate_parse(bad[i], &bits, &err), &err, 400, "Invalid value: ");
}

/* Every row has what the documentation needs. */
static void tables_are_whole(void **state UNUSED)
{
	for (int t = 0; t < NIC_TYPE_COUNT; t++) {
		auto_strmap struct strmap options = STRMAP_INIT;

		strmap_set(&options, "nictype", nic_type_name((enum nic_type)t));
		assert_int_equal(nic_type_of(&options), t);
		for (const struct config_key *k = nic_type_keys((enum nic_type)t); k->name; k++) {
			assert_non_null(k->doc);
			for (const struct config_key *before = nic_type_keys((enum nic_type)t); before < k; before++)
				assert_string_not_equal(before->name, k->name);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_cards),
		cmocka_unit_test(bad_cards),
		cmocka_unit_test(cards_of_one_instance),
		cmocka_unit_test(rates_are_read),
		cmocka_unit_test(tables_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
