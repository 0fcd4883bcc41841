#include "base/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define HOST_MAX 253 /* bytes of a host name */

void host_port_done(struct host_port *a)
{
	free(a->host);
	*a = HOST_PORT_INIT;
}

bool address_is_ipv4(const char *host)
{
	struct in_addr a;

	return inet_pton(AF_INET, host, &a) == 1;
}

bool address_is_ipv6(const char *host)
{
	struct in6_addr a;

	return inet_pton(AF_INET6, host, &a) == 1;
}

bool address_is_wildcard(const char *host)
{
	struct in6_addr a;

	return !*host || streq(host, "0.0.0.0") || (inet_pton(AF_INET6, host, &a) == 1 && IN6_IS_ADDR_UNSPECIFIED(&a));
}

static int invalid(const char *text, const char *reason, struct error *err)
{
	return error_set(err, 400, "Invalid address \"%s\": %s", text, reason);
}

static bool name_is_valid(const char *s)
{
	size_t len = strlen(s);

	if (len > HOST_MAX || s[0] == '-' || s[0] == '.')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("-._", *s))
			return false;
	return true;
}

/* "" is the default. */
static int parse_port(const char *text, const char *s, unsigned default_port, unsigned *ret, struct error *err)
{
	uint32_t port;

	if (!*s) {
		*ret = default_port;
		return 0;
	}
	if (strlen(s) > 5 || parse_u32(s, &port) < 0 || port == 0 || port > 65535)
		return invalid(text, "the port must be a number from 1 to 65535", err);
	*ret = port;
	return 0;
}

static int parse_bracketed(const char *text, unsigned default_port, struct host_port *ret, struct error *err)
{
	const char *end = strchr(text, ']');
	auto_free char *host = NULL;
	int r;

	if (!end)
		return invalid(text, "the closing bracket is missing", err);
	host = xstrndup(text + 1, (size_t)(end - text - 1));
	if (!address_is_ipv6(host))
		return invalid(text, "what stands in brackets must be an IPv6 address", err);
	if (end[1] && end[1] != ':')
		return invalid(text, "after the bracket only a port may follow", err);
	r = parse_port(text, end[1] ? end + 2 : "", default_port, &ret->port, err);
	if (r == 0)
		ret->host = TAKE_PTR(host);
	return r;
}

int host_port_parse(const char *text, unsigned default_port, struct host_port *ret, struct error *err)
{
	const char *colon = strchr(text, ':');
	auto_free char *host = NULL;
	int r;

	if (*text == '[')
		return parse_bracketed(text, default_port, ret, err);
	if (colon && strchr(colon + 1, ':')) {
		if (!address_is_ipv6(text))
			return invalid(text, "more than one colon, and no IPv6 address", err);
		*ret = (struct host_port){.host = xstrdup(text), .port = default_port};
		return 0;
	}
	host = xstrndup(text, colon ? (size_t)(colon - text) : strlen(text));
	if (!name_is_valid(host) && *host)
		return invalid(text, "this is neither an address nor a host name", err);
	if (!*text)
		return invalid(text, "it is empty", err);
	r = parse_port(text, colon ? colon + 1 : "", default_port, &ret->port, err);
	if (r == 0)
		ret->host = TAKE_PTR(host);
	return r;
}

char *host_port_format(const char *host, unsigned port)
{
	return xasprintf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

char *host_port_host(const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);

	if (len >= 2 && text[0] == '[' && text[len - 1] == ']')
		return xstrndup(text + 1, len - 2);
	return xstrndup(text, len);
}
