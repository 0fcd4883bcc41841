/* What cookies.c and cookies_file.c share. */
#pragma once

#include "client/cookies.h"

void cookie_done(struct cookie *c);
/* Take @c over (it is empty afterwards): instead of an older one of the same name, host and path, or dropped. */
void cookie_jar_merge(struct cookie_jar *jar, struct cookie *c);
/* Nothing in it can break out of a header line. */
bool cookie_is_good(const struct cookie *c);
