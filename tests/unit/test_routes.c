/* The route tables, row by row; and that every configuration path of them is spelled as the router reads it. */
#include "unit.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "base/path.h"
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

/* --- the table of who may what --- */

enum {
	LOCAL,
	FULL,
	SERVER_ADMIN,
	RESTRICTED,
	RESTRICTED_TO_NOTHING,
	METRICS,
	METRICS_RESTRICTED,
	AUDITOR,
	USER,
	OPERATOR,
	PROJECT_ADMIN,
	STRANGER,
	CALLERS
};

static struct identity callers[CALLERS] = {
	[LOCAL] = {.kind = IDENTITY_LOCAL},
	[FULL] = {.kind = IDENTITY_TLS, .fingerprint = "aa"},
	[SERVER_ADMIN] = {.kind = IDENTITY_CANDID, .user = "boss"},
	[RESTRICTED] = {.kind = IDENTITY_TLS, .fingerprint = "bb", .restricted = true},
	[RESTRICTED_TO_NOTHING] = {.kind = IDENTITY_TLS, .fingerprint = "cc", .restricted = true},
	[METRICS] = {.kind = IDENTITY_METRICS, .fingerprint = "dd"},
	[METRICS_RESTRICTED] = {.kind = IDENTITY_METRICS, .fingerprint = "ee", .restricted = true},
	[AUDITOR] = {.kind = IDENTITY_CANDID, .user = "auditor"},
	[USER] = {.kind = IDENTITY_CANDID, .user = "user"},
	[OPERATOR] = {.kind = IDENTITY_CANDID, .user = "operator"},
	[PROJECT_ADMIN] = {.kind = IDENTITY_CANDID, .user = "admin"},
	[STRANGER] = {.kind = IDENTITY_NONE},
};

struct fixture {
	char dir[64];
	struct db *db;
	struct access *access;
};

static void add_project(struct fixture *f, const char *name)
{
	CLEANUP(db_project_done) struct db_project p = {.name = xstrdup(name), .description = xstrdup("")};
	auto_error struct error err = ERROR_INIT;

	expect_ok(db_project_insert(f->db, &p, NULL, &err), &err);
}

static void add_certificate(struct fixture *f, const char *fingerprint, const char *type, const char *project)
{
	CLEANUP(db_certificate_done)
	struct db_certificate c = {.fingerprint = xstrdup(fingerprint),
				   .type = xstrdup(type),
				   .name = xstrdup("n"),
				   .restricted = true,
				   .certificate = xstrdup("PEM")};
	auto_error struct error err = ERROR_INIT;

	if (project)
		strv_add(&c.projects, project);
	expect_ok(db_certificate_insert(f->db, &c, &err), &err);
}

static void bind_role(struct fixture *f, const char *identity, const char *role, const char *project)
{
	CLEANUP(db_binding_done)
	struct db_binding b = {.identity = xstrdup(identity),
			       .role = xstrdup(role),
			       .scope = xstrdup(project ? "project" : "server"),
			       .project = project ? xstrdup(project) : NULL};
	auto_error struct error err = ERROR_INIT;

	expect_ok(db_binding_insert(f->db, &b, &err), &err);
}

static int setup(void **state)
{
	auto_error struct error err = ERROR_INIT;
	struct fixture *f = xnew(struct fixture);
	auto_free char *path = NULL;

	snprintf(f->dir, sizeof(f->dir), "/var/tmp/lxd-test-routes-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	path = path_join(f->dir, "lxd.db");
	expect_ok(db_open(path, &f->db, &err), &err);
	add_project(f, "own");
	add_project(f, "another");
	add_certificate(f, "bb", "client", "own");
	add_certificate(f, "cc", "client", NULL);
	add_certificate(f, "ee", "metrics", "own");
	bind_role(f, "candid/boss", "admin", NULL);
	bind_role(f, "candid/auditor", "auditor", "own");
	bind_role(f, "candid/user", "user", "own");
	bind_role(f, "candid/operator", "operator", "own");
	bind_role(f, "candid/admin", "admin", "own");
	f->access = access_new(f->db);
	expect_ok(access_load(f->access, &err), &err);
	for (size_t i = 0; i < CALLERS; i++)
		callers[i].access = f->access;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	auto_error struct error err = ERROR_INIT;
	struct fixture *f = *state;

	access_free(f->access);
	db_free(f->db);
	path_remove_tree(AT_FDCWD, f->dir, &err);
	free(f);
	return 0;
}

static const struct route_access *expected_access(const struct api_route *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(route_access); i++)
		if (streq(route_access[i].path, r->path) && streq(route_access[i].method, http_method_name(r->method)))
			return &route_access[i];
	print_error("%s %s has no row in route_access.h\n", http_method_name(r->method), r->path);
	fail();
	return NULL;
}

static void check_verdicts(const struct api_route *r, const char *project, const char *want)
{
	char may[CALLERS + 1] = "";

	for (size_t i = 0; i < CALLERS; i++)
		may[i] = authorize(&callers[i], r->perm, project) ? '+' : '-';
	if (!streq(may, want))
		print_error("%s %s in %s: %s, wanted %s\n", http_method_name(r->method), r->path,
			    project ? project : "no project", may, want);
	assert_string_equal(may, want);
}

static void check_access(const struct api_route *r)
{
	const struct route_access *want = expected_access(r);

	check_verdicts(r, "own", want->own);
	check_verdicts(r, "another", want->other);
	check_verdicts(r, "nosuch", want->other);
	check_verdicts(r, NULL, want->other);
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

	return cmocka_run_group_tests(tests, setup, teardown);
}
