/* Who is at the other end: a connection of our socket is local, one of the gate has its peer, anything else is nobody.
 */
#include "http/server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

#include "unit.h"

static struct {
	struct http_server *server;
	char path[64];
	_Atomic int requests, local, remote, nobody;
} f;

static int on_begin(struct http_request *req, void *arg UNUSED, struct error *err UNUSED)
{
	if (req->peer.local)
		f.local++;
	else if (req->peer.tls)
		f.remote++;
	else
		f.nobody++;
	f.requests++;
	return 0;
}

static void on_handle(struct http_request *req UNUSED, struct http_response *resp, void *arg UNUSED)
{
	strbuf_append(&resp->body, "x");
}

static void on_fail(struct http_response *resp, const struct error *err, void *arg UNUSED)
{
	resp->status = err->status;
}

static int setup(void **state UNUSED)
{
	const struct http_handlers handlers = {.begin = on_begin, .handle = on_handle, .fail = on_fail};
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	auto_error struct error err = ERROR_INIT;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memset(&f, 0, sizeof(f));
	snprintf(f.path, sizeof(f.path), "/tmp/lxd-unit-http-%d", (int)getpid());
	memcpy(name.sun_path, f.path, strlen(f.path) + 1);
	unlink(f.path);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_int_equal(listen(fd, 16), 0);
	expect_ok(http_server_start(fd, &handlers, &f.server, &err), &err);
	return 0;
}

static int teardown(void **state UNUSED)
{
	http_server_free(f.server);
	unlink(f.path);
	return 0;
}

static struct http_tls_peer *new_peer(void)
{
	struct http_tls_peer *p = xnew(struct http_tls_peer);

	p->address = xstrdup("192.0.2.1:1");
	p->host = xstrdup("192.0.2.1");
	p->cipher = xstrdup("");
	return p;
}

static void ask(int fd, bool last)
{
	const char *text = last ? "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
				: "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	char answer[1024];

	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
	assert_true(read(fd, answer, sizeof(answer)) > 0);
}

static void wait_for(const _Atomic int *what, int n)
{
	for (int i = 0; i < 5000 && *what < n; i++)
		usleep(1000);
	assert_int_equal(*what, n);
}

static int add(int fd)
{
	auto_error struct error err = ERROR_INIT;
	int r = http_server_add(f.server, fd, new_peer(), &err);

	error_ignore(&err, "the result says it");
	return r;
}

static void local_callers_come_by_the_socket(void **state UNUSED)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(name.sun_path, f.path, strlen(f.path) + 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	ask(fd, true);
	wait_for(&f.local, 1);
	assert_int_equal(f.requests, 1);
}

static void the_gates_connections_have_their_peer(void **state UNUSED)
{
	for (int i = 1; i <= 20; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		assert_int_equal(add(pair[1]), 0);
		ask(pair[0], false);
		ask(pair[0], true);
		close(pair[0]);
		wait_for(&f.remote, 2 * i);
	}
	assert_int_equal(f.local + f.nobody, 0);
}

/* A gate that was taken over may send one socket again and again: none of its connections may become a local one. */
static void a_socket_that_comes_twice(void **state UNUSED)
{
	for (int round = 0; round < 40; round++) {
		int pair[2], kept[8];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		for (int i = 0; i < 8; i++)
			kept[i] = fcntl(pair[1], F_DUPFD_CLOEXEC, 3);
		assert_int_equal(add(pair[1]), 0);
		for (int i = 0; i < 8; i++) {
			const char *text = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

			(void)!write(pair[0], text, strlen(text));
			add(kept[i]);
		}
		usleep(2000);
		close(pair[0]);
	}
	assert_true(f.remote > 0);
	assert_int_equal(f.local, 0);
}

/* What is no nameless UNIX stream is refused: it might be taken for something else. */
static void other_sockets_are_refused(void **state UNUSED)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(any);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), tcp, pair[2], named;

	assert_int_equal(bind(listener, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&any, &len), 0);
	tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(tcp, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_true(add(tcp) < 0);
	close(listener);

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(add(pair[1]) < 0);
	close(pair[0]);

	memcpy(name.sun_path, f.path, strlen(f.path) + 1);
	named = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(
		bind(named, (struct sockaddr *)&(struct sockaddr_un){.sun_family = AF_UNIX}, sizeof(sa_family_t)),
		0); /* autobind: an abstract name */
	assert_int_equal(connect(named, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_true(add(named) < 0);
	assert_int_equal(f.requests, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(local_callers_come_by_the_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(the_gates_connections_have_their_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_socket_that_comes_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(other_sockets_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
