/* Names of snapshots by a pattern. Pure functions. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/strv.h"

/*
 * The name that @pattern gives at @now_ns, given those that are @taken. In it "%d" is the next number, starting with 0,
 * and
 * "{{ creation_date }}" the time (UTC), by default as 2026-11-26_17-30-00, or as in "{{ creation_date|date:'20060102'
 * }}" by Go's layout: 2006 01 02 15 04 05. A name without number that is taken gets one behind a hyphen. The caller
 * frees. 400.
 */
int snapshot_name_make(const char *pattern, int64_t now_ns, const struct strv *taken, char **ret, struct error *err);
/* For tables of configuration keys: is the pattern one of these? */
int snapshot_pattern_check(const char *key, const char *value, struct error *err);
