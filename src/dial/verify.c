/*
 * Whether the server is believed. A pin is the SHA-256 of the leaf, and nothing else of it matters; authorities need
 * a chain, the present time, the purpose and the name (DNS or IP in the subject's alternative names, never the CN).
 */
#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include <gnutls/x509.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "base/wire_dial.h"
#include "dial/tls_internal.h"

#define CHAIN_MAX 10
#define ROOTS_PARSED_MAX 64

bool verify_is_address(const char *host)
{
	unsigned char raw[16];

	return inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
}

struct chain {
	gnutls_x509_crt_t crts[CHAIN_MAX];
	unsigned len;
};

static void chain_done(struct chain *c)
{
	for (unsigned i = 0; i < c->len; i++)
		gnutls_x509_crt_deinit(c->crts[i]);
	c->len = 0;
}

/* Import one certificate; a bad one gives NULL. */
static gnutls_x509_crt_t import(const gnutls_datum_t *der)
{
	gnutls_x509_crt_t crt = NULL;

	if (gnutls_x509_crt_init(&crt) < 0)
		return NULL;
	if (gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) < 0) {
		gnutls_x509_crt_deinit(crt);
		return NULL;
	}
	return crt;
}

static int chain_import(const gnutls_datum_t *raw, unsigned n, struct chain *ret, struct error *err)
{
	if (n > CHAIN_MAX)
		return error_set(err, 503, "x509: the server's chain has %u certificates", n);
	for (unsigned i = 0; i < n; i++) {
		gnutls_x509_crt_t crt = import(&raw[i]);

		if (!crt)
			return error_set(err, 503, "tls: failed to parse certificate from server");
		ret->crts[ret->len++] = crt;
	}
	return 0;
}

static char *to_pem(const char *type, const gnutls_datum_t *der)
{
	gnutls_datum_t pem = {0};
	char *text = NULL;

	if (gnutls_pem_base64_encode2(type, der, &pem) == 0) {
		text = xstrndup((const char *)pem.data, pem.size);
		gnutls_free(pem.data);
	}
	return text;
}

static bool is_pinned(const struct dial_request *req, const char *fingerprint)
{
	for (size_t i = 0; i < req->pins.len; i++)
		if (secret_equal(req->pins.items[i], fingerprint))
			return true;
	return false;
}

/* --- authorities --- */

/* May @der be the certificate of somebody who issued one of the chain? Names are compared as bytes. */
static bool is_wanted(const gnutls_datum_t *der, const struct chain *chain)
{
	for (unsigned i = 0; i < chain->len; i++) {
		gnutls_datum_t dn = {0};
		bool found;

		if (gnutls_x509_crt_get_raw_issuer_dn(chain->crts[i], &dn) < 0)
			continue;
		found = memmem(der->data, der->size, dn.data, dn.size) != NULL;
		gnutls_free(dn.data);
		if (found)
			return true;
	}
	return false;
}

/* The next certificate of @text as bytes; returns where to go on, or NULL at the end. */
static const char *next_pem(const char *text, struct strbuf *der)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
	const char *from = strstr(text, begin);
	const char *to = from ? strstr(from, end) : NULL;
	auto_free char *body = NULL;

	if (!to)
		return NULL;
	from += sizeof(begin) - 1;
	body = xstrndup(from, (size_t)(to - from));
	strbuf_truncate(der, 0);
	if (base64_decode(body, der) < 0)
		strbuf_truncate(der, 0);
	return to + sizeof(end) - 1;
}

static unsigned trust_wanted(gnutls_x509_trust_list_t list, const char *pem, const struct chain *chain)
{
	auto_strbuf struct strbuf der = STRBUF_INIT;
	unsigned n = 0;

	for (const char *at = next_pem(pem, &der); at && n < ROOTS_PARSED_MAX; at = next_pem(at, &der)) {
		gnutls_datum_t raw = {.data = (unsigned char *)der.data, .size = (unsigned)der.len};
		gnutls_x509_crt_t crt = der.len && is_wanted(&raw, chain) ? import(&raw) : NULL;

		if (!crt)
			continue;
		if (gnutls_x509_trust_list_add_cas(list, &crt, 1, GNUTLS_TL_NO_DUPLICATES) == 1)
			n++;
		else
			gnutls_x509_crt_deinit(crt);
	}
	return n;
}

/* --- names --- */

static void names_of(gnutls_x509_crt_t crt, struct strv *dns, struct strv *ips)
{
	char buf[512];

	for (unsigned i = 0;; i++) {
		size_t len = sizeof(buf) - 1;
		int type = gnutls_x509_crt_get_subject_alt_name(crt, i, buf, &len, NULL);
		char text[INET6_ADDRSTRLEN];

		if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE || (type < 0 && type != GNUTLS_E_SHORT_MEMORY_BUFFER))
			return;
		if (type == GNUTLS_SAN_DNSNAME) {
			buf[len] = '\0';
			strv_add(dns, buf);
		} else if (type == GNUTLS_SAN_IPADDRESS && (len == 4 || len == 16)) {
			inet_ntop(len == 4 ? AF_INET : AF_INET6, buf, text, sizeof(text));
			strv_add(ips, text);
		}
	}
}

static int check_address(gnutls_x509_crt_t crt, const char *host, const struct strv *ips, struct error *err)
{
	auto_free char *list = strv_join(ips, ", ");
	unsigned char raw[16];
	unsigned len = inet_pton(AF_INET, host, raw) == 1 ? 4 : 16;

	if (len == 16 && inet_pton(AF_INET6, host, raw) != 1)
		return error_set(err, 503, "x509: cannot validate certificate for %s", host);
	if (gnutls_x509_crt_check_ip(crt, raw, len, 0))
		return 0;
	if (ips->len == 0)
		return error_set(err, 503,
				 "x509: cannot validate certificate for %s because it doesn't contain any IP SANs",
				 host);
	return error_set(err, 503, "x509: certificate is valid for %s, not %s", list, host);
}

static int check_name(gnutls_x509_crt_t crt, const char *host, struct error *err)
{
	auto_strv struct strv dns = STRV_INIT, ips = STRV_INIT;
	auto_free char *list = NULL;

	names_of(crt, &dns, &ips);
	if (verify_is_address(host))
		return check_address(crt, host, &ips, err);
	/* without a DNS name the library would look at the CN */
	if (dns.len && gnutls_x509_crt_check_hostname2(crt, host, 0))
		return 0;
	if (dns.len == 0 && ips.len == 0)
		return error_set(err, 503, "x509: certificate relies on legacy Common Name field, use SANs instead");
	if (dns.len == 0)
		return error_set(err, 503, "x509: certificate is not valid for any names, but wanted to match %s",
				 host);
	list = strv_join(&dns, ", ");
	return error_set(err, 503, "x509: certificate is valid for %s, not %s", list, host);
}

/* --- the judgement --- */

static int time_error(gnutls_x509_crt_t crt, struct error *err)
{
	time_t now = time(NULL), begin = gnutls_x509_crt_get_activation_time(crt);
	char a[TIME_TEXT_MAX], b[TIME_TEXT_MAX];
	bool early = now < begin;
	time_t limit = early ? begin : gnutls_x509_crt_get_expiration_time(crt);

	return error_set(err, 503, "x509: certificate has expired or is not yet valid: current time %s is %s %s",
			 time_format((int64_t)now * 1000000000, a), early ? "before" : "after",
			 time_format((int64_t)limit * 1000000000, b));
}

static int chain_error(const struct chain *chain, unsigned status, struct error *err)
{
	if (status & (GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED)) {
		time_t now = time(NULL);

		for (unsigned i = 0; i < chain->len; i++)
			if (now < gnutls_x509_crt_get_activation_time(chain->crts[i]) ||
			    now > gnutls_x509_crt_get_expiration_time(chain->crts[i]))
				return time_error(chain->crts[i], err);
		return time_error(chain->crts[0], err);
	}
	if (status & GNUTLS_CERT_PURPOSE_MISMATCH)
		return error_set(err, 503, "x509: certificate specifies an incompatible key usage");
	if (status & GNUTLS_CERT_INSECURE_ALGORITHM)
		return error_set(err, 503, "x509: cannot verify signature: insecure algorithm");
	return error_set(err, 503, "x509: certificate signed by unknown authority");
}

static int check_chain(const struct chain *chain, const char *host, const char *pem, struct error *err)
{
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
					 .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_SERVER};
	gnutls_x509_crt_t crts[CHAIN_MAX];
	gnutls_x509_trust_list_t list = NULL;
	unsigned status = GNUTLS_CERT_INVALID;
	int r;

	if (gnutls_x509_trust_list_init(&list, 0) < 0)
		return error_set(err, 507, "Out of memory for certificate authorities");
	trust_wanted(list, pem, chain);
	memcpy(crts, chain->crts, sizeof(crts));
	r = gnutls_x509_trust_list_verify_crt2(list, crts, chain->len, &purpose, 1,
					       GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM), &status, NULL);
	gnutls_x509_trust_list_deinit(list, 1);
	if (r < 0)
		return error_set(err, 503, "x509: %s", gnutls_strerror(r));
	if (status)
		return chain_error(chain, status, err);
	return check_name(chain->crts[0], host, err);
}

static int judge_by_authorities(struct tls *t, const gnutls_datum_t *raw, unsigned n, struct error *err)
{
	CLEANUP(chain_done) struct chain chain = {.len = 0};
	int r = chain_import(raw, n, &chain, err);

	if (r < 0)
		return r;
	if (t->req->flags & WIRE_DIAL_CA) {
		r = check_chain(&chain, t->req->host, t->req->ca_pem, err);
		if (r == 0)
			t->reply->accepted_by = WIRE_DIAL_CA;
	}
	if ((t->req->flags & WIRE_DIAL_SYSTEM_ROOTS) && t->reply->accepted_by == 0) {
		error_clear(err);
		r = check_chain(&chain, t->req->host, strbuf_str(&t->system->pem), err);
		if (r == 0)
			t->reply->accepted_by = WIRE_DIAL_SYSTEM_ROOTS;
	}
	return r;
}

static int judge(struct tls *t, const gnutls_datum_t *raw, unsigned n, struct error *err)
{
	if (t->req->flags & WIRE_DIAL_FETCH) {
		t->reply->accepted_by = WIRE_DIAL_FETCH;
		return 0;
	}
	if ((t->req->flags & WIRE_DIAL_PIN) && is_pinned(t->req, t->reply->fingerprint)) {
		t->reply->accepted_by = WIRE_DIAL_PIN;
		return 0;
	}
	if (t->req->flags & (WIRE_DIAL_CA | WIRE_DIAL_SYSTEM_ROOTS))
		return judge_by_authorities(t, raw, n, err);
	return error_set(err, 503, "x509: certificate signed by unknown authority");
}

int verify_server(gnutls_session_t session)
{
	struct tls *t = gnutls_session_get_ptr(session);
	unsigned n = 0;
	const gnutls_datum_t *raw = gnutls_certificate_get_peers(session, &n);

	if (!raw || n == 0) {
		error_set(&t->verdict, 503, "tls: the server sent no certificate");
		return GNUTLS_E_CERTIFICATE_ERROR;
	}
	free(t->reply->leaf_pem);
	t->reply->leaf_pem = to_pem("CERTIFICATE", &raw[0]);
	sha256_hex(raw[0].data, raw[0].size, t->reply->fingerprint);
	return judge(t, raw, n, &t->verdict) < 0 ? GNUTLS_E_CERTIFICATE_ERROR : 0;
}
