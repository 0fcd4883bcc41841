/*
 * Sends raw frames from inside a container: what its root can do without any help from outside. Linked statically.
 * usage: send-frames [-l] INTERFACE FILE
 * FILE holds frames, each behind two bytes of length (network order). Waits until the interface is there and up.
 * -l: again and again, one round a millisecond, until killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned char frames[1 << 20];

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static ssize_t load(const char *path)
{
	size_t len = 0;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	while (len < sizeof(frames) && (n = read(fd, frames + len, sizeof(frames) - len)) > 0)
		len += (size_t)n;
	close(fd);
	return (ssize_t)len;
}

/* An interface that is not up yet is waited for. */
static int send_all(int sock, const struct sockaddr_ll *to, size_t len)
{
	for (size_t at = 0; at + 2 <= len;) {
		size_t size = (size_t)frames[at] << 8 | frames[at + 1];

		if (at + 2 + size > len)
			return errno = EBADMSG, -1;
		if (sendto(sock, frames + at + 2, size, 0, (const struct sockaddr *)to, sizeof(*to)) >= 0)
			at += 2 + size;
		else if (errno == ENETDOWN || errno == ENOBUFS)
			usleep(100);
		else
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	bool again = argc == 4 && strcmp(argv[1], "-l") == 0;
	struct sockaddr_ll to = {.sll_family = AF_PACKET};
	const char *interface;
	ssize_t len;
	int sock;

	if (argc != (again ? 4 : 3)) {
		fprintf(stderr, "usage: send-frames [-l] INTERFACE FILE\n");
		return 2;
	}
	interface = argv[argc - 2];
	len = load(argv[argc - 1]);
	if (len < 0)
		return fail(argv[argc - 1]);
	sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return fail("packet socket");
	while ((to.sll_ifindex = (int)if_nametoindex(interface)) == 0)
		usleep(100);
	do {
		if (send_all(sock, &to, (size_t)len) < 0)
			return fail("send");
		usleep(again ? 1000 : 0);
	} while (again);
	return 0;
}
