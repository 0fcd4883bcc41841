/* Login by macaroons, between the HTTP client and what discharges them. */
#include "client/candid.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "client/cookies.h"
#include "client/discharge.h"

#define SUFFIX_MAX 64
#define SHORT_NS (60 * 1000000000LL)                        /* what ends sooner is not written down */
#define CENTURY_NS (100LL * 365 * 24 * 3600 * 1000000000LL) /* the age of a cookie without end */

struct candid {
	struct http_login login;
	struct web_url server;
	char *jar_path; /* NULL: in memory alone */
	char *domain;
	struct cookie_jar jar;
};

static struct candid *of_login(const struct http_login *login)
{
	return container_of(login, struct candid, login);
}

static int request_url(const struct candid *c, const char *path, struct web_url *ret, struct error *err)
{
	return web_url_resolve(&c->server, path, ret, err);
}

static void add_headers(const struct http_login *login, const char *path, struct strv *ret)
{
	struct candid *c = of_login(login);
	auto_web_url struct web_url url = WEB_URL_INIT;
	auto_error struct error e = ERROR_INIT;
	auto_strbuf struct strbuf cookies = STRBUF_INIT;

	strv_add(ret, "Bakery-Protocol-Version: 3");
	strv_add(ret, "X-LXD-authenticated: true");
	if (request_url(c, path, &url, &e) < 0) {
		error_ignore(&e, "a path that is no URL gets no cookies");
		return;
	}
	cookie_jar_header(&c->jar, &url, &cookies);
	if (cookies.len)
		strv_addf(ret, "Cookie: %s", strbuf_str(&cookies));
}

/* The demand of a server, or NULL: then the answer is like any other. The caller frees. */
static struct json *read_demand(const struct http_client_response *resp)
{
	const char *scheme = strmap_get(&resp->head.headers, "www-authenticate");
	const char *type = strmap_get(&resp->head.headers, "content-type");
	auto_error struct error e = ERROR_INIT;
	auto_json struct json *doc = NULL;
	const char *code;

	if (!scheme || !streq(scheme, "Macaroon") || !type || !streq(type, "application/json"))
		return NULL;
	if (json_parse_bytes(strbuf_str(&resp->body), resp->body.len, &doc, &e) < 0) {
		error_ignore(&e, "the caller reports the status");
		return NULL;
	}
	code = json_get_str(doc, "Code");
	return code && streq(code, "macaroon discharge required") ? TAKE_PTR(doc) : NULL;
}

/* Keep the ticket where the server wants it: under the name and path that it says. */
static int store_ticket(struct candid *c, const struct json *info, const char *path,
			const struct discharge_result *ticket, struct error *err)
{
	const char *suffix = json_get_str(info, "CookieNameSuffix"), *relative = json_get_str(info, "MacaroonPath");
	auto_web_url struct web_url request = WEB_URL_INIT;
	auto_web_url struct web_url scope = WEB_URL_INIT;
	auto_free char *name = NULL;
	auto_free char *scope_path = NULL;
	int64_t now = time_now_ns(), expires = ticket->expires_ns;
	int r = request_url(c, path, &request, err);

	if (r >= 0)
		r = web_url_resolve(&request, str_is_empty(relative) ? "/" : relative, &scope, err);
	if (r < 0)
		return r;
	if (suffix && strlen(suffix) > SUFFIX_MAX)
		return error_set(err, 502, "the server wants a cookie with too long a name");
	name = xasprintf("macaroon-%s", str_is_empty(suffix) ? "auth" : suffix);
	scope_path = web_url_plain_path(&scope);
	if (expires == DISCHARGE_NEVER)
		expires = now + CENTURY_NS;
	else if (expires - now < SHORT_NS)
		expires = COOKIE_NEVER;
	cookie_jar_set(&c->jar, &c->server, name, ticket->text, scope_path, expires);
	return c->jar_path ? cookie_jar_save(&c->jar, c->jar_path, err) : 0;
}

static int log_in(const struct http_login *login, const struct http_client_request *req,
		  const struct http_client_response *resp, struct error *err)
{
	struct candid *c = of_login(login);
	const struct web web = {.jar = &c->jar, .loopback = web_host_is_loopback(c->server.host)};
	auto_discharge_result struct discharge_result ticket = DISCHARGE_RESULT_INIT;
	auto_json struct json *demand = read_demand(resp);
	const struct json *info = json_get(demand, "Info");
	int r;

	if (!demand)
		return 0;
	r = discharge_all(&web, json_get(info, "Macaroon"), c->domain, &ticket, err);
	if (r >= 0)
		r = store_ticket(c, info, req->path, &ticket, err);
	return r < 0 ? r : 1;
}

int candid_open(const char *host, unsigned port, const char *jar_path, const char *domain, struct candid **ret,
		struct error *err)
{
	auto_candid struct candid *c = xnew(struct candid);
	int r = 0;

	c->login = (struct http_login){.headers = add_headers, .refused = log_in};
	c->domain = xstrdup_null(domain);
	c->jar_path = xstrdup_null(jar_path);
	c->server = (struct web_url){.tls = true, .host = xstrdup(host), .port = port, .path = xstrdup("/")};
	for (char *p = c->server.host; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (jar_path)
		r = cookie_jar_load(&c->jar, jar_path, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

void candid_close(struct candid *c)
{
	if (!c)
		return;
	web_url_done(&c->server);
	cookie_jar_done(&c->jar);
	free(c->jar_path);
	free(c->domain);
	free(c);
}

const struct http_login *candid_login(const struct candid *c)
{
	return &c->login;
}

int candid_keep(struct candid *c, const char *jar_path, struct error *err)
{
	free(c->jar_path);
	c->jar_path = xstrdup(jar_path);
	return cookie_jar_save(&c->jar, jar_path, err);
}
