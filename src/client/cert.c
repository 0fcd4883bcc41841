/* PEM, and the outline of a DER certificate: tags and lengths, each checked against what holds it. */
#include "client/cert.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
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

/* Bytes not read yet of an element's content. */
struct der {
	const unsigned char *at;
	size_t left;
};

enum {
	DER_INTEGER = 0x02,
	DER_OID = 0x06,
	DER_UTC_TIME = 0x17,
	DER_GENERAL_TIME = 0x18,
	DER_SEQUENCE = 0x30,
	DER_SET = 0x31,
	DER_VERSION = 0xa0
};

/* Cut the next element off @from. */
static int next(struct der *from, unsigned *ret_tag, struct der *ret)
{
	size_t n, head = 2;

	if (from->left < 2 || (from->at[0] & 0x1f) == 0x1f)
		return -EINVAL;
	n = from->at[1];
	if (n & 0x80) {
		size_t bytes = n & 0x7f;

		if (bytes == 0 || bytes > 4 || from->left < head + bytes)
			return -EINVAL;
		n = 0;
		for (size_t i = 0; i < bytes; i++)
			n = n << 8 | from->at[2 + i];
		head += bytes;
	}
	if (from->left - head < n)
		return -EINVAL;
	*ret_tag = from->at[0];
	*ret = (struct der){.at = from->at + head, .left = n};
	from->at += head + n;
	from->left -= head + n;
	return 0;
}

static int expect(struct der *from, unsigned tag, struct der *ret)
{
	unsigned got;

	return next(from, &got, ret) < 0 || got != tag ? -EINVAL : 0;
}

/* "YYMMDDhhmmssZ" or "YYYYMMDDhhmmssZ" in RFC 3339 */
static int read_time(struct der *from, char **ret)
{
	struct der t;
	unsigned tag;
	const char *s;
	int year;

	if (next(from, &tag, &t) < 0 || (tag != DER_UTC_TIME && tag != DER_GENERAL_TIME))
		return -EINVAL;
	s = (const char *)t.at;
	if (t.left != (tag == DER_UTC_TIME ? 13 : 15) || s[t.left - 1] != 'Z')
		return -EINVAL;
	for (size_t i = 0; i + 1 < t.left; i++)
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
	year = (s[0] - '0') * 10 + s[1] - '0';
	if (tag == DER_UTC_TIME) {
		year += year < 50 ? 2000 : 1900;
		s += 2;
	} else {
		year = year * 100 + (s[2] - '0') * 10 + s[3] - '0';
		s += 4;
	}
	*ret = xasprintf("%04d-%.2s-%.2sT%.2s:%.2s:%.2sZ", year, s, s + 2, s + 4, s + 6, s + 8);
	return 0;
}

/* The last common name of a subject, as Go takes it. */
static int read_common_name(struct der name, char **ret)
{
	static const unsigned char oid_cn[] = {0x55, 0x04, 0x03};
	struct der set, pair, oid, value;
	unsigned tag;

	*ret = xstrdup("");
	while (name.left) {
		if (expect(&name, DER_SET, &set) < 0)
			return -EINVAL;
		while (set.left) {
			if (expect(&set, DER_SEQUENCE, &pair) < 0 || expect(&pair, DER_OID, &oid) < 0 ||
			    next(&pair, &tag, &value) < 0)
				return -EINVAL;
			if (oid.left != sizeof(oid_cn) || memcmp(oid.at, oid_cn, sizeof(oid_cn)) != 0)
				continue;
			free(*ret);
			*ret = xstrndup((const char *)value.at, value.left);
		}
	}
	return 0;
}

/* Certificate: { tbs: { [version], serial, algorithm, issuer, { from, to }, subject, ... }, ... } */
static int read_outline(struct der all, struct cert_summary *ret)
{
	struct der cert, tbs, skip, validity, subject;

	if (expect(&all, DER_SEQUENCE, &cert) < 0 || all.left || expect(&cert, DER_SEQUENCE, &tbs) < 0)
		return -EINVAL;
	if (tbs.left && tbs.at[0] == DER_VERSION && expect(&tbs, DER_VERSION, &skip) < 0)
		return -EINVAL;
	if (expect(&tbs, DER_INTEGER, &skip) < 0 || expect(&tbs, DER_SEQUENCE, &skip) < 0 ||
	    expect(&tbs, DER_SEQUENCE, &skip) < 0 || expect(&tbs, DER_SEQUENCE, &validity) < 0 ||
	    expect(&tbs, DER_SEQUENCE, &subject) < 0)
		return -EINVAL;
	if (read_time(&validity, &ret->not_before) < 0 || read_time(&validity, &ret->not_after) < 0)
		return -EINVAL;
	return read_common_name(subject, &ret->common_name);
}

int cert_summary(const void *der, size_t len, struct cert_summary *ret)
{
	auto_cert_summary struct cert_summary s = CERT_SUMMARY_INIT;

	if (read_outline((struct der){.at = der, .left = len}, &s) < 0)
		return -EINVAL;
	*ret = s;
	s = CERT_SUMMARY_INIT;
	return 0;
}
