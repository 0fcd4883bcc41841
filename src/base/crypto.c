#include "base/crypto.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

void random_bytes(void *buf, size_t len)
{
	randombytes_buf(buf, len);
}

uint32_t random_below(uint32_t bound)
{
	return randombytes_uniform(bound);
}

char *random_hex(size_t bytes)
{
	auto_free unsigned char *raw = xmalloc(bytes);
	char *hex = xmalloc(2 * bytes + 1);

	random_bytes(raw, bytes);
	sodium_bin2hex(hex, 2 * bytes + 1, raw, bytes);
	return hex;
}

char *uuid_new(void)
{
	unsigned char b[16];

	random_bytes(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	return xasprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
			 b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

bool uuid_is_valid(const char *s)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (strlen(s) != sizeof(shape) - 1)
		return false;
	for (size_t i = 0; shape[i]; i++)
		if (shape[i] == '-' ? s[i] != '-' : !strchr("0123456789abcdef", s[i]))
			return false;
	return true;
}

bool secret_equal(const char *a, const char *b)
{
	size_t n = strlen(a);

	return n == strlen(b) && sodium_memcmp(a, b, n) == 0;
}

char *base64_encode(const void *data, size_t len)
{
	size_t room = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
	char *text = xmalloc(room);

	return sodium_bin2base64(text, room, data, len, sodium_base64_VARIANT_ORIGINAL);
}

int base64_decode(const char *text, struct strbuf *ret)
{
	size_t n = strlen(text), len;

	if (!strbuf_reserve(ret, n))
		return -EFBIG;
	if (sodium_base642bin((unsigned char *)ret->data + ret->len, n, text, n, " \t\r\n", &len, NULL,
			      sodium_base64_VARIANT_ORIGINAL) < 0) {
		ret->data[ret->len] = '\0';
		return -EINVAL;
	}
	ret->len += len;
	ret->data[ret->len] = '\0';
	return 0;
}
