/* Shifting owners on a real file system; needs root. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "base/path.h"
#include "storage/shift.h"

static char root_path[] = "/var/tmp/test-shift-XXXXXX";
static int root = -EBADF;
static const unsigned char cap_v2[20] = {1, 0, 0, 2, 0, 4, 0, 0};

static struct idmap_entry base_entry = {.is_uid = true, .is_gid = true, .host = 1000000, .count = 65536};
static struct idmap_entry wide_entry = {.is_uid = true, .is_gid = true, .host = 1000, .count = 65536};
static const struct idmap identity = {0};
static const struct idmap base_map = {.entries = &base_entry, .len = 1};
static const struct idmap wide_map = {.entries = &wide_entry, .len = 1}; /* overlaps the identity */

/* user 1000 rw, mask, group 2000 r */
static const uint32_t acl[] = {2,          0x00060001, ~0U,        0x00060002, 1000,       0x00040004, ~0U,
			       0x00040008, 2000,       0x00060010, ~0U,        0x00040020, ~0U};

static int setup(UNUSED void **state)
{
	umask(0);
	if (!mkdtemp(root_path))
		return -1;
	root = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || mkdirat(root, "d", 0755) < 0 || fchmodat(root, "d", 02755, 0) < 0 ||
	    symlinkat("/etc/passwd", root, "d/link") < 0)
		return -1;
	auto_close int fd = openat(root, "d/suid", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	if (fd < 0 || fchown(fd, 1000, 2000) < 0 || fchmod(fd, 06755) < 0 ||
	    fsetxattr(fd, "security.capability", cap_v2, sizeof(cap_v2), 0) < 0 ||
	    fchownat(root, "d/link", 5, 6, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	auto_close int with_acl = openat(root, "d/acl", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return with_acl < 0 ? -1 : fsetxattr(with_acl, "system.posix_acl_access", acl, sizeof(acl), 0);
}

static int teardown(UNUSED void **state)
{
	auto_error struct error err = ERROR_INIT;
	int r;

	close(root);
	r = path_remove_tree(AT_FDCWD, root_path, &err);
	memcpy(root_path + strlen(root_path) - 6, "XXXXXX", 6);
	return r;
}

static void check(uint32_t offset)
{
	uint32_t cap[6] = {0}, have[13];
	struct stat st;
	auto_close int fd = openat(root, "d/suid", O_RDONLY | O_CLOEXEC);
	auto_close int with_acl = openat(root, "d/acl", O_RDONLY | O_CLOEXEC);

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_uid, 1000 + offset);
	assert_int_equal(st.st_gid, 2000 + offset);
	assert_int_equal(st.st_mode, S_IFREG | 06755);
	assert_int_equal(fgetxattr(fd, "security.capability", cap, sizeof(cap)), offset ? 24 : 20);
	assert_int_equal(cap[1], 0x400);
	assert_int_equal(cap[5], offset);
	assert_int_equal(fgetxattr(fd, "trusted.lxd.shift", NULL, 0), -1);
	assert_int_equal(fgetxattr(with_acl, "system.posix_acl_access", have, sizeof(have)), sizeof(have));
	assert_int_equal(have[4], 1000 + offset);
	assert_int_equal(have[8], 2000 + offset);
	assert_int_equal(fstatat(root, "d/link", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_uid, 5 + offset);
	assert_int_equal(fstatat(root, "d", &st, 0), 0);
	assert_int_equal(st.st_uid, offset);
	assert_int_equal(st.st_mode, S_IFDIR | 02755);
	assert_int_equal(stat("/etc/passwd", &st), 0);
	assert_int_equal(st.st_uid, 0);
}

static void shift(const struct idmap *from, const struct idmap *to, struct shift_stats *stats)
{
	auto_error struct error err = ERROR_INIT;

	if (shift_tree(root, from, to, stats, &err) < 0)
		fail_msg("%s", error_msg(&err));
}

static void shift_there_again_and_back(UNUSED void **state)
{
	struct shift_stats stats;

	check(0);
	shift(&identity, &base_map, &stats);
	check(1000000);
	assert_int_equal(stats.inodes, 5);
	assert_int_equal(stats.changed, 5);
	assert_int_equal(stats.unmapped, 0);
	shift(&identity, &base_map, &stats);
	check(1000000);
	assert_int_equal(stats.changed, 0);
	shift(&base_map, &identity, &stats);
	check(0);
}

static void shift_between_overlapping_maps(UNUSED void **state)
{
	shift(&identity, &wide_map, NULL);
	check(1000);
	shift(&identity, &wide_map, NULL); /* the caller's database did not know */
	check(1000);
	shift(&wide_map, &identity, NULL);
	check(0);
	shift(&identity, &wide_map, NULL);
	check(1000);
}

/* Killed between chown and the restoring of mode and capability: what is noted is finished. */
static void shift_finishes_a_noted_file(UNUSED void **state)
{
	const uint32_t note[8] = {06755, 24, 0x03000001, 0x400, 0, 0, 0, 1000000};
	auto_close int fd = openat(root, "d/suid", O_RDONLY | O_CLOEXEC);

	assert_int_equal(fsetxattr(fd, "trusted.lxd.shift", note, sizeof(note), 0), 0);
	assert_int_equal(fchown(fd, 1001000, 1002000), 0);
	shift(&identity, &base_map, NULL);
	check(1000000);
}

static void shift_leaves_unmapped_ids(UNUSED void **state)
{
	struct shift_stats stats;
	struct stat st;

	assert_int_equal(fchownat(root, "d/link", 70000, 6, AT_SYMLINK_NOFOLLOW), 0);
	shift(&identity, &base_map, &stats);
	assert_int_equal(stats.unmapped, 1);
	assert_int_equal(fstatat(root, "d/link", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_uid, 70000);
	assert_int_equal(st.st_gid, 1000006);
}

static void probe_answers_for_ext4_and_refuses_proc(UNUSED void **state)
{
	auto_error struct error err = ERROR_INIT;

	assert_true(storage_idmap_supported(root_path, &err) >= 0);
	assert_int_equal(storage_idmap_supported("/proc", &err), 0);
	assert_true(storage_idmap_supported("/nonexistent", &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(shift_there_again_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(shift_between_overlapping_maps, setup, teardown),
		cmocka_unit_test_setup_teardown(shift_finishes_a_noted_file, setup, teardown),
		cmocka_unit_test_setup_teardown(shift_leaves_unmapped_ids, setup, teardown),
		cmocka_unit_test_setup_teardown(probe_answers_for_ext4_and_refuses_proc, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
