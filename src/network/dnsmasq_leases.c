/*
 * The leases file. Containers choose part of what stands there (client ids, in dns.mode=dynamic host names too), and
 * how many lines: everything is bounded, and a line that is not as dnsmasq writes it is skipped.
 */
#include <ctype.h>
#include <fcntl.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "network/dnsmasq_internal.h"

#define FILE_MAX (16 << 20)
#define LINE_MAX_BYTES 2048
#define FIELDS 5 /* IPv4: expiry MAC address name client-id; IPv6: expiry iaid address name DUID */

void dnsmasq_lease_done(struct dnsmasq_lease *l)
{
	free(l->hostname);
	free(l->client_id);
	*l = (struct dnsmasq_lease){0};
}

/* @line into @fields, in place; false when there are not just so many. */
static bool split_line(char *line, char *fields[FIELDS])
{
	for (size_t i = 0; i < FIELDS; i++) {
		char *space = strchr(line, ' ');

		if (!*line || (i + 1 < FIELDS) != (space != NULL))
			return false;
		fields[i] = line;
		if (!space)
			break;
		*space = '\0';
		line = space + 1;
	}
	return true;
}

static bool parse_iaid(const char *text, uint32_t *ret)
{
	return parse_u32(*text == 'T' ? text + 1 : text, ret) == 0;
}

/* "06-00:16:3e:01:02:03" when the client said that its hardware is not Ethernet (1). */
static const char *skip_hardware_type(const char *text)
{
	return isxdigit((unsigned char)text[0]) && isxdigit((unsigned char)text[1]) && text[2] == '-' ? text + 3 : text;
}

static bool parse_owner(const char *text, struct dnsmasq_lease *l)
{
	return l->address.family == AF_INET ? mac_parse(skip_hardware_type(text), &l->mac) : parse_iaid(text, &l->iaid);
}

static bool parse_lease(char *line, struct dnsmasq_lease *ret)
{
	struct dnsmasq_lease l = {0};
	char *fields[FIELDS];

	if (!split_line(line, fields) || parse_i64(fields[0], &l.expires) < 0 || l.expires < 0 ||
	    !ip_parse(AF_UNSPEC, fields[2], &l.address) || !parse_owner(fields[1], &l))
		return false;
	if (!*fields[3] || !*fields[4])
		return false;
	l.hostname = streq(fields[3], "*") ? NULL : xstrdup(fields[3]);
	l.client_id = streq(fields[4], "*") ? NULL : xstrdup(fields[4]);
	*ret = l;
	return true;
}

/* Printable ASCII alone: what is rendered and logged later holds no surprises. */
static bool is_plain(const char *line, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (line[i] < ' ' || line[i] > '~')
			return false;
	return true;
}

void dnsmasq_leases_parse(const char *text, struct dnsmasq_lease **ret, size_t *ret_n, char **ret_duid)
{
	struct dnsmasq_lease *list = NULL;
	char *duid = NULL;
	size_t n = 0, cap = 0;

	while (*text && n < DNSMASQ_LEASES_MAX) {
		size_t len = strcspn(text, "\n");
		bool fits = len < LINE_MAX_BYTES && is_plain(text, len);
		auto_free char *line = fits ? xstrndup(text, len) : NULL;
		const char *id = fits ? startswith(line, "duid ") : NULL;

		text += len + (text[len] == '\n');
		if (n == cap) {
			cap = cap ? 2 * cap : 16;
			list = xreallocarray(list, cap, sizeof(*list));
		}
		if (id && !duid && *id)
			duid = xstrdup(id);
		else if (fits && !id)
			n += parse_lease(line, &list[n]);
	}
	*ret = list;
	*ret_n = n;
	if (ret_duid)
		*ret_duid = duid;
	else
		free(duid);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t dnsmasq_hex_parse(const char *text, uint8_t *ret, size_t max)
{
	size_t n = 0;

	for (;;) {
		int high = hex_digit(text[0]);
		int low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0 || n == max)
			return 0;
		ret[n++] = (uint8_t)(high << 4 | low);
		if (!text[2])
			return n;
		if (text[2] != ':')
			return 0;
		text += 3;
	}
}

/* The file as text; "" when there is none. */
static int read_file(const struct dnsmasq *d, struct strbuf *ret, struct error *err)
{
	auto_free char *path = path_join(d->dir, "dnsmasq.leases");
	int r = file_read_at(AT_FDCWD, path, FILE_MAX, ret, err);

	if (r == -ENOENT) {
		error_clear(err);
		return 0;
	}
	return r;
}

int dnsmasq_leases_with_duid(struct dnsmasq *d, struct dnsmasq_lease **ret, size_t *ret_n, char **ret_duid,
			     struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	int r = read_file(d, &b, err);

	if (r < 0)
		return r;
	dnsmasq_leases_parse(strbuf_str(&b), ret, ret_n, ret_duid);
	return 0;
}

static bool is_dropped(const char *line, size_t len, dnsmasq_lease_fn drop, const void *arg)
{
	auto_free char *copy = xstrndup(line, len);
	struct dnsmasq_lease l;
	bool dropped;

	if (len >= LINE_MAX_BYTES || !parse_lease(copy, &l))
		return false;
	dropped = drop(&l, arg);
	dnsmasq_lease_done(&l);
	return dropped;
}

int dnsmasq_leases_drop(struct dnsmasq *d, dnsmasq_lease_fn drop, const void *arg, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_strbuf struct strbuf kept = STRBUF_INIT;
	int r = read_file(d, &b, err);

	if (r < 0 || !b.len)
		return r;
	for (const char *p = b.data; *p;) {
		size_t len = strcspn(p, "\n");
		size_t whole = len + (p[len] == '\n');

		if (!is_dropped(p, len, drop, arg))
			strbuf_append_len(&kept, p, whole);
		p += whole;
	}
	return kept.len == b.len ? 0 : dnsmasq_file_put(d->dir, "dnsmasq.leases", strbuf_str(&kept), err);
}

int dnsmasq_leases(struct dnsmasq *d, struct dnsmasq_lease **ret, size_t *ret_n, struct error *err)
{
	return dnsmasq_leases_with_duid(d, ret, ret_n, NULL, err);
}
