#include "client/migrate.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"

/* A server as the other one is to reach it. */
struct place {
	struct strv urls; /* "https://host:port", to be tried in this order */
	char *certificate;
};

static void place_done(struct place *p)
{
	strv_done(&p->urls);
	free(p->certificate);
}

static int lacks(const char *side, const char *extension, struct error *err)
{
	return error_set(err, 501, "The %s server is missing the required \"%s\" API extension", side, extension);
}

/* What the server said of itself, and whether it can do what the mode needs. */
static int look_at(const struct target *t, const char *side, const char *mode, bool sends, struct place *ret,
		   struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_strv struct strv extensions = STRV_INIT;
	const struct json *environment, *addresses;
	const char *pem;
	int r = api_get(t->api, "/1.0", &reply, err);

	if (r == 0)
		r = json_to_strv(json_get(reply.metadata, "api_extensions"), "api_extensions", &extensions, err);
	if (r < 0)
		return r;
	if (!streq(mode, "pull") && !strv_contains(&extensions, "container_push"))
		return lacks(side, "container_push", err);
	if (streq(mode, "push") && sends && !strv_contains(&extensions, "container_push_target"))
		return lacks(side, "container_push_target", err);
	environment = json_get(reply.metadata, "environment");
	addresses = json_get(environment, "addresses");
	if (http_client_is_remote(t->api->http))
		strv_addf(&ret->urls, "https://%s", http_client_where(t->api->http));
	for (size_t k = 0; k < json_len(addresses); k++) {
		const char *address = json_str(json_at(addresses, k));
		auto_free char *url = address && *address != ':' ? xasprintf("https://%s", address) : NULL;

		if (url && !strv_contains(&ret->urls, url))
			strv_add(&ret->urls, url);
	}
	pem = json_get_str(environment, "certificate");
	ret->certificate = xstrdup(pem ? pem : "");
	return 0;
}

/* --- requests --- */

/* A POST whose answer must name an operation: there is one to be waited for. */
static int ask(struct api *a, const char *url, const char *body, struct api_reply *ret, struct error *err)
{
	int r = api_call(a, "POST", url, body, NULL, ret, err);

	if (r >= 0 && !ret->operation)
		return error_set(err, 500, "The server's answer to POST %s names no operation", url);
	return r;
}

/* POST to the source. @target: where to push to, with the secrets; NULL: it waits for somebody to come. */
static int ask_source(const struct migration *m, const char *operation, const char *certificate,
		      const struct json *secrets, struct api_reply *ret, struct error *err)
{
	auto_free char *url = cli_url("/1.0/instances/%s", m->source->name);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", m->source->name);
	jsonw_kv_bool(&w, "migration", true);
	jsonw_kv_bool(&w, "live", m->live);
	jsonw_kv_bool(&w, "instance_only", m->instance_only);
	jsonw_kv_bool(&w, "container_only", m->instance_only);
	if (operation) {
		auto_free char *text = json_to_text(secrets);

		jsonw_key(&w, "target");
		jsonw_object_begin(&w);
		jsonw_kv_str(&w, "operation", operation);
		jsonw_kv_str(&w, "certificate", certificate);
		jsonw_kv_raw(&w, "secrets", text);
		jsonw_object_end(&w);
		explicit_bzero(text, strlen(text));
	}
	jsonw_object_end(&w);
	return ask(m->source->api, url, b.data, ret, err);
}

/* POST to the target: mode pull with the source's operation, or push without. */
static int ask_dest(const struct migration *m, const char *operation, const char *certificate,
		    const struct json *secrets, struct api_reply *ret, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r;

	jsonw_object_begin(&w);
	r = m->body(m->body_arg, &w, err);
	if (r < 0)
		return r;
	jsonw_key(&w, "source");
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "type", "migration");
	jsonw_kv_str(&w, "mode", operation ? "pull" : "push");
	jsonw_kv_bool(&w, "live", m->live);
	jsonw_kv_bool(&w, "instance_only", m->instance_only);
	jsonw_kv_bool(&w, "container_only", m->instance_only);
	if (operation) {
		auto_free char *text = json_to_text(secrets);

		jsonw_kv_str(&w, "operation", operation);
		jsonw_kv_str(&w, "certificate", certificate);
		jsonw_kv_raw(&w, "secrets", text);
		explicit_bzero(text, strlen(text));
	}
	jsonw_object_end(&w);
	jsonw_object_end(&w);
	return ask(m->dest->api, "/1.0/instances", b.data, ret, err);
}

static const struct json *secrets_of(const struct api_reply *reply)
{
	return json_get(reply->metadata, "metadata");
}

/* The other operation is of no use any more. */
static void give_up(struct api *a, const struct api_reply *reply)
{
	auto_error struct error err = ERROR_INIT;

	if (reply->operation && api_do(a, "DELETE", reply->operation, NULL, NULL, &err) < 0)
		error_ignore(&err, "it has ended, or will when nobody connects");
}

/* --- addresses in turn --- */

struct attempts {
	struct strv urls, texts;
};

static void attempts_done(struct attempts *t)
{
	strv_done(&t->urls);
	strv_done(&t->texts);
}

/* One that never reached the other server leaves the next address a chance. */
static bool is_worth_another(const char *text)
{
	static const char *const signs[] = {"Unable to connect",     "dial tcp",    "connection refused",
					    "no such host",          "i/o timeout", "no route to host",
					    "network is unreachable"};

	for (size_t k = 0; k < ARRAY_SIZE(signs); k++)
		if (strstr(text, signs[k]))
			return true;
	return false;
}

/* All failed: once if for the same reason, else each with its address. */
static int report(const struct attempts *t, const char *what, int status, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	bool same = true;

	for (size_t k = 1; k < t->texts.len; k++)
		same = same && streq(t->texts.items[k], t->texts.items[0]);
	if (same)
		return error_set(err, status, "%s: %s", what, t->texts.items[0]);
	for (size_t k = 0; k < t->texts.len; k++)
		strbuf_appendf(&b, "\n - %s: %s", t->urls.items[k], t->texts.items[k]);
	return error_set(err, status, "%s:%s", what, strbuf_str(&b));
}

typedef int (*attempt_fn)(const struct migration *m, const char *url, const struct place *p,
			  const struct api_reply *other, struct json **ret_op, struct error *err);

static int try_each(const struct migration *m, const struct place *p, const struct api_reply *other, attempt_fn fn,
		    const char *what, struct json **ret_op, struct error *err)
{
	CLEANUP(attempts_done) struct attempts t = {0};
	auto_free char *id = cli_url_last(other->operation);
	int status = 400;

	for (size_t k = 0; k < p->urls.len; k++) {
		auto_error struct error e = ERROR_INIT;
		auto_free char *url = xasprintf("%s/1.0/operations/%s", p->urls.items[k], id);

		if (fn(m, url, p, other, ret_op, &e) == 0)
			return 0;
		strv_add(&t.urls, p->urls.items[k]);
		strv_add(&t.texts, error_msg(&e));
		status = e.status;
		if (e.errnum == EINTR || !is_worth_another(error_msg(&e)))
			break;
	}
	return report(&t, what, status, err);
}

/* --- the three modes --- */

static int pull_once(const struct migration *m, const char *url, const struct place *p, const struct api_reply *other,
		     struct json **ret_op, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r = ask_dest(m, url, p->certificate, secrets_of(other), &reply, err);

	return r < 0 ? r : cli_wait(m->c, m->dest->api, &reply, ret_op, err);
}

static int pull(const struct migration *m, const struct place *from, struct json **ret_op, struct error *err)
{
	auto_api_reply struct api_reply source = API_REPLY_INIT;
	int r;

	if (!from->urls.len)
		return error_set(err, 400, "The source server isn't listening on the network");
	r = ask_source(m, NULL, NULL, NULL, &source, err);
	if (r < 0)
		return r;
	r = try_each(m, from, &source, pull_once, "Failed instance creation", ret_op, err);
	if (r < 0)
		give_up(m->source->api, &source);
	return r;
}

static int push_once(const struct migration *m, const char *url, const struct place *p, const struct api_reply *other,
		     struct json **ret_op UNUSED, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r = ask_source(m, url, p->certificate, secrets_of(other), &reply, err);

	return r < 0 ? r : cli_wait(m->c, m->source->api, &reply, NULL, err);
}

static int push(const struct migration *m, const struct place *to, struct json **ret_op, struct error *err)
{
	auto_api_reply struct api_reply dest = API_REPLY_INIT;
	int r;

	if (!to->urls.len)
		return error_set(err, 400, "The target server isn't listening on the network");
	r = ask_dest(m, NULL, NULL, NULL, &dest, err);
	if (r < 0)
		return r;
	r = try_each(m, to, &dest, push_once, "Failed instance migration", ret_op, err);
	if (r < 0) {
		give_up(m->dest->api, &dest);
		return r;
	}
	return cli_wait(m->c, m->dest->api, &dest, ret_op, err);
}

static int relay(const struct migration *m, struct json **ret_op, struct error *err)
{
	auto_api_reply struct api_reply source = API_REPLY_INIT;
	auto_api_reply struct api_reply dest = API_REPLY_INIT;
	struct relay *between = NULL;
	int r = ask_source(m, NULL, NULL, NULL, &source, err);

	if (r < 0)
		return r;
	r = ask_dest(m, NULL, NULL, NULL, &dest, err);
	if (r == 0)
		r = relay_start(m->source->api, source.operation, secrets_of(&source), m->dest->api, dest.operation,
				secrets_of(&dest), &between, err);
	if (r < 0) {
		give_up(m->source->api, &source);
		give_up(m->dest->api, &dest);
		return r;
	}
	r = cli_wait(m->c, m->dest->api, &dest, ret_op, err);
	relay_stop(between);
	if (r < 0)
		give_up(m->source->api, &source);
	return r;
}

int migration_run(const struct migration *m, struct json **ret_op, struct error *err)
{
	CLEANUP(place_done) struct place from = {0};
	CLEANUP(place_done) struct place to = {0};
	int r;

	if (!streq(m->mode, "pull") && !streq(m->mode, "push") && !streq(m->mode, "relay"))
		return error_set(err, 400, "Invalid transfer mode \"%s\": it is pull, push or relay", m->mode);
	r = look_at(m->dest, "target", m->mode, /* sends= */ false, &to, err);
	if (r == 0)
		r = look_at(m->source, "source", m->mode, /* sends= */ true, &from, err);
	if (r < 0)
		return r;
	if (streq(m->mode, "push"))
		return push(m, &to, ret_op, err);
	return streq(m->mode, "pull") ? pull(m, &from, ret_op, err) : relay(m, ret_op, err);
}
