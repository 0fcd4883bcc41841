/*
 * lxd-keygen [--client] CERTIFICATE KEY: make a key pair, EC P-384 with SHA-384, valid for ten years, for the server or
 * for a client. A program of its own, so that key generation code is never in the daemon's memory. A client's pair
 * that is there already is kept. Whoever starts it for a client holds the lock of the folder (src/client/config.c).
 */
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"

#define TEN_YEARS (3650 * 24 * 3600L)
#define NAME_BYTES_MAX 64 /* of a common name, by X.520 */

struct job {
	bool client;
	const char *crt_path;
	const char *key_path;
};

static int failed(struct error *err, const char *what, int code)
{
	return error_set(err, 500, "%s: %s", what, gnutls_strerror(code));
}

static int set_serial(gnutls_x509_crt_t crt)
{
	unsigned char serial[16];
	int r = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));

	/* neither negative nor shortened */
	serial[0] = (serial[0] & 0x7f) | 0x40;
	return r < 0 ? r : gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
}

/* O=linuxcontainers.org, CN=user@host */
static int set_name(gnutls_x509_crt_t crt, const char *host)
{
	const struct passwd *pw = getpwuid(getuid());
	auto_free char *cn = xasprintf("%s@%s", pw ? pw->pw_name : "UNKNOWN", host);
	int r = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, "linuxcontainers.org", 19);

	if (strlen(cn) > NAME_BYTES_MAX)
		cn[NAME_BYTES_MAX] = '\0';
	return r < 0 ? r : gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, cn, (unsigned)strlen(cn));
}

static int set_dates(gnutls_x509_crt_t crt)
{
	time_t now = time(NULL);
	int r = gnutls_x509_crt_set_activation_time(crt, now);

	return r < 0 ? r : gnutls_x509_crt_set_expiration_time(crt, now + TEN_YEARS);
}

/* What a server is reached by. Clients of the reference verify the first DNS name, whatever address they dial. */
static int set_alternative_names(gnutls_x509_crt_t crt, const char *host)
{
	static const unsigned char v4[4] = {127, 0, 0, 1};
	static const unsigned char v6[16] = {[15] = 1};
	int r = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, host, (unsigned)strlen(host),
						     GNUTLS_FSAN_SET);

	if (r >= 0)
		r = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, v4, 4, GNUTLS_FSAN_APPEND);
	if (r >= 0)
		r = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, v6, 16, GNUTLS_FSAN_APPEND);
	return r;
}

/* GnuTLS marks key usage and basic constraints critical. */
static int set_purpose(gnutls_x509_crt_t crt, bool client)
{
	int r = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT);

	if (r >= 0)
		r = gnutls_x509_crt_set_key_purpose_oid(
			crt, client ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER, 0);
	return r < 0 ? r : gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
}

static int fill(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, bool client, struct error *err)
{
	char name[256] = "";
	const char *host = gethostname(name, sizeof(name) - 1) == 0 && *name ? name : "localhost";
	int r = gnutls_x509_crt_set_version(crt, 3);

	if (r >= 0)
		r = set_serial(crt);
	if (r >= 0)
		r = set_dates(crt);
	if (r >= 0)
		r = set_name(crt, host);
	if (r >= 0 && !client)
		r = set_alternative_names(crt, host);
	if (r >= 0)
		r = set_purpose(crt, client);
	if (r >= 0)
		r = gnutls_x509_crt_set_key(crt, key);
	if (r >= 0)
		r = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA384, 0);
	return r < 0 ? failed(err, "Make certificate", r) : 0;
}

/*
 * An old certificate goes first, then comes the key, then the certificate that belongs to it: whenever this is
 * interrupted there is no certificate, and a pair without one is made anew.
 */
static int write_pair(const struct job *job, const gnutls_datum_t *crt, const gnutls_datum_t *key, struct error *err)
{
	int r;

	if (unlink(job->crt_path) < 0 && errno != ENOENT)
		return error_errno(err, errno, "Remove %s", job->crt_path);
	/* this also makes the removal last, when both are in one folder */
	r = file_replace_at(AT_FDCWD, job->key_path, key->data, key->size, 0600, err);
	return r < 0 ? r : file_replace_at(AT_FDCWD, job->crt_path, crt->data, crt->size, 0644, err);
}

static int export_pair(const struct job *job, gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, struct error *err)
{
	gnutls_datum_t crt_pem = {0}, key_pem = {0};
	int r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &crt_pem);

	/* an EC key in the form of SEC 1: "EC PRIVATE KEY" */
	if (r >= 0)
		r = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_pem);
	r = r < 0 ? failed(err, "Export key pair", r) : write_pair(job, &crt_pem, &key_pem, err);
	if (key_pem.data)
		explicit_bzero(key_pem.data, key_pem.size);
	gnutls_free(key_pem.data);
	gnutls_free(crt_pem.data);
	return r;
}

static int make_pair(const struct job *job, struct error *err)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	int r;

	gnutls_x509_privkey_init(&key);
	gnutls_x509_crt_init(&crt);
	r = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), 0);
	r = r < 0 ? failed(err, "Generate key", r) : fill(crt, key, job->client, err);
	if (r == 0)
		r = export_pair(job, crt, key, err);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
	return r;
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* One at a time in a folder: two that mix would leave a key and a certificate that do not belong together. */
static int lock_folder(const struct job *job, int *ret_fd, struct error *err)
{
	auto_free char *folder = folder_of(job->key_path);
	auto_close int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, errno, "Open folder %s", folder);
	if (flock(fd, LOCK_EX) < 0)
		return error_errno(err, errno, "Lock folder %s", folder);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int run(const struct job *job, struct error *err)
{
	auto_close int lock = -EBADF;
	int r = 0;

	if (job->client && access(job->crt_path, F_OK) == 0 && access(job->key_path, F_OK) == 0)
		return 0;
	if (!job->client)
		r = lock_folder(job, &lock, err);
	return r < 0 ? r : make_pair(job, err);
}

int main(int argc, char **argv)
{
	auto_error struct error err = ERROR_INIT;
	struct job job = {.client = argc == 4 && streq(argv[1], "--client")};

	if (argc != 3 && !job.client) {
		fprintf(stderr, "usage: lxd-keygen [--client] CERTIFICATE KEY\n");
		return 2;
	}
	job.crt_path = argv[argc - 2];
	job.key_path = argv[argc - 1];
	if (run(&job, &err) < 0) {
		fprintf(stderr, "%s\n", error_msg(&err));
		return 1;
	}
	return 0;
}
