/* The event loop: order of timers and posts, removal inside callbacks, end with things still in it. */
#include "unit.h"

#include <fcntl.h>
#include <semaphore.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "base/timeutil.h"

/* What the callbacks of a test leave behind; they all run in the loop's thread. */
struct trace {
	struct loop *loop;
	struct strbuf text;
	sem_t done;
	struct loop_source *a, *b;
	struct loop_timer *timer;
	int pipe_a[2], pipe_b[2];
};

static int setup(void **state)
{
	struct trace *t = xnew(struct trace);
	auto_error struct error err = ERROR_INIT;

	sem_init(&t->done, 0, 0);
	expect_ok(loop_new(&t->loop, &err), &err);
	assert_true(pipe2(t->pipe_a, O_CLOEXEC) == 0 && pipe2(t->pipe_b, O_CLOEXEC) == 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct trace *t = *state;

	loop_free(t->loop);
	for (int i = 0; i < 2; i++) {
		close(t->pipe_a[i]);
		close(t->pipe_b[i]);
	}
	strbuf_done(&t->text);
	sem_destroy(&t->done);
	free(t);
	return 0;
}

static void start(struct trace *t)
{
	auto_error struct error err = ERROR_INIT;

	expect_ok(loop_start(t->loop, &err), &err);
}

static void wait_done(struct trace *t)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	assert_int_equal(sem_timedwait(&t->done, &until), 0);
}

struct mark {
	struct trace *trace;
	const char *text; /* NULL: the end */
};

static void run_mark(void *arg)
{
	const struct mark *m = arg;

	if (m->text)
		strbuf_append(&m->trace->text, m->text);
	else
		sem_post(&m->trace->done);
}

static void timers_fire_in_order(void **state)
{
	struct trace *t = *state;
	struct mark marks[] = {{t, "c"}, {t, "a"}, {t, "b1"}, {t, "b2"}, {t, "never"}, {t, NULL}};
	static const int delays[] = {60, 1, 30, 30, 40, 90};
	struct loop_timer *timers[ARRAY_SIZE(marks)];
	int64_t begin = time_monotonic_ms();

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		timers[i] = loop_timer_add(t->loop, delays[i], run_mark, &marks[i]);
	loop_timer_cancel(timers[4]);
	loop_timer_cancel(NULL);
	start(t);
	wait_done(t);
	assert_string_equal(strbuf_str(&t->text), "ab1b2c");
	assert_true(time_monotonic_ms() - begin >= 90);
}

static void posts_keep_their_order(void **state)
{
	struct trace *t = *state;
	struct mark marks[27];

	for (size_t i = 0; i < 26; i++) {
		static const char letters[] =
			"a\0b\0c\0d\0e\0f\0g\0h\0i\0j\0k\0l\0m\0n\0o\0p\0q\0r\0s\0t\0u\0v\0w\0x\0y\0z";

		marks[i] = (struct mark){t, letters + 2 * i};
		if (i == 13)
			start(t); /* before and after it runs */
		loop_post(t->loop, run_mark, &marks[i]);
	}
	marks[26] = (struct mark){t, NULL};
	loop_post(t->loop, run_mark, &marks[26]);
	wait_done(t);
	assert_string_equal(strbuf_str(&t->text), "abcdefghijklmnopqrstuvwxyz");
}

/* Whichever of the two is called first removes both. */
static void remove_both(struct loop_source *src UNUSED, uint32_t events, void *arg)
{
	struct trace *t = arg;

	assert_true(events & EPOLLIN);
	strbuf_append(&t->text, "x");
	loop_remove(t->a);
	loop_remove(t->b);
	loop_remove(NULL);
	sem_post(&t->done);
}

static void removal_inside_a_callback(void **state)
{
	struct trace *t = *state;
	struct mark end = {t, NULL};

	t->a = loop_add(t->loop, t->pipe_a[0], EPOLLIN, remove_both, t);
	t->b = loop_add(t->loop, t->pipe_b[0], EPOLLIN, remove_both, t);
	/* both are ready at the same time, and stay so */
	assert_true(write(t->pipe_a[1], "1", 1) == 1 && write(t->pipe_b[1], "1", 1) == 1);
	start(t);
	wait_done(t);
	loop_post(t->loop, run_mark, &end);
	wait_done(t);
	assert_string_equal(strbuf_str(&t->text), "x");
}

static void on_readable(struct loop_source *src, uint32_t events UNUSED, void *arg)
{
	struct trace *t = arg;
	char c;

	assert_int_equal(read(t->pipe_a[0], &c, 1), 1);
	strbuf_append_char(&t->text, c);
	if (c == 'q')
		loop_modify(src, 0); /* deaf from now on */
	sem_post(&t->done);
}

static void modified_events(void **state)
{
	struct trace *t = *state;
	struct mark end = {t, NULL};

	t->a = loop_add(t->loop, t->pipe_a[0], EPOLLIN, on_readable, t);
	start(t);
	for (const char *p = "abq"; *p; p++) {
		assert_int_equal(write(t->pipe_a[1], p, 1), 1);
		wait_done(t);
	}
	assert_int_equal(write(t->pipe_a[1], "z", 1), 1);
	loop_post(t->loop, run_mark, &end);
	wait_done(t);
	assert_string_equal(strbuf_str(&t->text), "abq");
}

static void rearm(void *arg)
{
	struct trace *t = arg;

	strbuf_append(&t->text, "r");
	if (t->text.len < 5)
		t->timer = loop_timer_add(t->loop, 0, rearm, t);
	else
		sem_post(&t->done);
}

static void timer_that_sets_itself_again(void **state)
{
	struct trace *t = *state;

	loop_timer_add(t->loop, 0, rearm, t);
	start(t);
	wait_done(t);
	assert_string_equal(strbuf_str(&t->text), "rrrrr");
}

/* The sanitizer tells when something is not freed. */
static void freed_with_things_in_it(void **state)
{
	struct trace *t = *state;
	struct mark never = {t, "never"};

	loop_timer_add(t->loop, 100000, run_mark, &never);
	t->a = loop_add(t->loop, t->pipe_a[0], EPOLLIN, on_readable, t);
	assert_null(loop_add(t->loop, -1, EPOLLIN, on_readable, t));
	loop_post(t->loop, run_mark, &never);
	loop_free(t->loop);
	t->loop = NULL;
	assert_int_equal(t->text.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timers_fire_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(posts_keep_their_order, setup, teardown),
		cmocka_unit_test_setup_teardown(removal_inside_a_callback, setup, teardown),
		cmocka_unit_test_setup_teardown(modified_events, setup, teardown),
		cmocka_unit_test_setup_teardown(timer_that_sets_itself_again, setup, teardown),
		cmocka_unit_test_setup_teardown(freed_with_things_in_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
