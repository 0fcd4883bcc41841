/* The identity provider, as far as the server talks to it: for its public key. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "base/wire_dial.h"
#include "candid/internal.h"
#include "http/client.h"

#define ANSWER_MAX (64u << 10)
#define TICK_MS 1000
#define STALL_MS 10000
#define FAILED_FOR_MS 5000
#define HTTPS_PORT 443

struct provider {
	struct mutex lock;
	struct cond answered;
	unsigned generation GUARDED_BY(lock); /* of what follows: an answer for an older one counts no more */
	char *url GUARDED_BY(lock);
	char *proxy GUARDED_BY(lock);
	char *no_proxy GUARDED_BY(lock);
	bool known GUARDED_BY(lock);
	unsigned char key[BAKERY_KEY] GUARDED_BY(lock);
	unsigned version GUARDED_BY(lock);
	bool asking GUARDED_BY(lock);
	int64_t failed_ms GUARDED_BY(lock); /* 0: the last time it answered */
	char *failure GUARDED_BY(lock);
};

struct provider *provider_new(void)
{
	struct provider *p = xnew(struct provider);

	mutex_init(&p->lock);
	cond_init(&p->answered);
	return p;
}

static void drop_locked(struct provider *p) REQUIRES(p->lock)
{
	free(TAKE_PTR(p->url));
	free(TAKE_PTR(p->proxy));
	free(TAKE_PTR(p->no_proxy));
	free(TAKE_PTR(p->failure));
	p->known = false;
	p->failed_ms = 0;
}

void provider_free(struct provider *p)
{
	if (!p)
		return;
	mutex_lock(&p->lock);
	drop_locked(p);
	mutex_unlock(&p->lock);
	cond_done(&p->answered);
	mutex_done(&p->lock);
	free(p);
}

void provider_set(struct provider *p, const char *url, const unsigned char *key, const char *proxy,
		  const char *no_proxy)
{
	mutex_lock(&p->lock);
	drop_locked(p);
	p->generation++;
	p->url = xstrdup(url);
	p->proxy = xstrdup_null(proxy);
	p->no_proxy = xstrdup_null(no_proxy);
	p->known = key != NULL;
	p->version = BAKERY_VERSION_MAX;
	if (key)
		memcpy(p->key, key, BAKERY_KEY);
	mutex_unlock(&p->lock);
}

int provider_read_key(const char *text, size_t len, unsigned char ret[BAKERY_KEY], unsigned *ret_version,
		      struct error *err)
{
	auto_json struct json *j = NULL;
	const char *key;
	int64_t version;

	if (json_parse(text, len, &j, err) < 0) {
		error_clear(err);
		return error_set(err, 503, "it answered no JSON");
	}
	key = json_get_str(j, "PublicKey");
	if (!key || bakery_key_parse(key, ret) < 0)
		return error_set(err, 503, "it answered no public key");
	version = json_int(json_get(j, "Version"));
	*ret_version = version > BAKERY_VERSION_MAX ? BAKERY_VERSION_MAX : version < 1 ? 1 : (unsigned)version;
	return 0;
}

struct question {
	char *url;
	char *proxy;
	char *no_proxy;
	unsigned generation;
};

static void question_done(struct question *q)
{
	free(q->url);
	free(q->proxy);
	free(q->no_proxy);
}

/* GET @base with @path behind it. */
static int get(struct http_client *http, const char *base, const char *path, struct http_client_response *resp,
	       struct error *err)
{
	size_t n = strlen(base);
	auto_free char *full = NULL;
	struct http_client_request req = {.method = "GET", .body_max = ANSWER_MAX};

	while (n > 0 && base[n - 1] == '/')
		n--;
	full = xasprintf("%.*s%s", (int)n, base, path);
	req.path = full;
	return http_client_send(http, &req, resp, err);
}

static int ask_server(struct http_client *http, const char *base, unsigned char key[BAKERY_KEY], unsigned *version,
		      struct error *err)
{
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	int r = get(http, base, "/discharge/info", &resp, err);

	if (r == 0 && resp.head.status == 404) {
		http_client_response_done(&resp);
		resp = HTTP_CLIENT_RESPONSE_INIT;
		r = get(http, base, "/publickey", &resp, err);
	}
	if (r < 0)
		return r;
	if (resp.head.status != 200)
		return error_set(err, 503, "it answered status %d", resp.head.status);
	return provider_read_key(strbuf_str(&resp.body), resp.body.len, key, version, err);
}

static int ask(const struct question *q, unsigned char key[BAKERY_KEY], unsigned *version, struct error *err)
{
	auto_dial_target struct dial_target t = DIAL_TARGET_INIT;
	auto_http_client struct http_client *http = NULL;
	auto_free char *base = NULL;
	int r = dial_target_parse(q->url, HTTPS_PORT, &t, &base, err);

	if (r < 0)
		return r;
	t.flags = WIRE_DIAL_SYSTEM_ROOTS;
	t.proxy = dial_proxy_pick(q->proxy, q->no_proxy, t.host, t.port);
	http = http_client_new_remote(&t);
	http_client_set_patience(http, TICK_MS, STALL_MS);
	return ask_server(http, base, key, version, err);
}

/* The caller asks: it is alone in that, and the lock is free meanwhile. */
static void ask_unlocked(struct provider *p) REQUIRES(p->lock)
{
	CLEANUP(question_done)
	struct question q = {xstrdup(p->url), xstrdup_null(p->proxy), xstrdup_null(p->no_proxy), p->generation};
	auto_error struct error err = ERROR_INIT;
	unsigned char key[BAKERY_KEY];
	unsigned version = 0;
	int r;

	p->asking = true;
	mutex_unlock(&p->lock);
	r = ask(&q, key, &version, &err);
	mutex_lock(&p->lock);
	p->asking = false;
	if (q.generation == p->generation) {
		free(TAKE_PTR(p->failure));
		p->known = r == 0;
		p->failed_ms = r < 0 ? time_monotonic_ms() : 0;
		if (r < 0)
			p->failure = xstrdup(error_msg(&err));
		else
			memcpy(p->key, key, BAKERY_KEY);
		p->version = version;
	}
	cond_broadcast(&p->answered);
}

static bool failed_lately_locked(struct provider *p) REQUIRES(p->lock)
{
	return p->failed_ms && time_monotonic_ms() - p->failed_ms < FAILED_FOR_MS;
}

int provider_key(struct provider *p, unsigned char ret[BAKERY_KEY], unsigned *ret_version, struct error *err)
{
	int r = 0;

	mutex_lock(&p->lock);
	while (p->asking)
		cond_wait(&p->answered, &p->lock);
	if (!p->known && p->url && !failed_lately_locked(p))
		ask_unlocked(p);
	if (p->known) {
		memcpy(ret, p->key, BAKERY_KEY);
		*ret_version = p->version;
	} else {
		r = error_set(err, 503, "The identity provider %s cannot be asked for its public key: %s",
			      p->url ? p->url : "", p->failure ? p->failure : "it has been changed meanwhile");
	}
	mutex_unlock(&p->lock);
	return r;
}
