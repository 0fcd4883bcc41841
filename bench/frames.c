/*
 * Frames per second from one network namespace to another: UDP datagrams of 18 bytes, the smallest Ethernet frame.
 * usage: frames FROM_PID TO_PID ADDRESS SECONDS     prints {"sent": N, "received": N, "seconds": S}
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT 9 /* discard */
#define BATCH 64
#define PAYLOAD 18

static _Atomic unsigned long *received; /* shared by both processes */

static void enter(const char *pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		err(1, "enter %s", path);
	close(fd);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void batch_init(struct mmsghdr *msgs, struct iovec *iov, char (*data)[PAYLOAD], struct sockaddr_in *to)
{
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){data[i], PAYLOAD};
		msgs[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
		if (to) {
			msgs[i].msg_hdr.msg_name = to;
			msgs[i].msg_hdr.msg_namelen = sizeof(*to);
		}
	}
}

static void receive(int sock)
{
	static struct mmsghdr msgs[BATCH];
	static struct iovec iov[BATCH];
	static char data[BATCH][PAYLOAD];

	batch_init(msgs, iov, data, NULL);
	for (;;) {
		int n = recvmmsg(sock, msgs, BATCH, MSG_WAITFORONE, NULL);

		if (n < 0)
			err(1, "receive");
		*received += (unsigned long)n;
	}
}

static unsigned long send_until(int sock, struct sockaddr_in *to, double end)
{
	static struct mmsghdr msgs[BATCH];
	static struct iovec iov[BATCH];
	static char data[BATCH][PAYLOAD];
	unsigned long sent = 0;

	batch_init(msgs, iov, data, to);
	while (now() < end) {
		int n = sendmmsg(sock, msgs, BATCH, 0);

		if (n < 0)
			err(1, "send");
		sent += (unsigned long)n;
	}
	return sent;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int size = 16 << 20, sock;
	unsigned long sent, before;
	double begin;
	pid_t child;

	if (argc != 5 || inet_pton(AF_INET, argv[3], &to.sin_addr) != 1)
		errx(2, "usage: frames FROM_PID TO_PID ADDRESS SECONDS");
	received = mmap(NULL, sizeof(*received), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	enter(argv[2]);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (sock < 0 || bind(sock, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "bind to %s", argv[3]);
	child = fork();
	if (child == 0)
		receive(sock);
	enter(argv[1]);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	send_until(sock, &to, now() + 0.5); /* neighbours, forwarding table, caches */
	before = *received;
	begin = now();
	sent = send_until(sock, &to, begin + atof(argv[4]));
	usleep(200 * 1000); /* what is still queued */
	printf("{\"sent\": %lu, \"received\": %lu, \"seconds\": %.6f}\n", sent, *received - before,
	       now() - 0.2 - begin);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
