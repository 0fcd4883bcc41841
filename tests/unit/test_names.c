/* Names at the edge: what passes is safe as a file name, a path component and an argument. */
#include "unit.h"

#include "config/names.h"

static char *repeat(char c, size_t n)
{
	char *s = xmalloc(n + 1);

	memset(s, c, n);
	s[n] = '\0';
	return s;
}

static void instances(void **state UNUSED)
{
	static const char *const good[] = {"a", "c1", "Web-01", "a--b"};
	static const char *const bad[] = {"",    "1a",  "123", "-a",  "a-",       "a_b",
					  "a.b", "a/b", "..",  "a b", "\xc3\xa4", "a\n"};
	auto_free char *longest = repeat('a', 63);
	auto_free char *longer = repeat('a', 64);
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		expect_ok(name_check_instance(good[i], &err), &err);
	expect_ok(name_check_instance(longest, &err), &err);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_error(name_check_instance(bad[i], &err), &err, 400, "Invalid instance name: ");
	expect_error(name_check_instance(longer, &err), &err, 400, "1-63 characters");
	expect_error(name_check_instance(NULL, &err), &err, 400, "empty");
}

typedef int (*check_fn)(const char *name, struct error *err);

static void components(void **state UNUSED)
{
	static const check_fn all[] = {name_check_snapshot, name_check_profile, name_check_project, name_check_pool,
				       name_check_device};
	static const char *const bad[] = {"", ".", "..", "a/b", "/", "a\nb", "\xff", "a\x7f", "../../etc"};
	auto_free char *longer = repeat('x', 256);
	auto_error struct error err = ERROR_INIT;

	for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			expect_error(all[k](bad[i], &err), &err, 400, "");
		expect_error(all[k](longer, &err), &err, 400, "longer");
		expect_error(all[k](NULL, &err), &err, 400, "");
		expect_ok(all[k]("name-1.x", &err), &err);
	}
	expect_error(name_check_snapshot("a b", &err), &err, 400, "spaces");
	expect_error(name_check_profile("a/b", &err), &err, 400, "Profile names may not contain slashes");
	expect_error(name_check_project("a_b", &err), &err, 400, "underscores");
	expect_error(name_check_project("*", &err), &err, 400, "Reserved");
	longer[65] = '\0';
	expect_error(name_check_device(longer, &err), &err, 400, "longer than 64");
	longer[64] = '\0';
	expect_ok(name_check_device(longer, &err), &err);
}

static void images(void **state UNUSED)
{
	auto_free char *hex = repeat('f', 64);
	auto_free char *longer = repeat('f', 65);
	auto_error struct error err = ERROR_INIT;

	expect_ok(name_check_alias("debian/12:x", &err), &err);
	expect_error(name_check_alias("", &err), &err, 400, "No name");
	expect_error(name_check_alias("a\tb", &err), &err, 400, "alias");
	expect_ok(name_check_fingerprint(hex, &err), &err);
	expect_ok(name_check_fingerprint("0aF", &err), &err);
	expect_error(name_check_fingerprint(longer, &err), &err, 400, "fingerprint");
	expect_error(name_check_fingerprint("xyz", &err), &err, 400, "fingerprint");
	expect_error(name_check_fingerprint("../a", &err), &err, 400, "fingerprint");
}

static void log_files(void **state UNUSED)
{
	static const char *const good[] = {"lxc.log", "lxc.conf", "exec_0a-B_1.stdout", "exec_x.stderr"};
	static const char *const bad[] = {
		"",           "lxc.log/..",      "../lxc.log",      "exec_.stdout", "exec_a.stdoutx",
		"exec_a",     "exec_a/b.stdout", "exec_a.b.stdout", "exec_.stderr", "exec_stdout",
		"console.log"};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		expect_ok(name_check_log_file(good[i], &err), &err);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_error(name_check_log_file(bad[i], &err), &err, 404, "not found");
	assert_true(name_is_exec_log("exec_x.stdout") && !name_is_exec_log("lxc.log"));
}

static void texts(void **state UNUSED)
{
	assert_true(text_is_clean("", false) && text_is_clean("a \xc3\xa4 \xf0\x9f\x98\x80", false));
	assert_true(text_is_clean("a\n\tb\r", true) && !text_is_clean("a\n", false));
	assert_false(text_is_clean("\x1b", true) || text_is_clean("\x7f", true) || text_is_clean("\xff", true) ||
		     text_is_clean("\xc3", true) || text_is_clean("\xed\xa0\x80", true) ||
		     text_is_clean("\xc0\xaf", true));
}

static void random_names(void **state UNUSED)
{
	for (int i = 0; i < 500; i++) {
		auto_free char *name = instance_name_random();
		auto_error struct error err = ERROR_INIT;

		expect_ok(name_check_instance(name, &err), &err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instances), cmocka_unit_test(components), cmocka_unit_test(images),
		cmocka_unit_test(log_files), cmocka_unit_test(texts),      cmocka_unit_test(random_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
