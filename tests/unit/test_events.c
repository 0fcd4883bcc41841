/* Listeners whose sockets come too late: they get nobody else's events. */
#include "unit.h"

#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/events.h"
#include "base/fd.h"
#include "http/ws.h"

#define N 64

static atomic_int closed, posted;

/* The linker puts these in the place of the library's: no connection is behind the requests of this test. */
const char *__wrap_http_header(const struct http_request *req, const char *name);
void __wrap_http_upgrade_close(void *handle);

const char *__wrap_http_header(const struct http_request *req UNUSED, const char *name)
{
	return streq(name, "Upgrade") ? "websocket" : streq(name, "Sec-WebSocket-Version") ? "13" : "abc";
}

void __wrap_http_upgrade_close(void *handle)
{
	close(*(int *)handle);
	closed++;
}

struct caller {
	struct http_response resp;
	int ours, theirs;
};

struct fixture {
	struct loop *loop;
	struct events *events;
	const struct identity *id;
	struct caller *callers;
};

static void accept_all(void *arg)
{
	struct fixture *f = arg;
	const struct http_request req = {.method = HTTP_GET};
	auto_error struct error err = ERROR_INIT;

	for (int i = 0; i < N; i++)
		expect_ok(events_accept(f->events, &req, &f->callers[i].resp, "lifecycle", NULL, f->id, &err), &err);
	posted++;
}

static void note_post(void *arg UNUSED)
{
	posted++;
}

static void wait_for(atomic_int *what, int n)
{
	for (int i = 0; i < 2000 && *what < n; i++)
		usleep(5000);
	assert_int_equal(*what, n);
}

/* In the loop's thread, where what timed out is freed: the new ones get that memory. */
static struct caller *make_callers(struct fixture *f, const struct identity *id)
{
	f->id = id;
	f->callers = xnew_array(struct caller, N);
	posted = 0;
	loop_post(f->loop, accept_all, f);
	loop_post(f->loop, note_post, NULL);
	wait_for(&posted, 2);
	return f->callers;
}

/* The 101 answer is out: the server hands over the socket. */
static void upgrade_all(struct fixture *f, struct caller *callers)
{
	for (int i = 0; i < N; i++) {
		struct caller *c = &callers[i];
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
		c->ours = fds[0];
		c->theirs = fds[1];
		c->resp.upgrade(c->ours, &c->ours, "", 0, c->resp.upgrade_arg);
	}
	posted = 0;
	loop_post(f->loop, note_post, NULL);
	wait_for(&posted, 1);
}

static void late_sockets_get_nobody_elses_listener(void **state UNUSED)
{
	const struct identity restricted = {.kind = IDENTITY_TLS, .restricted = true}, admin = {.kind = IDENTITY_LOCAL};
	struct fixture f = {0};
	auto_error struct error err = ERROR_INIT;
	struct caller *late, *fine;
	char buf[4096];

	expect_ok(loop_new(&f.loop, &err), &err);
	expect_ok(loop_start(f.loop, &err), &err);
	f.events = events_new(f.loop);
	events_set_attach_time(f.events, 100);
	late = make_callers(&f, &restricted);
	for (int i = 0; i < 2000 && events_wanted(f.events, EVENT_LIFECYCLE); i++)
		usleep(5000);
	assert_false(events_wanted(f.events, EVENT_LIFECYCLE));
	events_set_attach_time(f.events, 60000);
	fine = make_callers(&f, &admin);
	upgrade_all(&f, late);
	assert_int_equal(closed, N);
	upgrade_all(&f, fine);
	assert_int_equal(closed, N);
	events_publish(f.events, EVENT_LIFECYCLE, NULL, "{\"secret\":1}");
	posted = 0;
	loop_post(f.loop, note_post, NULL);
	wait_for(&posted, 1);
	for (int i = 0; i < N; i++) {
		ssize_t n;

		assert_int_equal(recv(late[i].theirs, buf, sizeof(buf), 0), 0);
		for (int tries = 0; (n = recv(fine[i].theirs, buf, sizeof(buf), 0)) < 0 && tries < 1000; tries++)
			usleep(5000);
		assert_true(n > 0);
		assert_non_null(memmem(buf, (size_t)n, "secret", 6));
	}
}

/* Threads that have no end but the process's still hold what they were given. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(late_sockets_get_nobody_elses_listener)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
