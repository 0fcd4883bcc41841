/* Warnings: counted when they come again, kept over a restart, gone a day after they are resolved. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>

#include "api/warnings.h"
#include "base/json.h"
#include "base/path.h"
#include "base/timeutil.h"

#define DAY_NS (86400LL * 1000000000)

struct fixture {
	char dir[64];
	char *path;
	struct db *db;
	struct warnings *w;
};

static void open_all(struct fixture *f)
{
	auto_error struct error err = ERROR_INIT;

	expect_ok(db_open(f->path, &f->db, &err), &err);
	expect_ok(warnings_new(f->db, &f->w, &err), &err);
}

static void close_all(struct fixture *f)
{
	warnings_free(f->w);
	db_free(f->db);
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	snprintf(f->dir, sizeof(f->dir), "/var/tmp/lxd-test-warnings-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->path = path_join(f->dir, "lxd.db");
	open_all(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;

	close_all(f);
	path_remove_tree(AT_FDCWD, f->dir, &err);
	free(f->path);
	free(f);
	return 0;
}

static struct json *list(struct fixture *f, const char *project)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct json *j = NULL;

	warnings_render_list(f->w, project, /* objects= */ true, &JSONW(&b));
	expect_ok(json_parse(b.data, b.len, &j, &err), &err);
	return j;
}

/* The first warning's text and number of that name. */
static void expect_first(struct fixture *f, const char *key, const char *text)
{
	auto_json struct json *j = list(f, NULL);

	assert_string_equal(json_get_str(json_at(j, 0), key), text);
}

static int64_t first_count(struct fixture *f)
{
	auto_json struct json *j = list(f, NULL);

	return json_int(json_get(json_at(j, 0), "count"));
}

static char *first_uuid(struct fixture *f)
{
	auto_json struct json *j = list(f, NULL);

	return xstrdup(json_get_str(json_at(j, 0), "uuid"));
}

static void raised_again_is_counted(void **state)
{
	struct fixture *f = *state;

	warnings_raise(f->w, "Disk full", "low", "", "first");
	warnings_raise(f->w, "Disk full", "high", "", "second");
	warnings_raise(f->w, "Disk full", "low", "/1.0/storage-pools/p", "other");
	assert_int_equal(warnings_count(f->w), 2);
	close_all(f);
	open_all(f);
	assert_int_equal(warnings_count(f->w), 2);
	assert_int_equal(first_count(f), 2);
	expect_first(f, "last_message", "second");
	expect_first(f, "severity", "high");
	expect_first(f, "status", "new");
	expect_first(f, "location", "none");
	expect_first(f, "entity_url", "");
}

static void acknowledged_stays_until_resolved(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	auto_free char *uuid = NULL;

	warnings_raise(f->w, "t", "low", "", "m");
	uuid = first_uuid(f);
	expect_ok(warnings_set_status(f->w, uuid, "acknowledged", &err), &err);
	warnings_raise(f->w, "t", "low", "", "m");
	expect_first(f, "status", "acknowledged");
	warnings_resolve(f->w, "t", "");
	expect_first(f, "status", "resolved");
	warnings_resolve(f->w, "other", "");
	close_all(f);
	open_all(f);
	expect_first(f, "status", "resolved");
	warnings_raise(f->w, "t", "low", "", "m");
	expect_first(f, "status", "new");
	expect_first(f, "uuid", uuid);
}

static void resolved_ones_go_after_a_day(void **state)
{
	struct fixture *f = *state;
	int64_t now;

	warnings_raise(f->w, "a", "low", "", "m");
	warnings_raise(f->w, "b", "low", "", "m");
	warnings_resolve(f->w, "b", "");
	now = time_now_ns();
	warnings_prune(f->w, now + DAY_NS - DAY_NS / 24);
	assert_int_equal(warnings_count(f->w), 2);
	warnings_prune(f->w, now + DAY_NS + DAY_NS / 24);
	assert_int_equal(warnings_count(f->w), 1);
	expect_first(f, "type", "a");
	close_all(f);
	open_all(f);
	assert_int_equal(warnings_count(f->w), 1);
}

static void unknown_uuid_is_not_found(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_free char *uuid = NULL;

	expect_error(warnings_delete(f->w, "nope", &err), &err, 404, "Warning not found");
	expect_error(warnings_set_status(f->w, "nope", "new", &err), &err, 404, "Warning not found");
	expect_error(warnings_render_one(f->w, "nope", &JSONW(&b), &err), &err, 404, "Warning not found");
	warnings_raise(f->w, "a", "low", "", "m");
	uuid = first_uuid(f);
	expect_ok(warnings_render_one(f->w, uuid, &JSONW(&b), &err), &err);
	expect_ok(warnings_delete(f->w, uuid, &err), &err);
	expect_error(warnings_delete(f->w, uuid, &err), &err, 404, "Warning not found");
}

static void projects_are_filtered(void **state)
{
	struct fixture *f = *state;
	auto_json struct json *all = NULL, *none = NULL;

	warnings_raise(f->w, "a", "low", "", "m");
	all = list(f, NULL);
	none = list(f, "default");
	assert_int_equal(json_len(all), 1);
	assert_int_equal(json_len(none), 0);
}

static void certificate_expiry_has_its_warning(void **state)
{
	static const char type[] = "Server certificate expires soon";
	struct fixture *f = *state;
	const int64_t day = 86400, now = 1800000000;

	warnings_check_certificate_expiry(f->w, now + 31 * day, now);
	assert_int_equal(warnings_count(f->w), 0);
	warnings_check_certificate_expiry(f->w, now + 30 * day, now);
	expect_first(f, "type", type);
	expect_first(f, "severity", "moderate");
	expect_first(f, "last_message",
		     "The server certificate expires on 2027-02-14T08:00:00Z, in 30 days: replace server.crt and "
		     "server.key");
	warnings_check_certificate_expiry(f->w, now, now);
	expect_first(f, "severity", "high");
	assert_int_equal(first_count(f), 2);
	warnings_check_certificate_expiry(f->w, now + 3650 * day, now);
	expect_first(f, "status", "resolved");
	assert_int_equal(warnings_count(f->w), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(raised_again_is_counted),      TEST(acknowledged_stays_until_resolved),
		TEST(resolved_ones_go_after_a_day), TEST(unknown_uuid_is_not_found),
		TEST(projects_are_filtered),        TEST(certificate_expiry_has_its_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
