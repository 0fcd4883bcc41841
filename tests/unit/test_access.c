/* The register of rights: sets, groups, the default role of users, and when what was begun by a right ends. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/access.h"
#include "base/path.h"

struct fixture {
	char dir[64];
	struct db *db;
	struct access *access;
};

static void load(struct fixture *f)
{
	auto_error struct error err = ERROR_INIT;

	expect_ok(access_load(f->access, &err), &err);
}

static int64_t bind_role(struct fixture *f, const char *identity, const char *role, const char *project)
{
	CLEANUP(db_binding_done)
	struct db_binding b = {.identity = xstrdup(identity),
			       .role = xstrdup(role),
			       .scope = xstrdup(project ? "project" : "projects"),
			       .project = project ? xstrdup(project) : NULL};
	auto_error struct error err = ERROR_INIT;

	expect_ok(db_binding_insert(f->db, &b, &err), &err);
	load(f);
	return b.id;
}

static void unbind(struct fixture *f, int64_t id)
{
	auto_error struct error err = ERROR_INIT;

	expect_ok(db_binding_delete(f->db, id, &err), &err);
	load(f);
}

static int64_t add_project(struct fixture *f, const char *name)
{
	CLEANUP(db_project_done) struct db_project p = {.name = xstrdup(name), .description = xstrdup("")};
	auto_error struct error err = ERROR_INIT;

	expect_ok(db_project_insert(f->db, &p, NULL, &err), &err);
	return p.id;
}

static int setup(void **state)
{
	auto_error struct error err = ERROR_INIT;
	struct fixture *f = xnew(struct fixture);
	auto_free char *path = NULL;

	snprintf(f->dir, sizeof(f->dir), "/var/tmp/lxd-test-access-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	path = path_join(f->dir, "lxd.db");
	expect_ok(db_open(path, &f->db, &err), &err);
	f->access = access_new(f->db);
	add_project(f, "p");
	load(f);
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

static struct identity user(struct fixture *f, const char *name)
{
	struct identity id = {.kind = IDENTITY_CANDID, .access = f->access, .login = access_login(f->access)};

	snprintf(id.user, sizeof(id.user), "%s", name);
	id.rights_seen = access_seen(&id);
	return id;
}

static void sets(void **state UNUSED)
{
	struct access_rights a = ACCESS_RIGHTS_INIT, b = ACCESS_RIGHTS_INIT;

	assert_false(access_rights_hold(&a, PERM_TRUSTED, NULL));
	assert_true(access_rights_cover(&a, &b));
	access_rights_add(&a, "m", role_permissions(ROLE_USER, SCOPE_PROJECT));
	access_rights_add(&a, "z", role_permissions(ROLE_AUDITOR, SCOPE_PROJECT));
	access_rights_add(&a, "b", role_permissions(ROLE_AUDITOR, SCOPE_PROJECT));
	access_rights_add(&a, "b", PERMISSION_BIT(PERM_IMAGE_EDIT));
	assert_int_equal(a.n, 3);
	assert_true(access_rights_hold(&a, PERM_TRUSTED, NULL));
	assert_true(access_rights_hold(&a, PERM_INSTANCE_USE, "m"));
	assert_false(access_rights_hold(&a, PERM_INSTANCE_USE, "b"));
	assert_true(access_rights_hold(&a, PERM_IMAGE_EDIT, "b"));
	assert_false(access_rights_hold(&a, PERM_PROJECT_VIEW, NULL));
	assert_false(access_rights_hold(&a, PERM_PROJECT_VIEW, "a"));
	access_rights_add(&b, "m", role_permissions(ROLE_AUDITOR, SCOPE_PROJECT));
	assert_true(access_rights_cover(&a, &b));
	assert_false(access_rights_cover(&b, &a));
	b.everywhere = role_permissions(ROLE_OPERATOR, SCOPE_PROJECTS);
	assert_true(access_rights_cover(&b, &a));
	assert_false(access_rights_cover(&a, &b));
	access_rights_done(&a);
	access_rights_done(&b);
}

static void nobody_holds_anything(void **state)
{
	struct fixture *f = *state;
	struct identity bob = user(f, "bob"), none = {.kind = IDENTITY_CANDID, .user = "bob"};

	assert_false(access_knows(&bob));
	assert_false(authorize(&bob, PERM_TRUSTED, NULL));
	assert_false(authorize(&none, PERM_PROJECT_VIEW, "p"));
	assert_true(authorize(&none, PERM_ANYONE, NULL));
}

static void what_was_begun_ends_with_the_right(void **state)
{
	struct fixture *f = *state;
	struct identity before = user(f, "bob"), bob, later;
	int64_t a = bind_role(f, "candid/bob", "user", "p"), more;

	bob = user(f, "bob");
	assert_true(authorize(&bob, PERM_INSTANCE_USE, "p"));
	assert_false(authorize(&bob, PERM_INSTANCE_EDIT, "p"));
	assert_false(authorize(&bob, PERM_PROJECT_VIEW, "default"));
	more = bind_role(f, "candid/bob", "operator", NULL);
	assert_true(access_still_holds(&bob) && access_still_holds(&before));
	later = user(f, "bob");
	unbind(f, a);
	assert_true(access_still_holds(&bob) && access_still_holds(&later));
	unbind(f, more);
	assert_false(access_still_holds(&bob) || access_still_holds(&later));
	/* and is not begun again by getting it back */
	bind_role(f, "candid/bob", "operator", NULL);
	assert_false(access_still_holds(&bob));
	assert_true(access_still_holds(&before));
}

static void others_are_not_touched(void **state)
{
	struct fixture *f = *state;
	int64_t a = bind_role(f, "candid/alice", "user", "p");
	struct identity bob;

	bind_role(f, "candid/bob", "user", "p");
	bob = user(f, "bob");
	unbind(f, a);
	assert_true(access_still_holds(&bob) && authorize(&bob, PERM_INSTANCE_USE, "p"));
}

static void groups_give_to_their_members(void **state)
{
	struct fixture *f = *state;
	struct db_group g = {.name = xstrdup("g"), .description = xstrdup("")};
	auto_error struct error err = ERROR_INIT;
	struct identity bob;

	strv_add(&g.members, "candid/bob");
	expect_ok(db_group_insert(f->db, &g, &err), &err);
	bind_role(f, "group/g", "user", "p");
	bob = user(f, "bob");
	assert_true(authorize(&bob, PERM_INSTANCE_USE, "p"));
	strv_done(&g.members);
	expect_ok(db_group_update(f->db, &g, &err), &err);
	load(f);
	assert_false(authorize(&bob, PERM_INSTANCE_USE, "p") || access_still_holds(&bob));
	db_group_done(&g);
}

static void the_default_role(void **state)
{
	struct fixture *f = *state;
	struct identity bob, alice;

	access_set_default_role(f->access, ROLE_OPERATOR);
	bob = user(f, "bob");
	assert_true(authorize(&bob, PERM_INSTANCE_EDIT, "p") && authorize(&bob, PERM_TRUSTED, NULL));
	assert_false(authorize(&bob, PERM_ADMIN, NULL));
	access_set_default_role(f->access, ROLE_ADMIN);
	alice = user(f, "alice");
	assert_true(identity_is_admin(&alice) && access_still_holds(&bob));
	assert_false(authorize(&alice, PERM_INTERNAL, NULL));
	access_set_default_role(f->access, ROLE_OPERATOR);
	assert_false(access_still_holds(&alice));
	access_set_default_role(f->access, ROLE_NONE);
	assert_false(authorize(&bob, PERM_TRUSTED, NULL) || access_still_holds(&bob));
}

static void with_a_binding_the_default_is_nobody_s(void **state)
{
	struct fixture *f = *state;
	struct identity bob, alice;
	int64_t a;

	access_set_default_role(f->access, ROLE_ADMIN);
	alice = user(f, "alice");
	a = bind_role(f, "candid/bob", "auditor", "p");
	bob = user(f, "bob");
	assert_false(authorize(&alice, PERM_TRUSTED, NULL) || access_still_holds(&alice));
	assert_true(authorize(&bob, PERM_PROJECT_VIEW, "p"));
	assert_false(identity_is_admin(&bob) || authorize(&bob, PERM_PROJECT_VIEW, "default"));
	unbind(f, a);
	assert_true(identity_is_admin(&alice));
}

static void another_provider_of_identities(void **state)
{
	struct fixture *f = *state;
	struct identity bob;

	bind_role(f, "candid/bob", "user", "p");
	bob = user(f, "bob");
	access_end_logins(f->access);
	assert_false(access_still_holds(&bob));
	bob = user(f, "bob");
	assert_true(access_still_holds(&bob));
}

/* --- a service that decides instead --- */

static bool service_on = true, service_allows = true;

static bool is_on(void *arg UNUSED)
{
	return service_on;
}

static bool allows(void *arg UNUSED, const char *name, enum permission perm, const char *project)
{
	return service_allows && streq(name, "bob") && perm == PERM_PROJECT_VIEW && project && streq(project, "p");
}

static uint64_t seen(void *arg UNUSED, const char *name UNUSED)
{
	return 7;
}

static bool still_holds(void *arg UNUSED, const char *name UNUSED, uint64_t was)
{
	return was == 7 && service_allows;
}

static void a_service_decides_instead_of_bindings(void **state)
{
	struct fixture *f = *state;
	const struct access_provider p = {is_on, allows, seen, still_holds, NULL};
	struct identity bob, before;

	bind_role(f, "candid/bob", "admin", "p");
	before = user(f, "bob");
	access_set_provider(f->access, &p);
	assert_false(access_still_holds(&before));
	bob = user(f, "bob");
	assert_true(authorize(&bob, PERM_PROJECT_VIEW, "p") && access_still_holds(&bob));
	assert_false(authorize(&bob, PERM_INSTANCE_USE, "p"));
	service_allows = false;
	assert_false(authorize(&bob, PERM_PROJECT_VIEW, "p") || access_still_holds(&bob));
	service_on = false;
	assert_true(authorize(&bob, PERM_INSTANCE_USE, "p"));
	assert_false(access_still_holds(&bob));
}

static void ids_of_projects_are_not_used_again(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	int64_t first = add_project(f, "q");

	expect_ok(db_project_delete(f->db, first, "q", &err), &err);
	assert_true(add_project(f, "q") > first);
}

static void roles_by_name(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	enum role role;

	for (enum role r = ROLE_AUDITOR; r < ROLE_MAX; r++) {
		expect_ok(role_parse(role_name(r), false, &role, &err), &err);
		assert_int_equal(role, r);
		/* each may what the one before may */
		assert_int_equal(
			role_permissions((enum role)(r - 1), SCOPE_SERVER) & ~role_permissions(r, SCOPE_SERVER), 0);
	}
	expect_error(role_parse("none", false, &role, &err), &err, 400, "Unknown role");
	expect_error(role_parse("root", true, &role, &err), &err, 400, "none, auditor");
	assert_int_equal(permission_from_name("operate-containers"), PERMISSION_BIT(PERM_INSTANCE_USE));
	assert_int_equal(permission_from_name("operate-volumes"), 0);
	assert_int_equal(permission_from_name("admin"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets),
		cmocka_unit_test(roles_by_name),
		cmocka_unit_test_setup_teardown(nobody_holds_anything, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_begun_ends_with_the_right, setup, teardown),
		cmocka_unit_test_setup_teardown(others_are_not_touched, setup, teardown),
		cmocka_unit_test_setup_teardown(groups_give_to_their_members, setup, teardown),
		cmocka_unit_test_setup_teardown(the_default_role, setup, teardown),
		cmocka_unit_test_setup_teardown(with_a_binding_the_default_is_nobody_s, setup, teardown),
		cmocka_unit_test_setup_teardown(another_provider_of_identities, setup, teardown),
		cmocka_unit_test_setup_teardown(a_service_decides_instead_of_bindings, setup, teardown),
		cmocka_unit_test_setup_teardown(ids_of_projects_are_not_used_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
