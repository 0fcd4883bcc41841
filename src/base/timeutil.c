#include "base/timeutil.h"

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

static int parse_zone(const char *s, long *ret_offset)
{
	int h, m, used = 0;
	char sign;

	if ((*s == 'Z' || *s == 'z') && !s[1]) {
		*ret_offset = 0;
		return 0;
	}
	if (sscanf(s, "%c%2d:%2d%n", &sign, &h, &m, &used) != 3 || s[used] || (sign != '+' && sign != '-'))
		return -EINVAL;
	*ret_offset = (sign == '-' ? -1 : 1) * (h * 3600L + m * 60L);
	return 0;
}

int time_parse(const char *s, int64_t *ret_ns)
{
	struct tm tm = {0};
	long offset, frac = 0;
	char *rest = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t sec;

	if (!rest)
		return -EINVAL;
	if (*rest == '.') {
		long scale = NS / 10;

		for (rest++; *rest >= '0' && *rest <= '9' && scale; rest++, scale /= 10)
			frac += (*rest - '0') * scale;
	}
	if (parse_zone(rest, &offset) < 0)
		return -EINVAL;
	if (tm.tm_year + 1900 <= 1) {
		*ret_ns = TIME_GO_ZERO;
		return 0;
	}
	sec = (int64_t)timegm(&tm) - offset;
	if (__builtin_mul_overflow(sec, NS, ret_ns))
		return -EINVAL;
	*ret_ns += frac;
	return 0;
}
