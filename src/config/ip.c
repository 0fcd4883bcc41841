/* IP addresses, prefixes, hardware addresses: see ip.h. */
#include "config/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strv.h"

size_t ip_size(int family)
{
	return family == AF_INET ? 4 : 16;
}

unsigned ip_bits(int family)
{
	return (unsigned)ip_size(family) * 8;
}

/* --- text --- */

bool ip_parse(int family, const char *text, struct ip_addr *ret)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct ip_addr a = {.family = families[i]};

		if ((family == AF_UNSPEC || family == a.family) && inet_pton(a.family, text, a.bytes) == 1) {
			*ret = a;
			return true;
		}
	}
	return false;
}

bool ip_prefix_parse(int family, const char *text, struct ip_prefix *ret)
{
	const char *slash = strchr(text, '/');
	auto_free char *host = slash ? xstrndup(text, (size_t)(slash - text)) : NULL;
	struct ip_prefix p = {0};
	uint32_t len;

	if (!host || !ip_parse(family, host, &p.addr) || parse_u32(slash + 1, &len) < 0 ||
	    len > ip_bits(p.addr.family) || (slash[1] == '0' && slash[2]))
		return false;
	p.len = len;
	*ret = p;
	return true;
}

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c ? strchr(digits, c | 0x20) : NULL;

	return at ? (int)(at - digits) : -1;
}

bool mac_parse(const char *text, struct mac_addr *ret)
{
	struct mac_addr m;

	if (strlen(text) != MAC_TEXT_MAX - 1)
		return false;
	for (size_t i = 0; i < sizeof(m.bytes); i++) {
		int high = hex_digit(text[i * 3]), low = hex_digit(text[i * 3 + 1]);
		char end = text[i * 3 + 2];

		if (high < 0 || low < 0 || end != (i + 1 < sizeof(m.bytes) ? ':' : '\0'))
			return false;
		m.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*ret = m;
	return true;
}

const char *ip_format(const struct ip_addr *a, char buf[IP_TEXT_MAX])
{
	if (!inet_ntop(a->family, a->bytes, buf, IP_TEXT_MAX))
		buf[0] = '\0'; /* no address */
	return buf;
}

const char *ip_prefix_format(const struct ip_prefix *p, char buf[IP_TEXT_MAX])
{
	char host[IP_TEXT_MAX];

	snprintf(buf, IP_TEXT_MAX, "%.45s/%u", ip_format(&p->addr, host), p->len);
	return buf;
}

const char *mac_format(const struct mac_addr *m, char buf[MAC_TEXT_MAX])
{
	const uint8_t *b = m->bytes;

	snprintf(buf, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
	return buf;
}

/* --- numbers --- */

bool ip_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return ip_compare(a, b) == 0;
}

int ip_compare(const struct ip_addr *a, const struct ip_addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return a->family == AF_UNSPEC ? 0 : memcmp(a->bytes, b->bytes, ip_size(a->family));
}

bool ip_is_loopback(const struct ip_addr *a)
{
	static const uint8_t v6[16] = {[15] = 1};

	return a->family == AF_INET ? a->bytes[0] == 127 : a->family == AF_INET6 && memcmp(a->bytes, v6, 16) == 0;
}

bool ip_is_link_local(const struct ip_addr *a)
{
	if (a->family == AF_INET)
		return a->bytes[0] == 169 && a->bytes[1] == 254;
	return a->family == AF_INET6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

/* The bits of byte @i that are beyond a prefix of @len bits. */
static uint8_t host_bits(unsigned len, size_t i)
{
	unsigned before = (unsigned)i * 8;

	if (len >= before + 8)
		return 0;
	return len <= before ? 0xff : (uint8_t)(0xff >> (len - before));
}

struct ip_prefix ip_network(const struct ip_prefix *p)
{
	struct ip_prefix net = *p;

	for (size_t i = 0; i < ip_size(p->addr.family); i++)
		net.addr.bytes[i] &= (uint8_t)~host_bits(p->len, i);
	return net;
}

bool ip_prefix_is_network(const struct ip_prefix *p)
{
	struct ip_prefix net = ip_network(p);

	return ip_equal(&net.addr, &p->addr);
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a)
{
	if (a->family != p->addr.family)
		return false;
	for (size_t i = 0; i < ip_size(a->family); i++)
		if ((a->bytes[i] ^ p->addr.bytes[i]) & (uint8_t)~host_bits(p->len, i))
			return false;
	return true;
}

bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->len <= b->len ? ip_prefix_contains(a, &b->addr) : ip_prefix_contains(b, &a->addr);
}

struct ip_prefix ip_host_prefix(const struct ip_addr *a)
{
	return (struct ip_prefix){*a, ip_bits(a->family)};
}

bool ip_nth(const struct ip_prefix *p, uint64_t n, struct ip_addr *ret)
{
	struct ip_prefix net = ip_network(p);
	struct ip_addr a = net.addr;

	for (size_t i = ip_size(a.family); i-- > 0 && n;) {
		n += a.bytes[i];
		a.bytes[i] = (uint8_t)n;
		n >>= 8;
	}
	if (n || !ip_prefix_contains(&net, &a))
		return false;
	*ret = a;
	return true;
}

struct ip_addr ip_last(const struct ip_prefix *p)
{
	struct ip_addr a = p->addr;

	for (size_t i = 0; i < ip_size(a.family); i++)
		a.bytes[i] |= host_bits(p->len, i);
	return a;
}

bool ip_next(struct ip_addr *a)
{
	for (size_t i = ip_size(a->family); i-- > 0;)
		if (++a->bytes[i])
			return true;
	return false;
}

struct ip_addr ip_eui64(const struct ip_prefix *subnet, const struct mac_addr *mac)
{
	struct ip_addr a = {.family = AF_INET6};
	const uint8_t *m = mac->bytes;
	const uint8_t id[8] = {m[0] ^ 0x02, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};

	memcpy(a.bytes, subnet->addr.bytes, 8);
	memcpy(a.bytes + 8, id, sizeof(id));
	return a;
}

/* --- lists --- */

static bool parse_item(int family, const char *text, struct ip_prefix *ret)
{
	struct ip_addr a;

	if (ip_prefix_parse(family, text, ret))
		return true;
	if (!ip_parse(family, text, &a))
		return false;
	*ret = ip_host_prefix(&a);
	return true;
}

int ip_prefixes_parse(int family, const char *list, struct ip_prefix **ret, size_t *ret_n, struct error *err)
{
	auto_strv struct strv items = STRV_INIT;
	auto_free struct ip_prefix *found = NULL;

	strv_split(&items, list, ',');
	found = xnew_array(struct ip_prefix, items.len + 1);
	for (size_t i = 0; i < items.len; i++) {
		const char *text = str_strip(items.items[i]);

		if (!parse_item(family, text, &found[i]))
			return error_set(err, 400, "Item \"%s\": invalid CIDR address: %s", text, text);
	}
	*ret_n = items.len;
	*ret = TAKE_PTR(found);
	return 0;
}

static int parse_range(int family, const char *text, struct ip_range *ret, struct error *err)
{
	const char *dash = strchr(text, '-');
	auto_free char *first = dash ? xstrndup(text, (size_t)(dash - text)) : NULL;
	auto_free char *last = dash ? xstrdup(dash + 1) : NULL;

	if (!dash || strchr(dash + 1, '-'))
		return error_set(err, 400, "Item \"%s\": IP range must contain start and end IP addresses", text);
	if (!ip_parse(family, str_strip(first), &ret->first))
		return error_set(err, 400, "Item \"%s\": Start not an IPv%d address", text, family == AF_INET ? 4 : 6);
	if (!ip_parse(family, str_strip(last), &ret->last))
		return error_set(err, 400, "Item \"%s\": End not an IPv%d address", text, family == AF_INET ? 4 : 6);
	if (ip_compare(&ret->first, &ret->last) > 0)
		return error_set(err, 400, "Item \"%s\": The range ends before it begins", text);
	return 0;
}

int ip_ranges_parse(int family, const char *list, struct ip_range **ret, size_t *ret_n, struct error *err)
{
	auto_strv struct strv items = STRV_INIT;
	auto_free struct ip_range *found = NULL;
	int r = 0;

	strv_split(&items, list, ',');
	found = xnew_array(struct ip_range, items.len + 1);
	for (size_t i = 0; i < items.len && r == 0; i++)
		r = parse_range(family, str_strip(items.items[i]), &found[i], err);
	if (r < 0)
		return r;
	*ret_n = items.len;
	*ret = TAKE_PTR(found);
	return 0;
}
