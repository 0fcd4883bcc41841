#include "macaroon/agent.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "macaroon/macaroon.h"

/* The root key of a caveat that is for us, out of what came with it, or out of its id. */
static int open_caveat(const struct macaroon_caveat *c, const struct json *cdata, const struct bakery_key *key,
		       struct strbuf *ret_root, struct error *err)
{
	const char *coded = bakery_payload_of(cdata, &c->id);
	auto_strbuf struct strbuf payload = STRBUF_INIT;
	auto_free char *condition = NULL;
	int r;

	if (!c->location || !streq(c->location, "local"))
		return error_set(err, 403, "The agent's login takes another party: \"%s\"",
				 c->location ? c->location : "");
	if (coded && base64_any_decode(coded, &payload) < 0)
		return error_set(err, 400, "Invalid third-party caveat");
	r = coded ? bakery_payload_decode(payload.data, payload.len, key, ret_root, &condition, err)
		  : bakery_payload_decode(c->id.data, c->id.len, key, ret_root, &condition, err);
	if (r >= 0 && !streq(condition, "true"))
		return error_set(err, 403, "The agent's login has the unknown condition \"%s\"", condition);
	return r;
}

static int discharge(struct macaroon_slice *s, size_t i, const struct json *cdata, const struct bakery_key *key,
		     struct error *err)
{
	const struct macaroon_caveat *c = &s->items[0].caveats[i];
	auto_macaroon struct macaroon made = MACAROON_INIT;
	auto_strbuf struct strbuf root = STRBUF_INIT;
	int r;

	if (s->n == MACAROON_SLICE_MAX)
		return error_set(err, 400, "The agent's login has more than %d caveats", MACAROON_SLICE_MAX - 1);
	r = open_caveat(c, cdata, key, &root, err);
	if (r >= 0) {
		macaroon_new(&made, root.data, root.len, c->id.data, c->id.len, NULL);
		macaroon_bind(&s->items[0], &made);
		macaroon_slice_take(s, &made);
	}
	if (root.data)
		explicit_bzero(root.data, root.len);
	return r;
}

int agent_token(const struct json *login, const struct bakery_key *key, struct strbuf *ret, struct error *err)
{
	const struct json *inner = json_get(login, "m");
	auto_macaroon_slice struct macaroon_slice s = MACAROON_SLICE_INIT;
	auto_macaroon struct macaroon primary = MACAROON_INIT;
	int r = macaroon_from_json(json_kind(inner) == JSON_OBJECT ? inner : login, &primary, err);

	if (r < 0)
		return r;
	macaroon_slice_take(&s, &primary);
	for (size_t i = 0; r >= 0 && i < s.items[0].n; i++)
		if (s.items[0].caveats[i].vid.len)
			r = discharge(&s, i, json_get(login, "cdata"), key, err);
	for (size_t i = 0; r >= 0 && i < s.n; i++)
		macaroon_to_binary(&s.items[i], ret);
	return r;
}
