/* Tokens that add a client to a server. */
#include "client/token.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/address.h"

#define TOKEN_TEXT_MAX (64 * 1024)
#define GO_ZERO_TIME "0001-01-01T00:00:00Z"

static void wipe_free(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

void trust_token_done(struct trust_token *t)
{
	free(t->client_name);
	free(t->fingerprint);
	strv_done(&t->addresses);
	wipe_free(t->secret);
	free(t->expires_at);
	*t = TRUST_TOKEN_INIT;
}

/* Addresses must be texts; the rest of the object is taken as strings. */
static int take_addresses(const struct json *list, struct strv *ret)
{
	for (size_t i = 0; i < json_len(list); i++) {
		const char *address = json_str(json_at(list, i));

		if (str_is_empty(address))
			return -EINVAL;
		strv_add(ret, address);
	}
	return ret->len ? 0 : -EINVAL;
}

static int take_fields(const struct json *j, const char *name, const char *expires, struct trust_token *ret)
{
	const char *fingerprint = json_get_str(j, "fingerprint"), *secret = json_get_str(j, "secret");

	if (str_is_empty(name) || str_is_empty(secret) || str_is_empty(fingerprint) ||
	    json_kind(json_get(j, "addresses")) != JSON_ARRAY)
		return -EINVAL;
	ret->client_name = xstrdup(name);
	ret->fingerprint = fingerprint_normalise(fingerprint);
	ret->secret = xstrdup(secret);
	ret->expires_at = xstrdup(str_is_empty(expires) ? GO_ZERO_TIME : expires);
	return ret->fingerprint ? take_addresses(json_get(j, "addresses"), &ret->addresses) : -EINVAL;
}

int trust_token_decode(const char *text, struct trust_token *ret)
{
	auto_trust_token struct trust_token t = TRUST_TOKEN_INIT;
	auto_strbuf struct strbuf raw = STRBUF_INIT;
	auto_json struct json *j = NULL;
	auto_error struct error e = ERROR_INIT;
	int r;

	if (strlen(text) > TOKEN_TEXT_MAX || base64_decode(text, &raw) < 0)
		return -EINVAL;
	r = json_parse(strbuf_str(&raw), raw.len, &j, &e);
	if (r >= 0 && json_kind(j) == JSON_OBJECT)
		r = take_fields(j, json_get_str(j, "client_name"), json_get_str(j, "expires_at"), &t);
	else
		r = -EINVAL;
	if (raw.data)
		explicit_bzero(raw.data, raw.len);
	if (r < 0)
		return -EINVAL;
	*ret = t;
	t = TRUST_TOKEN_INIT;
	return 0;
}

/* As Go writes JSON: these three only ever stand in strings. */
static void escape_html(const struct strbuf *in, struct strbuf *out)
{
	for (const char *p = strbuf_str(in); *p; p++) {
		if (strchr("<>&", *p))
			strbuf_appendf(out, "\\u%04x", (unsigned char)*p);
		else
			strbuf_append_char(out, *p);
	}
}

char *trust_token_encode(const struct trust_token *t)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_strbuf struct strbuf go = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	char *text;

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "client_name", t->client_name);
	jsonw_kv_str(&w, "fingerprint", t->fingerprint);
	jsonw_kv_strv(&w, "addresses", &t->addresses);
	jsonw_kv_str(&w, "secret", t->secret);
	jsonw_kv_str(&w, "expires_at", t->expires_at);
	jsonw_object_end(&w);
	escape_html(&b, &go);
	text = base64_encode(go.data, go.len);
	explicit_bzero(b.data, b.len);
	explicit_bzero(go.data, go.len);
	return text;
}

int trust_token_from_operation(const struct json *operation, struct trust_token *ret)
{
	const struct json *metadata = json_get(operation, "metadata");
	const char *class = json_get_str(operation, "class");
	auto_trust_token struct trust_token t = TRUST_TOKEN_INIT;

	if (!class || !streq(class, "token") || json_kind(metadata) != JSON_OBJECT ||
	    take_fields(metadata, json_get_str(json_get(metadata, "request"), "name"),
			json_get_str(metadata, "expiresAt"), &t) < 0)
		return -EINVAL;
	*ret = t;
	t = TRUST_TOKEN_INIT;
	return 0;
}
