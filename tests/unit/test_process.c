/* Running programs: exit codes, bounded output and time, passed fds, clean environment. */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/process.h"
#include "base/timeutil.h"

struct sh {
	const char *argv[4];
	struct process_spec spec;
	struct process_result result;
};

static void prepare(struct sh *s, const char *script)
{
	*s = (struct sh){.argv = {"/bin/sh", "-c", script}, .spec = PROCESS_SPEC_INIT};
	s->spec.argv = s->argv;
}

static void exit_codes(void **state UNUSED)
{
	static const struct {
		const char *script;
		int code;
		const char *message;
	} rows[] = {
		{"exit 3", 3, "/bin/sh exited with 3"},
		{"echo first >&2; echo 'the reason' >&2; exit 1", 1, "/bin/sh exited with 1: the reason"},
		{"kill -9 $$", 137, "/bin/sh exited with 137"},
	};
	auto_error struct error err = ERROR_INIT;
	struct sh s;

	prepare(&s, "echo out; echo err >&2");
	expect_ok(process_run(&s.spec, &s.result, &err), &err);
	assert_string_equal(strbuf_str(&s.result.out), "out\n");
	assert_string_equal(strbuf_str(&s.result.err), "err\n");
	assert_int_equal(s.result.exit_code, 0);
	process_result_done(&s.result);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		prepare(&s, rows[i].script);
		expect_error(process_run(&s.spec, &s.result, &err), &err, 500, rows[i].message);
		assert_int_equal(s.result.exit_code, rows[i].code);
		process_result_done(&s.result);
	}
}

static void no_such_program(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	struct sh s;

	prepare(&s, "");
	s.argv[0] = "/nonexistent/program";
	assert_int_equal(process_run(&s.spec, NULL, &err), -ENOENT);
	assert_non_null(strstr(error_msg(&err), "/nonexistent/program"));
	error_clear(&err);
	prepare(&s, "");
	s.spec.cwd = "/nonexistent";
	assert_int_equal(process_run(&s.spec, NULL, &err), -ENOENT);
}

static void output_is_bounded(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	struct sh s;

	prepare(&s, "while :; do echo 0123456789; done");
	s.spec.output_max = 1000;
	assert_int_equal(process_run(&s.spec, &s.result, &err), -EFBIG);
	assert_true(s.result.out.len <= 1000);
	process_result_done(&s.result);
}

/* The whole group is gone: the last holder of the pipe's other end has ended. */
static void expect_closed(int fd)
{
	char c;

	assert_int_equal(read(fd, &c, 1), 0);
}

static void timeout_ends_the_group(void **state UNUSED)
{
	static const char *const scripts[] = {
		"sleep 60 & sleep 60", "exec >/dev/null 2>&1; sleep 60", /* closes what is captured, and goes on */
		"trap '' TERM INT HUP; sleep 60 & wait; sleep 60",       /* does not listen */
	};

	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		auto_error struct error err = ERROR_INIT;
		int64_t start = time_monotonic_ms();
		int p[2];
		struct sh s;

		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		prepare(&s, scripts[i]);
		s.spec.timeout_ms = 300;
		s.spec.fds = &p[1];
		s.spec.nfds = 1;
		assert_int_equal(process_run(&s.spec, NULL, &err), -ETIMEDOUT);
		close(p[1]);
		expect_closed(p[0]);
		close(p[0]);
		assert_in_range(time_monotonic_ms() - start, 250, 20000);
	}
}

static void fds_are_passed_in_order(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	int a[2], b[2], fds[2];
	struct sh s;
	char buf[8] = "";

	assert_true(pipe2(a, O_CLOEXEC) == 0 && pipe2(b, O_CLOEXEC) == 0);
	/* b first: the sources may overlap the numbers they shall get */
	fds[0] = b[1];
	fds[1] = a[1];
	prepare(&s, "echo three >&3; echo four >&4; [ ! -e /proc/self/fd/5 ] && ls /proc/$$/fd; :");
	s.spec.fds = fds;
	s.spec.nfds = 2;
	expect_ok(process_run(&s.spec, &s.result, &err), &err);
	assert_int_equal(read(b[0], buf, 6), 6);
	assert_memory_equal(buf, "three\n", 6);
	assert_int_equal(read(a[0], buf, 5), 5);
	assert_memory_equal(buf, "four\n", 5);
	assert_string_equal(str_strip(s.result.out.data), "0\n1\n2\n3\n4"); /* no other fd of ours */
	process_result_done(&s.result);
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
}

static void stdin_and_environment(void **state UNUSED)
{
	static const char *const env[] = {"ONLY=this", NULL};
	auto_error struct error err = ERROR_INIT;
	struct sh s;

	prepare(&s, "cat; pwd; echo $ONLY:$HOME:$SECRET");
	setenv("SECRET", "x", 1);
	s.spec.env = env;
	s.spec.cwd = "/usr";
	/* /bin/sh finds cat by its built-in path */
	expect_ok(process_run(&s.spec, &s.result, &err), &err);
	assert_string_equal(strbuf_str(&s.result.out), "/usr\nthis::\n");
	process_result_done(&s.result);
	unsetenv("SECRET");
}

static void spawned(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	struct sh s;
	int pidfd, status;
	pid_t pid;

	prepare(&s, "kill -STOP $$; exit 7");
	s.spec.new_session = true;
	expect_ok(process_spawn(&s.spec, &pid, &pidfd, &err), &err);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(getsid(pid), pid);
	kill(pid, SIGCONT);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	assert_true(fcntl(pidfd, F_GETFD) & FD_CLOEXEC);
	close(pidfd);
	s.argv[0] = "/nonexistent";
	assert_int_equal(process_spawn(&s.spec, &pid, NULL, &err), -ENOENT);
}

/* Signals that we block or ignore are as usual in the program. */
static void signals_are_reset(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	sigset_t block, old;
	struct sh s;

	sigemptyset(&block);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &old);
	signal(SIGPIPE, SIG_IGN);
	prepare(&s, "grep -E '^Sig(Blk|Ign)' /proc/$$/status | grep -v '\t0000000000000000$'; kill -TERM $$");
	expect_error(process_run(&s.spec, &s.result, &err), &err, 500, "exited with 143");
	assert_string_equal(strbuf_str(&s.result.out), "");
	process_result_done(&s.result);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_codes),
		cmocka_unit_test(no_such_program),
		cmocka_unit_test(output_is_bounded),
		cmocka_unit_test(timeout_ends_the_group),
		cmocka_unit_test(fds_are_passed_in_order),
		cmocka_unit_test(stdin_and_environment),
		cmocka_unit_test(spawned),
		cmocka_unit_test(signals_are_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
