/* The client's part of the bakery protocol, versions 2 and 3. */
#include "client/discharge.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "client/interact.h"
#include "client/weburl.h"
#include "http/client.h"
#include "macaroon/bakery.h"
#include "macaroon/macaroon.h"

void discharge_result_done(struct discharge_result *d)
{
	if (d->text)
		explicit_bzero(d->text, strlen(d->text));
	free(d->text);
	*d = DISCHARGE_RESULT_INIT;
}

/* The macaroons in hand, and what came with each: the payloads of its caveats. */
struct acquisition {
	const struct web *web;
	const char *domain;
	struct macaroon_slice slice;
	struct json *docs[MACAROON_SLICE_MAX];
};

static void acquisition_done(struct acquisition *a)
{
	for (size_t i = 0; i < a->slice.n; i++)
		json_free(a->docs[i]);
	macaroon_slice_done(&a->slice);
}

/* @value: an envelope {"m": ..., "cdata": ...}, or a bare macaroon. */
static int add_macaroon(struct acquisition *a, const struct json *value, struct error *err)
{
	auto_macaroon struct macaroon m = MACAROON_INIT;
	auto_free char *text = json_to_text(value);
	auto_json struct json *doc = NULL;
	const struct json *inner = json_get(value, "m");
	int r;

	if (a->slice.n == MACAROON_SLICE_MAX)
		return error_set(err, 502, "the login takes more than %d macaroons", MACAROON_SLICE_MAX);
	r = macaroon_from_json(json_kind(inner) == JSON_OBJECT ? inner : value, &m, err);
	if (r >= 0)
		r = json_parse_bytes(text, strlen(text), &doc, err);
	if (r < 0)
		return error_wrap(err, "malformed macaroon");
	a->docs[a->slice.n] = TAKE_PTR(doc);
	macaroon_slice_take(&a->slice, &m);
	return 0;
}

/* ---- one discharge ---- */

static bool is_printable(const struct strbuf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if ((unsigned char)b->data[i] < 0x20 || (unsigned char)b->data[i] >= 0x7f)
			return false;
	return b->len;
}

/* "name=text" when that can be read, else "name64=base64". */
static void add_bytes(struct web_url *url, const char *name, const struct strbuf *bytes)
{
	auto_free char *name64 = xasprintf("%s64", name);
	auto_free char *coded = base64_url_encode(bytes->data, bytes->len);

	if (is_printable(bytes))
		web_url_add_query(url, name, bytes->data);
	else
		web_url_add_query(url, name64, coded);
}

/* The third party's address, with a slash at its end: what it names is relative to that. */
static int parse_location(const char *text, struct web_url *ret, struct error *err)
{
	char *path;
	int r = web_url_parse(text, ret, err);

	if (r < 0)
		return r;
	path = web_url_plain_path(ret);
	free(ret->path);
	ret->path = endswith(path, "/") ? path : xasprintf("%s/", path);
	if (ret->path != path)
		free(path);
	return 0;
}

/* Where the discharge of @caveat is asked for. @payload: text that came with the macaroon; NULL: the id says it all. */
static int discharge_url(const struct web_url *location, const struct macaroon_caveat *caveat, const char *payload,
			 const struct interact_token *token, struct web_url *ret, struct error *err)
{
	auto_strbuf struct strbuf bytes = STRBUF_INIT;
	auto_free char *coded = NULL;
	int r = web_url_resolve(location, "discharge", ret, err);

	if (r < 0)
		return r;
	if (payload && base64_any_decode(payload, &bytes) < 0)
		return error_set(err, 502, "malformed macaroon: the payload of a caveat is no base64");
	if (payload) {
		coded = base64_url_encode(bytes.data, bytes.len);
		web_url_add_query(ret, "caveat64", coded);
	}
	add_bytes(ret, "id", &caveat->id);
	if (token->kind) {
		add_bytes(ret, "token", &token->value);
		web_url_add_query(ret, "token-kind", token->kind);
	}
	return 0;
}

static bool wants_interaction(const struct web_answer *answer)
{
	const char *code = json_get_str(answer->doc, "Code");
	const char *scheme = strmap_get(&answer->headers, "www-authenticate");

	return answer->status == 401 && code && streq(code, "interaction required") && scheme &&
	       streq(scheme, "Macaroon");
}

/* What a third party says that gives no discharge. */
static int refusal(const struct web_answer *answer, struct error *err)
{
	const char *said = json_get_str(answer->doc, "Message");

	if (wants_interaction(answer))
		return error_set(err, 403, "third party refused discharge: it does not accept the login");
	if (answer->status >= 400 && !str_is_empty(said))
		return error_set(err, 403, "third party refused discharge: %s", said);
	return error_set(err, 502, "third party refused discharge: status %d", answer->status);
}

static int take_discharge(struct acquisition *a, const struct json *doc, const struct macaroon_caveat *caveat,
			  struct error *err)
{
	const struct strbuf *id;
	int r = add_macaroon(a, json_get(doc, "Macaroon"), err);

	if (r < 0)
		return r;
	id = &a->slice.items[a->slice.n - 1].id;
	if (id->len != caveat->id.len || memcmp(id->data, caveat->id.data, id->len) != 0)
		return error_set(err, 502, "the discharge is for something else");
	return 0;
}

/* Ask; with a @token this is the last time. 1: it wants interaction, *@answer says which. */
static int ask_once(struct acquisition *a, const struct web_url *location, const struct macaroon_caveat *caveat,
		    const char *payload, const struct interact_token *token, struct web_answer *answer,
		    struct error *err)
{
	auto_web_url struct web_url url = WEB_URL_INIT;
	int r = discharge_url(location, caveat, payload, token, &url, err);

	if (r >= 0)
		r = web_send(a->web, "POST", &url, NULL, WEB_PATIENCE_MS, answer, err);
	if (r < 0)
		return r;
	if (answer->status == 200)
		return take_discharge(a, answer->doc, caveat, err);
	if (!token->kind && wants_interaction(answer))
		return 1;
	return refusal(answer, err);
}

static int acquire(struct acquisition *a, const struct macaroon_caveat *caveat, const char *payload, struct error *err)
{
	auto_web_answer struct web_answer first = WEB_ANSWER_INIT;
	auto_web_answer struct web_answer second = WEB_ANSWER_INIT;
	auto_interact_token struct interact_token token = INTERACT_TOKEN_INIT;
	auto_web_url struct web_url location = WEB_URL_INIT;
	auto_json struct json *old = NULL;
	int r = parse_location(caveat->location, &location, err);

	if (r >= 0)
		r = ask_once(a, &location, caveat, payload, &token, &first, err);
	if (r <= 0)
		return r;
	r = interact(a->web, &location, json_get(first.doc, "Info"), a->domain, &token, &old, err);
	if (r < 0)
		return r;
	if (old)
		return take_discharge(a, old, caveat, err);
	return ask_once(a, &location, caveat, payload, &token, &second, err);
}

/* ---- all of them ---- */

/* The discharges for the @i-th macaroon; they come behind those in hand. */
static int acquire_for(struct acquisition *a, size_t i, struct error *err)
{
	for (size_t k = 0; k < a->slice.items[i].n; k++) {
		/* the macaroons move when there are more of them; their caveats do not */
		const struct macaroon_caveat *caveat = &a->slice.items[i].caveats[k];
		const char *location = caveat->location;
		int r;

		if (!caveat->vid.len)
			continue;
		if (str_is_empty(location))
			return error_set(err, 502,
					 "malformed macaroon: a caveat of a third party says not whose it is");
		r = acquire(a, caveat, bakery_payload_of(json_get(a->docs[i], "cdata"), &caveat->id), err);
		if (r < 0)
			return error_wrap(err, "cannot get discharge from \"%.*s\"", (int)strcspn(location, "?"),
					  location);
	}
	return 0;
}

/* A time that cannot be read counts as over. */
static int64_t earliest_end(const struct macaroon_slice *s)
{
	int64_t earliest = DISCHARGE_NEVER;

	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; k < s->items[i].n; k++) {
			const struct macaroon_caveat *c = &s->items[i].caveats[k];
			const char *time = c->vid.len ? NULL : startswith(strbuf_str(&c->id), "time-before ");
			int64_t ns = 0;

			if (time && time_parse(time, &ns) < 0)
				ns = 0;
			if (time)
				earliest = MIN_OF(earliest, ns);
		}
	return earliest;
}

int discharge_all(const struct web *w, const struct json *challenge, const char *domain, struct discharge_result *ret,
		  struct error *err)
{
	CLEANUP(acquisition_done) struct acquisition a = {.web = w, .domain = domain};
	int r = add_macaroon(&a, challenge, err);

	for (size_t i = 0; r >= 0 && i < a.slice.n; i++)
		r = acquire_for(&a, i, err);
	if (r < 0)
		return r;
	for (size_t i = 1; i < a.slice.n; i++)
		macaroon_bind(&a.slice.items[0], &a.slice.items[i]);
	ret->text = macaroon_slice_to_text(&a.slice);
	ret->expires_ns = earliest_end(&a.slice);
	return 0;
}
