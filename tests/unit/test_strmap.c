/* Sorted maps against a plain array that does the same slowly. */
#include "unit.h"

#include "base/crypto.h"
#include "base/strmap.h"

#define KEYS 40

static void same_as_model(void **state UNUSED)
{
	auto_strmap struct strmap m = STRMAP_INIT;
	int model[KEYS];
	size_t n = 0;

	memset(model, -1, sizeof(model));
	for (int step = 0; step < 5000; step++) {
		uint32_t k = random_below(KEYS);
		int value = (int)random_below(1000);
		auto_free char *key = xasprintf("key%u", k);
		auto_free char *text = xasprintf("%d", value);

		if (random_below(3) == 0) {
			assert_int_equal(strmap_remove(&m, key), model[k] >= 0);
			n -= model[k] >= 0;
			model[k] = -1;
		} else {
			strmap_set(&m, key, text);
			n += model[k] < 0;
			model[k] = value;
		}
		assert_int_equal(m.len, n);
	}
	for (uint32_t k = 0; k < KEYS; k++) {
		auto_free char *key = xasprintf("key%u", k);
		auto_free char *text = xasprintf("%d", model[k]);

		if (model[k] < 0)
			assert_null(strmap_get(&m, key));
		else
			assert_string_equal(strmap_get(&m, key), text);
	}
	for (size_t i = 1; i < m.len; i++)
		assert_true(strcmp(m.items[i - 1].key, m.items[i].key) < 0);
}

static void values(void **state UNUSED)
{
	auto_strmap struct strmap a = STRMAP_INIT;
	auto_strmap struct strmap b = STRMAP_INIT;

	strmap_set(&a, "empty", "");
	strmap_set(&a, "on", "yes");
	strmap_set(&a, "bad", "perhaps");
	assert_string_equal(strmap_get(&a, "empty"), "");
	assert_string_equal(strmap_get_or(&a, "empty", "def"), "def");
	assert_string_equal(strmap_get_or(&a, "on", "def"), "yes");
	assert_true(strmap_get_bool(&a, "on", false));
	assert_true(strmap_get_bool(&a, "bad", true) && !strmap_get_bool(&a, "absent", false));
	strmap_set(&a, "on", strmap_get(&a, "bad")); /* a value of the map itself */
	assert_string_equal(strmap_get(&a, "on"), "perhaps");
	strmap_copy(&b, &a);
	assert_true(strmap_equal(&a, &b));
	strmap_set(&b, "on", "no");
	strmap_set(&b, "new", "1");
	assert_false(strmap_equal(&a, &b));
	strmap_merge(&a, &b);
	assert_true(strmap_equal(&a, &b));
	strmap_set(&a, "new", NULL);
	assert_int_equal(a.len, 3);
	assert_false(strmap_equal(&a, &b));
}

static void maps_of_maps(void **state UNUSED)
{
	auto_mapmap struct mapmap m = MAPMAP_INIT;
	auto_mapmap struct mapmap copy = MAPMAP_INIT;
	auto_strmap struct strmap one = STRMAP_INIT;

	strmap_set(&one, "type", "disk");
	strmap_set(mapmap_ensure(&m, "root"), "type", "none");
	strmap_set(mapmap_ensure(&m, "root"), "path", "/");
	mapmap_set(&m, "data", &one);
	assert_int_equal(mapmap_get(&m, "root")->len, 2);
	mapmap_set(&m, "root", &one);
	assert_int_equal(mapmap_get(&m, "root")->len, 1);
	mapmap_copy(&copy, &m);
	assert_true(mapmap_equal(&m, &copy));
	strmap_set(mapmap_ensure(&copy, "data"), "x", "1");
	assert_false(mapmap_equal(&m, &copy));
	assert_true(mapmap_remove(&m, "data") && !mapmap_remove(&m, "data"));
	assert_null(mapmap_get(&m, "data"));
	assert_string_equal(m.items[0].key, "root");
}

static void drop_empty(void **state UNUSED)
{
	auto_mapmap struct mapmap m = MAPMAP_INIT;
	struct strmap *device = mapmap_ensure(&m, "eth0");

	strmap_set(device, "a", "");
	strmap_set(device, "b", "1");
	strmap_set(device, "c", "");
	strmap_set(mapmap_ensure(&m, "eth1"), "a", "");
	mapmap_drop_empty(&m);
	assert_int_equal(mapmap_get(&m, "eth0")->len, 1);
	assert_string_equal(strmap_get(mapmap_get(&m, "eth0"), "b"), "1");
	assert_int_equal(mapmap_get(&m, "eth1")->len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(same_as_model), cmocka_unit_test(values),
					   cmocka_unit_test(maps_of_maps), cmocka_unit_test(drop_empty)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
