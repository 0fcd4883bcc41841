/* Apply and dump preseeds. */
#include "admin/preseed.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/yamltext.h"

/* Requests that take back what was done, newest last. */
struct undo {
	struct undo_step {
		const char *method;
		char *url, *body;
	} * steps;
	size_t len;
};

/* @body NULL: none */
static void undo_push(struct undo *u, const char *method, const char *url, char *body)
{
	u->steps = xreallocarray(u->steps, u->len + 1, sizeof(*u->steps));
	u->steps[u->len++] = (struct undo_step){.method = method, .url = xstrdup(url), .body = body};
}

static void undo_done(struct undo *u)
{
	for (size_t i = 0; i < u->len; i++) {
		free(u->steps[i].url);
		free(u->steps[i].body);
	}
	free(u->steps);
}

static void undo_run(struct undo *u, struct api *a)
{
	for (size_t i = u->len; i-- > 0;) {
		auto_error struct error e = ERROR_INIT;

		if (api_do(a, u->steps[i].method, u->steps[i].url, u->steps[i].body, NULL, &e) < 0)
			fprintf(stderr, "Failed to undo %s: %s\n", u->steps[i].url, error_msg(&e));
	}
}

/* A kind of object that a preseed lists. */
static const struct kind {
	const char *list; /* member of the preseed */
	const char *url;
	const char *title;              /* in messages */
	const char *noun, *noun_suffix; /* the same after "Failed to create" */
	bool has_devices;
	const char *type_field; /* what it is cannot change; NULL: there is one kind only */
} kinds[] = {
	{"networks", "/1.0/networks", "Network", "local member network", " in project \"default\"", false, "type"},
	{"storage_pools", "/1.0/storage-pools", "Storage pool", "storage pool", "", false, "driver"},
	{"projects", "/1.0/projects", "Project", "project", "", false, NULL},
	{"profiles", "/1.0/profiles", "Profile", "profile", "", true, NULL},
};

/* Copy members that are strings over @ret; a server's password marker (true) keeps what is set. */
static int merge_member(const char *key, const struct json *value, void *arg)
{
	if (json_str(value) && !(streq(key, "core.trust_password") && streq(json_str(value), "true")))
		strmap_set(arg, key, json_str(value));
	return 0;
}

static void merge_config(const struct json *config, struct strmap *ret)
{
	if (json_kind(config) == JSON_OBJECT)
		json_each(config, merge_member, ret);
}

/* An address that was found for "auto" stays: the same preseed may be applied again. */
static void keep_found_addresses(const struct json *old, struct strmap *config)
{
	static const char *const keys[] = {"ipv4.address", "ipv6.address"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *before = json_get_str(old, keys[i]);

		if (!str_is_empty(before) && !streq(before, "none") &&
		    streq(strmap_get_or(config, keys[i], ""), "auto"))
			strmap_set(config, keys[i], before);
	}
}

/* @new over @old; of the two ways in which a NIC names what it is on only one may be left. */
static void merge_device(const struct strmap *new, struct strmap *old)
{
	if (strmap_get(new, "network")) {
		strmap_remove(old, "nictype");
		strmap_remove(old, "parent");
	} else if (strmap_get(new, "nictype")) {
		strmap_remove(old, "network");
	}
	strmap_merge(old, new);
}

/* The body of a PUT: @old with @new merged over it; @new NULL gives @old as it is. */
static int merged_body(const struct kind *k, const struct json *old, const struct json *new, char **ret,
		       struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_mapmap struct mapmap devices = MAPMAP_INIT;
	auto_mapmap struct mapmap new_devices = MAPMAP_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	const char *description = json_get_str(new, "description");
	int r;

	merge_config(json_get(old, "config"), &config);
	merge_config(json_get(new, "config"), &config);
	keep_found_addresses(json_get(old, "config"), &config);
	r = json_to_mapmap(json_get(old, "devices"), "devices", &devices, err);
	if (r >= 0)
		r = json_to_mapmap(json_get(new, "devices"), "devices", &new_devices, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < new_devices.len; i++)
		merge_device(&new_devices.items[i].map, mapmap_ensure(&devices, new_devices.items[i].key));
	jsonw_object_begin(&w);
	jsonw_kv_strmap(&w, "config", &config);
	if (k->has_devices)
		jsonw_kv_mapmap(&w, "devices", &devices);
	jsonw_kv_str(&w, "description", str_is_empty(description) ? json_get_str(old, "description") : description);
	jsonw_object_end(&w);
	*ret = strbuf_take(&b);
	return 0;
}

static int create(struct api *a, const struct kind *k, const struct json *item, const char *name, struct error *err)
{
	static const struct json *const none = NULL;
	auto_free char *body = NULL;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r = merged_body(k, none, item, &body, err);

	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", name);
	if (k->type_field)
		jsonw_kv_str(&w, k->type_field, json_get_str(item, k->type_field));
	jsonw_object_end(&w);
	/* join both objects */
	strbuf_truncate(&b, b.len - 1);
	strbuf_appendf(&b, ",%s", body + 1);
	r = api_do(a, "POST", k->url, strbuf_str(&b), NULL, err);
	return r < 0 ? error_wrap(err, "Failed to create %s \"%s\"%s", k->noun, name, k->noun_suffix) : 0;
}

static int check_type(const struct kind *k, const char *name, const struct json *old, const struct json *new,
		      struct error *err)
{
	const char *is = k->type_field ? json_get_str(old, k->type_field) : NULL;
	const char *wanted = k->type_field ? json_get_str(new, k->type_field) : NULL;

	if (str_is_empty(is) || str_is_empty(wanted) || streq(is, wanted))
		return 0;
	return error_set(err, 400, "%s \"%s\" is of type \"%s\" instead of \"%s\"", k->title, name, is, wanted);
}

static int update(struct api *a, const struct kind *k, const struct json *item, const char *url,
		  const struct api_reply *old, struct undo *undo, struct error *err)
{
	const char *name = json_get_str(item, "name");
	auto_free char *body = NULL;
	auto_free char *before = NULL;
	int r;

	r = check_type(k, name, old->metadata, item, err);
	if (r < 0)
		return r;
	r = merged_body(k, old->metadata, item, &body, err);
	if (r >= 0)
		r = merged_body(k, old->metadata, NULL, &before, err);
	if (r < 0)
		return r;
	if (streq(body, before))
		return 0;
	r = api_do(a, "PUT", url, body, old->etag, err);
	if (r < 0)
		return error_wrap(err, "Failed to update %s \"%s\"%s", k->noun, name, k->noun_suffix);
	undo_push(undo, "PUT", url, TAKE_PTR(before));
	return 0;
}

static int apply_item(struct api *a, const struct kind *k, const struct json *item, struct undo *undo,
		      struct error *err)
{
	const char *name = json_get_str(item, "name");
	auto_api_reply struct api_reply old = API_REPLY_INIT;
	auto_error struct error e = ERROR_INIT;
	auto_free char *escaped = NULL;
	auto_free char *url = NULL;
	int r;

	if (str_is_empty(name))
		return error_set(err, 400, "A %s in the preseed has no name", k->noun);
	escaped = url_escaped(name);
	url = xasprintf("%s/%s", k->url, escaped);
	r = api_get(a, url, &old, &e);
	if (r >= 0)
		return update(a, k, item, url, &old, undo, err);
	if (e.status != 404)
		return error_move(err, &e);
	r = create(a, k, item, name, err);
	if (r >= 0)
		undo_push(undo, "DELETE", url, NULL);
	return r;
}

static char *config_body(const struct strmap *config)
{
	auto_free char *text = strmap_to_json(config);

	return xasprintf("{\"config\":%s}", text);
}

static int apply_server_config(struct api *a, const struct json *config, struct undo *undo, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_strmap struct strmap values = STRMAP_INIT;
	auto_strmap struct strmap before = STRMAP_INIT;
	auto_free char *body = NULL;
	int r;

	merge_config(config, &values);
	if (!values.len)
		return 0;
	r = api_get(a, "/1.0", &reply, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < values.len; i++) {
		const char *old = json_get_str(json_get(reply.metadata, "config"), values.items[i].key);

		strmap_set(&before, values.items[i].key, old ? old : "");
	}
	body = config_body(&values);
	r = api_do(a, "PATCH", "/1.0", body, NULL, err);
	if (r < 0)
		return error_wrap(err, "Failed to update server configuration");
	undo_push(undo, "PATCH", "/1.0", config_body(&before));
	return 0;
}

/* Parts of LXD that do not exist here yet must not be dropped in silence. */
static int refuse_unsupported(const struct json *preseed, struct error *err)
{
	const struct json *networks = json_get(preseed, "networks");
	const struct json *cluster = json_get(preseed, "cluster");

	if (json_len(cluster) &&
	    !(json_get_str(cluster, "enabled") && streq(json_get_str(cluster, "enabled"), "false")))
		return error_set(err, 501, "The preseed names a cluster, which is not supported yet");
	for (size_t i = 0; i < json_len(networks); i++) {
		const char *project = json_get_str(json_at(networks, i), "project");

		if (!str_is_empty(project) && !streq(project, "default"))
			return error_set(err, 501,
					 "The preseed has a network in project \"%s\": all that this server can make "
					 "are in project \"default\"",
					 project);
	}
	return 0;
}

/* A member of the wrong type would be passed over as an empty one. */
static int check_shape(const struct json *preseed, struct error *err)
{
	static const struct {
		const char *key;
		enum json_kind kind;
		const char *want;
	} members[] = {
		{"config", JSON_OBJECT, "a mapping"},    {"networks", JSON_ARRAY, "a list"},
		{"storage_pools", JSON_ARRAY, "a list"}, {"profiles", JSON_ARRAY, "a list"},
		{"projects", JSON_ARRAY, "a list"},      {"cluster", JSON_OBJECT, "a mapping"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const struct json *value = json_get(preseed, members[i].key);

		if (value && json_kind(value) != JSON_NULL && json_kind(value) != members[i].kind)
			return error_set(err, 400, "Failed to parse the preseed: %s must be %s", members[i].key,
					 members[i].want);
	}
	return 0;
}

static int apply_all(struct api *a, const struct json *preseed, struct undo *undo, struct error *err)
{
	int r = apply_server_config(a, json_get(preseed, "config"), undo, err);

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(kinds); i++) {
		const struct json *list = json_get(preseed, kinds[i].list);

		for (size_t k = 0; r >= 0 && k < json_len(list); k++)
			r = apply_item(a, &kinds[i], json_at(list, k), undo, err);
	}
	return r;
}

int preseed_apply(struct api *a, const struct json *preseed, struct error *err)
{
	CLEANUP(undo_done) struct undo undo = {0};
	int r;

	if (json_kind(preseed) != JSON_OBJECT && json_kind(preseed) != JSON_NULL)
		return error_set(err, 400, "Failed to parse the preseed: it must be a mapping");
	r = check_shape(preseed, err);
	if (r >= 0)
		r = refuse_unsupported(preseed, err);
	if (r < 0)
		return r;
	r = apply_all(a, preseed, &undo, err);
	if (r < 0)
		undo_run(&undo, a);
	return r;
}

/* ---- dump ---- */

static const struct dump {
	const char *name, *url;
	const char *fields[6]; /* of each object */
	const char *project;   /* a field of this value is added; NULL: none */
	const char *extension; /* without it the server knows no such objects; NULL: every server does */
} dumps[] = {
	{"networks", "/1.0/networks", {"config", "description", "name", "type"}, "default", "network"},
	{"storage_pools", "/1.0/storage-pools", {"config", "description", "name", "driver"}, NULL, NULL},
	{"profiles", "/1.0/profiles", {"config", "description", "devices", "name"}, NULL, NULL},
	{"projects", "/1.0/projects", {"config", "description", "name"}, NULL, NULL},
};

static void dump_object(const struct json *object, const struct dump *d, struct jsonw *w)
{
	jsonw_object_begin(w);
	for (size_t k = 0; d->fields[k]; k++) {
		auto_free char *text = json_to_text(json_get(object, d->fields[k]));

		jsonw_kv_raw(w, d->fields[k], text);
	}
	if (d->project)
		jsonw_kv_str(w, "project", d->project);
	jsonw_object_end(w);
}

/* Interfaces that are only seen are no part of what was set up. */
static bool is_unmanaged(const struct json *object)
{
	const struct json *managed = json_get(object, "managed");

	return managed && !json_is_true(managed);
}

static int dump_list(struct api *a, const struct dump *d, struct jsonw *w, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *full = xasprintf("%s?recursion=1", d->url);
	int r = api_get(a, full, &reply, err);

	if (r < 0)
		return r;
	jsonw_key(w, d->name);
	jsonw_array_begin(w);
	for (size_t i = 0; i < json_len(reply.metadata); i++)
		if (!is_unmanaged(json_at(reply.metadata, i)))
			dump_object(json_at(reply.metadata, i), d, w);
	jsonw_array_end(w);
	return 0;
}

int preseed_dump(struct api *a, struct strbuf *out, struct error *err)
{
	auto_api_reply struct api_reply server = API_REPLY_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_json struct json *j = NULL;
	auto_free char *config = NULL;
	struct jsonw w = JSONW(&b);
	int r;

	r = api_get(a, "/1.0", &server, err);
	if (r < 0)
		return r;
	config = json_to_text(json_get(server.metadata, "config"));
	jsonw_object_begin(&w);
	jsonw_kv_raw(&w, "config", config);
	for (size_t i = 0; i < ARRAY_SIZE(dumps); i++) {
		if (dumps[i].extension && !api_has_extension(server.metadata, dumps[i].extension)) {
			jsonw_kv_raw(&w, dumps[i].name, "[]");
			continue;
		}
		r = dump_list(a, &dumps[i], &w, err);
		if (r < 0)
			return r;
	}
	jsonw_object_end(&w);
	r = json_parse(strbuf_str(&b), b.len, &j, err);
	return r < 0 ? r : yaml_write(j, 0, out, err);
}
