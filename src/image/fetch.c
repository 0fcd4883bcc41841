#include "image/fetch.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "base/wire_dial.h"
#include "http/client.h"
#include "http/dial.h"

#define HTTPS_PORT 443
#define REDIRECTS_MAX 5
#define TICK_MS 500
#define STALL_MS 60000
#define PROGRESS_MS 250
#define SLOW_MS 60000           /* in each such time ... */
#define SLOW_BYTES (60u * 1024) /* ... a file must bring so much */

/* An address as messages may show it: a query may hold a secret. */
#define SHOWN "%.*s"
#define SHOW(url) (int)strcspn(url, "?#"), url

struct fetch {
	struct fetch_spec spec;
	char pin[65]; /* "" without */
	struct http_client *http;
	struct dial_target at; /* where it leads */
};

int fetch_pin(const char *pem, char ret[65], struct error *err)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
	const char *from = strstr(pem, begin);
	const char *to = from ? strstr(from, end) : NULL;
	auto_strbuf struct strbuf der = STRBUF_INIT;
	auto_free char *body = NULL;

	if (!to)
		return error_set(err, 400, "Invalid certificate: it is no PEM");
	from += sizeof(begin) - 1;
	body = xstrndup(from, (size_t)(to - from));
	if (base64_decode(body, &der) < 0 || der.len == 0)
		return error_set(err, 400, "Invalid certificate: it is no PEM");
	sha256_hex(der.data, der.len, ret);
	return 0;
}

int fetch_new(const struct fetch_spec *spec, struct fetch **ret, struct error *err)
{
	struct fetch *f = xnew(struct fetch);
	int r = 0;

	f->spec = *spec;
	if (!str_is_empty(spec->certificate))
		r = fetch_pin(spec->certificate, f->pin, err);
	if (r < 0) {
		free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	http_client_free(f->http);
	dial_target_done(&f->at);
	free(f);
}

static int is_cancelled(void *arg)
{
	const struct fetch *f = arg;

	return f->spec.hooks.cancelled && f->spec.hooks.cancelled(f->spec.hooks.arg) ? -ECANCELED : 0;
}

static int check_cancelled(struct fetch *f, struct error *err)
{
	if (is_cancelled(f) == 0)
		return 0;
	error_set(err, 400, "The download was cancelled");
	err->errnum = ECANCELED;
	return -ECANCELED;
}

/* Be connected, as far as that is done before the first request, to the server of @t; it is taken over. */
static void lead_to(struct fetch *f, struct dial_target *t)
{
	auto_free char *proxy = NULL;

	if (f->http && streq(f->at.host, t->host) && f->at.port == t->port) {
		dial_target_done(t);
		return;
	}
	http_client_free(f->http);
	dial_target_done(&f->at);
	if (*f->pin) {
		t->flags = WIRE_DIAL_PIN;
		strv_add(&t->pins, f->pin);
	} else {
		t->flags = WIRE_DIAL_SYSTEM_ROOTS;
	}
	proxy = dial_proxy_pick(f->spec.proxy, f->spec.no_proxy, t->host, t->port);
	t->proxy = TAKE_PTR(proxy);
	f->at = *t;
	*t = DIAL_TARGET_INIT;
	f->http = http_client_new_remote(&f->at);
	http_client_set_patience(f->http, TICK_MS, STALL_MS);
}

static char *path_of(const char *rest)
{
	size_t len = strcspn(rest, "#");

	return *rest == '/' ? xstrndup(rest, len) : xasprintf("/%.*s", (int)MIN_OF(len, (size_t)65536), rest);
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Where a redirect from @url leads: an absolute https URL. */
static int next_url(struct fetch *f, const char *url, const char *location, char **ret, struct error *err)
{
	auto_dial_target struct dial_target t = DIAL_TARGET_INIT;
	auto_free char *next = NULL;
	int r;

	if (str_is_empty(location))
		return error_set(err, 503, SHOWN ": a redirect that leads nowhere", SHOW(url));
	if (*location == '/' && location[1] != '/') {
		size_t origin = 8 + strcspn(url + 8, "/?#"); /* behind "https://" */

		next = xasprintf("%.*s%s", (int)origin, url, location);
	} else if (startswith(location, "https://")) {
		next = xstrdup(location);
	} else {
		return error_set(err, 503,
				 SHOWN ": redirect to \"" SHOWN "\" refused: only https:// addresses are followed",
				 SHOW(url), SHOW(location));
	}
	r = dial_target_parse(next, HTTPS_PORT, &t, NULL, err);
	if (r < 0)
		return error_wrap(err, SHOWN ": redirect", SHOW(url));
	if (*f->pin && (!streq(t.host, f->at.host) || t.port != f->at.port))
		return error_set(err, 503, SHOWN ": redirect away from a server whose certificate is pinned",
				 SHOW(url));
	*ret = TAKE_PTR(next);
	return 0;
}

/* One request with its redirects. */
static int request(struct fetch *f, const char *url, const struct http_client_request *req,
		   struct http_client_response *resp, struct error *err)
{
	auto_free char *current = xstrdup(url);

	for (int hops = 0;; hops++) {
		auto_dial_target struct dial_target t = DIAL_TARGET_INIT;
		struct http_client_request mine = *req;
		auto_free char *rest = NULL;
		auto_free char *path = NULL;
		char *next = NULL;
		int r = check_cancelled(f, err);

		if (r == 0)
			r = dial_target_parse(current, HTTPS_PORT, &t, &rest, err);
		if (r < 0)
			return r;
		lead_to(f, &t);
		path = path_of(rest);
		mine.path = path;
		mine.interrupted = is_cancelled;
		mine.interrupted_arg = f;
		r = http_client_send(f->http, &mine, resp, err);
		if (r == -EINTR && is_cancelled(f) < 0)
			return check_cancelled(f, err);
		if (r < 0)
			return r;
		if (!is_redirect(resp->head.status))
			return 0;
		if (hops == REDIRECTS_MAX)
			return error_set(err, 503, SHOWN ": more than %d redirects", SHOW(url), REDIRECTS_MAX);
		r = next_url(f, current, strmap_get(&resp->head.headers, "location"), &next, err);
		if (r < 0)
			return r;
		free(current);
		current = next;
		http_client_response_done(resp);
		*resp = HTTP_CLIENT_RESPONSE_INIT;
	}
}

static int bad_status(const char *url, const struct http_client_response *resp, struct error *err)
{
	auto_json struct json *body = NULL;
	auto_error struct error e = ERROR_INIT;
	const char *text = NULL;

	if (resp->head.status >= 400 && json_parse(strbuf_str(&resp->body), resp->body.len, &body, &e) == 0)
		text = json_get_str(body, "error");
	error_ignore(&e, "no API answer; the status says enough");
	if (!str_is_empty(text))
		return error_set(err, resp->head.status == 404 ? 404 : 503, "%s", text);
	return error_set(err, resp->head.status == 404 ? 404 : 503, "Unable to fetch " SHOWN ": status %d", SHOW(url),
			 resp->head.status);
}

static const char *const agent_headers[] = {"User-Agent: LXD 5.0.2", NULL};

int fetch_text(struct fetch *f, const char *url, size_t max, struct strbuf *ret, int *ret_status, struct error *err)
{
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	struct http_client_request req = {.method = "GET", .headers = agent_headers, .body_max = max};
	int r = request(f, url, &req, &resp, err);

	if (r < 0)
		return r;
	if (ret_status)
		*ret_status = resp.head.status;
	else if (resp.head.status != 200)
		return bad_status(url, &resp, err);
	strbuf_done(ret);
	*ret = resp.body;
	resp.body = STRBUF_INIT;
	return 0;
}

int fetch_head(struct fetch *f, const char *url, const char *const *headers, struct strmap *ret, struct error *err)
{
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	struct http_client_request req = {.method = "HEAD", .headers = headers ? headers : agent_headers};
	int r = request(f, url, &req, &resp, err);

	if (r < 0)
		return r;
	if (resp.head.status != 200)
		return bad_status(url, &resp, err);
	strmap_copy(ret, &resp.head.headers);
	return 0;
}

struct transfer {
	struct fetch *f;
	const struct fetch_file *file;
	uint64_t done;
	uint64_t total;
	int64_t began_ms, told_ms;
	int64_t window_ms; /* since when the bytes beyond window_done have come */
	uint64_t window_done;
};

static void tell(struct transfer *t)
{
	int64_t now = time_monotonic_ms();
	uint64_t speed = t->done * 1000 / (uint64_t)MAX_OF(now - t->began_ms, (int64_t)1);
	auto_free char *rate = NULL;
	auto_free char *amount = NULL;
	auto_free char *text = NULL;

	if (!t->f->spec.hooks.progress || (now - t->told_ms < PROGRESS_MS && t->done < t->total))
		return;
	t->told_ms = now;
	rate = format_size_si(speed);
	if (t->total)
		amount = xasprintf("%u%%", (unsigned)(MIN_OF(t->done, t->total) * 100 / t->total));
	else
		amount = format_size_si(t->done);
	text = xasprintf("%s: %s (%s/s)", t->file->label, amount, rate);
	t->f->spec.hooks.progress(t->f->spec.hooks.arg, text);
}

static int on_head(void *arg, const struct http_head *head, struct error *err)
{
	struct transfer *t = arg;
	const struct fetch_file *file = t->file;

	t->window_ms = time_monotonic_ms();
	if (head->body == HTTP_BODY_LENGTH) {
		t->total = head->length;
		if (file->size && !file->inexact && head->length != file->size)
			return error_set(err, 503, "The server sends %llu bytes where %llu were announced",
					 (unsigned long long)head->length, (unsigned long long)file->size);
	}
	return file->on_type ? file->on_type(file->arg, strmap_get_or(&head->headers, "content-type", ""), err) : 0;
}

/* A server that drips would hold a connection, and what has come so far, for ever. */
static int check_speed(struct transfer *t, struct error *err)
{
	int64_t now = time_monotonic_ms();

	if (t->done - t->window_done >= SLOW_BYTES) {
		t->window_ms = now;
		t->window_done = t->done;
	}
	if (now - t->window_ms < SLOW_MS)
		return 0;
	return error_set(err, 504, "The server sends less than %u KiB in %u seconds", SLOW_BYTES / 1024,
			 SLOW_MS / 1000);
}

static int on_data(void *arg, const void *data, size_t len, struct error *err)
{
	struct transfer *t = arg;
	uint64_t max = t->file->size && !t->file->inexact ? t->file->size : t->file->max;
	int r = check_cancelled(t->f, err);

	if (r < 0)
		return r;
	t->done += len;
	if (t->done > max)
		return error_set(err, 503, "The server sends more than the %llu bytes of the file",
				 (unsigned long long)max);
	r = check_speed(t, err);
	if (r < 0)
		return r;
	tell(t);
	return t->file->fn(t->file->arg, data, len, err);
}

int fetch_file(struct fetch *f, const char *url, const struct fetch_file *file, struct error *err)
{
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	struct transfer t = {.f = f, .file = file, .total = file->size, .began_ms = time_monotonic_ms()};
	struct http_client_request req = {.method = "GET",
					  .headers = agent_headers,
					  .sink = on_data,
					  .sink_arg = &t,
					  .on_head = on_head,
					  .body_max = 1 << 20};
	int r = request(f, url, &req, &resp, err);

	if (r < 0)
		return r;
	if (resp.head.status != 200)
		return bad_status(url, &resp, err);
	if (file->size && !file->inexact && t.done != file->size)
		return error_set(err, 503, "The server sent %llu bytes of %llu", (unsigned long long)t.done,
				 (unsigned long long)file->size);
	return 0;
}
