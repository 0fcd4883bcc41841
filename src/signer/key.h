/* The server's private key: reading it, seeing that it belongs to the certificate, signing handshakes with it. */
#pragma once

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct signer_key;

/*
 * Read a private key (PEM: SEC 1, PKCS #1, PKCS #8, not encrypted) and compare it with the first certificate of
 * @chain (PEM). Errors (400) say what is wrong: unreadable, weak, of no kind that TLS uses, of another certificate.
 */
int signer_key_new(const void *pem, size_t pem_len, const void *chain, size_t chain_len, struct signer_key **ret,
		   struct error *err);
void signer_key_free(struct signer_key *k);

/*
 * Sign a digest (for Ed25519: a message) of a handshake; @algorithm is of enum wire_sign_algorithm. -EINVAL when the
 * key has no such algorithm or the length is not that of the digest; -EIO when the library fails. *@ret is freed by
 * gnutls_free().
 */
int signer_key_sign(struct signer_key *k, unsigned algorithm, const void *digest, size_t len,
		    gnutls_datum_t *ret) MUST_USE;
