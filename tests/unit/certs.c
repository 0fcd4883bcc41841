/* Certificates for tests. */
#include "certs.h"

#include <gnutls/crypto.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"

#define HOUR 3600
#define DAY (24 * HOUR)

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, gnutls_strerror(r));
	abort();
}

static gnutls_x509_privkey_t key_new(bool rsa, unsigned bits)
{
	gnutls_x509_privkey_t key;

	must(gnutls_x509_privkey_init(&key), "key");
	must(gnutls_x509_privkey_generate(key, rsa ? GNUTLS_PK_RSA : GNUTLS_PK_ECDSA,
					  rsa ? bits : GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), 0),
	     "generate key");
	return key;
}

static void set_purpose(gnutls_x509_crt_t crt, const struct cert_spec *s)
{
	unsigned usage =
		s->usage ?: (s->ca ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN : GNUTLS_KEY_DIGITAL_SIGNATURE);

	if (usage != UINT_MAX)
		must(gnutls_x509_crt_set_key_usage(crt, usage), "usage");
	if (s->purpose ? *s->purpose : !s->ca)
		must(gnutls_x509_crt_set_key_purpose_oid(crt, s->purpose ?: GNUTLS_KP_TLS_WWW_CLIENT, 0), "purpose");
	must(gnutls_x509_crt_set_basic_constraints(crt, s->ca, s->path_len ? s->path_len - 1 : -1), "constraints");
	if (s->unknown_critical)
		must(gnutls_x509_crt_set_extension_by_oid(crt, s->unknown_critical, "\x05\x00", 2, 1), "extension");
	if (s->permitted_dns) {
		gnutls_datum_t name = {(unsigned char *)(uintptr_t)s->permitted_dns,
				       (unsigned)strlen(s->permitted_dns)};
		gnutls_x509_name_constraints_t nc;

		must(gnutls_x509_name_constraints_init(&nc), "name constraints");
		must(gnutls_x509_name_constraints_add_permitted(nc, GNUTLS_SAN_DNSNAME, &name), "name constraint");
		must(gnutls_x509_crt_set_name_constraints(crt, nc, 1), "set name constraints");
		gnutls_x509_name_constraints_deinit(nc);
	}
}

struct cert *cert_new(const struct cert_spec *s)
{
	static unsigned char next_serial = 100;
	unsigned char serial[2] = {1, s->serial ?: next_serial++};
	struct cert *c = xnew(struct cert);
	time_t now = time(NULL);
	const struct cert *issuer = s->issuer ?: c;
	gnutls_privkey_t signer;

	c->key = key_new(s->rsa, s->rsa_bits ?: 2048);
	must(gnutls_x509_crt_init(&c->crt), "crt");
	must(gnutls_x509_crt_set_version(c->crt, 3), "version");
	must(gnutls_x509_crt_set_serial(c->crt, serial, sizeof(serial)), "serial");
	must(gnutls_x509_crt_set_activation_time(c->crt, now + (s->from ?: -HOUR)), "from");
	must(gnutls_x509_crt_set_expiration_time(c->crt, now + (s->to ?: DAY)), "to");
	must(gnutls_x509_crt_set_dn_by_oid(c->crt, GNUTLS_OID_X520_COMMON_NAME, 0, s->name, (unsigned)strlen(s->name)),
	     "name");
	if (!s->ca)
		must(gnutls_x509_crt_set_subject_alt_name(c->crt, GNUTLS_SAN_DNSNAME, "host.test", 9, GNUTLS_FSAN_SET),
		     "name");
	set_purpose(c->crt, s);
	must(gnutls_x509_crt_set_key(c->crt, c->key), "set key");
	must(gnutls_privkey_init(&signer), "signer");
	must(gnutls_privkey_import_x509(signer, issuer->key, 0), "signer");
	must(gnutls_x509_crt_privkey_sign(c->crt, issuer->crt, signer, s->hash ?: GNUTLS_DIG_SHA256, 0), "sign");
	gnutls_privkey_deinit(signer);
	must(gnutls_x509_crt_export2(c->crt, GNUTLS_X509_FMT_DER, &c->der), "export");
	return c;
}

void cert_free(struct cert *c)
{
	gnutls_free(c->der.data);
	gnutls_x509_crt_deinit(c->crt);
	gnutls_x509_privkey_deinit(c->key);
	free(c);
}

void cert_append_pem(const struct cert *c, struct strbuf *out)
{
	gnutls_datum_t pem;

	must(gnutls_x509_crt_export2(c->crt, GNUTLS_X509_FMT_PEM, &pem), "export");
	strbuf_append_len(out, pem.data, pem.size);
	gnutls_free(pem.data);
}

void crl_append(const struct crl_spec *s, gnutls_x509_crt_fmt_t format, struct strbuf *out)
{
	time_t now = time(NULL);
	gnutls_x509_crl_t crl;
	gnutls_privkey_t signer;
	gnutls_datum_t data;

	must(gnutls_x509_crl_init(&crl), "crl");
	must(gnutls_x509_crl_set_version(crl, 2), "version");
	must(gnutls_x509_crl_set_this_update(crl, now - HOUR), "this update");
	must(gnutls_x509_crl_set_next_update(crl, now + (s->next ?: DAY)), "next update");
	must(gnutls_x509_crl_set_number(crl, "\1", 1), "number");
	for (size_t i = 0; i < ARRAY_SIZE(s->revoked) && s->revoked[i]; i++)
		must(gnutls_x509_crl_set_crt(crl, s->revoked[i]->crt, now - HOUR), "revoke");
	for (unsigned i = 0; i < s->extra; i++) {
		unsigned char serial[4] = {2, (unsigned char)(i >> 16), (unsigned char)(i >> 8), (unsigned char)i};

		must(gnutls_x509_crl_set_crt_serial(crl, serial, sizeof(serial), now - HOUR), "revoke");
	}
	must(gnutls_privkey_init(&signer), "signer");
	must(gnutls_privkey_import_x509(signer, s->issuer->key, 0), "signer");
	must(gnutls_x509_crl_privkey_sign(crl, s->issuer->crt, signer, s->hash ?: GNUTLS_DIG_SHA256, 0), "sign");
	gnutls_privkey_deinit(signer);
	must(gnutls_x509_crl_export2(crl, format, &data), "export");
	strbuf_append_len(out, data.data, data.size);
	gnutls_free(data.data);
	gnutls_x509_crl_deinit(crl);
}
