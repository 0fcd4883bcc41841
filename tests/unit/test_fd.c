/* Whole files, folders, and fds sent over sockets. */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"

struct tmp {
	char path[32];
	int fd;
};

static int setup(void **state)
{
	struct tmp *t = xnew(struct tmp);

	snprintf(t->path, sizeof(t->path), "/tmp/test_fd.XXXXXX");
	assert_non_null(mkdtemp(t->path));
	t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = t;
	return t->fd < 0;
}

static int teardown(void **state)
{
	struct tmp *t = *state;
	auto_error struct error err = ERROR_INIT;

	close(t->fd);
	expect_ok(path_remove_tree(AT_FDCWD, t->path, &err), &err);
	free(t);
	return 0;
}

static size_t entries(int dirfd)
{
	DIR *d = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	size_t n = 0;

	assert_non_null(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void replaced_and_read(void **state)
{
	const struct tmp *t = *state;
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;
	mode_t old = umask(077);
	struct stat st;

	expect_ok(file_replace_at(t->fd, "f", "first", 5, 0644, &err), &err);
	expect_ok(file_replace_at(t->fd, "f", "a\0b", 3, 0640, &err), &err);
	umask(old);
	expect_ok(file_read_at(t->fd, "f", 3, &text, &err), &err);
	assert_int_equal(text.len, 3);
	assert_memory_equal(text.data, "a\0b", 4);
	assert_int_equal(fstatat(t->fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(entries(t->fd), 1);
	assert_int_equal(file_read_at(t->fd, "f", 2, &text, &err), -EFBIG);
	error_clear(&err);
	assert_int_equal(text.len, 3); /* a failure leaves the result alone */
	assert_int_equal(file_read_at(t->fd, "none", 2, &text, &err), -ENOENT);
	assert_non_null(strstr(error_msg(&err), "none"));
}

static void failed_replace_leaves_the_old_file(void **state)
{
	const struct tmp *t = *state;
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;

	assert_int_equal(mkdirat(t->fd, "dir", 0700), 0);
	assert_true(file_replace_at(t->fd, "dir", "x", 1, 0600, &err) < 0); /* a file can't replace a folder */
	error_clear(&err);
	assert_int_equal(entries(t->fd), 1);
	assert_true(file_replace_at(t->fd, "no/f", "x", 1, 0600, &err) < 0);
	error_clear(&err);
	/* a planted link at the temporary name is not followed */
	expect_ok(file_replace_at(t->fd, "target", "kept", 4, 0600, &err), &err);
	{
		auto_free char *tmp = xasprintf("f.%d.tmp", (int)gettid());

		assert_int_equal(symlinkat("target", t->fd, tmp), 0);
	}
	expect_ok(file_replace_at(t->fd, "f", "new", 3, 0600, &err), &err);
	expect_ok(file_read_at(t->fd, "target", 10, &text, &err), &err);
	assert_string_equal(strbuf_str(&text), "kept");
}

static void folders(void **state)
{
	const struct tmp *t = *state;
	auto_error struct error err = ERROR_INIT;
	auto_free char *absolute = path_join(t->path, "x", "y");
	struct stat st;

	expect_ok(dir_make_all(t->fd, "a/b/c", 0700, &err), &err);
	expect_ok(dir_make_all(t->fd, "a/b/c", 0755, &err), &err);
	expect_ok(dir_make_all(AT_FDCWD, absolute, 0700, &err), &err);
	assert_int_equal(fstatat(t->fd, "a/b/c", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	expect_ok(dir_sync(t->fd, "a/b", &err), &err);
	expect_ok(file_replace_at(t->fd, "a/file", "", 0, 0600, &err), &err);
	assert_true(dir_make_all(t->fd, "a/file/x", 0700, &err) < 0);
	error_clear(&err);
	assert_true(dir_make_all(t->fd, "", 0700, &err) < 0);
}

static void fds_arrive(void **state)
{
	const struct tmp *t = *state;
	int pair[2], got[4], sent[2] = {t->fd, t->fd};
	size_t n = ARRAY_SIZE(got);
	struct stat a, b;
	char text[8];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fd_send(pair[0], "hello", 5, sent, 2), 0);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), got, &n), 5);
	assert_int_equal(n, 2);
	assert_memory_equal(text, "hello", 5);
	assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	assert_true(fstat(t->fd, &a) == 0 && fstat(got[1], &b) == 0 && a.st_ino == b.st_ino);
	close(got[0]);
	close(got[1]);
	/* more than there is room for: nothing stays open */
	n = 1;
	assert_int_equal(fd_send(pair[0], "x", 1, sent, 2), 0);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), got, &n), -EMSGSIZE);
	assert_int_equal(n, 0);
	/* a message longer than the buffer */
	n = 1;
	assert_int_equal(fd_send(pair[0], "123456789", 9, sent, 1), 0);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), got, &n), -EMSGSIZE);
	close(pair[0]);
	n = 1;
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), got, &n), 0);
	assert_int_equal(n, 0);
	assert_true(fd_send(pair[1], "x", 1, NULL, 0) < 0);
	close(pair[1]);
}

static size_t open_fds(void)
{
	auto_close int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return entries(fd);
}

static void excess_fds_do_not_leak(void **state)
{
	const struct tmp *t = *state;
	int pair[2], got[1], sent[3] = {t->fd, t->fd, t->fd};
	size_t before;
	char c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	before = open_fds();
	for (int i = 0; i < 20; i++) {
		size_t n = 0;

		assert_int_equal(fd_send(pair[0], "x", 1, sent, 3), 0);
		assert_int_equal(fd_recv(pair[1], &c, 1, got, &n), -EMSGSIZE);
	}
	assert_int_equal(open_fds(), before);
	close(pair[0]);
	close(pair[1]);
}

static void full_reads_and_writes(void **state UNUSED)
{
	int p[2];
	char buf[16];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(fd_write_full(p[1], "abc", 3), 0);
	assert_int_equal(fd_write_full(p[1], "def", 3), 0);
	p[1] = fd_close(p[1]);
	assert_int_equal(p[1], -EBADF);
	assert_int_equal(fd_read_full(p[0], buf, sizeof(buf)), 6);
	assert_int_equal(fd_read_full(p[0], buf, sizeof(buf)), 0);
	assert_int_equal(fd_set_nonblock(p[0], true), 0);
	assert_true(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	assert_int_equal(fd_set_cloexec(p[0], false), 0);
	assert_false(fcntl(p[0], F_GETFD) & FD_CLOEXEC);
	fd_close(p[0]);
	assert_int_equal(fd_set_cloexec(p[0], true), -EBADF);
	assert_int_equal(fd_read_full(-1, buf, 1), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(replaced_and_read, setup, teardown),
		cmocka_unit_test_setup_teardown(failed_replace_leaves_the_old_file, setup, teardown),
		cmocka_unit_test_setup_teardown(folders, setup, teardown),
		cmocka_unit_test_setup_teardown(fds_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(excess_fds_do_not_leak, setup, teardown),
		cmocka_unit_test(full_reads_and_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
