/*
 * PKI mode: how a client's certificate stands to the CAs of server.ca and the CRLs of ca.crl. Every certificate of
 * server.ca counts as an authority, with at most one intermediate between it and the leaf. No files, no sockets: bytes
 * in, a verdict out.
 */
#pragma once

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/wire_gate.h"

/* CAs and CRLs as they were read; immutable, so that threads may share one. */
struct pki;

/*
 * Read server.ca (PEM, one or more certificates) and ca.crl (PEM or DER, one or more CRLs; @crl_len 0: none). With
 * @ca_len 0 PKI mode is off. Errors (400): what cannot be read, is signed with MD5 or SHA-1, or is no CA certificate.
 */
int pki_new(const void *ca, size_t ca_len, const void *crl, size_t crl_len, struct pki **ret, struct error *err);
void pki_free(struct pki *p);
DEFINE_CLEANUP(struct pki *, pki_free)

/* Is there a CA at all? */
bool pki_is_on(const struct pki *p);
/* What an administrator should hear of (a CRL not signed by a CA of the set, or out of date at @now), or NULL. The
 * caller frees. */
char *pki_warning(const struct pki *p, int64_t now);
/* Put the CAs' subjects into the list that @cred's sessions ask clients by. 0 or a negative GnuTLS code. */
int pki_announce(const struct pki *p, gnutls_certificate_credentials_t cred);

/* Dates of a leaf, seconds since the epoch. */
struct pki_dates {
	int64_t not_before;
	int64_t not_after;
};

/*
 * Judge what a client sent: @chain[0] is its certificate (DER), the few after it may hold the intermediate. @ret (may
 * be NULL) gets the leaf's dates, zeros when it cannot be read.
 */
enum wire_gate_verdict pki_judge(const struct pki *p, const gnutls_datum_t *chain, size_t len, int64_t now,
				 struct pki_dates *ret);
/* Of two verdicts on the same leaf, is @now worse than @before: must a connection end? */
bool pki_verdict_is_worse(enum wire_gate_verdict before, enum wire_gate_verdict now);
