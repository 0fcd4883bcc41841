/* Files of a container: each request is a process of lxd-container's beneath the container's root. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "instance/container_internal.h"

#define STALL_MS 60000

_Static_assert((int)CONTAINER_FILE_REGULAR == (int)WIRE_FILE_REGULAR &&
		       (int)CONTAINER_FILE_FOLDER == (int)WIRE_FILE_FOLDER &&
		       (int)CONTAINER_FILE_LINK == (int)WIRE_FILE_LINK,
	       "types on the wire");

void container_file_done(struct container_file *f)
{
	free(f->target);
	f->fd = fd_close(f->fd);
}

struct question {
	enum wire_file_verb verb;
	const char *path;
	bool append;
	const struct container_file_owner *owner;
	const char *target;
	int body;
};

static void put_question(struct container_request *rq, const struct container_file_place *at, const struct question *q)
{
	static const struct container_file_owner none = {WIRE_FILE_NOT_GIVEN, WIRE_FILE_NOT_GIVEN, WIRE_FILE_NOT_GIVEN};
	const struct container_file_owner *o = q->owner ? q->owner : &none;
	bool running = at->init_pidfd >= 0;

	wire_put_u32(&rq->body, WIRE_CONTAINER_FILE);
	wire_put_u32(&rq->body, q->verb);
	wire_put_str(&rq->body, q->path);
	wire_put_u32(&rq->body, q->append ? WIRE_FILE_APPEND : 0);
	wire_put_u32(&rq->body, o->uid);
	wire_put_u32(&rq->body, o->gid);
	wire_put_u32(&rq->body, o->mode);
	wire_put_str(&rq->body, q->target);
	wire_put_u32(&rq->body, running);
	wire_put_str(&rq->body, running ? NULL : at->uid_map);
	wire_put_str(&rq->body, running ? NULL : at->gid_map);
	rq->fds[rq->nfds++] = running ? at->init_pidfd : at->root_fd;
	if (q->body >= 0)
		rq->fds[rq->nfds++] = q->body;
}

static int change(struct container_host *h, const struct container_file_place *at, const struct question *q,
		  struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;

	put_question(&rq, at, q);
	return container_request_call(h, &rq, WIRE_REPLY_OK, &m, err);
}

int container_file_read(struct container_host *h, const struct container_file_place *at, const char *path,
			struct container_file *ret, struct error *err)
{
	const struct question q = {.verb = WIRE_FILE_READ, .path = path, .body = -EBADF};
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;
	auto_container_file struct container_file f = CONTAINER_FILE_INIT;
	int r;

	put_question(&rq, at, &q);
	r = container_request_call(h, &rq, WIRE_REPLY_OK, &m, err);
	if (r < 0)
		return r;
	f.type = wire_get_u32(&m.reader);
	f.uid = wire_get_u32(&m.reader);
	f.gid = wire_get_u32(&m.reader);
	f.mode = wire_get_u32(&m.reader);
	f.mtime = (int64_t)wire_get_u64(&m.reader);
	f.target = wire_get_str(&m.reader);
	f.fd = TAKE_FD(m.fds[0]);
	if (!wire_done(&m.reader) || (f.type == CONTAINER_FILE_LINK ? !f.target : f.fd < 0))
		return container_answer_malformed(err);
	*ret = f;
	f = CONTAINER_FILE_INIT;
	return 0;
}

int container_file_make_folder(struct container_host *h, const struct container_file_place *at, const char *path,
			       const struct container_file_owner *o, struct error *err)
{
	const struct question q = {.verb = WIRE_FILE_MAKE_FOLDER, .path = path, .owner = o, .body = -EBADF};

	return change(h, at, &q, err);
}

int container_file_make_link(struct container_host *h, const struct container_file_place *at, const char *path,
			     const char *target, const struct container_file_owner *o, struct error *err)
{
	const struct question q = {
		.verb = WIRE_FILE_MAKE_LINK, .path = path, .owner = o, .target = target, .body = -EBADF};

	return change(h, at, &q, err);
}

int container_file_remove(struct container_host *h, const struct container_file_place *at, const char *path,
			  struct error *err)
{
	const struct question q = {.verb = WIRE_FILE_REMOVE, .path = path, .body = -EBADF};

	return change(h, at, &q, err);
}

void container_upload_done(struct container_upload *u)
{
	/* the socket first: the end of the pipe alone would look like that of the body */
	u->sock = fd_close(u->sock);
	u->pipe = fd_close(u->pipe);
}

int container_upload_begin(struct container_host *h, const struct container_file_place *at, const char *path,
			   bool append, const struct container_file_owner *o, struct container_upload *ret,
			   struct error *err)
{
	struct question q = {.verb = WIRE_FILE_WRITE, .path = path, .append = append, .owner = o};
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;
	CLEANUP(container_upload_done) struct container_upload u = CONTAINER_UPLOAD_INIT;
	auto_close int read_end = -EBADF;
	uint32_t kind = 0;
	int ends[2], r;

	/* a socket, because a write to it can be told not to raise SIGPIPE */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(err, errno, "Create socket pair");
	read_end = ends[0];
	u.pipe = ends[1];
	q.body = read_end;
	put_question(&rq, at, &q);
	r = container_request_ask(h, &rq, &u.sock, &m, &kind, err);
	if (r < 0)
		return r;
	if (kind != WIRE_REPLY_OK)
		return container_answer_malformed(err);
	*ret = u;
	u = CONTAINER_UPLOAD_INIT;
	return 0;
}

/* The process has given up; it says why. */
static int why_not(struct container_upload *u, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	uint32_t kind;
	int r = container_request_receive(u->sock, &m, &kind, err);

	return r < 0 ? r : container_answer_malformed(err);
}

int container_upload_write(struct container_upload *u, const void *data, size_t len, struct error *err)
{
	const char *at = data;

	while (len) {
		struct pollfd p = {.fd = u->pipe, .events = POLLOUT};
		ssize_t n = send(u->pipe, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0) {
			at += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			if (poll(&p, 1, STALL_MS) == 0)
				return error_set(err, 500, "The instance's file system takes no more data");
		} else if (errno != EINTR) {
			return why_not(u, err);
		}
	}
	return 0;
}

int container_upload_finish(struct container_upload *u, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_strbuf struct strbuf commit = STRBUF_INIT;
	uint32_t kind;
	int r;

	u->pipe = fd_close(u->pipe);
	wire_put_u32(&commit, 1);
	/* when it has failed already its reply is there to be read */
	(void)!wire_send(u->sock, &commit, NULL, 0);
	r = container_request_receive(u->sock, &m, &kind, err);
	if (r < 0)
		return r;
	return kind == WIRE_REPLY_OK ? 0 : container_answer_malformed(err);
}
