/* The route tables, row by row; and that every configuration path of them is spelled as the router reads it. */
#include "unit.h"

#include <stdbool.h>

#include "api/api.h"

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

static void check_reading(const struct api_route *r)
{
	bool reads = r->perm == PERM_ANYONE || r->perm == PERM_TRUSTED || r->perm == PERM_PROJECT_VIEW;

	/* what only reads changes nothing, and what changes asks for more than reading */
	if (reads)
		assert_int_equal(r->method, HTTP_GET);
	if (r->method != HTTP_GET)
		assert_false(reads);
}

static void changing_needs_more_than_reading(void **state UNUSED)
{
	each_row(check_reading);
}

static void check_stranger(const struct api_route *r)
{
	const struct identity nobody = {.kind = IDENTITY_NONE}, local = {.kind = IDENTITY_LOCAL};

	assert_true(authorize(&local, r->perm, "default"));
	assert_true(authorize(&nobody, r->perm, "default") == (streq(r->path, "/") || streq(r->path, "/1.0")) ||
		    r->method != HTTP_GET);
	if (r->method != HTTP_GET)
		assert_false(authorize(&nobody, r->perm, "default"));
}

static void strangers_reach_nothing_but_the_greeting(void **state UNUSED)
{
	each_row(check_stranger);
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
		cmocka_unit_test(strangers_reach_nothing_but_the_greeting),
		cmocka_unit_test(no_row_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
