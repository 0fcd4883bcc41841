/* Which of the typed keys leave a console, and which are for it, however they are cut into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/console.h"

static const struct {
	const char *typed;
	const char *passed;
	bool leaves;
} rows[] = {
	{"", "", false},
	{"abc", "abc", false},
	{"q", "q", false},
	{"\x01q", "", true},
	{"ab\x01qcd", "ab", true},
	{"\x01\x01", "\x01", false},
	{"\x01\x01q", "\x01q", false},
	{"\x01\x01\x01q", "\x01", true},
	{"\x01x", "\x01x", false},
	{"\x01x\x01q", "\x01x", true},
	{"\x01", "", false},
	{"qq\x01Q\xff", "qq\x01Q\xff", false},
};

static void check(const char *typed, size_t piece, const char *passed, bool leaves)
{
	struct console_keys k = {0};
	char out[64], buf[32];
	size_t len = 0, n = strlen(typed);
	bool leave = false;

	for (size_t at = 0; at < n && !leave; at += piece) {
		size_t take = n - at < piece ? n - at : piece;
		size_t got = console_keys_filter(&k, typed + at, take, buf, &leave);

		assert_true(got <= take + 1);
		memcpy(out + len, buf, got);
		len += got;
	}
	assert_int_equal(len, strlen(passed));
	assert_memory_equal(out, passed, len);
	assert_int_equal(leave, leaves);
}

static void keys_in_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t piece = 1; piece < 8; piece++)
			check(rows[i].typed, piece, rows[i].passed, rows[i].leaves);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(keys_in_pieces)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
