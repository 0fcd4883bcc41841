/* Networks' configurations as a whole: what is filled in, what does not fit together, what NICs see; who uses one. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/path.h"
#include "instance/instance.h"
#include "network/network.h"

struct fixture {
	char dir[64];
	char *path;
	struct db *db;
	struct store *store;
	struct link_ns *links;
	struct networks *networks;
};

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	auto_error struct error err = ERROR_INIT;
	struct networks_spec spec = {.lxd_dir = f->dir};

	snprintf(f->dir, sizeof(f->dir), "/var/tmp/lxd-test-network-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->path = path_join(f->dir, "lxd.db");
	expect_ok(db_open(f->path, &f->db, &err), &err);
	expect_ok(store_new(f->db, &f->store, &err), &err);
	expect_ok(link_ns_open(&f->links, &err), &err);
	spec.store = f->store;
	spec.links = f->links;
	expect_ok(networks_new(&spec, &f->networks, &err), &err);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;

	networks_free(f->networks);
	link_ns_free(f->links);
	store_free(f->store);
	db_free(f->db);
	path_remove_tree(AT_FDCWD, f->dir, &err);
	free(f->path);
	free(f);
	return 0;
}

/* A configuration from "key=value" texts that end with NULL. */
static struct strmap config(const char *const *items)
{
	struct strmap m = STRMAP_INIT;

	for (; *items; items++) {
		const char *equals = strchr(*items, '=');
		auto_free char *key = xstrndup(*items, (size_t)(equals - *items));

		strmap_set(&m, key, equals + 1);
	}
	return m;
}

#define CONFIG(...) config((const char *const[]){__VA_ARGS__, NULL})

static void defaults_are_filled_when_a_network_is_made(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	auto_strmap struct strmap m = CONFIG("ipv6.address=none", "dns.domain=");
	struct ip_prefix p;

	expect_ok(network_check(f->networks, "br0", &m, NULL, &err), &err);
	assert_true(ip_prefix_parse(AF_INET, strmap_get(&m, "ipv4.address"), &p));
	assert_int_equal(p.len, 24);
	assert_int_equal(p.addr.bytes[0], 10);
	assert_int_equal(p.addr.bytes[3], 1);
	assert_string_equal(strmap_get(&m, "ipv4.nat"), "true");
	assert_null(strmap_get(&m, "ipv6.nat"));
	assert_null(strmap_get(&m, "dns.domain")); /* "" unsets */
}

static void given_addresses_get_no_nat(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	auto_strmap struct strmap m = CONFIG("ipv4.address=192.0.2.1/24", "ipv6.address=auto", "ipv6.nat=false");

	expect_ok(network_check(f->networks, "br0", &m, NULL, &err), &err);
	assert_null(strmap_get(&m, "ipv4.nat"));
	assert_string_equal(strmap_get(&m, "ipv6.nat"), "false");
	assert_non_null(startswith(strmap_get(&m, "ipv6.address"), "fd42:"));
}

static void a_change_fills_nothing_in_but_auto(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	auto_strmap struct strmap m = CONFIG("ipv4.address=auto"), old = CONFIG("ipv4.address=192.0.2.1/24");

	expect_ok(network_check(f->networks, "br0", &m, &old, &err), &err);
	assert_int_equal(m.len, 1);
	assert_non_null(startswith(strmap_get(&m, "ipv4.address"), "10."));
}

/* Neither a smaller one within nor a larger one around what is stored. */
static void automatic_subnets_avoid_stored_networks(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	CLEANUP(db_network_done)
	struct db_network row = {.name = xstrdup("other"),
				 .type = xstrdup("bridge"),
				 .description = xstrdup(""),
				 .hwaddr = xstrdup("00:16:3e:00:00:01"),
				 .config = CONFIG("ipv4.address=10.0.0.1/9", "ipv6.routes=fd42::/16")};

	expect_ok(store_network_add(f->store, &row, &err), &err);
	for (int i = 0; i < 20; i++) {
		auto_strmap struct strmap m = CONFIG("ipv6.address=none");
		struct ip_prefix p;

		expect_ok(network_check(f->networks, "br0", &m, NULL, &err), &err);
		assert_true(ip_prefix_parse(AF_INET, strmap_get(&m, "ipv4.address"), &p));
		assert_true(p.addr.bytes[1] >= 128);
	}
	{
		auto_strmap struct strmap m = CONFIG("ipv4.address=none", "ipv6.address=auto");

		expect_error(network_check(f->networks, "br0", &m, NULL, &err), &err, 500,
			     "Failed to automatically find an unused IPv6 subnet, manual configuration required");
	}
}

static void what_does_not_fit_together_is_refused(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	auto_strmap struct strmap outside = CONFIG("ipv4.address=192.0.2.1/24",
						   "ipv4.dhcp.ranges=192.0.2.2-192.0.2.9,192.0.2.250-192.0.3.1");
	auto_strmap struct strmap outside6 = CONFIG("ipv6.address=2001:db8::1/64",
						    "ipv6.dhcp.ranges=2001:db8:1::2-2001:db8:1::3");
	auto_strmap struct strmap idle = CONFIG("ipv4.address=none", "ipv4.dhcp.ranges=192.0.2.2-192.0.2.9");
	auto_strmap struct strmap bridged = CONFIG("bridge.hwaddr=00:16:3e:00:00:01", "bridge.external_interfaces=eth1",
						   "ipv4.address=none");

	expect_error(
		network_check(f->networks, "br0", &outside, &idle, &err), &err, 400,
		"option \"ipv4.dhcp.ranges\": \"192.0.2.2-192.0.2.9,192.0.2.250-192.0.3.1\" is not within the subnet "
		"192.0.2.0/24");
	expect_error(network_check(f->networks, "br0", &outside6, &idle, &err), &err, 400, "2001:db8::/64");
	expect_ok(network_check(f->networks, "br0", &idle, &outside, &err), &err);
	expect_error(network_check(f->networks, "br0", &bridged, &idle, &err), &err, 400, "which has no address");
	expect_error(network_check(f->networks, "x", &idle, &outside, &err), &err, 400, "too short");
}

static void nics_see_what_is_served(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_strmap struct strmap m = CONFIG("ipv4.address=192.0.2.1/24", "ipv4.dhcp=false",
					     "ipv6.address=2001:db8::1/60", "ipv6.dhcp.stateful=yes",
					     "bridge.mtu=1400");
	auto_strmap struct strmap none = CONFIG("ipv4.address=none", "ipv6.dhcp.stateful=true");
	CLEANUP(network_view_done) struct network_view v = NETWORK_VIEW_INIT;
	CLEANUP(network_view_done) struct network_view nothing = NETWORK_VIEW_INIT;

	expect_ok(network_view_make("br0", &m, &v, &err), &err);
	assert_string_equal(v.name, "br0");
	assert_true(v.managed && !v.dhcp4 && v.dhcp6 && v.dhcp6_stateful);
	assert_int_equal(v.mtu, 1400);
	assert_int_equal(v.v4.len, 24);
	assert_int_equal(v.v6.len, 60);
	expect_ok(network_view_make("br0", &none, &nothing, &err), &err);
	assert_false(nothing.dhcp4 || nothing.dhcp6 || nothing.dhcp6_stateful);
	assert_int_equal(nothing.v4.addr.family, AF_UNSPEC);
}

static void users_are_told_by_network_parent_and_vlan(void **state UNUSED)
{
	static const struct {
		const char *items[5];
		const char *network;
		bool uses;
	} rows[] = {
		{{"type=nic", "network=br0"}, "br0", true},
		{{"type=nic", "network=br0"}, "br1", false},
		{{"type=nic", "nictype=bridged", "parent=br0"}, "br0", true},
		{{"type=nic", "nictype=bridged", "parent=br0", "vlan=5"}, "br0", true},
		{{"type=nic", "nictype=macvlan", "parent=eth0", "vlan=5"}, "eth0", false},
		{{"type=nic", "nictype=macvlan", "parent=eth0", "vlan=5"}, "eth0.5", true},
		{{"type=nic", "nictype=p2p"}, "br0", false},
		{{"type=disk", "network=br0"}, "br0", false},
		{{"type=none", "network=br0"}, "br0", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_strmap struct strmap m = config(rows[i].items);

		if (device_uses_network(&m, rows[i].network) != rows[i].uses)
			fail_msg("row %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(defaults_are_filled_when_a_network_is_made, setup, teardown),
		cmocka_unit_test_setup_teardown(given_addresses_get_no_nat, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_fills_nothing_in_but_auto, setup, teardown),
		cmocka_unit_test_setup_teardown(automatic_subnets_avoid_stored_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(what_does_not_fit_together_is_refused, setup, teardown),
		cmocka_unit_test(nics_see_what_is_served),
		cmocka_unit_test(users_are_told_by_network_parent_and_vlan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
