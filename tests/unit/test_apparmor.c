/* Profile names and texts; whether AppArmor is there is decided by a made-up tree. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "instance/apparmor.h"

static void available_by_tree(void **state)
{
	char root[] = "/tmp/test-apparmor.XXXXXX";
	auto_error struct error err = ERROR_INIT;
	auto_free char *dir = NULL;
	auto_free char *file = NULL;

	(void)state;
	assert_non_null(mkdtemp(root));
	assert_false(apparmor_is_available(root));
	dir = path_join(root, "sys/kernel/security/apparmor");
	file = path_join(dir, "profiles");
	assert_int_equal(dir_make_all(AT_FDCWD, dir, 0755, &err), 0);
	assert_int_equal(file_replace_at(AT_FDCWD, file, "", 0, 0644, &err), 0);
	assert_true(apparmor_is_available(root));
	assert_int_equal(path_remove_tree(AT_FDCWD, root, &err), 0);
}

static void names(void **state)
{
	auto_free char *name = apparmor_profile_name("c1", "/var/lib/lxd");
	auto_free char *dir = xcalloc(1, 400);
	auto_free char *hashed = NULL;

	(void)state;
	assert_string_equal(name, "lxd-c1_<var-lib-lxd>");
	memset(dir, 'd', 399);
	dir[0] = '/';
	hashed = apparmor_profile_name("c1", dir);
	assert_int_equal(strlen(hashed), strlen("lxd-") + 64);
}

static void text_has_rules(void **state)
{
	auto_strmap struct strmap c = STRMAP_INIT;
	auto_free char *plain = apparmor_profile_text("lxd-c1", &c);
	auto_free char *nested = NULL;

	(void)state;
	assert_non_null(strstr(plain, "profile \"lxd-c1\" flags=(attach_disconnected,mediate_deleted) {\n"));
	assert_non_null(strstr(plain, "deny @{PROC}/sysrq-trigger rwklx,\n"));
	assert_non_null(strstr(plain, "deny /sys/kernel/security/** rwklx,\n"));
	assert_null(strstr(plain, "pivot_root,"));
	strmap_set(&c, "security.nesting", "true");
	strmap_set(&c, "raw.apparmor", "mount fstype=nfs,\ndeny /x r,");
	nested = apparmor_profile_text("lxd-c1", &c);
	assert_non_null(strstr(nested, "  pivot_root,\n"));
	assert_non_null(strstr(nested, "  # raw.apparmor\n  mount fstype=nfs,\n  deny /x r,\n}\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(available_by_tree), cmocka_unit_test(names),
					   cmocka_unit_test(text_has_rules)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
