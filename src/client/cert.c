#include "client/cert.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/der.h"
#include "base/str.h"

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

int cert_pem_to_der(const char *pem, size_t len, struct strbuf *ret)
{
	const char *begin = memmem(pem, len, PEM_BEGIN, strlen(PEM_BEGIN));
	const char *end, *body;
	auto_free char *text = NULL;

	if (!begin)
		return -EINVAL;
	body = begin + strlen(PEM_BEGIN);
	end = memmem(body, len - (size_t)(body - pem), PEM_END, strlen(PEM_END));
	if (!end || memchr(body, '\0', (size_t)(end - body)))
		return -EINVAL;
	text = xstrndup(body, (size_t)(end - body));
	return base64_decode(text, ret) < 0 || ret->len == 0 ? -EINVAL : 0;
}

int cert_pem_fingerprint(const char *pem, size_t len, char hex[SHA256_HEX + 1])
{
	auto_strbuf struct strbuf der = STRBUF_INIT;

	if (cert_pem_to_der(pem, len, &der) < 0)
		return -EINVAL;
	sha256_hex(der.data, der.len, hex);
	return 0;
}

void cert_summary_done(struct cert_summary *s)
{
	free(s->common_name);
	free(s->not_before);
	free(s->not_after);
	*s = CERT_SUMMARY_INIT;
}

/* RFC 3339 */
static char *format_time(const struct tm *t)
{
	return xasprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", t->tm_year + 1900, t->tm_mon + 1, t->tm_mday, t->tm_hour,
			 t->tm_min, t->tm_sec);
}

/* The last common name of a subject, as Go takes it. */
static int read_common_name(struct der name, char **ret)
{
	static const unsigned char oid_cn[] = {0x55, 0x04, 0x03};
	struct der set, pair, oid, value;
	unsigned tag;

	*ret = xstrdup("");
	while (name.left) {
		if (der_expect(&name, DER_SET, &set) < 0)
			return -EINVAL;
		while (set.left) {
			if (der_expect(&set, DER_SEQUENCE, &pair) < 0 || der_expect(&pair, DER_OID, &oid) < 0 ||
			    der_next(&pair, &tag, &value) < 0)
				return -EINVAL;
			if (oid.left != sizeof(oid_cn) || memcmp(oid.at, oid_cn, sizeof(oid_cn)) != 0)
				continue;
			free(*ret);
			*ret = xstrndup((const char *)value.at, value.left);
		}
	}
	return 0;
}

int cert_summary(const void *der, size_t len, struct cert_summary *ret)
{
	struct der_certificate c;
	auto_free char *name = NULL;

	if (der_certificate(der, len, &c) < 0 || read_common_name(c.subject, &name) < 0)
		return -EINVAL;
	*ret = (struct cert_summary){.common_name = TAKE_PTR(name),
				     .not_before = format_time(&c.not_before),
				     .not_after = format_time(&c.not_after)};
	return 0;
}
