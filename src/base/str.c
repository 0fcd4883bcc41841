#include "base/str.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "base/alloc.h"

const char *endswith(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	if (m > n || strcmp(s + n - m, suffix) != 0)
		return NULL;
	return s + n - m;
}

size_t utf8_char_len(const char *text, size_t left)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n;

	if (!left)
		return 0;
	if (s[0] < 0x80)
		return 1;
	n = s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
	if (!n || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* too long a form, halves of surrogate pairs, beyond the last code point */
	if (n == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0)))
		return 0;
	if (n == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90)))
		return 0;
	return n;
}

char *str_strip(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return s;
}

static int parse_base(const char *s, int base, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &end, base);
	if (*end)
		return -EINVAL;
	if (errno == ERANGE)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_u64(const char *s, uint64_t *ret)
{
	return parse_base(s, 10, ret);
}

int parse_i64(const char *s, int64_t *ret)
{
	bool negative = *s == '-';
	uint64_t v;
	int r = parse_base(negative ? s + 1 : s, 10, &v);

	if (r < 0)
		return r;
	if (v > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	*ret = negative ? (int64_t)-v : (int64_t)v;
	return 0;
}

int parse_u32(const char *s, uint32_t *ret)
{
	uint64_t v;
	int r = parse_base(s, 10, &v);

	if (r < 0)
		return r;
	if (v > UINT32_MAX)
		return -ERANGE;
	*ret = (uint32_t)v;
	return 0;
}

int parse_octal(const char *s, unsigned *ret)
{
	uint64_t v;
	int r = parse_base(s, 8, &v);

	if (r < 0)
		return r;
	if (v > UINT32_MAX)
		return -ERANGE;
	*ret = (unsigned)v;
	return 0;
}

int parse_bool(const char *s, bool *ret)
{
	static const char *const yes[] = {"true", "1", "yes", "on"};
	static const char *const no[] = {"false", "0", "no", "off"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (strcasecmp(s, yes[i]) == 0) {
			*ret = true;
			return 0;
		}
		if (strcasecmp(s, no[i]) == 0) {
			*ret = false;
			return 0;
		}
	}
	return -EINVAL;
}

bool parse_bool_or(const char *s, bool def)
{
	bool v = def;

	if (!s || parse_bool(s, &v) < 0)
		return def;
	return v;
}

static const struct {
	const char *suffix;
	uint64_t factor;
} size_units[] = {
	{"", 1},
	{"B", 1},
	{"kB", 1000ull},
	{"MB", 1000ull * 1000},
	{"GB", 1000ull * 1000 * 1000},
	{"TB", 1000ull * 1000 * 1000 * 1000},
	{"PB", 1000ull * 1000 * 1000 * 1000 * 1000},
	{"EB", 1000ull * 1000 * 1000 * 1000 * 1000 * 1000},
	{"KiB", 1ull << 10},
	{"MiB", 1ull << 20},
	{"GiB", 1ull << 30},
	{"TiB", 1ull << 40},
	{"PiB", 1ull << 50},
	{"EiB", 1ull << 60},
};

int parse_size(const char *s, uint64_t *ret_bytes, struct error *err)
{
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)*s))
		return error_set(err, 400, "Invalid value: %s", s);
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno == ERANGE)
		return error_set(err, 400, "Invalid value: %s: number too large", s);
	for (size_t i = 0; i < ARRAY_SIZE(size_units); i++) {
		uint64_t bytes;

		if (!streq(end, size_units[i].suffix))
			continue;
		if (__builtin_mul_overflow((uint64_t)v, size_units[i].factor, &bytes) || bytes > (uint64_t)INT64_MAX)
			return error_set(err, 400, "Invalid value: %s: number too large", s);
		*ret_bytes = bytes;
		return 0;
	}
	return error_set(err, 400, "Invalid value: %s: unknown suffix \"%s\"", s, end);
}

static char *format_size(uint64_t bytes, double step, const char *const units[7])
{
	double v = (double)bytes;
	size_t i = 0;

	if (v < step)
		return xasprintf("%lluB", (unsigned long long)bytes);
	while (v >= step && i < 6) {
		v /= step;
		i++;
	}
	return xasprintf("%.2f%s", v, units[i]);
}

char *format_size_si(uint64_t bytes)
{
	static const char *const units[7] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};

	return format_size(bytes, 1000, units);
}

char *format_size_iec(uint64_t bytes)
{
	static const char *const units[7] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

	return format_size(bytes, 1024, units);
}
