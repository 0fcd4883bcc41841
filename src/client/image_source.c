/* Where images are looked up: a server that speaks the API, private or public, or a simplestreams server. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/image.h"
#include "client/remote.h"
#include "client/streams.h"

bool image_is_fingerprint(const char *text)
{
	return text && strlen(text) == SHA256_HEX && strspn(text, "0123456789abcdef") == SHA256_HEX;
}

const char *image_extension(const char *server_name)
{
	static const char *const known[] = {".tar",     ".tar.gz",  ".tgz",     ".tar.xz",   ".txz",
					    ".tar.bz2", ".tar.zst", ".tar.lz4", ".tar.lzma", ".squashfs",
					    ".qcow2",   ".img",     ".root",    ".rootfs"};

	for (size_t i = 0; server_name && i < ARRAY_SIZE(known); i++)
		if (endswith(server_name, known[i]))
			return known[i];
	return "";
}

void image_source_done(struct image_source *s)
{
	json_free(s->images);
	*s = IMAGE_SOURCE_INIT;
}

static int load_streams(struct cli *c, const struct target *t, const char *addr, struct image_source *ret,
			struct error *err)
{
	auto_streams_list struct streams_list list = STREAMS_LIST_INIT;
	int r = streams_load(c, t->remote, &list, err);

	return r < 0 ? r
		     : streams_to_json(&list, streams_local_architecture(), streams_default_os(addr), &ret->images,
				       err);
}

int image_source_open(struct cli *c, struct target *t, struct image_source *ret, struct error *err)
{
	const struct strmap *remote = mapmap_get(&c->config->remotes, t->remote);

	ret->is_public = strmap_get_bool(remote, "public", false);
	ret->type = option_bool(c->options, "vm") ? "virtual-machine" : "container";
	if (streq(strmap_get_or(remote, "protocol", "lxd"), "simplestreams"))
		return load_streams(c, t, strmap_get_or(remote, "addr", ""), ret, err);
	ret->api = t->api;
	return ret->api ? 0 : remote_open(c, t->remote, &ret->api, err);
}

static int copy_json(const struct json *j, struct json **ret, struct error *err)
{
	auto_free char *text = json_to_text(j);

	return json_parse(text, strlen(text), ret, err);
}

int image_source_list(const struct image_source *s, struct json **ret, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r;

	if (s->images)
		return copy_json(s->images, ret, err);
	r = api_get(s->api, "/1.0/images?recursion=1", &reply, err);
	return r < 0 ? r : copy_json(reply.metadata, ret, err);
}

static void write_aliases(struct jsonw *w, const struct json *image)
{
	const struct json *aliases = json_get(image, "aliases");

	for (size_t i = 0; i < json_len(aliases); i++) {
		jsonw_object_begin(w);
		jsonw_kv_str(w, "description", "");
		jsonw_kv_str(w, "target", json_get_str(image, "fingerprint"));
		jsonw_kv_str(w, "name", json_get_str(json_at(aliases, i), "name"));
		jsonw_kv_str(w, "type", json_get_str(image, "type"));
		jsonw_object_end(w);
	}
}

int image_source_aliases(const struct image_source *s, struct json **ret, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r;

	if (!s->images) {
		r = api_get(s->api, "/1.0/images/aliases?recursion=1", &reply, err);
		return r < 0 ? r : copy_json(reply.metadata, ret, err);
	}
	jsonw_array_begin(&w);
	for (size_t i = 0; i < json_len(s->images); i++)
		write_aliases(&w, json_at(s->images, i));
	jsonw_array_end(&w);
	return json_parse(strbuf_str(&b), b.len, ret, err);
}

static bool has_alias(const struct json *image, const char *name)
{
	const struct json *aliases = json_get(image, "aliases");

	for (size_t i = 0; i < json_len(aliases); i++)
		if (streq(json_get_str(json_at(aliases, i), "name"), name))
			return true;
	return false;
}

/* By alias among images of the wanted type, else by the beginning of a fingerprint that only one has. */
static const struct json *find_in_list(const struct image_source *s, const char *name)
{
	const struct json *found = NULL;
	size_t matches = 0;

	for (size_t i = 0; i < json_len(s->images); i++) {
		const struct json *image = json_at(s->images, i);

		if (streq(json_get_str(image, "type"), s->type) && has_alias(image, name))
			return image;
		if (startswith(json_get_str(image, "fingerprint"), name)) {
			found = image;
			matches++;
		}
	}
	return matches == 1 ? found : NULL;
}

int image_source_find(const struct image_source *s, const char *name, struct json **ret, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *fingerprint = NULL;
	auto_free char *url = NULL;
	const struct json *image;
	int r;

	if (!*name)
		return error_set(err, 400, "Missing image name");
	if (s->images) {
		image = find_in_list(s, name);
		return image ? copy_json(image, ret, err)
			     : error_set(err, 404, "Failed getting image: The requested image couldn't be found");
	}
	r = image_resolve(s->api, name, &fingerprint, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/images/%s", fingerprint);
	r = api_get(s->api, url, &reply, err);
	return r < 0 ? r : copy_json(reply.metadata, ret, err);
}
