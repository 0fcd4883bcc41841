#include "base/loop.h"

#include <limits.h>
#include <sys/eventfd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/thread.h"
#include "base/timeutil.h"

#define BATCH 32

struct loop_source {
	struct loop *loop;
	int fd;
	loop_fd_fn fn; /* NULL: removed, freed at the end of the batch */
	void *arg;
	struct loop_source *next, **prev; /* in the loop's list of sources, or of dead ones (without prev) */
};

struct loop_timer {
	struct loop *loop;
	int64_t due_ms;
	loop_fn fn;
	void *arg;
	struct loop_timer *next; /* ordered by due_ms */
};

struct post {
	loop_fn fn;
	void *arg;
	struct post *next;
};

struct loop {
	int epoll_fd;
	int wake_fd;
	pthread_t thread;
	bool started;
	struct loop_source *sources; /* loop thread */
	struct loop_source *dead;    /* loop thread */
	struct loop_timer *timers;   /* loop thread */
	struct mutex lock;
	struct post *posts GUARDED_BY(lock);
	struct post **posts_tail GUARDED_BY(lock);
	bool stop GUARDED_BY(lock);
};

int loop_new(struct loop **ret, struct error *err) UNSHARED
{
	struct loop *l = xnew(struct loop);
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

	mutex_init(&l->lock);
	l->posts_tail = &l->posts;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll_fd < 0 || l->wake_fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &ev) < 0) {
		int r = error_errno(err, errno, "Create event loop");

		loop_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

static void wake(struct loop *l)
{
	uint64_t one = 1;

	(void)!write(l->wake_fd, &one, sizeof(one));
}

void loop_post(struct loop *l, loop_fn fn, void *arg)
{
	struct post *p = xnew(struct post);

	p->fn = fn;
	p->arg = arg;
	mutex_lock(&l->lock);
	*l->posts_tail = p;
	l->posts_tail = &p->next;
	mutex_unlock(&l->lock);
	wake(l);
}

/* False when the loop shall end. */
static bool run_posts(struct loop *l)
{
	struct post *list;
	uint64_t count;
	bool stop;

	(void)!read(l->wake_fd, &count, sizeof(count));
	mutex_lock(&l->lock);
	list = l->posts;
	l->posts = NULL;
	l->posts_tail = &l->posts;
	stop = l->stop;
	mutex_unlock(&l->lock);
	while (list) {
		struct post *p = list;

		list = p->next;
		if (!stop)
			p->fn(p->arg);
		free(p);
	}
	return !stop;
}

static void run_timers(struct loop *l)
{
	int64_t now = time_monotonic_ms();

	while (l->timers && l->timers->due_ms <= now) {
		struct loop_timer *t = l->timers;
		loop_fn fn = t->fn;
		void *arg = t->arg;

		l->timers = t->next;
		free(t);
		fn(arg);
	}
}

static int next_timeout(struct loop *l)
{
	int64_t left;

	if (!l->timers)
		return -1;
	left = l->timers->due_ms - time_monotonic_ms();
	return left <= 0 ? 0 : (int)MIN_OF(left, INT_MAX);
}

static void free_list(struct loop_source **list)
{
	while (*list) {
		struct loop_source *s = *list;

		*list = s->next;
		free(s);
	}
}

static void *loop_thread(void *arg)
{
	struct loop *l = arg;
	bool go_on = true;

	while (go_on) {
		struct epoll_event events[BATCH];
		int n = epoll_wait(l->epoll_fd, events, BATCH, next_timeout(l));

		for (int i = 0; i < n; i++) {
			struct loop_source *s = events[i].data.ptr;

			if (!s)
				go_on = run_posts(l);
			else if (s->fn)
				s->fn(s, events[i].events, s->arg);
		}
		free_list(&l->dead);
		run_timers(l);
		free_list(&l->dead);
	}
	return NULL;
}

int loop_start(struct loop *l, struct error *err)
{
	int r = thread_start_joinable("loop", loop_thread, l, &l->thread, err);

	if (r == 0)
		l->started = true;
	return r;
}

static void drop_posts(struct loop *l)
{
	mutex_lock(&l->lock);
	while (l->posts) {
		struct post *p = l->posts;

		l->posts = p->next;
		free(p);
	}
	mutex_unlock(&l->lock);
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->started) {
		mutex_lock(&l->lock);
		l->stop = true;
		mutex_unlock(&l->lock);
		wake(l);
		pthread_join(l->thread, NULL);
	}
	while (l->timers)
		loop_timer_cancel(l->timers);
	free_list(&l->sources);
	free_list(&l->dead);
	drop_posts(l);
	fd_close(l->epoll_fd);
	fd_close(l->wake_fd);
	mutex_done(&l->lock);
	free(l);
}

struct loop_source *loop_add(struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *arg)
{
	struct loop_source *s = xnew(struct loop_source);
	struct epoll_event ev = {.events = events, .data.ptr = s};

	s->loop = l;
	s->fd = fd;
	s->fn = fn;
	s->arg = arg;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		/* regular files cannot be polled; whoever adds one has a bug */
		free(s);
		return NULL;
	}
	s->next = l->sources;
	s->prev = &l->sources;
	if (s->next)
		s->next->prev = &s->next;
	l->sources = s;
	return s;
}

void loop_modify(struct loop_source *src, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = src};

	epoll_ctl(src->loop->epoll_fd, EPOLL_CTL_MOD, src->fd, &ev);
}

void loop_remove(struct loop_source *src)
{
	if (!src)
		return;
	epoll_ctl(src->loop->epoll_fd, EPOLL_CTL_DEL, src->fd, NULL);
	src->fn = NULL;
	*src->prev = src->next;
	if (src->next)
		src->next->prev = src->prev;
	src->next = src->loop->dead;
	src->loop->dead = src;
}

struct loop_timer *loop_timer_add(struct loop *l, int64_t delay_ms, loop_fn fn, void *arg)
{
	struct loop_timer *t = xnew(struct loop_timer);
	struct loop_timer **at = &l->timers;

	t->loop = l;
	t->due_ms = time_monotonic_ms() + delay_ms;
	t->fn = fn;
	t->arg = arg;
	while (*at && (*at)->due_ms <= t->due_ms)
		at = &(*at)->next;
	t->next = *at;
	*at = t;
	return t;
}

void loop_timer_cancel(struct loop_timer *t)
{
	if (!t)
		return;
	for (struct loop_timer **at = &t->loop->timers; *at; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			free(t);
			return;
		}
	}
}
