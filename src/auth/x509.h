/*
 * Certificates, read by lxd-x509: a jailed program, so that the daemon never parses what a stranger made. One process
 * for each call, a few milliseconds; for adding certificates, not for requests.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct x509_info {
	char *pem;            /* normal form: one CERTIFICATE block with a line break at its end */
	char fingerprint[65]; /* SHA-256 of the DER, lower-case hex */
	char *common_name;    /* of the subject; "" without one */
	char *subject;        /* RFC 4514 text */
	int64_t not_before;   /* seconds since the epoch */
	int64_t not_after;
	bool is_rsa;
	unsigned key_bits;
	unsigned verdict; /* enum wire_gate_verdict of a client certificate; WIRE_PKI_OFF when no CA was given */
};

#define X509_INFO_INIT ((struct x509_info){0})
void x509_info_done(struct x509_info *i);

/*
 * Read one certificate, DER or PEM (the first block). @ca_path and @crl_path (NULL: none; a missing file is none) make
 * a verdict. Errors: 400 `Invalid certificate material: ...`; 500 when the program cannot run.
 */
int x509_inspect(const void *data, size_t len, const char *ca_path, const char *crl_path, struct x509_info *ret,
		 struct error *err);
/*
 * Are the files @ca_path and @crl_path (NULL or missing: none) good to be taken over? 500 naming file and reason.
 * @ret_warning (may be NULL) gets what an administrator should know of files that are taken (a CRL that is out of date,
 * or not signed by the CA), or NULL; the caller frees.
 */
int x509_check_authority(const char *ca_path, const char *crl_path, char **ret_warning, struct error *err);
