/* Tree copy, usage and removal on a real file system; needs root. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cmocka.h>
#include <linux/fs.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "storage/tree.h"

static int root = -EBADF;
static char root_path[] = "/var/tmp/test-tree-XXXXXX";

static int setup(UNUSED void **state)
{
	umask(0);
	if (!mkdtemp(root_path))
		return -1;
	root = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? -1 : 0;
}

static int teardown(UNUSED void **state)
{
	auto_error struct error err = ERROR_INIT;

	close(root);
	return path_remove_tree(AT_FDCWD, root_path, &err);
}

static int make_dir(int at, const char *name)
{
	int fd;

	assert_return_code(mkdirat(at, name, 0755), errno);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_return_code(fd, errno);
	return fd;
}

static void make_file(int at, const char *name, const char *text, mode_t mode)
{
	auto_close int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_return_code(fd, errno);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
	assert_return_code(fchmod(fd, mode), errno);
}

static void do_copy(int src, int dst, struct tree_stats *stats)
{
	auto_error struct error err = ERROR_INIT;

	if (tree_copy(src, dst, 0, NULL, stats, &err) < 0)
		fail_msg("%s", error_msg(&err));
}

static void do_remove(int at, const char *name)
{
	auto_error struct error err = ERROR_INIT;

	if (path_remove_tree(at, name, &err) < 0)
		fail_msg("%s", error_msg(&err));
	assert_int_equal(faccessat(at, name, F_OK, AT_SYMLINK_NOFOLLOW), -1);
}

static struct stat stat_of(int at, const char *name)
{
	struct stat st;

	assert_return_code(fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW), errno);
	return st;
}

static const unsigned char cap_v2[20] = {1, 0, 0, 2, 0, 4, 0, 0};

static void copy_keeps_everything(UNUSED void **state)
{
	auto_close int src = make_dir(root, "all"), dst = make_dir(root, "all.copy"), sub = make_dir(src, "sub");
	struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 123456789}, {.tv_sec = 2000, .tv_nsec = 987654321}};
	struct tree_stats stats;
	char buf[64];

	make_file(src, "suid", "x", 0600);
	assert_return_code(fchownat(src, "suid", 1234, 5678, 0), errno);
	assert_return_code(fchmodat(src, "suid", 06755, 0), errno);
	make_file(src, "cap", "y", 0755);
	assert_return_code(linkat(src, "cap", sub, "hard", 0), errno);
	assert_return_code(symlinkat("/etc/passwd", src, "abs"), errno);
	assert_return_code(fchownat(src, "abs", 77, 78, AT_SYMLINK_NOFOLLOW), errno);
	assert_return_code(mkfifoat(sub, "fifo", 0640), errno);
	assert_return_code(mknodat(sub, "sock", S_IFSOCK | 0666, 0), errno);
	assert_return_code(mknodat(sub, "null", S_IFCHR | 0666, makedev(1, 3)), errno);
	{
		auto_close int fd = openat(src, "cap", O_RDONLY | O_CLOEXEC);

		assert_return_code(fsetxattr(fd, "security.capability", cap_v2, sizeof(cap_v2), 0), errno);
		assert_return_code(fsetxattr(fd, "user.note", "hello", 5, 0), errno);
		assert_return_code(fsetxattr(fd, "trusted.note", "t", 1, 0), errno);
		assert_return_code(fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0), errno);
	}
	assert_return_code(fchmod(sub, 02751), errno);
	assert_return_code(utimensat(src, "suid", times, 0), errno);
	assert_return_code(utimensat(src, "abs", times, AT_SYMLINK_NOFOLLOW), errno);
	assert_return_code(futimens(sub, times), errno);
	assert_return_code(fchmod(src, 0711), errno);
	assert_return_code(futimens(src, times), errno);

	do_copy(src, dst, &stats);
	assert_int_equal(stats.dirs, 2);
	assert_int_equal(stats.files, 2);
	assert_int_equal(stats.links, 1);
	assert_int_equal(stats.symlinks, 1);
	assert_int_equal(stats.specials, 3);
	assert_int_equal(stats.skipped, 0);

	struct stat st = stat_of(dst, "suid");
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 5678);
	assert_int_equal(st.st_mode, S_IFREG | 06755);
	assert_int_equal(st.st_mtim.tv_nsec, 987654321);
	st = stat_of(dst, "abs");
	assert_int_equal(st.st_uid, 77);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	assert_int_equal(readlinkat(dst, "abs", buf, sizeof(buf)), 11);
	assert_int_equal(stat_of(dst, "cap").st_ino, stat_of(dst, "sub/hard").st_ino);
	assert_int_equal(stat_of(dst, "cap").st_nlink, 2);
	st = stat_of(dst, "sub");
	assert_int_equal(st.st_mode, S_IFDIR | 02751);
	assert_int_equal(st.st_mtim.tv_nsec, 987654321);
	st = stat_of(dst, ".");
	assert_int_equal(st.st_mode, S_IFDIR | 0711);
	assert_int_equal(st.st_mtim.tv_nsec, 987654321);
	assert_int_equal(stat_of(dst, "sub/fifo").st_mode, S_IFIFO | 0640);
	assert_int_equal(stat_of(dst, "sub/sock").st_mode, S_IFSOCK | 0666);
	assert_int_equal(stat_of(dst, "sub/null").st_rdev, makedev(1, 3));

	auto_close int fd = openat(dst, "cap", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fgetxattr(fd, "security.capability", buf, sizeof(buf)), 20);
	assert_memory_equal(buf, cap_v2, 20);
	assert_int_equal(fgetxattr(fd, "user.note", buf, sizeof(buf)), 5);
	assert_int_equal(fgetxattr(fd, "trusted.note", buf, sizeof(buf)), 1);
	assert_int_equal(fgetxattr(fd, "trusted.overlay.opaque", buf, sizeof(buf)), -1);
}

static void copy_keeps_holes_and_data(UNUSED void **state)
{
	auto_close int src = make_dir(root, "holes"), dst = make_dir(root, "holes.copy");
	auto_free char *big = xmalloc(3 << 20), *back = xmalloc(3 << 20);

	for (size_t i = 0; i < 3 << 20; i++)
		big[i] = (char)(i * 31 + (i >> 13));
	{
		auto_close int fd = openat(src, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		auto_close int full = openat(src, "full", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

		assert_int_equal(pwrite(fd, "middle", 6, 512 << 20), 6);
		assert_return_code(ftruncate(fd, 1LL << 30), errno);
		assert_int_equal(fd_write_full(full, big, 3 << 20), 0);
	}
	do_copy(src, dst, NULL);

	struct stat st = stat_of(dst, "sparse");
	assert_int_equal(st.st_size, 1LL << 30);
	assert_true(st.st_blocks < 2048);
	auto_close int fd = openat(dst, "sparse", O_RDONLY | O_CLOEXEC);
	char buf[8] = "";
	assert_int_equal(pread(fd, buf, 6, 512 << 20), 6);
	assert_string_equal(buf, "middle");
	auto_close int full = openat(dst, "full", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fd_read_full(full, back, 3 << 20), 3 << 20);
	assert_memory_equal(big, back, 3 << 20);
}

/* @levels folders deep, each with a file and, when @branches, a second folder that is visited on the way back. */
static void make_deep(int at, const char *name, unsigned levels, bool branches)
{
	int fd = make_dir(at, name);

	for (unsigned i = 0; i < levels; i++) {
		int next;

		if (branches) {
			assert_return_code(mkdirat(fd, "side", 0755), errno);
			make_file(fd, "file", "d", 0644);
		}
		next = make_dir(fd, "d");
		close(fd);
		fd = next;
	}
	close(fd);
}

static void copy_and_remove_10000_levels(UNUSED void **state)
{
	auto_error struct error err = ERROR_INIT;
	auto_close int dst = make_dir(root, "deep.copy");
	struct tree_stats stats;
	uint64_t bytes, inodes;

	make_deep(root, "deep", 10000, false);
	auto_close int src = openat(root, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	do_copy(src, dst, &stats);
	assert_int_equal(stats.dirs, 10001);
	assert_int_equal(tree_usage(dst, &bytes, &inodes, &err), 0);
	assert_int_equal(inodes, 10001);
	do_remove(root, "deep");
	do_remove(root, "deep.copy");
}

static void copy_reopens_closed_levels(UNUSED void **state)
{
	auto_close int dst = make_dir(root, "comb.copy");
	struct tree_stats stats;

	make_deep(root, "comb", 700, true);
	auto_close int src = openat(root, "comb", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	do_copy(src, dst, &stats);
	assert_int_equal(stats.dirs, 1401);
	assert_int_equal(stats.files, 700);
	assert_int_equal(stats.skipped, 0);
	do_remove(root, "comb");
	do_remove(root, "comb.copy");
}

static void usage_counts_hard_links_once(UNUSED void **state)
{
	auto_error struct error err = ERROR_INIT;
	auto_close int src = make_dir(root, "usage");
	uint64_t bytes, inodes, bytes2, inodes2;

	make_file(src, "a", "some text", 0644);
	assert_int_equal(tree_usage(src, &bytes, &inodes, &err), 0);
	assert_int_equal(inodes, 2);
	assert_return_code(linkat(src, "a", src, "b", 0), errno);
	assert_int_equal(tree_usage(src, &bytes2, &inodes2, &err), 0);
	assert_int_equal(inodes2, 2);
	assert_int_equal(bytes, bytes2);
}

static atomic_bool stop;
static int busy = -EBADF; /* folder that the thread changes */

/* What a container that fights back would do: swap files, folders and links under the same names. */
static void *change_tree(UNUSED void *arg)
{
	for (unsigned i = 0; !stop; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%u", i % 16);
		unlinkat(busy, name, 0);
		unlinkat(busy, name, AT_REMOVEDIR);
		if (i % 4 == 0) {
			mkdirat(busy, name, 0755);
		} else if (i % 4 == 1) {
			(void)!symlinkat("/etc", busy, name);
		} else if (i % 4 == 2) {
			int fd = openat(busy, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);

			if (fd >= 0) {
				(void)!write(fd, "data", 4);
				close(fd);
			}
			(void)!linkat(busy, name, busy, "linked", 0);
		} else {
			mkfifoat(busy, name, 0644);
		}
		if (i % 64 == 0)
			unlinkat(busy, "linked", 0);
	}
	return NULL;
}

static void copy_survives_a_changing_source(UNUSED void **state)
{
	pthread_t thread;

	busy = make_dir(root, "busy");
	make_file(busy, "steady", "steady", 0644);
	stop = false;
	assert_int_equal(pthread_create(&thread, NULL, change_tree, NULL), 0);
	for (unsigned i = 0; i < 150; i++) {
		auto_error struct error err = ERROR_INIT;
		auto_close int dst = make_dir(root, "busy.copy");
		int r = tree_copy(busy, dst, 0, NULL, NULL, &err);

		if (r < 0)
			print_error("%s\n", error_msg(&err));
		assert_int_equal(r, 0);
		assert_int_equal(stat_of(dst, "steady").st_size, 6);
		/* a followed link would have brought /etc/passwd along */
		for (unsigned n = 0; n < 16; n++) {
			char path[32];
			struct stat st;

			snprintf(path, sizeof(path), "n%u", n);
			if (fstatat(dst, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
				snprintf(path, sizeof(path), "n%u/passwd", n);
				assert_int_equal(faccessat(dst, path, F_OK, AT_SYMLINK_NOFOLLOW), -1);
			}
		}
		do_remove(root, "busy.copy");
	}
	stop = true;
	pthread_join(thread, NULL);
	close(busy);
	do_remove(root, "busy");
}

static void remove_ends_with_concurrent_writers(UNUSED void **state)
{
	pthread_t thread;

	busy = make_dir(root, "fought");
	stop = false;
	assert_int_equal(pthread_create(&thread, NULL, change_tree, NULL), 0);
	auto_error struct error err = ERROR_INIT;
	(void)path_remove_tree(root, "fought", &err); /* may fail, must return and do no harm */
	stop = true;
	pthread_join(thread, NULL);
	close(busy);
	do_remove(root, "fought");
	assert_return_code(access("/etc/passwd", F_OK), errno);
}

static void add_flag(int fd, unsigned flag)
{
	unsigned flags;

	assert_return_code(ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
	flags |= flag;
	assert_return_code(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
}

static void remove_clears_immutable_and_append(UNUSED void **state)
{
	auto_close int top = make_dir(root, "immutable"), sub = make_dir(top, "sub");

	make_file(sub, "file", "x", 0644);
	make_file(sub, "log", "x", 0644);
	auto_close int file = openat(sub, "file", O_RDONLY | O_CLOEXEC), log = openat(sub, "log", O_RDONLY | O_CLOEXEC);
	add_flag(file, FS_IMMUTABLE_FL);
	add_flag(log, FS_APPEND_FL);
	add_flag(sub, FS_IMMUTABLE_FL);
	add_flag(top, FS_APPEND_FL);
	do_remove(root, "immutable");
}

static void remove_takes_100000_files(UNUSED void **state)
{
	auto_close int top = make_dir(root, "many");

	for (unsigned d = 0; d < 10; d++) {
		char name[16];

		snprintf(name, sizeof(name), "d%u", d);
		auto_close int sub = make_dir(top, name);
		for (unsigned i = 0; i < 10000; i++) {
			snprintf(name, sizeof(name), "f%u", i);
			assert_return_code(mknodat(sub, name, S_IFREG | 0644, 0), errno);
		}
	}
	do_remove(root, "many");
}

/* In a child with a mount namespace of its own: 0 when all went as it should. */
static int with_mount(const char *options, int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(98);
		/* the fd of before is in the other mount namespace */
		root = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (mkdirat(root, "mnt", 0755) < 0 || mkdirat(root, "mnt/in", 0755) < 0 || fchdir(root) < 0 ||
		    mount("none", "mnt/in", "tmpfs", 0, options) < 0) {
			perror("mount");
			_exit(99);
		}
		_exit(fn());
	}
	assert_return_code(waitpid(pid, &status, 0), errno);
	do_remove(root, "mnt");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

static int mounted_file_stays(void)
{
	auto_error struct error err = ERROR_INIT;
	int fd = open("mnt/in/keep", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		return 1;
	close(fd);
	if (path_remove_tree(root, "mnt", &err) >= 0)
		return 2;
	if (access("mnt/in/keep", F_OK) < 0)
		return 3;
	return umount("mnt/in") < 0 ? 4 : 0;
}

static void remove_refuses_a_mount_inside(UNUSED void **state)
{
	assert_int_equal(with_mount("size=1m", mounted_file_stays), 0);
}

static int mounted_file_is_not_copied(void)
{
	auto_error struct error err = ERROR_INIT;
	struct tree_stats stats;
	int fd = open("mnt/in/keep", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	int src = open("mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || src < 0 || mkdir("mnt.copy", 0755) < 0)
		return 1;
	int dst = open("mnt.copy", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dst < 0 || tree_copy(src, dst, 0, NULL, &stats, &err) < 0)
		return 2;
	if (stats.skipped != 1 || access("mnt.copy/in", F_OK) < 0 || access("mnt.copy/in/keep", F_OK) == 0)
		return 3;
	return umount2("mnt/in", MNT_DETACH) < 0 ? 4 : 0;
}

static void copy_does_not_cross_a_mount(UNUSED void **state)
{
	assert_int_equal(with_mount("size=1m", mounted_file_is_not_copied), 0);
	do_remove(root, "mnt.copy");
}

static int copy_into_small_tmpfs(void)
{
	auto_error struct error err = ERROR_INIT;
	int src = open("holes", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int dst = open("mnt/in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (src < 0 || dst < 0)
		return 1;
	if (tree_copy(src, dst, 0, NULL, NULL, &err) != -ENOSPC || err.status != 507)
		return 2;
	return strstr(err.msg, "full") ? 0 : 3;
}

static void copy_reports_a_full_disk(UNUSED void **state)
{
	assert_int_equal(with_mount("size=1m", copy_into_small_tmpfs), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copy_keeps_everything),
		cmocka_unit_test(copy_keeps_holes_and_data),
		cmocka_unit_test(copy_and_remove_10000_levels),
		cmocka_unit_test(copy_reopens_closed_levels),
		cmocka_unit_test(usage_counts_hard_links_once),
		cmocka_unit_test(copy_survives_a_changing_source),
		cmocka_unit_test(remove_ends_with_concurrent_writers),
		cmocka_unit_test(remove_clears_immutable_and_append),
		cmocka_unit_test(remove_takes_100000_files),
		cmocka_unit_test(remove_refuses_a_mount_inside),
		cmocka_unit_test(copy_does_not_cross_a_mount),
		cmocka_unit_test(copy_reports_a_full_disk),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
