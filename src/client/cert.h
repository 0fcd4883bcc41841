/*
 * Certificates as far as the client itself looks at them: PEM and DER, fingerprints, and the few fields that
 * `lxc config trust list` shows. Nothing is decided by what is read here; judging certificates is lxd-dial's job.
 */
#pragma once

#include <stddef.h>

#include "base/crypto.h"
#include "base/error.h"
#include "base/strbuf.h"

/* The first CERTIFICATE block of @pem as DER; -EINVAL when there is none. */
int cert_pem_to_der(const char *pem, size_t len, struct strbuf *ret) MUST_USE;
/* Lower-case hex of the SHA-256 of the first certificate in @pem; -EINVAL when there is none. */
int cert_pem_fingerprint(const char *pem, size_t len, char hex[SHA256_HEX + 1]) MUST_USE;

struct cert_summary {
	char *common_name; /* of the subject, "" when it has none */
	char *not_before;  /* "2026-11-25T22:23:00Z" */
	char *not_after;
};

#define CERT_SUMMARY_INIT ((struct cert_summary){0})
#define auto_cert_summary CLEANUP(cert_summary_done)
void cert_summary_done(struct cert_summary *s);
/* Read the outline of a DER certificate; -EINVAL when it is none. */
int cert_summary(const void *der, size_t len, struct cert_summary *ret) MUST_USE;
