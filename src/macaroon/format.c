/* Macaroons as bytes and as JSON, versions 1 and 2. What comes in is from strangers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/macros.h"
#include "base/str.h"
#include "macaroon/macaroon.h"

#define V2 2 /* first byte of the binary form */
#define V1_HEADER 4

enum field { FIELD_END = 0, FIELD_LOCATION = 1, FIELD_ID = 2, FIELD_VID = 4, FIELD_SIG = 6 };

static int bad(struct error *err, const char *what)
{
	return error_set(err, 400, "Invalid macaroon: %s", what);
}

/* --- base64 --- */

int base64_any_decode(const char *text, struct strbuf *ret)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	size_t n = strlen(text);

	while (n > 0 && text[n - 1] == '=')
		n--;
	for (size_t k = 0; k < n; k++) {
		char c = text[k];

		if (c == '=' || c == ' ' || c == '\n' || c == '\r' || c == '\t')
			return -EINVAL;
		strbuf_append_char(&b, c == '-' ? '+' : c == '_' ? '/' : c);
	}
	while (b.len % 4)
		strbuf_append_char(&b, '=');
	return b.len ? base64_decode(b.data, ret) : 0;
}

char *base64_url_encode(const void *data, size_t len)
{
	char *text = base64_encode(data, len);
	size_t n = strlen(text);

	while (n > 0 && text[n - 1] == '=')
		text[--n] = '\0';
	for (char *p = text; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	return text;
}

/* --- binary --- */

struct reader {
	const unsigned char *p;
	size_t left;
};

static bool read_uvarint(struct reader *r, size_t *ret)
{
	size_t v = 0;

	for (unsigned shift = 0; shift < 28 && r->left; shift += 7) {
		unsigned char c = *r->p;

		r->p++;
		r->left--;
		v |= (size_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* The packet of type @want, if it comes next; its bytes are borrowed. */
static bool read_packet(struct reader *r, enum field want, const unsigned char **ret, size_t *ret_len)
{
	struct reader at = *r;
	size_t type, len;

	if (!read_uvarint(&at, &type) || type != (size_t)want || !read_uvarint(&at, &len) || len > at.left)
		return false;
	*ret = at.p;
	*ret_len = len;
	r->p = at.p + len;
	r->left = at.left - len;
	return true;
}

static bool read_end(struct reader *r)
{
	if (!r->left || *r->p != FIELD_END)
		return false;
	r->p++;
	r->left--;
	return true;
}

/* A location is text. */
static bool take_location(const unsigned char *data, size_t len, char **ret)
{
	if (memchr(data, '\0', len))
		return false;
	*ret = xstrndup((const char *)data, len);
	return true;
}

static bool read_header(struct reader *r, struct macaroon *m)
{
	const unsigned char *data;
	size_t len;

	if (read_packet(r, FIELD_LOCATION, &data, &len) && !take_location(data, len, &m->location))
		return false;
	if (!read_packet(r, FIELD_ID, &data, &len))
		return false;
	strbuf_append_len(&m->id, (const char *)data, len);
	return read_end(r);
}

static bool read_caveat(struct reader *r, struct macaroon *m)
{
	struct macaroon_caveat c = {0};
	const unsigned char *data;
	size_t len;

	m->caveats = xreallocarray(m->caveats, m->n + 1, sizeof(*m->caveats));
	m->caveats[m->n++] = c;
	if (read_packet(r, FIELD_LOCATION, &data, &len) && !take_location(data, len, &m->caveats[m->n - 1].location))
		return false;
	if (!read_packet(r, FIELD_ID, &data, &len))
		return false;
	strbuf_append_len(&m->caveats[m->n - 1].id, (const char *)data, len);
	if (read_packet(r, FIELD_VID, &data, &len))
		strbuf_append_len(&m->caveats[m->n - 1].vid, (const char *)data, len);
	return read_end(r);
}

static bool read_v2(struct reader *r, struct macaroon *m)
{
	const unsigned char *data;
	size_t len;

	r->p++;
	r->left--;
	if (!read_header(r, m))
		return false;
	while (!read_end(r))
		if (m->n == MACAROON_CAVEATS_MAX || !read_caveat(r, m))
			return false;
	if (!read_packet(r, FIELD_SIG, &data, &len) || len != MACAROON_SIG)
		return false;
	memcpy(m->sig, data, len);
	return true;
}

/* "XXXXname data\n", XXXX being the length of all of it in hexadecimal. */
static bool read_v1_packet(struct reader *r, const char *name, const unsigned char **ret, size_t *ret_len)
{
	size_t n = strlen(name), len = 0;

	if (r->left < V1_HEADER + n + 2)
		return false;
	for (size_t k = 0; k < V1_HEADER; k++) {
		const char *digit = memchr("0123456789abcdef", r->p[k], 16);

		if (!digit)
			return false;
		len = len << 4 | (size_t)(strchr("0123456789abcdef", *digit) - "0123456789abcdef");
	}
	if (len > r->left || len < V1_HEADER + n + 2 || memcmp(r->p + V1_HEADER, name, n) != 0 ||
	    r->p[V1_HEADER + n] != ' ' || r->p[len - 1] != '\n')
		return false;
	*ret = r->p + V1_HEADER + n + 1;
	*ret_len = len - V1_HEADER - n - 2;
	r->p += len;
	r->left -= len;
	return true;
}

static bool read_v1(struct reader *r, struct macaroon *m)
{
	const unsigned char *data;
	size_t len;

	if (!read_v1_packet(r, "location", &data, &len) || !take_location(data, len, &m->location) ||
	    !read_v1_packet(r, "identifier", &data, &len))
		return false;
	strbuf_append_len(&m->id, (const char *)data, len);
	while (read_v1_packet(r, "cid", &data, &len)) {
		struct macaroon_caveat *c;

		if (m->n == MACAROON_CAVEATS_MAX)
			return false;
		m->caveats = xreallocarray(m->caveats, m->n + 1, sizeof(*m->caveats));
		c = &m->caveats[m->n++];
		*c = (struct macaroon_caveat){0};
		strbuf_append_len(&c->id, (const char *)data, len);
		if (read_v1_packet(r, "vid", &data, &len))
			strbuf_append_len(&c->vid, (const char *)data, len);
		if (read_v1_packet(r, "cl", &data, &len) && !take_location(data, len, &c->location))
			return false;
	}
	if (!read_v1_packet(r, "signature", &data, &len) || len != MACAROON_SIG)
		return false;
	memcpy(m->sig, data, len);
	return true;
}

int macaroon_from_binary(const void *data, size_t len, struct macaroon *ret, size_t *ret_used, struct error *err)
{
	struct reader r = {data, len};
	auto_macaroon struct macaroon m = MACAROON_INIT;

	if (!len || len > MACAROON_TEXT_MAX)
		return bad(err, "it is empty or too long");
	if (!(*r.p == V2 ? read_v2(&r, &m) : read_v1(&r, &m)))
		return bad(err, "its binary form is damaged");
	*ret_used = len - r.left;
	*ret = m;
	m = MACAROON_INIT;
	return 0;
}

static void write_uvarint(struct strbuf *b, size_t v)
{
	for (; v >= 0x80; v >>= 7)
		strbuf_append_char(b, (char)(v & 0x7f) | (char)0x80);
	strbuf_append_char(b, (char)v);
}

static void write_packet(struct strbuf *b, enum field type, const void *data, size_t len)
{
	write_uvarint(b, (size_t)type);
	write_uvarint(b, len);
	strbuf_append_len(b, data, len);
}

void macaroon_to_binary(const struct macaroon *m, struct strbuf *b)
{
	strbuf_append_char(b, V2);
	if (m->location)
		write_packet(b, FIELD_LOCATION, m->location, strlen(m->location));
	write_packet(b, FIELD_ID, strbuf_str(&m->id), m->id.len);
	strbuf_append_char(b, FIELD_END);
	for (size_t k = 0; k < m->n; k++) {
		const struct macaroon_caveat *c = &m->caveats[k];

		if (c->location)
			write_packet(b, FIELD_LOCATION, c->location, strlen(c->location));
		write_packet(b, FIELD_ID, strbuf_str(&c->id), c->id.len);
		if (c->vid.len)
			write_packet(b, FIELD_VID, c->vid.data, c->vid.len);
		strbuf_append_char(b, FIELD_END);
	}
	strbuf_append_char(b, FIELD_END);
	write_packet(b, FIELD_SIG, m->sig, sizeof(m->sig));
}

/* --- JSON --- */

/* Member @name as text, or @name with "64" behind it as base64; not both. False: neither, or damaged. */
static bool get_bytes(const struct json *j, const char *name, struct strbuf *ret)
{
	auto_free char *name64 = xasprintf("%s64", name);
	const struct json *plain = json_get(j, name);
	const char *coded = json_get_str(j, name64);

	if (!json_str(plain) == !coded)
		return false;
	if (coded)
		return base64_any_decode(coded, ret) == 0;
	strbuf_append_len(ret, json_str(plain), json_str_len(plain));
	return true;
}

static bool has_bytes(const struct json *j, const char *name)
{
	auto_free char *name64 = xasprintf("%s64", name);

	return json_get(j, name) || json_get(j, name64);
}

static bool caveats_from_json(const struct json *list, bool (*read)(const struct json *j, struct macaroon_caveat *ret),
			      struct macaroon *m)
{
	size_t n = json_len(list);

	if (list && json_kind(list) != JSON_ARRAY && json_kind(list) != JSON_NULL)
		return false;
	if (n > MACAROON_CAVEATS_MAX)
		return false;
	m->caveats = xcalloc(n + 1, sizeof(*m->caveats));
	for (size_t k = 0; k < n; k++, m->n++)
		if (!read(json_at(list, k), &m->caveats[k])) {
			m->n++;
			return false;
		}
	return true;
}

static bool caveat_from_v2(const struct json *j, struct macaroon_caveat *ret)
{
	ret->location = xstrdup_null(json_get_str(j, "l"));
	return get_bytes(j, "i", &ret->id) && (!has_bytes(j, "v") || (get_bytes(j, "v", &ret->vid) && ret->vid.len));
}

static bool from_v2(const struct json *j, struct macaroon *m)
{
	auto_strbuf struct strbuf sig = STRBUF_INIT;

	m->location = xstrdup_null(json_get_str(j, "l"));
	if (!get_bytes(j, "i", &m->id) || !caveats_from_json(json_get(j, "c"), caveat_from_v2, m) ||
	    !get_bytes(j, "s", &sig) || sig.len != MACAROON_SIG)
		return false;
	memcpy(m->sig, sig.data, MACAROON_SIG);
	return true;
}

static bool caveat_from_v1(const struct json *j, struct macaroon_caveat *ret)
{
	const char *cid = json_get_str(j, "cid"), *vid = json_get_str(j, "vid");

	if (!cid)
		return false;
	strbuf_append(&ret->id, cid);
	ret->location = xstrdup_null(json_get_str(j, "cl"));
	return !vid || (base64_any_decode(vid, &ret->vid) == 0 && ret->vid.len);
}

static int hex_digit(char c)
{
	const char *at = c ? strchr("0123456789abcdef", c) : NULL;

	return at ? (int)(at - "0123456789abcdef") : -1;
}

static bool from_v1(const struct json *j, struct macaroon *m)
{
	const char *id = json_get_str(j, "identifier"), *sig = json_get_str(j, "signature");

	if (!id || !sig || strlen(sig) != (size_t)2 * MACAROON_SIG)
		return false;
	for (size_t k = 0; k < MACAROON_SIG; k++) {
		int high = hex_digit(sig[2 * k]), low = hex_digit(sig[2 * k + 1]);

		if (high < 0 || low < 0)
			return false;
		m->sig[k] = (unsigned char)(high << 4 | low);
	}
	m->location = xstrdup_null(json_get_str(j, "location"));
	strbuf_append(&m->id, id);
	return caveats_from_json(json_get(j, "caveats"), caveat_from_v1, m);
}

static int from_base64(const char *text, struct macaroon *ret, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	size_t used;
	int r;

	if (base64_any_decode(text, &b) < 0)
		return bad(err, "it is no base64");
	r = macaroon_from_binary(b.data, b.len, ret, &used, err);
	if (r == 0 && used != b.len) {
		macaroon_done(ret);
		return bad(err, "something follows it");
	}
	return r;
}

int macaroon_from_json(const struct json *j, struct macaroon *ret, struct error *err)
{
	auto_macaroon struct macaroon m = MACAROON_INIT;

	if (json_str(j))
		return from_base64(json_str(j), ret, err);
	if (json_kind(j) != JSON_OBJECT)
		return bad(err, "it is no object");
	if (!(json_get(j, "signature") ? from_v1(j, &m) : from_v2(j, &m)))
		return bad(err, "its JSON form is damaged");
	*ret = m;
	m = MACAROON_INIT;
	return 0;
}

/* Text that JSON takes as it is. */
static bool is_plain(const struct strbuf *b)
{
	for (size_t k = 0; k < b->len; k++)
		if (b->data[k] < ' ' || b->data[k] > '~' || strchr("\"\\<>&", b->data[k]))
			return false;
	return true;
}

static void put_bytes(struct jsonw *w, const char *name, const struct strbuf *b)
{
	auto_free char *name64 = xasprintf("%s64", name);
	auto_free char *coded = NULL;

	if (is_plain(b)) {
		jsonw_kv_str(w, name, strbuf_str(b));
		return;
	}
	coded = base64_url_encode(b->data, b->len);
	jsonw_kv_str(w, name64, coded);
}

void macaroon_to_json(const struct macaroon *m, struct jsonw *w)
{
	auto_free char *sig = base64_url_encode(m->sig, sizeof(m->sig));

	jsonw_object_begin(w);
	if (m->n) {
		jsonw_key(w, "c");
		jsonw_array_begin(w);
		for (size_t k = 0; k < m->n; k++) {
			jsonw_object_begin(w);
			put_bytes(w, "i", &m->caveats[k].id);
			if (m->caveats[k].vid.len)
				put_bytes(w, "v", &m->caveats[k].vid);
			if (m->caveats[k].location)
				jsonw_kv_str(w, "l", m->caveats[k].location);
			jsonw_object_end(w);
		}
		jsonw_array_end(w);
	}
	if (m->location)
		jsonw_kv_str(w, "l", m->location);
	put_bytes(w, "i", &m->id);
	jsonw_kv_str(w, "s64", sig);
	jsonw_object_end(w);
}

/* --- slices --- */

static int slice_from_json(const struct strbuf *b, struct macaroon_slice *s, struct error *err)
{
	auto_json struct json *j = NULL;
	int r = json_parse_bytes(b->data, b->len, &j, err);

	if (r < 0)
		return r;
	if (json_kind(j) != JSON_ARRAY || json_len(j) == 0 || json_len(j) > MACAROON_SLICE_MAX)
		return bad(err, "there are none, or too many");
	for (size_t k = 0; k < json_len(j); k++) {
		struct macaroon m = MACAROON_INIT;

		r = macaroon_from_json(json_at(j, k), &m, err);
		if (r < 0)
			return r;
		macaroon_slice_take(s, &m);
	}
	return 0;
}

static int slice_from_binary(const struct strbuf *b, struct macaroon_slice *s, struct error *err)
{
	for (size_t at = 0, used; at < b->len; at += used) {
		struct macaroon m = MACAROON_INIT;
		int r;

		if (s->n == MACAROON_SLICE_MAX)
			return bad(err, "there are too many");
		r = macaroon_from_binary(b->data + at, b->len - at, &m, &used, err);
		if (r < 0)
			return r;
		macaroon_slice_take(s, &m);
	}
	return 0;
}

int macaroon_slice_from_text(const char *text, struct macaroon_slice *ret, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_macaroon_slice struct macaroon_slice s = MACAROON_SLICE_INIT;
	int r;

	if (strlen(text) > 2 * MACAROON_TEXT_MAX || base64_any_decode(text, &b) < 0 || !b.len ||
	    b.len > MACAROON_TEXT_MAX)
		return bad(err, "it is no base64, empty or too long");
	r = b.data[0] == '[' ? slice_from_json(&b, &s, err) : slice_from_binary(&b, &s, err);
	if (r < 0)
		return r;
	*ret = s;
	s = MACAROON_SLICE_INIT;
	return 0;
}

char *macaroon_slice_to_text(const struct macaroon_slice *s)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	for (size_t k = 0; k < s->n; k++)
		macaroon_to_json(&s->items[k], &w);
	jsonw_array_end(&w);
	return base64_encode(b.data, b.len);
}
