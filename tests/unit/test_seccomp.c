/* Policy texts and the keys that exclude each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "instance/seccomp.h"

static void default_policy(void **state)
{
	auto_strmap struct strmap c = STRMAP_INIT;
	auto_free char *text = seccomp_policy(&c, "x86_64");

	(void)state;
	assert_string_equal(text, "2\ndenylist\nreject_force_umount\n[all]\nkexec_load errno 38\n"
				  "open_by_handle_at errno 38\ninit_module errno 38\nfinit_module errno 38\n"
				  "delete_module errno 38\n");
}

static void nothing_to_load(void **state)
{
	auto_strmap struct strmap c = STRMAP_INIT;

	(void)state;
	strmap_set(&c, "security.syscalls.deny_default", "false");
	assert_null(seccomp_policy(&c, "x86_64"));
}

static void raw_wins(void **state)
{
	auto_strmap struct strmap c = STRMAP_INIT;
	auto_free char *text = NULL;

	(void)state;
	strmap_set(&c, "raw.seccomp", "1\nallowlist\n");
	text = seccomp_policy(&c, "x86_64");
	assert_string_equal(text, "1\nallowlist\n");
}

static void allow_list_stands_alone(void **state)
{
	auto_strmap struct strmap c = STRMAP_INIT;
	auto_free char *text = NULL;

	(void)state;
	strmap_set(&c, "security.syscalls.allow", "read\nwrite");
	text = seccomp_policy(&c, "x86_64");
	assert_string_equal(text, "2\nallowlist\n[all]\nread\nwrite\n");
}

static void deny_and_compat(void **state)
{
	auto_strmap struct strmap c = STRMAP_INIT;
	auto_free char *text = NULL;
	auto_free char *other = NULL;

	(void)state;
	strmap_set(&c, "security.syscalls.deny", "keyctl errno 38");
	strmap_set(&c, "security.syscalls.deny_compat", "true");
	text = seccomp_policy(&c, "x86_64");
	assert_non_null(strstr(text, "\n[x86_64]\ncompat_sys_rt_sigaction errno 38\n"));
	assert_non_null(strstr(text, "\n[all]\nkeyctl errno 38\n"));
	other = seccomp_policy(&c, "riscv64");
	assert_null(strstr(other, "compat_sys"));
}

static void exclusions(void **state)
{
	static const char *const bad[][2] = {
		{"raw.seccomp", "security.syscalls.deny"},
		{"security.syscalls.allow", "security.syscalls.deny"},
		{"security.syscalls.allow", "security.syscalls.deny_default"},
		{"security.syscalls.deny", "security.syscalls.blacklist"},
		{"security.syscalls.allow", "security.syscalls.whitelist"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_strmap struct strmap c = STRMAP_INIT;
		auto_error struct error err = ERROR_INIT;

		strmap_set(&c, bad[i][0], "true");
		assert_int_equal(seccomp_validate(&c, &err), 0);
		strmap_set(&c, bad[i][1], "true");
		assert_true(seccomp_validate(&c, &err) < 0);
		assert_non_null(strstr(error_msg(&err), "mutually exclusive"));
		assert_int_equal(err.status, 400);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_policy),  cmocka_unit_test(nothing_to_load),
		cmocka_unit_test(raw_wins),        cmocka_unit_test(allow_list_stands_alone),
		cmocka_unit_test(deny_and_compat), cmocka_unit_test(exclusions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
