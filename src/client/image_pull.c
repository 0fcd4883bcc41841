/* What a server must be told to fetch an image from another one. */
#include "client/image_pull.h"

#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "client/image.h"
#include "client/remote.h"

#define PEM_MAX (1024 * 1024)

void image_pull_done(struct image_pull *p)
{
	free(p->fingerprint);
	free(p->alias);
	free(p->protocol);
	free(p->certificate);
	if (p->secret)
		explicit_bzero(p->secret, strlen(p->secret));
	free(p->secret);
	free(p->project);
	strv_done(&p->servers);
	*p = IMAGE_PULL_INIT;
}

static bool is_alias_of(const struct json *image, const char *name)
{
	const struct json *aliases = json_get(image, "aliases");

	for (size_t i = 0; i < json_len(aliases); i++) {
		const char *alias = json_get_str(json_at(aliases, i), "name");

		if (alias && streq(alias, name))
			return true;
	}
	return false;
}

/* The remote's own address first, then those that the server says it has. */
static int find_servers(struct cli *c, const struct target *from, struct api *api, struct image_pull *p,
			struct error *err)
{
	const struct strmap *remote = mapmap_get(&c->config->remotes, from->remote);
	auto_remote_address struct remote_address address = REMOTE_ADDRESS_INIT;
	auto_api_reply struct api_reply server = API_REPLY_INIT;
	const struct json *env, *list;
	int r;

	r = remote_address_parse(strmap_get_or(remote, "addr", "unix://"), 443, false, &address, err);
	if (r >= 0)
		r = api_get(api, "/1.0", &server, err);
	if (r < 0)
		return r;
	if (!address.socket)
		strv_take(&p->servers, remote_address_url(&address));
	env = json_get(server.metadata, "environment");
	list = json_get(env, "addresses");
	for (size_t i = 0; i < json_len(list); i++) {
		const char *at = json_str(json_at(list, i));
		auto_free char *url = at ? xasprintf("https://%s", at) : NULL;

		if (at && *at != ':' && !strv_contains(&p->servers, url))
			strv_add(&p->servers, url);
	}
	if (address.socket)
		p->certificate = xstrdup_null(json_get_str(env, "certificate"));
	if (!p->servers.len)
		return error_set(err, 400, "The source server isn't listening on the network");
	return 0;
}

static int read_pin(struct cli *c, const char *remote, struct image_pull *p, struct error *err)
{
	auto_free char *path = cli_config_pin_path(c->config, remote);
	auto_strbuf struct strbuf pem = STRBUF_INIT;
	auto_error struct error e = ERROR_INIT;
	int r = file_read_at(AT_FDCWD, path, PEM_MAX, &pem, &e);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return error_move(err, &e);
	free(p->certificate);
	p->certificate = strbuf_take(&pem);
	return 0;
}

/* A private image is let out once, to whom has this. */
static int make_secret(struct api *api, struct image_pull *p, struct error *err)
{
	auto_free char *url = cli_url("/1.0/images/%s/secret", p->fingerprint);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	const char *secret;
	int r = api_call(api, "POST", url, NULL, NULL, &reply, err);

	if (r < 0)
		return r;
	secret = json_get_str(json_get(reply.metadata, "metadata"), "secret");
	if (str_is_empty(secret))
		return error_set(err, 500, "The source server made no secret for the image");
	p->secret = xstrdup(secret);
	return 0;
}

static int prepare_lxd(struct cli *c, struct target *from, const struct target *dest, struct image_pull *p,
		       struct error *err)
{
	auto_image_source struct image_source source = IMAGE_SOURCE_INIT;
	auto_json struct json *image = NULL;
	int r;

	r = image_source_open(c, from, &source, err);
	if (r >= 0)
		r = image_source_find(&source, from->name, &image, err);
	if (r < 0)
		return r;
	p->fingerprint = xstrdup_null(json_get_str(image, "fingerprint"));
	if (!image_is_fingerprint(p->fingerprint))
		return error_set(err, 500, "The server sent no fingerprint for image \"%s\"", from->name);
	if (source.api == dest->api)
		return 0;
	p->protocol = xstrdup("lxd");
	p->is_public = json_is_true(json_get(image, "public"));
	if (p->is_public && is_alias_of(image, from->name))
		p->alias = xstrdup(from->name);
	if (source.api->project && !streq(source.api->project, "default"))
		p->project = xstrdup(source.api->project);
	r = find_servers(c, from, source.api, p, err);
	if (r >= 0)
		r = read_pin(c, from->remote, p, err);
	return r < 0 || p->is_public ? r : make_secret(source.api, p, err);
}

int image_pull_servers(struct cli *c, const struct target *t, struct api *api, struct image_pull *ret,
		       struct error *err)
{
	int r = find_servers(c, t, api, ret, err);

	return r < 0 ? r : read_pin(c, t->remote, ret, err);
}

int image_pull_prepare(struct cli *c, struct target *from, const struct target *dest, struct image_pull *ret,
		       struct error *err)
{
	const struct strmap *remote = mapmap_get(&c->config->remotes, from->remote);

	if (!*from->name)
		return error_set(err, 400, "Missing image name");
	if (!streq(strmap_get_or(remote, "protocol", "lxd"), "simplestreams"))
		return prepare_lxd(c, from, dest, ret, err);
	ret->protocol = xstrdup("simplestreams");
	ret->alias = xstrdup(from->name);
	ret->is_public = true;
	strv_add(&ret->servers, strmap_get_or(remote, "addr", ""));
	return 0;
}

void image_pull_write(const struct image_pull *p, const char *server, struct jsonw *w)
{
	jsonw_kv_str(w, "type", "image");
	jsonw_kv_str(w, "fingerprint", p->alias ? "" : p->fingerprint);
	if (!server)
		return;
	if (p->alias)
		jsonw_kv_str(w, "alias", p->alias);
	jsonw_kv_str(w, "mode", "pull");
	jsonw_kv_str(w, "server", server);
	jsonw_kv_str(w, "protocol", p->protocol);
	jsonw_kv_str(w, "certificate", p->certificate);
	if (p->secret)
		jsonw_kv_str(w, "secret", p->secret);
	if (p->project)
		jsonw_kv_str(w, "project", p->project);
}
