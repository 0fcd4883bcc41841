/* What lxd-dial can still do with its sockets once a server's bytes are read. */
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "dial/dial.h"
#include "unit.h"

/* @call in a process that is confined as lxd-dial is: its exit code, or the signal that ended it. */
static int in_jail(int (*call)(int sock))
{
	static const struct rlimit no_core = {0, 0};
	int pair[2], status = 0;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		struct error err = ERROR_INIT;

		setrlimit(RLIMIT_CORE, &no_core);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || confine_late(&err) < 0)
			_exit(99);
		_exit(call(pair[0]));
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(pair[0]);
	close(pair[1]);
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static int plain_sendto(int sock)
{
	return send(sock, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1;
}

static ssize_t by_message(int sock, int flags)
{
	struct iovec iov = {(char[]){"x"}, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
}

static int plain_sendmsg(int sock)
{
	return by_message(sock, 0) != 1;
}

static int sendto_fastopen(int sock)
{
	return send(sock, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL) != 1;
}

static int sendto_address(int sock)
{
	struct sockaddr_in a = {.sin_family = AF_INET};

	(void)!sendto(sock, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof(a));
	return 0;
}

static int sendmsg_fastopen(int sock)
{
	return by_message(sock, MSG_FASTOPEN) != 1;
}

static int set_an_option(int sock)
{
	return setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int)) != 0;
}

static int make_a_socket(int sock)
{
	(void)sock;
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0;
}

static void sending_goes_where_the_socket_is_connected_to(void **state)
{
	(void)state;
	assert_int_equal(in_jail(plain_sendto), 0);
	assert_int_equal(in_jail(plain_sendmsg), 0);
}

static void nothing_else_does(void **state)
{
	(void)state;
	assert_int_equal(in_jail(sendto_fastopen), SIGSYS);
	assert_int_equal(in_jail(sendto_address), SIGSYS);
	assert_int_equal(in_jail(sendmsg_fastopen), SIGSYS);
	assert_int_equal(in_jail(set_an_option), SIGSYS);
	assert_int_equal(in_jail(make_a_socket), SIGSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sending_goes_where_the_socket_is_connected_to),
		cmocka_unit_test(nothing_else_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
