/*
 * What a client types at a console, given to the console at the pace at which the container reads it. Beyond what a
 * terminal holds the container's monitor would wait in the middle of a write, and with it all that is asked of it: such
 * a container could not even be stopped.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

struct console_input;

/*
 * What is written to *@ret_fd (a pipe, the caller's) goes to the console. @tty_fd: the container's side of it, where
 * there is a view of what is unread, or negative; @pty_fd: the monitor's side. Both stay the caller's, and open for as
 * long as this exists. All in the loop's thread.
 */
int console_input_new(struct loop *l, int tty_fd, int pty_fd, struct console_input **ret, int *ret_fd,
		      struct error *err);
/* Drops what has not been given yet. NULL is fine. */
void console_input_free(struct console_input *in);
