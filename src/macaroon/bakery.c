#include "macaroon/bakery.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strmap.h"
#include "base/timeutil.h"
#include "macaroon/macaroon.h"

#define KEY_PREFIX 4
#define PAYLOAD_HEAD (1 + KEY_PREFIX + BAKERY_KEY + BAKERY_BOX_NONCE)
#define PAYLOAD_MAX 8192
#define LOGIN "login"

void bakery_key_generate(struct bakery_key *ret)
{
	crypto_box_keypair(ret->public, ret->secret);
}

int bakery_key_parse(const char *text, unsigned char ret[BAKERY_KEY])
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	if (strlen(text) > 64 || base64_any_decode(text, &b) < 0 || b.len != BAKERY_KEY)
		return -EINVAL;
	memcpy(ret, b.data, BAKERY_KEY);
	return 0;
}

/* --- numbers of variable length --- */

static void put_uvarint(struct strbuf *b, size_t v)
{
	for (; v >= 0x80; v >>= 7)
		strbuf_append_char(b, (char)((v & 0x7f) | 0x80));
	strbuf_append_char(b, (char)v);
}

struct cursor {
	const unsigned char *p;
	size_t left;
};

static bool get_uvarint(struct cursor *c, size_t *ret)
{
	size_t v = 0;

	for (unsigned shift = 0; shift < 28 && c->left; shift += 7) {
		unsigned char byte = *c->p;

		c->p++;
		c->left--;
		v |= (size_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* A length and so many bytes, borrowed. */
static bool get_bytes(struct cursor *c, struct cursor *ret)
{
	size_t len;

	if (!get_uvarint(c, &len) || len > c->left)
		return false;
	*ret = (struct cursor){c->p, len};
	c->p += len;
	c->left -= len;
	return true;
}

/* --- payloads --- */

void bakery_payload_encode(unsigned version, const struct bakery_key *ours, const unsigned char theirs[BAKERY_KEY],
			   const unsigned char nonce[BAKERY_BOX_NONCE], const void *root, size_t root_len,
			   const char *condition, struct strbuf *ret)
{
	struct strbuf secret = STRBUF_INIT;
	auto_free unsigned char *box = NULL;

	strbuf_append_char(&secret, (char)version);
	put_uvarint(&secret, root_len);
	strbuf_append_len(&secret, root, root_len);
	if (version >= 3) {
		put_uvarint(&secret, strlen(BAKERY_NAMESPACE));
		strbuf_append(&secret, BAKERY_NAMESPACE);
	}
	strbuf_append(&secret, condition);
	box = xmalloc(secret.len + crypto_box_MACBYTES);
	if (crypto_box_easy(box, (unsigned char *)secret.data, secret.len, nonce, theirs, ours->secret) != 0)
		memset(box, 0, secret.len + crypto_box_MACBYTES); /* a key that is none: nobody can open it */
	strbuf_append_char(ret, (char)version);
	strbuf_append_len(ret, (const char *)theirs, KEY_PREFIX);
	strbuf_append_len(ret, (const char *)ours->public, BAKERY_KEY);
	strbuf_append_len(ret, (const char *)nonce, BAKERY_BOX_NONCE);
	strbuf_append_len(ret, (const char *)box, secret.len + crypto_box_MACBYTES);
	sodium_memzero(secret.data, secret.len);
	strbuf_done(&secret);
}

static int bad_payload(struct error *err)
{
	return error_set(err, 400, "Invalid third-party caveat");
}

static bool read_secret(struct cursor c, unsigned version, struct strbuf *ret_root, char **ret_condition)
{
	struct cursor root, ns;

	if (!c.left || *c.p != version)
		return false;
	c.p++;
	c.left--;
	if (!get_bytes(&c, &root) || (version >= 3 && !get_bytes(&c, &ns)) || memchr(c.p, '\0', c.left))
		return false;
	strbuf_append_len(ret_root, (const char *)root.p, root.left);
	*ret_condition = xstrndup((const char *)c.p, c.left);
	return true;
}

int bakery_payload_decode(const void *data, size_t len, const struct bakery_key *ours, struct strbuf *ret_root,
			  char **ret_condition, struct error *err)
{
	const unsigned char *p = data;
	auto_free unsigned char *secret = NULL;
	size_t n;
	bool ok;

	if (len < PAYLOAD_HEAD + crypto_box_MACBYTES + 1 || len > PAYLOAD_MAX || *p < BAKERY_VERSION_MIN ||
	    *p > BAKERY_VERSION_MAX || memcmp(p + 1, ours->public, KEY_PREFIX) != 0)
		return bad_payload(err);
	n = len - PAYLOAD_HEAD - crypto_box_MACBYTES;
	secret = xmalloc(n);
	if (crypto_box_open_easy(secret, p + PAYLOAD_HEAD, len - PAYLOAD_HEAD, p + 1 + KEY_PREFIX + BAKERY_KEY,
				 p + 1 + KEY_PREFIX, ours->secret) != 0)
		return bad_payload(err);
	ok = read_secret((struct cursor){secret, n}, *p, ret_root, ret_condition);
	sodium_memzero(secret, n);
	return ok ? 0 : bad_payload(err);
}

struct lookup {
	const struct strbuf *id;
	const char *found;
};

/* Names are base64 of either alphabet, padded or not. */
static int look_at(const char *name, const struct json *value, void *arg)
{
	struct lookup *l = arg;
	auto_strbuf struct strbuf id = STRBUF_INIT;

	if (base64_any_decode(name, &id) == 0 && id.len == l->id->len && memcmp(id.data, l->id->data, id.len) == 0)
		l->found = json_str(value);
	return 0;
}

const char *bakery_payload_of(const struct json *cdata, const struct strbuf *id)
{
	struct lookup l = {.id = id};

	if (id->len)
		json_each(cdata, look_at, &l);
	return l.found;
}

/* --- identifiers: byte 3 and a protocol buffer {1: nonce, 2: storage id, 3: {1: entity, 2: actions...}...} --- */

enum { ID_NONCE = 1, ID_STORAGE = 2, ID_OP = 3, OP_ENTITY = 1, OP_ACTION = 2 };

#define WIRE_BYTES 2
#define TAG(field) ((char)((field) << 3 | WIRE_BYTES))

static void put_field(struct strbuf *b, int field, const void *data, size_t len)
{
	strbuf_append_char(b, TAG(field));
	put_uvarint(b, len);
	strbuf_append_len(b, data, len);
}

void bakery_id_encode(const unsigned char nonce[16], const void *storage, size_t len, struct strbuf *ret)
{
	auto_strbuf struct strbuf op = STRBUF_INIT;

	put_field(&op, OP_ENTITY, LOGIN, strlen(LOGIN));
	put_field(&op, OP_ACTION, LOGIN, strlen(LOGIN));
	strbuf_append_char(ret, 3);
	put_field(ret, ID_NONCE, nonce, 16);
	put_field(ret, ID_STORAGE, storage, len);
	put_field(ret, ID_OP, op.data, op.len);
}

static bool get_field(struct cursor *c, unsigned *ret_field, struct cursor *ret)
{
	size_t tag;

	if (!get_uvarint(c, &tag) || (tag & 7) != WIRE_BYTES)
		return false;
	*ret_field = (unsigned)(tag >> 3);
	return get_bytes(c, ret);
}

static bool is_login(const struct cursor *text)
{
	return text->left == strlen(LOGIN) && memcmp(text->p, LOGIN, text->left) == 0;
}

/* Damaged ones allow nothing. */
static bool op_is_login(struct cursor op)
{
	bool entity = false, action = false;

	while (op.left) {
		struct cursor value;
		unsigned field;

		if (!get_field(&op, &field, &value))
			return false;
		entity = entity || (field == OP_ENTITY && is_login(&value));
		action = action || (field == OP_ACTION && is_login(&value));
	}
	return entity && action;
}

bool bakery_id_decode(const struct strbuf *id, struct strbuf *ret_storage)
{
	struct cursor c = {(const unsigned char *)strbuf_str(id), id->len};
	bool login = false;

	if (!c.left || *c.p != 3)
		return false;
	c.p++;
	c.left--;
	while (c.left) {
		struct cursor value;
		unsigned field;

		if (!get_field(&c, &field, &value))
			return false;
		if (field == ID_STORAGE) {
			strbuf_truncate(ret_storage, 0);
			strbuf_append_len(ret_storage, (const char *)value.p, value.left);
		}
		login = login || (field == ID_OP && op_is_login(value));
	}
	return login && ret_storage->len > 0;
}

/* --- conditions --- */

void bakery_facts_done(struct bakery_facts *f)
{
	free(f->username);
	*f = BAKERY_FACTS_INIT;
}

/* "username bob": what is declared already must be the same. */
static int declare(struct strmap *declared, const char *text, struct error *err)
{
	const char *space = strchr(text, ' ');
	auto_free char *key = xstrndup(text, space ? (size_t)(space - text) : strlen(text));
	const char *value = space ? space + 1 : "", *before = strmap_get(declared, key);

	if (before && !streq(before, value))
		return error_set(err, 403, "macaroon: \"%s\" is declared twice", key);
	strmap_set(declared, key, value);
	return 0;
}

static int check_time(const char *text, int64_t now_ns, int64_t *expires_ns, struct error *err)
{
	int64_t at;

	if (time_parse(text, &at) < 0)
		return error_set(err, 403, "macaroon: a time makes no sense");
	if (at <= now_ns)
		return error_set(err, 403, "macaroon: it has expired");
	*expires_ns = MIN_OF(*expires_ns, at);
	return 0;
}

int bakery_check(const struct strv *conditions, int64_t now_ns, struct bakery_facts *ret, struct error *err)
{
	auto_strmap struct strmap declared = STRMAP_INIT;
	struct bakery_facts f = BAKERY_FACTS_INIT;
	int r = 0;

	for (size_t k = 0; k < conditions->len && r == 0; k++) {
		const char *c = conditions->items[k];

		if (startswith(c, "time-before "))
			r = check_time(c + strlen("time-before "), now_ns, &f.expires_ns, err);
		else if (startswith(c, "declared "))
			r = declare(&declared, c + strlen("declared "), err);
		else
			r = error_set(err, 403, "macaroon: a condition is not known");
	}
	if (r < 0)
		return r;
	if (!str_is_empty(strmap_get(&declared, "username")))
		f.username = xstrdup(strmap_get(&declared, "username"));
	*ret = f;
	return 0;
}
