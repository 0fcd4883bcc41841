#include "api/trust_password.h"

#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "config/expiry.h"

#define KEY "core.trust_password"
#define KEY_EXPIRY "core.trust_password.expiry"
#define TIMER_MAX_MS (24 * 60 * 60 * 1000) /* the wall clock may be set meanwhile */

static const char warning_failed[] = "Failed trust password";
static const char warning_set[] = "Trust password is set";

/* --- guesses --- */

static void note_failure(struct api_call *c, bool throttled)
{
	const char *host = c->req->peer.tls ? c->req->peer.tls->host : "@";
	auto_free char *message = NULL;

	api_audit_note(c, "trust-password", throttled ? "denied" : "failed", throttled ? "throttled" : NULL);
	if (throttled)
		return;
	log_warn("Bad trust password", LOG_STR("address", c->id.address));
	message = xasprintf("A client at %s gave a wrong trust password", host);
	if (c->api->warnings)
		warnings_raise(c->api->warnings, warning_failed, "moderate", "", message);
}

int trust_password_check(struct api_call *c, const char *given, struct error *err)
{
	const char *host = c->req->peer.tls ? c->req->peer.tls->host : "@";
	auto_strmap struct strmap config = STRMAP_INIT;
	enum password_verdict v;

	store_config_copy(c->api->store, &config);
	v = password_guard_check(c->api->password_guard, strmap_get(&config, KEY), host, given);
	if (v == PASSWORD_BUSY)
		return error_set(err, 503, "unavailable");
	if (v == PASSWORD_RIGHT) {
		log_info("a client used the trust password: unset core.trust_password when all are added",
			 LOG_STR("address", c->id.address));
		if (c->api->warnings)
			warnings_raise(c->api->warnings, warning_set, "low", "",
				       "core.trust_password has served; unset it when all clients are added");
		return api_audit(c, "trust-password", "allowed", NULL, err);
	}
	note_failure(c, v == PASSWORD_THROTTLED);
	return error_set(err, 403, "not authorized");
}

/* --- the automatic unset --- */

/* Its time: 0 when there is none. The row says since when this very password is set. */
static int unset_time(struct api *api, const struct strmap *config, int64_t *ret_ns, struct error *err)
{
	const char *hash = strmap_get(config, KEY), *expiry = strmap_get(config, KEY_EXPIRY);
	auto_free char *known = NULL;
	char digest[SHA256_HEX + 1];
	int64_t set_ns = 0;
	int r;

	*ret_ns = 0;
	if (str_is_empty(hash))
		return 0;
	sha256_hex(hash, strlen(hash), digest);
	r = db_trust_password_load(api->store->db, &known, &set_ns, err);
	if (r == 0 && (!known || !streq(known, digest))) {
		set_ns = time_now_ns();
		r = db_trust_password_store(api->store->db, digest, set_ns, err);
	}
	if (r < 0 || str_is_empty(expiry))
		return r;
	return expiry_from(expiry, set_ns, ret_ns, err);
}

static void *unset_thread(void *arg)
{
	struct api *api = arg;
	auto_error struct error err = ERROR_INIT;

	mutex_lock(&api->config_lock);
	if (trust_password_configured(api, &err) < 0)
		log_error("the trust password is not unset, though its time is over", LOG_ERR(&err));
	mutex_unlock(&api->config_lock);
	return NULL;
}

static void on_timer(void *arg)
{
	struct api *api = arg;
	auto_error struct error err = ERROR_INIT;

	api->password_timer = NULL;
	if (thread_start("password", unset_thread, api, &err) < 0)
		log_error("the trust password is not unset, though its time is over", LOG_ERR(&err));
}

static void rearm(void *arg)
{
	struct api *api = arg;
	int64_t at = api->password_unset_ns, now = time_now_ns(), delay_ms;

	loop_timer_cancel(api->password_timer);
	api->password_timer = NULL;
	if (!at)
		return;
	delay_ms = at <= now ? 0 : MIN_OF((at - now) / 1000000 + 1, (int64_t)TIMER_MAX_MS);
	api->password_timer = loop_timer_add(api->loop, delay_ms, on_timer, api);
}

static int unset(struct api *api, struct error *err) REQUIRES(api->config_lock)
{
	const struct audit_entry entry = {.event = "config-changed", .verdict = "allowed", .detail = KEY " expired"};
	auto_strmap struct strmap config = STRMAP_INIT;
	int r = api->audit ? audit_write(api->audit, &entry, err) : 0;

	if (r < 0)
		return r;
	store_config_copy(api->store, &config);
	strmap_remove(&config, KEY);
	r = store_config_replace(api->store, &config, err);
	if (r < 0)
		return r;
	log_info("the trust password has expired and is unset");
	api_lifecycle_as(api, "default", NULL, "config-updated", "/1.0");
	return 0;
}

int trust_password_configured(struct api *api, struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	int64_t at;
	int r;

	store_config_copy(api->store, &config);
	r = unset_time(api, &config, &at, err);
	if (r == 0 && at && at <= time_now_ns()) {
		r = unset(api, err);
		at = 0;
		strmap_remove(&config, KEY);
	}
	if (r < 0)
		return r;
	if (api->warnings && str_is_empty(strmap_get(&config, KEY)))
		warnings_resolve(api->warnings, warning_set, "");
	api->password_unset_ns = at;
	loop_post(api->loop, rearm, api);
	return 0;
}
