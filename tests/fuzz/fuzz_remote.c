/*
 * Fuzz target: what the client reads of others: tokens, addresses of servers, fingerprints, certificates. The first
 * byte chooses.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "client/address.h"
#include "client/cert.h"
#include "client/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is written is read as the same. */
static void token(const char *text)
{
	auto_trust_token struct trust_token t = TRUST_TOKEN_INIT;
	auto_trust_token struct trust_token again = TRUST_TOKEN_INIT;
	auto_free char *written = NULL;

	if (trust_token_decode(text, &t) < 0)
		return;
	written = trust_token_encode(&t);
	if (trust_token_decode(written, &again) < 0 || strcmp(t.secret, again.secret) != 0 ||
	    strcmp(t.fingerprint, again.fingerprint) != 0 || !strv_equal(&t.addresses, &again.addresses))
		abort();
}

static void address(const char *text)
{
	auto_remote_address struct remote_address a = REMOTE_ADDRESS_INIT;
	auto_remote_address struct remote_address again = REMOTE_ADDRESS_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_free char *url = NULL;
	auto_free char *second = NULL;

	if (remote_address_parse(text, REMOTE_DEFAULT_PORT, false, &a, &err) < 0) {
		if (err.status != 400)
			abort();
		return;
	}
	url = remote_address_url(&a);
	if (remote_address_parse(url, 443, false, &again, &err) < 0)
		abort();
	second = remote_address_url(&again);
	if (strcmp(url, second) != 0)
		abort();
}

static void certificate(const uint8_t *data, size_t size)
{
	auto_cert_summary struct cert_summary s = CERT_SUMMARY_INIT;
	auto_strbuf struct strbuf der = STRBUF_INIT;

	if (cert_pem_to_der((const char *)data, size, &der) >= 0)
		(void)!cert_summary(der.data, der.len, &s);
	cert_summary_done(&s);
	(void)!cert_summary(data, size, &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = size ? xstrndup((const char *)data + 1, size - 1) : NULL;

	if (!size)
		return 0;
	switch (data[0] % 4) {
	case 0:
		token(text);
		break;
	case 1:
		address(text);
		break;
	case 2:
		free(fingerprint_normalise(text));
		break;
	default:
		certificate(data + 1, size - 1);
	}
	return 0;
}
