/* Cookies in memory: who set them, and to whom they go. Their file is in cookies_file.c. */
#include "client/cookies.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strv.h"
#include "base/timeutil.h"
#include "client/cookies_private.h"

#define COOKIES_MAX 200
#define COOKIE_SIZE_MAX (64u * 1024)
#define NS_PER_S 1000000000LL

void cookie_done(struct cookie *c)
{
	free(c->name);
	free(c->value);
	free(c->host);
	free(c->path);
	*c = (struct cookie){0};
}

void cookie_jar_done(struct cookie_jar *jar)
{
	for (size_t i = 0; i < jar->len; i++)
		cookie_done(&jar->items[i]);
	free(jar->items);
	*jar = COOKIE_JAR_INIT;
}

static bool is_same(const struct cookie *a, const struct cookie *b)
{
	return streq(a->name, b->name) && streq(a->host, b->host) && streq(a->path, b->path) &&
	       (a->port == b->port || !a->port || !b->port);
}

void cookie_jar_merge(struct cookie_jar *jar, struct cookie *c)
{
	for (size_t i = 0; i < jar->len; i++) {
		struct cookie *old = &jar->items[i];

		if (!is_same(old, c))
			continue;
		if (old->updated <= c->updated) {
			c->creation = MIN_OF(c->creation, old->creation);
			cookie_done(old);
			*old = *c;
			*c = (struct cookie){0};
		} else {
			cookie_done(c);
		}
		return;
	}
	if (jar->len == COOKIES_MAX) {
		cookie_done(c);
		return;
	}
	jar->items = xreallocarray(jar->items, jar->len + 1, sizeof(*jar->items));
	jar->items[jar->len++] = *c;
	*c = (struct cookie){0};
}

/* RFC 6265, 4.1.1; a name is a token. */
static bool is_good_name(const char *s)
{
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", *p))
			return false;
	return *s;
}

static bool is_good_value(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f || strchr("\",;\\", *s))
			return false;
	return true;
}

bool cookie_is_good(const struct cookie *c)
{
	return is_good_name(c->name) && is_good_value(c->value) && is_good_value(c->path) && c->path[0] == '/' &&
	       *c->host && is_good_value(c->host) && strlen(c->value) <= COOKIE_SIZE_MAX;
}

void cookie_jar_set(struct cookie_jar *jar, const struct web_url *origin, const char *name, const char *value,
		    const char *path, int64_t expires)
{
	int64_t now = time_now_ns();
	struct cookie c = {
		.name = xstrdup(name),
		.value = xstrdup(value),
		.host = xstrdup(origin->host),
		.port = origin->port,
		.path = xstrdup(path),
		.secure = origin->tls,
		.persistent = expires != COOKIE_NEVER,
		.expires = expires,
		.creation = now,
		.last_access = now,
		.updated = now,
	};

	if (cookie_is_good(&c))
		cookie_jar_merge(jar, &c);
	else
		cookie_done(&c);
}

/* ---- Set-Cookie ---- */

/* The folder of a path (RFC 6265, 5.1.4); the caller frees. */
static char *default_path(const struct web_url *origin)
{
	char *path = web_url_plain_path(origin);
	char *slash = strrchr(path, '/');

	slash[slash == path ? 1 : 0] = '\0';
	return path;
}

/* "Wed, 21 Oct 2026 07:28:00 GMT", dashes for blanks too; -EINVAL. */
static int parse_http_date(const char *text, int64_t *ret)
{
	static const char *const formats[] = {"%a, %d %b %Y %H:%M:%S", "%a, %d-%b-%Y %H:%M:%S"};
	struct tm tm;
	time_t t;

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		memset(&tm, 0, sizeof(tm));
		if (!strptime(text, formats[i], &tm))
			continue;
		t = timegm(&tm);
		*ret = t > COOKIE_NEVER / NS_PER_S - 1 ? COOKIE_NEVER - 1 : (int64_t)t * NS_PER_S;
		return 0;
	}
	return -EINVAL;
}

static void take_max_age(const char *text, int64_t *expires)
{
	int64_t seconds, now = time_now_ns();

	if (parse_i64(text, &seconds) < 0)
		return;
	if (seconds <= 0)
		*expires = 1;
	else
		*expires = seconds > (COOKIE_NEVER - 1 - now) / NS_PER_S ? COOKIE_NEVER - 1 : now + seconds * NS_PER_S;
}

/* One attribute, "Name=value" or "Name"; others than these three change nothing. */
static void take_attribute(char *text, char **path, int64_t *expires, bool *has_age)
{
	char *value = strchr(text, '=');
	char *name;

	if (value)
		*value++ = '\0';
	name = str_strip(text);
	value = value ? str_strip(value) : text + strlen(text);
	if (strcasecmp(name, "path") == 0 && *value == '/') {
		free(*path);
		*path = xstrdup(value);
	} else if (strcasecmp(name, "max-age") == 0) {
		take_max_age(value, expires);
		*has_age = true;
	} else if (strcasecmp(name, "expires") == 0 && !*has_age && parse_http_date(value, expires) < 0) {
		*expires = COOKIE_NEVER;
	}
}

static void take_cookie(struct cookie_jar *jar, const struct web_url *origin, const char *text)
{
	auto_strv struct strv parts = STRV_INIT;
	auto_free char *path = default_path(origin);
	int64_t expires = COOKIE_NEVER;
	bool has_age = false;
	char *value;

	strv_split(&parts, text, ';');
	value = parts.len ? strchr(parts.items[0], '=') : NULL;
	if (!value)
		return;
	*value++ = '\0';
	for (size_t i = 1; i < parts.len; i++)
		take_attribute(parts.items[i], &path, &expires, &has_age);
	cookie_jar_set(jar, origin, str_strip(parts.items[0]), str_strip(value), path, expires);
}

/* Does a new cookie begin behind the comma at @p? There a name and "=" follow; in a date they do not. */
static bool begins_cookie(const char *p)
{
	size_t n;

	p += 1 + strspn(p + 1, " ");
	n = strcspn(p, "=;, ");
	return n && p[n] == '=';
}

void cookie_jar_take_header(struct cookie_jar *jar, const struct web_url *origin, const char *header)
{
	while (*header) {
		const char *end = header;
		auto_free char *one = NULL;

		while (*end && !(*end == ',' && begins_cookie(end)))
			end++;
		one = xstrndup(header, (size_t)(end - header));
		take_cookie(jar, origin, one);
		header = *end ? end + 1 : end;
	}
}

/* ---- Cookie ---- */

/* RFC 6265, 5.1.4 */
static bool path_matches(const char *cookie, const char *request)
{
	const char *rest = startswith(request, cookie);

	return rest && (!*rest || *rest == '/' || cookie[strlen(cookie) - 1] == '/');
}

static bool matches(const struct cookie *c, const struct web_url *url, const char *path, int64_t now)
{
	return streq(c->host, url->host) && (!c->port || c->port == url->port) && (!c->secure || url->tls) &&
	       c->expires > now && path_matches(c->path, path);
}

void cookie_jar_header(struct cookie_jar *jar, const struct web_url *url, struct strbuf *ret)
{
	auto_free char *path = web_url_plain_path(url);
	int64_t now = time_now_ns();

	for (size_t i = 0; i < jar->len; i++) {
		struct cookie *c = &jar->items[i];

		if (!matches(c, url, path, now))
			continue;
		c->last_access = now;
		strbuf_appendf(ret, "%s%s=%s", ret->len ? "; " : "", c->name, c->value);
	}
}
