/* Requests to an identity provider. */
#include "client/web.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "base/wire_dial.h"
#include "http/client.h"

#define BODY_MAX (256u * 1024)
#define REDIRECTS_MAX 5
#define TICK_MS 1000

void web_answer_done(struct web_answer *a)
{
	strmap_done(&a->headers);
	json_free(a->doc);
	*a = WEB_ANSWER_INIT;
}

static struct http_client *open_client(const struct web_url *url)
{
	auto_dial_target struct dial_target how = DIAL_TARGET_INIT;

	if (!url->tls)
		return http_client_new_loopback(url->host, url->port);
	how.host = xstrdup(url->host);
	how.port = url->port;
	how.flags = WIRE_DIAL_SYSTEM_ROOTS;
	how.proxy = dial_proxy_from_env(url->host, url->port);
	return http_client_new_remote(&how);
}

static int is_late(void *arg)
{
	return time_monotonic_ms() > *(const int64_t *)arg ? -EINTR : 0;
}

static int exchange(const struct web_url *url, const char *method, const char *const *headers, const char *body,
		    unsigned patience_ms, struct http_client_response *resp, struct error *err)
{
	auto_http_client struct http_client *http = open_client(url);
	struct http_piece piece = {.data = body, .len = body ? strlen(body) : 0};
	int64_t end = time_monotonic_ms() + patience_ms;
	struct http_client_request req = {
		.method = method,
		.path = url->path,
		.headers = headers,
		.body = &piece,
		.body_count = body ? 1 : 0,
		.body_max = BODY_MAX,
		.interrupted = is_late,
		.interrupted_arg = &end,
	};
	int r;

	http_client_set_patience(http, TICK_MS, patience_ms);
	r = http_client_send(http, &req, resp, err);
	if (r == -EINTR && is_late(&end) < 0)
		return error_set(err, 504, "%s does not answer in time", http_client_where(http));
	return r;
}

/* One request, without following where it leads. */
static int send_once(const struct web *w, const char *method, const struct web_url *url, const char *body,
		     unsigned patience_ms, struct web_answer *ret, struct error *err)
{
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	auto_strbuf struct strbuf cookies = STRBUF_INIT;
	auto_free char *line = NULL;
	auto_error struct error e = ERROR_INIT;
	const char *headers[] = {"Bakery-Protocol-Version: 3", "Accept: application/json", NULL, NULL, NULL};
	size_t n = 2;
	const char *set;
	int r;

	if (!w->loopback && web_host_is_loopback(url->host))
		return error_set(err, 400, "%s is this machine, which another server has no business with", url->host);
	cookie_jar_header(w->jar, url, &cookies);
	line = xasprintf("Cookie: %s", strbuf_str(&cookies));
	if (cookies.len)
		headers[n++] = line;
	if (body)
		headers[n++] = "Content-Type: application/json";
	r = exchange(url, method, headers, body, patience_ms, &resp, err);
	if (r < 0)
		return r;
	set = strmap_get(&resp.head.headers, "set-cookie");
	if (set)
		cookie_jar_take_header(w->jar, url, set);
	ret->status = resp.head.status;
	strmap_copy(&ret->headers, &resp.head.headers);
	if (json_parse_bytes(strbuf_str(&resp.body), resp.body.len, &ret->doc, &e) < 0)
		error_ignore(&e, "the status says enough");
	return 0;
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Make *@url what the answer leads to. */
static int follow(struct web_url *url, const struct web_answer *answer, struct error *err)
{
	const char *where = strmap_get(&answer->headers, "location");
	auto_web_url struct web_url next = WEB_URL_INIT;
	int r;

	if (!where)
		return error_set(err, 502, "%s redirects to nowhere", url->host);
	r = web_url_resolve(url, where, &next, err);
	if (r < 0)
		return error_wrap(err, "%s redirects", url->host);
	if (url->tls && !next.tls)
		return error_set(err, 502, "%s redirects away from TLS", url->host);
	web_url_done(url);
	*url = next;
	next = WEB_URL_INIT;
	return 0;
}

int web_send(const struct web *w, const char *method, const struct web_url *url, const char *body, unsigned patience_ms,
	     struct web_answer *ret, struct error *err)
{
	auto_web_url struct web_url at = {url->tls, xstrdup(url->host), url->port, xstrdup(url->path)};
	int r;

	for (int n = 0;; n++) {
		r = send_once(w, method, &at, body, patience_ms, ret, err);
		if (r < 0 || !is_redirect(ret->status))
			return r;
		if (!streq(method, "GET"))
			return error_set(err, 502, "%s redirects a request that must stay with it", at.host);
		if (n == REDIRECTS_MAX)
			return error_set(err, 502, "%s redirects more than %d times", url->host, REDIRECTS_MAX);
		r = follow(&at, ret, err);
		if (r < 0)
			return r;
		web_answer_done(ret);
	}
}

int web_answer_error(const struct web_answer *a, const char *method, const struct web_url *url, struct error *err)
{
	auto_web_url struct web_url plain = {url->tls, xstrdup(url->host), url->port, web_url_plain_path(url)};
	auto_free char *text = web_url_text(&plain);
	const char *said = json_get_str(a->doc, "Message");
	const char *verb = streq(method, "POST") ? "Post" : "Get";

	if (a->status < 400)
		return 0;
	if (str_is_empty(said))
		return error_set(err, a->status, "%s %s: status %d", verb, text, a->status);
	return error_set(err, a->status, "%s %s: %s", verb, text, said);
}
