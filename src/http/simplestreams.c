#include "http/simplestreams.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "base/timeutil.h"

#define ALIASES_TEXT_MAX (16u * 1024)
#define ENTRY_BYTES 64 /* what a string takes beside its own bytes */

static void file_done(struct streams_file *f)
{
	free(f->path);
}

static void image_free(struct streams_image *img)
{
	free(img->architecture);
	file_done(&img->meta);
	file_done(&img->root);
	strmap_done(&img->properties);
	strv_done(&img->aliases);
	free(img);
}

void streams_list_done(struct streams_list *l)
{
	for (size_t i = 0; i < l->len; i++)
		image_free(l->items[i]);
	free(l->items);
	*l = STREAMS_LIST_INIT;
}

uint64_t streams_image_size(const struct streams_image *img)
{
	return img->meta.size + img->root.size;
}

const char *streams_architecture(const char *name)
{
	static const struct {
		const char *name;
		const char *ours;
	} table[] = {
		{"amd64", "x86_64"},    {"x86_64", "x86_64"},   {"i386", "i686"},       {"i686", "i686"},
		{"arm64", "aarch64"},   {"aarch64", "aarch64"}, {"armhf", "armv7l"},    {"armv7l", "armv7l"},
		{"armel", "armv7l"},    {"ppc64el", "ppc64le"}, {"ppc64le", "ppc64le"}, {"powerpc", "ppc"},
		{"powerpc64", "ppc64"}, {"ppc64", "ppc64"},     {"ppc", "ppc"},         {"s390x", "s390x"},
		{"riscv64", "riscv64"}, {"riscv32", "riscv32"}, {"mips", "mips"},       {"mips64", "mips64"},
		{"mips64el", "mips64"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (streq(table[i].name, name))
			return table[i].ours;
	return NULL;
}

static bool is_hash(const char *s)
{
	size_t n = s ? strspn(s, "0123456789abcdef") : 0;

	return n == 64 && s[n] == '\0';
}

/* A relative path without "." or ".." parts, query, control characters or backslashes. */
static bool is_path(const char *s)
{
	if (str_is_empty(s) || *s == '/' || strlen(s) > STREAMS_STRING_MAX || strstr(s, "://"))
		return false;
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f || strchr("?#\\%", *p))
			return false;
	for (const char *part = s; part; part = strchr(part, '/')) {
		size_t n;

		part += *part == '/';
		n = strcspn(part, "/");
		if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
			return false;
	}
	return true;
}

char *streams_url_path(const char *base, const char *path)
{
	static const char safe[] = "-._~!$&'()*+,;=:@/";
	auto_strbuf struct strbuf b = STRBUF_INIT;
	size_t len = strlen(base);

	while (len && base[len - 1] == '/')
		len--;
	strbuf_append_len(&b, base, len);
	strbuf_append_char(&b, '/');
	for (; *path; path++) {
		if (isalnum((unsigned char)*path) || strchr(safe, *path))
			strbuf_append_char(&b, *path);
		else
			strbuf_appendf(&b, "%%%02X", (unsigned char)*path);
	}
	return strbuf_take(&b);
}

/* --- index --- */

static int index_entry(const char *key UNUSED, const struct json *entry, void *arg)
{
	const char *type = json_get_str(entry, "datatype"), *path = json_get_str(entry, "path");

	struct strv *paths = arg;

	if (!type || !streq(type, "image-downloads") || !is_path(path) || !json_len(json_get(entry, "products")))
		return 0;
	if (paths->len >= STREAMS_FILES_MAX)
		return -E2BIG;
	if (!strv_contains(paths, path))
		strv_add(paths, path);
	return 0;
}

int streams_parse_index(const char *text, size_t len, struct strv *ret_paths, struct error *err)
{
	auto_json struct json *root = NULL;
	const struct json *entries;
	int r = json_parse(text, len, &root, err);

	if (r < 0)
		return error_wrap(err, "Image server's index");
	entries = json_get(root, "index");
	if (json_kind(entries) != JSON_OBJECT)
		return error_set(err, 400, "Image server's index: \"index\" is missing");
	if (json_each(entries, index_entry, ret_paths) < 0)
		return error_set(err, 400, "Image server's index: more than %u product files", STREAMS_FILES_MAX);
	return 0;
}

/* --- products --- */

static const struct root_kind {
	const char *ftype;
	const char *combined; /* the metadata item's member that holds the fingerprint */
	const char *fallback;
	const char *type;
} root_kinds[] = {
	{"squashfs", "combined_squashfs_sha256", NULL, "container"},
	{"root.tar.xz", "combined_rootxz_sha256", "combined_sha256", "container"},
	{"disk-kvm.img", "combined_disk-kvm-img_sha256", NULL, "virtual-machine"},
	{"disk1.img", "combined_disk1-img_sha256", NULL, "virtual-machine"},
	{"uefi1.img", "combined_uefi1-img_sha256", NULL, "virtual-machine"},
};

/* What is being read, from the outside in. */
struct reader {
	struct streams_list *list;
	const struct json *product;
	const char *architecture; /* LXD's name */
	const char *version;
	const struct json *items;
	const struct json *meta;
	int64_t created_ns;
	const char *label;
};

static bool read_file(const struct json *item, struct streams_file *ret)
{
	const char *path = json_get_str(item, "path"), *hash = json_get_str(item, "sha256");
	int64_t size = json_int(json_get(item, "size"));

	if (!is_path(path) || !is_hash(hash) || size <= 0)
		return false;
	ret->path = xstrdup(path);
	memcpy(ret->sha256, hash, sizeof(ret->sha256));
	ret->size = (uint64_t)size;
	return true;
}

static void set_property(struct streams_image *img, const char *key, const char *value)
{
	if (!str_is_empty(value) && strlen(key) <= STREAMS_STRING_MAX && strlen(value) <= STREAMS_STRING_MAX)
		strmap_set(&img->properties, key, value);
}

static int add_requirement(const char *key, const struct json *value, void *arg)
{
	struct streams_image *img = arg;
	auto_free char *name = NULL;

	if (strlen(key) > STREAMS_STRING_MAX || img->properties.len >= STREAMS_NAMES_MAX)
		return 0;
	name = xasprintf("requirements.%s", key);
	set_property(img, name, json_str(value));
	return 0;
}

static void set_properties(const struct reader *rd, const char *kind, struct streams_image *img)
{
	static const char *const copied[][2] = {
		{"os", "os"},           {"release", "release"}, {"version", "version"}, {"arch", "architecture"},
		{"variant", "variant"},
	};
	auto_strbuf struct strbuf text = STRBUF_INIT;
	const char *os = json_get_str(rd->product, "os"), *title = json_get_str(rd->product, "release_title");

	for (size_t i = 0; i < ARRAY_SIZE(copied); i++)
		set_property(img, copied[i][1], json_get_str(rd->product, copied[i][0]));
	set_property(img, "label", rd->label);
	set_property(img, "serial", rd->version);
	set_property(img, "type", kind);
	strbuf_appendf(&text, "%.256s %.256s %.256s", os ? os : "", title ? title : "",
		       strmap_get_or(&img->properties, "architecture", ""));
	if (!str_is_empty(rd->label))
		strbuf_appendf(&text, " (%.64s)", rd->label);
	strbuf_appendf(&text, " (%.64s)", rd->version);
	set_property(img, "description", text.data);
	json_each(json_get(rd->product, "lxd_requirements"), add_requirement, img);
}

/* "2025-04-23" */
static int64_t end_of_support(const struct json *product)
{
	const char *text = json_get_str(product, "support_eol");
	auto_free char *full = NULL;
	int64_t ns;

	if (str_is_empty(text) || strlen(text) != 10)
		return 0;
	full = xasprintf("%sT00:00:00Z", text);
	return time_parse(full, &ns) == 0 ? ns : 0;
}

static void set_aliases(const struct json *product, struct streams_image *img)
{
	auto_strv struct strv names = STRV_INIT;
	const char *text = json_get_str(product, "aliases");

	if (!text || strlen(text) > ALIASES_TEXT_MAX)
		return;
	strv_split(&names, text, ',');
	for (size_t i = 0; i < names.len && img->aliases.len < STREAMS_NAMES_MAX; i++) {
		const char *name = str_strip(names.items[i]);

		if (*name && strlen(name) <= STREAMS_STRING_MAX && !strv_contains(&img->aliases, name))
			strv_add(&img->aliases, name);
	}
}

/* About the memory that an image takes. */
static size_t image_bytes(const struct streams_image *img)
{
	size_t n = sizeof(*img) + strlen(img->meta.path) + (img->root.path ? strlen(img->root.path) : 0);

	for (size_t i = 0; i < img->properties.len; i++)
		n += strlen(img->properties.items[i].key) + strlen(img->properties.items[i].value) + ENTRY_BYTES;
	for (size_t i = 0; i < img->aliases.len; i++)
		n += strlen(img->aliases.items[i]) + ENTRY_BYTES;
	return n;
}

static int add_image(struct reader *rd, const char *fingerprint, const struct json *root, const char *kind,
		     const char *type)
{
	struct streams_list *l = rd->list;
	struct streams_image *img;

	if (!is_hash(fingerprint))
		return 0;
	if (l->len >= STREAMS_IMAGES_MAX)
		return -E2BIG;
	img = xnew(struct streams_image);
	if (!read_file(rd->meta, &img->meta) || (root && !read_file(root, &img->root))) {
		image_free(img);
		return 0;
	}
	memcpy(img->fingerprint, fingerprint, sizeof(img->fingerprint));
	img->architecture = xstrdup(rd->architecture);
	img->type = type;
	img->created_ns = rd->created_ns;
	img->expires_ns = end_of_support(rd->product);
	img->squashfs = streq(kind, "squashfs");
	set_properties(rd, kind, img);
	set_aliases(rd->product, img);
	if ((l->len & (l->len - 1)) == 0)
		l->items = xreallocarray(l->items, l->len ? 2 * l->len : 1, sizeof(struct streams_image *));
	l->items[l->len++] = img;
	l->bytes += image_bytes(img);
	return l->bytes > STREAMS_LIST_BYTES ? -E2BIG : 0;
}

/* One root file beside the metadata file. */
static int root_item(const char *key UNUSED, const struct json *item, void *arg)
{
	struct reader *rd = arg;
	const char *ftype = json_get_str(item, "ftype");

	for (size_t i = 0; ftype && i < ARRAY_SIZE(root_kinds); i++) {
		const struct root_kind *k = &root_kinds[i];
		const char *fingerprint = json_get_str(rd->meta, k->combined);

		if (!streq(ftype, k->ftype))
			continue;
		if (str_is_empty(fingerprint) && k->fallback)
			fingerprint = json_get_str(rd->meta, k->fallback);
		return add_image(rd, fingerprint, item, ftype, k->type);
	}
	return 0;
}

static int meta_item(const char *key UNUSED, const struct json *item, void *arg)
{
	struct reader *rd = arg;
	const char *ftype = json_get_str(item, "ftype");

	rd->meta = item;
	if (ftype && streq(ftype, "lxd_combined.tar.gz"))
		return add_image(rd, json_get_str(item, "sha256"), NULL, ftype, "container");
	if (ftype && streq(ftype, "lxd.tar.xz"))
		return json_each(rd->items, root_item, rd);
	return 0;
}

/* "20230101" or "20230101_07:42": the day it was made. */
static bool parse_day(const char *version, int64_t *ret_ns)
{
	auto_free char *text = NULL;

	if (strspn(version, "0123456789") < 8)
		return false;
	text = xasprintf("%.4s-%.2s-%.2sT00:00:00Z", version, version + 4, version + 6);
	return time_parse(text, ret_ns) == 0;
}

static int version_entry(const char *key, const struct json *version, void *arg)
{
	struct reader *rd = arg;

	if (!parse_day(key, &rd->created_ns))
		return 0;
	rd->version = key;
	rd->label = json_get_str(version, "label");
	rd->items = json_get(version, "items");
	return json_kind(rd->items) == JSON_OBJECT ? json_each(rd->items, meta_item, rd) : 0;
}

static int product_entry(const char *key UNUSED, const struct json *product, void *arg)
{
	struct reader *rd = arg;
	const char *arch = json_get_str(product, "arch");
	const struct json *versions = json_get(product, "versions");

	rd->architecture = arch ? streams_architecture(arch) : NULL;
	rd->product = product;
	if (!rd->architecture || json_kind(versions) != JSON_OBJECT)
		return 0;
	return json_each(versions, version_entry, rd);
}

/* Newest first; of one version squashfs before the rest. */
static int compare(const void *a, const void *b)
{
	const struct streams_image *x = *(struct streams_image *const *)a, *y = *(struct streams_image *const *)b;
	int r;

	if (x->created_ns != y->created_ns)
		return x->created_ns > y->created_ns ? -1 : 1;
	r = strcmp(strmap_get_or(&y->properties, "serial", ""), strmap_get_or(&x->properties, "serial", ""));
	if (r)
		return r;
	if (x->squashfs != y->squashfs)
		return x->squashfs ? -1 : 1;
	return strcmp(x->fingerprint, y->fingerprint);
}

int streams_parse_products(const char *text, size_t len, struct streams_list *ret, struct error *err)
{
	struct reader rd = {.list = ret};
	auto_json struct json *root = NULL;
	const struct json *products;
	int r = json_parse(text, len, &root, err);

	if (r < 0)
		return error_wrap(err, "Image server's products");
	products = json_get(root, "products");
	if (json_kind(products) != JSON_OBJECT)
		return error_set(err, 400, "Image server's products: \"products\" is missing");
	if (json_each(products, product_entry, &rd) < 0)
		return error_set(err, 400, "The image server's list is too long: more than %u images or %u MiB",
				 STREAMS_IMAGES_MAX, STREAMS_LIST_BYTES >> 20);
	if (ret->len)
		qsort(ret->items, ret->len, sizeof(ret->items[0]), compare);
	return 0;
}

/* --- finding --- */

static const struct streams_image *find_alias(const struct streams_list *l, const char *name, size_t len,
					      const char *architecture, const char *type)
{
	for (size_t i = 0; i < l->len; i++) {
		const struct streams_image *img = l->items[i];

		if (!streq(img->architecture, architecture) || !streq(img->type, type))
			continue;
		for (size_t k = 0; k < img->aliases.len; k++)
			if (strlen(img->aliases.items[k]) == len && memcmp(img->aliases.items[k], name, len) == 0)
				return img;
	}
	return NULL;
}

static const struct streams_image *find_fingerprint(const struct streams_list *l, const char *prefix)
{
	const struct streams_image *found = NULL;

	if (!*prefix || prefix[strspn(prefix, "0123456789abcdefABCDEF")])
		return NULL;
	for (size_t i = 0; i < l->len; i++) {
		if (strncasecmp(l->items[i]->fingerprint, prefix, strlen(prefix)) != 0)
			continue;
		if (found && !streq(found->fingerprint, l->items[i]->fingerprint))
			return NULL;
		found = l->items[i];
	}
	return found;
}

const struct streams_image *streams_find(const struct streams_list *l, const char *name, const char *architecture,
					 const char *type)
{
	const char *slash = strrchr(name, '/');
	const char *own = slash ? streams_architecture(slash + 1) : NULL;
	const char *kind = str_is_empty(type) ? "container" : type;
	const struct streams_image *found = find_alias(l, name, strlen(name), architecture, kind);

	if (!found && own)
		found = find_alias(l, name, (size_t)(slash - name), own, kind);
	return found ? found : find_fingerprint(l, name);
}
