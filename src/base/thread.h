/* Mutexes with clang's thread-safety annotations, and named threads. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#if defined(__clang__)
#define TSA(x) __attribute__((x))
#else
#define TSA(x)
#endif
/* On a struct's field: which lock protects it. In C clang cannot name a sibling field, so it checks only that some lock
 * is held. */
#define GUARDED_BY(m) TSA(guarded_var)
#define REQUIRES(m) TSA(requires_capability(m))
#define EXCLUDES(m) TSA(locks_excluded(m))
/* On the functions that make, or free, an object which no other thread can see (yet, or any more). */
#define UNSHARED TSA(no_thread_safety_analysis)

struct TSA(capability("mutex")) mutex {
	pthread_mutex_t m;
};

#define MUTEX_INIT                        \
	{                                 \
		PTHREAD_MUTEX_INITIALIZER \
	}

/* A lock does not nest on itself. mutex_done() wants it free. */
void mutex_init(struct mutex *m);
void mutex_done(struct mutex *m);
/* Wait for the lock, without limit; give it back. */
void mutex_lock(struct mutex *m) TSA(acquire_capability(*m));
void mutex_unlock(struct mutex *m) TSA(release_capability(*m));

/* Tells the analysis that the caller's lock is this one too, reached by another pointer. */
static inline void mutex_is_held(const struct mutex *m) TSA(assert_capability(*m))
{
	(void)m;
}

struct cond {
	pthread_cond_t c;
};

/* Uses CLOCK_MONOTONIC. */
void cond_init(struct cond *c);
void cond_done(struct cond *c);
void cond_wait(struct cond *c, struct mutex *m) REQUIRES(*m);
/* Wait until the CLOCK_MONOTONIC time @deadline_ms; false when it has passed. */
bool cond_wait_until(struct cond *c, struct mutex *m, int64_t deadline_ms) REQUIRES(*m);
void cond_broadcast(struct cond *c);

/* Start a detached thread with a small stack (256 KiB) and all signals blocked; @name at most 15 bytes. */
int thread_start(const char *name, void *(*fn)(void *), void *arg, struct error *err);
/* Same, joinable. */
int thread_start_joinable(const char *name, void *(*fn)(void *), void *arg, pthread_t *ret, struct error *err);
