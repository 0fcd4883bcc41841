/* What an RBAC service answers, read. */
#include "unit.h"

#include "rbac/rbac.h"

static void grants(void **state UNUSED)
{
	static const char text[] = "{\"1\":[\"view\",\"operate-containers\"],\"2\":[\"manage-projects\",\"fly\"],"
				   "\"3\":[\"fly\",\"admin\"],\"4\":[]}";
	CLEANUP(rbac_grants_done) struct rbac_grants g = RBAC_GRANTS_INIT;
	auto_error struct error err = ERROR_INIT;

	expect_ok(rbac_read_grants(text, strlen(text), &g, &err), &err);
	assert_int_equal(g.n, 2);
	assert_false(g.admin);
	assert_string_equal(g.items[0].project_id, "1");
	assert_true(g.items[0].may & PERMISSION_BIT(PERM_INSTANCE_USE));
	assert_true(g.items[0].may & PERMISSION_BIT(PERM_METRICS));
	assert_false(g.items[0].may & PERMISSION_BIT(PERM_INSTANCE_EDIT));
	assert_int_equal(g.items[1].may, PERMISSION_BIT(PERM_PROJECT_EDIT));
}

static void answers_that_make_no_sense(void **state UNUSED)
{
	static const char *const bad[] = {"",
					  "x",
					  "[]",
					  "5",
					  "\"view\"",
					  "{\"1\":\"view\"}",
					  "{\"1\":[5]}",
					  "{\"1\":[null]}",
					  "{\"1\":{}}",
					  "{\"1\":[\"view\"]",
					  "{\"1\":[\"view\"],\"2\":7}"};

	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		CLEANUP(rbac_grants_done) struct rbac_grants g = RBAC_GRANTS_INIT;
		auto_error struct error err = ERROR_INIT;

		expect_error(rbac_read_grants(bad[k], strlen(bad[k]), &g, &err), &err, 502, "makes no sense");
		assert_int_equal(g.n, 0);
	}
}

static void administrators(void **state UNUSED)
{
	static const struct {
		const char *text;
		bool ok, admin;
	} rows[] = {
		{"{\"\":[\"admin\"]}", true, true},
		{"{\"\":[\"x\",\"admin\"]}", true, true},
		{"{\"\":[]}", true, false},
		{"{}", true, false},
		{"null", true, false},
		{"{\"1\":[\"admin\"]}", true, false},
		{"{\"\":\"admin\"}", true, false},
		{"[\"admin\"]", false, false},
		{"admin", false, false},
	};

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		auto_error struct error err = ERROR_INIT;
		bool admin = true;

		assert_int_equal(rbac_read_admin(rows[k].text, strlen(rows[k].text), &admin, &err) == 0, rows[k].ok);
		assert_int_equal(admin, rows[k].admin);
	}
}

static void configurations(void **state UNUSED)
{
	static const struct {
		const char *key, *value;
		bool ok;
	} rows[] = {
		{"rbac.api.url", "https://rbac.example.com", true},
		{"rbac.api.url", "http://127.0.0.1:8080/x", true},
		{"rbac.api.url", "http://192.0.2.1", false},
		{"rbac.api.url", "rbac.example.com", false},
		{"rbac.agent.url", "https://a b", false},
		{"rbac.agent.url", "https://a/b?c", false},
		{"rbac.agent.public_key", "iDGGuAC0HVzwQpaV2ps8xPMo680YSm5IL6V4wQPwbHc=", true},
		{"rbac.agent.public_key", "AAAA", false},
		{"rbac.agent.private_key", "x", false},
		{"rbac.api.key", "x", false},
	};

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		auto_strmap struct strmap config = STRMAP_INIT;
		auto_error struct error err = ERROR_INIT;

		strmap_set(&config, rows[k].key, rows[k].value);
		assert_int_equal(rbac_check(&config, &err) == 0, rows[k].ok);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grants),
		cmocka_unit_test(answers_that_make_no_sense),
		cmocka_unit_test(administrators),
		cmocka_unit_test(configurations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
