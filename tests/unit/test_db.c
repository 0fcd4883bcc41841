/* The database and its copy in memory: what is written is there after opening again; what does not fit is refused
 * whole. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "db/schema.h"
#include "db/store.h"

struct fixture {
	char dir[64];
	char *path;
	struct db *db;
};

static void open_again(struct fixture *f)
{
	auto_error struct error err = ERROR_INIT;

	db_free(f->db);
	f->db = NULL;
	expect_ok(db_open(f->path, &f->db, &err), &err);
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	snprintf(f->dir, sizeof(f->dir), "/var/tmp/lxd-test-db-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->path = path_join(f->dir, "lxd.db");
	open_again(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;

	db_free(f->db);
	path_remove_tree(AT_FDCWD, f->dir, &err);
	free(f->path);
	free(f);
	return 0;
}

static struct db_instance make_instance(const char *name)
{
	struct db_instance r = {.project = xstrdup("default"),
				.name = xstrdup(name),
				.architecture = xstrdup("x86_64"),
				.description = xstrdup("it's \"quoted\"\n"),
				.pool = xstrdup("pool"),
				.staging = xstrdup("uuid"),
				.ephemeral = true,
				.created_ns = 1,
				.last_used_ns = 2,
				.phase = DB_CREATING};

	strmap_set(&r.config, "user.a", "b\\\"\x01");
	strmap_set(&r.volatile_, "volatile.uuid", "x");
	strmap_set(mapmap_ensure(&r.devices, "root"), "path", "/");
	strv_add(&r.profiles, "default");
	return r;
}

static void keep(struct db_instance *row, void *arg)
{
	struct db_instance *to = arg;

	db_instance_done(to);
	*to = *row;
	*row = (struct db_instance){0};
}

static void instance_survives_reopening(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	CLEANUP(db_instance_done) struct db_instance row = make_instance("c1");
	CLEANUP(db_instance_done) struct db_instance got = {0};

	expect_ok(db_instance_insert(f->db, &row, &err), &err);
	expect_ok(db_instance_set_phase(f->db, row.id, DB_READY, NULL, &err), &err);
	expect_ok(db_instance_move(f->db, row.id, row.project, "c2", &err), &err);
	open_again(f);
	expect_ok(db_instances_load(f->db, keep, &got, &err), &err);
	assert_string_equal(got.name, "c2");
	assert_string_equal(got.description, row.description);
	assert_string_equal(strmap_get(&got.config, "user.a"), "b\\\"\x01");
	assert_string_equal(strmap_get(mapmap_get(&got.devices, "root"), "path"), "/");
	assert_true(got.ephemeral && got.phase == DB_READY && !got.staging && got.created_ns == 1 &&
		    got.last_used_ns == 2);
	assert_true(strv_equal(&got.profiles, &row.profiles));
}

static void taken_name_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	CLEANUP(db_instance_done) struct db_instance a = make_instance("c1");
	CLEANUP(db_instance_done) struct db_instance b = make_instance("c1");

	expect_ok(db_instance_insert(f->db, &a, &err), &err);
	expect_error(db_instance_insert(f->db, &b, &err), &err, 409, "already in use");
}

static void unknown_project_is_refused(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	CLEANUP(db_instance_done) struct db_instance row = make_instance("c1");

	free(row.project);
	row.project = xstrdup("nope");
	assert_true(db_instance_insert(f->db, &row, &err) < 0);
}

static void store_has_what_the_disk_has(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	struct store *s = NULL;
	CLEANUP(db_pool_done)
	struct db_pool pool = {.name = xstrdup("p"), .driver = xstrdup("dir"), .description = xstrdup("")};
	CLEANUP(db_pool_done) struct db_pool got = {0};
	auto_strmap struct strmap config = STRMAP_INIT;
	unsigned generation;

	expect_ok(store_new(f->db, &s, &err), &err);
	generation = s->generation;
	expect_ok(store_pool_add(s, &pool, &err), &err);
	assert_true(s->generation != generation);
	expect_error(store_pool_add(s, &pool, &err), &err, 409, "already in use");
	strmap_set(&config, "user.x", "y");
	expect_ok(store_config_replace(s, &config, &err), &err);
	store_free(s);
	s = NULL;
	open_again(f);
	expect_ok(store_new(f->db, &s, &err), &err);
	expect_ok(store_pool_dup(s, "p", &got, &err), &err);
	assert_string_equal(got.driver, "dir");
	strmap_done(&config);
	store_config_copy(s, &config);
	assert_string_equal(strmap_get(&config, "user.x"), "y");
	expect_ok(store_pool_remove(s, "p", &err), &err);
	expect_error(store_pool_remove(s, "p", &err), &err, 404, "not found");
	store_free(s);
}

static struct db_network make_network(const char *name)
{
	struct db_network r = {.name = xstrdup(name),
			       .type = xstrdup("bridge"),
			       .description = xstrdup("d"),
			       .hwaddr = xstrdup("00:16:3e:00:00:01"),
			       .phase = DB_CREATING};

	strmap_set(&r.config, "raw.dnsmasq", "a\nb\"");
	return r;
}

static void network_survives_reopening(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	struct store *s = NULL;
	CLEANUP(db_network_done) struct db_network row = make_network("br0");
	CLEANUP(db_network_done) struct db_network twin = make_network("br0");
	CLEANUP(db_network_done) struct db_network got = {0};

	expect_ok(store_new(f->db, &s, &err), &err);
	expect_ok(store_network_add(s, &row, &err), &err);
	expect_error(store_network_add(s, &twin, &err), &err, 409, "already in use");
	row.phase = DB_RENAMING;
	row.new_name = xstrdup("br1");
	expect_ok(store_network_update(s, &row, &err), &err);
	store_free(s);
	s = NULL;
	open_again(f);
	expect_ok(store_new(f->db, &s, &err), &err);
	expect_ok(store_network_dup(s, "br0", &got, &err), &err);
	assert_string_equal(got.type, "bridge");
	assert_string_equal(got.hwaddr, "00:16:3e:00:00:01");
	assert_string_equal(got.new_name, "br1");
	assert_string_equal(strmap_get(&got.config, "raw.dnsmasq"), "a\nb\"");
	assert_int_equal(got.phase, DB_RENAMING);
	expect_ok(store_network_remove(s, got.id, &err), &err);
	expect_error(store_network_dup(s, "br0", &twin, &err), &err, 404, "Network not found");
	store_free(s);
}

/* A database of each earlier schema is brought up to date, and what is in it stays. */
static void older_schemas_are_updated(void **state)
{
	struct fixture *f = *state;

	for (int64_t version = 1; version < schema_version(); version++) {
		auto_error struct error err = ERROR_INIT;
		CLEANUP(db_network_done) struct db_network row = make_network("br0");
		CLEANUP(db_instance_done) struct db_instance got = {0};
		auto_free char *pragma = xasprintf("PRAGMA user_version=%d", (int)version);
		sqlite3 *raw;

		db_free(f->db);
		f->db = NULL;
		unlink(f->path);
		assert_int_equal(sqlite3_open(f->path, &raw), SQLITE_OK);
		for (int64_t step = 0; step < version; step++)
			assert_int_equal(sqlite3_exec(raw, schema_step((size_t)step), NULL, NULL, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_exec(raw, pragma, NULL, NULL, NULL), SQLITE_OK);
		assert_int_equal(
			sqlite3_exec(raw,
				     "INSERT INTO instances (project, name, architecture, description, pool, "
				     "ephemeral, config, volatile, devices, profiles, created_at, last_used_at, "
				     "phase) VALUES ('default','old','','','p',0,'{}','{}','{}','[]',0,0,0)",
				     NULL, NULL, NULL),
			SQLITE_OK);
		sqlite3_close(raw);
		open_again(f);
		expect_ok(db_instances_load(f->db, keep, &got, &err), &err);
		assert_string_equal(got.name, "old");
		expect_ok(db_network_insert(f->db, &row, &err), &err);
	}
}

#define STEPS_BEFORE_RIGHTS 4 /* certificates had their projects in a column */

static void keep_certificate(struct db_certificate *row, void *arg)
{
	db_certificate_done(arg);
	*(struct db_certificate *)arg = *row;
	*row = (struct db_certificate){0};
}

/* A certificate that was restricted to projects before there were bindings stays so; names of none are dropped. */
static void certificates_keep_their_projects(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	CLEANUP(db_certificate_done) struct db_certificate got = {0};
	sqlite3 *raw;

	db_free(f->db);
	f->db = NULL;
	unlink(f->path);
	assert_int_equal(sqlite3_open(f->path, &raw), SQLITE_OK);
	for (size_t step = 0; step < STEPS_BEFORE_RIGHTS; step++)
		assert_int_equal(sqlite3_exec(raw, schema_step(step), NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(raw,
				      "INSERT INTO certificates (fingerprint, type, name, restricted, projects, "
				      "certificate, added_at) VALUES ('ab','client','n',1,"
				      "'[\"default\",\"nosuch\",\"default\"]','PEM',0);"
				      "PRAGMA user_version=4",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(raw);
	open_again(f);
	expect_ok(db_certificates_load(f->db, keep_certificate, &got, &err), &err);
	assert_string_equal(got.fingerprint, "ab");
	assert_true(got.restricted);
	assert_int_equal(got.projects.len, 1);
	assert_string_equal(got.projects.items[0], "default");
}

static void damaged_file_is_named_and_left(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf after = STRBUF_INIT;
	struct db *db = NULL;

	db_free(f->db);
	f->db = NULL;
	expect_ok(file_replace_at(AT_FDCWD, f->path, "this is no database, but long enough to look at", 47, 0600, &err),
		  &err);
	expect_error(db_open(f->path, &db, &err), &err, 500, "damaged");
	expect_ok(file_read_at(AT_FDCWD, f->path, 4096, &after, &err), &err);
	assert_memory_equal(after.data, "this is no database", 19);
}

static void newer_schema_is_refused(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	sqlite3 *raw;
	struct db *db = NULL;

	db_free(f->db);
	f->db = NULL;
	assert_int_equal(sqlite3_open(f->path, &raw), SQLITE_OK);
	assert_int_equal(sqlite3_exec(raw, "PRAGMA user_version=999", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(raw);
	expect_error(db_open(f->path, &db, &err), &err, 500, "newer version");
}

static struct db_project make_project(const char *name)
{
	struct db_project p = {.name = xstrdup(name), .description = xstrdup("text")};

	strmap_set(&p.config, "features.profiles", "true");
	strmap_set(&p.config, "features.images", "false");
	return p;
}

static size_t profiles_of(struct store *s, const char *project)
{
	size_t n = 0;

	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_profiles; k++)
		n += streq(s->profiles[k]->project, project);
	mutex_unlock(&s->lock);
	return n;
}

/* Made with its default profile, renamed with it, and gone with it; each the same after opening again. */
static void projects_have_their_profile(void **state)
{
	struct fixture *f = *state;
	CLEANUP(db_project_done) struct db_project p = make_project("p1"), shown = {0};
	CLEANUP(db_profile_done)
	struct db_profile profile = {.project = xstrdup("p1"), .name = xstrdup("default"), .description = xstrdup("")};
	auto_error struct error err = ERROR_INIT;
	struct store *s = NULL;

	for (int step = 0; step < 3; step++) {
		expect_ok(store_new(f->db, &s, &err), &err);
		if (step == 0) {
			expect_ok(store_project_add(s, &p, &profile, &err), &err);
			expect_error(store_project_add(s, &p, NULL, &err), &err, 409, "name is already in use");
			assert_int_equal(profiles_of(s, "p1"), 1);
		} else if (step == 1) {
			expect_ok(store_project_dup(s, "p1", &shown, &err), &err);
			assert_string_equal(shown.description, "text");
			assert_int_equal(profiles_of(s, "p1"), 1);
			expect_error(store_project_rename(s, "p1", "default", &err), &err, 409, "in use");
			assert_true(store_has_project(s, "p1"));
			expect_ok(store_project_rename(s, "p1", "p2", &err), &err);
			assert_int_equal(profiles_of(s, "p1"), 0);
		} else {
			assert_false(store_has_project(s, "p1"));
			assert_int_equal(profiles_of(s, "p2"), 1);
			expect_ok(store_project_remove(s, "p2", &err), &err);
			expect_error(store_project_remove(s, "p2", &err), &err, 404, "Project not found");
			assert_int_equal(profiles_of(s, "p2"), 0);
			assert_int_equal(profiles_of(s, "default"), 1);
		}
		store_free(s);
		open_again(f);
	}
	expect_ok(store_new(f->db, &s, &err), &err);
	assert_false(store_has_project(s, "p2"));
	store_free(s);
}

/* What is in it keeps a project from going, whatever the caller has looked at. */
static void used_projects_stay(void **state)
{
	struct fixture *f = *state;
	CLEANUP(db_project_done) struct db_project p = make_project("p1");
	CLEANUP(db_instance_done) struct db_instance i = make_instance("c1");
	auto_error struct error err = ERROR_INIT;
	struct store *s = NULL;

	expect_ok(store_new(f->db, &s, &err), &err);
	expect_ok(store_project_add(s, &p, NULL, &err), &err);
	free(i.project);
	i.project = xstrdup("p1");
	expect_ok(db_instance_insert(f->db, &i, &err), &err);
	expect_error(store_project_remove(s, "p1", &err), &err, 409, "");
	expect_error(store_project_rename(s, "p1", "p2", &err), &err, 409, "");
	assert_true(store_has_project(s, "p1"));
	expect_ok(db_instance_move(f->db, i.id, "default", "c2", &err), &err);
	expect_ok(store_project_remove(s, "p1", &err), &err);
	store_free(s);
}

static void what_projects_share(void **state)
{
	struct fixture *f = *state;
	CLEANUP(db_project_done) struct db_project p = make_project("p1");
	auto_error struct error err = ERROR_INIT;
	struct store *s = NULL;

	expect_ok(store_new(f->db, &s, &err), &err);
	expect_ok(store_project_add(s, &p, NULL, &err), &err);
	assert_string_equal(store_effective_project(s, "p1", PROJECT_ITSELF), "p1");
	assert_string_equal(store_effective_project(s, "p1", PROJECT_PROFILES), "p1");
	assert_string_equal(store_effective_project(s, "p1", PROJECT_IMAGES), "default");
	assert_string_equal(store_effective_project(s, "p1", PROJECT_NETWORKS), "default");
	for (enum project_feature k = PROJECT_ITSELF; k < PROJECT_FEATURE_MAX; k++) {
		assert_string_equal(store_effective_project(s, "default", k), "default");
		/* nothing is found in what is not there */
		assert_string_equal(store_effective_project(s, "nope", k), "nope");
	}
	store_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(instance_survives_reopening, setup, teardown),
		cmocka_unit_test_setup_teardown(taken_name_is_a_conflict, setup, teardown),
		cmocka_unit_test_setup_teardown(projects_have_their_profile, setup, teardown),
		cmocka_unit_test_setup_teardown(used_projects_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(what_projects_share, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_project_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(store_has_what_the_disk_has, setup, teardown),
		cmocka_unit_test_setup_teardown(network_survives_reopening, setup, teardown),
		cmocka_unit_test_setup_teardown(older_schemas_are_updated, setup, teardown),
		cmocka_unit_test_setup_teardown(certificates_keep_their_projects, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_file_is_named_and_left, setup, teardown),
		cmocka_unit_test_setup_teardown(newer_schema_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
