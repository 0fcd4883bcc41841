/* YAML: quoting as the reference writes it, and reading what people write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "base/yamltext.h"

static void expect_yaml(const char *json, const char *yaml)
{
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;
	auto_strbuf struct strbuf out = STRBUF_INIT;

	assert_int_equal(json_parse(json, strlen(json), &j, &err), 0);
	assert_int_equal(yaml_write(j, 0, &out, &err), 0);
	assert_string_equal(strbuf_str(&out), yaml);
}

static void structure(void **state UNUSED)
{
	expect_yaml("{\"b\":{},\"a\":[],\"l\":[\"x\",{\"k\":1,\"m\":true}],\"n\":{\"z\":\"y z\"}}",
		    "b: {}\na: []\nl:\n- x\n- k: 1\n  m: true\n\"n\":\n  z: y z\n");
	expect_yaml("[]", "[]\n");
	expect_yaml("{\"config\":null,\"profiles\":null}", "config: {}\nprofiles: []\n");
}

static void quoting(void **state UNUSED)
{
	expect_yaml("[\"\",\"0\",\"24\",\"1.5\",\"true\",\"no\",\"null\",\"~\",\"0x1f\",\"1e3\",\"2001-02-03\"]",
		    "- \"\"\n- \"0\"\n- \"24\"\n- \"1.5\"\n- \"true\"\n- \"no\"\n- \"null\"\n- \"~\"\n- \"0x1f\"\n"
		    "- \"1e3\"\n- \"2001-02-03\"\n");
	expect_yaml("[\"192.0.2.1\",\"00:16:3e:7f:66:de\",\"::1\",\"1.13MiB\",\"a b\",\"/\",\"5.0.2\"]",
		    "- 192.0.2.1\n- 00:16:3e:7f:66:de\n- ::1\n- 1.13MiB\n- a b\n- /\n- 5.0.2\n");
	expect_yaml("[\"[{\\\"a\\\":1}]\",\" x\",\"a: b\",\"# c\"]", "- '[{\"a\":1}]'\n- ' x'\n- 'a: b'\n- '# c'\n");
	expect_yaml("{\"t\":\"a\\nb\\n\"}", "t: |\n  a\n  b\n");
	expect_yaml("{\"created_at\":\"2026-11-23T21:07:11.3Z\",\"x\":\"2026-11-23T21:07:11.3Z\"}",
		    "created_at: 2026-11-23T21:07:11.3Z\nx: \"2026-11-23T21:07:11.3Z\"\n");
}

static void terminal_controls_are_escaped(void **state UNUSED)
{
	expect_yaml("[\"\\u001b[31m\"]", "- \"\\e[31m\"\n");
}

static char *read_text(const char *yaml)
{
	static const char *const typed[] = {"ephemeral", NULL};
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;

	assert_int_equal(yaml_read(yaml, strlen(yaml), typed, &j, &err), 0);
	return json_to_text(j);
}

static void reading(void **state UNUSED)
{
	static const char *const cases[][2] = {
		{"", "null"},
		{"# only a comment\n", "null"},
		{"config:\n  limits.cpu: 2\n  user.a: true\nephemeral: true\n",
		 "{\"config\":{\"limits.cpu\":\"2\",\"user.a\":\"true\"},\"ephemeral\":true}"},
		{"a: [x, {b: ~}]\nephemeral: \"true\"", "{\"a\":[\"x\",{\"b\":null}],\"ephemeral\":\"true\"}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = read_text(cases[i][0]);

		assert_string_equal(text, cases[i][1]);
		free(text);
	}
}

static void refused(void **state UNUSED)
{
	static const char *const bad[] = {"a: [", "a: &x 1\nb: *x\n", "a: 1\n---\nb: 2\n", "? [1]\n: 2\n", "\t- x"};
	char deep[201];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_json struct json *j = NULL;

		assert_true(yaml_read(bad[i], strlen(bad[i]), NULL, &j, &err) < 0);
		assert_int_equal(err.status, 400);
	}
	memset(deep, '[', 100);
	memset(deep + 100, ']', 100);
	deep[200] = '\0';
	{
		auto_error struct error err = ERROR_INIT;
		auto_json struct json *j = NULL;

		assert_true(yaml_read(deep, 200, NULL, &j, &err) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structure), cmocka_unit_test(quoting), cmocka_unit_test(terminal_controls_are_escaped),
		cmocka_unit_test(reading),   cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
