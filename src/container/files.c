/*
 * Files of an instance: the process joins the mounts and the user namespace of a running container, or takes on the id
 * map of a stopped one's root folder, keeps of root's rights only those over files, and then works beneath that root.
 */
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/userns.h"
#include "container/beneath.h"
#include "container/container.h"

/* A file system that does not answer ends the request's process: the daemon waits no longer than that. */
#define PATIENCE_SECONDS 50
#define CHUNK (256u * 1024)

struct file_request {
	uint32_t verb;
	char *path;
	uint32_t flags;
	uint32_t uid, gid, mode;
	char *target;
	bool running;
	char *uid_map, *gid_map;
	int place; /* init's pidfd or the root folder */
	int body;  /* the pipe that is written from */
};

/* Only what is needed to read and write files of any owner; in a user namespace these are rights in there. */
static int drop_rights(struct error *err)
{
	static const cap_value_t kept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID};
	cap_t caps = cap_init();
	int r = 0;

	if (!caps || cap_set_flag(caps, CAP_PERMITTED, (int)ARRAY_SIZE(kept), kept, CAP_SET) < 0 ||
	    cap_set_flag(caps, CAP_EFFECTIVE, (int)ARRAY_SIZE(kept), kept, CAP_SET) < 0 || cap_set_proc(caps) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = error_errno(err, errno, "Drop rights");
	if (caps)
		cap_free(caps);
	return r;
}

static int become_root(struct error *err)
{
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return error_errno(err, errno, "Become the instance's root");
	return 0;
}

static bool same_namespace(pid_t pid, const char *kind)
{
	auto_free char *theirs = xasprintf("/proc/%d/ns/%s", pid, kind);
	auto_free char *ours = xasprintf("/proc/self/ns/%s", kind);
	struct stat a, b;

	return stat(theirs, &a) == 0 && stat(ours, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* The root as init has it: who is in the container may have changed the process's root, but not init's. */
static int join_running(int init, int *ret_root, struct error *err)
{
	pid_t pid = pidfd_pid(init);
	bool own_users = pid > 0 && !same_namespace(pid, "user");

	if (setns(init, CLONE_NEWNS | (own_users ? CLONE_NEWUSER : 0)) < 0)
		return errno == ESRCH ? error_set(err, 400, "The instance is not running")
				      : error_errno(err, errno, "Enter the instance's mounts");
	*ret_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_root < 0)
		return error_errno(err, errno, "Open the instance's root");
	return own_users ? become_root(err) : 0;
}

static int enter(const struct file_request *f, struct beneath *ret, struct error *err)
{
	int r = 0;

	/* what joins the container must not be traced from there while it still holds fds of the host */
	prctl(PR_SET_DUMPABLE, 0);
	ret->fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ret->fds < 0)
		return error_errno(err, errno, "Open /proc/self/fd");
	ret->root = f->place;
	if (f->running)
		r = join_running(f->place, &ret->root, err);
	else if (f->uid_map)
		r = userns_enter(f->uid_map, f->gid_map, err);
	umask(0);
	return r < 0 ? r : drop_rights(err);
}

static uint32_t file_type(mode_t mode)
{
	return S_ISDIR(mode) ? WIRE_FILE_FOLDER : S_ISLNK(mode) ? WIRE_FILE_LINK : WIRE_FILE_REGULAR;
}

static int send_file(struct request *rq, const struct stat *st, const char *text, int fd, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	wire_put_u32(&b, WIRE_REPLY_OK);
	wire_put_u32(&b, file_type(st->st_mode));
	wire_put_u32(&b, st->st_uid);
	wire_put_u32(&b, st->st_gid);
	wire_put_u32(&b, st->st_mode & 07777);
	wire_put_u64(&b, (uint64_t)st->st_mtim.tv_sec);
	wire_put_str(&b, text);
	return request_reply(rq, &b, &fd, fd >= 0 ? 1 : 0, err);
}

static int do_read(struct request *rq, const struct file_request *f, const struct beneath *b, struct error *err)
{
	auto_free char *target = NULL;
	auto_close int fd = -EBADF;
	struct stat st;
	int r = beneath_look(b, f->path, &st, err);

	if (r < 0)
		return r;
	if (S_ISLNK(st.st_mode)) {
		r = beneath_read_link(b, f->path, &target, err);
		return r < 0 ? r : send_file(rq, &st, target, -EBADF, err);
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return error_set(err, 400, "%s is no file, folder or link", f->path);
	fd = S_ISDIR(st.st_mode) ? beneath_list(b, f->path, err) : beneath_open(b, f->path, err);
	return fd < 0 ? fd : send_file(rq, &st, NULL, fd, err);
}

/* From the pipe to the file, until the pipe ends. */
static int take_body(const struct file_request *f, const struct beneath_file *file, struct error *err)
{
	auto_free char *buf = xmalloc(CHUNK);

	for (;;) {
		struct pollfd p[] = {{.fd = f->body, .events = POLLIN},
				     {.fd = f->running ? f->place : -1, .events = POLLIN}};
		ssize_t n;
		int r;

		alarm(0); /* the client may take its time */
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return error_errno(err, errno, "Wait for the content of %s", f->path);
		if (p[1].revents)
			return error_set(err, 400, "The instance has stopped");
		alarm(PATIENCE_SECONDS);
		n = read(f->body, buf, CHUNK);
		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0 ? -errno : fd_write_full(file->fd, buf, (size_t)n);
		if (r < 0)
			return error_errno(err, -r, "Write %s", f->path);
	}
}

static int do_write(struct request *rq, const struct file_request *f, const struct beneath *b,
		    const struct beneath_owner *o, struct error *err)
{
	auto_wire_message struct wire_message commit = WIRE_MESSAGE_INIT;
	struct beneath_file file; /* its end is the process's */
	int r = beneath_write(b, f->path, f->flags & WIRE_FILE_APPEND, o, &file, err);

	if (r == 0)
		r = request_reply_ok(rq, err);
	if (r == 0)
		r = take_body(f, &file, err);
	if (r < 0)
		return r;
	alarm(PATIENCE_SECONDS);
	/* a body that was cut off ends without this, and a new file goes with this process */
	if (wire_recv(rq->sock, &commit) <= 0)
		_exit(1);
	r = beneath_commit(b, &file, err);
	return r < 0 ? r : request_reply_ok(rq, err);
}

static int do_change(struct request *rq, const struct file_request *f, const struct beneath *b,
		     const struct beneath_owner *o, struct error *err)
{
	int r;

	if (f->verb == WIRE_FILE_MAKE_FOLDER)
		r = beneath_make_folder(b, f->path, o, err);
	else if (f->verb == WIRE_FILE_MAKE_LINK)
		r = beneath_make_link(b, f->path, f->target, o, err);
	else
		r = beneath_remove(b, f->path, err);
	return r < 0 ? r : request_reply_ok(rq, err);
}

static int run(struct request *rq, const struct file_request *f, struct error *err)
{
	mode_t mode = f->verb == WIRE_FILE_MAKE_FOLDER ? 0750 : 0644;
	struct beneath_owner o = {.uid = f->uid == WIRE_FILE_NOT_GIVEN ? 0 : f->uid,
				  .gid = f->gid == WIRE_FILE_NOT_GIVEN ? 0 : f->gid,
				  .mode = f->mode == WIRE_FILE_NOT_GIVEN ? mode : f->mode & 07777};
	struct beneath b;
	int r = enter(f, &b, err);

	if (r < 0)
		return r;
	if (f->verb == WIRE_FILE_READ)
		return do_read(rq, f, &b, err);
	return f->verb == WIRE_FILE_WRITE ? do_write(rq, f, &b, &o, err) : do_change(rq, f, &b, &o, err);
}

int request_file(struct request *rq, struct error *err)
{
	struct wire_reader *in = &rq->msg.reader;
	struct file_request f = {0}; /* freed by the end of the process */

	f.verb = wire_get_u32(in);
	f.path = wire_get_str(in);
	f.flags = wire_get_u32(in);
	f.uid = wire_get_u32(in);
	f.gid = wire_get_u32(in);
	f.mode = wire_get_u32(in);
	f.target = wire_get_str(in);
	f.running = wire_get_u32(in) != 0;
	f.uid_map = wire_get_str(in);
	f.gid_map = wire_get_str(in);
	f.place = rq->msg.fds[0];
	f.body = rq->msg.fds[1];
	if (!wire_done(in) || !f.path || f.verb == 0 || f.verb >= WIRE_FILE_VERB_MAX || f.place < 0 ||
	    (f.verb == WIRE_FILE_WRITE && f.body < 0) || (f.verb == WIRE_FILE_MAKE_LINK && !f.target) ||
	    !!f.uid_map != !!f.gid_map)
		return request_malformed(err);
	alarm(PATIENCE_SECONDS);
	return run(rq, &f, err);
}
