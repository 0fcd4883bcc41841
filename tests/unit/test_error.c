/* The error idiom: status and errno in pairs, wrapping, moving. */
#include "unit.h"

static void pairs(void **state UNUSED)
{
	static const struct {
		int status, errnum;
	} rows[] = {{400, EINVAL}, {403, EPERM}, {404, ENOENT}, {409, EEXIST}, {412, ESTALE}, {500, EIO}, {599, EIO}};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(error_set(&err, rows[i].status, "number %zu", i), -rows[i].errnum);
		assert_int_equal(err.errnum, rows[i].errnum);
		assert_int_equal(err.status, rows[i].status);
	}
	assert_string_equal(error_msg(&err), "number 6");
}

static void from_errno(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;

	expect_error(error_errno(&err, ENOENT, "Open %s", "/x"), &err, 500, "Open /x: No such file or directory");
	assert_int_equal(error_errno(&err, 0, "Odd"), -EIO);
}

static void wrap_and_status(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;

	error_set(&err, 404, "Pool not found");
	assert_int_equal(error_wrap(&err, "Create %s", "c1"), -ENOENT);
	assert_string_equal(error_msg(&err), "Create c1: Pool not found");
	assert_int_equal(err.status, 404);
	assert_int_equal(error_status(&err, 400), -ENOENT);
	assert_int_equal(err.status, 400);
	/* the new text may quote the old one */
	error_wrap(&err, "again (%s)", err.msg);
	assert_string_equal(error_msg(&err), "again (Create c1: Pool not found): Create c1: Pool not found");
	error_set(&err, 500, "was: %.5s", err.msg);
	assert_string_equal(error_msg(&err), "was: again");
	error_clear(&err);
	expect_error(error_wrap(&err, "Lost"), &err, 500, "Lost: unknown error");
}

static void moved(void **state UNUSED)
{
	auto_error struct error a = ERROR_INIT, b = ERROR_INIT;

	error_set(&a, 409, "one");
	error_set(&b, 400, "two");
	assert_int_equal(error_move(&a, &b), -EINVAL);
	assert_string_equal(error_msg(&a), "two");
	assert_true(!b.msg && !b.status && !b.errnum);
	assert_string_equal(error_msg(&b), "unknown error");
	error_ignore(&a, "done with it");
	assert_null(a.msg);
	error_clear(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(pairs), cmocka_unit_test(from_errno),
					   cmocka_unit_test(wrap_and_status), cmocka_unit_test(moved)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
