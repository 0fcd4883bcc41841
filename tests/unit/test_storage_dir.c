/* Pools and volumes of the driver dir on a real file system; needs root. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/path.h"
#include "storage/storage.h"

static char top[] = "/var/tmp/test-dir-XXXXXX";
static struct storage_pool pool;
static struct error err;

#define ok(expr)                                                    \
	do {                                                        \
		if ((expr) < 0)                                     \
			fail_msg("%s: %s", #expr, error_msg(&err)); \
	} while (0)

static int setup(UNUSED void **state)
{
	err = ERROR_INIT;
	umask(0);
	if (!mkdtemp(top) || storage_pool_init(&pool, top, "p1", "dir", NULL, &err) < 0)
		return -1;
	return storage_pool_create(&pool, &err);
}

static int teardown(UNUSED void **state)
{
	int r;

	storage_pool_done(&pool);
	error_clear(&err);
	r = path_remove_tree(AT_FDCWD, top, &err);
	memcpy(top + strlen(top) - 6, "XXXXXX", 6);
	return r;
}

static bool there(const char *rest)
{
	auto_free char *path = path_join(pool.path, rest);

	return access(path, F_OK) == 0;
}

static void pool_has_its_folders_and_goes(UNUSED void **state)
{
	auto_free char *path = path_join(top, "storage-pools", "p1");
	struct storage_resources res;
	struct stat st;

	assert_string_equal(strmap_get(&pool.config, "source"), path);
	assert_string_equal(pool.path, path);
	assert_true(there("containers") && there("custom") && there("images"));
	auto_free char *staging = path_join(path, "staging");
	assert_int_equal(stat(staging, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	ok(storage_pool_resources(&pool, &res, &err));
	assert_true(res.space_total > res.space_used && res.space_used > 0);
	ok(storage_pool_create(&pool, &err));
	ok(storage_pool_delete(&pool, &err));
	assert_int_equal(access(path, F_OK), -1);
	ok(storage_pool_delete(&pool, &err));
}

static void unknown_driver_and_bad_sources_are_refused(UNUSED void **state)
{
	const struct storage_driver *driver;
	static const char *const bad[] = {"relative", "/nonexistent", "/etc/passwd", "/etc"};

	assert_int_equal(storage_driver_find("zfs", &driver, &err), -ENOENT);
	assert_string_equal(err.msg, "Unknown driver \"zfs\"");
	assert_int_equal(err.status, 500);
	for (size_t i = 0; i <= ARRAY_SIZE(bad); i++) {
		auto_strmap struct strmap config = STRMAP_INIT;
		struct storage_pool other = STORAGE_POOL_INIT;

		strmap_set(&config, "source", i < ARRAY_SIZE(bad) ? bad[i] : top);
		error_clear(&err);
		ok(storage_pool_init(&other, top, "p2", "dir", &config, &err));
		assert_true(storage_pool_create(&other, &err) < 0);
		assert_int_equal(err.status, 400);
		storage_pool_done(&other);
	}
	assert_int_equal(access("/etc/passwd", F_OK), 0);
}

static void volume_lives_and_dies(UNUSED void **state)
{
	auto_strv struct strv names = STRV_INIT;
	struct stat st;
	uint64_t bytes, inodes;
	int fd;

	ok(storage_volume_create_empty(&pool, "u1", &err));
	assert_true(there("staging/u1/rootfs"));
	ok(storage_volume_commit(&pool, "u1", STORAGE_VOLUME_CONTAINER, "c1", &err));
	assert_true(there("containers/c1/rootfs") && !there("staging/u1"));
	fd = storage_volume_open(&pool, STORAGE_VOLUME_CONTAINER, "c1", &err);
	ok(fd);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0100);
	close(fd);
	ok(storage_volume_set_owner(&pool, STORAGE_VOLUME_CONTAINER, "c1", 1000000, &err));
	ok(storage_volume_copy(&pool, "u2", &pool, STORAGE_VOLUME_CONTAINER, "c1", &err));
	assert_int_equal(storage_volume_commit(&pool, "u2", STORAGE_VOLUME_CONTAINER, "c1", &err), -EEXIST);
	assert_int_equal(err.status, 409);
	error_clear(&err);
	ok(storage_volume_commit(&pool, "u2", STORAGE_VOLUME_CONTAINER, "c2", &err));
	assert_int_equal(storage_volume_rename(&pool, STORAGE_VOLUME_CONTAINER, "c2", "c1", &err), -EEXIST);
	error_clear(&err);
	ok(storage_volume_rename(&pool, STORAGE_VOLUME_CONTAINER, "c2", "c3", &err));
	ok(storage_volume_usage(&pool, STORAGE_VOLUME_CONTAINER, "c3", &bytes, &inodes, &err));
	assert_int_equal(inodes, 3);
	assert_int_equal(storage_pool_delete(&pool, &err), -EBUSY);
	assert_int_equal(err.status, 400);
	error_clear(&err);
	ok(storage_pool_open(&pool, &err));
	ok(storage_volume_discard(&pool, "u3", STORAGE_VOLUME_CONTAINER, "c1", &err));
	ok(storage_volume_discard(&pool, "u3", STORAGE_VOLUME_CONTAINER, "c1", &err));
	assert_false(there("containers/c1"));
	assert_int_equal(storage_volume_open(&pool, STORAGE_VOLUME_CONTAINER, "c1", &err), -ENOENT);
	assert_int_equal(err.status, 404);
	error_clear(&err);
	ok(storage_volume_create_empty(&pool, "left-over", &err));
	ok(storage_pool_sweep(&pool, STORAGE_VOLUME_CONTAINER, &names, &err));
	assert_int_equal(names.len, 1);
	assert_string_equal(names.items[0], "c3");
	assert_false(there("staging/left-over"));
}

static void bad_names_become_no_path(UNUSED void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "/etc", ".hidden", "a\nb"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(storage_volume_create_empty(&pool, bad[i], &err), -EINVAL);
		assert_int_equal(storage_volume_open(&pool, STORAGE_VOLUME_CONTAINER, bad[i], &err), -EINVAL);
		assert_int_equal(storage_volume_discard(&pool, "u", STORAGE_VOLUME_CONTAINER, bad[i], &err), -EINVAL);
		assert_int_equal(storage_volume_rename(&pool, STORAGE_VOLUME_CONTAINER, "c", bad[i], &err), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pool_has_its_folders_and_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_driver_and_bad_sources_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(volume_lives_and_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_names_become_no_path, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
