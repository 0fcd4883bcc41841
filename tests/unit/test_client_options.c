/* The option parser: every form of GNU style flags, and the messages of the reference client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/options.h"
#include "base/str.h"

static const struct option_row rows[] = {
	{"all", 'a', OPTION_BOOL, NULL, "all"},
	{"config", 'c', OPTION_LIST, NULL, "config"},
	{"console", 0, OPTION_OPTIONAL, "console", "console"},
	{"format", 'f', OPTION_STRING, "table", "format"},
	{"timeout", 't', OPTION_INT, "-1", "timeout"},
	OPTION_END,
};

static struct options *parse(const char *const *args, size_t n)
{
	auto_error struct error err = ERROR_INIT;
	struct options *o = NULL;

	assert_int_equal(options_parse(rows, NULL, (char *const *)(uintptr_t)args, n, &o, &err), 0);
	return o;
}

static void expect_error(const char *const *args, size_t n, const char *message)
{
	auto_error struct error err = ERROR_INIT;
	struct options *o = NULL;

	assert_true(options_parse(rows, NULL, (char *const *)(uintptr_t)args, n, &o, &err) < 0);
	assert_string_equal(error_msg(&err), message);
	assert_null(o);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__}, ARRAY_SIZE(((const char *const[]){__VA_ARGS__})))
#define REFUSE(message, ...) \
	expect_error((const char *const[]){__VA_ARGS__}, ARRAY_SIZE(((const char *const[]){__VA_ARGS__})), message)

static void flags_mix_with_arguments(void **state UNUSED)
{
	auto_options struct options *o = PARSE("c1", "-a", "c2", "--format=csv", "-c", "x=1", "-cy=2");

	assert_int_equal(option_args(o)->len, 2);
	assert_string_equal(option_args(o)->items[1], "c2");
	assert_true(option_bool(o, "all"));
	assert_string_equal(option_str(o, "format"), "csv");
	assert_int_equal(option_list(o, "config")->len, 2);
	assert_string_equal(option_list(o, "config")->items[1], "y=2");
}

static void clusters_and_last_value_wins(void **state UNUSED)
{
	auto_options struct options *o = PARSE("-afcsv", "-f", "json", "-t=5");

	assert_true(option_bool(o, "all"));
	assert_string_equal(option_str(o, "format"), "json");
	assert_int_equal(option_int(o, "timeout"), 5);
}

static void defaults_and_false(void **state UNUSED)
{
	auto_options struct options *o = PARSE("--all=false", "--console");

	assert_false(option_bool(o, "all"));
	assert_true(option_given(o, "all"));
	assert_string_equal(option_str(o, "format"), "table");
	assert_int_equal(option_int(o, "timeout"), -1);
	assert_string_equal(option_str(o, "console"), "console");
}

static void dashes_end_flags(void **state UNUSED)
{
	auto_options struct options *o = PARSE("c1", "--", "ls", "-l", "--");

	assert_int_equal(option_args(o)->len, 4);
	assert_string_equal(option_args(o)->items[2], "-l");
	assert_int_equal(option_args_before_dashes(o), 1);
}

static void single_dash_is_an_argument(void **state UNUSED)
{
	auto_options struct options *o = PARSE("-");

	assert_int_equal(option_args(o)->len, 1);
}

static void messages_of_the_reference(void **state UNUSED)
{
	REFUSE("unknown flag: --x", "--x");
	REFUSE("unknown flag: --x", "--x=1");
	REFUSE("unknown shorthand flag: 'l' in -l", "ls", "-l");
	REFUSE("unknown shorthand flag: 'z' in -z", "-az");
	REFUSE("flag needs an argument: --format", "--format");
	REFUSE("flag needs an argument: 'f' in -f", "-f");
	REFUSE("invalid argument \"abc\" for \"--timeout\" flag: not a number", "--timeout=abc");
	REFUSE("invalid argument \"maybe\" for \"--all\" flag: not a boolean", "--all=maybe");
}

static void help_lists_every_row(void **state UNUSED)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;

	options_help(rows, &out);
	for (const struct option_row *r = rows; r->name; r++)
		assert_non_null(strstr(strbuf_str(&out), r->name));
	assert_non_null(strstr(strbuf_str(&out), "-t, --timeout"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_mix_with_arguments),   cmocka_unit_test(clusters_and_last_value_wins),
		cmocka_unit_test(defaults_and_false),         cmocka_unit_test(dashes_end_flags),
		cmocka_unit_test(single_dash_is_an_argument), cmocka_unit_test(messages_of_the_reference),
		cmocka_unit_test(help_lists_every_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
