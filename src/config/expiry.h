/* "1H 30M": how long something lasts, as configuration says it. */
#pragma once

#include <stdint.h>

#include "base/error.h"

/*
 * The time that lies @text after @now_ns. Parts are separated by white space, each a number and a unit: S M H d w m y
 * (m is a month), each at most once; months and years as the calendar (UTC) has them. "": TIME_GO_ZERO, never.
 * Error: 400 `Invalid expiry expression`, also for what lies beyond the year 2200.
 */
int expiry_from(const char *text, int64_t now_ns, int64_t *ret_ns, struct error *err);
/* For tables of configuration keys. */
int expiry_check(const char *key, const char *value, struct error *err);
