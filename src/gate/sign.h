/* A private key whose every signature is made by lxd-signer. */
#pragma once

#include <gnutls/abstract.h>

#include "gate/settings.h"

/* Make *@ret sign over the sockets of @s, which it does not own and which must outlive it. 0 or a GnuTLS code. */
int sign_key_new(struct settings *s, gnutls_privkey_t *ret);
