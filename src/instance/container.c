/* The daemon's side of lxd-container: one call per request, each over a socket pair of its own. */
#include "instance/container.h"

#include <time.h>
#include <sys/file.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/timeutil.h"
#include "base/path.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/process.h"
#include "base/thread.h"
#include "instance/container_internal.h"

#define DEFAULT_TIMEOUT_MS 60000u

_Static_assert((int)CONTAINER_STOPPED == (int)WIRE_STATE_STOPPED && (int)CONTAINER_RUNNING == (int)WIRE_STATE_RUNNING &&
		       (int)CONTAINER_FROZEN == (int)WIRE_STATE_FROZEN,
	       "states on the wire");

struct container_host {
	char *program;
	char *lxcpath;
	struct mutex lock;
	int door GUARDED_BY(lock);  /* to the zygote's fd 3 */
	pid_t pid GUARDED_BY(lock); /* of the zygote, 0: none */
};

void container_request_done(struct container_request *rq)
{
	strbuf_done(&rq->body);
}

struct container_host *container_host_new(const char *program, const char *lxcpath)
{
	struct container_host *h = xnew(struct container_host);

	h->program = program ? xstrdup(program) : process_helper_path("lxd-container");
	h->lxcpath = xstrdup(lxcpath);
	mutex_init(&h->lock);
	mutex_lock(&h->lock);
	h->door = -EBADF;
	mutex_unlock(&h->lock);
	return h;
}

/* Close the door, on which the zygote ends, and wait for that. */
static void host_reap_locked(struct container_host *h) REQUIRES(h->lock)
{
	h->door = fd_close(h->door);
	if (h->pid > 0)
		while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
			;
	h->pid = 0;
}

void container_host_free(struct container_host *h)
{
	if (!h)
		return;
	mutex_lock(&h->lock);
	host_reap_locked(h);
	mutex_unlock(&h->lock);
	mutex_done(&h->lock);
	free(h->program);
	free(h->lxcpath);
	free(h);
}

/*
 * The lock that tells a later daemon whether an earlier one's zygote, or a start that it began, is still at work: both
 * hold it (shared) through the fd that they inherit.
 */
static int open_lock(struct container_host *h, int operation, struct error *err)
{
	auto_free char *path = path_join(h->lxcpath, ".lock");
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_errno(err, errno, "Open %s", path);
	if (flock(fd, operation) < 0)
		return error_errno(err, errno, "Lock %s", path);
	return TAKE_FD(fd);
}

int container_host_settle(struct container_host *h, unsigned timeout_ms, struct error *err)
{
	int64_t deadline = time_monotonic_ms() + timeout_ms;

	for (;;) {
		auto_close int fd = open_lock(h, LOCK_EX | LOCK_NB, err);
		struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};

		if (fd >= 0 || err->errnum != EWOULDBLOCK)
			return fd < 0 ? fd : 0;
		if (time_monotonic_ms() >= deadline)
			return error_errno(err, ETIMEDOUT, "Wait for an earlier daemon's helpers");
		error_clear(err);
		nanosleep(&pause, NULL);
	}
}

static int host_start_locked(struct container_host *h, struct error *err) REQUIRES(h->lock)
{
	const char *argv[] = {h->program, NULL};
	struct process_spec spec = PROCESS_SPEC_INIT;
	auto_close int inside = -EBADF, lock = -EBADF;
	int pair[2], fds[2], r;

	if (h->door >= 0)
		return 0;
	r = wire_pair(pair, err);
	if (r < 0)
		return r;
	inside = pair[1];
	lock = open_lock(h, LOCK_SH, err);
	if (lock < 0) {
		close(pair[0]);
		return lock;
	}
	fds[0] = inside;
	fds[1] = lock;
	spec.argv = argv;
	spec.fds = fds;
	spec.nfds = ARRAY_SIZE(fds);
	spec.new_session = true;
	r = process_spawn(&spec, &h->pid, NULL, err);
	if (r < 0) {
		close(pair[0]);
		h->pid = 0;
		return error_wrap(err, "Start the container helper");
	}
	h->door = pair[0];
	return 0;
}

int container_host_warm(struct container_host *h, struct error *err)
{
	int r;

	mutex_lock(&h->lock);
	r = host_start_locked(h, err);
	mutex_unlock(&h->lock);
	return r;
}

pid_t container_host_pid(struct container_host *h)
{
	pid_t pid;

	mutex_lock(&h->lock);
	pid = h->pid;
	mutex_unlock(&h->lock);
	return pid;
}

/* Hand @fd to the zygote; a dead one is replaced, once. */
static int host_hand_over(struct container_host *h, int fd, struct error *err)
{
	const struct strbuf byte = {.data = (char[]){'r', 0}, .len = 1};
	int r = -EPIPE;

	mutex_lock(&h->lock);
	for (int attempt = 0; attempt < 2 && r < 0; attempt++) {
		r = host_start_locked(h, err);
		if (r < 0)
			goto out;
		r = wire_send(h->door, &byte, &fd, 1);
		if (r < 0)
			host_reap_locked(h);
	}
	if (r < 0)
		error_errno(err, -r, "Send a request to the container helper");
out:
	mutex_unlock(&h->lock);
	return r;
}

void container_request_time_limit(int sock, unsigned timeout_ms)
{
	struct timeval tv = {.tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000};

	(void)!setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

int container_request_receive(int sock, struct wire_message *ret, uint32_t *ret_kind, struct error *err)
{
	int r = wire_recv(sock, ret);

	if (r == 0) {
		error_set(err, 500, "The container helper ended without an answer");
		err->errnum = EIO;
		return -EIO;
	}
	if (r == -ECONNRESET) {
		error_set(err, 500, "The container helper ended before it read the request");
		err->errnum = ECONNRESET;
		return -ECONNRESET;
	}
	if (r == -EAGAIN) {
		error_set(err, 500, "The container helper did not answer in time");
		err->errnum = ETIMEDOUT;
		return -ETIMEDOUT;
	}
	if (r < 0)
		return error_errno(err, -r, "Receive the container helper's answer");
	*ret_kind = wire_get_u32(&ret->reader);
	return *ret_kind == WIRE_REPLY_ERROR ? wire_get_error(&ret->reader, err) : 0;
}

int container_answer_malformed(struct error *err)
{
	return error_set(err, 500, "The container helper's answer is malformed");
}

/* Send a request and receive its first reply; more may come on *@ret_sock. -ECONNRESET: nobody has read it. */
static int ask_once(struct container_host *h, const struct container_request *rq, int *ret_sock,
		    struct wire_message *ret, uint32_t *ret_kind, struct error *err)
{
	auto_close int near = -EBADF;
	auto_close int far = -EBADF;
	int pair[2], r;

	r = wire_pair(pair, err);
	if (r < 0)
		return r;
	near = pair[0];
	far = pair[1];
	container_request_time_limit(near, rq->timeout_ms ? rq->timeout_ms : DEFAULT_TIMEOUT_MS);
	r = wire_send(near, &rq->body, rq->fds, rq->nfds);
	if (r < 0)
		return error_errno(err, -r, "Send a request to the container helper");
	r = host_hand_over(h, far, err);
	if (r < 0)
		return r;
	far = fd_close(far);
	r = container_request_receive(near, ret, ret_kind, err);
	if (r < 0)
		return r;
	*ret_sock = TAKE_FD(near);
	return 0;
}

/* A zygote that dies with requests in its queue has not begun them: they are for the next one. */
int container_request_ask(struct container_host *h, const struct container_request *rq, int *ret_sock,
			  struct wire_message *ret, uint32_t *ret_kind, struct error *err)
{
	int r = ask_once(h, rq, ret_sock, ret, ret_kind, err);

	if (r != -ECONNRESET)
		return r;
	error_ignore(err, "the helper died before it read the request");
	mutex_lock(&h->lock);
	host_reap_locked(h);
	mutex_unlock(&h->lock);
	return ask_once(h, rq, ret_sock, ret, ret_kind, err);
}

int container_request_call(struct container_host *h, const struct container_request *rq, uint32_t expect,
			   struct wire_message *ret, struct error *err)
{
	auto_close int sock = -EBADF;
	uint32_t kind = 0;
	int r = container_request_ask(h, rq, &sock, ret, &kind, err);

	if (r < 0)
		return r;
	return kind == expect ? 0 : container_answer_malformed(err);
}

void container_request_begin(struct container_host *h, struct container_request *rq, enum wire_container_request kind,
			     const char *name)
{
	wire_put_u32(&rq->body, kind);
	wire_put_str(&rq->body, h->lxcpath);
	wire_put_str(&rq->body, name);
}

void container_process_done(struct container_process *p)
{
	p->init_pidfd = fd_close(p->init_pidfd);
	p->monitor_pidfd = fd_close(p->monitor_pidfd);
}

static int take_process(struct wire_message *m, struct container_process *ret, struct error *err)
{
	uint32_t state = wire_get_u32(&m->reader);
	pid_t init = (pid_t)wire_get_u32(&m->reader);
	pid_t monitor = (pid_t)wire_get_u32(&m->reader);
	bool running = state != CONTAINER_STOPPED;

	if (!wire_done(&m->reader) || state > CONTAINER_FROZEN || (running && (m->fds[0] < 0 || m->fds[1] < 0)))
		return container_answer_malformed(err);
	*ret = (struct container_process){
		.state = state,
		.init_pid = init,
		.monitor_pid = monitor,
		.init_pidfd = TAKE_FD(m->fds[0]),
		.monitor_pidfd = TAKE_FD(m->fds[1]),
	};
	return 0;
}

int container_start(struct container_host *h, const struct container_start_spec *spec, struct container_process *ret,
		    struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;
	int r;

	container_request_begin(h, &rq, WIRE_CONTAINER_START, spec->name);
	wire_put_str(&rq.body, spec->conf_path);
	wire_put_str(&rq.body, spec->log_path);
	wire_put_u32(&rq.body, (uint32_t)spec->conf->len);
	for (size_t i = 0; i < spec->conf->len; i++) {
		wire_put_str(&rq.body, spec->conf->items[i].key);
		wire_put_str(&rq.body, spec->conf->items[i].value);
	}
	rq.timeout_ms = spec->timeout_ms;
	r = container_request_call(h, &rq, WIRE_REPLY_PROCESS, &m, err);
	if (r < 0)
		return r;
	r = take_process(&m, ret, err);
	if (r < 0 || ret->state != CONTAINER_STOPPED)
		return r;
	return error_set(err, 500, "Start container %s: its init has ended already", spec->name);
}

int container_find(struct container_host *h, const char *name, struct container_process *ret, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;
	int r;

	container_request_begin(h, &rq, WIRE_CONTAINER_FIND, name);
	r = container_request_call(h, &rq, WIRE_REPLY_PROCESS, &m, err);
	return r < 0 ? r : take_process(&m, ret, err);
}

int container_wait_running(struct container_host *h, const char *name, pid_t old_init_pid, int monitor_pidfd,
			   unsigned timeout_ms, struct container_process *ret, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;
	unsigned limit_ms = timeout_ms ? timeout_ms : DEFAULT_TIMEOUT_MS;
	int r;

	container_request_begin(h, &rq, WIRE_CONTAINER_WAIT_RUNNING, name);
	wire_put_u32(&rq.body, (uint32_t)old_init_pid);
	wire_put_u32(&rq.body, limit_ms);
	rq.timeout_ms = limit_ms + 5000;
	rq.fds[0] = monitor_pidfd;
	rq.nfds = 1;
	r = container_request_call(h, &rq, WIRE_REPLY_PROCESS, &m, err);
	return r < 0 ? r : take_process(&m, ret, err);
}

static int control(struct container_host *h, const char *name, enum wire_container_action action, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;

	container_request_begin(h, &rq, WIRE_CONTAINER_CONTROL, name);
	wire_put_u32(&rq.body, action);
	return container_request_call(h, &rq, WIRE_REPLY_OK, &m, err);
}

int container_kill(struct container_host *h, const char *name, struct error *err)
{
	return control(h, name, WIRE_ACTION_KILL, err);
}

int container_halt(struct container_host *h, const char *name, struct error *err)
{
	return control(h, name, WIRE_ACTION_HALT, err);
}

int container_reboot(struct container_host *h, const char *name, struct error *err)
{
	return control(h, name, WIRE_ACTION_REBOOT, err);
}

int container_freeze(struct container_host *h, const char *name, struct error *err)
{
	return control(h, name, WIRE_ACTION_FREEZE, err);
}

int container_unfreeze(struct container_host *h, const char *name, struct error *err)
{
	return control(h, name, WIRE_ACTION_UNFREEZE, err);
}

int container_net_state(struct container_host *h, int init_pidfd, char **ret_json, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;
	auto_free char *json = NULL;
	int r;

	wire_put_u32(&rq.body, WIRE_CONTAINER_NET_STATE);
	rq.fds[0] = init_pidfd;
	rq.nfds = 1;
	r = container_request_call(h, &rq, WIRE_REPLY_OK, &m, err);
	if (r < 0)
		return r;
	json = wire_get_str(&m.reader);
	if (!wire_done(&m.reader) || !json)
		return container_answer_malformed(err);
	*ret_json = TAKE_PTR(json);
	return 0;
}

int container_net_socket(struct container_host *h, int init_pidfd, int *ret_sock, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;
	int r;

	wire_put_u32(&rq.body, WIRE_CONTAINER_NET_SOCKET);
	rq.fds[0] = init_pidfd;
	rq.nfds = 1;
	r = container_request_call(h, &rq, WIRE_REPLY_OK, &m, err);
	if (r < 0)
		return r;
	if (!wire_done(&m.reader) || m.fds[0] < 0)
		return container_answer_malformed(err);
	*ret_sock = TAKE_FD(m.fds[0]);
	return 0;
}

int container_mount(struct container_host *h, const struct container_mount_spec *spec, bool *ret_created,
		    struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;
	uint32_t flags = 0;
	int r;

	flags |= spec->readonly ? WIRE_MOUNT_READONLY : 0;
	flags |= spec->recursive ? WIRE_MOUNT_RECURSIVE : 0;
	flags |= spec->shift ? WIRE_MOUNT_SHIFT : 0;
	wire_put_u32(&rq.body, WIRE_CONTAINER_MOUNT);
	wire_put_str(&rq.body, spec->target);
	wire_put_u32(&rq.body, flags);
	wire_put_str(&rq.body, spec->propagation);
	rq.fds[0] = spec->init_pidfd;
	rq.fds[1] = spec->source_fd;
	rq.nfds = 2;
	r = container_request_call(h, &rq, WIRE_REPLY_OK, &m, err);
	if (r < 0)
		return r;
	*ret_created = wire_get_u32(&m.reader) != 0;
	return wire_done(&m.reader) ? 0 : container_answer_malformed(err);
}

int container_umount(struct container_host *h, int init_pidfd, const char *target, bool remove_target,
		     struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;

	wire_put_u32(&rq.body, WIRE_CONTAINER_UMOUNT);
	wire_put_str(&rq.body, target);
	wire_put_u32(&rq.body, remove_target);
	rq.fds[0] = init_pidfd;
	rq.nfds = 1;
	return container_request_call(h, &rq, WIRE_REPLY_OK, &m, err);
}

int container_cgroup_set(struct container_host *h, const char *name, const char *key, const char *value,
			 struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;

	container_request_begin(h, &rq, WIRE_CONTAINER_CGROUP_SET, name);
	wire_put_str(&rq.body, key);
	wire_put_str(&rq.body, value);
	return container_request_call(h, &rq, WIRE_REPLY_OK, &m, err);
}

int container_cgroup_get(struct container_host *h, const char *name, const char *key, char **ret_value,
			 struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_container_request struct container_request rq = CONTAINER_REQUEST_INIT;
	auto_free char *value = NULL;
	int r;

	container_request_begin(h, &rq, WIRE_CONTAINER_CGROUP_GET, name);
	wire_put_str(&rq.body, key);
	r = container_request_call(h, &rq, WIRE_REPLY_OK, &m, err);
	if (r < 0)
		return r;
	value = wire_get_str(&m.reader);
	if (!wire_done(&m.reader) || !value)
		return container_answer_malformed(err);
	*ret_value = TAKE_PTR(value);
	return 0;
}

int container_device_rule(struct container_host *h, const char *name, const struct device_rule *rule, bool allow,
			  struct error *err)
{
	auto_free char *value = lxcconf_device_rule(rule);

	return container_cgroup_set(h, name, allow ? "devices.allow" : "devices.deny", value, err);
}
