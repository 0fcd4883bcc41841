/* Network addresses as users write them: host and port, with all the short forms. Pure text; nothing is resolved here.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct host_port {
	char *host; /* without brackets; "" is every address */
	unsigned port;
};

#define HOST_PORT_INIT ((struct host_port){0})
#define auto_host_port CLEANUP(host_port_done)
void host_port_done(struct host_port *a);

/*
 * "192.0.2.1", "192.0.2.1:9443", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:9443", "name", "name:9443", "name:",
 * ":9443", ":": a missing port is @default_port. 400 `Invalid address "x": reason`.
 */
int host_port_parse(const char *text, unsigned default_port, struct host_port *ret, struct error *err);
/* "host:port", IPv6 addresses in brackets; the caller frees. */
char *host_port_format(const char *host, unsigned port);
/* The host of "host:port" as host_port_format() makes it; the caller frees. */
char *host_port_host(const char *text);
/* Is it an IPv4, or IPv6, address? */
bool address_is_ipv4(const char *host);
bool address_is_ipv6(const char *host);
/* "", "0.0.0.0" and "::". */
bool address_is_wildcard(const char *host);
