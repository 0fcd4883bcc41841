/*
 * Nettle's SHA-256, for it uses the processor's own instructions: seven times as fast as libsodium's, and image uploads
 * wait for it. A file of its own, so that programs that hash nothing do not load the library.
 */
#include <nettle/sha2.h>
#include <sodium.h>

/* Nettle defines these names as macros. */
#undef sha256_init
#undef sha256_update

#include "base/crypto.h"

_Static_assert(sizeof(struct sha256_ctx) <= sizeof(struct sha256), "sha256 state too small");
_Static_assert(SHA256_DIGEST_SIZE == SHA256_BYTES, "size of a digest");

static struct sha256_ctx *state(struct sha256 *h)
{
	return (struct sha256_ctx *)(void *)h->opaque;
}

void sha256_init(struct sha256 *h)
{
	nettle_sha256_init(state(h));
}

void sha256_update(struct sha256 *h, const void *data, size_t len)
{
	nettle_sha256_update(state(h), len, data);
}

void sha256_final_hex(struct sha256 *h, char hex[SHA256_HEX + 1])
{
	unsigned char digest[SHA256_BYTES];

	nettle_sha256_digest(state(h), sizeof(digest), digest);
	sodium_bin2hex(hex, SHA256_HEX + 1, digest, sizeof(digest));
}

void sha256_hex(const void *data, size_t len, char hex[SHA256_HEX + 1])
{
	struct sha256 h;

	sha256_init(&h);
	sha256_update(&h, data, len);
	sha256_final_hex(&h, hex);
}
