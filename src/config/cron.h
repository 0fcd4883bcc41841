/* When something is to be done again and again, as `crontab` says it. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/error.h"

/* Minutes at which it is due: bit n of a set is the value n. */
struct cron {
	uint64_t minutes;          /* 0-59 */
	uint32_t hours;            /* 0-23 */
	uint32_t days;             /* 1-31 */
	uint32_t months;           /* 1-12 */
	uint32_t weekdays;         /* 0-6, Sunday is 0 */
	bool any_day, any_weekday; /* they were "*": then the other alone decides */
};

/* Five fields: numbers, names of months and weekdays, ranges, steps, lists. 400. */
int cron_parse(const char *text, struct cron *ret, struct error *err);
/* Is it due in the minute @tm? */
bool cron_matches(const struct cron *c, const struct tm *tm);

/*
 * A schedule is one of these, or @hourly, @daily, @midnight, @weekly, @monthly, @annually, @yearly, @startup, @never;
 * several are separated by ", ". For tables of configuration keys: 400.
 */
int schedule_check(const char *key, const char *value, struct error *err);
/* Is the schedule @text (checked) due in the minute @tm? */
bool schedule_matches(const char *text, const struct tm *tm);
/* Is @startup part of it? */
bool schedule_at_startup(const char *text);
