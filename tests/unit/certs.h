/* Certificates and CRLs made on the fly, for tests. Any failure ends the test program. */
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

/* A certificate and its key. */
struct cert {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	gnutls_datum_t der;
};

/* What is to be in it; zero values make an honest client certificate, valid from an hour ago for a day. */
struct cert_spec {
	const char *name;          /* CN */
	const struct cert *issuer; /* NULL: self-signed */
	bool ca;
	int path_len;        /* with ca; 0: none said, else one more than it */
	unsigned usage;      /* key usage; 0: what suits. UINT_MAX: no extension */
	const char *purpose; /* EKU; NULL: client; "": no extension */
	int64_t from, to;    /* seconds from now */
	bool rsa;
	unsigned rsa_bits;
	gnutls_digest_algorithm_t hash; /* 0: SHA-256 */
	unsigned char serial;           /* 0: a new one */
	const char *permitted_dns;      /* name constraint */
	const char *unknown_critical;   /* OID of an extension nobody knows */
};

struct cert *cert_new(const struct cert_spec *spec);
void cert_free(struct cert *c);
/* Append as PEM. */
void cert_append_pem(const struct cert *c, struct strbuf *out);

struct crl_spec {
	const struct cert *issuer;
	const struct cert *revoked[4];
	unsigned extra; /* so many serial numbers besides */
	int64_t next;   /* seconds from now; 0: a day */
	gnutls_digest_algorithm_t hash;
};

/* Append a CRL, PEM or DER. */
void crl_append(const struct crl_spec *spec, gnutls_x509_crt_fmt_t format, struct strbuf *out);
