/* Forms on the terminal and pages in the browser, as an identity provider asks for them. */
#include "client/interact.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/prompt.h"
#include "base/str.h"
#include "client/print.h"
#include "macaroon/macaroon.h"

#define FIELDS_MAX 16
#define FIELD_NAME_MAX 64
#define ASKS_MAX 3 /* for a field that must not stay empty */
#define TOKEN_MAX (64u * 1024)

void interact_token_done(struct interact_token *t)
{
	free(t->kind);
	if (t->value.data)
		explicit_bzero(t->value.data, t->value.len);
	strbuf_done(&t->value);
	*t = INTERACT_TOKEN_INIT;
}

static bool same_origin(const struct web_url *a, const struct web_url *b)
{
	return a->tls == b->tls && a->port == b->port && streq(a->host, b->host);
}

/* A page of the provider that something is sent to. */
static int resolve_own(const struct web_url *location, const char *reference, struct web_url *ret, struct error *err)
{
	int r = web_url_resolve(location, reference, ret, err);

	if (r >= 0 && !same_origin(location, ret))
		return error_set(err, 502, "%s sends elsewhere what is meant for it", location->host);
	return r;
}

/* ---- the form ---- */

struct field {
	const char *name, *group, *type; /* borrowed from the form */
	bool mandatory, secret;
};

struct form {
	struct field items[FIELDS_MAX];
	size_t len;
	struct error *err;
};

static int take_field(const char *name, const struct json *value, void *arg)
{
	struct form *form = arg;
	const char *group = json_get_str(value, "group"), *type = json_get_str(value, "type");

	if (form->len == FIELDS_MAX)
		return error_set(form->err, 502, "the form has more than %d fields", FIELDS_MAX);
	if (!*name || strlen(name) > FIELD_NAME_MAX || json_kind(value) != JSON_OBJECT)
		return error_set(form->err, 502, "the form has a malformed field");
	form->items[form->len++] = (struct field){
		.name = name,
		.group = group ? group : "",
		.type = type ? type : "string",
		.mandatory = json_is_true(json_get(value, "mandatory")),
		.secret = json_is_true(json_get(value, "secret")),
	};
	return 0;
}

/* As the reference client asks: by group, then by name. */
static int compare_fields(const void *pa, const void *pb)
{
	const struct field *a = pa, *b = pb;
	int r = strcmp(a->group, b->group);

	return r ? r : strcmp(a->name, b->name);
}

static void wipe_free(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

static int ask(const struct field *f, char **ret, struct error *err)
{
	auto_free char *name = print_safe_text(f->name, "");
	auto_free char *question = xasprintf("%s: ", name);

	for (int n = 0; n < ASKS_MAX; n++) {
		int r = f->secret ? prompt_secret(question, ret, err) : prompt_line(question, ret, err);

		if (r < 0 || **ret || !f->mandatory)
			return r;
		wipe_free(TAKE_PTR(*ret));
	}
	return error_set(err, 400, "%s must not be empty", name);
}

/* The answer as the form's type wants it; an empty one is left out. */
static int write_answer(struct jsonw *w, const struct field *f, const char *answer, struct error *err)
{
	int64_t number;
	bool yes;

	if (!*answer)
		return 0;
	if (streq(f->type, "bool")) {
		if (parse_bool(answer, &yes) < 0)
			return error_set(err, 400, "%s must be true or false", f->name);
		jsonw_kv_bool(w, f->name, yes);
	} else if (streq(f->type, "int")) {
		if (parse_i64(answer, &number) < 0)
			return error_set(err, 400, "%s must be a number", f->name);
		jsonw_kv_int(w, f->name, number);
	} else if (streq(f->type, "string")) {
		jsonw_kv_str(w, f->name, answer);
	} else {
		return error_set(err, 502, "the form has a field of the unknown type \"%s\"", f->type);
	}
	return 0;
}

static int fill_form(const struct form *form, const char *host, struct jsonw *w, struct error *err)
{
	int r = 0;

	printf("Log in to %s\nPress return to select a default value.\n", host);
	jsonw_object_begin(w);
	jsonw_key(w, "form");
	jsonw_object_begin(w);
	for (size_t i = 0; r >= 0 && i < form->len; i++) {
		char *answer = NULL;

		r = ask(&form->items[i], &answer, err);
		if (r >= 0)
			r = write_answer(w, &form->items[i], answer, err);
		wipe_free(answer);
	}
	jsonw_object_end(w);
	jsonw_object_end(w);
	return r;
}

static int read_form(const struct web *w, const struct web_url *url, struct web_answer *answer, struct form *form,
		     struct error *err)
{
	const struct json *schema;
	int r = web_send(w, "GET", url, NULL, WEB_PATIENCE_MS, answer, err);

	if (r >= 0)
		r = web_answer_error(answer, "GET", url, err);
	if (r < 0)
		return error_wrap(err, "cannot get schema");
	schema = json_get(answer->doc, "schema");
	if (json_kind(schema) != JSON_OBJECT || !json_len(schema))
		return error_set(err, 502, "cannot get schema: %s sent no form", url->host);
	r = json_each(schema, take_field, form);
	if (r >= 0)
		qsort(form->items, form->len, sizeof(form->items[0]), compare_fields);
	return r;
}

/* {"kind": ..., @key: text or @key64: base64} */
static int take_token(const struct json *j, const char *key, bool is_base64, struct interact_token *ret,
		      struct error *err)
{
	const char *kind = json_get_str(j, "kind"), *value = json_get_str(j, key);

	if (str_is_empty(kind) || str_is_empty(value) || strlen(value) > TOKEN_MAX)
		return error_set(err, 502, "the identity provider sent no token");
	if (!is_base64)
		strbuf_append(&ret->value, value);
	else if (base64_any_decode(value, &ret->value) < 0)
		return error_set(err, 502, "the identity provider sent a token that is no base64");
	ret->kind = xstrdup(kind);
	return 0;
}

static int submit_form(const struct web *w, const struct web_url *url, const char *body, struct interact_token *ret,
		       struct error *err)
{
	auto_web_answer struct web_answer answer = WEB_ANSWER_INIT;
	int r = web_send(w, "POST", url, body, WEB_PATIENCE_MS, &answer, err);

	if (r >= 0)
		r = web_answer_error(&answer, "POST", url, err);
	if (r >= 0)
		r = take_token(json_get(answer.doc, "token"), "value", true, ret, err);
	return r < 0 ? error_wrap(err, "cannot submit form") : 0;
}

static int by_form(const struct web *w, const struct web_url *location, const char *where, struct interact_token *ret,
		   struct error *err)
{
	auto_web_url struct web_url url = WEB_URL_INIT;
	auto_web_answer struct web_answer answer = WEB_ANSWER_INIT;
	auto_strbuf struct strbuf body = STRBUF_INIT;
	struct jsonw json = JSONW(&body);
	struct form form = {.err = err};
	int r = resolve_own(location, where, &url, err);

	if (r >= 0)
		r = read_form(w, &url, &answer, &form, err);
	strbuf_reserve(&body, TOKEN_MAX); /* so that no copy of a password stays behind in memory given back */
	if (r >= 0)
		r = fill_form(&form, url.host, &json, err);
	if (r >= 0)
		r = submit_form(w, &url, strbuf_str(&body), ret, err);
	explicit_bzero(body.data, body.len);
	return r;
}

/* ---- the browser ---- */

/* Show the page and wait, as long as a person may take, for what @wait answers. */
static int visit(const struct web *w, const struct web_url *location, const char *page, const char *wait,
		 const char *domain, struct web_answer *answer, struct error *err)
{
	auto_web_url struct web_url visit_url = WEB_URL_INIT;
	auto_web_url struct web_url wait_url = WEB_URL_INIT;
	auto_free char *text = NULL;
	int r = web_url_resolve(location, page, &visit_url, err);

	if (r >= 0)
		r = resolve_own(location, wait, &wait_url, err);
	if (r < 0)
		return r;
	if (!w->loopback && web_host_is_loopback(visit_url.host))
		return error_set(err, 400, "%s sends the browser to this machine", location->host);
	if (!str_is_empty(domain))
		web_url_add_query(&visit_url, "domain", domain);
	text = web_url_text(&visit_url);
	browser_show(text);
	r = web_send(w, "GET", &wait_url, NULL, WEB_PERSON_MS, answer, err);
	return r < 0 ? r : web_answer_error(answer, "GET", &wait_url, err);
}

static int by_browser(const struct web *w, const struct web_url *location, const char *page, const char *wait,
		      const char *domain, struct interact_token *ret, struct error *err)
{
	auto_web_answer struct web_answer answer = WEB_ANSWER_INIT;
	int r = visit(w, location, page, wait, domain, &answer, err);
	bool coded;

	if (r < 0)
		return error_wrap(err, "cannot acquire token");
	coded = !json_get_str(answer.doc, "token");
	r = take_token(answer.doc, coded ? "token64" : "token", coded, ret, err);
	return r < 0 ? error_wrap(err, "cannot acquire token") : 0;
}

int interact(const struct web *w, const struct web_url *location, const struct json *wanted, const char *domain,
	     struct interact_token *ret, struct json **ret_discharge, struct error *err)
{
	const struct json *methods = json_get(wanted, "InteractionMethods");
	const struct json *window = json_get(methods, "browser-window");
	const char *form = json_get_str(json_get(methods, "form"), "url");
	const char *page = json_get_str(window, "VisitURL"), *wait = json_get_str(window, "WaitTokenURL");
	const char *old_page = json_get_str(wanted, "VisitURL"), *old_wait = json_get_str(wanted, "WaitURL");
	auto_web_answer struct web_answer answer = WEB_ANSWER_INIT;
	int r;

	if (form)
		return by_form(w, location, form, ret, err);
	if (page && wait)
		return by_browser(w, location, page, wait, domain, ret, err);
	if (!old_page || !old_wait)
		return error_set(err, 502, "cannot start interactive session: no supported interaction method");
	r = visit(w, location, old_page, old_wait, domain, &answer, err);
	if (r >= 0)
		*ret_discharge = TAKE_PTR(answer.doc);
	return r;
}
