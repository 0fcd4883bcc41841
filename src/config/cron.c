#include "config/cron.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strv.h"

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun",
				     "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

static const struct field {
	const char *name;
	unsigned min, max;
	const char *const *names; /* of min, min + 1, ... */
	size_t n_names;
} fields[FIELDS] = {
	[MINUTE] = {"minute", 0, 59, NULL, 0},
	[HOUR] = {"hour", 0, 23, NULL, 0},
	[DAY] = {"day of month", 1, 31, NULL, 0},
	[MONTH] = {"month", 1, 12, months, ARRAY_SIZE(months)},
	[WEEKDAY] = {"day of week", 0, 6, weekdays, ARRAY_SIZE(weekdays)},
};

static const struct {
	const char *name;
	const char *cron; /* NULL: by no clock */
} aliases[] = {
	{"@hourly", "0 * * * *"}, {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
	{"@weekly", "0 0 * * 0"}, {"@monthly", "0 0 1 * *"}, {"@annually", "0 0 1 1 *"},
	{"@yearly", "0 0 1 1 *"}, {"@startup", NULL},        {"@never", NULL},
};

static bool parse_value(const struct field *f, const char *text, unsigned *ret)
{
	uint32_t v;

	for (size_t k = 0; k < f->n_names; k++) {
		if (strcasecmp(text, f->names[k]) == 0) {
			*ret = f->min + (unsigned)k;
			return true;
		}
	}
	if (parse_u32(text, &v) < 0 || v < f->min || v > f->max)
		return false;
	*ret = v;
	return true;
}

/* "*", "5", "1-5", each perhaps with "/2". */
static bool parse_part(const struct field *f, char *text, uint64_t *set)
{
	char *slash = strchr(text, '/'), *dash;
	unsigned from = f->min, to = f->max;
	uint32_t step = 1;

	if (slash) {
		*slash = '\0';
		if (parse_u32(slash + 1, &step) < 0 || step == 0 || step > f->max)
			return false;
	}
	dash = strchr(text, '-');
	if (dash)
		*dash = '\0';
	if (streq(text, "*")) {
		if (dash)
			return false;
	} else if (!parse_value(f, text, &from)) {
		return false;
	} else if (dash) {
		if (!parse_value(f, dash + 1, &to) || to < from)
			return false;
	} else if (!slash) {
		to = from;
	}
	for (unsigned v = from; v <= to; v += step)
		*set |= UINT64_C(1) << v;
	return true;
}

static int parse_field(const struct field *f, const char *text, uint64_t *set, struct error *err)
{
	auto_strv struct strv parts = STRV_INIT;

	strv_split(&parts, text, ',');
	*set = 0;
	for (size_t k = 0; k < parts.len; k++)
		if (!parse_part(f, parts.items[k], set))
			return error_set(err, 400, "Invalid %s \"%s\" in schedule", f->name, text);
	return *set ? 0 : error_set(err, 400, "Invalid %s \"%s\" in schedule", f->name, text);
}

int cron_parse(const char *text, struct cron *ret, struct error *err)
{
	auto_strv struct strv words = STRV_INIT;
	uint64_t sets[FIELDS];
	int r = 0;

	strv_split(&words, text, ' ');
	if (words.len != FIELDS)
		return error_set(err, 400,
				 "Schedule must be of the form: <minute> <hour> <day-of-month> <month> <day-of-week>");
	for (size_t k = 0; k < FIELDS && r == 0; k++)
		r = parse_field(&fields[k], words.items[k], &sets[k], err);
	if (r < 0)
		return r;
	*ret = (struct cron){.minutes = sets[MINUTE],
			     .hours = (uint32_t)sets[HOUR],
			     .days = (uint32_t)sets[DAY],
			     .months = (uint32_t)sets[MONTH],
			     .weekdays = (uint32_t)sets[WEEKDAY],
			     .any_day = startswith(words.items[DAY], "*"),
			     .any_weekday = startswith(words.items[WEEKDAY], "*")};
	return 0;
}

static bool has(uint64_t set, int value)
{
	return value >= 0 && value < 64 && (set >> value & 1);
}

bool cron_matches(const struct cron *c, const struct tm *tm)
{
	bool day = has(c->days, tm->tm_mday), weekday = has(c->weekdays, tm->tm_wday);

	if (!has(c->minutes, tm->tm_min) || !has(c->hours, tm->tm_hour) || !has(c->months, tm->tm_mon + 1))
		return false;
	/* as ever: either of two that are both said is enough */
	return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

/* The parts of a schedule, trimmed. */
static void split(const char *text, struct strv *ret)
{
	for (const char *p = text; *p;) {
		const char *end = strstr(p, ", ");
		auto_free char *part = end ? xstrndup(p, (size_t)(end - p)) : xstrdup(p);

		strv_add(ret, str_strip(part));
		p = end ? end + 2 : p + strlen(p);
	}
}

static size_t find_alias(const char *text)
{
	size_t k = 0;

	while (k < ARRAY_SIZE(aliases) && strcasecmp(aliases[k].name, text) != 0)
		k++;
	return k;
}

int schedule_check(const char *key UNUSED, const char *value, struct error *err)
{
	auto_strv struct strv parts = STRV_INIT;
	struct cron c;
	int r = 0;

	split(value, &parts);
	for (size_t k = 0; k < parts.len && r == 0; k++) {
		if (find_alias(parts.items[k]) == ARRAY_SIZE(aliases))
			r = cron_parse(parts.items[k], &c, err);
	}
	return r;
}

static bool part_matches(const char *part, const struct tm *tm)
{
	auto_error struct error bad = ERROR_INIT;
	size_t alias = find_alias(part);
	const char *text = alias < ARRAY_SIZE(aliases) ? aliases[alias].cron : part;
	struct cron c;

	if (!text)
		return false;
	if (cron_parse(text, &c, &bad) < 0) {
		error_ignore(&bad, "it was checked when it was set");
		return false;
	}
	return cron_matches(&c, tm);
}

bool schedule_matches(const char *text, const struct tm *tm)
{
	auto_strv struct strv parts = STRV_INIT;
	bool due = false;

	split(text, &parts);
	for (size_t k = 0; k < parts.len; k++) {
		if (strcasecmp(parts.items[k], "@never") == 0)
			return false;
		due = due || part_matches(parts.items[k], tm);
	}
	return due;
}

bool schedule_at_startup(const char *text)
{
	auto_strv struct strv parts = STRV_INIT;
	bool startup = false;

	split(text, &parts);
	for (size_t k = 0; k < parts.len; k++) {
		if (strcasecmp(parts.items[k], "@never") == 0)
			return false;
		startup = startup || strcasecmp(parts.items[k], "@startup") == 0;
	}
	return startup;
}
