#include "api/console_input.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"

#define CHUNK 1024      /* bytes at once: a quarter of what a terminal holds */
#define UNREAD_MAX 2048 /* with so many unread nothing is added */
#define PACE_MS 5       /* between two chunks: the monitor passes them on meanwhile */
#define RETRY_MS 20     /* until there may be room again */

struct console_input {
	struct loop *loop;
	struct loop_source *src;  /* while waiting for the client */
	struct loop_timer *timer; /* while waiting for the console */
	int from;                 /* our end of the pipe */
	int tty;
	int pty;
	bool by_monitor; /* the kernel does not let us type for somebody else */
	char chunk[CHUNK];
	size_t len, at;
};

static void step(void *arg);

static void on_readable(struct loop_source *src UNUSED, uint32_t events UNUSED, void *arg)
{
	step(arg);
}

static bool is_full(const struct console_input *in)
{
	int unread;

	return in->tty >= 0 && ioctl(in->tty, TIOCINQ, &unread) == 0 && unread >= UNREAD_MAX;
}

/*
 * Straight into the terminal, as if it had been typed: the monitor has no part in it, and a terminal without room drops
 * the byte rather than wait. That takes CAP_SYS_ADMIN on the host, which a daemon inside a container lacks.
 */
static ssize_t type_bytes(struct console_input *in)
{
	size_t n = 0;

	while (in->at + n < in->len && ioctl(in->tty, TIOCSTI, &in->chunk[in->at + n]) == 0)
		n++;
	if (n == 0)
		in->by_monitor = true;
	return (ssize_t)n;
}

/* Give what fits of the chunk. */
static void give(struct console_input *in)
{
	ssize_t n = 0;

	if (in->tty >= 0 && !in->by_monitor)
		n = type_bytes(in);
	if (n == 0)
		n = write(in->pty, in->chunk + in->at, in->len - in->at);
	if (n > 0)
		in->at += (size_t)n;
}

/* Take from the client, give to the console, wait for whichever is not ready. */
static void step(void *arg)
{
	struct console_input *in = arg;
	ssize_t n;

	in->timer = NULL;
	if (in->at == in->len) {
		n = read(in->from, in->chunk, sizeof(in->chunk));
		in->at = 0;
		in->len = n > 0 ? (size_t)n : 0;
		if (n < 0 && !in->src)
			in->src = loop_add(in->loop, in->from, EPOLLIN, on_readable, in);
		if (n < 0)
			return;
	}
	loop_remove(in->src);
	in->src = NULL;
	if (in->len == 0)
		return; /* the client types no more */
	if (is_full(in)) {
		in->timer = loop_timer_add(in->loop, RETRY_MS, step, in);
		return;
	}
	give(in);
	in->timer = loop_timer_add(in->loop, in->at == in->len ? PACE_MS : RETRY_MS, step, in);
}

int console_input_new(struct loop *l, int tty_fd, int pty_fd, struct console_input **ret, int *ret_fd,
		      struct error *err)
{
	struct console_input *in;
	int p[2];

	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return error_errno(err, errno, "Create pipe");
	in = xnew(struct console_input);
	in->loop = l;
	in->tty = tty_fd;
	in->pty = pty_fd;
	in->from = p[0];
	in->src = loop_add(l, in->from, EPOLLIN, on_readable, in);
	*ret_fd = p[1];
	*ret = in;
	return 0;
}

void console_input_free(struct console_input *in)
{
	if (!in)
		return;
	loop_remove(in->src);
	loop_timer_cancel(in->timer);
	fd_close(in->from);
	free(in);
}
