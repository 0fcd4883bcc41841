/* Between tls.c and verify.c. */
#pragma once

#include <gnutls/gnutls.h>

#include "dial/dial.h"

struct tls {
	struct link *link;
	const struct dial_request *req;
	const struct roots *system;
	struct dial_reply *reply;
	gnutls_session_t session;
	gnutls_certificate_credentials_t credentials;
	struct error verdict;   /* why the server was refused */
	unsigned char first[5]; /* how its answer began */
	size_t first_len;
};

DEFINE_CLEANUP(struct tls *, tls_free)

/* Called by the library when the server's certificate is there, before anything of ours is shown. 0: go on. */
int verify_server(gnutls_session_t session);
/* True for an IPv4 or IPv6 address in text. */
bool verify_is_address(const char *host);
