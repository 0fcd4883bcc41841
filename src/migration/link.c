#include "migration/link.h"

#include <string.h>

#include "base/alloc.h"
#include "base/timeutil.h"
#include "migration/link_internal.h"
#include "migration/message.h"

#define READ_MAX (256 * 1024) /* bytes read from a socket in one turn */
#define FAREWELL_MS 3000

struct migration_link *migration_link_new(int cancel_fd)
{
	struct migration_link *l = xnew(struct migration_link);

	l->cancel_fd = cancel_fd;
	return l;
}

static void on_control(struct wsclient *ws UNUSED, bool text, const void *data, size_t len, void *arg)
{
	struct migration_link *l = arg;

	if (text)
		return;
	if (l->n_inbox == LINK_INBOX) {
		l->flooded = true;
		return;
	}
	strbuf_append_len(&l->inbox[l->n_inbox++], data, len);
}

static void on_fs(struct wsclient *ws UNUSED, bool text, const void *data, size_t len, void *arg)
{
	struct migration_link *l = arg;

	if (text)
		l->fs_ended = true;
	else if (!l->fs_ended)
		strbuf_append_len(&l->pending, data, len);
	l->received += text ? 0 : len;
}

void migration_link_attach(struct migration_link *l, enum migration_socket which, int fd, bool server,
			   const void *extra, size_t extra_len, void (*close_fn)(void *close_arg), void *close_arg)
{
	l->ws[which] = wsclient_adopt(fd, server, extra, extra_len, MIGRATION_MESSAGE_MAX,
				      which == MIGRATION_CONTROL ? on_control : on_fs, l, close_fn, close_arg);
	wsclient_limit(l->ws[which], READ_MAX, MIGRATION_MESSAGE_MAX);
}

int migration_link_dial(struct migration_link *l, enum migration_socket which, const struct http_client *like,
			const char *path, struct error *err)
{
	int r = wsclient_open(like, path, which == MIGRATION_CONTROL ? on_control : on_fs, l, &l->ws[which], err);

	if (r == 0)
		wsclient_limit(l->ws[which], READ_MAX, MIGRATION_MESSAGE_MAX);
	return r;
}

bool migration_link_is_complete(const struct migration_link *l)
{
	return l->ws[MIGRATION_CONTROL] && l->ws[MIGRATION_FS];
}

struct pollfd migration_link_pollfd(const struct migration_link *l, enum migration_socket which, bool read)
{
	struct wsclient *ws = l->ws[which];
	short events = wsclient_is_open(ws) ? wsclient_events(ws) : 0;

	if (!read)
		events &= ~POLLIN;
	/* without anything to wait for not even a hang-up, which would be reported again and again */
	return (struct pollfd){.fd = events ? wsclient_fd(ws) : -1, .events = events};
}

void migration_link_process(struct migration_link *l, enum migration_socket which, short revents)
{
	if (revents)
		wsclient_process(l->ws[which], revents);
}

int migration_link_check(struct migration_link *l, struct error *err)
{
	struct pollfd p = {.fd = l->cancel_fd, .events = POLLIN};

	if (poll(&p, 1, 0) > 0) {
		error_set(err, 400, "The migration was cancelled");
		err->errnum = ECANCELED;
		return -ECANCELED;
	}
	if (l->flooded)
		return error_set(err, 400, "The other server sends too many control messages");
	if (wsclient_is_open(l->ws[MIGRATION_CONTROL]) || l->n_inbox)
		return 0;
	error_set(err, 500, "The other server closed the migration's control connection");
	err->errnum = ECONNRESET;
	return -ECONNRESET;
}

void migration_link_send(struct migration_link *l, const struct strbuf *message)
{
	wsclient_send(l->ws[MIGRATION_CONTROL], false, message->data, message->len);
}

static void take_message(struct migration_link *l, struct strbuf *ret)
{
	strbuf_append_len(ret, l->inbox[0].data, l->inbox[0].len);
	strbuf_done(&l->inbox[0]);
	l->n_inbox--;
	memmove(&l->inbox[0], &l->inbox[1], l->n_inbox * sizeof(l->inbox[0]));
	l->inbox[l->n_inbox] = STRBUF_INIT;
}

int migration_link_recv(struct migration_link *l, int timeout_ms, struct strbuf *ret, struct error *err)
{
	int64_t deadline = time_monotonic_ms() + timeout_ms;

	for (;;) {
		struct pollfd p[2] = {migration_link_pollfd(l, MIGRATION_CONTROL, true),
				      {.fd = l->cancel_fd, .events = POLLIN}};
		int64_t left = deadline - time_monotonic_ms();
		bool extra = wsclient_has_extra(l->ws[MIGRATION_CONTROL]);
		int r;

		if (l->n_inbox) {
			take_message(l, ret);
			return 0;
		}
		r = migration_link_check(l, err);
		if (r < 0)
			return r;
		if (left <= 0)
			break;
		if (poll(p, 2, extra ? 0 : (int)left) < 0 && errno != EINTR)
			return error_errno(err, errno, "Wait for the other server");
		migration_link_process(l, MIGRATION_CONTROL, (short)(p[0].revents | (extra ? POLLIN : 0)));
	}
	error_set(err, 504, "The other server does not answer");
	err->errnum = ETIMEDOUT;
	return -ETIMEDOUT;
}

/* Say goodbye on each socket whose queue is empty (a close frame would overtake what waits); how many are open. */
static int say_goodbye(struct migration_link *l, bool said[MIGRATION_SOCKETS])
{
	int open = 0;

	for (int k = 0; k < MIGRATION_SOCKETS; k++) {
		struct wsclient *ws = l->ws[k];

		if (!ws || !wsclient_is_open(ws))
			continue;
		if (!said[k] && !wsclient_queued(ws)) {
			wsclient_close(ws);
			said[k] = true;
		}
		open += wsclient_is_open(ws);
	}
	return open;
}

/* Let what is queued go out, and the peer say goodbye too. */
static void farewell(struct migration_link *l)
{
	int64_t deadline = time_monotonic_ms() + FAREWELL_MS;
	bool said[MIGRATION_SOCKETS] = {false};

	while (say_goodbye(l, said) > 0) {
		int64_t left = deadline - time_monotonic_ms();
		struct pollfd p[MIGRATION_SOCKETS];

		if (left <= 0)
			return;
		for (int k = 0; k < MIGRATION_SOCKETS; k++)
			p[k] = l->ws[k] ? migration_link_pollfd(l, k, true) : (struct pollfd){.fd = -1};
		if (poll(p, MIGRATION_SOCKETS, (int)left) < 0 && errno != EINTR)
			return;
		for (int k = 0; k < MIGRATION_SOCKETS; k++)
			if (p[k].fd >= 0)
				migration_link_process(l, k, p[k].revents);
		strbuf_truncate(&l->pending, 0);
	}
}

void migration_link_free(struct migration_link *l)
{
	if (!l)
		return;
	farewell(l);
	for (int k = 0; k < MIGRATION_SOCKETS; k++)
		wsclient_free(l->ws[k]);
	for (size_t k = 0; k < LINK_INBOX; k++)
		strbuf_done(&l->inbox[k]);
	strbuf_done(&l->pending);
	free(l);
}
