#include "base/thread.h"

#include <signal.h>
#include <time.h>

#define STACK_BYTES (256 * 1024)

void mutex_init(struct mutex *m)
{
	pthread_mutex_init(&m->m, NULL);
}

void mutex_done(struct mutex *m)
{
	pthread_mutex_destroy(&m->m);
}

void mutex_lock(struct mutex *m) TSA(no_thread_safety_analysis)
{
	pthread_mutex_lock(&m->m);
}

void mutex_unlock(struct mutex *m) TSA(no_thread_safety_analysis)
{
	pthread_mutex_unlock(&m->m);
}

void cond_init(struct cond *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->c, &attr);
	pthread_condattr_destroy(&attr);
}

void cond_done(struct cond *c)
{
	pthread_cond_destroy(&c->c);
}

void cond_wait(struct cond *c, struct mutex *m)
{
	pthread_cond_wait(&c->c, &m->m);
}

bool cond_wait_until(struct cond *c, struct mutex *m, int64_t deadline_ms)
{
	struct timespec t = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};

	return pthread_cond_timedwait(&c->c, &m->m, &t) == 0;
}

void cond_broadcast(struct cond *c)
{
	pthread_cond_broadcast(&c->c);
}

static int start(const char *name, void *(*fn)(void *), void *arg, int detach, pthread_t *ret, struct error *err)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t t;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, detach);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&t, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r)
		return error_errno(err, r, "Start thread %s", name);
	/* a detached thread may be gone already; its name is decoration */
	if (detach == PTHREAD_CREATE_JOINABLE)
		pthread_setname_np(t, name);
	if (ret)
		*ret = t;
	return 0;
}

int thread_start(const char *name, void *(*fn)(void *), void *arg, struct error *err)
{
	return start(name, fn, arg, PTHREAD_CREATE_DETACHED, NULL, err);
}

int thread_start_joinable(const char *name, void *(*fn)(void *), void *arg, pthread_t *ret, struct error *err)
{
	return start(name, fn, arg, PTHREAD_CREATE_JOINABLE, ret, err);
}
