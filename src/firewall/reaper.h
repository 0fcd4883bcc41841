/* Processes that were started, and end when they like: the loop's thread waits for each. */
#pragma once

#include <sys/types.h>

#include "base/loop.h"

struct reaper;

/* @loop is borrowed. */
struct reaper *reaper_new(struct loop *loop);
/* The loop has ended: what it has not reaped is waited for here. They must have been told to end. */
void reaper_free(struct reaper *r);
/* Reap @pid once it ends; @pidfd is taken. Any thread. */
void reaper_add(struct reaper *r, pid_t pid, int pidfd);
