/* Listening TCP sockets for the addresses that users configure, and what those addresses are to clients. */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/strv.h"

#define LISTEN_SOCKETS_MAX 8 /* a name may have several addresses */

struct listen_set {
	char *text; /* as configured; NULL: nothing */
	int fds[LISTEN_SOCKETS_MAX];
	size_t n;
};

#define LISTEN_SET_INIT ((struct listen_set){0})
/* Closes the sockets. */
void listen_set_done(struct listen_set *s);
/*
 * Bind and listen. 400 for an address that is none, or a name that does not resolve (`Couldn't resolve "x"`); 500
 * `Cannot listen on network HTTPS socket "x": ...`, with err->errnum EADDRINUSE where that is the reason.
 */
int listen_set_open(const char *text, unsigned default_port, struct listen_set *ret, struct error *err);
/* "host:port" for each address at which clients reach @text: itself, or, for a wildcard, all of the host's addresses.
 */
void listen_addresses(const char *text, unsigned default_port, struct strv *ret);
