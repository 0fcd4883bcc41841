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
	const char *noun;
	bool has_devices;
	const char *const *create_only; /* members sent on creation besides name, description, config, devices */
} kinds[] = {
	{"storage_pools", "/1.0/storage-pools", "storage pool", false, (const char *const[]){"driver", NULL}},
	{"profiles", "/1.0/profiles", "profile", true, (const char *const[]){NULL}},
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
	r = json_to_mapmap(json_get(old, "devices"), "devices", &devices, err);
	if (r >= 0)
		r = json_to_mapmap(json_get(new, "devices"), "devices", &new_devices, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < new_devices.len; i++)
		strmap_merge(mapmap_ensure(&devices, new_devices.items[i].key), &new_devices.items[i].map);
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
	for (size_t i = 0; k->create_only[i]; i++)
		jsonw_kv_str(&w, k->create_only[i], json_get_str(item, k->create_only[i]));
	jsonw_object_end(&w);
	/* join both objects */
	strbuf_truncate(&b, b.len - 1);
	strbuf_appendf(&b, ",%s", body + 1);
	r = api_do(a, "POST", k->url, strbuf_str(&b), NULL, err);
	return r < 0 ? error_wrap(err, "Failed to create %s \"%s\"", k->noun, name) : 0;
}

static int update(struct api *a, const struct kind *k, const struct json *item, const char *url,
		  const struct api_reply *old, struct undo *undo, struct error *err)
{
	const char *name = json_get_str(item, "name");
	auto_free char *body = NULL;
	auto_free char *before = NULL;
	int r;

	if (json_get_str(item, "driver") && json_get_str(old->metadata, "driver") &&
	    !streq(json_get_str(item, "driver"), json_get_str(old->metadata, "driver")))
		return error_set(err, 400, "Storage pool \"%s\" is of type \"%s\" instead of \"%s\"", name,
				 json_get_str(old->metadata, "driver"), json_get_str(item, "driver"));
	r = merged_body(k, old->metadata, item, &body, err);
	if (r >= 0)
		r = merged_body(k, old->metadata, NULL, &before, err);
	if (r < 0)
		return r;
	if (streq(body, before))
		return 0;
	r = api_do(a, "PUT", url, body, old->etag, err);
	if (r < 0)
		return error_wrap(err, "Failed to update %s \"%s\"", k->noun, name);
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
	const struct json *projects = json_get(preseed, "projects");
	const struct json *cluster = json_get(preseed, "cluster");

	if (json_len(json_get(preseed, "networks")))
		return error_set(err, 501, "The preseed names networks, which are not supported yet");
	if (json_len(cluster) &&
	    !(json_get_str(cluster, "enabled") && streq(json_get_str(cluster, "enabled"), "false")))
		return error_set(err, 501, "The preseed names a cluster, which is not supported yet");
	for (size_t i = 0; i < json_len(projects); i++) {
		const char *name = json_get_str(json_at(projects, i), "name");

		if (!name || !streq(name, "default"))
			return error_set(err, 501, "The preseed names project \"%s\": only default is supported yet",
					 name ? name : "");
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

static int dump_list(struct api *a, const char *url, const char *const *fields, struct jsonw *w, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *full = xasprintf("%s?recursion=1", url);
	int r = api_get(a, full, &reply, err);

	if (r < 0)
		return r;
	jsonw_array_begin(w);
	for (size_t i = 0; i < json_len(reply.metadata); i++) {
		jsonw_object_begin(w);
		for (size_t k = 0; fields[k]; k++) {
			auto_free char *text = json_to_text(json_get(json_at(reply.metadata, i), fields[k]));

			jsonw_kv_raw(w, fields[k], text);
		}
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
	return 0;
}

int preseed_dump(struct api *a, struct strbuf *out, struct error *err)
{
	static const char *const pool_fields[] = {"config", "description", "name", "driver", NULL};
	static const char *const profile_fields[] = {"config", "description", "devices", "name", NULL};
	static const char *const project_fields[] = {"config", "description", "name", NULL};
	static const struct {
		const char *name, *url;
		const char *const *fields;
	} lists[] = {
		{"storage_pools", "/1.0/storage-pools", pool_fields},
		{"profiles", "/1.0/profiles", profile_fields},
		{"projects", "/1.0/projects", project_fields},
	};
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
	jsonw_kv_raw(&w, "networks", "[]");
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		jsonw_key(&w, lists[i].name);
		r = dump_list(a, lists[i].url, lists[i].fields, &w, err);
		if (r < 0)
			return r;
	}
	jsonw_object_end(&w);
	r = json_parse(strbuf_str(&b), b.len, &j, err);
	return r < 0 ? r : yaml_write(j, 0, out, err);
}
