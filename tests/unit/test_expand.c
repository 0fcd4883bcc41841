/* Profiles laid over each other, and the root disk that results. */
#include "unit.h"

#include "config/expand.h"

static void device(struct mapmap *m, const char *name, const char *type, const char *path, const char *source)
{
	struct strmap *d = mapmap_ensure(m, name);

	strmap_set(d, "type", type);
	strmap_set(d, "path", path);
	strmap_set(d, "source", source);
}

static void later_layers_win(void **state UNUSED)
{
	auto_strmap struct strmap dst = STRMAP_INIT;
	auto_strmap struct strmap profile = STRMAP_INIT;
	auto_strmap struct strmap local = STRMAP_INIT;

	strmap_set(&profile, "a", "1");
	strmap_set(&profile, "b", "1");
	strmap_set(&local, "b", "2");
	expand_config(&dst, &profile);
	expand_config(&dst, &local);
	assert_int_equal(dst.len, 2);
	assert_string_equal(strmap_get(&dst, "a"), "1");
	assert_string_equal(strmap_get(&dst, "b"), "2");
}

static void devices_are_replaced_whole(void **state UNUSED)
{
	auto_mapmap struct mapmap dst = MAPMAP_INIT;
	auto_mapmap struct mapmap profile = MAPMAP_INIT;
	auto_mapmap struct mapmap local = MAPMAP_INIT;

	device(&profile, "d", "disk", "/mnt", "/srv");
	device(&profile, "root", "disk", "/", NULL);
	device(&local, "d", "none", NULL, NULL);
	expand_devices(&dst, &profile);
	expand_devices(&dst, &local);
	assert_int_equal(dst.len, 2);
	assert_int_equal(mapmap_get(&dst, "d")->len, 1);
	assert_string_equal(strmap_get(mapmap_get(&dst, "d"), "type"), "none");
}

static void root_disk(void **state UNUSED)
{
	auto_mapmap struct mapmap m = MAPMAP_INIT;
	auto_error struct error err = ERROR_INIT;
	const struct strmap *found;
	const char *name;

	expect_error(expand_root_disk(&m, &name, &found, &err), &err, 400, "No root device could be found");
	device(&m, "data", "disk", "/", "/srv");
	device(&m, "nic", "nic", "/", NULL);
	device(&m, "sub", "disk", "/x", NULL);
	expect_error(expand_root_disk(&m, &name, &found, &err), &err, 400, "No root device could be found");
	device(&m, "root", "disk", "/", NULL);
	expect_ok(expand_root_disk(&m, &name, &found, &err), &err);
	assert_string_equal(name, "root");
	assert_ptr_equal(found, mapmap_get(&m, "root"));
	device(&m, "other", "disk", "/", "");
	expect_error(expand_root_disk(&m, &name, &found, &err), &err, 400,
		     "More than one root device found: \"other\" and \"root\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(later_layers_win),
					   cmocka_unit_test(devices_are_replaced_whole), cmocka_unit_test(root_disk)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
