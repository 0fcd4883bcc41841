/*
 * The one error idiom: a fallible function takes `struct error *err` last, returns a negative
 * errno, and fills @err exactly once on failure. The message is one line for the user.
 */
#pragma once

#include "base/macros.h"

struct error {
	int status; /* HTTP status for the client, 400-599; 0 while unset */
	int errnum; /* positive errno that callers may branch on */
	char *msg;  /* one line, no full stop, owned by the struct */
};

#define ERROR_INIT ((struct error){0})
#define auto_error CLEANUP(error_clear)

/*
 * Set status and message; errnum follows from the status by the table in error.c.
 * Returns -errnum. Replaces (and frees) an earlier message.
 */
int error_set(struct error *err, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Set status 500, errnum and "message: strerror(errnum)". Returns -errnum. */
int error_errno(struct error *err, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Prefix the message: "new text: old text"; status and errnum stay. Returns -errnum. */
int error_wrap(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Change the status of a set error, when a layer knows better; errnum stays. Returns -errnum. */
int error_status(struct error *err, int status);
/* Move @src into @dst (which is cleared first); @src is left empty. Returns -errnum. */
int error_move(struct error *dst, struct error *src);
/* Free the message and reset; safe to repeat. */
void error_clear(struct error *err);
/* The caller does not care; @reason says why. Clears @err. */
void error_ignore(struct error *err, const char *reason);
/* The message, or "unknown error"; borrowed. */
const char *error_msg(const struct error *err);
