/* The route tables, row by row; and that every configuration path of them is spelled as the router reads it. */
#include "unit.h"

#include <stdbool.h>

#include "api/api.h"
#include "base/str.h"
#include "route_access.h"

static void each_row(void (*fn)(const struct api_route *r))
{
	size_t rows = 0;

	for (size_t t = 0; api_route_tables[t]; t++)
		for (const struct api_route *r = api_route_tables[t]; r->path; r++, rows++)
			fn(r);
	assert_true(rows > 50);
}

static void check_row(const struct api_route *r)
{
	assert_true(r->path[0] == '/' && (!r->path[1] || r->path[strlen(r->path) - 1] != '/'));
	assert_true(r->perm > PERM_INVALID && r->perm < PERM_MAX);
	assert_non_null(r->handler);
	assert_true(r->doc && *r->doc && r->doc[strlen(r->doc) - 1] != '.');
	assert_true(!r->begin == !r->upload_free);
}

static void rows_are_complete(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;

	expect_ok(api_routes_check(&err), &err);
	each_row(check_row);
}

/* What GET asks for may be little; what changes something is never for everybody who may look. */
static void check_reading(const struct api_route *r)
{
	if (r->method != HTTP_GET)
		assert_true(r->perm != PERM_PROJECT_VIEW && r->perm != PERM_METRICS);
	if (r->method == HTTP_PUT || r->method == HTTP_PATCH || r->method == HTTP_DELETE)
		assert_true(r->perm != PERM_ANYONE);
}

static void changing_needs_more_than_reading(void **state UNUSED)
{
	each_row(check_reading);
}

static const struct identity callers[] = {
	{.kind = IDENTITY_LOCAL},
	{.kind = IDENTITY_TLS, .fingerprint = "aa"},
	{.kind = IDENTITY_TLS, .fingerprint = "bb", .restricted = true, .has_default = true},
	{.kind = IDENTITY_TLS, .fingerprint = "cc", .restricted = true},
	{.kind = IDENTITY_METRICS, .fingerprint = "dd"},
	{.kind = IDENTITY_NONE},
};

static const struct route_access *expected_access(const struct api_route *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(route_access); i++)
		if (streq(route_access[i].path, r->path) && streq(route_access[i].method, http_method_name(r->method)))
			return &route_access[i];
	print_error("%s %s has no row in route_access.h\n", http_method_name(r->method), r->path);
	fail();
	return NULL;
}

static void check_access(const struct api_route *r)
{
	const struct route_access *want = expected_access(r);
	char may[ARRAY_SIZE(callers) + 1] = "";

	for (size_t i = 0; i < ARRAY_SIZE(callers); i++)
		may[i] = authorize(&callers[i], r->perm, "default") ? '+' : '-';
	if (!streq(may, want->may))
		print_error("%s %s: %s, wanted %s\n", want->method, want->path, may, want->may);
	assert_string_equal(may, want->may);
	/* nobody restricted reaches into a project that is not theirs */
	for (size_t i = 2; i < 4; i++)
		if (r->perm != PERM_ANYONE && r->perm != PERM_TRUSTED) {
			assert_false(authorize(&callers[i], r->perm, "another"));
			assert_false(authorize(&callers[i], r->perm, NULL));
		}
}

static void everybody_may_what_the_table_says(void **state UNUSED)
{
	each_row(check_access);
}

static void the_table_has_no_row_too_many(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(route_access); i++) {
		size_t found = 0;

		for (size_t t = 0; api_route_tables[t]; t++)
			for (const struct api_route *r = api_route_tables[t]; r->path; r++)
				found += streq(route_access[i].path, r->path) &&
					 streq(route_access[i].method, http_method_name(r->method));
		if (found != 1)
			print_error("%s %s is %zu routes\n", route_access[i].method, route_access[i].path, found);
		assert_int_equal(found, 1);
	}
}

static void no_row_twice(void **state UNUSED)
{
	for (size_t t = 0; api_route_tables[t]; t++)
		for (const struct api_route *a = api_route_tables[t]; a->path; a++)
			for (size_t u = 0; api_route_tables[u]; u++)
				for (const struct api_route *b = api_route_tables[u]; b->path; b++)
					assert_true(a == b || a->method != b->method || !streq(a->path, b->path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_complete),
		cmocka_unit_test(changing_needs_more_than_reading),
		cmocka_unit_test(everybody_may_what_the_table_says),
		cmocka_unit_test(the_table_has_no_row_too_many),
		cmocka_unit_test(no_row_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
