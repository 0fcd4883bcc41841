/* Fuzz target: what strangers send to /1.0/certificates: the body's JSON, and the token that may stand for a password.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/certificate_body.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* What a token keeps of a request comes back the same. */
static void round_trip(const struct certificate_body *b)
{
	auto_strbuf struct strbuf text = STRBUF_INIT, again = STRBUF_INIT;
	CLEANUP(certificate_body_done) struct certificate_body back = {0};
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;

	certificate_body_write(b, &JSONW(&text));
	check(json_parse(text.data, text.len, &j, &err) == 0);
	check(json_decode(j, "", certificate_post_fields, &back, NULL, &err) == 0);
	check(back.token && !*back.password && !*back.certificate && back.restricted == b->restricted);
	check(back.projects.len == b->projects.len);
	certificate_body_write(&back, &JSONW(&again));
	check(again.len == text.len && memcmp(again.data, text.data, text.len) == 0);
}

static void body(const uint8_t *data, size_t size)
{
	CLEANUP(certificate_body_done) struct certificate_body post = {0}, put = {0};
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;

	if (json_parse((const char *)data, size, &j, &err) < 0) {
		check(err.status == 400);
		return;
	}
	if (json_decode(j, "", certificate_post_fields, &post, NULL, &err) == 0)
		round_trip(&post);
	else
		check(err.status == 400);
	error_clear(&err);
	if (json_decode(j, "", certificate_put_fields, &put, NULL, &err) < 0)
		check(err.status == 400);
}

static void invitation(const char *text)
{
	auto_free char *secret = NULL;
	bool add = invitation_parse(text, &secret) == INVITATION_ADD;

	check(add == (secret != NULL));
	check(!add || *secret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	auto_free char *encoded = base64_encode(data, size);

	body(data, size);
	/* as it is, and as the JSON within */
	invitation(text);
	invitation(encoded);
	return 0;
}
