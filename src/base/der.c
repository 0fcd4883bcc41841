#include "base/der.h"

#include <errno.h>

int der_next(struct der *from, unsigned *ret_tag, struct der *ret)
{
	size_t n, head = 2;

	if (from->left < 2 || (from->at[0] & 0x1f) == 0x1f)
		return -EINVAL;
	n = from->at[1];
	if (n & 0x80) {
		size_t bytes = n & 0x7f;

		if (bytes == 0 || bytes > 4 || from->left < head + bytes)
			return -EINVAL;
		n = 0;
		for (size_t i = 0; i < bytes; i++)
			n = n << 8 | from->at[2 + i];
		head += bytes;
	}
	if (from->left - head < n)
		return -EINVAL;
	*ret_tag = from->at[0];
	*ret = (struct der){.at = from->at + head, .left = n};
	from->at += head + n;
	from->left -= head + n;
	return 0;
}

int der_expect(struct der *from, unsigned tag, struct der *ret)
{
	unsigned got;

	return der_next(from, &got, ret) < 0 || got != tag ? -EINVAL : 0;
}

static int two_digits(const unsigned char *s)
{
	return (s[0] - '0') * 10 + s[1] - '0';
}

static bool in_range(const struct tm *t)
{
	return t->tm_mon >= 0 && t->tm_mon <= 11 && t->tm_mday >= 1 && t->tm_mday <= 31 && t->tm_hour <= 23 &&
	       t->tm_min <= 59 && t->tm_sec <= 59;
}

int der_time(struct der *from, struct tm *ret)
{
	struct der t;
	unsigned tag;
	const unsigned char *s;
	int year;

	if (der_next(from, &tag, &t) < 0 || (tag != DER_UTC_TIME && tag != DER_GENERAL_TIME))
		return -EINVAL;
	s = t.at;
	if (t.left != (tag == DER_UTC_TIME ? 13 : 15) || s[t.left - 1] != 'Z')
		return -EINVAL;
	for (size_t i = 0; i + 1 < t.left; i++)
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
	year = two_digits(s);
	if (tag == DER_UTC_TIME) {
		year += year < 50 ? 2000 : 1900;
		s += 2;
	} else {
		year = year * 100 + two_digits(s + 2);
		s += 4;
	}
	*ret = (struct tm){.tm_year = year - 1900,
			   .tm_mon = two_digits(s) - 1,
			   .tm_mday = two_digits(s + 2),
			   .tm_hour = two_digits(s + 4),
			   .tm_min = two_digits(s + 6),
			   .tm_sec = two_digits(s + 8)};
	return in_range(ret) ? 0 : -EINVAL;
}

/* Certificate: { tbs: { [version], serial, algorithm, issuer, { from, to }, subject, ... }, ... } */
int der_certificate(const void *der, size_t len, struct der_certificate *ret)
{
	struct der all = {.at = der, .left = len}, cert, tbs, skip, validity;

	if (der_expect(&all, DER_SEQUENCE, &cert) < 0 || all.left || der_expect(&cert, DER_SEQUENCE, &tbs) < 0)
		return -EINVAL;
	if (tbs.left && tbs.at[0] == DER_VERSION && der_expect(&tbs, DER_VERSION, &skip) < 0)
		return -EINVAL;
	if (der_expect(&tbs, DER_INTEGER, &skip) < 0 || der_expect(&tbs, DER_SEQUENCE, &skip) < 0 ||
	    der_expect(&tbs, DER_SEQUENCE, &skip) < 0 || der_expect(&tbs, DER_SEQUENCE, &validity) < 0 ||
	    der_expect(&tbs, DER_SEQUENCE, &ret->subject) < 0)
		return -EINVAL;
	return der_time(&validity, &ret->not_before) < 0 || der_time(&validity, &ret->not_after) < 0 ? -EINVAL : 0;
}
