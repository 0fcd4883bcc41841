/* The websocket client against a server that means ill. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "http/wsclient.h"

#define PAIRS 8192

static void on_message(struct wsclient *ws UNUSED, bool text UNUSED, const void *data UNUSED, size_t len UNUSED,
		       void *arg)
{
	++*(unsigned *)arg;
}

static void on_close(void *arg)
{
	fd_close(*(int *)arg);
}

/* Send the two bytes @frame again and again, and let the client work; how many bytes it took. */
static size_t flood(struct wsclient *ws, int server, const uint8_t frame[2], size_t turns)
{
	static uint8_t buf[2 * PAIRS];
	size_t taken = 0;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = frame[i % 2];
	for (size_t i = 0; i < turns && wsclient_is_open(ws); i++) {
		ssize_t n = send(server, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			taken += (size_t)n;
		wsclient_process(ws, POLLIN | POLLOUT);
	}
	return taken;
}

static void pings_do_not_pile_up(void **state UNUSED)
{
	static const uint8_t ping[2] = {0x89, 0};
	int sv[2]; /* before what closes it */
	auto_wsclient struct wsclient *ws = NULL;
	unsigned messages = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ws = wsclient_adopt(sv[0], false, NULL, 0, 1 << 20, on_message, &messages, on_close, &sv[0]);
	/* nobody reads the answers */
	assert_true(flood(ws, sv[1], ping, 2000) < 4u << 20);
	assert_true(wsclient_is_open(ws));
	assert_int_equal(wsclient_events(ws) & POLLIN, 0);
	assert_true(wsclient_queued(ws) < 1 << 20);
	/* and goes on when somebody does */
	for (int i = 0; i < 100000 && !(wsclient_events(ws) & POLLIN); i++) {
		char buf[65536];

		(void)!recv(sv[1], buf, sizeof(buf), MSG_DONTWAIT);
		wsclient_process(ws, POLLOUT);
	}
	assert_true(wsclient_events(ws) & POLLIN);
	close(sv[1]);
}

static void fragments_end(void **state UNUSED)
{
	static const uint8_t more[2] = {0x00, 0}, begin[2] = {0x02, 0};
	int sv[2]; /* before what closes it */
	auto_wsclient struct wsclient *ws = NULL;
	unsigned messages = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ws = wsclient_adopt(sv[0], false, NULL, 0, 1 << 20, on_message, &messages, on_close, &sv[0]);
	assert_int_equal(send(sv[1], begin, sizeof(begin), 0), 2);
	flood(ws, sv[1], more, 10);
	assert_false(wsclient_is_open(ws));
	assert_int_equal(messages, 0);
	close(sv[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pings_do_not_pile_up),
		cmocka_unit_test(fragments_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
