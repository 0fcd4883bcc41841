/* Plans of `lxd init`, and a look at the server that they are for. */
#include "admin/plan.h"

#include <stdio.h>
#include <string.h>

#include "admin/preseed.h"
#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/yamltext.h"

void init_plan_done(struct init_plan *p)
{
	free(p->https_address);
	if (p->trust_password)
		explicit_bzero(p->trust_password, strlen(p->trust_password));
	free(p->trust_password);
	free(p->pool);
	free(p->driver);
	free(p->source);
	free(p->size);
	free(p->network);
	strmap_done(&p->network_config);
	strmap_done(&p->nic);
	*p = INIT_PLAN_INIT;
}

static void write_server_config(const struct init_plan *p, struct jsonw *w)
{
	auto_strmap struct strmap config = STRMAP_INIT;

	strmap_set(&config, "core.https_address", p->https_address);
	strmap_set(&config, "core.trust_password", p->trust_password);
	if (p->stale_images)
		strmap_set(&config, "images.auto_update_interval", "0");
	jsonw_kv_strmap(w, "config", &config);
}

static void write_network(const struct init_plan *p, struct jsonw *w)
{
	jsonw_key(w, "networks");
	jsonw_array_begin(w);
	if (p->network) {
		jsonw_object_begin(w);
		jsonw_kv_strmap(w, "config", &p->network_config);
		jsonw_kv_str(w, "description", "");
		jsonw_kv_str(w, "name", p->network);
		jsonw_kv_str(w, "type", "");
		jsonw_kv_str(w, "project", "default");
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
}

static void write_pool(const struct init_plan *p, struct jsonw *w)
{
	auto_strmap struct strmap config = STRMAP_INIT;

	jsonw_key(w, "storage_pools");
	jsonw_array_begin(w);
	if (p->driver) {
		strmap_set(&config, "source", p->source);
		strmap_set(&config, "size", p->size);
		jsonw_object_begin(w);
		jsonw_kv_strmap(w, "config", &config);
		jsonw_kv_str(w, "description", "");
		jsonw_kv_str(w, "name", p->pool);
		jsonw_kv_str(w, "driver", p->driver);
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
}

static void write_default_profile(const struct init_plan *p, struct jsonw *w)
{
	static const struct strmap no_config = STRMAP_INIT;
	auto_mapmap struct mapmap devices = MAPMAP_INIT;

	if (p->pool) {
		struct strmap *root = mapmap_ensure(&devices, "root");

		strmap_set(root, "type", "disk");
		strmap_set(root, "path", "/");
		strmap_set(root, "pool", p->pool);
	}
	if (p->nic.len)
		mapmap_set(&devices, "eth0", &p->nic);
	jsonw_key(w, "profiles");
	jsonw_array_begin(w);
	jsonw_object_begin(w);
	jsonw_kv_strmap(w, "config", &no_config);
	jsonw_kv_str(w, "description", "");
	jsonw_kv_mapmap(w, "devices", &devices);
	jsonw_kv_str(w, "name", "default");
	jsonw_object_end(w);
	jsonw_array_end(w);
}

static void write_plan(const struct init_plan *p, struct strbuf *out)
{
	struct jsonw w = JSONW(out);

	jsonw_object_begin(&w);
	write_server_config(p, &w);
	write_network(p, &w);
	write_pool(p, &w);
	write_default_profile(p, &w);
	jsonw_kv_raw(&w, "projects", "[]");
	jsonw_kv_raw(&w, "cluster", "null");
	jsonw_object_end(&w);
}

int init_plan_apply(struct api *a, const struct init_plan *p, bool print, struct error *err)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strbuf struct strbuf yaml = STRBUF_INIT;
	auto_json struct json *j = NULL;
	int r;

	write_plan(p, &text);
	r = json_parse(strbuf_str(&text), text.len, &j, err);
	if (r >= 0 && print) {
		r = yaml_write(j, YAML_KEEP_NULL, &yaml, err);
		puts(strbuf_str(&yaml));
		fflush(stdout);
	}
	return r < 0 ? r : preseed_apply(a, j, err);
}

/* ---- the server ---- */

void init_server_done(struct init_server *s)
{
	free(s->pool);
	api_reply_done(&s->networks);
	api_reply_done(&s->pools);
	*s = INIT_SERVER_INIT;
}

static int note_device(const char *name, const struct json *device, void *arg)
{
	struct init_server *s = arg;
	const char *type = json_get_str(device, "type");

	s->has_root = s->has_root || streq(name, "root");
	s->has_nic = s->has_nic || (type && streq(type, "nic"));
	return 0;
}

int init_server_read(struct api *a, struct init_server *ret, struct error *err)
{
	auto_api_reply struct api_reply server = API_REPLY_INIT;
	auto_api_reply struct api_reply profile = API_REPLY_INIT;
	const struct json *devices;
	int r;

	r = api_get(a, "/1.0", &server, err);
	if (r >= 0)
		r = api_get(a, "/1.0/storage-pools?recursion=1", &ret->pools, err);
	if (r >= 0)
		r = api_get(a, "/1.0/profiles/default", &profile, err);
	if (r < 0)
		return r;
	if (json_len(ret->pools.metadata))
		ret->pool = xstrdup_null(json_get_str(json_at(ret->pools.metadata, 0), "name"));
	devices = json_get(profile.metadata, "devices");
	if (json_kind(devices) == JSON_OBJECT)
		json_each(devices, note_device, ret);
	ret->has_networks = api_has_extension(server.metadata, "network");
	return ret->has_networks ? api_get(a, "/1.0/networks?recursion=1", &ret->networks, err) : 0;
}

static const struct json *find_named(const struct json *list, const char *name)
{
	for (size_t i = 0; i < json_len(list); i++) {
		const char *other = json_get_str(json_at(list, i), "name");

		if (other && streq(other, name))
			return json_at(list, i);
	}
	return NULL;
}

const struct json *init_server_network(const struct init_server *s, const char *name)
{
	return find_named(s->networks.metadata, name);
}

const struct json *init_server_pool(const struct init_server *s, const char *name)
{
	return find_named(s->pools.metadata, name);
}
