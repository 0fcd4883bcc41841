/*
 * The program lxd-x509: reads one certificate, or the CA and CRL files, in a jail, and writes one answer
 * (base/wire_x509.h). Exit code 0 means that an answer was written, also when it tells of an error.
 */
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/wire.h"
#include "base/wire_x509.h"
#include "base/confine.h"
#include "tls/pki.h"

#define NAME_MAX_BYTES 4096
#define NAMES_MAX 64
#define CHAIN_MAX 4 /* certificates of the input that are looked at: the first is the one asked about */

static int read_all(int fd, size_t max, const char *what, struct strbuf *ret, struct error *err)
{
	for (;;) {
		ssize_t n;

		strbuf_reserve(ret, 16384);
		n = read(fd, ret->data + ret->len, ret->cap - ret->len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, errno, "Read %s", what);
		if (n == 0)
			return 0;
		ret->len += (size_t)n;
		if (ret->len > max)
			return error_set(err, 400, "%s: it is larger than %zu bytes", what, max);
	}
}

/* server.ca and ca.crl, as far as they are there. */
static int read_pki(struct pki **ret, struct error *err)
{
	auto_strbuf struct strbuf ca = STRBUF_INIT, crl = STRBUF_INIT;
	int r = read_all(WIRE_X509_CA_FD, WIRE_GATE_CA_MAX, "CA file", &ca, err);

	if (r == 0)
		r = read_all(WIRE_X509_CRL_FD, WIRE_GATE_CRL_MAX, "CRL file", &crl, err);
	return r < 0 ? r : pki_new(ca.data, ca.len, crl.data, crl.len, ret, err);
}

static int refused(struct error *err, int code)
{
	return error_set(err, 400, "Invalid certificate material: %s", gnutls_strerror(code));
}

/* The certificates of the input, DER or PEM; 1 to CHAIN_MAX of them. */
static int read_chain(gnutls_x509_crt_t chain[CHAIN_MAX], unsigned *ret_len, struct error *err)
{
	auto_strbuf struct strbuf input = STRBUF_INIT;
	gnutls_datum_t data;
	bool der;
	int r = read_all(STDIN_FILENO, WIRE_X509_INPUT_MAX, "Invalid certificate material", &input, err);

	if (r < 0)
		return r;
	if (input.len == 0)
		return error_set(err, 400, "Invalid certificate material: there is none");
	data = (gnutls_datum_t){.data = (unsigned char *)input.data, .size = (unsigned)input.len};
	der = input.data[0] == 0x30;
	*ret_len = der ? 1 : CHAIN_MAX;
	r = gnutls_x509_crt_list_import(chain, ret_len, &data, der ? GNUTLS_X509_FMT_DER : GNUTLS_X509_FMT_PEM, 0);
	if (r < 0) {
		*ret_len = 0;
		return refused(err, r);
	}
	*ret_len = (unsigned)r;
	return r == 0 ? refused(err, GNUTLS_E_BASE64_UNEXPECTED_HEADER_ERROR) : 0;
}

/* A text of the certificate as a field; a NUL in it is nobody's honest name. */
static int put_text(struct strbuf *out, const void *data, size_t len, struct error *err)
{
	auto_free char *text = xstrndup(data ? data : "", len);

	if (strlen(text) != len)
		return error_set(err, 400, "Invalid certificate material: there is a NUL in the subject");
	wire_put_str(out, text);
	return 0;
}

/* The last common name of the subject, "" without one. */
static int put_common_name(gnutls_x509_crt_t crt, struct strbuf *out, struct error *err)
{
	char name[NAME_MAX_BYTES] = "";
	size_t name_len = 0;

	for (unsigned i = 0; i < NAMES_MAX; i++) {
		char next[NAME_MAX_BYTES];
		size_t len = sizeof(next);
		int r = gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, i, 0, next, &len);

		if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (r < 0)
			return refused(err, r);
		memcpy(name, next, len);
		name_len = len;
	}
	return put_text(out, name, name_len, err);
}

static int put_subject(gnutls_x509_crt_t crt, struct strbuf *out, struct error *err)
{
	gnutls_datum_t dn = {0};
	int r = gnutls_x509_crt_get_dn3(crt, &dn, 0);

	if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return put_text(out, "", 0, err);
	if (r < 0)
		return refused(err, r);
	r = put_text(out, dn.data, dn.size, err);
	gnutls_free(dn.data);
	return r;
}

static int put_dates(gnutls_x509_crt_t crt, struct strbuf *out, struct error *err)
{
	time_t from = gnutls_x509_crt_get_activation_time(crt), to = gnutls_x509_crt_get_expiration_time(crt);

	if (from == (time_t)-1 || to == (time_t)-1)
		return error_set(err, 400, "Invalid certificate material: its dates cannot be read");
	wire_put_u64(out, (uint64_t)from);
	wire_put_u64(out, (uint64_t)to);
	return 0;
}

static int put_key(gnutls_x509_crt_t crt, struct strbuf *out, struct error *err)
{
	unsigned bits = 0;
	int algorithm = gnutls_x509_crt_get_pk_algorithm(crt, &bits);

	if (algorithm < 0)
		return refused(err, algorithm);
	wire_put_u32(out, algorithm == GNUTLS_PK_RSA || algorithm == GNUTLS_PK_RSA_PSS);
	wire_put_u32(out, bits);
	return 0;
}

static int put_pem(gnutls_x509_crt_t crt, struct strbuf *out, struct error *err)
{
	gnutls_datum_t pem = {0};
	int r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);

	if (r < 0)
		return refused(err, r);
	r = put_text(out, pem.data, pem.size, err);
	gnutls_free(pem.data);
	return r;
}

static int put_fingerprint(gnutls_x509_crt_t crt, struct strbuf *out, struct error *err)
{
	gnutls_datum_t der = {0};
	char hex[SHA256_HEX + 1];
	int r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der);

	if (r < 0)
		return refused(err, r);
	sha256_hex(der.data, der.size, hex);
	wire_put_str(out, hex);
	r = der.size > WIRE_GATE_LEAF_MAX
		    ? error_set(err, 400, "Invalid certificate material: it is larger than %u bytes",
				WIRE_GATE_LEAF_MAX)
		    : 0;
	gnutls_free(der.data);
	return r;
}

/* The first certificate is the one asked about; what comes with it may be its issuer. */
static int put_verdict(const struct pki *pki, const gnutls_x509_crt_t *chain, unsigned len, struct strbuf *out,
		       struct error *err)
{
	gnutls_datum_t der[CHAIN_MAX] = {0};
	int r = 0;

	for (unsigned i = 0; i < len && r >= 0; i++)
		r = gnutls_x509_crt_export2(chain[i], GNUTLS_X509_FMT_DER, &der[i]);
	if (r >= 0)
		wire_put_u32(out, pki_judge(pki, der, len, time(NULL), NULL));
	for (unsigned i = 0; i < len; i++)
		gnutls_free(der[i].data);
	return r < 0 ? refused(err, r) : 0;
}

static int describe(const struct pki *pki, const gnutls_x509_crt_t *chain, unsigned len, struct strbuf *out,
		    struct error *err)
{
	int r = put_pem(chain[0], out, err);

	if (r == 0)
		r = put_fingerprint(chain[0], out, err);
	if (r == 0)
		r = put_common_name(chain[0], out, err);
	if (r == 0)
		r = put_subject(chain[0], out, err);
	if (r == 0)
		r = put_dates(chain[0], out, err);
	if (r == 0)
		r = put_key(chain[0], out, err);
	return r < 0 ? r : put_verdict(pki, chain, len, out, err);
}

static int inspect(struct strbuf *out, struct error *err)
{
	CLEANUP(pki_freep) struct pki *pki = NULL;
	gnutls_x509_crt_t chain[CHAIN_MAX];
	unsigned len = 0;
	int r = read_pki(&pki, err);

	if (r < 0)
		return error_status(err, 500);
	r = read_chain(chain, &len, err);
	if (r == 0)
		r = describe(pki, chain, len, out, err);
	for (unsigned i = 0; i < len; i++)
		gnutls_x509_crt_deinit(chain[i]);
	return r;
}

static int check_authority(struct strbuf *out, struct error *err)
{
	CLEANUP(pki_freep) struct pki *pki = NULL;
	auto_free char *warning = NULL;
	int r = read_pki(&pki, err);

	if (r < 0)
		return error_status(err, 500);
	warning = pki_warning(pki, time(NULL));
	wire_put_str(out, warning);
	return 0;
}

static int confine(struct error *err)
{
	struct confine_spec spec = {.program = CONFINE_X509,
				    .fds_keep = WIRE_X509_CRL_FD + 1,
				    .nofile = 16,
				    .memory_mib = 256,
				    .cpu_seconds = 20};

	return confine_enter(&spec, err);
}

static int answer(const struct strbuf *fields, const struct error *err)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;

	wire_put_u32(&out, WIRE_X509_MAGIC);
	wire_put_u32(&out, (uint32_t)err->status);
	if (err->status)
		wire_put_str(&out, error_msg(err));
	else
		strbuf_append_len(&out, fields->data, fields->len);
	return fd_write_full(STDOUT_FILENO, out.data, out.len);
}

int main(int argc, char **argv)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	bool authority = argc == 2 && streq(argv[1], "authority");

	if (!authority && (argc != 2 || !streq(argv[1], "inspect"))) {
		fprintf(stderr, "lxd-x509 is started by lxd: lxd-x509 inspect|authority\n");
		return 2;
	}
	if (confine(&err) == 0) {
		if (authority)
			check_authority(&out, &err);
		else
			inspect(&out, &err);
	}
	/* no exit handlers: there is nothing to flush, and the jail allows little */
	_exit(answer(&out, &err) < 0 ? 126 : 0);
}
