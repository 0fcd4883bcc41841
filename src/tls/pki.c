/*
 * The path is found by our own rules (its length, revocation, purpose), and then proven by GnuTLS's verification, which
 * adds what is easy to forget: name constraints, path lengths, critical extensions nobody knows, key sizes.
 */
#include "tls/pki.h"

#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/der.h"
#include "base/strbuf.h"
#include "tls/authority.h"

#define SENT_MAX 4 /* certificates of a client that are looked at */

/* At least 112 bits: RSA of 2048, SHA-2. Time is ours to check, and revocation too. */
#define VERIFY_FLAGS                                                                                     \
	((unsigned)GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM) | GNUTLS_VERIFY_DISABLE_TIME_CHECKS | \
	 GNUTLS_VERIFY_DISABLE_CRL_CHECKS)

/* What a leaf is judged by, and what is known of it so far. */
struct judging {
	const struct pki *pki;
	gnutls_x509_crt_t leaf;
	int64_t now;
	bool good;    /* a path stands */
	bool revoked; /* a path stands but for a CRL */
};

static bool is_valid_now(gnutls_x509_crt_t crt, int64_t now)
{
	time_t from = gnutls_x509_crt_get_activation_time(crt);
	time_t to = gnutls_x509_crt_get_expiration_time(crt);

	return from != (time_t)-1 && to != (time_t)-1 && from <= now && now <= to;
}

/* A purpose that covers clients, or none named. */
static bool is_for_clients(gnutls_x509_crt_t crt)
{
	char oid[128];
	size_t len = sizeof(oid);

	/* the call that follows takes anything that it cannot read for "no purpose named" */
	if (gnutls_x509_crt_get_key_purpose_oid(crt, 0, oid, &len, NULL) == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return true;
	return gnutls_x509_crt_check_key_purpose(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0) != 0;
}

/* May the leaf's key sign a handshake? */
static bool may_sign(gnutls_x509_crt_t crt)
{
	unsigned usage, critical;
	int r = gnutls_x509_crt_get_key_usage(crt, &usage, &critical);

	return r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE || (r >= 0 && usage & GNUTLS_KEY_DIGITAL_SIGNATURE);
}

static bool is_proven(const gnutls_x509_crt_t *path, unsigned len, gnutls_x509_crt_t anchor)
{
	unsigned status = GNUTLS_CERT_INVALID;
	int r = gnutls_x509_crt_list_verify(path, len, &anchor, 1, NULL, 0, VERIFY_FLAGS, &status);

	return r >= 0 && status == 0;
}

/* Has an authority of the set that issued @ca called it back? Only for one that is not its own issuer. */
static bool is_called_back(const struct pki *p, gnutls_x509_crt_t ca)
{
	for (unsigned i = 0; i < p->n_cas; i++)
		if (!gnutls_x509_crt_equals(p->cas[i], ca) && gnutls_x509_crt_check_issuer(ca, p->cas[i]) &&
		    pki_crl_lists(p, p->cas[i], ca))
			return true;
	return false;
}

/* The path leaf, @anchor. */
static void try_direct(struct judging *j, gnutls_x509_crt_t anchor)
{
	if (!gnutls_x509_crt_check_issuer(j->leaf, anchor) || !is_valid_now(anchor, j->now) ||
	    !is_proven(&j->leaf, 1, anchor))
		return;
	if (pki_crl_lists(j->pki, anchor, j->leaf) || is_called_back(j->pki, anchor))
		j->revoked = true;
	else
		j->good = true;
}

/* The path leaf, @middle, @anchor. */
static void try_through(struct judging *j, gnutls_x509_crt_t middle, gnutls_x509_crt_t anchor)
{
	gnutls_x509_crt_t path[2] = {j->leaf, middle};

	if (!gnutls_x509_crt_check_issuer(middle, anchor) || !is_valid_now(anchor, j->now) ||
	    !is_proven(path, 2, anchor))
		return;
	if (pki_crl_lists(j->pki, middle, j->leaf) || pki_crl_lists(j->pki, anchor, middle) ||
	    is_called_back(j->pki, anchor))
		j->revoked = true;
	else
		j->good = true;
}

static void try_sent(struct judging *j, const gnutls_datum_t *der)
{
	gnutls_x509_crt_t middle = NULL;

	if (gnutls_x509_crt_init(&middle) < 0)
		return;
	if (gnutls_x509_crt_import(middle, der, GNUTLS_X509_FMT_DER) >= 0 &&
	    gnutls_x509_crt_check_issuer(j->leaf, middle) && pki_is_authority(middle) &&
	    pki_constraints_are_checked(middle) && pki_signature_is_strong(middle) && is_valid_now(middle, j->now) &&
	    is_for_clients(middle))
		for (unsigned i = 0; i < j->pki->n_cas; i++)
			try_through(j, middle, j->pki->cas[i]);
	gnutls_x509_crt_deinit(middle);
}

static enum wire_gate_verdict judge_leaf(const struct pki *p, gnutls_x509_crt_t leaf, const gnutls_datum_t *chain,
					 size_t len, int64_t now)
{
	struct judging j = {.pki = p, .leaf = leaf, .now = now};

	if (!is_valid_now(leaf, now) || !pki_signature_is_strong(leaf) || !is_for_clients(leaf) || !may_sign(leaf))
		return WIRE_PKI_BAD;
	for (unsigned i = 0; i < p->n_cas; i++)
		try_direct(&j, p->cas[i]);
	for (size_t i = 1; i < MIN_OF(len, (size_t)SENT_MAX); i++)
		try_sent(&j, &chain[i]);
	/* a revoked path beside a good one (two CAs of one name): the worse counts */
	if (j.revoked)
		return WIRE_PKI_REVOKED;
	return j.good ? WIRE_PKI_GOOD : WIRE_PKI_BAD;
}

static void dates_of(gnutls_x509_crt_t leaf, struct pki_dates *ret)
{
	time_t from = gnutls_x509_crt_get_activation_time(leaf), to = gnutls_x509_crt_get_expiration_time(leaf);

	if (!ret || from == (time_t)-1 || to == (time_t)-1)
		return;
	ret->not_before = from;
	ret->not_after = to;
}

/* Without a full parse, which takes longer than the rest of an announcement; false: GnuTLS may know better. */
static bool outline_dates(const gnutls_datum_t *leaf, struct pki_dates *ret)
{
	struct der_certificate c;

	if (der_certificate(leaf->data, leaf->size, &c) < 0)
		return false;
	ret->not_before = timegm(&c.not_before);
	ret->not_after = timegm(&c.not_after);
	return true;
}

enum wire_gate_verdict pki_judge(const struct pki *p, const gnutls_datum_t *chain, size_t len, int64_t now,
				 struct pki_dates *ret)
{
	enum wire_gate_verdict verdict = pki_is_on(p) ? WIRE_PKI_BAD : WIRE_PKI_OFF;
	gnutls_x509_crt_t leaf = NULL;

	if (ret)
		*ret = (struct pki_dates){0};
	if (len == 0)
		return pki_is_on(p) ? WIRE_PKI_NONE : WIRE_PKI_OFF;
	if (!pki_is_on(p) && (!ret || outline_dates(&chain[0], ret)))
		return WIRE_PKI_OFF;
	if (gnutls_x509_crt_init(&leaf) < 0)
		return verdict;
	if (gnutls_x509_crt_import(leaf, &chain[0], GNUTLS_X509_FMT_DER) >= 0) {
		dates_of(leaf, ret);
		if (p->unsure && pki_is_on(p))
			verdict = WIRE_PKI_UNSURE;
		else if (pki_is_on(p))
			verdict = judge_leaf(p, leaf, chain, len, now);
	}
	gnutls_x509_crt_deinit(leaf);
	return verdict;
}

bool pki_verdict_is_worse(enum wire_gate_verdict before, enum wire_gate_verdict now)
{
	/* who was judged good keeps nothing when the CA is gone; who was not judged must pass now */
	if (before == WIRE_PKI_GOOD)
		return now != WIRE_PKI_GOOD;
	return before == WIRE_PKI_OFF && (now == WIRE_PKI_BAD || now == WIRE_PKI_REVOKED || now == WIRE_PKI_UNSURE);
}
