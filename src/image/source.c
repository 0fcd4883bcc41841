#include "image/source.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "http/client.h"
#include "http/dial.h"
#include "http/multipart_reply.h"
#include "http/simplestreams.h"

#define REPLY_MAX (4u * 1024 * 1024)
#define MULTIPART_SLACK (256u * 1024) /* what a multipart body may hold beside the files */

struct image_remote {
	struct image_source src;
	struct fetch *fetch;
	struct image_found found;
	/* simplestreams: the two files; lxd and direct: the address of all */
	struct streams_file meta, root;
	char *url;
};

/* --- sources as text --- */

void image_source_done(struct image_source *s)
{
	free(s->server);
	free(s->protocol);
	free(s->certificate);
	free(s->alias);
	if (s->secret)
		explicit_bzero(s->secret, strlen(s->secret));
	free(s->secret);
	free(s->image_type);
	free(s->project);
	*s = (struct image_source){0};
}

void image_source_copy(struct image_source *dst, const struct image_source *src)
{
	*dst = (struct image_source){
		.server = xstrdup_null(src->server),
		.protocol = xstrdup_null(src->protocol),
		.certificate = xstrdup_null(src->certificate),
		.alias = xstrdup_null(src->alias),
		.secret = xstrdup_null(src->secret),
		.image_type = xstrdup_null(src->image_type),
		.project = xstrdup_null(src->project),
	};
}

char *image_source_to_json(const struct image_source *s)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "alias", s->alias);
	jsonw_kv_str(&w, "certificate", s->certificate);
	jsonw_kv_str(&w, "protocol", s->protocol);
	jsonw_kv_str(&w, "server", s->server);
	jsonw_kv_str(&w, "image_type", s->image_type);
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

bool image_source_from_json(const char *text, struct image_source *ret)
{
	auto_json struct json *j = NULL;
	auto_error struct error err = ERROR_INIT;

	if (str_is_empty(text) || json_parse(text, strlen(text), &j, &err) < 0 || !json_get_str(j, "server"))
		return false;
	*ret = (struct image_source){
		.server = xstrdup(json_get_str(j, "server")),
		.protocol = xstrdup_null(json_get_str(j, "protocol")),
		.certificate = xstrdup_null(json_get_str(j, "certificate")),
		.alias = xstrdup_null(json_get_str(j, "alias")),
		.image_type = xstrdup_null(json_get_str(j, "image_type")),
	};
	return true;
}

/* --- LXD servers --- */

static bool is_fingerprint(const char *s)
{
	return s && strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* "?a=b&c=d" of what is not empty. */
static void add_query(struct strbuf *url, const char *key, const char *value)
{
	if (str_is_empty(value))
		return;
	strbuf_appendf(url, "%c%s=", strchr(url->data, '?') ? '&' : '?', key);
	url_escape(url, value);
}

static char *lxd_url(const struct image_source *src, const char *path, const char *name, const char *rest, bool secret)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	size_t len = strlen(src->server);

	while (len && src->server[len - 1] == '/')
		len--;
	strbuf_appendf(&b, "%.*s%s", (int)len, src->server, path);
	url_escape(&b, name);
	strbuf_append(&b, rest);
	add_query(&b, "project", src->project && !streq(src->project, "default") ? src->project : NULL);
	if (secret)
		add_query(&b, "secret", src->secret);
	return strbuf_take(&b);
}

/* The metadata of a reply; NULL for any failure that is no failure of the connection. */
static int lxd_get(struct image_remote *r, const char *url, struct json **ret_body, int *ret_status, struct error *err)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	int n = fetch_text(r->fetch, url, REPLY_MAX, &text, ret_status, err);

	if (n < 0)
		return n;
	n = json_parse(strbuf_str(&text), text.len, ret_body, err);
	return n < 0 ? error_wrap(err, "%s does not answer like a LXD server", r->src.server) : 0;
}

/* What the alias means there, or the name itself. */
static int lxd_resolve(struct image_remote *r, char **ret, struct error *err)
{
	auto_free char *url = lxd_url(&r->src, "/1.0/images/aliases/", r->src.alias, "", false);
	auto_json struct json *body = NULL;
	const char *target, *type;
	int status, n;

	if (is_fingerprint(r->src.alias)) {
		*ret = xstrdup(r->src.alias);
		return 0;
	}
	n = lxd_get(r, url, &body, &status, err);
	if (n < 0)
		return n;
	target = json_get_str(json_get(body, "metadata"), "target");
	type = json_get_str(json_get(body, "metadata"), "type");
	if (status == 200 && is_fingerprint(target) &&
	    (str_is_empty(type) || str_is_empty(r->src.image_type) || streq(type, r->src.image_type)))
		*ret = xstrdup(target);
	else
		*ret = xstrdup(r->src.alias);
	return 0;
}

static void read_aliases(const struct json *list, struct strv *ret)
{
	for (size_t i = 0; i < json_len(list); i++) {
		const char *name = json_get_str(json_at(list, i), "name");

		if (!str_is_empty(name))
			strv_add(ret, name);
	}
}

static int lxd_read_info(struct image_remote *r, const char *asked, const struct json *image, struct error *err)
{
	const char *fingerprint = json_get_str(image, "fingerprint"), *type = json_get_str(image, "type");
	int64_t size = json_int(json_get(image, "size"));
	struct image_found *f = &r->found;

	if (!is_fingerprint(fingerprint) || strncasecmp(fingerprint, asked, strlen(asked)) != 0)
		return error_set(err, 503, "%s answers for another image than the one asked for", r->src.server);
	if (type && streq(type, "virtual-machine"))
		return error_set(err, 400, "Virtual machine images are not supported on this server");
	memcpy(f->fingerprint, fingerprint, sizeof(f->fingerprint));
	f->filename = xstrdup_null(json_get_str(image, "filename"));
	f->size = size > 0 ? (uint64_t)size : 0;
	if (f->size > IMAGE_BYTES_MAX)
		return error_set(err, 413, "The image is larger than %llu GiB", IMAGE_BYTES_MAX >> 30);
	f->is_public = json_is_true(json_get(image, "public"));
	read_aliases(json_get(image, "aliases"), &f->aliases);
	return json_to_strmap(json_get(image, "properties"), "properties", &f->properties, err);
}

static int lxd_find(struct image_remote *r, struct error *err)
{
	auto_free char *name = NULL;
	auto_free char *url = NULL;
	auto_json struct json *body = NULL;
	const char *text;
	int status, n = lxd_resolve(r, &name, err);

	if (n < 0)
		return n;
	url = lxd_url(&r->src, "/1.0/images/", name, "", true);
	n = lxd_get(r, url, &body, &status, err);
	if (n < 0)
		return n;
	if (status != 200) {
		text = json_get_str(body, "error");
		return error_set(err, status == 404 || status == 403 ? 404 : 503, "%s",
				 str_is_empty(text) ? "Image not found" : text);
	}
	n = lxd_read_info(r, name, json_get(body, "metadata"), err);
	if (n < 0)
		return n;
	r->url = lxd_url(&r->src, "/1.0/images/", r->found.fingerprint, "/export", true);
	return 0;
}

/* The answer to an export: one file, or a multipart body with two. */
struct lxd_download {
	struct image_upload *up;
	struct multipart_reply multipart;
	bool is_multipart;
	unsigned parts;
	uint64_t written, max;
};

static int lxd_part(void *arg, const char *name, uint64_t offset, const void *data, size_t len, struct error *err)
{
	struct lxd_download *d = arg;
	enum image_part part;

	if (streq(name, "metadata") && !(d->parts & (1u << IMAGE_PART_ROOTFS)))
		part = IMAGE_PART_META;
	else if (streq(name, "rootfs") && (d->parts & (1u << IMAGE_PART_META)))
		part = IMAGE_PART_ROOTFS;
	else
		return error_set(err, 400, "Invalid multipart image: unexpected part \"%.100s\"", name);
	if (offset == 0 && len == 0) {
		if (d->parts & (1u << part))
			return error_set(err, 400, "Invalid multipart image: part \"%s\" twice", name);
		d->parts |= 1u << part;
	}
	d->written += len;
	if (d->written > d->max)
		return error_set(err, 503, "The server sends more than the %llu bytes of the image",
				 (unsigned long long)d->max);
	return len ? image_upload_write(d->up, part, data, len, err) : 0;
}

static int lxd_on_type(void *arg, const char *type, struct error *err)
{
	struct lxd_download *d = arg;

	d->is_multipart = multipart_reply_is_type(type);
	return d->is_multipart ? multipart_reply_init(&d->multipart, type, lxd_part, d, err) : 0;
}

static int lxd_on_data(void *arg, const void *data, size_t len, struct error *err)
{
	struct lxd_download *d = arg;

	if (d->is_multipart)
		return multipart_reply_feed(&d->multipart, data, len, err);
	d->written += len;
	if (d->written > d->max)
		return error_set(err, 503, "The server sends more than the %llu bytes of the image",
				 (unsigned long long)d->max);
	return image_upload_write(d->up, IMAGE_PART_META, data, len, err);
}

static int lxd_download(struct image_remote *r, struct image_upload *up, struct error *err)
{
	struct lxd_download d = {.up = up, .max = r->found.size ? r->found.size : IMAGE_BYTES_MAX};
	struct fetch_file file = {.label = "rootfs",
				  .size = r->found.size,
				  .max = d.max + MULTIPART_SLACK,
				  .on_type = lxd_on_type,
				  .fn = lxd_on_data,
				  .arg = &d,
				  .inexact = true};
	int n = fetch_file(r->fetch, r->url, &file, err);

	if (n == 0 && d.is_multipart)
		n = multipart_reply_finish(&d.multipart, err);
	if (n == 0 && d.is_multipart && d.parts != 3)
		n = error_set(err, 400, "Invalid multipart image: both \"metadata\" and \"rootfs\" are needed");
	multipart_reply_done(&d.multipart);
	if (n == 0 && r->found.size && d.written != r->found.size)
		n = error_set(err, 503, "The server sent %llu bytes of an image of %llu", (unsigned long long)d.written,
			      (unsigned long long)r->found.size);
	return n;
}

/* --- simplestreams --- */

static int streams_load(struct image_remote *r, struct streams_list *list, struct error *err)
{
	auto_free char *url = streams_url_path(r->src.server, STREAMS_INDEX);
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strv struct strv paths = STRV_INIT;
	int n = fetch_text(r->fetch, url, STREAMS_INDEX_MAX, &text, NULL, err);

	if (n == 0)
		n = streams_parse_index(strbuf_str(&text), text.len, &paths, err);
	for (size_t i = 0; n == 0 && i < paths.len; i++) {
		auto_free char *products = streams_url_path(r->src.server, paths.items[i]);

		n = fetch_text(r->fetch, products, STREAMS_PRODUCTS_MAX, &text, NULL, err);
		if (n == 0)
			n = streams_parse_products(strbuf_str(&text), text.len, list, err);
	}
	return n;
}

static void move_file(struct streams_file *dst, const struct streams_file *src)
{
	*dst = *src;
	dst->path = xstrdup_null(src->path);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int streams_find_image(struct image_remote *r, const char *architecture, struct error *err)
{
	auto_streams_list struct streams_list list = STREAMS_LIST_INIT;
	struct image_found *f = &r->found;
	const struct streams_image *img;
	int n = streams_load(r, &list, err);

	if (n < 0)
		return n;
	if (!str_is_empty(r->src.image_type) && !streq(r->src.image_type, "container"))
		return error_set(err, 400, "Virtual machine images are not supported on this server");
	img = streams_find(&list, r->src.alias, architecture, r->src.image_type);
	if (!img)
		return error_set(err, 404, "The requested image couldn't be found");
	if (!streq(img->type, "container"))
		return error_set(err, 400, "Virtual machine images are not supported on this server");
	memcpy(f->fingerprint, img->fingerprint, sizeof(f->fingerprint));
	f->filename = xstrdup(base_name(img->meta.path));
	f->size = streams_image_size(img);
	f->expires_ns = img->expires_ns;
	f->is_public = true;
	strmap_copy(&f->properties, &img->properties);
	strv_copy(&f->aliases, &img->aliases);
	move_file(&r->meta, &img->meta);
	move_file(&r->root, &img->root);
	return 0;
}

struct streams_download {
	struct image_upload *up;
	enum image_part part;
	struct sha256 hash;
};

static int streams_on_data(void *arg, const void *data, size_t len, struct error *err)
{
	struct streams_download *d = arg;

	sha256_update(&d->hash, data, len);
	return image_upload_write(d->up, d->part, data, len, err);
}

static int streams_fetch(struct image_remote *r, const struct streams_file *file, struct image_upload *up,
			 enum image_part part, struct error *err)
{
	struct streams_download d = {.up = up, .part = part};
	auto_free char *url = streams_url_path(r->src.server, file->path);
	struct fetch_file what = {.label = part == IMAGE_PART_META ? "metadata" : "rootfs",
				  .size = file->size,
				  .max = file->size,
				  .fn = streams_on_data,
				  .arg = &d};
	char hash[SHA256_HEX + 1];
	int n;

	sha256_init(&d.hash);
	n = fetch_file(r->fetch, url, &what, err);
	if (n < 0)
		return n;
	sha256_final_hex(&d.hash, hash);
	if (!streq(hash, file->sha256))
		return error_set(err, 503, "Hash mismatch for %s: %s != %s", url, hash, file->sha256);
	return 0;
}

static int streams_download(struct image_remote *r, struct image_upload *up, struct error *err)
{
	int n = streams_fetch(r, &r->meta, up, IMAGE_PART_META, err);

	if (n == 0 && r->root.path)
		n = streams_fetch(r, &r->root, up, IMAGE_PART_ROOTFS, err);
	return n;
}

/* --- one file --- */

static int direct_find(struct image_remote *r, struct error *err)
{
	static const char *const headers[] = {"User-Agent: LXD 5.0.2", "LXD-Server-Architectures: x86_64, i686",
					      "LXD-Server-Version: 5.0.2", NULL};
	auto_strmap struct strmap head = STRMAP_INIT;
	const char *hash, *url;
	auto_free char *lower = NULL;
	int n = fetch_head(r->fetch, r->src.server, headers, &head, err);

	if (n < 0)
		return n;
	hash = strmap_get(&head, "lxd-image-hash");
	url = strmap_get(&head, "lxd-image-url");
	if (str_is_empty(hash))
		return error_set(err, 400, "Missing LXD-Image-Hash header");
	if (str_is_empty(url))
		return error_set(err, 400, "Missing LXD-Image-URL header");
	lower = xstrdup(hash);
	for (char *p = lower; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (!is_fingerprint(lower))
		return error_set(err, 400, "Invalid LXD-Image-Hash header \"%.100s\"", hash);
	memcpy(r->found.fingerprint, lower, sizeof(r->found.fingerprint));
	r->url = xstrdup(url);
	r->found.filename = xstrndup(base_name(url), strcspn(base_name(url), "?#"));
	return 0;
}

static int direct_on_data(void *arg, const void *data, size_t len, struct error *err)
{
	return image_upload_write(arg, IMAGE_PART_META, data, len, err);
}

static int direct_download(struct image_remote *r, struct image_upload *up, struct error *err)
{
	struct fetch_file file = {.label = "rootfs", .max = IMAGE_BYTES_MAX, .fn = direct_on_data, .arg = up};

	return fetch_file(r->fetch, r->url, &file, err);
}

/* --- all of them --- */

static int find(struct image_remote *r, const char *architecture, struct error *err)
{
	if (streq(r->src.protocol, "direct"))
		return direct_find(r, err);
	if (str_is_empty(r->src.alias))
		return error_set(err, 400, "Must specify one of alias or fingerprint of the image");
	if (streq(r->src.protocol, "lxd"))
		return lxd_find(r, err);
	if (streq(r->src.protocol, "simplestreams"))
		return streams_find_image(r, architecture, err);
	return error_set(err, 400, "Unsupported protocol: %s", r->src.protocol);
}

int image_remote_find(const struct image_source *src, const struct fetch_spec *spec, const char *architecture,
		      struct image_remote **ret, struct error *err)
{
	CLEANUP(image_remote_freep) struct image_remote *r = xnew(struct image_remote);
	auto_dial_target struct dial_target t = DIAL_TARGET_INIT;
	struct fetch_spec mine = *spec;
	int n;

	image_source_copy(&r->src, src);
	if (str_is_empty(r->src.protocol)) {
		free(r->src.protocol);
		r->src.protocol = xstrdup("lxd");
	}
	if (str_is_empty(r->src.server))
		return error_set(err, 400, "The address of the image's server is missing");
	n = dial_target_parse(r->src.server, 443, &t, NULL, err);
	if (n < 0)
		return n;
	mine.certificate = r->src.certificate;
	n = fetch_new(&mine, &r->fetch, err);
	if (n == 0)
		n = find(r, architecture, err);
	if (n < 0)
		return n;
	*ret = TAKE_PTR(r);
	return 0;
}

void image_remote_free(struct image_remote *r)
{
	if (!r)
		return;
	fetch_free(r->fetch);
	image_source_done(&r->src);
	free(r->found.filename);
	strmap_done(&r->found.properties);
	strv_done(&r->found.aliases);
	free(r->meta.path);
	free(r->root.path);
	free(r->url);
	free(r);
}

const struct image_found *image_remote_found(const struct image_remote *r)
{
	return &r->found;
}

int image_remote_download(struct image_remote *r, struct image_upload *up, struct error *err)
{
	if (streq(r->src.protocol, "direct"))
		return direct_download(r, up, err);
	if (streq(r->src.protocol, "lxd"))
		return lxd_download(r, up, err);
	return streams_download(r, up, err);
}
