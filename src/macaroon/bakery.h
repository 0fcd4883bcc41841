/*
 * What the "bakery" convention puts into macaroons: encrypted payloads of third-party caveats, identifiers, and the
 * conditions that are in use. Versions 2 and 3 of its protocol.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "base/strv.h"

#define BAKERY_KEY 32 /* Curve25519 */
#define BAKERY_BOX_NONCE 24
#define BAKERY_VERSION_MIN 2
#define BAKERY_VERSION_MAX 3
#define BAKERY_NAMESPACE "http:http std:" /* prefixes of conditions: those of std have none */

struct bakery_key {
	unsigned char public[BAKERY_KEY];
	unsigned char secret[BAKERY_KEY];
};

/* A pair that nobody else has. */
void bakery_key_generate(struct bakery_key *ret);
/* base64 of 32 bytes, in any spelling; -EINVAL. */
int bakery_key_parse(const char *text, unsigned char ret[BAKERY_KEY]) MUST_USE;

/* What a third party is asked for: only the holder of @theirs can read it. Appended to @ret. */
void bakery_payload_encode(unsigned version, const struct bakery_key *ours, const unsigned char theirs[BAKERY_KEY],
			   const unsigned char nonce[BAKERY_BOX_NONCE], const void *root, size_t root_len,
			   const char *condition, struct strbuf *ret);
/* The other side: the root key to discharge with, and the condition, owned by the caller. 400. */
int bakery_payload_decode(const void *data, size_t len, const struct bakery_key *ours, struct strbuf *ret_root,
			  char **ret_condition, struct error *err);

/* The payload (base64) that came with a macaroon for the caveat @id, as its "cdata" has it; NULL: none. Borrowed. */
const char *bakery_payload_of(const struct json *cdata, const struct strbuf *id);

/* An identifier that says: log in, by root key @storage. Appended to @ret. */
void bakery_id_encode(const unsigned char nonce[16], const void *storage, size_t len, struct strbuf *ret);
/* Its storage id; false: it is none, or does not allow to log in. */
bool bakery_id_decode(const struct strbuf *id, struct strbuf *ret_storage);

struct bakery_facts {
	int64_t expires_ns; /* the earliest time-before; INT64_MAX: none */
	char *username;     /* declared, not empty; NULL: none */
};

#define BAKERY_FACTS_INIT ((struct bakery_facts){.expires_ns = INT64_MAX})
void bakery_facts_done(struct bakery_facts *f);
/*
 * Do all conditions hold at @now_ns? One that is not known does not, nor do declarations that contradict each other.
 * 403.
 */
int bakery_check(const struct strv *conditions, int64_t now_ns, struct bakery_facts *ret, struct error *err);
