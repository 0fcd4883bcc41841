/* Tokens: used once, in whatever order uses, revocations and restarts come; and who sees what of their operations. */
#include "unit.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/timeutil.h"

struct fixture {
	char dir[64];
	char *path;
	struct db *db;
	struct api api;
};

static const struct api_route route = {.path = "/1.0/certificates", .method = HTTP_POST, .perm = PERM_ANYONE};

static void begin(struct fixture *f)
{
	auto_error struct error err = ERROR_INIT;

	f->api = (struct api){.version = "x"};
	mutex_init(&f->api.server_lock);
	mutex_init(&f->api.config_lock);
	expect_ok(db_open(f->path, &f->db, &err), &err);
	expect_ok(loop_new(&f->api.loop, &err), &err);
	f->api.events = events_new(f->api.loop);
	f->api.operations = operations_new(f->api.loop, f->api.events);
	expect_ok(tokens_new(&f->api, f->db, &f->api.tokens, &err), &err);
	expect_ok(loop_start(f->api.loop, &err), &err);
}

static void end(struct fixture *f)
{
	tokens_stop(f->api.tokens);
	loop_free(f->api.loop);
	tokens_free(f->api.tokens);
	operations_free(f->api.operations);
	events_free(f->api.events);
	db_free(f->db);
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	snprintf(f->dir, sizeof(f->dir), "/var/tmp/lxd-test-token-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->path = path_join(f->dir, "lxd.db");
	begin(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;

	end(f);
	path_remove_tree(AT_FDCWD, f->dir, &err);
	free(f->path);
	free(f);
	return 0;
}

static struct json *look(struct operation *op, const struct identity *viewer)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	struct json *j = NULL;

	operation_render(op, viewer, &JSONW(&b));
	expect_ok(json_parse(b.data, b.len, &j, &err), &err);
	return j;
}

static const char *secret_in(const struct json *operation)
{
	return json_get_str(json_get(operation, "metadata"), "secret");
}

static const struct identity admin = {.kind = IDENTITY_LOCAL};

/* A token that is good for @seconds; its operation, started, and its secret. */
static struct operation *issue(struct fixture *f, int64_t seconds, char secret[65])
{
	struct api_call c = {.api = &f->api, .id = admin, .route = &route, .project = "default"};
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;
	struct operation *op = NULL;

	expect_ok(token_issue(&c, &token_kind_certificate, "{\"name\":\"n\"}", time_now_ns() + seconds * 1000000000,
			      &op, &err),
		  &err);
	operation_start(op);
	j = look(op, &admin);
	snprintf(secret, 65, "%s", secret_in(j));
	assert_int_equal(strlen(secret), 64);
	return op;
}

static int take(struct fixture *f, const char *secret, struct error *err)
{
	CLEANUP(db_token_done) struct db_token row = {0};
	int r = token_take(f->api.tokens, &token_kind_certificate, secret, NULL, NULL, &row, err);

	if (r == 0)
		assert_string_equal(row.request, "{\"name\":\"n\"}");
	return r;
}

static void expect_none(struct fixture *f, const char *secret)
{
	auto_error struct error err = ERROR_INIT;

	assert_int_equal(take(f, secret, &err), -ENOENT);
	assert_int_equal(err.status, 403);
}

static const char *status_of(struct operation *op)
{
	return operation_status_name(op);
}

static void used_once(void **state)
{
	struct fixture *f = *state;
	char secret[65], wrong[65];
	CLEANUP(operation_unrefp) struct operation *op = issue(f, 60, secret);
	auto_error struct error err = ERROR_INIT;

	assert_string_equal(status_of(op), "Running");
	assert_int_equal(operations_running(f->api.operations), 0);
	memcpy(wrong, secret, sizeof(wrong));
	wrong[63] = wrong[63] == '0' ? '1' : '0';
	expect_none(f, wrong);
	expect_none(f, "");
	expect_ok(take(f, secret, &err), &err);
	assert_true(operation_wait(op, 0));
	assert_string_equal(status_of(op), "Cancelled");
	expect_none(f, secret);
}

static void used_is_used_after_a_restart(void **state)
{
	struct fixture *f = *state;
	char secret[65];
	struct operation *op = issue(f, 60, secret);
	auto_error struct error err = ERROR_INIT;

	operation_unref(op);
	expect_ok(take(f, secret, &err), &err);
	end(f);
	begin(f);
	expect_none(f, secret);
}

static bool never(const struct db_token *row UNUSED, void *arg)
{
	(*(int *)arg)++;
	return false;
}

static void what_does_not_fit_stays(void **state)
{
	struct fixture *f = *state;
	char secret[65];
	CLEANUP(operation_unrefp) struct operation *op = issue(f, 60, secret);
	CLEANUP(db_token_done) struct db_token row = {0};
	auto_error struct error err = ERROR_INIT;
	int asked = 0;

	assert_int_equal(token_take(f->api.tokens, &token_kind_certificate, secret, never, &asked, &row, &err),
			 -ENOENT);
	assert_int_equal(asked, 1);
	error_clear(&err);
	assert_string_equal(status_of(op), "Running");
	expect_ok(take(f, secret, &err), &err);
}

static void expired(void **state)
{
	struct fixture *f = *state;
	char secret[65];
	CLEANUP(operation_unrefp) struct operation *op = issue(f, -1, secret);
	auto_error struct error err = ERROR_INIT;
	int r = take(f, secret, &err);

	/* the use finds it expired, or the timer was faster */
	assert_true(r == -ETIME || r == -ENOENT);
	if (r == -ETIME)
		assert_string_equal(error_msg(&err), "Token has expired");
	assert_int_equal(err.status, 403);
	assert_true(operation_wait(op, 5000));
	assert_string_equal(status_of(op), "Cancelled");
	expect_none(f, secret);
}

static void the_timer_ends_it(void **state)
{
	struct fixture *f = *state;
	char secret[65];
	CLEANUP(operation_unrefp) struct operation *later = issue(f, 3600, secret);
	CLEANUP(operation_unrefp) struct operation *op = issue(f, 0, secret);

	assert_true(operation_wait(op, 5000));
	assert_string_equal(status_of(op), "Cancelled");
	assert_string_equal(status_of(later), "Running");
}

static void revoked(void **state)
{
	struct fixture *f = *state;
	char secret[65];
	CLEANUP(operation_unrefp) struct operation *op = issue(f, 60, secret);
	auto_error struct error err = ERROR_INIT;

	expect_ok(operation_cancel(op, &err), &err);
	assert_string_equal(status_of(op), "Cancelled");
	expect_error(operation_cancel(op, &err), &err, 400, "Only running operations can be cancelled");
	expect_none(f, secret);
}

static void back_after_a_restart(void **state)
{
	struct fixture *f = *state;
	char secret[65];
	struct operation *op = issue(f, 60, secret);
	auto_free char *id = xstrdup(operation_id(op));
	auto_error struct error err = ERROR_INIT;

	operation_unref(op);
	end(f);
	begin(f);
	op = operation_find(f->api.operations, id);
	assert_non_null(op);
	auto_json struct json *j = look(op, &admin);
	assert_string_equal(secret_in(j), secret);
	assert_string_equal(json_get_str(j, "class"), "token");
	assert_string_equal(json_get_str(j, "status"), "Running");
	expect_ok(take(f, secret, &err), &err);
	operation_unref(op);
}

struct racer {
	struct fixture *f;
	const char *secret;
	struct operation *op;
	_Atomic int *won;
};

static void *race_take(void *arg)
{
	struct racer *x = arg;
	auto_error struct error err = ERROR_INIT;

	if (take(x->f, x->secret, &err) == 0)
		(*x->won)++;
	return NULL;
}

static void *race_revoke(void *arg)
{
	struct racer *x = arg;
	auto_error struct error err = ERROR_INIT;

	if (operation_cancel(x->op, &err) == 0)
		(*x->won)++;
	return NULL;
}

static void many_race(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 30; round++) {
		char secret[65];
		CLEANUP(operation_unrefp) struct operation *op = issue(f, 60, secret);
		_Atomic int won = 0;
		struct racer x = {.f = f, .secret = secret, .op = op, .won = &won};
		auto_error struct error err = ERROR_INIT;
		pthread_t threads[5];

		for (int i = 0; i < 5; i++)
			expect_ok(thread_start_joinable("racer", i == round % 6 ? race_revoke : race_take, &x,
							&threads[i], &err),
				  &err);
		for (int i = 0; i < 5; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(won, 1);
		assert_true(operation_wait(op, 0));
		assert_string_equal(status_of(op), "Cancelled");
	}
}

/* A register in which certificate @fingerprint is restricted to the default project. */
static struct access *access_of(struct fixture *f, const char *fingerprint)
{
	CLEANUP(db_certificate_done)
	struct db_certificate c = {.fingerprint = xstrdup(fingerprint),
				   .type = xstrdup("client"),
				   .name = xstrdup("n"),
				   .restricted = true,
				   .certificate = xstrdup("PEM")};
	struct access *a = access_new(f->db);
	auto_error struct error err = ERROR_INIT;

	strv_add(&c.projects, "default");
	expect_ok(db_certificate_insert(f->db, &c, &err), &err);
	expect_ok(access_load(a, &err), &err);
	return a;
}

static void who_sees_the_secret(void **state)
{
	struct fixture *f = *state;
	const struct identity full = {.kind = IDENTITY_TLS, .fingerprint = "aa"};
	const struct identity inside = {
		.kind = IDENTITY_TLS, .fingerprint = "bb", .restricted = true, .access = access_of(f, "bb")};
	const struct identity outside = {.kind = IDENTITY_TLS, .fingerprint = "cc", .restricted = true};
	const struct identity stranger = {.kind = IDENTITY_NONE};
	const struct identity metrics = {.kind = IDENTITY_METRICS, .fingerprint = "dd"};
	const struct {
		const struct identity *id;
		bool visible, secret, cancels;
	} rows[] = {
		{&admin, true, true, true},      {&full, true, true, true},        {&inside, true, false, false},
		{&outside, false, false, false}, {&stranger, false, false, false}, {&metrics, false, false, false},
	};
	char secret[65];
	CLEANUP(operation_unrefp) struct operation *op = issue(f, 60, secret);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_json struct json *j = look(op, rows[i].id);

		assert_int_equal(operation_visible(op, rows[i].id), rows[i].visible);
		assert_int_equal(secret_in(j) != NULL, rows[i].secret);
		assert_int_equal(operation_cancellable_by(op, rows[i].id), rows[i].cancels);
	}
	auto_json struct json *j = look(op, NULL);
	assert_null(secret_in(j));
	assert_true(operation_secret_fits(op, secret));
	access_free(inside.access);
	assert_false(operation_secret_fits(op, ""));
	assert_false(operation_secret_fits(op, NULL));
	assert_false(operation_secret_fits(op, "x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(used_once, setup, teardown),
		cmocka_unit_test_setup_teardown(used_is_used_after_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(what_does_not_fit_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(expired, setup, teardown),
		cmocka_unit_test_setup_teardown(the_timer_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(revoked, setup, teardown),
		cmocka_unit_test_setup_teardown(back_after_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(many_race, setup, teardown),
		cmocka_unit_test_setup_teardown(who_sees_the_secret, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
