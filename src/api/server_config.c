#include "api/server_config.h"

#include <string.h>

#include "api/trust_password.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "config/keys.h"

static bool is_secret(const char *name)
{
	const struct config_key *key = config_key_find(CONFIG_SCOPE_SERVER, name);

	return key && (key->flags & CONFIG_SECRET);
}

void server_config_write(const struct strmap *config, struct jsonw *w)
{
	jsonw_object_begin(w);
	for (size_t i = 0; i < config->len; i++) {
		if (is_secret(config->items[i].key))
			jsonw_kv_bool(w, config->items[i].key, true);
		else
			jsonw_kv_str(w, config->items[i].key, config->items[i].value);
	}
	jsonw_object_end(w);
}

void server_config_etag(const struct strmap *config, char etag[65])
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	server_config_write(config, &JSONW(&b));
	api_etag(strbuf_str(&b), b.len, etag);
}

/* What the body says of each key: a text, or, for a secret that shall stay, the boolean true that a GET has shown. */
struct sent {
	struct strmap config;
	struct strv kept;
	struct error *err;
};

static void sent_done(struct sent *s)
{
	strmap_done(&s->config);
	strv_done(&s->kept);
}

/* Values are strings; the reference answers other types in these words. */
static int take_value(const char *key, const struct json *value, void *arg)
{
	struct sent *s = arg;
	enum json_kind kind = json_kind(value);

	if (kind == JSON_BOOL && is_secret(key) && json_is_true(value)) {
		strv_add(&s->kept, key);
		return 0;
	}
	if (kind != JSON_STRING && kind != JSON_NULL)
		return error_set(s->err, 400, "cannot set '%s': invalid type %s", key, json_kind_name(value));
	strmap_set(&s->config, key, kind == JSON_STRING ? json_str(value) : "");
	return 0;
}

/* The password is forgotten here: what is kept and compared is its hash. */
static int hash_password(struct sent *s, struct error *err)
{
	auto_free char *hash = NULL;
	const char *plain = strmap_get(&s->config, "core.trust_password");
	int r;

	if (str_is_empty(plain))
		return 0;
	r = password_hash(plain, &hash, err);
	if (r < 0)
		return r;
	explicit_bzero((char *)(uintptr_t)plain, strlen(plain));
	strmap_set(&s->config, "core.trust_password", hash);
	return 0;
}

static int read_body(struct api_call *c, struct sent *s, struct error *err)
{
	const struct json *body;
	int r = api_body(c, &body, err);

	if (r < 0)
		return r;
	if (json_kind(body) != JSON_OBJECT)
		return error_set(err, 400, "Invalid JSON: the body must be an object");
	s->err = err;
	r = json_each(json_get(body, "config"), take_value, s);
	if (r == 0)
		r = config_validate(CONFIG_SCOPE_SERVER, &s->config, err);
	return r < 0 ? r : hash_password(s, err);
}

/* The configuration that results. */
static void merge(const struct strmap *old, const struct sent *s, bool replace, struct strmap *ret)
{
	if (!replace)
		strmap_copy(ret, old);
	for (size_t i = 0; i < s->kept.len; i++)
		strmap_set(ret, s->kept.items[i], strmap_get(old, s->kept.items[i]));
	for (size_t i = 0; i < s->config.len; i++)
		strmap_set(ret, s->config.items[i].key, *s->config.items[i].value ? s->config.items[i].value : NULL);
}

static bool differs(const struct strmap *a, const struct strmap *b, const char *key)
{
	return !streq(strmap_get_or(a, key, ""), strmap_get_or(b, key, ""));
}

/* Keys whose change is a security decision: in the audit log by name, never by value. */
static bool is_audited(const char *key)
{
	return startswith(key, "core.") || startswith(key, "candid.") || startswith(key, "rbac.");
}

static void add_changed(const struct strmap *a, const struct strmap *b, struct strv *ret)
{
	for (size_t i = 0; i < a->len; i++) {
		const char *key = a->items[i].key;

		if (is_audited(key) && differs(a, b, key) && !strv_contains(ret, key))
			strv_add(ret, key);
	}
}

static int audit_change(struct api_call *c, const struct strmap *old, const struct strmap *now, struct error *err)
{
	auto_strv struct strv keys = STRV_INIT;
	auto_free char *detail = NULL;
	struct audit_entry entry = {.event = "config-changed",
				    .verdict = "allowed",
				    .id = &c->id,
				    .method = c->req->method_name,
				    .path = c->req->path};

	add_changed(old, now, &keys);
	add_changed(now, old, &keys);
	if (!keys.len || !c->api->audit)
		return 0;
	detail = strv_join(&keys, ",");
	entry.detail = detail;
	return audit_write(c->api->audit, &entry, err);
}

static const struct {
	const char *key;
	enum wire_gate_listener listener;
} addresses[] = {
	{"core.https_address", WIRE_LISTENER_API},
	{"core.metrics_address", WIRE_LISTENER_METRICS},
};

/* Move the listening sockets; on failure those that were moved already go back. */
static int move_listeners(struct api *api, const struct strmap *from, const struct strmap *to, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		int r = 0;

		if (differs(from, to, addresses[i].key))
			r = remote_set_address(api->remote, addresses[i].listener, strmap_get(to, addresses[i].key),
					       err);
		while (r < 0 && i-- > 0) {
			auto_error struct error e = ERROR_INIT;

			if (remote_set_address(api->remote, addresses[i].listener, strmap_get(from, addresses[i].key),
					       &e) < 0)
				log_error("cannot go back to the old address", LOG_ERR(&e));
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int move_firewall(struct api *api, const struct strmap *from, const struct strmap *to, struct error *err)
{
	static const char key[] = "core.firewall_driver";

	if (!api->firewall || !differs(from, to, key))
		return 0;
	return firewall_set_driver(api->firewall, strmap_get_or(to, key, ""), err);
}

/* What can fail outside the database: all of it, or nothing. */
static int move(struct api *api, const struct strmap *from, const struct strmap *to, struct error *err)
{
	auto_error struct error e = ERROR_INIT;
	int r = move_listeners(api, from, to, err);

	if (r < 0)
		return r;
	r = move_firewall(api, from, to, err);
	if (r < 0 && move_listeners(api, to, from, &e) < 0)
		log_error("cannot go back to the old address", LOG_ERR(&e));
	return r;
}

static void set_proxies(struct api *api, const struct strmap *config)
{
	auto_strv struct strv given = STRV_INIT, trimmed = STRV_INIT;

	strv_split(&given, strmap_get_or(config, "core.https_trusted_proxy", ""), ',');
	for (size_t i = 0; i < given.len; i++)
		strv_add(&trimmed, str_strip(given.items[i]));
	remote_set_proxies(api->remote, &trimmed);
}

static void password_changed(struct api *api) REQUIRES(api->config_lock)
{
	auto_error struct error err = ERROR_INIT;

	/* what is stored stays; without its time noted the password is judged anew at the next start */
	if (trust_password_configured(api, &err) < 0)
		log_error("the expiry of the trust password is not armed", LOG_ERR(&err));
}

/* What the identity provider is by the configuration: of its own, or the one that belongs to the RBAC service. */
static void provider_config(const struct strmap *config, struct strmap *ret)
{
	const char *rbac = strmap_get_or(config, "rbac.api.url", "");
	auto_free char *url = NULL;
	size_t n = strlen(rbac);

	strmap_copy(ret, config);
	if (!n)
		return;
	while (n > 0 && rbac[n - 1] == '/')
		n--;
	url = xasprintf("%.*s/auth", (int)n, rbac);
	strmap_set(ret, "candid.api.url", url);
	strmap_set(ret, "candid.api.key", strmap_get(config, "rbac.api.key"));
	strmap_set(ret, "candid.expiry", strmap_get(config, "rbac.expiry"));
	strmap_set(ret, "candid.domains", NULL);
}

static bool any_differs(const struct strmap *a, const struct strmap *b, const char *const *keys, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (differs(a, b, keys[k]))
			return true;
	return false;
}

/* At the start, when @old is empty, nobody who is logged in is logged out. */
static void set_users(struct api *api, const struct strmap *old, const struct strmap *now)
{
	static const char *const candid[] = {"candid.api.url", "candid.api.key", "candid.domains", "candid.expiry"};
	static const char *const rbac[] = {"rbac.api.url", "rbac.agent.url", "rbac.agent.username",
					   "rbac.agent.private_key", "rbac.agent.public_key"};
	static const char *const ways[] = {"core.proxy_https", "core.proxy_ignore_hosts"};
	auto_strmap struct strmap before = STRMAP_INIT, after = STRMAP_INIT;
	bool other, way = any_differs(old, now, ways, ARRAY_SIZE(ways));

	if (!api->candid)
		return;
	provider_config(old, &before);
	provider_config(now, &after);
	other = any_differs(&before, &after, candid, ARRAY_SIZE(candid));
	if (way || any_differs(old, now, rbac, ARRAY_SIZE(rbac)))
		rbac_configure(api->rbac, now);
	if (!other && !way)
		return;
	candid_configure(api->candid, &after, /* keep_logins= */ !other || old->len == 0);
	trust_rights_changed(api->trust);
}

/* May the keys about users be what they are, all together? */
static int check_users(const struct strmap *config, struct error *err)
{
	auto_strmap struct strmap provider = STRMAP_INIT;
	int r = rbac_check(config, err);

	if (r < 0)
		return r;
	provider_config(config, &provider);
	return candid_check(&provider, err);
}

static void set_default_role(struct api *api, const struct strmap *old, const struct strmap *config)
{
	auto_error struct error err = ERROR_INIT;
	enum role role = ROLE_NONE;

	if (role_parse(strmap_get_or(config, "candid.default_role", "admin"), /* or_none= */ true, &role, &err) < 0)
		log_error("users of the identity provider hold nothing", LOG_ERR(&err));
	trust_set_default_role(api->trust, role);
	if (role == ROLE_ADMIN && *strmap_get_or(config, "candid.api.url", "") &&
	    (differs(old, config, "candid.api.url") || differs(old, config, "candid.default_role")))
		log_warn("every user of the identity provider is an administrator, unless a role is granted to one: "
			 "candid.default_role says so");
}

/* What follows from the configuration and cannot fail. */
static void take_effect(struct api *api, const struct strmap *old, const struct strmap *now) REQUIRES(api->config_lock)
{
	if (differs(old, now, "core.trust_password") || differs(old, now, "core.trust_password.expiry"))
		password_changed(api);
	if (differs(old, now, "core.https_address"))
		tokens_refresh(api->tokens);
	if (differs(old, now, "core.https_trusted_proxy"))
		set_proxies(api, now);
	if (differs(old, now, "core.trust_ca_certificates"))
		trust_set_ca_certificates(api->trust, strmap_get_bool(now, "core.trust_ca_certificates", false));
	set_default_role(api, old, now);
	set_users(api, old, now);
	api_server_changed(api);
}

static int commit(struct api_call *c, const struct strmap *old, const struct strmap *now, struct error *err)
{
	int r = audit_change(c, old, now, err);

	return r < 0 ? r : store_config_replace(c->api->store, now, err);
}

int server_config_change(struct api_call *c, bool replace, struct error *err)
{
	CLEANUP(sent_done) struct sent s = {0};
	auto_strmap struct strmap old = STRMAP_INIT, now = STRMAP_INIT;
	char etag[65];
	int r = read_body(c, &s, err);

	if (r < 0)
		return r;
	mutex_lock(&c->api->config_lock);
	store_config_copy(c->api->store, &old);
	server_config_etag(&old, etag);
	r = api_check_etag(c, etag, err);
	if (r == 0) {
		merge(&old, &s, replace, &now);
		r = check_users(&now, err);
	}
	if (r == 0) {
		r = move(c->api, &old, &now, err);
	}
	if (r == 0) {
		r = commit(c, &old, &now, err);
		if (r < 0) {
			auto_error struct error e = ERROR_INIT;

			if (move(c->api, &now, &old, &e) < 0)
				log_error("cannot go back to the old configuration", LOG_ERR(&e));
		}
	}
	if (r == 0)
		take_effect(c->api, &old, &now);
	mutex_unlock(&c->api->config_lock);
	if (r < 0)
		return r;
	api_lifecycle(c, "config-updated", "/1.0");
	api_empty(c);
	return 0;
}

int server_config_note_users(struct api_call *c, struct error *err)
{
	static const char key[] = "candid.default_role";
	auto_strmap struct strmap old = STRMAP_INIT, now = STRMAP_INIT;
	int r = 0;

	mutex_lock(&c->api->config_lock);
	store_config_copy(c->api->store, &old);
	if (!strmap_get(&old, key)) {
		strmap_copy(&now, &old);
		strmap_set(&now, key, "none");
		r = commit(c, &old, &now, err);
		if (r == 0)
			take_effect(c->api, &old, &now);
	}
	mutex_unlock(&c->api->config_lock);
	return r;
}

void server_config_apply_stored(struct api *api)
{
	auto_strmap struct strmap config = STRMAP_INIT;

	store_config_copy(api->store, &config);
	mutex_lock(&api->config_lock);
	take_effect(api, &STRMAP_INIT, &config);
	mutex_unlock(&api->config_lock);
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
		remote_start_address(api->remote, addresses[i].listener, strmap_get(&config, addresses[i].key));
	tokens_refresh(api->tokens);
}
