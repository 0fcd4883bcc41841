/* Read, change, write back: the one way in which commands change objects. */
#include "client/doc.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/yamltext.h"

static const char *const bools[] = {"ephemeral", "stateful", "public", "auto_update", "restricted", NULL};

static const char *const instance_fields[] = {"architecture", "config",   "devices",     "ephemeral",
					      "profiles",     "stateful", "description", NULL};
static const char *const snapshot_fields[] = {"expires_at", NULL};
static const char *const profile_fields[] = {"config", "description", "devices", NULL};
static const char *const pool_fields[] = {"config", "description", NULL};
static const char *const image_fields[] = {"auto_update", "properties", "public", "expires_at", "profiles", NULL};
static const char *const certificate_fields[] = {"name", "type", "restricted", "projects", "certificate", NULL};
static const char *const network_fields[] = {"config", "description", NULL};
static const char *const project_fields[] = {"config", "description", NULL};
static const char *const server_fields[] = {"config", NULL};

const struct doc_kind doc_instance = {"instance", instance_fields, bools, "config"};
const struct doc_kind doc_snapshot = {"snapshot", snapshot_fields, bools, "config"};
const struct doc_kind doc_profile = {"profile", profile_fields, bools, "config"};
const struct doc_kind doc_storage_pool = {"storage pool", pool_fields, bools, "config"};
const struct doc_kind doc_image = {"image", image_fields, bools, "properties"};
const struct doc_kind doc_certificate = {"certificate", certificate_fields, bools, "config"};
const struct doc_kind doc_network = {"network", network_fields, bools, "config"};
const struct doc_kind doc_project = {"project", project_fields, bools, "config"};
/* core.trust_password shows as the boolean true */
static const char *const server_typed[] = {"core.trust_password", NULL};
const struct doc_kind doc_server = {"server", server_fields, server_typed, "config"};

void doc_done(struct doc *d)
{
	free(d->url);
	free(d->etag);
	json_free(d->object);
	strmap_done(&d->config);
	mapmap_done(&d->devices);
	strv_done(&d->profiles);
	*d = DOC_INIT;
}

static int copy_string_member(const char *key, const struct json *value, void *arg)
{
	if (json_str(value))
		strmap_set(arg, key, json_str(value));
	return 0;
}

int doc_take(struct json *object, const struct doc_kind *kind, struct doc *ret, struct error *err)
{
	const struct json *config = json_get(object, kind->config_field);
	int r;

	ret->kind = kind;
	ret->object = object;
	if (json_kind(config) == JSON_OBJECT)
		json_each(config, copy_string_member, &ret->config);
	r = json_to_mapmap(json_get(object, "devices"), "devices", &ret->devices, err);
	if (r >= 0)
		r = json_to_strv(json_get(object, "profiles"), "profiles", &ret->profiles, err);
	return r;
}

int doc_load(struct api *a, const char *url, const struct doc_kind *kind, struct doc *ret, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *text = NULL;
	struct json *object = NULL;
	int r;

	r = api_get(a, url, &reply, err);
	if (r < 0)
		return r;
	ret->api = a;
	ret->url = xstrdup(url);
	ret->etag = TAKE_PTR(reply.etag);
	text = json_to_text(reply.metadata);
	r = json_parse(text, strlen(text), &object, err);
	return r < 0 ? r : doc_take(object, kind, ret, err);
}

void doc_set_config(struct doc *d, const char *key, const char *value)
{
	strmap_set(&d->config, key, value);
	d->config_changed = true;
}

struct config_writer {
	const struct doc *doc;
	struct jsonw *w;
};

/* Members that are no strings (the server's password marker) go back as they came. */
static int write_other_member(const char *key, const struct json *value, void *arg)
{
	struct config_writer *cw = arg;
	auto_free char *text = NULL;

	if (json_str(value) || strmap_get(&cw->doc->config, key))
		return 0;
	text = json_to_text(value);
	jsonw_kv_raw(cw->w, key, text);
	return 0;
}

static void write_config(struct jsonw *w, const struct doc *d)
{
	const struct json *old = json_get(d->object, d->kind->config_field);
	struct config_writer cw = {d, w};

	jsonw_object_begin(w);
	for (size_t i = 0; i < d->config.len; i++)
		jsonw_kv_str(w, d->config.items[i].key, d->config.items[i].value);
	if (json_kind(old) == JSON_OBJECT)
		json_each(old, write_other_member, &cw);
	jsonw_object_end(w);
}

char *doc_body(const struct doc *d)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	for (size_t i = 0; d->kind->fields[i]; i++) {
		const char *field = d->kind->fields[i];
		const struct json *value = json_get(d->object, field);
		auto_free char *raw = NULL;

		if (streq(field, d->kind->config_field) && d->config_changed) {
			jsonw_key(&w, field);
			write_config(&w, d);
		} else if (streq(field, "devices") && d->devices_changed) {
			jsonw_kv_mapmap(&w, field, &d->devices);
		} else if (streq(field, "profiles") && d->profiles_changed) {
			jsonw_kv_strv(&w, field, &d->profiles);
		} else if (value) {
			raw = json_to_text(value);
			jsonw_kv_raw(&w, field, raw);
		}
	}
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

int doc_save(struct cli *c, struct doc *d, struct error *err)
{
	auto_free char *body = doc_body(d);

	return cli_do(c, d->api, "PUT", d->url, body, d->etag, err);
}

int doc_show(const struct doc *d, struct error *err)
{
	struct doc shown = *d;
	auto_free char *body = NULL;
	auto_json struct json *j = NULL;
	int r;

	/* no profiles are shown as an empty list */
	shown.profiles_changed = true;
	body = doc_body(&shown);
	r = json_parse(body, strlen(body), &j, err);

	return r < 0 ? r : cli_print_yaml(j, 0, err);
}

static int take_value(const char *text, struct strmap *ret, const char *key, struct error *err)
{
	auto_strbuf struct strbuf in = STRBUF_INIT;
	int r;

	if (!streq(text, "-")) {
		strmap_set(ret, key, text);
		return 0;
	}
	r = cli_read_stdin(&in, err);
	if (r >= 0)
		strmap_set(ret, key, strbuf_str(&in));
	return r;
}

/* The value in "key=value", and its key, which the caller frees; NULL without "=". */
static const char *split_pair(const char *arg, char **ret_key)
{
	const char *equals = strchr(arg, '=');

	*ret_key = equals ? xstrndup(arg, (size_t)(equals - arg)) : NULL;
	return equals ? equals + 1 : NULL;
}

int args_to_map(struct cli *c, size_t first, bool legacy, struct strmap *ret, struct error *err)
{
	size_t n = cli_argc(c);

	if (legacy && n == first + 2 && !strchr(cli_arg(c, first), '='))
		return take_value(cli_arg(c, first + 1), ret, cli_arg(c, first), err);
	for (size_t i = first; i < n; i++) {
		auto_free char *key = NULL;
		const char *value = split_pair(cli_arg(c, i), &key);
		int r;

		if (!value)
			return error_set(err, 400, "Invalid key=value configuration: %s", cli_arg(c, i));
		r = take_value(value, ret, key, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int args_to_pairs(struct cli *c, size_t first, const char *const complaint[2], struct strmap *ret, struct error *err)
{
	for (size_t i = first; i < cli_argc(c); i++) {
		auto_free char *key = NULL;
		const char *value = split_pair(cli_arg(c, i), &key);

		if (!value)
			return error_set(err, 400, "%s%s%s", complaint[0], cli_arg(c, i), complaint[1]);
		strmap_set(ret, key, value);
	}
	return 0;
}
