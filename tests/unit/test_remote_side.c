/* Trust may change before the HTTP server is there: the key files are watched from earlier on. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/path.h"
#include "daemon/remote_side.h"

static void write_file(const char *dir, const char *name, const char *text)
{
	auto_free char *path = path_join(dir, name);
	auto_error struct error err = ERROR_INIT;

	expect_ok(file_replace_at(AT_FDCWD, path, text, strlen(text), 0600, &err), &err);
}

static void trust_changes_without_a_server(void **state UNUSED)
{
	char dir[] = "/var/tmp/lxd-test-remote-side-XXXXXX";
	auto_free char *db_path = NULL;
	struct api api = {.lxd_dir = dir};
	struct http_server *http = NULL;
	struct db *db;
	auto_error struct error err = ERROR_INIT;

	assert_non_null(mkdtemp(dir));
	db_path = path_join(dir, "lxd.db");
	mutex_init(&api.server_lock);
	expect_ok(db_open(db_path, &db, &err), &err);
	expect_ok(warnings_new(db, &api.warnings, &err), &err);
	expect_ok(trust_new(db, &api.trust, &err), &err);
	/* a pair that nobody has to serve with yet */
	write_file(dir, "server.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	write_file(dir, "server.key", "key");
	expect_ok(remote_side_prepare(&api, &http, &err), &err);
	trust_set_pki(api.trust, true);
	assert_true(trust_pki_is_on(api.trust));
	path_remove_tree(AT_FDCWD, dir, &err);
	/* its threads have no end but the process's */
}

/* Threads that have no end but the process's still hold what they were given. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(trust_changes_without_a_server)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
