/* SHA-256, random bytes, hex, base64 and constant-time comparison, around libsodium and nettle. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"

#define SHA256_BYTES 32
#define SHA256_HEX (2 * SHA256_BYTES) /* without the NUL */

struct sha256 {
	_Alignas(8) unsigned char opaque[112];
};

/* SHA-256 in pieces: init, any number of updates, final. */
void sha256_init(struct sha256 *h);
/* Add @len bytes. */
void sha256_update(struct sha256 *h, const void *data, size_t len);
/* Lower-case hex of the digest with its NUL. */
void sha256_final_hex(struct sha256 *h, char hex[SHA256_HEX + 1]);
/* Digest of one buffer. */
void sha256_hex(const void *data, size_t len, char hex[SHA256_HEX + 1]);

/* Fill with bytes that nobody can guess. */
void random_bytes(void *buf, size_t len);
/* A number from 0 to @bound - 1, all equally likely. */
uint32_t random_below(uint32_t bound);
/* 2 * @bytes random hex digits; the caller frees. */
char *random_hex(size_t bytes);
/* A random (version 4) UUID in text; the caller frees. */
char *uuid_new(void);
/* True when @s has the form of a UUID in lower case. */
bool uuid_is_valid(const char *s);
/* Compare secrets: time does not depend on where they differ. */
bool secret_equal(const char *a, const char *b);

/* With padding, without line breaks; the caller frees. */
char *base64_encode(const void *data, size_t len);
/* Decode, ignoring white space; -EINVAL for anything else. */
int base64_decode(const char *text, struct strbuf *ret) MUST_USE;
