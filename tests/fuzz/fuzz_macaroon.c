/* Fuzz target: tickets and payloads from strangers. What is read is written again and read as the same. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "macaroon/bakery.h"
#include "macaroon/macaroon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_conditions(const struct macaroon_slice *s)
{
	CLEANUP(bakery_facts_done) struct bakery_facts f = BAKERY_FACTS_INIT;
	auto_strbuf struct strbuf storage = STRBUF_INIT;
	auto_strv struct strv conditions = STRV_INIT;
	auto_error struct error err = ERROR_INIT;

	(void)bakery_id_decode(&s->items[0].id, &storage);
	/* nobody knows the key of what the fuzzer makes */
	if (macaroon_verify(s, "an unguessable key 0123456789", 29, &conditions, &err) == 0)
		abort();
	error_ignore(&err, "as it must be");
	if (bakery_check(&conditions, 0, &f, &err) < 0)
		error_ignore(&err, "any answer will do");
}

static void read_text(const char *text)
{
	auto_macaroon_slice struct macaroon_slice s = MACAROON_SLICE_INIT, again = MACAROON_SLICE_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_free char *written = NULL;

	if (macaroon_slice_from_text(text, &s, &err) < 0) {
		error_ignore(&err, "it is none");
		return;
	}
	check_conditions(&s);
	written = macaroon_slice_to_text(&s);
	if (macaroon_slice_from_text(written, &again, &err) < 0) {
		/* what was short in binary may be too long in JSON; bytes that are no UTF-8 in a location are not
		 * written */
		error_ignore(&err, "too long");
		return;
	}
	if (again.n != s.n)
		abort();
	for (size_t k = 0; k < s.n; k++)
		if (again.items[k].n != s.items[k].n || again.items[k].id.len != s.items[k].id.len ||
		    memcmp(again.items[k].sig, s.items[k].sig, MACAROON_SIG) != 0)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct bakery_key key = {.public = {1, 2, 3, 4}, .secret = {5}};
	auto_strbuf struct strbuf root = STRBUF_INIT;
	auto_free char *text = xstrndup((const char *)data, size), *coded = NULL, *condition = NULL;
	auto_macaroon struct macaroon m = MACAROON_INIT;
	auto_error struct error err = ERROR_INIT;
	size_t used;

	read_text(text);
	coded = base64_url_encode(data, size);
	read_text(coded);
	if (macaroon_from_binary(data, size, &m, &used, &err) < 0)
		error_ignore(&err, "it is none");
	else if (used == 0 || used > size)
		abort();
	if (bakery_payload_decode(data, size, &key, &root, &condition, &err) < 0)
		error_ignore(&err, "it is none");
	return 0;
}
