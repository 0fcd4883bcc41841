/* PKI mode: what each kind of leaf, chain and CRL is judged to be; which CA and CRL files are refused. */
#include <limits.h>
#include <stdio.h>

#include "certs.h"
#include "tls/pki.h"
#include "unit.h"

#define DAY (24 * 3600)

/* Two authorities, EC and RSA, and an intermediate of the first. */
static struct {
	struct cert *ec, *rsa, *other, *middle, *middle2;
} ca;

static int setup(void **state)
{
	(void)state;
	ca.ec = cert_new(&(struct cert_spec){.name = "EC root", .ca = true});
	ca.rsa = cert_new(&(struct cert_spec){.name = "RSA root", .ca = true, .rsa = true});
	ca.other = cert_new(&(struct cert_spec){.name = "somebody else", .ca = true});
	ca.middle = cert_new(&(struct cert_spec){.name = "middle", .ca = true, .issuer = ca.ec});
	ca.middle2 = cert_new(&(struct cert_spec){.name = "middle 2", .ca = true, .issuer = ca.middle});
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cert_free(ca.ec);
	cert_free(ca.rsa);
	cert_free(ca.other);
	cert_free(ca.middle);
	cert_free(ca.middle2);
	return 0;
}

static struct pki *pki_of(const struct cert *const *cas, size_t n, const struct strbuf *crl)
{
	auto_strbuf struct strbuf pem = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	struct pki *p = NULL;

	for (size_t i = 0; i < n; i++)
		cert_append_pem(cas[i], &pem);
	expect_ok(pki_new(pem.data, pem.len, crl ? crl->data : NULL, crl ? crl->len : 0, &p, &err), &err);
	return p;
}

#define PKI(crl, ...)                                     \
	pki_of((const struct cert *const[]){__VA_ARGS__}, \
	       sizeof((const struct cert *const[]){__VA_ARGS__}) / sizeof(void *), crl)

static enum wire_gate_verdict judge(const struct pki *p, const struct cert *leaf, const struct cert *sent)
{
	gnutls_datum_t chain[2] = {leaf->der};

	if (sent)
		chain[1] = sent->der;
	return pki_judge(p, chain, sent ? 2 : 1, time(NULL), NULL);
}

/* Judge a leaf that is made by @spec, and throw it away. */
static enum wire_gate_verdict judge_spec(const struct pki *p, struct cert_spec spec)
{
	struct cert *leaf;
	enum wire_gate_verdict v;

	spec.name = "client";
	leaf = cert_new(&spec);
	v = judge(p, leaf, NULL);
	cert_free(leaf);
	return v;
}

static void off_without_authority(void **state)
{
	auto_error struct error err = ERROR_INIT;
	CLEANUP(pki_freep) struct pki *p = NULL;
	struct cert *leaf = cert_new(&(struct cert_spec){.name = "client"});
	struct pki_dates dates;

	(void)state;
	expect_ok(pki_new(NULL, 0, "rubbish", 7, &p, &err), &err);
	assert_false(pki_is_on(p));
	assert_int_equal(judge(p, leaf, NULL), WIRE_PKI_OFF);
	assert_int_equal(pki_judge(p, NULL, 0, time(NULL), &dates), WIRE_PKI_OFF);
	assert_int_equal(dates.not_after, 0);
	assert_int_equal(pki_judge(p, &leaf->der, 1, time(NULL), &dates), WIRE_PKI_OFF);
	assert_int_equal(dates.not_after - dates.not_before, DAY + 3600);
	cert_free(leaf);
}

/* Without an authority they are read from the outline: it must say what GnuTLS reads. */
static void dates_without_authority_are_those_of_the_library(void **state)
{
	static const int64_t ends[] = {DAY, 3650 * DAY, 30 * 365 * DAY}; /* the last is behind 2049: another form */
	auto_error struct error err = ERROR_INIT;
	CLEANUP(pki_freep) struct pki *p = NULL;

	(void)state;
	expect_ok(pki_new(NULL, 0, NULL, 0, &p, &err), &err);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct cert *leaf = cert_new(&(struct cert_spec){.name = "client", .from = -ends[i], .to = ends[i]});
		struct pki_dates dates = {0};

		assert_int_equal(pki_judge(p, &leaf->der, 1, time(NULL), &dates), WIRE_PKI_OFF);
		assert_int_equal(dates.not_before, gnutls_x509_crt_get_activation_time(leaf->crt));
		assert_int_equal(dates.not_after, gnutls_x509_crt_get_expiration_time(leaf->crt));
		cert_free(leaf);
	}
}

static void a_leaf_that_is_none_has_no_dates(void **state)
{
	auto_error struct error err = ERROR_INIT;
	CLEANUP(pki_freep) struct pki *p = NULL;
	struct cert *leaf = cert_new(&(struct cert_spec){.name = "client"});

	(void)state;
	expect_ok(pki_new(NULL, 0, NULL, 0, &p, &err), &err);
	for (unsigned len = 0; len < leaf->der.size; len++) {
		gnutls_datum_t cut = {.data = leaf->der.data, .size = len};
		struct pki_dates dates = {1, 1};

		assert_int_equal(pki_judge(p, &cut, 1, time(NULL), &dates), WIRE_PKI_OFF);
		assert_int_equal(dates.not_before, 0);
		assert_int_equal(dates.not_after, 0);
	}
	cert_free(leaf);
}

static void leafs_of_both_kinds_of_keys(void **state)
{
	CLEANUP(pki_freep) struct pki *p = PKI(NULL, ca.ec, ca.rsa);

	(void)state;
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec}), WIRE_PKI_GOOD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.rsa}), WIRE_PKI_GOOD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec, .rsa = true}), WIRE_PKI_GOOD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.rsa, .rsa = true}), WIRE_PKI_GOOD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.other}), WIRE_PKI_BAD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = NULL}), WIRE_PKI_BAD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec, .rsa = true, .rsa_bits = 1024}),
			 WIRE_PKI_BAD);
	assert_int_equal(pki_judge(p, NULL, 0, time(NULL), NULL), WIRE_PKI_NONE);
}

static void only_the_leafs_own_issuer_counts(void **state)
{
	CLEANUP(pki_freep) struct pki *p = PKI(NULL, ca.ec);
	struct cert *fake = cert_new(&(struct cert_spec){.name = "EC root", .ca = true});

	(void)state;
	/* the right name, the wrong key */
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = fake}), WIRE_PKI_BAD);
	cert_free(fake);
}

static void dates_count(void **state)
{
	CLEANUP(pki_freep) struct pki *p = PKI(NULL, ca.ec);
	struct cert *leaf = cert_new(&(struct cert_spec){.name = "client", .issuer = ca.ec});
	gnutls_datum_t chain = leaf->der;
	int64_t now = time(NULL);

	(void)state;
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec, .to = -60}), WIRE_PKI_BAD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec, .from = 600}), WIRE_PKI_BAD);
	assert_int_equal(pki_judge(p, &chain, 1, now, NULL), WIRE_PKI_GOOD);
	/* leaf and authority both */
	assert_int_equal(pki_judge(p, &chain, 1, now + 2 * DAY, NULL), WIRE_PKI_BAD);
	assert_int_equal(pki_judge(p, &chain, 1, now - 2 * DAY, NULL), WIRE_PKI_BAD);
	cert_free(leaf);
}

static void an_expired_authority_vouches_for_nobody(void **state)
{
	struct cert *old = cert_new(&(struct cert_spec){.name = "old", .ca = true, .to = -60});
	CLEANUP(pki_freep) struct pki *p = PKI(NULL, old);
	auto_free char *warning = pki_warning(p, time(NULL));

	(void)state;
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = old}), WIRE_PKI_BAD);
	assert_non_null(strstr(warning, "has expired"));
	cert_free(old);
}

static void purpose_counts(void **state)
{
	CLEANUP(pki_freep) struct pki *p = PKI(NULL, ca.ec);

	(void)state;
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec, .purpose = GNUTLS_KP_TLS_WWW_SERVER}),
			 WIRE_PKI_BAD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec, .purpose = ""}), WIRE_PKI_GOOD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec, .usage = GNUTLS_KEY_KEY_ENCIPHERMENT}),
			 WIRE_PKI_BAD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec, .usage = UINT_MAX}), WIRE_PKI_GOOD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec, .unknown_critical = "1.2.3.4.5"}),
			 WIRE_PKI_BAD);
}

static void weak_signatures_are_refused(void **state)
{
	CLEANUP(pki_freep) struct pki *p = PKI(NULL, ca.rsa);

	(void)state;
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.rsa, .hash = GNUTLS_DIG_MD5}), WIRE_PKI_BAD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.rsa, .hash = GNUTLS_DIG_SHA1}), WIRE_PKI_BAD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.rsa, .hash = GNUTLS_DIG_SHA512}), WIRE_PKI_GOOD);
}

static void one_intermediate(void **state)
{
	struct cert *leaf = cert_new(&(struct cert_spec){.name = "client", .issuer = ca.middle});
	struct cert *deep = cert_new(&(struct cert_spec){.name = "client", .issuer = ca.middle2});
	CLEANUP(pki_freep) struct pki *root = PKI(NULL, ca.ec);
	CLEANUP(pki_freep) struct pki *both = PKI(NULL, ca.ec, ca.middle);
	gnutls_datum_t chain[3] = {deep->der, ca.middle2->der, ca.middle->der};

	(void)state;
	assert_int_equal(judge(root, leaf, NULL), WIRE_PKI_BAD);
	assert_int_equal(judge(root, leaf, ca.middle), WIRE_PKI_GOOD);
	assert_int_equal(judge(both, leaf, NULL), WIRE_PKI_GOOD);
	assert_int_equal(judge(root, leaf, ca.ec), WIRE_PKI_BAD);
	/* two are one too many, unless the file has the first of them */
	assert_int_equal(pki_judge(root, chain, 3, time(NULL), NULL), WIRE_PKI_BAD);
	assert_int_equal(pki_judge(both, chain, 3, time(NULL), NULL), WIRE_PKI_GOOD);
	cert_free(leaf);
	cert_free(deep);
}

/* Judge a leaf of an intermediate that is made by @spec and sent by the client. */
static enum wire_gate_verdict judge_through(const struct pki *p, struct cert_spec spec)
{
	struct cert *middle, *leaf;
	enum wire_gate_verdict v;

	spec.name = "sent";
	middle = cert_new(&spec);
	leaf = cert_new(&(struct cert_spec){.name = "client", .issuer = middle});
	v = judge(p, leaf, middle);
	cert_free(leaf);
	cert_free(middle);
	return v;
}

static void bad_intermediates(void **state)
{
	struct cert *flat = cert_new(&(struct cert_spec){.name = "flat", .ca = true, .path_len = 1});
	CLEANUP(pki_freep) struct pki *p = PKI(NULL, ca.rsa);
	CLEANUP(pki_freep) struct pki *no_depth = PKI(NULL, flat);

	(void)state;
	assert_int_equal(judge_through(p, (struct cert_spec){.ca = true, .issuer = ca.rsa}), WIRE_PKI_GOOD);
	/* a client's certificate must not issue others */
	assert_int_equal(judge_through(p, (struct cert_spec){.issuer = ca.rsa}), WIRE_PKI_BAD);
	assert_int_equal(
		judge_through(p, (struct cert_spec){.ca = true, .issuer = ca.rsa, .usage = GNUTLS_KEY_CRL_SIGN}),
		WIRE_PKI_BAD);
	assert_int_equal(judge_through(p, (struct cert_spec){.ca = true, .issuer = ca.rsa, .to = -60}), WIRE_PKI_BAD);
	assert_int_equal(judge_through(p, (struct cert_spec){.ca = true, .issuer = ca.rsa, .hash = GNUTLS_DIG_SHA1}),
			 WIRE_PKI_BAD);
	assert_int_equal(judge_through(p, (struct cert_spec){.ca = true, .issuer = ca.other}), WIRE_PKI_BAD);
	assert_int_equal(judge_through(p, (struct cert_spec){.ca = true}), WIRE_PKI_BAD);
	assert_int_equal(
		judge_through(p, (struct cert_spec){.ca = true, .issuer = ca.rsa, .purpose = GNUTLS_KP_TLS_WWW_SERVER}),
		WIRE_PKI_BAD);
	assert_int_equal(
		judge_through(p, (struct cert_spec){.ca = true, .issuer = ca.rsa, .permitted_dns = "host.test"}),
		WIRE_PKI_GOOD);
	assert_int_equal(
		judge_through(p, (struct cert_spec){.ca = true, .issuer = ca.rsa, .permitted_dns = "other.test"}),
		WIRE_PKI_BAD);
	/* pathlen 0 of the root forbids intermediates */
	assert_int_equal(judge_through(no_depth, (struct cert_spec){.ca = true, .issuer = flat}), WIRE_PKI_BAD);
	assert_int_equal(judge_spec(no_depth, (struct cert_spec){.issuer = flat}), WIRE_PKI_GOOD);
	cert_free(flat);
}

static void revocation(void **state)
{
	const gnutls_x509_crt_fmt_t formats[] = {GNUTLS_X509_FMT_PEM, GNUTLS_X509_FMT_DER};
	struct cert *bad = cert_new(&(struct cert_spec){.name = "bad", .issuer = ca.ec});
	struct cert *good = cert_new(&(struct cert_spec){.name = "good", .issuer = ca.ec});

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		auto_strbuf struct strbuf crl = STRBUF_INIT;
		CLEANUP(pki_freep) struct pki *p = NULL;
		auto_free char *warning = NULL;

		/* one list for each authority, one after the other */
		crl_append(&(struct crl_spec){.issuer = ca.rsa, .extra = 200}, formats[i], &crl);
		crl_append(&(struct crl_spec){.issuer = ca.ec, .revoked = {bad}, .extra = 500}, formats[i], &crl);
		p = PKI(&crl, ca.ec, ca.rsa);
		warning = pki_warning(p, time(NULL));
		assert_null(warning);
		assert_int_equal(judge(p, bad, NULL), WIRE_PKI_REVOKED);
		assert_int_equal(judge(p, good, NULL), WIRE_PKI_GOOD);
		assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.rsa}), WIRE_PKI_GOOD);
		assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.other}), WIRE_PKI_BAD);
	}
	cert_free(bad);
	cert_free(good);
}

static void the_same_serial_of_another_authority(void **state)
{
	struct cert *bad = cert_new(&(struct cert_spec){.name = "bad", .issuer = ca.ec, .serial = 9});
	auto_strbuf struct strbuf crl = STRBUF_INIT;
	CLEANUP(pki_freep) struct pki *p = NULL;

	(void)state;
	crl_append(&(struct crl_spec){.issuer = ca.ec, .revoked = {bad}}, GNUTLS_X509_FMT_PEM, &crl);
	p = PKI(&crl, ca.ec, ca.rsa);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.rsa, .serial = 9}), WIRE_PKI_GOOD);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec, .serial = 9}), WIRE_PKI_REVOKED);
	cert_free(bad);
}

static void revoked_intermediate(void **state)
{
	struct cert *leaf = cert_new(&(struct cert_spec){.name = "client", .issuer = ca.middle});
	auto_strbuf struct strbuf crl = STRBUF_INIT, crl2 = STRBUF_INIT;
	CLEANUP(pki_freep) struct pki *root = NULL, *both = NULL, *list2 = NULL;

	(void)state;
	crl_append(&(struct crl_spec){.issuer = ca.ec, .revoked = {ca.middle}}, GNUTLS_X509_FMT_PEM, &crl);
	root = PKI(&crl, ca.ec);
	both = PKI(&crl, ca.ec, ca.middle);
	assert_int_equal(judge(root, leaf, ca.middle), WIRE_PKI_REVOKED);
	assert_int_equal(judge(both, leaf, NULL), WIRE_PKI_REVOKED);
	/* the intermediate's own list */
	crl_append(&(struct crl_spec){.issuer = ca.ec}, GNUTLS_X509_FMT_PEM, &crl2);
	crl_append(&(struct crl_spec){.issuer = ca.middle, .revoked = {leaf}}, GNUTLS_X509_FMT_PEM, &crl2);
	list2 = PKI(&crl2, ca.ec, ca.middle);
	assert_int_equal(judge(list2, leaf, NULL), WIRE_PKI_REVOKED);
	assert_int_equal(judge(list2, leaf, ca.middle), WIRE_PKI_REVOKED);
	cert_free(leaf);
}

static void a_strangers_crl_ends_all_trust(void **state)
{
	struct cert *fake = cert_new(&(struct cert_spec){.name = "EC root", .ca = true});
	const struct cert *issuers[] = {ca.other, fake};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(issuers); i++) {
		auto_strbuf struct strbuf crl = STRBUF_INIT;
		CLEANUP(pki_freep) struct pki *p = NULL;
		auto_free char *warning = NULL;

		crl_append(&(struct crl_spec){.issuer = ca.rsa}, GNUTLS_X509_FMT_PEM, &crl);
		crl_append(&(struct crl_spec){.issuer = issuers[i]}, GNUTLS_X509_FMT_PEM, &crl);
		p = PKI(&crl, ca.ec, ca.rsa);
		warning = pki_warning(p, time(NULL));
		assert_non_null(strstr(warning, "CRL 2 is not signed"));
		assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec}), WIRE_PKI_UNSURE);
		assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.rsa}), WIRE_PKI_UNSURE);
		assert_int_equal(pki_judge(p, NULL, 0, time(NULL), NULL), WIRE_PKI_NONE);
	}
	cert_free(fake);
}

static void an_old_crl_is_used_with_a_warning(void **state)
{
	struct cert *bad = cert_new(&(struct cert_spec){.name = "bad", .issuer = ca.ec});
	auto_strbuf struct strbuf crl = STRBUF_INIT;
	CLEANUP(pki_freep) struct pki *p = NULL;
	auto_free char *warning = NULL;

	(void)state;
	crl_append(&(struct crl_spec){.issuer = ca.ec, .revoked = {bad}, .next = -60}, GNUTLS_X509_FMT_PEM, &crl);
	p = PKI(&crl, ca.ec);
	warning = pki_warning(p, time(NULL));
	assert_non_null(strstr(warning, "out of date"));
	assert_int_equal(judge(p, bad, NULL), WIRE_PKI_REVOKED);
	assert_int_equal(judge_spec(p, (struct cert_spec){.issuer = ca.ec}), WIRE_PKI_GOOD);
	cert_free(bad);
}

/* Append the PEM of @c. */
static void pem_of(struct strbuf *b, const struct cert *c)
{
	cert_append_pem(c, b);
}

static void refuse(const struct strbuf *cas, const struct strbuf *crl, const char *text)
{
	auto_error struct error err = ERROR_INIT;
	struct pki *p = NULL;

	expect_error(pki_new(cas->data, cas->len, crl ? crl->data : NULL, crl ? crl->len : 0, &p, &err), &err, 400,
		     text);
	assert_null(p);
}

static void bad_authority_files(void **state)
{
	struct cert *leaf = cert_new(&(struct cert_spec){.name = "client", .issuer = ca.ec});
	struct cert *weak = cert_new(
		&(struct cert_spec){.name = "weak", .ca = true, .rsa = true, .hash = GNUTLS_DIG_SHA1});
	auto_strbuf struct strbuf a = STRBUF_INIT, b = STRBUF_INIT, c = STRBUF_INIT, d = STRBUF_INIT, e = STRBUF_INIT;

	(void)state;
	strbuf_append(&a, "rubbish");
	refuse(&a, NULL, "There is no CERTIFICATE block");
	pem_of(&b, ca.ec);
	pem_of(&b, leaf);
	refuse(&b, NULL, "Certificate 2 is not that of a certificate authority");
	pem_of(&c, weak);
	refuse(&c, NULL, "SHA1");
	pem_of(&d, ca.ec);
	pem_of(&d, ca.rsa);
	strbuf_truncate(&d, d.len - 40);
	refuse(&d, NULL, "CA file: ");
	for (unsigned i = 0; i < 65; i++)
		pem_of(&e, ca.ec);
	refuse(&e, NULL, "more than 64");
	cert_free(leaf);
	cert_free(weak);
}

static void bad_crl_files(void **state)
{
	auto_strbuf struct strbuf cas = STRBUF_INIT, crl = STRBUF_INIT, weak = STRBUF_INIT, der = STRBUF_INIT;

	(void)state;
	pem_of(&cas, ca.rsa);
	strbuf_append(&crl, "rubbish");
	refuse(&cas, &crl, "CRL file: There is no X509 CRL block");
	strbuf_truncate(&crl, 0);
	crl_append(&(struct crl_spec){.issuer = ca.rsa}, GNUTLS_X509_FMT_PEM, &crl);
	crl_append(&(struct crl_spec){.issuer = ca.rsa}, GNUTLS_X509_FMT_PEM, &crl);
	strbuf_truncate(&crl, crl.len - 20);
	refuse(&cas, &crl, "CRL 2 is cut off");
	crl_append(&(struct crl_spec){.issuer = ca.rsa, .hash = GNUTLS_DIG_SHA1}, GNUTLS_X509_FMT_PEM, &weak);
	refuse(&cas, &weak, "CRL 1: It is signed with RSA-SHA1");
	crl_append(&(struct crl_spec){.issuer = ca.rsa}, GNUTLS_X509_FMT_DER, &der);
	strbuf_truncate(&der, der.len - 1);
	refuse(&cas, &der, "CRL 1 is cut off");
	strbuf_truncate(&der, 0);
	crl_append(&(struct crl_spec){.issuer = ca.rsa}, GNUTLS_X509_FMT_DER, &der);
	strbuf_append(&der, "trailing");
	refuse(&cas, &der, "CRL 2 is cut off");
}

static void rubbish_leafs(void **state)
{
	CLEANUP(pki_freep) struct pki *p = PKI(NULL, ca.ec);
	struct cert *leaf = cert_new(&(struct cert_spec){.name = "client", .issuer = ca.ec});
	auto_free unsigned char *copy = xmemdup(leaf->der.data, leaf->der.size);
	gnutls_datum_t d = {.data = copy, .size = leaf->der.size};

	(void)state;
	/* no changed bit may be overlooked */
	for (size_t i = 0; i < leaf->der.size; i += 7) {
		copy[i] ^= 0x10;
		assert_int_equal(pki_judge(p, &d, 1, time(NULL), NULL), WIRE_PKI_BAD);
		copy[i] ^= 0x10;
	}
	d.size = 0;
	assert_int_equal(pki_judge(p, &d, 1, time(NULL), NULL), WIRE_PKI_BAD);
	cert_free(leaf);
}

static void which_verdicts_end_a_connection(void **state)
{
	(void)state;
	assert_true(pki_verdict_is_worse(WIRE_PKI_GOOD, WIRE_PKI_REVOKED));
	assert_true(pki_verdict_is_worse(WIRE_PKI_GOOD, WIRE_PKI_UNSURE));
	assert_true(pki_verdict_is_worse(WIRE_PKI_GOOD, WIRE_PKI_OFF));
	assert_true(pki_verdict_is_worse(WIRE_PKI_OFF, WIRE_PKI_BAD));
	assert_true(pki_verdict_is_worse(WIRE_PKI_OFF, WIRE_PKI_REVOKED));
	assert_false(pki_verdict_is_worse(WIRE_PKI_GOOD, WIRE_PKI_GOOD));
	assert_false(pki_verdict_is_worse(WIRE_PKI_OFF, WIRE_PKI_GOOD));
	assert_false(pki_verdict_is_worse(WIRE_PKI_OFF, WIRE_PKI_NONE));
	assert_false(pki_verdict_is_worse(WIRE_PKI_BAD, WIRE_PKI_REVOKED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(off_without_authority),
		cmocka_unit_test(dates_without_authority_are_those_of_the_library),
		cmocka_unit_test(a_leaf_that_is_none_has_no_dates),
		cmocka_unit_test(leafs_of_both_kinds_of_keys),
		cmocka_unit_test(only_the_leafs_own_issuer_counts),
		cmocka_unit_test(dates_count),
		cmocka_unit_test(an_expired_authority_vouches_for_nobody),
		cmocka_unit_test(purpose_counts),
		cmocka_unit_test(weak_signatures_are_refused),
		cmocka_unit_test(one_intermediate),
		cmocka_unit_test(bad_intermediates),
		cmocka_unit_test(revocation),
		cmocka_unit_test(the_same_serial_of_another_authority),
		cmocka_unit_test(revoked_intermediate),
		cmocka_unit_test(a_strangers_crl_ends_all_trust),
		cmocka_unit_test(an_old_crl_is_used_with_a_warning),
		cmocka_unit_test(bad_authority_files),
		cmocka_unit_test(bad_crl_files),
		cmocka_unit_test(rubbish_leafs),
		cmocka_unit_test(which_verdicts_end_a_connection),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
