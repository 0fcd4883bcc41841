/*
 * Inside lxd-container: what its files share. Every handler runs in a process of its own, forked for one request,
 * and may therefore change namespaces, leave fds open, and simply return when it is done.
 */
#pragma once

#include <lxc/lxccontainer.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/wire.h"
#include "base/wire_container.h"

struct request {
	int sock; /* answers go here */
	struct wire_message msg;
};

typedef int (*request_fn)(struct request *rq, struct error *err);

/* One function per kind of request: reads its body from @rq, writes the reply there; an error goes to the daemon as it
 * is. */
int request_start(struct request *rq, struct error *err);
int request_find(struct request *rq, struct error *err);
int request_wait_running(struct request *rq, struct error *err);
int request_control(struct request *rq, struct error *err);
int request_exec(struct request *rq, struct error *err);
int request_net_state(struct request *rq, struct error *err);
int request_net_socket(struct request *rq, struct error *err);
int request_mount(struct request *rq, struct error *err);
int request_umount(struct request *rq, struct error *err);
int request_cgroup_set(struct request *rq, struct error *err);
int request_cgroup_get(struct request *rq, struct error *err);
int request_console(struct request *rq, struct error *err);
int request_file(struct request *rq, struct error *err);

/* The request is malformed (a field is missing, too long, or left over). */
int request_malformed(struct error *err);
/* Send one reply. */
int request_reply(struct request *rq, const struct strbuf *b, const int *fds, size_t nfds, struct error *err);
/* Send WIRE_REPLY_OK without fields. */
int request_reply_ok(struct request *rq, struct error *err);
/* Send WIRE_REPLY_PROCESS for a container that runs, or (c NULL) for one that does not. */
int request_reply_process(struct request *rq, struct lxc_container *c, struct error *err);

/* "1234" of "Key:	1234" in a /proc status file; -1 when it is not there. */
int64_t proc_status_number(const char *path, const char *key);
/* The process behind a pidfd; -1 when it has ended. */
pid_t pidfd_pid(int pidfd);

/*
 * liblxc says what failed only in its log. A mark taken before a call, and afterwards the first errors written since
 * then, as "text: text"; the errno that the first one names is stored too.
 */
struct lxc_log_mark {
	int fd; /* the log, open for reading */
	off_t offset;
};

#define LXC_LOG_MARK_INIT ((struct lxc_log_mark){.fd = -EBADF})
/* At the end of the file @path, which is made when it is missing. Failure is ignored: the message is just poorer. */
void lxc_log_mark_file(struct lxc_log_mark *mark, const char *path);
/* Let @c log to memory; for containers that have no log of their own loaded. */
void lxc_log_mark_memory(struct lxc_log_mark *mark, struct lxc_container *c);
/* Fill @err: "@what: <errors of liblxc>". @status: HTTP. Returns -errnum. */
int lxc_log_error(struct lxc_log_mark *mark, struct error *err, int status, const char *what);

/*
 * Who holds the abstract socket through which liblxc asks for the container's state? 1: a process of root, 0: nobody;
 * an error (500) when it is somebody else, or when nobody takes the connection for some seconds.
 */
int container_check_socket(const char *name, const char *lxcpath, struct error *err);
/* An error (500) unless @monitor is root's, runs our program, and @init is in no other container's control groups. */
int container_check_processes(const char *name, pid_t init, pid_t monitor, struct error *err);

/* lxc_container_new() after container_check_socket(), with an error. */
struct lxc_container *container_open(const char *name, const char *lxcpath, struct error *err);
/* The same, logging to memory; an error (400) when it does not run. */
struct lxc_container *container_open_running(const char *name, const char *lxcpath, struct lxc_log_mark *mark,
					     struct error *err);
