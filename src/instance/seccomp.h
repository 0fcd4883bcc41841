/* The seccomp policy of an instance as liblxc's text, version 2. */
#pragma once

#include "base/error.h"
#include "base/strmap.h"

/* For the commit point: keys that exclude each other. -EINVAL (400). */
int seccomp_validate(const struct strmap *config, struct error *err);
/*
 * The policy text, owned by the caller; NULL when there is none to load (deny_default off and nothing else asked).
 * @architecture: "x86_64" ...; only deny_compat depends on it. A pure function.
 */
char *seccomp_policy(const struct strmap *config, const char *architecture);
