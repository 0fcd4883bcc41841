/* Volatile keys of NICs. */
#include "unit.h"

#include "config/ip.h"
#include "instance/nic_keys.h"

static void add_nic(struct mapmap *devices, const char *name, const char *key, const char *value)
{
	struct strmap *d = mapmap_ensure(devices, name);

	strmap_set(d, "type", "nic");
	strmap_set(d, "nictype", "bridged");
	strmap_set(d, "parent", "br0");
	if (key)
		strmap_set(d, key, value);
}

static void new_nics_get_names_and_addresses(void **state)
{
	auto_mapmap struct mapmap devices = MAPMAP_INIT;
	auto_strmap struct strmap before = STRMAP_INIT;
	auto_strmap struct strmap changes = STRMAP_INIT;
	struct mac_addr mac;

	(void)state;
	add_nic(&devices, "a", NULL, NULL);
	add_nic(&devices, "b", "name", "eth0");
	add_nic(&devices, "c", "hwaddr", "00:16:3e:00:00:01");
	add_nic(&devices, "d", "nictype", "physical");
	strmap_set(mapmap_ensure(&devices, "root"), "type", "disk");
	nic_keys_complete(&devices, NULL, &before, &changes);
	assert_string_equal(strmap_get(&changes, "volatile.a.name"), "eth1");
	assert_null(strmap_get(&changes, "volatile.b.name"));
	assert_string_equal(strmap_get(&changes, "volatile.c.name"), "eth2");
	assert_string_equal(strmap_get(&changes, "volatile.d.name"), "eth3");
	assert_true(mac_parse(strmap_get(&changes, "volatile.a.hwaddr"), &mac));
	assert_memory_equal(mac.bytes, "\x00\x16\x3e", 3);
	assert_non_null(strmap_get(&changes, "volatile.b.hwaddr"));
	assert_null(strmap_get(&changes, "volatile.c.hwaddr"));
	assert_null(strmap_get(&changes, "volatile.d.hwaddr"));
	assert_null(strmap_get(&changes, "volatile.root.name"));
}

static void what_is_there_stays(void **state)
{
	auto_mapmap struct mapmap devices = MAPMAP_INIT;
	auto_strmap struct strmap before = STRMAP_INIT;
	auto_strmap struct strmap changes = STRMAP_INIT;

	(void)state;
	add_nic(&devices, "a.b", NULL, NULL);
	strmap_set(&before, "volatile.a.b.hwaddr", "00:16:3e:00:00:02");
	strmap_set(&before, "volatile.a.b.name", "eth5");
	strmap_set(&before, "volatile.a.b.last_state.hwaddr", "00:16:3e:00:00:03");
	strmap_set(&before, "volatile.uuid", "x");
	nic_keys_complete(&devices, NULL, &before, &changes);
	assert_int_equal(changes.len, 0);
}

static void what_nobody_has_goes(void **state)
{
	auto_mapmap struct mapmap devices = MAPMAP_INIT;
	auto_strmap struct strmap before = STRMAP_INIT;
	auto_strmap struct strmap changes = STRMAP_INIT;

	(void)state;
	add_nic(&devices, "a", "hwaddr", "00:16:3e:00:00:01");
	strmap_set(mapmap_get(&devices, "a"), "name", "lan0");
	strmap_set(mapmap_ensure(&devices, "was"), "type", "disk");
	strmap_set(&before, "volatile.a.hwaddr", "00:16:3e:00:00:02");
	strmap_set(&before, "volatile.a.name", "eth0");
	strmap_set(&before, "volatile.gone.hwaddr", "00:16:3e:00:00:03");
	strmap_set(&before, "volatile.was.name", "eth1");
	strmap_set(&before, "volatile.gone.host_name", "veth1");
	nic_keys_complete(&devices, NULL, &before, &changes);
	nic_keys_merge(&before, &changes);
	assert_int_equal(before.len, 1); /* what is on the host is for the one who removes it */
	assert_string_equal(strmap_get(&before, "volatile.gone.host_name"), "veth1");
}

static void another_kind_is_somebody_else(void **state)
{
	auto_mapmap struct mapmap old = MAPMAP_INIT;
	auto_mapmap struct mapmap new = MAPMAP_INIT;
	auto_strmap struct strmap before = STRMAP_INIT;
	auto_strmap struct strmap changes = STRMAP_INIT;

	(void)state;
	add_nic(&old, "a", NULL, NULL);
	add_nic(&old, "b", NULL, NULL);
	add_nic(&new, "a", "nictype", "p2p");
	add_nic(&new, "b", "mtu", "1400");
	strmap_set(&before, "volatile.a.hwaddr", "00:16:3e:00:00:02");
	strmap_set(&before, "volatile.a.name", "eth0");
	strmap_set(&before, "volatile.b.hwaddr", "00:16:3e:00:00:03");
	strmap_set(&before, "volatile.b.name", "eth1");
	nic_keys_complete(&new, &old, &before, &changes);
	assert_int_equal(changes.len, 1);
	assert_string_not_equal(strmap_get(&changes, "volatile.a.hwaddr"), "00:16:3e:00:00:02");
}

static void own_keys_cannot_be_given(void **state)
{
	auto_strmap struct strmap given = STRMAP_INIT;
	auto_strmap struct strmap kept = STRMAP_INIT;
	auto_strv struct strv noted = STRV_INIT;

	(void)state;
	strmap_set(&given, "volatile.a.host_name", "lo");
	strmap_set(&given, "volatile.b.last_state.routes", "192.0.2.0/24@eth0");
	strmap_set(&given, "volatile.a.hwaddr", "00:16:3e:00:00:02");
	strmap_set(&kept, "volatile.c.host_name", "veth1");
	strmap_set(&kept, "volatile.d.host_name", "");
	strmap_set(&kept, "volatile.c.hwaddr", "00:16:3e:00:00:03");
	nic_keys_keep_own(&given, &kept);
	assert_null(strmap_get(&given, "volatile.a.host_name"));
	assert_null(strmap_get(&given, "volatile.b.last_state.routes"));
	assert_null(strmap_get(&given, "volatile.c.hwaddr"));
	assert_string_equal(strmap_get(&given, "volatile.a.hwaddr"), "00:16:3e:00:00:02");
	assert_string_equal(strmap_get(&given, "volatile.c.host_name"), "veth1");
	nic_keys_noted(&given, &noted);
	assert_int_equal(noted.len, 1);
	assert_string_equal(noted.items[0], "c");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_nics_get_names_and_addresses),
		cmocka_unit_test(what_is_there_stays),
		cmocka_unit_test(what_nobody_has_goes),
		cmocka_unit_test(another_kind_is_somebody_else),
		cmocka_unit_test(own_keys_cannot_be_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
