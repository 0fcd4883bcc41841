/*
 * lxd-keygen CRT KEY: make the server's key pair, EC P-384 with SHA-384, valid for ten years. A program of its own,
 * so that key generation code is never in the daemon's memory.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/alloc.h"
#include "base/fd.h"

#define TEN_YEARS (10 * 365 * 24 * 3600L)

static int failed(struct error *err, const char *what, int code)
{
	return error_set(err, 500, "%s: %s", what, gnutls_strerror(code));
}

static int fill(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, struct error *err)
{
	static const unsigned char v4[4] = {127, 0, 0, 1};
	static const unsigned char v6[16] = {[15] = 1};
	auto_free char *cn = NULL;
	unsigned char serial[16];
	char host[256] = "";
	time_t now = time(NULL);
	int r;

	gethostname(host, sizeof(host) - 1);
	cn = xasprintf("root@%s", host);
	r = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
	serial[0] &= 0x7f;
	if (r >= 0)
		r = gnutls_x509_crt_set_version(crt, 3);
	if (r >= 0)
		r = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
	if (r >= 0)
		r = gnutls_x509_crt_set_activation_time(crt, now);
	if (r >= 0)
		r = gnutls_x509_crt_set_expiration_time(crt, now + TEN_YEARS);
	if (r >= 0)
		r = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, "linuxcontainers.org", 19);
	if (r >= 0)
		r = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, cn, (unsigned)strlen(cn));
	if (r >= 0 && *host)
		r = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, host, (unsigned)strlen(host),
							 GNUTLS_FSAN_SET);
	if (r >= 0)
		r = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, v4, 4, GNUTLS_FSAN_APPEND);
	if (r >= 0)
		r = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, v6, 16, GNUTLS_FSAN_APPEND);
	if (r >= 0)
		r = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT);
	if (r >= 0)
		r = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (r >= 0)
		r = gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
	if (r >= 0)
		r = gnutls_x509_crt_set_key(crt, key);
	if (r >= 0)
		r = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA384, 0);
	return r < 0 ? failed(err, "Make certificate", r) : 0;
}

static int make_pair(const char *crt_path, const char *key_path, struct error *err)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	gnutls_datum_t crt_pem = {0}, key_pem = {0};
	int r;

	gnutls_x509_privkey_init(&key);
	gnutls_x509_crt_init(&crt);
	r = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), 0);
	if (r < 0)
		r = failed(err, "Generate key", r);
	if (r == 0)
		r = fill(crt, key, err);
	if (r == 0) {
		r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &crt_pem);
		if (r >= 0)
			r = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_pem);
		r = r < 0 ? failed(err, "Export key pair", r) : 0;
	}
	/* the key first: a certificate without its key would look like a finished pair */
	if (r == 0)
		r = file_replace_at(AT_FDCWD, key_path, key_pem.data, key_pem.size, 0600, err);
	if (r == 0)
		r = file_replace_at(AT_FDCWD, crt_path, crt_pem.data, crt_pem.size, 0644, err);
	if (key_pem.data)
		explicit_bzero(key_pem.data, key_pem.size);
	gnutls_free(key_pem.data);
	gnutls_free(crt_pem.data);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
	return r;
}

int main(int argc, char **argv)
{
	auto_error struct error err = ERROR_INIT;

	if (argc != 3) {
		fprintf(stderr, "usage: lxd-keygen CERTIFICATE KEY\n");
		return 2;
	}
	if (make_pair(argv[1], argv[2], &err) < 0) {
		fprintf(stderr, "%s\n", error_msg(&err));
		return 1;
	}
	return 0;
}
