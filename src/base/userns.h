/* Becoming root of a user namespace that maps given ids. */
#pragma once

#include "base/error.h"

/*
 * Enter a new user namespace with these maps (lines of /proc/PID/uid_map), as its root. What is stored under mapped ids
 * on disk has the namespace's ids from then on. For single-threaded helpers.
 */
int userns_enter(const char *uid_map, const char *gid_map, struct error *err);
