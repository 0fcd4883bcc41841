/* What is typed at a console: all of it arrives, in order, and never more than a terminal holds is on its way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/console_input.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/macros.h"
#include "base/thread.h"

#define TYPED 20000

struct fixture {
	struct loop *loop;
	struct console_input *input;
	int monitor, container; /* the two sides of the console */
	int tty;                /* what the input gets to see of the container's side */
	int typed;              /* the client's end */
	struct mutex lock;
	struct cond changed;
	bool done;
};

static void finish_step(struct fixture *f)
{
	mutex_lock(&f->lock);
	f->done = true;
	cond_broadcast(&f->changed);
	mutex_unlock(&f->lock);
}

static void in_loop(struct fixture *f, loop_fn fn)
{
	mutex_lock(&f->lock);
	f->done = false;
	mutex_unlock(&f->lock);
	loop_post(f->loop, fn, f);
	mutex_lock(&f->lock);
	while (!f->done)
		cond_wait(&f->changed, &f->lock);
	mutex_unlock(&f->lock);
}

static void make_input(void *arg)
{
	struct fixture *f = arg;
	auto_error struct error err = ERROR_INIT;

	assert_int_equal(console_input_new(f->loop, f->tty, f->monitor, &f->input, &f->typed, &err), 0);
	finish_step(f);
}

static void free_input(void *arg)
{
	struct fixture *f = arg;

	console_input_free(f->input);
	finish_step(f);
}

static void begin(struct fixture *f, bool sees_container)
{
	auto_error struct error err = ERROR_INIT;
	struct termios raw;

	mutex_init(&f->lock);
	cond_init(&f->changed);
	f->monitor = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(f->monitor >= 0);
	assert_int_equal(unlockpt(f->monitor), 0);
	f->container = ioctl(f->monitor, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(f->container >= 0);
	assert_int_equal(tcgetattr(f->container, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(f->container, TCSANOW, &raw), 0);
	f->tty = sees_container ? f->container : -EBADF;
	assert_int_equal(loop_new(&f->loop, &err), 0);
	assert_int_equal(loop_start(f->loop, &err), 0);
	in_loop(f, make_input);
}

static void end(struct fixture *f)
{
	in_loop(f, free_input);
	loop_free(f->loop);
	fd_close(f->typed);
	fd_close(f->container);
	fd_close(f->monitor);
	cond_done(&f->changed);
	mutex_done(&f->lock);
}

static char typed_byte(size_t i)
{
	return (char)(i * 7 % 251);
}

static void type_all(struct fixture *f)
{
	auto_free char *data = xmalloc(TYPED);

	for (size_t i = 0; i < TYPED; i++)
		data[i] = typed_byte(i);
	assert_int_equal(write(f->typed, data, TYPED), TYPED);
}

static void read_all(struct fixture *f)
{
	size_t got = 0;

	while (got < TYPED) {
		struct pollfd p = {.fd = f->container, .events = POLLIN};
		char buf[512];
		ssize_t n;

		assert_int_equal(poll(&p, 1, 10000), 1);
		n = read(f->container, buf, sizeof(buf));
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal(buf[i], typed_byte(got));
	}
}

static void all_arrives_in_order(void **state)
{
	(void)state;
	for (int sees = 0; sees < 2; sees++) {
		struct fixture f = {0};

		begin(&f, sees);
		type_all(&f);
		read_all(&f);
		end(&f);
	}
}

static void what_is_not_read_is_not_exceeded(void **state)
{
	struct fixture f = {0};
	int unread = 0;

	(void)state;
	begin(&f, true);
	type_all(&f);
	/* ten times as long as all of it would take */
	for (int i = 0; i < 20; i++) {
		usleep(50 * 1000);
		assert_int_equal(ioctl(f.container, TIOCINQ, &unread), 0);
		assert_true(unread < 4096);
	}
	assert_true(unread > 1024);
	read_all(&f);
	end(&f);
}

static void can_be_freed_with_input_left(void **state)
{
	struct fixture f = {0};

	(void)state;
	begin(&f, true);
	type_all(&f);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_arrives_in_order),
		cmocka_unit_test(what_is_not_read_is_not_exceeded),
		cmocka_unit_test(can_be_freed_with_input_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
