/* Addresses of servers. */
#include "client/address.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"
#include "base/strbuf.h"

void remote_address_done(struct remote_address *a)
{
	free(a->socket);
	free(a->host);
	free(a->path);
	*a = REMOTE_ADDRESS_INIT;
}

static int invalid(const char *text, const char *why, struct error *err)
{
	return error_set(err, 400, "Invalid address \"%s\": %s", text, why);
}

static bool has_bad_character(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= 0x20 || (unsigned char)*text == 0x7f || strchr("\"<>\\^`{|}", *text))
			return true;
	return false;
}

static int parse_port(const char *text, const char *port, unsigned default_port, unsigned *ret, struct error *err)
{
	uint32_t n = default_port;

	if (*port && (parse_u32(port, &n) < 0 || n == 0 || n > 65535))
		return invalid(text, "the port must be a number from 1 to 65535", err);
	*ret = n;
	return 0;
}

/* A host without brackets; the zone of an IPv6 address stands in URLs behind "%25". */
static int take_host(const char *text, const char *host, size_t len, bool is_v6, struct remote_address *ret,
		     struct error *err)
{
	auto_free char *name = xstrndup(host, len);
	char *zone = strstr(name, "%25");

	if (!len)
		return invalid(text, "the host is missing", err);
	if (is_v6 && zone)
		memmove(zone + 1, zone + 3, strlen(zone + 3) + 1);
	if (strpbrk(name, is_v6 ? "[]@/?#" : "[]@/?#%:"))
		return invalid(text, "this is no host name", err);
	if (is_v6 && strspn(name, "0123456789abcdefABCDEF:.") != strcspn(name, "%"))
		return invalid(text, "this is no IPv6 address", err);
	ret->host = TAKE_PTR(name);
	return 0;
}

/* @at: what stands between scheme and path */
static int parse_authority(const char *text, const char *at, unsigned default_port, struct remote_address *ret,
			   struct error *err)
{
	const char *first = strchr(at, ':'), *last = strrchr(at, ':'), *close;
	int r;

	if (strchr(at, '@'))
		return invalid(text, "user names are not supported", err);
	if (*at == '[') {
		close = strchr(at, ']');
		if (!close || (close[1] && close[1] != ':'))
			return invalid(text, "the brackets do not match", err);
		r = take_host(text, at + 1, (size_t)(close - at - 1), memchr(at, ':', (size_t)(close - at)), ret, err);
		return r < 0 ? r : parse_port(text, close[1] ? close + 2 : "", default_port, &ret->port, err);
	}
	if (first && first != last) {
		ret->port = default_port;
		return take_host(text, at, strlen(at), true, ret, err);
	}
	r = take_host(text, at, strcspn(at, ":"), false, ret, err);
	return r < 0 ? r : parse_port(text, first ? first + 1 : "", default_port, &ret->port, err);
}

static int parse_https(const char *text, const char *rest, unsigned default_port, struct remote_address *ret,
		       struct error *err)
{
	size_t len = strcspn(rest, "/?#");
	auto_free char *authority = xstrndup(rest, len);

	ret->path = xstrndup(rest + len, strcspn(rest + len, "?#"));
	return parse_authority(text, authority, default_port, ret, err);
}

static int parse_socket(const char *path, struct remote_address *ret)
{
	if (startswith(path, "//"))
		path += 2;
	ret->socket = xstrdup(path);
	ret->path = xstrdup("");
	return 0;
}

int remote_address_parse(const char *text, unsigned default_port, bool is_socket, struct remote_address *ret,
			 struct error *err)
{
	const char *scheme_end = strstr(text, "://");
	auto_free char *scheme = scheme_end ? xstrndup(text, (size_t)(scheme_end - text)) : NULL;

	if (!*text)
		return error_set(err, 400, "The address is empty");
	if (startswith(text, "unix:"))
		return parse_socket(text + strlen("unix:"), ret);
	if (*text == '/' || (is_socket && !scheme))
		return parse_socket(text, ret);
	if (has_bad_character(text))
		return invalid(text, "it holds a character that no address has", err);
	if (scheme && strcasecmp(scheme, "https") != 0)
		return error_set(err, 400, "Invalid URL scheme \"%s\" in \"%s\"", scheme, text);
	if (scheme)
		return parse_https(text, scheme_end + strlen("://"), default_port, ret, err);
	ret->path = xstrdup("");
	return parse_authority(text, text, default_port, ret, err);
}

char *remote_address_host_port(const struct remote_address *a)
{
	const char *zone = strchr(a->host, '%');

	if (!strchr(a->host, ':'))
		return xasprintf("%s:%u", a->host, a->port);
	if (!zone)
		return xasprintf("[%s]:%u", a->host, a->port);
	return xasprintf("[%.*s%%25%s]:%u", (int)(zone - a->host), a->host, zone + 1, a->port);
}

char *remote_address_url(const struct remote_address *a)
{
	auto_free char *where = a->socket ? NULL : remote_address_host_port(a);

	return a->socket ? xasprintf("unix://%s", a->socket) : xasprintf("https://%s", where);
}

char *fingerprint_normalise(const char *text)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	for (; *text; text++) {
		if (isxdigit((unsigned char)*text))
			strbuf_append_char(&b, (char)tolower((unsigned char)*text));
		else if (*text != ':' && *text != ' ' && *text != '\t' && *text != '\r')
			return NULL;
	}
	return b.len == SHA256_HEX ? strbuf_take(&b) : NULL;
}
