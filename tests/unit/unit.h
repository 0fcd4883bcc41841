/* What the unit tests share: cmocka with what it needs, and checks of errors. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <sys/time.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

/* @r is a failure, with this status and with @text in its message. Clears @err. */
static inline void expect_error(int r, struct error *err, int status, const char *text)
{
	if (r >= 0)
		fail_msg("no error, wanted: %s", text);
	assert_int_equal(r, -err->errnum);
	assert_int_equal(err->status, status);
	if (!strstr(error_msg(err), text))
		fail_msg("\"%s\" lacks \"%s\"", error_msg(err), text);
	error_clear(err);
}

/* @r is no failure; else the message is shown. */
static inline void expect_ok(int r, struct error *err)
{
	if (r < 0)
		fail_msg("unexpected error: %s", error_msg(err));
	assert_null(err->msg);
}
