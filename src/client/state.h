/* The body of a state change, shared by the commands that start and stop instances. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* JSON text; @timeout in seconds, -1 for no end; the caller frees. */
char *state_body(const char *action, int64_t timeout, bool force, bool stateful);
