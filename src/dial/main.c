/*
 * The program lxd-dial: reads one request (base/wire_dial.h), connects, gives up its rights, shakes hands, answers, and
 * copies bytes until one side is gone.
 */
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/wire_dial.h"
#include "dial/dial.h"

/* The resolver cannot be told when to stop. */
static void arm_last_resort(unsigned timeout_ms)
{
	alarm(timeout_ms / 1000 + 30);
}

static int dial(const struct dial_request *req, struct link *l, struct dial_reply *reply, struct tls **ret,
		struct error *err)
{
	CLEANUP(roots_done) struct roots system = {0};
	int r;

	if (req->flags & WIRE_DIAL_SYSTEM_ROOTS)
		roots_load_system(&system);
	r = confine_early(err);
	if (r == 0)
		r = link_connect(req, WIRE_DIAL_CONTROL_FD, l, err);
	if (r == 0)
		r = confine_late(err);
	if (r == 0)
		r = link_through_proxy(l, req, err);
	return r < 0 ? r : tls_connect(l, req, &system, reply, ret, err);
}

/* The caller collects its child at once; what goes on belongs to nobody. */
static void detach(void)
{
	pid_t pid = fork();

	if (pid > 0)
		_exit(0);
	/* a failed fork is no reason to give up: then the caller waits longer */
}

int main(void)
{
	auto_error struct error err = ERROR_INIT;
	struct dial_request req = {0};
	struct dial_reply reply = {0};
	struct link l = {.sock = -EBADF};
	struct tls *t = NULL;
	int r;

	detach();
	syscall(SYS_close_range, WIRE_DIAL_STREAM_FD + 1U, ~0U, 0U);
	r = dial_request_read(WIRE_DIAL_CONTROL_FD, &req, &err);
	if (r == 0) {
		arm_last_resort(req.timeout_ms);
		r = dial(&req, &l, &reply, &t, &err);
	}
	if (req.client_key)
		explicit_bzero(req.client_key, strlen(req.client_key));
	if (dial_reply_send(WIRE_DIAL_CONTROL_FD, &reply, &err) < 0 || r < 0)
		_exit(1);
	alarm(0);
	close(WIRE_DIAL_CONTROL_FD);
	tls_relay(t, WIRE_DIAL_STREAM_FD);
	_exit(0);
}
