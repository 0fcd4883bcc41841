#include "rbac/service.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "base/wire_dial.h"
#include "http/client.h"
#include "http/server.h"
#include "macaroon/agent.h"
#include "macaroon/macaroon.h"

#define ANSWER_MAX (4u << 20)
#define TICK_MS 1000
#define LOGIN_PATIENCE_MS 10000

struct rbac_service {
	char *url;
	char *agent_url;
	char *username;
	char *public_text;
	struct bakery_key key;
	char *proxy, *no_proxy;
	char *cookie; /* "Cookie: macaroon-..."; NULL: not logged in */
};

static char *without_slash(const char *url)
{
	size_t n = strlen(url);

	while (n > 0 && url[n - 1] == '/')
		n--;
	return xstrndup(url, n);
}

struct rbac_service *rbac_service_new(const struct strmap *config)
{
	struct rbac_service *s = xnew(struct rbac_service);

	s->url = without_slash(strmap_get_or(config, "rbac.api.url", ""));
	s->agent_url = without_slash(strmap_get_or(config, "rbac.agent.url", ""));
	s->username = xstrdup(strmap_get_or(config, "rbac.agent.username", ""));
	s->public_text = xstrdup(strmap_get_or(config, "rbac.agent.public_key", ""));
	s->proxy = xstrdup_null(strmap_get(config, "core.proxy_https"));
	s->no_proxy = xstrdup_null(strmap_get(config, "core.proxy_ignore_hosts"));
	/* both were checked when they were set */
	if (bakery_key_parse(s->public_text, s->key.public) < 0 ||
	    bakery_key_parse(strmap_get_or(config, "rbac.agent.private_key", ""), s->key.secret) < 0)
		bakery_key_generate(&s->key);
	return s;
}

static void set_cookie(struct rbac_service *s, char *cookie)
{
	if (s->cookie)
		explicit_bzero(s->cookie, strlen(s->cookie));
	free(s->cookie);
	s->cookie = cookie;
}

void rbac_service_free(struct rbac_service *s)
{
	if (!s)
		return;
	set_cookie(s, NULL);
	explicit_bzero(&s->key, sizeof(s->key));
	free(s->url);
	free(s->agent_url);
	free(s->username);
	free(s->public_text);
	free(s->proxy);
	free(s->no_proxy);
	free(s);
}

/* --- one request --- */

struct asking {
	unsigned patience_ms;
	bool (*stop)(void *arg);
	void *arg;
};

static int on_tick(void *arg)
{
	const struct asking *a = arg;

	return a->stop && a->stop(a->arg) ? -EINTR : 0;
}

/* https, judged by the system's authorities; without it this machine alone. */
static int connect_to(const struct rbac_service *s, const char *url, struct http_client **ret, char **ret_path,
		      struct error *err)
{
	auto_dial_target struct dial_target t = DIAL_TARGET_INIT;
	auto_free char *https = startswith(url, "http://") ? xasprintf("https://%s", url + strlen("http://")) : NULL;
	int r = dial_target_parse(https ? https : url, https ? 80 : 443, &t, ret_path, err);

	if (r < 0)
		return r;
	if (https) {
		*ret = http_client_new_loopback(t.host, t.port);
		return 0;
	}
	t.flags = WIRE_DIAL_SYSTEM_ROOTS;
	t.proxy = dial_proxy_pick(s->proxy, s->no_proxy, t.host, t.port);
	*ret = http_client_new_remote(&t);
	return 0;
}

static int send(const struct rbac_service *s, const struct asking *a, const char *method, const char *url,
		const char *body, const char *cookie, struct http_client_response *resp, struct error *err)
{
	auto_http_client struct http_client *http = NULL;
	auto_free char *path = NULL;
	const char *headers[] = {"Bakery-Protocol-Version: 3", "Content-Type: application/json", cookie, NULL};
	struct http_piece piece = {.data = body ? body : "", .len = body ? strlen(body) : 0};
	struct http_client_request req = {.method = method,
					  .headers = headers,
					  .body_max = ANSWER_MAX,
					  .interrupted = on_tick,
					  .interrupted_arg = (void *)(uintptr_t)a};
	int r = connect_to(s, url, &http, &path, err);

	if (r < 0)
		return r;
	req.path = str_is_empty(path) ? "/" : path;
	if (!streq(method, "GET")) {
		req.body = &piece;
		req.body_count = 1;
	}
	http_client_set_patience(http, TICK_MS, a->patience_ms);
	return http_client_send(http, &req, resp, err);
}

static int parse(const struct http_client_response *resp, struct json **ret, struct error *err)
{
	if (json_parse_bytes(strbuf_str(&resp->body), resp->body.len, ret, err) == 0)
		return 0;
	error_clear(err);
	return error_set(err, 502, "status %d, and no JSON", resp->head.status);
}

/* --- logging in --- */

/* "https://host/x" for what is relative to the agent's address; another origin is refused. */
static int login_url(const struct rbac_service *s, const char *given, char **ret, struct error *err)
{
	const char *host = strstr(s->agent_url, "://");
	const char *path = host ? strchr(host + 3, '/') : NULL;
	size_t origin = path ? (size_t)(path - s->agent_url) : strlen(s->agent_url);

	if (*given == '/' && given[1] != '/')
		*ret = xasprintf("%.*s%s", (int)origin, s->agent_url, given);
	else if (strncmp(given, s->agent_url, origin) == 0 && strchr("/?", given[origin]))
		*ret = xstrdup(given);
	else
		return error_set(err, 403, "the login is elsewhere: %s", given);
	return 0;
}

/* What shows the agent's provider that we are the agent. */
static int make_token(const struct rbac_service *s, const struct asking *a, const struct json *wanted,
		      struct strbuf *ret, struct error *err)
{
	const struct json *methods = json_get(json_get(wanted, "Info"), "InteractionMethods");
	const char *given = json_get_str(json_get(methods, "agent"), "login-url");
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	auto_free char *url = NULL, *full = NULL;
	auto_free char *user = http_encode(s->username), *key = http_encode(s->public_text);
	auto_json struct json *j = NULL;
	int r;

	if (str_is_empty(given))
		return error_set(err, 403, "no login for agents is offered");
	r = login_url(s, given, &url, err);
	if (r < 0)
		return r;
	full = xasprintf("%s%cusername=%s&public-key=%s", url, strchr(url, '?') ? '&' : '?', user, key);
	r = send(s, a, "GET", full, NULL, NULL, &resp, err);
	if (r == 0)
		r = parse(&resp, &j, err);
	if (r == 0 && resp.head.status != 200)
		r = error_set(err, 403, "the agent is refused: %.200s",
			      json_get_str(j, "Message") ? json_get_str(j, "Message") : "");
	return r < 0 ? r : agent_token(json_get(j, "macaroon"), &s->key, ret, err);
}

static char *discharge_url(const char *location, const struct macaroon_caveat *c, const char *payload,
			   const struct strbuf *token)
{
	auto_free char *id = base64_url_encode(strbuf_str(&c->id), c->id.len);
	struct strbuf b = STRBUF_INIT;

	strbuf_appendf(&b, "%s/discharge?id64=%s", location, id);
	if (payload)
		strbuf_appendf(&b, "&caveat64=%s", payload);
	if (token) {
		auto_free char *text = base64_url_encode(token->data, token->len);

		strbuf_appendf(&b, "&token-kind=agent&token64=%s", text);
	}
	return strbuf_take(&b);
}

/* The payload again in the alphabet of URLs: it is text from the service. */
static int clean_payload(const char *text, char **ret, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	if (!text)
		return 0;
	if (base64_any_decode(text, &b) < 0)
		return error_set(err, 502, "a caveat is no base64");
	*ret = base64_url_encode(strbuf_str(&b), b.len);
	return 0;
}

static int take_discharge(const struct json *j, struct macaroon_slice *slice, struct error *err)
{
	const struct json *value = json_get(j, "Macaroon"), *inner = json_get(value, "m");
	struct macaroon m = MACAROON_INIT;
	int r = slice->n == MACAROON_SLICE_MAX
			? error_set(err, 502, "too many macaroons")
			: macaroon_from_json(json_kind(inner) == JSON_OBJECT ? inner : value, &m, err);

	if (r < 0)
		return r;
	macaroon_bind(&slice->items[0], &m);
	macaroon_slice_take(slice, &m);
	return 0;
}

static int get_discharge(const struct rbac_service *s, const struct asking *a, const struct macaroon_caveat *c,
			 const char *payload, struct macaroon_slice *slice, struct error *err)
{
	auto_http_client_response struct http_client_response first = HTTP_CLIENT_RESPONSE_INIT;
	auto_http_client_response struct http_client_response second = HTTP_CLIENT_RESPONSE_INIT;
	auto_free char *location = without_slash(c->location ? c->location : "");
	auto_json struct json *wanted = NULL, *given = NULL;
	auto_strbuf struct strbuf token = STRBUF_INIT;
	auto_free char *clean = NULL, *url = NULL, *again = NULL;
	int r = clean_payload(payload, &clean, err);

	if (r < 0)
		return r;
	/* whoever else names a place gets no login of ours */
	if (!streq(location, s->agent_url))
		return error_set(err, 403, "the service asks for a login at \"%s\", which is not rbac.agent.url",
				 location);
	url = discharge_url(location, c, clean, NULL);
	r = send(s, a, "POST", url, NULL, NULL, &first, err);
	if (r == 0)
		r = parse(&first, &wanted, err);
	if (r < 0)
		return r;
	if (first.head.status == 200)
		return take_discharge(wanted, slice, err);
	r = make_token(s, a, wanted, &token, err);
	if (r < 0)
		return r;
	again = discharge_url(location, c, clean, &token);
	r = send(s, a, "POST", again, NULL, NULL, &second, err);
	if (r == 0)
		r = parse(&second, &given, err);
	if (r == 0 && second.head.status != 200)
		r = error_set(err, 403, "the agent's login is not accepted: %.200s",
			      json_get_str(given, "Message") ? json_get_str(given, "Message") : "");
	return r < 0 ? r : take_discharge(given, slice, err);
}

/* @resp is the service's 401. */
static int log_in(struct rbac_service *s, const struct http_client_response *resp, const struct asking *a,
		  struct error *err)
{
	auto_macaroon_slice struct macaroon_slice slice = MACAROON_SLICE_INIT;
	const struct asking patient = {LOGIN_PATIENCE_MS, a->stop, a->arg};
	struct macaroon primary = MACAROON_INIT;
	auto_json struct json *j = NULL;
	const struct json *value, *inner, *cdata;
	auto_free char *text = NULL;
	const char *suffix;
	size_t caveats;
	int r = parse(resp, &j, err);

	if (r < 0)
		return r;
	value = json_get(json_get(j, "Info"), "Macaroon");
	inner = json_get(value, "m");
	cdata = json_get(value, "cdata");
	suffix = json_get_str(json_get(j, "Info"), "CookieNameSuffix");
	r = macaroon_from_json(json_kind(inner) == JSON_OBJECT ? inner : value, &primary, err);
	if (r < 0)
		return error_wrap(err, "it does not say where to log in");
	caveats = primary.n;
	macaroon_slice_take(&slice, &primary);
	for (size_t k = 0; k < caveats && r == 0; k++) {
		const struct macaroon_caveat *c = &slice.items[0].caveats[k];

		if (c->vid.len)
			r = get_discharge(s, &patient, c, bakery_payload_of(cdata, &c->id), &slice, err);
	}
	if (r < 0)
		return r;
	text = macaroon_slice_to_text(&slice);
	if (suffix &&
	    strspn(suffix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != strlen(suffix))
		suffix = NULL;
	set_cookie(s, xasprintf("Cookie: macaroon-%s=%s", suffix ? suffix : "auth", text));
	return 0;
}

int rbac_service_call(struct rbac_service *s, const char *method, const char *path, const char *body,
		      unsigned patience_ms, bool (*stop)(void *arg), void *arg, int *ret_status, struct strbuf *ret,
		      struct error *err)
{
	const struct asking a = {patience_ms, stop, arg};
	auto_free char *url = xasprintf("%s%s", s->url, path);

	for (int round = 0;; round++) {
		auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
		int r = send(s, &a, method, url, body, s->cookie, &resp, err);

		if (r == 0 && resp.head.status == 401 && round == 0) {
			r = log_in(s, &resp, &a, err);
			if (r == 0)
				continue;
		}
		if (r < 0)
			return error_wrap(err, "RBAC service %s", s->url);
		*ret_status = resp.head.status;
		strbuf_append_len(ret, strbuf_str(&resp.body), resp.body.len);
		return 0;
	}
}
