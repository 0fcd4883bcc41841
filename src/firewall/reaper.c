#include "firewall/reaper.h"

#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/thread.h"

struct child {
	struct reaper *reaper;
	pid_t pid;
	int pidfd;
	struct child *next;
};

struct reaper {
	struct loop *loop;
	struct mutex lock;
	struct child *children GUARDED_BY(lock);
};

struct reaper *reaper_new(struct loop *loop) UNSHARED
{
	struct reaper *r = xnew(struct reaper);

	r->loop = loop;
	mutex_init(&r->lock);
	return r;
}

/* Waits until the process has ended. */
static void reap(struct child *child)
{
	while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
		;
	fd_close(child->pidfd);
	free(child);
}

static void forget(struct reaper *r, const struct child *child)
{
	mutex_lock(&r->lock);
	for (struct child **at = &r->children; *at; at = &(*at)->next) {
		if (*at == child) {
			*at = child->next;
			break;
		}
	}
	mutex_unlock(&r->lock);
}

static void on_end(struct loop_source *src, uint32_t events UNUSED, void *arg)
{
	struct child *child = arg;

	loop_remove(src);
	forget(child->reaper, child);
	reap(child);
}

static void watch(void *arg)
{
	struct child *child = arg;

	/* where it cannot be watched it is reaped in the end */
	(void)!loop_add(child->reaper->loop, child->pidfd, EPOLLIN, on_end, child);
}

void reaper_add(struct reaper *r, pid_t pid, int pidfd)
{
	struct child *child = xnew(struct child);

	*child = (struct child){.reaper = r, .pid = pid, .pidfd = pidfd};
	mutex_lock(&r->lock);
	child->next = r->children;
	r->children = child;
	mutex_unlock(&r->lock);
	loop_post(r->loop, watch, child);
}

void reaper_free(struct reaper *r) UNSHARED
{
	while (r->children) {
		struct child *child = r->children;

		r->children = child->next;
		reap(child);
	}
	mutex_done(&r->lock);
	free(r);
}
