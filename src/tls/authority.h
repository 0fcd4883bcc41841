/* What pki.c and authority.c share: the CAs and CRLs as they were read. */
#pragma once

#include <gnutls/x509.h>

#include "tls/pki.h"

#define PKI_CAS_MAX 64u
#define PKI_CRLS_MAX 64u

/* One CRL: whose it is and which serial numbers it lists. The parsed CRL itself is not kept, it is many times larger.
 */
struct pki_crl {
	unsigned char *issuer; /* name in DER */
	size_t issuer_len;
	unsigned char *serials; /* sorted; each SERIAL_SIZE bytes, padded in front */
	size_t n_serials;
	int64_t this_update;
	int64_t next_update; /* 0: not said */
	bool is_signed;      /* by an authority of the set */
};

struct pki {
	gnutls_x509_crt_t *cas;
	unsigned n_cas;
	struct pki_crl *crls;
	unsigned n_crls;
	bool unsure; /* some CRL is not signed: nobody can be trusted by the CA */
};

/* CA:TRUE, and key usage, when it is there, allows signing certificates. */
bool pki_is_authority(gnutls_x509_crt_t crt);
/* Are the name constraints, if it has any, of kinds that the verification looks at? */
bool pki_constraints_are_checked(gnutls_x509_crt_t crt);
/* Signed with SHA-2 or better. */
bool pki_signature_is_strong(gnutls_x509_crt_t crt);
/* Does a CRL of @issuer list @crt? By the issuer's name, so that a CA whose key was renewed keeps its list. */
bool pki_crl_lists(const struct pki *p, gnutls_x509_crt_t issuer, gnutls_x509_crt_t crt);
