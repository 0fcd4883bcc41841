/* Times: nanoseconds since the epoch inside, RFC 3339 in UTC at the edge. */
#pragma once

#include <stdint.h>

#include "base/macros.h"

/* The API's two ways of saying "never": Go's zero time, and the epoch. */
#define TIME_GO_ZERO INT64_MIN
#define TIME_EPOCH 0
#define TIME_TEXT_MAX 40

int64_t time_now_ns(void); /* wall clock */
int64_t time_monotonic_ms(void);
/* "2026-11-23T17:44:05.123456789Z"; TIME_GO_ZERO gives "0001-01-01T00:00:00Z". Returns @buf. */
char *time_format(int64_t ns, char buf[TIME_TEXT_MAX]);
/* RFC 3339 with any zone and up to 9 decimals; -EINVAL. */
int time_parse(const char *s, int64_t *ret_ns) MUST_USE;
