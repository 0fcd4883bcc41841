/* Image servers of the simplestreams kind, as the client shows them. */
#include "client/streams.h"

#include <string.h>
#include <sys/utsname.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/remote.h"

#define REDIRECTS_MAX 5

/* ---- fetching ---- */

struct place {
	struct dial_target how;
	char *path; /* of the URL, "" or "/..." */
};

static void place_done(struct place *p)
{
	dial_target_done(&p->how);
	free(p->path);
}

static int append(void *arg, const void *data, size_t len, struct error *err)
{
	struct strbuf *b = arg;

	strbuf_append_len(b, data, len);
	return b->truncated ? error_set(err, 400, "The image server's list is larger than %zu bytes", b->max) : 0;
}

/* Go where the answer points to: another https URL, or another path on the same server. */
static int follow(struct place *at, const char *location, struct error *err)
{
	struct dial_target to = DIAL_TARGET_INIT;
	char *path = NULL;
	int r;

	if (*location == '/' && location[1] != '/') {
		free(at->path);
		at->path = xstrdup(location);
		return 0;
	}
	r = dial_target_parse(location, 443, &to, &path, err);
	if (r < 0)
		return r;
	to.flags = at->how.flags;
	to.proxy = dial_proxy_from_env(to.host, to.port);
	place_done(at);
	*at = (struct place){.how = to, .path = path};
	return 0;
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static int fetch(const struct place *from, const char *path, size_t max, struct strbuf *ret, struct error *err)
{
	CLEANUP(place_done) struct place at = {.path = streams_url_path(from->path, path)};

	dial_target_copy(&at.how, &from->how);
	ret->max = max;
	for (unsigned i = 0; i <= REDIRECTS_MAX; i++) {
		auto_http_client struct http_client *http = http_client_new_remote(&at.how);
		auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
		const char *headers[] = {"Accept: application/json", "Connection: close", NULL};
		struct http_client_request req = {
			.method = "GET", .path = at.path, .headers = headers, .sink = append, .sink_arg = ret};
		const char *location;
		int r = http_client_send(http, &req, &resp, err);

		if (r < 0)
			return r;
		if (resp.head.status == 200)
			return 0;
		location = strmap_get(&resp.head.headers, "location");
		if (!is_redirect(resp.head.status) || !location)
			return error_set(err, resp.head.status == 404 ? 404 : 503,
					 "Unable to fetch https://%s%s: status %d", http_client_where(http), at.path,
					 resp.head.status);
		r = follow(&at, location, err);
		if (r < 0)
			return r;
	}
	return error_set(err, 503, "Unable to fetch %s: too many redirections", path);
}

int streams_load(struct cli *c, const char *remote, struct streams_list *ret, struct error *err)
{
	CLEANUP(place_done) struct place base = {0};
	auto_strbuf struct strbuf index = STRBUF_INIT;
	auto_strv struct strv products = STRV_INIT;
	int r;

	r = remote_reach(c->config, remote, &base.how, &base.path, err);
	if (r >= 0)
		r = fetch(&base, STREAMS_INDEX, STREAMS_INDEX_MAX, &index, err);
	if (r >= 0)
		r = streams_parse_index(strbuf_str(&index), index.len, &products, err);
	for (size_t i = 0; r >= 0 && i < products.len; i++) {
		auto_strbuf struct strbuf text = STRBUF_INIT;

		r = fetch(&base, products.items[i], STREAMS_PRODUCTS_MAX, &text, err);
		if (r >= 0)
			r = streams_parse_products(strbuf_str(&text), text.len, ret, err);
	}
	return r < 0 ? error_wrap(err, "Failed parsing stream") : 0;
}

/* ---- showing ---- */

const char *streams_default_os(const char *addr)
{
	return startswith(addr, "https://cloud-images.ubuntu.com") ? "ubuntu" : NULL;
}

const char *streams_local_architecture(void)
{
	struct utsname u;
	const char *name = uname(&u) == 0 ? streams_architecture(u.machine) : NULL;

	return name ? name : "x86_64";
}

/* Names that newer images have taken; one set for each kind of image. */
struct taken {
	struct strmap container, virtual_machine;
};

static void taken_done(struct taken *t)
{
	strmap_done(&t->container);
	strmap_done(&t->virtual_machine);
}

static void write_alias(struct jsonw *w, struct taken *taken, const struct streams_image *img, const char *name)
{
	struct strmap *names = streq(img->type, "container") ? &taken->container : &taken->virtual_machine;

	if (strmap_get(names, name))
		return;
	strmap_set(names, name, img->fingerprint);
	jsonw_object_begin(w);
	jsonw_kv_str(w, "name", name);
	jsonw_kv_str(w, "description", "");
	jsonw_object_end(w);
}

static void write_aliases(struct jsonw *w, struct taken *taken, const struct streams_image *img,
			  const char *architecture, const char *os)
{
	auto_free char *prefix = os ? xasprintf("%s/", os) : NULL;

	jsonw_key(w, "aliases");
	jsonw_array_begin(w);
	for (size_t i = 0; i < img->aliases.len; i++) {
		const char *name = img->aliases.items[i];
		const char *rest = prefix ? startswith(name, prefix) : NULL;
		auto_free char *full = xasprintf("%s/%s", rest ? rest : name,
						 strmap_get_or(&img->properties, "architecture", img->architecture));

		if (streq(img->architecture, architecture))
			write_alias(w, taken, img, rest ? rest : name);
		write_alias(w, taken, img, full);
	}
	jsonw_array_end(w);
}

static void write_image(struct jsonw *w, struct taken *taken, const struct streams_image *img, const char *architecture,
			const char *os)
{
	auto_free char *file = cli_url_last(img->meta.path);

	jsonw_object_begin(w);
	jsonw_kv_bool(w, "auto_update", false);
	jsonw_kv_strmap(w, "properties", &img->properties);
	jsonw_kv_bool(w, "public", true);
	jsonw_kv_time(w, "expires_at", img->expires_ns);
	jsonw_kv_null(w, "profiles");
	write_aliases(w, taken, img, architecture, os);
	jsonw_kv_str(w, "architecture", img->architecture);
	jsonw_kv_bool(w, "cached", false);
	jsonw_kv_str(w, "filename", file);
	jsonw_kv_str(w, "fingerprint", img->fingerprint);
	jsonw_kv_uint(w, "size", streams_image_size(img));
	jsonw_kv_str(w, "type", img->type);
	jsonw_kv_time(w, "created_at", img->created_ns);
	jsonw_kv_str(w, "last_used_at", "0001-01-01T00:00:00Z");
	jsonw_kv_time(w, "uploaded_at", img->created_ns);
	jsonw_object_end(w);
}

int streams_to_json(const struct streams_list *l, const char *architecture, const char *os, struct json **ret,
		    struct error *err)
{
	CLEANUP(taken_done) struct taken taken = {0};
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	for (size_t i = 0; i < l->len; i++)
		write_image(&w, &taken, l->items[i], architecture, os);
	jsonw_array_end(&w);
	return json_parse(strbuf_str(&b), b.len, ret, err);
}
