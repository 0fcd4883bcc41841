/* Addresses of servers as users type them and config.yml keeps them; pure parsing. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define REMOTE_DEFAULT_PORT 8443

struct remote_address {
	char *socket;  /* path of a UNIX socket, "" for the default one; NULL: the network */
	char *host;    /* name or address, without brackets; NULL for a socket */
	unsigned port; /* 1 to 65535 */
	char *path;    /* what follows the host in a URL, "" or "/..." */
};

#define REMOTE_ADDRESS_INIT ((struct remote_address){0})
#define auto_remote_address CLEANUP(remote_address_done)
void remote_address_done(struct remote_address *a);

/*
 * "host", "host:port", "v6", "[v6]:port", "https://...", "unix://[path]", "unix:path", "/path". @default_port where
 * none is given; @is_socket: the whole text is the path of a socket that exists. Refused with 400: other schemes, user
 * names, empty hosts, ports out of range, paths without scheme, control characters, blanks.
 */
int remote_address_parse(const char *text, unsigned default_port, bool is_socket, struct remote_address *ret,
			 struct error *err);
/* "https://host:port" (IPv6 in brackets) or "unix://path"; the path of a URL is left out. The caller frees. */
char *remote_address_url(const struct remote_address *a);
/* "host:port" */
char *remote_address_host_port(const struct remote_address *a);

/*
 * A SHA-256 fingerprint as people write it (upper case, colons, blanks around) in its usual form; NULL when it is none.
 * The caller frees.
 */
char *fingerprint_normalise(const char *text);
