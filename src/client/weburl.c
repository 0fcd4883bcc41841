/* URLs of web servers. */
#include "client/weburl.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "client/address.h"
#include "http/client.h"

void web_url_done(struct web_url *u)
{
	free(u->host);
	free(u->path);
	*u = WEB_URL_INIT;
}

bool web_host_is_loopback(const char *host)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (inet_pton(AF_INET6, host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6);
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return strcasecmp(host, "localhost") == 0;
}

static bool is_url_character(unsigned char c)
{
	return c > 0x20 && c < 0x7f && !strchr("\"<>\\^`{|}", c);
}

static int check_text(const char *text, struct error *err)
{
	if (strlen(text) > WEB_URL_MAX)
		return error_set(err, 400, "Invalid URL: it has more than %d characters", WEB_URL_MAX);
	for (const char *p = text; *p; p++)
		if (!is_url_character((unsigned char)*p))
			return error_set(err, 400, "Invalid URL: it holds a character that no URL has");
	return 0;
}

/* @rest: what follows "scheme://" */
static int parse_rest(const char *text, const char *rest, bool tls, struct web_url *ret, struct error *err)
{
	auto_remote_address struct remote_address at = REMOTE_ADDRESS_INIT;
	size_t len = strcspn(rest, "/?#");
	auto_free char *authority = xasprintf("https://%.*s", (int)len, rest);
	int r = remote_address_parse(authority, tls ? 443 : 80, false, &at, err);

	if (r < 0)
		return r;
	if (!tls && !web_host_is_loopback(at.host))
		return error_set(err, 400, "Invalid URL \"%.*s\": http is for this machine alone, it must be https",
				 (int)strcspn(text, "?"), text);
	for (char *p = at.host; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	rest += len;
	*ret = (struct web_url){
		.tls = tls,
		.host = TAKE_PTR(at.host),
		.port = at.port,
		.path = xasprintf("%s%.*s", *rest == '/' ? "" : "/", (int)strcspn(rest, "#"), rest),
	};
	return 0;
}

int web_url_parse(const char *text, struct web_url *ret, struct error *err)
{
	int r = check_text(text, err);

	if (r < 0)
		return r;
	if (strncasecmp(text, "https://", strlen("https://")) == 0)
		return parse_rest(text, text + strlen("https://"), true, ret, err);
	if (strncasecmp(text, "http://", strlen("http://")) == 0)
		return parse_rest(text, text + strlen("http://"), false, ret, err);
	return error_set(err, 400, "Invalid URL \"%.*s\": it must begin with https://", (int)strcspn(text, "?"), text);
}

char *web_url_plain_path(const struct web_url *u)
{
	return xstrndup(u->path, strcspn(u->path, "?"));
}

static void drop_last_segment(struct strbuf *path)
{
	while (path->len && path->data[path->len - 1] != '/')
		strbuf_truncate(path, path->len - 1);
	if (path->len)
		strbuf_truncate(path, path->len - 1);
}

/* Without "." and ".." (RFC 3986, 5.2.4); a query stays as it is. */
static char *normalised(const char *path)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	const char *end = path + strcspn(path, "?");

	while (path < end) {
		const char *segment = path + 1; /* it stands at a slash */
		size_t len = strcspn(segment, "/?");
		bool last = segment + len >= end;

		if (len == 2 && memcmp(segment, "..", 2) == 0)
			drop_last_segment(&out);
		else if (len != 1 || *segment != '.')
			strbuf_appendf(&out, "/%.*s", (int)len, segment);
		if (last && (len == 1 || len == 2) && memcmp(segment, "..", len) == 0)
			strbuf_append_char(&out, '/');
		path = segment + len;
	}
	if (!out.len)
		strbuf_append_char(&out, '/');
	strbuf_append(&out, end);
	return strbuf_take(&out);
}

static const char *scheme_of(const struct web_url *u)
{
	return u->tls ? "https" : "http";
}

/* Does @reference begin with a scheme? */
static bool is_absolute(const char *reference)
{
	size_t n = strcspn(reference, ":/?#");

	return n && reference[n] == ':';
}

int web_url_resolve(const struct web_url *base, const char *reference, struct web_url *ret, struct error *err)
{
	auto_free char *text = NULL;
	auto_free char *path = NULL;
	auto_free char *folder = NULL;
	int r = check_text(reference, err);

	if (r < 0)
		return r;
	if (is_absolute(reference))
		return web_url_parse(reference, ret, err);
	if (startswith(reference, "//")) {
		text = xasprintf("%s:%s", scheme_of(base), reference);
		return web_url_parse(text, ret, err);
	}
	folder = web_url_plain_path(base);
	if (*reference && *reference != '?' && *reference != '#')
		strrchr(folder, '/')[1] = '\0';
	path = xasprintf("%s%.*s", *reference == '/' ? "" : folder, (int)strcspn(reference, "#"), reference);
	*ret = (struct web_url){
		.tls = base->tls, .host = xstrdup(base->host), .port = base->port, .path = normalised(path)};
	return 0;
}

char *web_url_text(const struct web_url *u)
{
	bool v6 = strchr(u->host, ':') != NULL;
	auto_free char *port = u->port == (u->tls ? 443 : 80) ? xstrdup("") : xasprintf(":%u", u->port);

	return xasprintf("%s://%s%s%s%s%s", scheme_of(u), v6 ? "[" : "", u->host, v6 ? "]" : "", port, u->path);
}

void web_url_add_query(struct web_url *u, const char *name, const char *value)
{
	auto_free char *escaped = url_escaped(value);
	char *path = xasprintf("%s%c%s=%s", u->path, strchr(u->path, '?') ? '&' : '?', name, escaped);

	free(u->path);
	u->path = path;
}
