/* The daemon's side of lxd-x509 with the real program: what is read of a certificate, and what is refused. As root. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "auth/x509.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/wire_gate.h"
#include "certs.h"
#include "unit.h"

static char folder[] = "/tmp/test-x509-XXXXXX";
static struct cert *root, *client;

static int setup(void **state)
{
	(void)state;
	root = cert_new(&(struct cert_spec){.name = "root", .ca = true});
	client = cert_new(&(struct cert_spec){.name = "me@host", .issuer = root});
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	auto_error struct error err = ERROR_INIT;

	(void)state;
	cert_free(root);
	cert_free(client);
	return path_remove_tree(AT_FDCWD, folder, &err);
}

static char *write_file(const char *name, const struct strbuf *data)
{
	char *path = path_join(folder, name);
	auto_error struct error err = ERROR_INIT;

	expect_ok(file_write_at(AT_FDCWD, path, data->data ?: "", data->len, 0600, &err), &err);
	return path;
}

static char *ca_file(void)
{
	auto_strbuf struct strbuf pem = STRBUF_INIT;

	cert_append_pem(root, &pem);
	return write_file("server.ca", &pem);
}

/* Inspect, compare everything but the verdict, and give the verdict. */
static unsigned inspect(const struct cert *c, const void *data, size_t len, const char *ca, const char *crl)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf pem = STRBUF_INIT;
	struct x509_info info = X509_INFO_INIT;
	char hex[SHA256_HEX + 1];
	unsigned verdict;

	expect_ok(x509_inspect(data, len, ca, crl, &info, &err), &err);
	cert_append_pem(c, &pem);
	sha256_hex(c->der.data, c->der.size, hex);
	assert_string_equal(info.pem, strbuf_str(&pem));
	assert_string_equal(info.fingerprint, hex);
	assert_string_equal(info.common_name, "me@host");
	assert_string_equal(info.subject, "CN=me@host");
	assert_int_equal(info.not_after - info.not_before, 25 * 3600);
	assert_false(info.is_rsa);
	assert_int_equal(info.key_bits, 384);
	verdict = info.verdict;
	x509_info_done(&info);
	assert_null(info.pem);
	return verdict;
}

static void reads_der_and_pem(void **state)
{
	auto_strbuf struct strbuf pem = STRBUF_INIT;
	auto_free char *ca = ca_file();

	(void)state;
	cert_append_pem(client, &pem);
	assert_int_equal(inspect(client, client->der.data, client->der.size, NULL, NULL), WIRE_PKI_OFF);
	assert_int_equal(inspect(client, pem.data, pem.len, NULL, NULL), WIRE_PKI_OFF);
	assert_int_equal(inspect(client, pem.data, pem.len, "/nowhere/server.ca", "/nowhere/ca.crl"), WIRE_PKI_OFF);
	assert_int_equal(inspect(client, pem.data, pem.len, ca, NULL), WIRE_PKI_GOOD);
	/* the first block counts, what follows may be its issuer */
	cert_append_pem(root, &pem);
	assert_int_equal(inspect(client, pem.data, pem.len, ca, NULL), WIRE_PKI_GOOD);
}

static void revoked_is_told(void **state)
{
	auto_strbuf struct strbuf list = STRBUF_INIT;
	auto_free char *ca = ca_file(), *crl = NULL;

	(void)state;
	crl_append(&(struct crl_spec){.issuer = root, .revoked = {client}}, GNUTLS_X509_FMT_DER, &list);
	crl = write_file("ca.crl", &list);
	assert_int_equal(inspect(client, client->der.data, client->der.size, ca, crl), WIRE_PKI_REVOKED);
}

static void rsa_is_told(void **state)
{
	struct cert *c = cert_new(&(struct cert_spec){.name = "r", .rsa = true, .rsa_bits = 1024, .to = -60});
	auto_error struct error err = ERROR_INIT;
	struct x509_info info = X509_INFO_INIT;

	(void)state;
	expect_ok(x509_inspect(c->der.data, c->der.size, NULL, NULL, &info, &err), &err);
	assert_true(info.is_rsa);
	assert_int_equal(info.key_bits, 1024);
	assert_true(info.not_after < time(NULL));
	x509_info_done(&info);
	cert_free(c);
}

static void refuse(const void *data, size_t len)
{
	auto_error struct error err = ERROR_INIT;
	struct x509_info info = X509_INFO_INIT;

	expect_error(x509_inspect(data, len, NULL, NULL, &info, &err), &err, 400, "Invalid certificate material: ");
	assert_null(info.pem);
}

static void bad_input_is_refused(void **state)
{
	auto_free char *huge = xmalloc(WIRE_GATE_LEAF_MAX * 4);
	auto_strbuf struct strbuf pem = STRBUF_INIT;
	auto_free unsigned char *trailing = xmalloc(client->der.size + 1);

	(void)state;
	refuse("", 0);
	refuse("rubbish", 7);
	refuse("\x30\x82\xff\xff", 4);
	refuse(client->der.data, client->der.size - 1);
	memset(huge, 0x30, WIRE_GATE_LEAF_MAX * 4);
	refuse(huge, WIRE_GATE_LEAF_MAX * 4);
	refuse(huge, WIRE_GATE_LEAF_MAX + 1);
	memcpy(trailing, client->der.data, client->der.size);
	trailing[client->der.size] = 0;
	refuse(trailing, client->der.size + 1);
	cert_append_pem(client, &pem);
	strbuf_truncate(&pem, pem.len - 50);
	refuse(pem.data, pem.len);
	refuse("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 58);
}

/* It is shown as bytes, not cut off: it cannot pass for another name. */
static void a_name_with_a_nul(void **state)
{
	auto_free unsigned char *copy = xmemdup(client->der.data, client->der.size);
	unsigned char *at = memmem(copy, client->der.size, "me@host", 7);
	auto_error struct error err = ERROR_INIT;
	struct x509_info info = X509_INFO_INIT;

	(void)state;
	assert_non_null(at);
	at[2] = 0;
	expect_ok(x509_inspect(copy, client->der.size, NULL, NULL, &info, &err), &err);
	assert_string_equal(info.common_name, "#0c076d6500686f7374");
	x509_info_done(&info);
}

static void authority_files(void **state)
{
	auto_error struct error err = ERROR_INIT;
	auto_free char *ca = ca_file(), *warning = NULL, *bad = NULL, *crl = NULL, *none = NULL;
	auto_strbuf struct strbuf text = STRBUF_INIT, list = STRBUF_INIT;
	struct cert *other = cert_new(&(struct cert_spec){.name = "other", .ca = true});

	(void)state;
	expect_ok(x509_check_authority(ca, NULL, &none, &err), &err);
	expect_ok(x509_check_authority(NULL, NULL, NULL, &err), &err);
	assert_null(none);
	strbuf_append(&text, "rubbish");
	bad = write_file("bad", &text);
	expect_error(x509_check_authority(bad, NULL, NULL, &err), &err, 500, "There is no CERTIFICATE block");
	expect_error(x509_check_authority(ca, bad, NULL, &err), &err, 500, bad);
	expect_error(x509_check_authority(folder, NULL, NULL, &err), &err, 500, "not a regular file");
	crl_append(&(struct crl_spec){.issuer = other}, GNUTLS_X509_FMT_PEM, &list);
	crl = write_file("ca.crl", &list);
	expect_ok(x509_check_authority(ca, crl, &warning, &err), &err);
	assert_non_null(strstr(warning, "not signed"));
	cert_free(other);
}

static void a_fifo_is_no_file(void **state)
{
	auto_free char *path = path_join(folder, "fifo");
	auto_error struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_error(x509_check_authority(path, NULL, NULL, &err), &err, 500, "not a regular file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_der_and_pem), cmocka_unit_test(revoked_is_told),
		cmocka_unit_test(rsa_is_told),       cmocka_unit_test(bad_input_is_refused),
		cmocka_unit_test(a_name_with_a_nul), cmocka_unit_test(authority_files),
		cmocka_unit_test(a_fifo_is_no_file),
	};

	if (geteuid() != 0)
		return 77;
	return cmocka_run_group_tests(tests, setup, teardown);
}
