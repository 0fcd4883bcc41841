/*
 * Fuzz target: CA file, CRL file and a client's chain. Two numbers of two bytes say how long CA and CRL are, the rest
 * is the leaf, twice: as its own issuer too. Nothing that is made up here can be good, unless a seed's CA has signed
 * it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tls/pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1800000000 /* the seeds' certificates are valid then */

static void check(const struct pki *p, const uint8_t *leaf, size_t len)
{
	gnutls_datum_t chain[3];
	struct pki_dates dates;
	enum wire_gate_verdict verdict;

	free(pki_warning(p, NOW));
	for (size_t i = 0; i < ARRAY_SIZE(chain); i++)
		chain[i] = (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)leaf, .size = (unsigned)len};
	verdict = pki_judge(p, chain, ARRAY_SIZE(chain), NOW, &dates);
	if (verdict >= WIRE_PKI_MAX || verdict == WIRE_PKI_NONE || (verdict == WIRE_PKI_OFF) == pki_is_on(p))
		abort();
	if (verdict == WIRE_PKI_GOOD && (dates.not_before > NOW || dates.not_after < NOW))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_error struct error err = ERROR_INIT;
	CLEANUP(pki_freep) struct pki *p = NULL;
	size_t ca, crl;

	if (size < 4)
		return 0;
	ca = data[0] | (size_t)data[1] << 8;
	crl = data[2] | (size_t)data[3] << 8;
	data += 4;
	size -= 4;
	if (ca > size || crl > size - ca)
		return 0;
	if (pki_new(data, ca, data + ca, crl, &p, &err) < 0) {
		if (p || err.status != 400)
			abort();
		return 0;
	}
	check(p, data + ca + crl, size - ca - crl);
	return 0;
}
