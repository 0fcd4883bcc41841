/*
 * What an identity provider makes the client read: URLs, Set-Cookie headers, a jar that came from anywhere. The first
 * byte says which. What comes out must be fit for a request line, a header, a file that reads the same again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/cookies.h"
#include "client/weburl.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static bool is_clean(const char *s, const char *also)
{
	for (; *s; s++)
		if (((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f) && !strchr(also, *s))
			return false;
	return true;
}

static struct web_url origin(const char *text)
{
	struct web_url u = WEB_URL_INIT;
	auto_error struct error e = ERROR_INIT;

	check(web_url_parse(text, &u, &e) >= 0);
	return u;
}

static void fuzz_url(const char *text)
{
	auto_web_url struct web_url base = origin("https://a.example/b/c?d");
	auto_web_url struct web_url u = WEB_URL_INIT;
	auto_web_url struct web_url again = WEB_URL_INIT;
	auto_error struct error e = ERROR_INIT;
	auto_free char *out = NULL;

	if (web_url_resolve(&base, text, &u, &e) < 0)
		return;
	check(u.path[0] == '/' && is_clean(u.path, "") && is_clean(u.host, "") && *u.host);
	check(u.tls || web_host_is_loopback(u.host));
	out = web_url_text(&u);
	if (strlen(out) <= WEB_URL_MAX && !strchr(u.host, '%')) {
		check(web_url_parse(out, &again, &e) >= 0);
		check(streq(u.host, again.host) && u.port == again.port && streq(u.path, again.path));
	}
}

static void sends_clean(struct cookie_jar *jar, const struct web_url *where)
{
	auto_strbuf struct strbuf header = STRBUF_INIT;

	cookie_jar_header(jar, where, &header);
	check(is_clean(strbuf_str(&header), " "));
}

static void fuzz_header(const char *text)
{
	auto_web_url struct web_url here = origin("https://a/b");
	auto_web_url struct web_url there = origin("https://b/b");
	auto_cookie_jar struct cookie_jar jar = COOKIE_JAR_INIT;
	auto_strbuf struct strbuf header = STRBUF_INIT;

	cookie_jar_take_header(&jar, &here, text);
	sends_clean(&jar, &here);
	cookie_jar_header(&jar, &there, &header);
	check(header.len == 0);
}

static void fuzz_jar(const char *text)
{
	auto_web_url struct web_url here = origin("https://127.0.0.1:8443/1.0");
	auto_cookie_jar struct cookie_jar jar = COOKIE_JAR_INIT, again = COOKIE_JAR_INIT;
	auto_strbuf struct strbuf out = STRBUF_INIT;

	cookie_jar_parse(&jar, text, strlen(text));
	sends_clean(&jar, &here);
	cookie_jar_format(&jar, &out);
	cookie_jar_parse(&again, strbuf_str(&out), out.len);
	check(again.len <= jar.len);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	auto_free char *text = NULL;

	if (!size || memchr(data, '\0', size))
		return 0;
	text = xstrndup((const char *)data + 1, size - 1);
	switch (*data) {
	case 'u':
		fuzz_url(text);
		break;
	case 'h':
		fuzz_header(text);
		break;
	case 'j':
		fuzz_jar(text);
		break;
	default:
		break;
	}
	return 0;
}
