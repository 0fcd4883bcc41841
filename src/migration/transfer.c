#include "migration/transfer.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "migration/link_internal.h"
#include "migration/message.h"

#define CHUNK (128 * 1024)
#define TICK_MS 1000
#define STALL_MS 600000 /* no byte in either direction for so long: the peer is gone */
#define STDERR_MAX (64 * 1024)
#define REASON_MS 10000 /* how long a peer that broke off may take to say why */

enum { EXIT_SOCKET = 10, EXIT_STREAM = 12, EXIT_TIMEOUT = 30 }; /* of rsync */

/* One rsync at work: its pipes as we hold them. */
struct pump {
	struct migration_link *link;
	const struct migration_transfer *t;
	pid_t pid;
	int pidfd;
	int to, from, err_fd;
	char *chunk;
	struct strbuf output; /* of its standard error */
	uint64_t sent;
	uint64_t seen;      /* bytes of both directions at the last tick with any */
	int64_t seen_at;    /* and when that was */
	int64_t tick_at;    /* when progress was told last */
	uint64_t tick_done; /* and how much it was */
};

static void pump_done(struct pump *p)
{
	if (p->pid > 0) {
		kill(-p->pid, SIGKILL);
		while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	fd_close(p->pidfd);
	fd_close(p->to);
	fd_close(p->from);
	fd_close(p->err_fd);
	free(p->chunk);
	strbuf_done(&p->output);
}

static const struct {
	unsigned bit;
	const char *name;
} feature_names[] = {
	{MIGRATION_XATTRS, "xattrs"},
	{MIGRATION_COMPRESS, "compress"},
	{MIGRATION_HARDLINKS, "hardlinks"},
	{MIGRATION_ACLS, "acls"},
};

/* A pipe whose end @ours (0: read, 1: write) stays with us and does not block. */
static int open_pipe(int ours, int *ret_ours, int *ret_theirs, struct error *err)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return error_errno(err, errno, "Create pipe");
	*ret_ours = p[ours];
	*ret_theirs = p[!ours];
	fd_set_nonblock(p[ours], true);
	return 0;
}

static int pump_start(struct pump *p, struct error *err)
{
	auto_free char *program = process_helper_path("lxd-transfer");
	auto_close int in = -EBADF, out = -EBADF, errors = -EBADF;
	struct process_spec spec = PROCESS_SPEC_INIT;
	const char *argv[8] = {program, p->t->sending ? "send" : "receive"};
	size_t n = 2;
	int r;

	for (size_t k = 0; k < ARRAY_SIZE(feature_names); k++)
		if (p->t->features & feature_names[k].bit)
			argv[n++] = feature_names[k].name;
	r = open_pipe(1, &p->to, &in, err);
	if (r == 0)
		r = open_pipe(0, &p->from, &out, err);
	if (r == 0)
		r = open_pipe(0, &p->err_fd, &errors, err);
	if (r < 0)
		return r;
	spec.argv = argv;
	spec.stdin_fd = in;
	spec.stdout_fd = out;
	spec.stderr_fd = errors;
	spec.fds = &p->t->dirfd;
	spec.nfds = 1;
	spec.keep_with_parent = true; /* the operation's thread stays until rsync has ended */
	p->chunk = xmalloc(CHUNK);
	return process_spawn(&spec, &p->pid, &p->pidfd, err);
}

/* From the websocket to rsync. At the peer's end marker, or when it is gone, rsync sees the end. */
static void feed(struct pump *p)
{
	struct migration_link *l = p->link;

	while (p->to >= 0 && l->pending_at < l->pending.len) {
		ssize_t n = write(p->to, l->pending.data + l->pending_at, l->pending.len - l->pending_at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			p->to = fd_close(p->to);
			break;
		}
		l->pending_at += (size_t)n;
	}
	strbuf_truncate(&l->pending, 0);
	l->pending_at = 0;
	if (l->fs_ended || !wsclient_is_open(l->ws[MIGRATION_FS]))
		p->to = fd_close(p->to);
}

/* From rsync to the websocket; its end becomes the end marker. */
static void drain(struct pump *p)
{
	struct wsclient *fs = p->link->ws[MIGRATION_FS];

	while (p->from >= 0 && wsclient_queued(fs) < LINK_HIGH_WATER) {
		ssize_t n = read(p->from, p->chunk, CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0) {
			p->sent += (uint64_t)n;
			wsclient_send(fs, false, p->chunk, (size_t)n);
			continue;
		}
		wsclient_send(fs, true, "", 0);
		p->from = fd_close(p->from);
	}
}

/* Its complaints: the first ones are kept, they tell the cause. */
static void collect(struct pump *p)
{
	char text[4096];
	ssize_t n = read(p->err_fd, text, sizeof(text));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0)
		strbuf_append_len(&p->output, text, MIN_OF((size_t)n, STDERR_MAX - p->output.len));
	else
		p->err_fd = fd_close(p->err_fd);
}

/* What the peer has to say meanwhile can only be that it failed; a success is for later. */
static int check_peer(struct migration_link *l, struct error *err)
{
	if (l->n_inbox && migration_verdict_decode(l->inbox[0].data, l->inbox[0].len, err) < 0)
		return -err->errnum;
	return migration_link_check(l, err);
}

static int check_progress(struct pump *p, struct error *err)
{
	int64_t now = time_monotonic_ms();
	uint64_t done = p->t->sending ? p->sent : p->link->received;

	if (p->sent + p->link->received != p->seen) {
		p->seen = p->sent + p->link->received;
		p->seen_at = now;
	}
	if (now - p->seen_at > STALL_MS)
		return error_set(err, 504, "The other server has not moved for %d seconds", STALL_MS / 1000);
	if (now - p->tick_at < TICK_MS)
		return 0;
	if (p->t->progress)
		p->t->progress(p->t->progress_arg, done, (done - p->tick_done) * 1000 / (uint64_t)(now - p->tick_at));
	p->tick_at = now;
	p->tick_done = done;
	return 0;
}

/* rsync has ended, its pipes are read to the end, and the peer has got what it wrote. */
static bool is_over(const struct pump *p)
{
	const struct wsclient *fs = p->link->ws[MIGRATION_FS];

	return p->from < 0 && p->err_fd < 0 && (!wsclient_is_open(fs) || !wsclient_queued(fs));
}

static int turn(struct pump *p, struct error *err)
{
	struct migration_link *l = p->link;
	struct wsclient *fs = l->ws[MIGRATION_FS];
	bool room = l->pending.len < LINK_HIGH_WATER;
	bool extra = room && wsclient_has_extra(fs);
	struct pollfd f[] = {
		migration_link_pollfd(l, MIGRATION_CONTROL, true),
		migration_link_pollfd(l, MIGRATION_FS, room),
		{.fd = l->pending.len ? p->to : -1, .events = POLLOUT},
		{.fd = wsclient_queued(fs) < LINK_HIGH_WATER ? p->from : -1, .events = POLLIN},
		{.fd = p->err_fd, .events = POLLIN},
		{.fd = l->cancel_fd, .events = POLLIN},
	};

	if (poll(f, ARRAY_SIZE(f), extra ? 0 : TICK_MS) < 0 && errno != EINTR)
		return error_errno(err, errno, "Wait for rsync");
	migration_link_process(l, MIGRATION_CONTROL, f[0].revents);
	migration_link_process(l, MIGRATION_FS, (short)(f[1].revents | (extra ? POLLIN : 0)));
	feed(p);
	if (f[3].revents)
		drain(p);
	if (f[4].revents)
		collect(p);
	return check_progress(p, err);
}

/* The first complaint is the cause; rsync's closing line only counts them. */
static char *complaint(struct strbuf *output)
{
	const char *text = strbuf_str(output);
	const char *start = strstr(text, "rsync: ");
	size_t len;
	char *line;

	if (!start)
		start = text;
	len = strcspn(start, "\n");
	line = xstrndup(start, MIN_OF(len, (size_t)500));
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return line;
}

/* Did rsync end because of what happened at the other end? Then what it says itself is only the consequence. */
static bool is_consequence(int code, const char *line)
{
	return !*line || code == EXIT_SOCKET || code == EXIT_STREAM || code == EXIT_TIMEOUT;
}

/* Why rsync ended badly. The peer is given time to say why, if the cause is there. */
static int explain(struct pump *p, int status, struct error *err)
{
	auto_free char *line = complaint(&p->output);
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	auto_strbuf struct strbuf message = STRBUF_INIT;
	auto_error struct error none = ERROR_INIT;

	if (is_consequence(code, line) && migration_link_recv(p->link, REASON_MS, &message, &none) == 0 &&
	    migration_verdict_decode(message.data, message.len, err) < 0)
		return error_wrap(err, "The other server failed");
	error_ignore(&none, "our own reason will do");
	error_set(err, 500, "Transfer of the files failed: %s (rsync exited with %d)",
		  *line ? line : "without a reason", code);
	return strstr(line, "No space left on device") ? error_status(err, 507) : -err->errnum;
}

/* Its exit code, once the pipes are closed. */
static int finish(struct pump *p, struct error *err)
{
	int status;

	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	p->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return explain(p, status, err);
}

int migration_transfer(struct migration_link *l, const struct migration_transfer *t, struct error *err)
{
	CLEANUP(pump_done)
	struct pump p = {.link = l, .t = t, .pidfd = -EBADF, .to = -EBADF, .from = -EBADF, .err_fd = -EBADF};
	int r = pump_start(&p, err);

	p.seen_at = p.tick_at = time_monotonic_ms();
	while (r == 0 && !is_over(&p)) {
		r = turn(&p, err);
		/* what we still have to say to a rsync that ended well does not matter any more */
		if (r == 0 && !(p.from < 0 && p.err_fd < 0))
			r = check_peer(l, err);
	}
	return r < 0 ? r : finish(&p, err);
}
