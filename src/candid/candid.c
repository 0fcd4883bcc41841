#include "candid/candid.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "candid/internal.h"
#include "macaroon/macaroon.h"

#define SECOND_NS INT64_C(1000000000)
#define EXPIRY_DEFAULT 3600
#define EXPIRY_MAX 315360000 /* ten years */
#define TICKETS_MAX 16       /* of one request that are looked at */
#define CONDITION "need-declared username is-authenticated-user"
#define CAVEAT_ID "\3\0" /* the first of a macaroon */
#define CAVEAT_ID_LEN 2
#define COOKIE_PREFIX "macaroon-"

struct candid {
	struct access *access;
	struct root_keys *keys;
	struct provider *provider;
	struct mutex lock;
	bool on GUARDED_BY(lock);
	char *url GUARDED_BY(lock);
	int64_t expiry_ns GUARDED_BY(lock);
	struct strv domains GUARDED_BY(lock); /* empty: any */
	struct bakery_key own GUARDED_BY(lock);
};

int candid_new(struct db *db, struct access *access, struct candid **ret, struct error *err)
{
	struct candid *c = xnew(struct candid);
	int r;

	c->access = access;
	mutex_init(&c->lock);
	c->provider = provider_new();
	r = root_keys_new(db, &c->keys, err);
	if (r < 0) {
		candid_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void candid_free(struct candid *c) UNSHARED
{
	if (!c)
		return;
	root_keys_free(c->keys);
	provider_free(c->provider);
	free(c->url);
	strv_done(&c->domains);
	sodium_memzero(&c->own, sizeof(c->own));
	mutex_done(&c->lock);
	free(c);
}

/* --- configuration --- */

static int check_url(const char *value, struct error *err)
{
	const char *host = startswith(value, "https://")  ? value + strlen("https://")
			   : startswith(value, "http://") ? value + strlen("http://")
							  : NULL;

	if (host && *host && *host != '/' && !strpbrk(value, " \"\\<>\t\r\n?#@") && strlen(value) < 1024)
		return 0;
	return error_set(err, 400, "Invalid address \"%s\" in \"candid.api.url\": https://HOST[:PORT][/PATH]", value);
}

int candid_check(const struct strmap *config, struct error *err)
{
	const char *url = strmap_get_or(config, "candid.api.url", ""),
		   *key = strmap_get_or(config, "candid.api.key", "");
	const char *expiry = strmap_get_or(config, "candid.expiry", "3600");
	unsigned char bytes[BAKERY_KEY];
	uint64_t seconds = 0;

	if (*url && check_url(url, err) < 0)
		return -EINVAL;
	if (*key && bakery_key_parse(key, bytes) < 0)
		return error_set(err, 400, "Invalid key \"%s\" in \"candid.api.key\": base64 of 32 bytes", key);
	if (startswith(url, "http://") && !*key)
		return error_set(err, 400, "\"candid.api.url\" without https needs \"candid.api.key\"");
	if (parse_u64(expiry, &seconds) < 0 || seconds == 0 || seconds > EXPIRY_MAX)
		return error_set(err, 400, "Invalid value \"%s\" for \"candid.expiry\": seconds, at most %d", expiry,
				 EXPIRY_MAX);
	return 0;
}

static void read_domains(const struct strmap *config, struct strv *ret)
{
	auto_strv struct strv given = STRV_INIT;

	strv_split(&given, strmap_get_or(config, "candid.domains", ""), ',');
	for (size_t k = 0; k < given.len; k++) {
		const char *domain = str_strip(given.items[k]);

		if (*domain)
			strv_add(ret, domain);
	}
}

static void set_provider(struct candid *c, const struct strmap *config)
{
	unsigned char key[BAKERY_KEY];
	const char *text = strmap_get_or(config, "candid.api.key", "");
	bool given = *text && bakery_key_parse(text, key) == 0;

	provider_set(c->provider, strmap_get_or(config, "candid.api.url", ""), given ? key : NULL,
		     strmap_get(config, "core.proxy_https"), strmap_get(config, "core.proxy_ignore_hosts"));
}

void candid_configure(struct candid *c, const struct strmap *config, bool keep_logins)
{
	const char *url = strmap_get_or(config, "candid.api.url", "");
	uint64_t expiry = EXPIRY_DEFAULT;

	if (parse_u64(strmap_get_or(config, "candid.expiry", "3600"), &expiry) < 0)
		expiry = EXPIRY_DEFAULT;
	set_provider(c, config);
	mutex_lock(&c->lock);
	c->on = *url != '\0';
	free(c->url);
	c->url = xstrdup(url);
	c->expiry_ns = (int64_t)expiry * SECOND_NS;
	strv_done(&c->domains);
	read_domains(config, &c->domains);
	bakery_key_generate(&c->own);
	mutex_unlock(&c->lock);
	if (keep_logins)
		return;
	root_keys_forget(c->keys);
	access_end_logins(c->access);
}

bool candid_is_on(struct candid *c)
{
	bool on;

	mutex_lock(&c->lock);
	on = c->on;
	mutex_unlock(&c->lock);
	return on;
}

bool candid_concerns(struct candid *c, const struct http_request *req)
{
	return req->peer.tls && !str_is_empty(http_header(req, "Bakery-Protocol-Version")) && candid_is_on(c);
}

/* --- tickets --- */

struct tickets {
	struct strv list;
};

static void add_ticket(const char *value, struct tickets *t)
{
	if (t->list.len < TICKETS_MAX && *value)
		strv_add(&t->list, value);
}

static void add_cookies(const char *header, void *arg)
{
	auto_strv struct strv cookies = STRV_INIT;

	strv_split(&cookies, header, ';');
	for (size_t k = 0; k < cookies.len; k++) {
		char *cookie = str_strip(cookies.items[k]);
		char *value = startswith(cookie, COOKIE_PREFIX) ? strchr(cookie, '=') : NULL;

		if (value)
			add_ticket(value + 1, arg);
	}
}

static void add_header(const char *header, void *arg)
{
	add_ticket(header, arg);
}

enum verdict { TICKET_BAD, TICKET_GOOD };

/* Is it one of ours, whole, and do its conditions hold? */
static enum verdict judge(struct candid *c, const char *text, int64_t now_ns, struct bakery_facts *ret)
{
	auto_macaroon_slice struct macaroon_slice s = MACAROON_SLICE_INIT;
	auto_strbuf struct strbuf storage = STRBUF_INIT, key = STRBUF_INIT;
	auto_strv struct strv conditions = STRV_INIT;
	auto_error struct error why = ERROR_INIT;
	int r = macaroon_slice_from_text(text, &s, &why);

	if (r == 0 && (!bakery_id_decode(&s.items[0].id, &storage) || !root_keys_find(c->keys, &storage, now_ns, &key)))
		r = error_set(&why, 403, "not ours");
	if (r == 0)
		r = macaroon_verify(&s, key.data, key.len, &conditions, &why);
	if (key.len)
		sodium_memzero(key.data, key.len);
	if (r == 0)
		r = bakery_check(&conditions, now_ns, ret, &why);
	error_ignore(&why, "the caller is asked to log in again");
	return r == 0 ? TICKET_GOOD : TICKET_BAD;
}

/* May the user of a good ticket be one of ours? */
static int check_user(struct candid *c, const char *user, struct error *err)
{
	const char *at = user ? strchr(user, '@') : NULL;
	int r = 0;

	if (!user)
		return error_set(err, 500, "could not determine identity: no declared user name in the ticket");
	if (strlen(user) > IDENTITY_USER_MAX)
		return error_set(err, 500, "could not determine identity: the user name is too long");
	for (const char *p = user; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return error_set(err, 500, "could not determine identity: the user name is no name");
	mutex_lock(&c->lock);
	if (c->domains.len && !at)
		r = error_set(err, 500, "could not determine identity: Missing domain in candid reply");
	else if (c->domains.len && !strv_contains(&c->domains, at + 1))
		r = error_set(err, 500, "could not determine identity: Untrusted candid domain");
	mutex_unlock(&c->lock);
	return r;
}

static void fill(struct candid *c, const struct bakery_facts *f, struct identity *id)
{
	id->kind = IDENTITY_CANDID;
	id->fingerprint[0] = '\0';
	id->restricted = false;
	memcpy(id->user, f->username, strlen(f->username) + 1);
	id->access = c->access;
	id->login = access_login(c->access);
	id->not_after = f->expires_ns / SECOND_NS;
	id->rights_seen = access_seen(id);
}

int candid_identify(struct candid *c, const struct http_request *req, struct identity *id, struct error *err)
{
	struct tickets t = {0};
	int64_t now_ns = time_now_ns();
	int r = 0;

	http_each_header(req, "Cookie", add_cookies, &t);
	http_each_header(req, "Macaroons", add_header, &t);
	for (size_t k = 0; k < t.list.len && r != 1; k++) {
		CLEANUP(bakery_facts_done) struct bakery_facts f = BAKERY_FACTS_INIT;

		if (judge(c, t.list.items[k], now_ns, &f) == TICKET_BAD)
			continue;
		error_clear(err);
		r = check_user(c, f.username, err);
		if (r < 0)
			continue;
		fill(c, &f, id);
		r = 1;
	}
	strv_done(&t.list);
	return r;
}

/* --- sending to the provider --- */

static int version_of(const struct http_request *req, unsigned *ret, struct error *err)
{
	const char *text = http_header(req, "Bakery-Protocol-Version");
	uint32_t v = 0;

	if (parse_u32(text, &v) < 0)
		v = 0;
	if (v < BAKERY_VERSION_MIN)
		return error_set(err, 400, "Bakery-Protocol-Version \"%.16s\" is too old: this server speaks 2 and 3",
				 text);
	*ret = v > BAKERY_VERSION_MAX ? BAKERY_VERSION_MAX : v;
	return 0;
}

/* From the request's path to "/": "." for "/1.0", "../" for each further segment. */
static char *path_to_root(const char *path)
{
	struct strbuf b = STRBUF_INIT;

	for (const char *p = path + 1; (p = strchr(p, '/')); p++)
		strbuf_append(&b, "../");
	return b.len ? strbuf_take(&b) : xstrdup(".");
}

struct mint {
	unsigned version;
	char *url;
	int64_t expiry_ns;
	struct bakery_key own;
	unsigned char theirs[BAKERY_KEY];
	unsigned theirs_version;
};

/* The macaroon and what stands behind its caveat id. */
static int mint(struct candid *c, const struct mint *m, struct macaroon *ret, struct strbuf *payload, struct error *err)
{
	auto_strbuf struct strbuf storage = STRBUF_INIT, key = STRBUF_INIT, id = STRBUF_INIT;
	unsigned char root[MACAROON_ROOT_KEY], nonce[BAKERY_BOX_NONCE], id_nonce[16];
	char until[TIME_TEXT_MAX];
	auto_free char *condition = NULL;
	int64_t now_ns = time_now_ns();
	int r = root_keys_pick(c->keys, now_ns, m->expiry_ns, &storage, &key, err);

	if (r < 0)
		return r;
	random_bytes(root, sizeof(root));
	random_bytes(nonce, sizeof(nonce));
	random_bytes(id_nonce, sizeof(id_nonce));
	bakery_id_encode(id_nonce, storage.data, storage.len, &id);
	bakery_payload_encode(m->version, &m->own, m->theirs, nonce, root, sizeof(root), CONDITION, payload);
	macaroon_new(ret, key.data, key.len, id.data, id.len, m->url);
	random_bytes(nonce, sizeof(nonce));
	if (m->version >= 3)
		macaroon_add_third_party(ret, root, sizeof(root), CAVEAT_ID, CAVEAT_ID_LEN, m->url, nonce);
	else
		macaroon_add_third_party(ret, root, sizeof(root), payload->data, payload->len, m->url, nonce);
	condition = xasprintf("time-before %s", time_format(now_ns + m->expiry_ns, until));
	macaroon_add_condition(ret, condition);
	sodium_memzero(root, sizeof(root));
	sodium_memzero(key.data, key.len);
	return 0;
}

static void write_macaroon(const struct mint *m, const struct macaroon *mac, const struct strbuf *payload,
			   struct jsonw *w)
{
	auto_free char *id = NULL, *data = NULL;

	if (m->version < 3) {
		macaroon_to_json(mac, w);
		return;
	}
	id = base64_url_encode(CAVEAT_ID, CAVEAT_ID_LEN);
	data = base64_url_encode(payload->data, payload->len);
	jsonw_object_begin(w);
	jsonw_key(w, "m");
	macaroon_to_json(mac, w);
	jsonw_kv_int(w, "v", 3);
	jsonw_key(w, "cdata");
	jsonw_object_begin(w);
	jsonw_kv_str(w, id, data);
	jsonw_object_end(w);
	jsonw_kv_str(w, "ns", BAKERY_NAMESPACE);
	jsonw_object_end(w);
}

static char *challenge_text(const struct mint *m, const struct http_request *req, const struct macaroon *mac,
			    const struct strbuf *payload)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	auto_free char *path = path_to_root(req->path);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "Code", "macaroon discharge required");
	jsonw_kv_str(&w, "Message", "macaroon discharge required: authentication required");
	jsonw_key(&w, "Info");
	jsonw_object_begin(&w);
	jsonw_key(&w, "Macaroon");
	write_macaroon(m, mac, payload, &w);
	jsonw_kv_str(&w, "MacaroonPath", path);
	jsonw_kv_str(&w, "CookieNameSuffix", "auth");
	jsonw_object_end(&w);
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

int candid_challenge(struct candid *c, const struct http_request *req, char **ret, struct error *err)
{
	auto_macaroon struct macaroon mac = MACAROON_INIT;
	auto_strbuf struct strbuf payload = STRBUF_INIT;
	struct mint m = {0};
	int r = version_of(req, &m.version, err);

	if (r == 0)
		r = provider_key(c->provider, m.theirs, &m.theirs_version, err);
	if (r == 0 && m.theirs_version < BAKERY_VERSION_MIN)
		r = error_set(err, 503, "The identity provider speaks an old version of its protocol");
	if (r < 0)
		return r;
	m.version = MIN_OF(m.version, m.theirs_version);
	mutex_lock(&c->lock);
	m.url = xstrdup(c->url ? c->url : "");
	m.expiry_ns = c->expiry_ns;
	m.own = c->own;
	mutex_unlock(&c->lock);
	r = mint(c, &m, &mac, &payload, err);
	if (r == 0)
		*ret = challenge_text(&m, req, &mac, &payload);
	sodium_memzero(&m.own, sizeof(m.own));
	free(m.url);
	return r;
}
