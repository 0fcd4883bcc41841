/*
 * HTTP load on a UNIX socket: keeps a number of connections busy with one GET for a while, then prints requests per
 * second, latencies and the size of the smallest answer as JSON. One thread and epoll, so that the server under test
 * gets the machine. usage: load SOCKET PATH CONNECTIONS SECONDS
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"

#define BUFFER_SIZE (8U << 20)
#define SAMPLES_MAX (1U << 22)

struct connection {
	int fd;
	struct answer answer;
	uint64_t sent_ns;
};

static char request[4096];
static size_t request_len;
static uint32_t *samples_us;
static size_t n_samples;
static size_t smallest = SIZE_MAX; /* answer, head and body */

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "bad answer");
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void connection_open(struct connection *c, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		fail("socket path too long");
	memcpy(address.sun_path, path, strlen(path) + 1);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	c->answer.data = malloc(BUFFER_SIZE + 1);
	if (c->fd < 0 || !c->answer.data || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail(path);
}

static void connection_send(struct connection *c)
{
	answer_reset(&c->answer);
	c->sent_ns = now_ns();
	if (send(c->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
		fail("send");
}

/* Read what is there; true when the answer is complete. */
static bool connection_read(struct connection *c)
{
	struct answer *a = &c->answer;
	ssize_t n = recv(c->fd, a->data + a->used, BUFFER_SIZE - a->used, MSG_DONTWAIT);
	int r;

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0)
		fail("recv");
	r = answer_grown(a, (size_t)n);
	if (r < 0 || (a->head && a->status != 200)) {
		errno = 0;
		fail("answer");
	}
	return r > 0;
}

static void run(struct connection *connections, int epoll, uint64_t end_ns)
{
	struct epoll_event events[64];

	while (now_ns() < end_ns) {
		int n = epoll_wait(epoll, events, 64, 1000);

		for (int i = 0; i < n; i++) {
			struct connection *c = &connections[events[i].data.u32];

			if (!connection_read(c))
				continue;
			if (c->answer.used < smallest)
				smallest = c->answer.used;
			if (n_samples < SAMPLES_MAX)
				samples_us[n_samples++] = (uint32_t)((now_ns() - c->sent_ns) / 1000);
			connection_send(c);
		}
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	struct connection *connections;
	unsigned long count, seconds;
	uint64_t begin;
	double elapsed;
	int epoll;

	if (argc != 5) {
		fprintf(stderr, "usage: load SOCKET PATH CONNECTIONS SECONDS\n");
		return 2;
	}
	count = strtoul(argv[3], NULL, 10);
	seconds = strtoul(argv[4], NULL, 10);
	request_len = (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: lxd\r\n\r\n", argv[2]);
	connections = calloc(count, sizeof(*connections));
	samples_us = malloc(SAMPLES_MAX * sizeof(*samples_us));
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (count == 0 || request_len >= sizeof(request) || !connections || !samples_us || epoll < 0)
		fail("set-up");
	for (uint32_t i = 0; i < count; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

		connection_open(&connections[i], argv[1]);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event) < 0)
			fail("epoll");
		connection_send(&connections[i]);
	}
	begin = now_ns();
	run(connections, epoll, begin + seconds * 1000000000U);
	elapsed = (double)(now_ns() - begin) / 1e9;
	errno = 0;
	if (n_samples == 0)
		fail("nothing was answered");
	qsort(samples_us, n_samples, sizeof(*samples_us), compare);
	printf("{\"requests_per_second\": %.1f, \"p50_us\": %" PRIu32 ", \"p99_us\": %" PRIu32
	       ", \"smallest_bytes\": %zu}\n",
	       (double)n_samples / elapsed, samples_us[n_samples / 2], samples_us[n_samples * 99 / 100], smallest);
	return 0;
}
