/* The processes of a container: finding init and monitor, and telling the daemon about them. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "container/container.h"

#define ENDING_MS 500 /* from giving up the program to being dead */

int64_t proc_status_number(const char *path, const char *key)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;
	size_t key_len = strlen(key);
	char *rest;

	if (file_read_at(AT_FDCWD, path, 64 * 1024, &text, &err) < 0 || !text.data)
		return -1;
	rest = text.data;
	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		int64_t v;

		if (strncmp(line, key, key_len) != 0 || line[key_len] != ':')
			continue;
		return parse_i64(str_strip(line + key_len + 1), &v) == 0 ? v : -1;
	}
	return -1;
}

pid_t pidfd_pid(int pidfd)
{
	auto_free char *path = xasprintf("/proc/self/fdinfo/%d", pidfd);

	return (pid_t)proc_status_number(path, "Pid");
}

struct lxc_container *container_open(const char *name, const char *lxcpath, struct error *err)
{
	struct lxc_container *c;

	if (container_check_socket(name, lxcpath, err) < 0)
		return NULL;
	c = lxc_container_new(name, lxcpath);
	if (!c)
		error_set(err, 500, "Open container %s below %s: liblxc refused", name, lxcpath);
	return c;
}

struct lxc_container *container_open_running(const char *name, const char *lxcpath, struct lxc_log_mark *mark,
					     struct error *err)
{
	struct lxc_container *c = container_open(name, lxcpath, err);

	if (!c)
		return NULL;
	lxc_log_mark_memory(mark, c);
	if (c->is_running(c))
		return c;
	error_set(err, 400, "The instance is not running");
	lxc_container_put(c);
	return NULL;
}

/* Parent of @pid, with a pidfd that is certain to mean that process. */
static int open_parent(pid_t pid, pid_t *ret_parent)
{
	auto_free char *path = xasprintf("/proc/%d/status", pid);
	pid_t parent = (pid_t)proc_status_number(path, "PPid");
	int fd;

	if (parent <= 1)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, parent, 0);
	if (fd < 0)
		return -errno;
	if (proc_status_number(path, "PPid") != parent) {
		close(fd);
		return -ESRCH;
	}
	*ret_parent = parent;
	return fd;
}

static uint32_t wire_state(struct lxc_container *c)
{
	const char *state = c->state(c);

	if (!state || streq(state, "STOPPED"))
		return WIRE_STATE_STOPPED;
	return streq(state, "FROZEN") ? WIRE_STATE_FROZEN : WIRE_STATE_RUNNING;
}

static bool has_ended(int pidfd, int timeout_ms)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) > 0;
}

/* 0: it does not run (any more); 1: it does, pids and fds are filled; an error when something else poses as it. */
static int look_up(struct lxc_container *c, uint32_t *state, pid_t *init, pid_t *monitor, int fds[2], struct error *err)
{
	int r = container_check_socket(c->name, c->config_path, err);

	if (r <= 0)
		return r;
	*state = wire_state(c);
	if (*state == WIRE_STATE_STOPPED)
		return 0;
	*init = c->init_pid(c);
	if (*init <= 0)
		return 0;
	fds[0] = (int)syscall(SYS_pidfd_open, *init, 0);
	if (fds[0] < 0)
		return 0;
	fds[1] = open_parent(*init, monitor);
	/* init may have ended, and its number been given to somebody else, before the pidfd was open */
	if (fds[1] < 0 || c->init_pid(c) != *init) {
		fds[0] = fd_close(fds[0]);
		fds[1] = fd_close(fds[1]);
		return 0;
	}
	r = container_check_processes(c->name, *init, *monitor, err);
	if (r == 0)
		return 1;
	/* a process that is just ending has no program any more */
	if (has_ended(fds[0], 0) || has_ended(fds[1], ENDING_MS)) {
		error_ignore(err, "it ran no program because it was ending");
		r = 0;
	}
	fds[0] = fd_close(fds[0]);
	fds[1] = fd_close(fds[1]);
	return r;
}

int request_reply_process(struct request *rq, struct lxc_container *c, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	uint32_t state = WIRE_STATE_STOPPED;
	pid_t init = 0, monitor = 0;
	int fds[2] = {-EBADF, -EBADF};
	int running = c ? look_up(c, &state, &init, &monitor, fds, err) : 0;

	if (running < 0)
		return running;
	wire_put_u32(&b, WIRE_REPLY_PROCESS);
	wire_put_u32(&b, running ? state : WIRE_STATE_STOPPED);
	wire_put_u32(&b, running ? (uint32_t)init : 0);
	wire_put_u32(&b, running ? (uint32_t)monitor : 0);
	return request_reply(rq, &b, fds, running ? 2 : 0, err);
}

int request_find(struct request *rq, struct error *err)
{
	auto_free char *lxcpath = wire_get_str(&rq->msg.reader);
	auto_free char *name = wire_get_str(&rq->msg.reader);
	struct lxc_container *c;

	if (!wire_done(&rq->msg.reader) || !lxcpath || !name)
		return request_malformed(err);
	c = container_open(name, lxcpath, err);
	if (!c)
		return -err->errnum;
	return request_reply_process(rq, c, err);
}

/*
 * While the monitor exchanges one init for the next its command socket is closed, and nothing tells when it is back:
 * so this looks again, at growing intervals, but sleeps on the monitor's pidfd and sees its end at once.
 */
static int wait_for_next_init(struct lxc_container *c, pid_t old_init, int monitor, unsigned timeout_ms,
			      struct error *err)
{
	int64_t deadline = time_monotonic_ms() + timeout_ms;
	int pause_ms = 2;

	while (!has_ended(monitor, 0)) {
		int r = container_check_socket(c->name, c->config_path, err);
		pid_t init = r > 0 ? c->init_pid(c) : 0;

		if (r < 0)
			return r;
		if (init > 0 && init != old_init && wire_state(c) == WIRE_STATE_RUNNING)
			return 0;
		if (time_monotonic_ms() >= deadline) {
			error_set(err, 500, "Container %s did not come back within %u ms", c->name, timeout_ms);
			err->errnum = ETIMEDOUT;
			return -ETIMEDOUT;
		}
		if (has_ended(monitor, pause_ms))
			break;
		pause_ms = MIN_OF(pause_ms * 2, 100);
	}
	return 1;
}

int request_wait_running(struct request *rq, struct error *err)
{
	auto_free char *lxcpath = wire_get_str(&rq->msg.reader);
	auto_free char *name = wire_get_str(&rq->msg.reader);
	pid_t old_init = (pid_t)wire_get_u32(&rq->msg.reader);
	unsigned timeout_ms = wire_get_u32(&rq->msg.reader);
	int monitor = rq->msg.fds[0];
	struct lxc_container *c;
	int r;

	if (!wire_done(&rq->msg.reader) || !lxcpath || !name || monitor < 0)
		return request_malformed(err);
	c = container_open(name, lxcpath, err);
	if (!c)
		return -err->errnum;
	r = wait_for_next_init(c, old_init, monitor, timeout_ms, err);
	if (r < 0)
		return r;
	return request_reply_process(rq, r == 0 ? c : NULL, err);
}
