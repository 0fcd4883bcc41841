/* Operations: each ends once, with the state that its work deserves, and can be waited for, cancelled and found. */
#include "unit.h"

#include <stdatomic.h>

#include "api/operation.h"
#include "base/json.h"

struct fixture {
	struct loop *loop;
	struct events *events;
	struct operations *ops;
};

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	auto_error struct error err = ERROR_INIT;

	expect_ok(loop_new(&f->loop, &err), &err);
	f->events = events_new(f->loop);
	f->ops = operations_new(f->loop, f->events);
	expect_ok(loop_start(f->loop, &err), &err);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_free(f->loop);
	operations_free(f->ops);
	events_free(f->events);
	free(f);
	return 0;
}

/* The object as a client would see it. */
static struct json *look(struct operation *op)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	struct json *j = NULL;

	operation_render(op, NULL, &JSONW(&b));
	expect_ok(json_parse(b.data, b.len, &j, &err), &err);
	return j;
}

static void expect_status(struct operation *op, const char *status, int code, const char *text)
{
	auto_json struct json *j = look(op);

	assert_string_equal(json_get_str(j, "status"), status);
	assert_int_equal(json_int(json_get(j, "status_code")), code);
	assert_string_equal(json_get_str(j, "err"), text);
}

static int work_well(struct operation *op, void *arg UNUSED, struct error *err UNUSED)
{
	operation_set_metadata(op, "{\"return\":0}", /* publish= */ false);
	return 0;
}

static int work_badly(struct operation *op UNUSED, void *arg UNUSED, struct error *err)
{
	return error_set(err, 400, "it \"broke\"");
}

static void success_and_metadata(void **state)
{
	struct fixture *f = *state;
	struct operation_spec spec = {.description = "Testing", .project = "default", .run = work_well};
	struct operation *op = operation_new(f->ops, &spec);
	CLEANUP(operation_unrefp) struct operation *found = NULL;

	assert_null(operation_find(f->ops, operation_id(op)));
	operation_add_resource(op, "instances", "/1.0/instances/c1");
	operation_start(op);
	assert_true(operation_wait(op, 5000));
	expect_status(op, "Success", 200, "");
	found = operation_find(f->ops, operation_id(op));
	assert_ptr_equal(found, op);
	auto_json struct json *j = look(op);
	assert_int_equal(json_int(json_get(json_get(j, "metadata"), "return")), 0);
	assert_string_equal(json_str(json_at(json_get(json_get(j, "resources"), "instances"), 0)), "/1.0/instances/c1");
	operation_unref(op);
}

static void failure_keeps_the_text(void **state)
{
	struct fixture *f = *state;
	struct operation_spec spec = {.description = "Testing", .run = work_badly};
	struct operation *op = operation_new(f->ops, &spec);
	auto_error struct error err = ERROR_INIT;

	operation_start(op);
	assert_true(operation_wait(op, 5000));
	expect_status(op, "Failure", 400, "it \"broke\"");
	expect_error(operation_cancel(op, &err), &err, 400, "can't be cancelled");
	operation_unref(op);
}

static int wait_for_flag(struct operation *op, void *arg UNUSED, struct error *err)
{
	while (!operation_is_cancelled(op))
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	return error_set(err, 500, "cancelled");
}

static void note_cancel(struct operation *op UNUSED, void *arg)
{
	(*(_Atomic int *)arg)++;
}

static void cancel_once(void **state)
{
	struct fixture *f = *state;
	_Atomic int cancelled = 0;
	struct operation_spec spec = {
		.description = "Testing", .run = wait_for_flag, .cancel = note_cancel, .arg = &cancelled};
	struct operation *op = operation_new(f->ops, &spec);
	auto_error struct error err = ERROR_INIT;

	operation_start(op);
	assert_false(operation_wait(op, 20));
	assert_int_equal(operations_running(f->ops), 1);
	expect_ok(operation_cancel(op, &err), &err);
	assert_true(operation_wait(op, 5000));
	expect_status(op, "Cancelled", 401, "cancelled");
	assert_int_equal(cancelled, 1);
	expect_error(operation_cancel(op, &err), &err, 400, "Only running operations can be cancelled");
	assert_int_equal(operations_running(f->ops), 0);
	operation_unref(op);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(success_and_metadata, setup, teardown),
		cmocka_unit_test_setup_teardown(failure_keeps_the_text, setup, teardown),
		cmocka_unit_test_setup_teardown(cancel_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
