/* Names on remotes, and aliases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/str.h"
#include "client/client.h"
#include "client/image.h"

static struct cli cli;

static int setup(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;

	unsetenv("LXC_REMOTE");
	setenv("LXD_CONF", "/nonexistent/conf", 1);
	return cli_config_load(false, &cli.config, &err);
}

static int teardown(void **state UNUSED)
{
	cli_config_free(cli.config);
	return 0;
}

static void expect(const char *text, const char *remote, const char *name)
{
	auto_error struct error err = ERROR_INIT;
	auto_target struct target t = TARGET_INIT;

	assert_int_equal(target_parse(&cli, text, &t, &err), 0);
	assert_string_equal(t.remote, remote);
	assert_string_equal(t.name, name);
}

static void grammar(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_target struct target t = TARGET_INIT;

	expect(NULL, "local", "");
	expect("c1", "local", "c1");
	expect("local:", "local", "");
	expect("local:c1/snap", "local", "c1/snap");
	expect("images:debian/12", "images", "debian/12");
	expect("a/b:c", "local", "a/b:c");
	expect("local:a:b", "local", "a:b");
	assert_true(target_parse(&cli, "nope:x", &t, &err) < 0);
	assert_string_equal(error_msg(&err), "The remote \"nope\" doesn't exist");
}

static void remote_from_environment(void **state UNUSED)
{
	setenv("LXC_REMOTE", "images", 1);
	expect("c1", "images", "c1");
	unsetenv("LXC_REMOTE");
}

static void expect_alias(const char *target, const char *args, const char *result)
{
	auto_strv struct strv in = STRV_INIT;
	auto_strv struct strv out = STRV_INIT;
	char *joined;

	strmap_set(&cli.config->aliases, "x y", target);
	strv_split(&in, args, ' ');
	assert_true(cli_config_expand_alias(cli.config, &in, &out));
	joined = strv_join(&out, " ");
	assert_string_equal(joined, result);
	free(joined);
}

static void aliases(void **state UNUSED)
{
	auto_strv struct strv in = STRV_INIT;
	auto_strv struct strv out = STRV_INIT;

	expect_alias("list -c n", "x y -f csv", "list -c n -f csv");
	expect_alias("exec @ARGS@ -- su", "x y c1 -t", "exec c1 -t -- su");
	expect_alias("copy @ARG1@ @ARG2@", "x y a b", "copy a b");
	strv_add(&in, "x");
	assert_false(cli_config_expand_alias(cli.config, &in, &out));
}

static void image_names(void **state UNUSED)
{
	static const char good[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

	assert_true(image_is_fingerprint(good));
	assert_false(image_is_fingerprint(NULL));
	assert_false(image_is_fingerprint(""));
	assert_false(image_is_fingerprint(good + 1));
	assert_false(image_is_fingerprint("0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"));
	assert_false(image_is_fingerprint("../3456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
	assert_string_equal(image_extension(NULL), "");
	assert_string_equal(image_extension("a.tar.xz"), ".tar.xz");
	assert_string_equal(image_extension("a.b.squashfs"), ".squashfs");
	assert_string_equal(image_extension("a.tar/../b"), "");
	assert_string_equal(image_extension("a.tar/../b.tar.gz"), ".tar.gz");
	assert_string_equal(image_extension("a.sh"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(grammar), cmocka_unit_test(remote_from_environment),
					   cmocka_unit_test(aliases), cmocka_unit_test(image_names)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
