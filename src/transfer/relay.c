/*
 * The remote shell of the sending rsync, which knows a peer only as a command that it starts: carries bytes between
 * rsync's pipes and those that lxd holds.
 */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>

#include "base/fd.h"
#include "transfer/transfer.h"

#define CHUNK (128 * 1024)

struct direction {
	int from, to;
	bool ended;
	char *buf;
};

/* One read and the write of all of it; the end of one side is passed on to the other. */
static void carry(struct direction *d)
{
	ssize_t n = read(d->from, d->buf, CHUNK);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0 && fd_write_full(d->to, d->buf, (size_t)n) == 0)
		return;
	d->ended = true;
	close(d->from);
	close(d->to);
}

int relay_run(void)
{
	struct direction d[2] = {
		{.from = STDIN_FILENO, .to = RELAY_OUT_FD, .buf = malloc(CHUNK)},
		{.from = RELAY_IN_FD, .to = STDOUT_FILENO, .buf = malloc(CHUNK)},
	};

	if (!d[0].buf || !d[1].buf)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	/* rsync keeps its end open until this process is gone; the peer's end is the end */
	while (!d[1].ended) {
		struct pollfd p[2];

		for (int k = 0; k < 2; k++)
			p[k] = (struct pollfd){.fd = d[k].ended ? -1 : d[k].from, .events = POLLIN};
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return 1;
		for (int k = 0; k < 2; k++)
			if (!d[k].ended && p[k].revents)
				carry(&d[k]);
	}
	return 0;
}
