/* Reading server.ca and ca.crl. */
#include "tls/authority.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"

#define SERIAL_SIZE 32u /* RFC 5280 allows 20 bytes; longer ones are refused */
#define SERIALS_MAX 100000u
#define OID_DELTA_CRL "2.5.29.27"
#define VERIFY_CRL_FLAGS ((unsigned)GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM) | GNUTLS_VERIFY_DISABLE_TIME_CHECKS)

bool pki_is_on(const struct pki *p)
{
	return p->n_cas > 0;
}

bool pki_is_authority(gnutls_x509_crt_t crt)
{
	unsigned usage, critical;
	int r = gnutls_x509_crt_get_key_usage(crt, &usage, &critical);

	if (gnutls_x509_crt_get_ca_status(crt, NULL) <= 0)
		return false;
	return r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE || (r >= 0 && usage & GNUTLS_KEY_KEY_CERT_SIGN);
}

/* GnuTLS lets names pass whose kind of constraint it does not know. */
static bool constraint_is_checked(unsigned type)
{
	return type == GNUTLS_SAN_DNSNAME || type == GNUTLS_SAN_RFC822NAME || type == GNUTLS_SAN_IPADDRESS;
}

bool pki_constraints_are_checked(gnutls_x509_crt_t crt)
{
	gnutls_x509_name_constraints_t nc = NULL;
	gnutls_datum_t name;
	unsigned type, critical;
	bool fine = gnutls_x509_name_constraints_init(&nc) >= 0;
	int r = fine ? gnutls_x509_crt_get_name_constraints(crt, nc, 0, &critical) : -1;

	if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
		gnutls_x509_name_constraints_deinit(nc);
		return true;
	}
	fine = fine && r >= 0;
	for (unsigned i = 0; fine && gnutls_x509_name_constraints_get_permitted(nc, i, &type, &name) >= 0; i++)
		fine = constraint_is_checked(type);
	for (unsigned i = 0; fine && gnutls_x509_name_constraints_get_excluded(nc, i, &type, &name) >= 0; i++)
		fine = constraint_is_checked(type);
	if (nc)
		gnutls_x509_name_constraints_deinit(nc);
	return fine;
}

static bool algorithm_is_strong(int algorithm)
{
	return algorithm > 0 &&
	       gnutls_sign_is_secure2((gnutls_sign_algorithm_t)algorithm, GNUTLS_SIGN_FLAG_SECURE_FOR_CERTS) != 0;
}

bool pki_signature_is_strong(gnutls_x509_crt_t crt)
{
	return algorithm_is_strong(gnutls_x509_crt_get_signature_algorithm(crt));
}

/* How often @mark stands in the text: blocks that a reader has to find. */
static unsigned count_marks(const void *data, size_t len, const char *mark)
{
	const char *p = data, *end = p + len;
	unsigned n = 0;

	while ((p = memmem(p, (size_t)(end - p), mark, strlen(mark)))) {
		n++;
		p += strlen(mark);
	}
	return n;
}

static int check_ca(gnutls_x509_crt_t crt, unsigned number, struct error *err)
{
	if (!pki_is_authority(crt))
		return error_set(err, 400, "Certificate %u is not that of a certificate authority", number);
	if (!pki_constraints_are_checked(crt))
		return error_set(err, 400, "Certificate %u has name constraints of a kind that cannot be checked",
				 number);
	if (!pki_signature_is_strong(crt))
		return error_set(
			err, 400, "Certificate %u is signed with %s, which is too weak", number,
			gnutls_sign_get_name((gnutls_sign_algorithm_t)gnutls_x509_crt_get_signature_algorithm(crt))
				?: "an unknown algorithm");
	return 0;
}

static int read_cas(struct pki *p, const void *data, size_t len, struct error *err)
{
	gnutls_datum_t text = {.data = (unsigned char *)(uintptr_t)data, .size = (unsigned)len};
	unsigned wanted = count_marks(data, len, "-----BEGIN CERTIFICATE-----");
	int r;

	if (wanted == 0)
		return error_set(err, 400, "There is no CERTIFICATE block");
	if (wanted > PKI_CAS_MAX)
		return error_set(err, 400, "There are more than %u certificates", PKI_CAS_MAX);
	r = gnutls_x509_crt_list_import2(&p->cas, &p->n_cas, &text, GNUTLS_X509_FMT_PEM, 0);
	if (r < 0) {
		p->cas = NULL;
		p->n_cas = 0;
		return error_set(err, 400, "Certificates cannot be read: %s", gnutls_strerror(r));
	}
	if (p->n_cas != wanted)
		return error_set(err, 400, "Only %u of %u certificates can be read", p->n_cas, wanted);
	for (unsigned i = 0; i < p->n_cas; i++) {
		r = check_ca(p->cas[i], i + 1, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare_serials(const void *a, const void *b)
{
	return memcmp(a, b, SERIAL_SIZE);
}

/* A serial number in the form in which they are compared; false when it is too long. */
static bool serial_normal(const unsigned char *serial, size_t len, unsigned char ret[SERIAL_SIZE])
{
	while (len > 0 && *serial == 0) {
		serial++;
		len--;
	}
	if (len > SERIAL_SIZE)
		return false;
	memset(ret, 0, SERIAL_SIZE);
	memcpy(ret + SERIAL_SIZE - len, serial, len);
	return true;
}

static int read_serials(gnutls_x509_crl_t crl, struct pki_crl *ret, struct error *err)
{
	int count = gnutls_x509_crl_get_crt_count(crl);
	gnutls_x509_crl_iter_t iter = NULL;
	int r = 0;

	if (count < 0 || count > (int)SERIALS_MAX)
		return error_set(err, 400, "More than %u certificates are revoked", SERIALS_MAX);
	ret->serials = xnew_array(unsigned char, (size_t)count *SERIAL_SIZE + 1);
	while (ret->n_serials < (size_t)count) {
		unsigned char serial[64];
		size_t len = sizeof(serial);

		r = gnutls_x509_crl_iter_crt_serial(crl, &iter, serial, &len, NULL);
		if (r < 0 || !serial_normal(serial, len, ret->serials + ret->n_serials * SERIAL_SIZE))
			break;
		ret->n_serials++;
	}
	gnutls_x509_crl_iter_deinit(iter);
	if (ret->n_serials < (size_t)count)
		return error_set(err, 400, "Serial number %zu cannot be read", ret->n_serials + 1);
	qsort(ret->serials, ret->n_serials, SERIAL_SIZE, compare_serials);
	return 0;
}

/* Lists of changes to another list say too little alone. */
static bool is_delta(gnutls_x509_crl_t crl)
{
	for (unsigned i = 0; i < 32; i++) {
		char oid[128];
		size_t len = sizeof(oid);
		unsigned critical;
		int r = gnutls_x509_crl_get_extension_info(crl, i, oid, &len, &critical);

		if (r < 0)
			return r != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
		if (strncmp(oid, OID_DELTA_CRL, sizeof(oid)) == 0)
			return true;
	}
	return true;
}

/* Nothing wrong but the dates, which are for warnings only. */
static bool is_crl_fault_of_dates(unsigned status)
{
	unsigned dates = GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED | GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE;

	return status & dates && !(status & ~(dates | GNUTLS_CERT_INVALID));
}

static bool is_signed_by_set(const struct pki *p, gnutls_x509_crl_t crl)
{
	for (unsigned i = 0; i < p->n_cas; i++) {
		unsigned status = GNUTLS_CERT_INVALID;
		int r = gnutls_x509_crl_verify(crl, &p->cas[i], 1, VERIFY_CRL_FLAGS, &status);

		if (r >= 0 && (status == 0 || is_crl_fault_of_dates(status)))
			return true;
	}
	return false;
}

static int read_issuer(gnutls_x509_crl_t crl, struct pki_crl *ret, struct error *err)
{
	gnutls_datum_t dn = {0};
	int r = gnutls_x509_crl_get_raw_issuer_dn(crl, &dn);

	if (r < 0)
		return error_set(err, 400, "The issuer cannot be read: %s", gnutls_strerror(r));
	ret->issuer = xmemdup(dn.data, dn.size);
	ret->issuer_len = dn.size;
	gnutls_free(dn.data);
	return 0;
}

static int take_crl(struct pki *p, gnutls_x509_crl_t crl, struct error *err)
{
	int algorithm = gnutls_x509_crl_get_signature_algorithm(crl);
	struct pki_crl *c;
	time_t next;
	int r;

	if (!algorithm_is_strong(algorithm))
		return error_set(err, 400, "It is signed with %s, which is too weak",
				 gnutls_sign_get_name((gnutls_sign_algorithm_t)algorithm) ?: "an unknown algorithm");
	if (is_delta(crl))
		return error_set(err, 400, "It is no complete list");
	if (p->n_crls == PKI_CRLS_MAX)
		return error_set(err, 400, "There are more than %u CRLs", PKI_CRLS_MAX);
	p->crls = xreallocarray(p->crls, p->n_crls + 1, sizeof(*p->crls));
	c = &p->crls[p->n_crls++];
	*c = (struct pki_crl){0};
	r = read_issuer(crl, c, err);
	if (r == 0)
		r = read_serials(crl, c, err);
	if (r < 0)
		return r;
	next = gnutls_x509_crl_get_next_update(crl);
	c->next_update = next == (time_t)-1 ? 0 : next;
	c->this_update = gnutls_x509_crl_get_this_update(crl);
	c->is_signed = is_signed_by_set(p, crl);
	p->unsure = p->unsure || !c->is_signed;
	return 0;
}

static int read_crl(struct pki *p, const void *data, size_t len, gnutls_x509_crt_fmt_t format, struct error *err)
{
	gnutls_datum_t text = {.data = (unsigned char *)(uintptr_t)data, .size = (unsigned)len};
	unsigned number = p->n_crls + 1;
	gnutls_x509_crl_t crl = NULL;
	int r = gnutls_x509_crl_init(&crl);

	if (r >= 0)
		r = gnutls_x509_crl_import(crl, &text, format);
	if (r < 0)
		r = error_set(err, 400, "CRL %u cannot be read: %s", number, gnutls_strerror(r));
	else if (take_crl(p, crl, err) < 0)
		r = error_wrap(err, "CRL %u", number);
	else
		r = 0;
	if (crl)
		gnutls_x509_crl_deinit(crl);
	return r;
}

static int read_pem_crls(struct pki *p, const char *text, size_t len, struct error *err)
{
	static const char begin[] = "-----BEGIN X509 CRL-----", end[] = "-----END X509 CRL-----";
	const char *at = text, *stop = text + len;

	while ((at = memmem(at, (size_t)(stop - at), begin, strlen(begin)))) {
		const char *last = memmem(at, (size_t)(stop - at), end, strlen(end));
		int r;

		if (!last)
			return error_set(err, 400, "CRL %u is cut off", p->n_crls + 1);
		last += strlen(end);
		r = read_crl(p, at, (size_t)(last - at), GNUTLS_X509_FMT_PEM, err);
		if (r < 0)
			return r;
		at = last;
	}
	return p->n_crls ? 0 : error_set(err, 400, "There is no X509 CRL block");
}

/* Bytes of the DER sequence at @p; 0 when there is none. */
static size_t sequence_size(const unsigned char *p, size_t len)
{
	size_t size = 0, digits;

	if (len < 2 || p[0] != 0x30)
		return 0;
	if (p[1] < 0x80)
		return (size_t)p[1] + 2 <= len ? (size_t)p[1] + 2 : 0;
	digits = p[1] & 0x7f;
	if (digits == 0 || digits > 4 || digits + 2 > len)
		return 0;
	for (size_t i = 0; i < digits; i++)
		size = size << 8 | p[2 + i];
	return size <= len - 2 - digits ? size + 2 + digits : 0;
}

static int read_der_crls(struct pki *p, const unsigned char *data, size_t len, struct error *err)
{
	while (len > 0) {
		size_t size = sequence_size(data, len);
		int r;

		if (size == 0)
			return error_set(err, 400, "CRL %u is cut off", p->n_crls + 1);
		r = read_crl(p, data, size, GNUTLS_X509_FMT_DER, err);
		if (r < 0)
			return r;
		data += size;
		len -= size;
	}
	return 0;
}

int pki_new(const void *ca, size_t ca_len, const void *crl, size_t crl_len, struct pki **ret, struct error *err)
{
	CLEANUP(pki_freep) struct pki *p = xnew(struct pki);
	int r = 0;

	if (ca_len > WIRE_GATE_CA_MAX)
		return error_set(err, 400, "CA file: it is larger than %u bytes", WIRE_GATE_CA_MAX);
	if (crl_len > WIRE_GATE_CRL_MAX)
		return error_set(err, 400, "CRL file: it is larger than %u bytes", WIRE_GATE_CRL_MAX);
	if (ca_len > 0)
		r = read_cas(p, ca, ca_len, err);
	if (r < 0)
		return error_wrap(err, "CA file");
	/* without a CA there is nothing to revoke */
	if (ca_len > 0 && crl_len > 0)
		r = *(const unsigned char *)crl == 0x30 ? read_der_crls(p, crl, crl_len, err)
							: read_pem_crls(p, crl, crl_len, err);
	if (r < 0)
		return error_wrap(err, "CRL file");
	*ret = TAKE_PTR(p);
	return 0;
}

void pki_free(struct pki *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->n_cas; i++)
		gnutls_x509_crt_deinit(p->cas[i]);
	gnutls_free(p->cas);
	for (unsigned i = 0; i < p->n_crls; i++) {
		free(p->crls[i].issuer);
		free(p->crls[i].serials);
	}
	free(p->crls);
	free(p);
}

bool pki_crl_lists(const struct pki *p, gnutls_x509_crt_t issuer, gnutls_x509_crt_t crt)
{
	unsigned char raw[64], serial[SERIAL_SIZE];
	size_t raw_len = sizeof(raw);
	gnutls_datum_t name = {0};
	bool listed = false;

	if (p->n_crls == 0)
		return false;
	/* what cannot be looked up cannot be cleared */
	if (gnutls_x509_crt_get_serial(crt, raw, &raw_len) < 0 || !serial_normal(raw, raw_len, serial) ||
	    gnutls_x509_crt_get_raw_dn(issuer, &name) < 0)
		return true;
	for (unsigned i = 0; i < p->n_crls && !listed; i++) {
		const struct pki_crl *c = &p->crls[i];

		listed = c->issuer_len == name.size && memcmp(c->issuer, name.data, name.size) == 0 &&
			 bsearch(serial, c->serials, c->n_serials, SERIAL_SIZE, compare_serials);
	}
	gnutls_free(name.data);
	return listed;
}

char *pki_warning(const struct pki *p, int64_t now)
{
	for (unsigned i = 0; i < p->n_crls; i++)
		if (!p->crls[i].is_signed)
			return xasprintf(
				"CRL %u is not signed by a certificate authority of the CA file: no certificate "
				"is trusted until it is replaced",
				i + 1);
	for (unsigned i = 0; i < p->n_crls; i++)
		if (p->crls[i].next_update && p->crls[i].next_update < now)
			return xasprintf("CRL %u is out of date: it should have been replaced", i + 1);
	for (unsigned i = 0; i < p->n_cas; i++)
		if (gnutls_x509_crt_get_expiration_time(p->cas[i]) < now)
			return xasprintf("Certificate %u of the CA file has expired", i + 1);
	return NULL;
}

int pki_announce(const struct pki *p, gnutls_certificate_credentials_t cred)
{
	int r = p->n_cas ? gnutls_certificate_set_x509_trust(cred, p->cas, (int)p->n_cas) : 0;

	return r < 0 ? r : 0;
}
