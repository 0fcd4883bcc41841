#include "config/expiry.h"

#include <string.h>
#include <time.h>

#include "base/str.h"
#include "base/strv.h"
#include "base/timeutil.h"

#define NS_PER_S INT64_C(1000000000)
#define NUMBER_MAX 1000000000u
#define YEAR_MAX 2200

static const char units[] = "SMHdwmy";

/* "90M" to its number, by unit; each unit once. */
static int parse_part(char *part, uint32_t amount[sizeof(units) - 1], unsigned *seen)
{
	size_t len = strlen(part);
	const char *unit = len > 1 ? strchr(units, part[len - 1]) : NULL;
	size_t k;

	if (!unit)
		return -EINVAL;
	k = (size_t)(unit - units);
	if (*seen & 1u << k)
		return -EINVAL;
	*seen |= 1u << k;
	part[len - 1] = '\0';
	/* digits alone: no sign */
	if (part[0] < '0' || part[0] > '9' || parse_u32(part, &amount[k]) < 0 || amount[k] > NUMBER_MAX)
		return -EINVAL;
	return 0;
}

static int add(int64_t now_ns, const uint32_t amount[sizeof(units) - 1], int64_t *ret_ns)
{
	time_t seconds = (time_t)(now_ns / NS_PER_S);
	int64_t exact;
	struct tm tm;

	/* days first: they bound all that follows, so that nothing can overflow */
	if (amount[6] > YEAR_MAX || amount[5] > YEAR_MAX * 12u || amount[4] > YEAR_MAX * 53u ||
	    amount[3] > YEAR_MAX * 366u)
		return -EINVAL;
	gmtime_r(&seconds, &tm);
	tm.tm_year += (int)amount[6];
	tm.tm_mon += (int)amount[5];
	tm.tm_mday += (int)(amount[4] * 7 + amount[3]);
	exact = (int64_t)timegm(&tm) + (int64_t)amount[2] * 3600 + (int64_t)amount[1] * 60 + amount[0];
	seconds = (time_t)exact;
	if (!gmtime_r(&seconds, &tm) || tm.tm_year + 1900 > YEAR_MAX)
		return -EINVAL;
	*ret_ns = exact * NS_PER_S + now_ns % NS_PER_S;
	return 0;
}

int expiry_from(const char *text, int64_t now_ns, int64_t *ret_ns, struct error *err)
{
	auto_strv struct strv parts = STRV_INIT;
	uint32_t amount[sizeof(units) - 1] = {0};
	unsigned seen = 0;
	int r = 0;

	strv_split_words(&parts, text);
	if (!parts.len) {
		*ret_ns = TIME_GO_ZERO;
		return 0;
	}
	for (size_t i = 0; r == 0 && i < parts.len; i++)
		r = parse_part(parts.items[i], amount, &seen);
	if (r == 0)
		r = add(now_ns, amount, ret_ns);
	return r < 0 ? error_set(err, 400, "Invalid expiry expression") : 0;
}

int expiry_check(const char *key UNUSED, const char *value, struct error *err)
{
	int64_t ns;

	return expiry_from(value, time_now_ns(), &ns, err);
}
