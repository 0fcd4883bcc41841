#include "macaroon/macaroon.h"

#include <sodium.h>
#include <string.h>

#include "base/alloc.h"
#include "base/macros.h"

#define KEY_GENERATOR "macaroons-key-generator"

/* --- memory --- */

static void caveat_done(struct macaroon_caveat *c)
{
	strbuf_done(&c->id);
	strbuf_done(&c->vid);
	free(c->location);
}

void macaroon_done(struct macaroon *m)
{
	free(m->location);
	strbuf_done(&m->id);
	for (size_t k = 0; k < m->n; k++)
		caveat_done(&m->caveats[k]);
	free(m->caveats);
	*m = MACAROON_INIT;
}

void macaroon_slice_done(struct macaroon_slice *s)
{
	for (size_t k = 0; k < s->n; k++)
		macaroon_done(&s->items[k]);
	free(s->items);
	*s = MACAROON_SLICE_INIT;
}

void macaroon_slice_take(struct macaroon_slice *s, struct macaroon *m)
{
	s->items = xreallocarray(s->items, s->n + 1, sizeof(*s->items));
	s->items[s->n++] = *m;
	*m = MACAROON_INIT;
}

/* --- the chain --- */

static void hmac(unsigned char out[MACAROON_SIG], const void *key, size_t key_len, const void *data, size_t len)
{
	crypto_auth_hmacsha256_state state;

	crypto_auth_hmacsha256_init(&state, key, key_len);
	crypto_auth_hmacsha256_update(&state, data, len);
	crypto_auth_hmacsha256_final(&state, out);
}

/* H(key, H(key, a) || H(key, b)) */
static void hmac_two(unsigned char out[MACAROON_SIG], const unsigned char key[MACAROON_SIG], const void *a,
		     size_t a_len, const void *b, size_t b_len)
{
	unsigned char both[2 * MACAROON_SIG];

	hmac(both, key, MACAROON_SIG, a, a_len);
	hmac(both + MACAROON_SIG, key, MACAROON_SIG, b, b_len);
	hmac(out, key, MACAROON_SIG, both, sizeof(both));
}

static void derive(unsigned char out[MACAROON_SIG], const void *root, size_t len)
{
	hmac(out, KEY_GENERATOR, strlen(KEY_GENERATOR), root, len);
}

/* The signature after caveat @c. */
static void extend(unsigned char sig[MACAROON_SIG], const struct macaroon_caveat *c)
{
	unsigned char was[MACAROON_SIG];

	memcpy(was, sig, sizeof(was));
	if (c->vid.len)
		hmac_two(sig, was, c->vid.data, c->vid.len, c->id.data, c->id.len);
	else
		hmac(sig, was, sizeof(was), c->id.data, c->id.len);
}

static void bound_signature(unsigned char out[MACAROON_SIG], const unsigned char primary[MACAROON_SIG],
			    const unsigned char discharge[MACAROON_SIG])
{
	static const unsigned char zero[MACAROON_SIG];

	if (sodium_memcmp(primary, discharge, MACAROON_SIG) == 0)
		memcpy(out, discharge, MACAROON_SIG);
	else
		hmac_two(out, zero, primary, MACAROON_SIG, discharge, MACAROON_SIG);
}

/* --- making --- */

void macaroon_new(struct macaroon *ret, const void *root, size_t root_len, const void *id, size_t id_len,
		  const char *location)
{
	unsigned char key[MACAROON_SIG];

	derive(key, root, root_len);
	ret->location = xstrdup_null(location);
	strbuf_append_len(&ret->id, id, id_len);
	hmac(ret->sig, key, sizeof(key), id, id_len);
	sodium_memzero(key, sizeof(key));
}

static struct macaroon_caveat *push(struct macaroon *m)
{
	m->caveats = xreallocarray(m->caveats, m->n + 1, sizeof(*m->caveats));
	m->caveats[m->n] = (struct macaroon_caveat){0};
	return &m->caveats[m->n++];
}

void macaroon_add_condition(struct macaroon *m, const char *condition)
{
	struct macaroon_caveat *c = push(m);

	strbuf_append(&c->id, condition);
	extend(m->sig, c);
}

void macaroon_add_third_party(struct macaroon *m, const void *root, size_t root_len, const void *id, size_t id_len,
			      const char *location, const unsigned char nonce[MACAROON_NONCE])
{
	struct macaroon_caveat *c = push(m);
	unsigned char key[MACAROON_SIG], box[crypto_secretbox_MACBYTES + MACAROON_SIG];

	derive(key, root, root_len);
	crypto_secretbox_easy(box, key, sizeof(key), nonce, m->sig);
	sodium_memzero(key, sizeof(key));
	strbuf_append_len(&c->id, id, id_len);
	strbuf_append_len(&c->vid, (const char *)nonce, MACAROON_NONCE);
	strbuf_append_len(&c->vid, (const char *)box, sizeof(box));
	c->location = xstrdup_null(location);
	extend(m->sig, c);
}

void macaroon_bind(const struct macaroon *primary, struct macaroon *discharge)
{
	unsigned char sig[MACAROON_SIG];

	bound_signature(sig, primary->sig, discharge->sig);
	memcpy(discharge->sig, sig, sizeof(sig));
}

/* --- verifying --- */

struct verification {
	const struct macaroon_slice *s;
	bool used[MACAROON_SLICE_MAX];
	struct strv *conditions;
};

static int refuse(struct error *err, const char *why)
{
	return error_set(err, 403, "macaroon: %s", why);
}

/* The key of a discharge, out of the caveat's verification id. */
static bool open_vid(const struct strbuf *vid, const unsigned char sig[MACAROON_SIG], unsigned char key[MACAROON_SIG])
{
	const unsigned char *data = (const unsigned char *)vid->data;

	return vid->len == MACAROON_NONCE + crypto_secretbox_MACBYTES + MACAROON_SIG &&
	       crypto_secretbox_open_easy(key, data + MACAROON_NONCE, vid->len - MACAROON_NONCE, data, sig) == 0;
}

static bool same_bytes(const struct strbuf *a, const struct strbuf *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* The discharge of a caveat, once: its place; 0: none, or it has been used. */
static size_t take_discharge(struct verification *v, const struct strbuf *id)
{
	for (size_t k = 1; k < v->s->n; k++) {
		if (!same_bytes(&v->s->items[k].id, id))
			continue;
		if (v->used[k])
			return 0;
		v->used[k] = true;
		return k;
	}
	return 0;
}

/* Macaroon number @at by its key. Each is visited at most once, so that the depth is bounded. */
static int verify_one(struct verification *v, size_t at, const unsigned char key[MACAROON_SIG], struct error *err)
{
	const struct macaroon *m = &v->s->items[at];
	unsigned char sig[MACAROON_SIG], bound[MACAROON_SIG], inner[MACAROON_SIG];
	int r = 0;

	hmac(sig, key, MACAROON_SIG, m->id.data ? m->id.data : "", m->id.len);
	for (size_t k = 0; k < m->n && r == 0; k++) {
		const struct macaroon_caveat *c = &m->caveats[k];

		if (c->vid.len == 0) {
			if (memchr(strbuf_str(&c->id), '\0', c->id.len))
				r = refuse(err, "a condition is no text");
			else
				strv_add(v->conditions, strbuf_str(&c->id));
		} else {
			size_t discharge = take_discharge(v, &c->id);

			if (!discharge)
				r = refuse(err, "a caveat has no discharge");
			else if (!open_vid(&c->vid, sig, inner))
				r = refuse(err, "a caveat cannot be opened");
			else
				r = verify_one(v, discharge, inner, err);
		}
		extend(sig, c);
	}
	sodium_memzero(inner, sizeof(inner));
	if (r < 0)
		return r;
	if (at == 0)
		memcpy(bound, sig, sizeof(bound));
	else
		bound_signature(bound, v->s->items[0].sig, sig);
	return sodium_memcmp(bound, m->sig, MACAROON_SIG) == 0 ? 0 : refuse(err, "a signature does not fit");
}

int macaroon_verify(const struct macaroon_slice *s, const void *root, size_t root_len, struct strv *ret,
		    struct error *err)
{
	struct verification v = {.s = s, .conditions = ret};
	unsigned char key[MACAROON_SIG];
	int r;

	if (s->n == 0 || s->n > MACAROON_SLICE_MAX)
		return refuse(err, "none, or too many");
	derive(key, root, root_len);
	r = verify_one(&v, 0, key, err);
	sodium_memzero(key, sizeof(key));
	for (size_t k = 1; k < s->n && r == 0; k++)
		if (!v.used[k])
			r = refuse(err, "a discharge is for no caveat");
	return r;
}
