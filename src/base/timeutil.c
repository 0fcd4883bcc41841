#include "base/timeutil.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS 1000000000ll

int64_t time_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

int64_t time_monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

char *time_format(int64_t ns, char buf[TIME_TEXT_MAX])
{
	time_t sec;
	long frac;
	struct tm tm;
	size_t n;

	if (ns == TIME_GO_ZERO)
		return memcpy(buf, "0001-01-01T00:00:00Z", sizeof("0001-01-01T00:00:00Z"));
	sec = (time_t)(ns / NS);
	frac = (long)(ns % NS);
	if (frac < 0) {
		frac += NS;
		sec--;
	}
	gmtime_r(&sec, &tm);
	n = strftime(buf, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	if (frac) {
		n += (size_t)snprintf(buf + n, TIME_TEXT_MAX - n, ".%09ld", frac);
		while (buf[n - 1] == '0')
			n--;
	}
	buf[n++] = 'Z';
	buf[n] = '\0';
	return buf;
}

/* Exactly @n digits at *@s, which moves on; the number, or -1. */
static int digits(const char **s, int n)
{
	int v = 0;

	for (int i = 0; i < n; i++, (*s)++) {
		if (**s < '0' || **s > '9')
			return -1;
		v = v * 10 + (**s - '0');
	}
	return v;
}

static bool skip(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

/* "Z", or "+hh:mm" and the end. */
static int parse_zone(const char *s, long *ret_offset)
{
	bool west = *s == '-';
	int h, m;

	if ((*s == 'Z' || *s == 'z') && !s[1]) {
		*ret_offset = 0;
		return 0;
	}
	if (*s != '+' && *s != '-')
		return -EINVAL;
	s++;
	h = digits(&s, 2);
	if (h < 0 || h > 23 || !skip(&s, ':'))
		return -EINVAL;
	m = digits(&s, 2);
	if (m < 0 || m > 59 || *s)
		return -EINVAL;
	*ret_offset = (west ? -1 : 1) * (h * 3600L + m * 60L);
	return 0;
}

/* "2026-11-23T17:44:05"; the rest, or NULL. */
static const char *parse_clock(const char *s, struct tm *ret)
{
	static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year = digits(&s, 4);
	int month = year >= 0 && skip(&s, '-') ? digits(&s, 2) : -1;
	int day = month >= 0 && skip(&s, '-') ? digits(&s, 2) : -1;
	int hour = day >= 0 && (skip(&s, 'T') || skip(&s, 't')) ? digits(&s, 2) : -1;
	int minute = hour >= 0 && skip(&s, ':') ? digits(&s, 2) : -1;
	int second = minute >= 0 && skip(&s, ':') ? digits(&s, 2) : -1;
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	if (second < 0 || second > 59 || minute > 59 || hour > 23 || month < 1 || month > 12 || day < 1 ||
	    day > month_days[month - 1] || (month == 2 && day == 29 && !leap))
		return NULL;
	*ret = (struct tm){.tm_year = year - 1900,
			   .tm_mon = month - 1,
			   .tm_mday = day,
			   .tm_hour = hour,
			   .tm_min = minute,
			   .tm_sec = second};
	return s;
}

int time_parse(const char *s, int64_t *ret_ns)
{
	struct tm tm;
	long offset, frac = 0;
	const char *rest = parse_clock(s, &tm);
	int64_t ns;

	if (!rest)
		return -EINVAL;
	if (skip(&rest, '.')) {
		long scale = NS / 10;

		if (*rest < '0' || *rest > '9')
			return -EINVAL;
		for (; *rest >= '0' && *rest <= '9' && scale; rest++, scale /= 10)
			frac += (*rest - '0') * scale;
	}
	if (parse_zone(rest, &offset) < 0)
		return -EINVAL;
	if (tm.tm_year + 1900 <= 1) {
		*ret_ns = TIME_GO_ZERO;
		return 0;
	}
	if (__builtin_mul_overflow((int64_t)timegm(&tm) - offset, NS, &ns) || __builtin_add_overflow(ns, frac, &ns))
		return -EINVAL;
	*ret_ns = ns;
	return 0;
}
