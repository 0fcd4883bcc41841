/*
 * One epoll thread that serves everything which waits: websockets, processes that may end, timers. Callbacks
 * run in that thread and must not block. Without fds that are ready and timers that are due, it sleeps.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/error.h"

struct loop;
struct loop_source;
struct loop_timer;

/* @events are EPOLL* bits. */
typedef void (*loop_fd_fn)(struct loop_source *src, uint32_t events, void *arg);
typedef void (*loop_fn)(void *arg);

/* An empty loop, which does not run yet. 500 when the kernel gives no fds. */
int loop_new(struct loop **ret, struct error *err);
/* Start the loop's thread; from then on callbacks run. */
int loop_start(struct loop *l, struct error *err);
/* Stop the thread and free everything; pending posts are dropped. Not from a callback. */
void loop_free(struct loop *l);

/* Run @fn(@arg) in the loop's thread; callable from any thread. Posts keep their order. */
void loop_post(struct loop *l, loop_fn fn, void *arg);

/* The following only from the loop's thread, or before loop_start(). The fd stays the caller's. */
struct loop_source *loop_add(struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *arg);
void loop_modify(struct loop_source *src, uint32_t events);
/* After this the callback is not called again; @src is gone. NULL is fine. */
void loop_remove(struct loop_source *src);
/* Call @fn once in @delay_ms. */
struct loop_timer *loop_timer_add(struct loop *l, int64_t delay_ms, loop_fn fn, void *arg);
/* Before it has fired. NULL is fine. */
void loop_timer_cancel(struct loop_timer *t);
