/* The daemon's side of lxd-x509: files and bytes go in by number, one bounded answer comes back and is checked. */
#include "auth/x509.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/str.h"
#include "base/wire.h"
#include "base/wire_gate.h"
#include "base/wire_x509.h"

#define TIMEOUT_MS 30000

void x509_info_done(struct x509_info *i)
{
	free(i->pem);
	free(i->common_name);
	free(i->subject);
	*i = X509_INFO_INIT;
}

/* The file, or /dev/null when there is none. */
static int open_file(const char *path, int *ret_fd, struct error *err)
{
	auto_close int fd = -EBADF;
	struct stat st;

	/* not blocking: a FIFO in its place must not stop the daemon */
	if (path)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (path && fd < 0 && errno != ENOENT)
		return error_errno(err, errno, "Open %s", path);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		return error_set(err, 500, "%s is not a regular file", path);
	if (fd < 0)
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "Open /dev/null");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The bytes as a file in memory, read from its start. */
static int input_file(const void *data, size_t len, int *ret_fd, struct error *err)
{
	auto_close int fd = memfd_create("certificate", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return error_errno(err, errno, "Create a file in memory");
	r = fd_write_full(fd, data, len);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r < 0)
		return error_errno(err, -r, "Write to a file in memory");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Run the program; on success @reply stands behind magic and status 0. */
static int run(const char *mode, int input, const char *ca_path, const char *crl_path, struct process_result *res,
	       struct wire_reader *reply, struct error *err)
{
	auto_free char *program = process_helper_path("lxd-x509");
	const char *const argv[] = {program, mode, NULL};
	struct process_spec spec = PROCESS_SPEC_INIT;
	auto_close int ca = -EBADF, crl = -EBADF;
	auto_free char *message = NULL;
	uint32_t magic, status;
	int r = open_file(ca_path, &ca, err);

	if (r == 0)
		r = open_file(crl_path, &crl, err);
	if (r < 0)
		return r;
	spec.argv = argv;
	spec.stdin_fd = input;
	spec.fds = (const int[]){ca, crl};
	spec.nfds = 2;
	spec.timeout_ms = TIMEOUT_MS;
	r = process_run(&spec, res, err);
	if (r < 0)
		return error_wrap(err, "Read certificate");
	*reply = (struct wire_reader){.data = (const unsigned char *)res->out.data, .len = res->out.len};
	magic = wire_get_u32(reply);
	status = wire_get_u32(reply);
	if (magic == WIRE_X509_MAGIC && status == 0)
		return 0;
	message = wire_get_str(reply);
	if (magic != WIRE_X509_MAGIC || !wire_done(reply) || !message || (status != 400 && status != 500))
		return error_set(err, 500, "Read certificate: lxd-x509 gave a malformed answer");
	return error_set(err, (int)status, "%s", message);
}

/* The DER bytes of a PEM block that lxd-x509 made. */
static int decode_pem(const char *pem, struct strbuf *ret)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----\n", end[] = "-----END CERTIFICATE-----\n";
	const char *body = startswith(pem, begin), *stop = endswith(pem, end);
	auto_free char *text = NULL;

	if (!body || !stop || stop < body)
		return -EINVAL;
	text = xstrndup(body, (size_t)(stop - body));
	return base64_decode(text, ret);
}

/* The program has read a stranger's bytes: what it says must fit together, and be about those bytes. */
static bool is_consistent(const struct x509_info *info, const void *data, size_t len)
{
	auto_strbuf struct strbuf der = STRBUF_INIT;
	char hex[SHA256_HEX + 1];

	if (!info->pem || !info->common_name || !info->subject || info->verdict >= WIRE_PKI_MAX ||
	    decode_pem(info->pem, &der) < 0)
		return false;
	sha256_hex(der.data, der.len, hex);
	if (!streq(hex, info->fingerprint))
		return false;
	return *(const unsigned char *)data != 0x30 || (der.len == len && memcmp(der.data, data, len) == 0);
}

static bool decode(struct wire_reader *reply, struct x509_info *info)
{
	auto_free char *fingerprint = NULL;

	info->pem = wire_get_str(reply);
	fingerprint = wire_get_str(reply);
	info->common_name = wire_get_str(reply);
	info->subject = wire_get_str(reply);
	info->not_before = (int64_t)wire_get_u64(reply);
	info->not_after = (int64_t)wire_get_u64(reply);
	info->is_rsa = wire_get_u32(reply) != 0;
	info->key_bits = wire_get_u32(reply);
	info->verdict = wire_get_u32(reply);
	if (!wire_done(reply) || !fingerprint || strlen(fingerprint) != SHA256_HEX)
		return false;
	memcpy(info->fingerprint, fingerprint, sizeof(info->fingerprint));
	return true;
}

int x509_inspect(const void *data, size_t len, const char *ca_path, const char *crl_path, struct x509_info *ret,
		 struct error *err)
{
	auto_process_result struct process_result res = PROCESS_RESULT_INIT;
	struct x509_info info = X509_INFO_INIT;
	auto_close int input = -EBADF;
	struct wire_reader reply;
	int r;

	if (len == 0)
		return error_set(err, 400, "Invalid certificate material: there is none");
	if (len > WIRE_X509_INPUT_MAX)
		return error_set(err, 400, "Invalid certificate material: it is larger than %u bytes",
				 WIRE_X509_INPUT_MAX);
	r = input_file(data, len, &input, err);
	if (r == 0)
		r = run("inspect", input, ca_path, crl_path, &res, &reply, err);
	if (r < 0)
		return r;
	if (!decode(&reply, &info) || !is_consistent(&info, data, len)) {
		x509_info_done(&info);
		return error_set(err, 500, "Read certificate: lxd-x509 gave a malformed answer");
	}
	*ret = info;
	return 0;
}

int x509_check_authority(const char *ca_path, const char *crl_path, char **ret_warning, struct error *err)
{
	auto_process_result struct process_result res = PROCESS_RESULT_INIT;
	auto_free char *warning = NULL;
	struct wire_reader reply;
	int r = run("authority", -1, ca_path, crl_path, &res, &reply, err);

	if (r < 0)
		return error_wrap(err, "Check %s and %s", ca_path ? ca_path : "no CA", crl_path ? crl_path : "no CRL");
	warning = wire_get_str(&reply);
	if (!wire_done(&reply))
		return error_set(err, 500, "Read certificate: lxd-x509 gave a malformed answer");
	if (ret_warning)
		*ret_warning = TAKE_PTR(warning);
	return 0;
}
