/* Tables: the grid, compact and CSV forms, widths, and that nothing steers the terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <locale.h>

#include <cmocka.h>

#include "base/str.h"
#include "client/list_filter.h"
#include "client/table.h"

static void sample(struct table *t)
{
	static const char *const rows[][3] = {
		{"c10", "RUNNING", "a\nb"}, {"c9", "STOPPED", ""}, {"c9x", "x,\"y\"", " z"}};

	strv_add(&t->header, "NAME");
	strv_add(&t->header, "STATE");
	strv_add(&t->header, "N");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		table_add(t, rows[i], 3);
	table_sort(t);
}

static void expect(enum table_format format, const char *text)
{
	auto_table struct table t = TABLE_INIT;
	auto_strbuf struct strbuf out = STRBUF_INIT;

	sample(&t);
	table_render(&t, format, &out);
	assert_string_equal(strbuf_str(&out), text);
}

static void grid(void **state UNUSED)
{
	expect(TABLE_GRID, "+------+---------+----+\n"
			   "| NAME |  STATE  | N  |\n"
			   "+------+---------+----+\n"
			   "| c9   | STOPPED |    |\n"
			   "+------+---------+----+\n"
			   "| c9x  | x,\"y\"   |  z |\n"
			   "+------+---------+----+\n"
			   "| c10  | RUNNING | a  |\n"
			   "|      |         | b  |\n"
			   "+------+---------+----+\n");
}

static void compact(void **state UNUSED)
{
	expect(TABLE_COMPACT, "  NAME   STATE   N   \n"
			      "  c9    STOPPED      \n"
			      "  c9x   x,\"y\"     z  \n"
			      "  c10   RUNNING  a   \n"
			      "                 b   \n");
}

static void csv(void **state UNUSED)
{
	expect(TABLE_CSV, "c9,STOPPED,\n"
			  "c9x,\"x,\"\"y\"\"\",\" z\"\n"
			  "c10,RUNNING,\"a\nb\"\n");
}

static void control_characters_become_visible(void **state UNUSED)
{
	auto_table struct table t = TABLE_INIT;
	auto_strbuf struct strbuf out = STRBUF_INIT;
	static const char *const row[] = {"\x1b[31m", "a\tb\rc", "x\xc2\x9by\x7f"};

	for (size_t i = 0; i < 3; i++)
		strv_add(&t.header, "H");
	table_add(&t, row, 3);
	table_render(&t, TABLE_CSV, &out);
	assert_string_equal(strbuf_str(&out), "\\x1b[31m,a\\x09b\\x0dc,x\\u009by\\x7f\n");
}

static void wide_characters_count_as_on_the_screen(void **state UNUSED)
{
	auto_table struct table t = TABLE_INIT;
	auto_strbuf struct strbuf out = STRBUF_INIT;
	static const char *const row[] = {"\xe6\x97\xa5\xc3\xa9"}; /* two columns and one */

	assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
	strv_add(&t.header, "HEAD");
	table_add(&t, row, 1);
	table_render(&t, TABLE_COMPACT, &out);
	assert_string_equal(strbuf_str(&out), "  HEAD  \n  \xe6\x97\xa5\xc3\xa9   \n");
}

static void natural_order(void **state UNUSED)
{
	assert_true(natural_compare("c9", "c10") < 0);
	assert_true(natural_compare("c10", "c9") > 0);
	assert_true(natural_compare("c1", "c1a") < 0);
	assert_int_equal(natural_compare("a12b", "a12b"), 0);
	assert_true(natural_compare("95c9", "1210d") < 0);
}

static void no_name_comes_last(void **state UNUSED)
{
	static const char *const rows[][2] = {{"", "1"}, {"b", ""}, {"", ""}, {"b", "0"}, {"a", ""}};
	auto_table struct table t = TABLE_INIT;
	auto_strbuf struct strbuf out = STRBUF_INIT;

	strv_add(&t.header, "A");
	strv_add(&t.header, "B");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		table_add(&t, rows[i], 2);
	table_sort(&t);
	table_render(&t, TABLE_CSV, &out);
	assert_string_equal(strbuf_str(&out), "a,\nb,0\nb,\n,1\n,\n");
}

static void unknown_format(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	enum table_format f;

	assert_true(table_format_parse("bogus", &f, &err) < 0);
	assert_string_equal(error_msg(&err), "Invalid format \"bogus\"");
}

static int match(const char *filter)
{
	static const char text[] = "{\"name\":\"web1\",\"status\":\"Running\",\"type\":\"container\","
				   "\"expanded_config\":{\"user.blah\":\"abc\",\"security.privileged\":\"true\"},"
				   "\"state\":{\"network\":{\"eth0\":{\"addresses\":[{\"address\":\"192.0.2.9\"},"
				   "{\"address\":\"2001:db8::5\"}]}}}}";
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;

	assert_int_equal(json_parse(text, sizeof(text) - 1, &j, &err), 0);
	return list_filter_match(filter, j, &err);
}

static void filters(void **state UNUSED)
{
	static const char *const yes[] = {"web",
					  "^web1$",
					  "w.*1",
					  "u.blah=abc",
					  "user.blah=a.*",
					  "s.priv=true",
					  "status=running",
					  "type=container",
					  "status=stopped,RUNNING",
					  "ipv4=192.0.2.0/24",
					  "ipv4=192.0.2.9",
					  "ipv6=2001:db8::/32"};
	static const char *const no[] = {
		"eb1", "web2", "u.blah=ab", "u=abc", "status=stopped", "ipv4=192.0.2.10", "ipv6=2001:db8:1::/48"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		assert_int_equal(match(yes[i]), 1);
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		assert_int_equal(match(no[i]), 0);
	assert_true(match("ipv4=nonsense") < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grid),
		cmocka_unit_test(compact),
		cmocka_unit_test(csv),
		cmocka_unit_test(control_characters_become_visible),
		cmocka_unit_test(wide_characters_count_as_on_the_screen),
		cmocka_unit_test(natural_order),
		cmocka_unit_test(no_name_comes_last),
		cmocka_unit_test(unknown_format),
		cmocka_unit_test(filters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
