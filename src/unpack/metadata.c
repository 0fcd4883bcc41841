/*
 * metadata.yaml of an image. libyaml's event API feeds a small bounded tree (mappings, sequences, scalars); the
 * known fields are then taken out of it and written as JSON.
 */
#include "unpack/metadata.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "unpack/member.h"

#define DEPTH_MAX 32
#define NODES_MAX 50000

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	bool plain; /* a scalar without quotes and without a "string" tag: its text decides the type */
	char *text;
	size_t line;
	struct node **items; /* of a map: key, value, key, value ... */
	size_t len;
};

static void node_free(struct node *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->len; i++)
		node_free(n->items[i]);
	free(n->items);
	free(n->text);
	free(n);
}
DEFINE_CLEANUP(struct node *, node_free)

struct builder {
	struct node *root;
	struct node *stack[DEPTH_MAX];
	unsigned depth;
	size_t nodes;
};

static const char *kind_name(const struct node *n)
{
	static const char *const names[] = {"a scalar", "a list", "a map"};

	return names[n->kind];
}

/* Take @n into the tree under construction; @n belongs to the tree (or is freed) in every case. */
static int builder_add(struct builder *b, struct node *n, struct error *err)
{
	struct node *parent = b->depth ? b->stack[b->depth - 1] : NULL;

	if (++b->nodes > NODES_MAX || (n->kind != NODE_SCALAR && b->depth == DEPTH_MAX)) {
		size_t line = n->line;

		node_free(n);
		return error_set(err, 400, "Could not parse metadata.yaml: line %zu: too %s", line,
				 b->nodes > NODES_MAX ? "many values" : "deeply nested");
	}
	if (!parent) {
		b->root = n;
	} else {
		if ((parent->len & (parent->len + 1)) == 0)
			parent->items = xreallocarray(parent->items, parent->len ? 2 * parent->len + 2 : 2,
						      sizeof(*parent->items));
		parent->items[parent->len++] = n;
	}
	if (n->kind != NODE_SCALAR)
		b->stack[b->depth++] = n;
	return 0;
}

static int builder_event(struct builder *b, const yaml_event_t *ev, bool *done, struct error *err)
{
	size_t line = ev->start_mark.line + 1;
	struct node *n;

	switch (ev->type) {
	case YAML_ALIAS_EVENT:
		return error_set(err, 400, "Could not parse metadata.yaml: line %zu: aliases are not supported", line);
	case YAML_SCALAR_EVENT:
		if (memchr(ev->data.scalar.value, '\0', ev->data.scalar.length))
			return error_set(err, 400, "Could not parse metadata.yaml: line %zu: NUL character", line);
		n = xnew(struct node);
		n->kind = NODE_SCALAR;
		n->text = xstrndup((const char *)ev->data.scalar.value, ev->data.scalar.length);
		n->plain = ev->data.scalar.plain_implicit;
		break;
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		n = xnew(struct node);
		n->kind = ev->type == YAML_MAPPING_START_EVENT ? NODE_MAP : NODE_LIST;
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		return 0;
	case YAML_DOCUMENT_END_EVENT:
	case YAML_STREAM_END_EVENT:
		*done = true;
		return 0;
	default:
		return 0;
	}
	n->line = line;
	return builder_add(b, n, err);
}

/* The first document of @text as a tree; NULL for an empty stream. */
static int tree_parse(const char *text, size_t len, struct node **ret, struct error *err)
{
	struct builder b = {0};
	yaml_parser_t parser;
	bool done = false;
	int r = 0;

	if (!yaml_parser_initialize(&parser))
		return error_errno(err, ENOMEM, "Create YAML parser");
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	while (!done && r == 0) {
		yaml_event_t ev;

		if (!yaml_parser_parse(&parser, &ev)) {
			r = error_set(err, 400, "Could not parse metadata.yaml: line %zu: %s",
				      parser.problem_mark.line + 1, parser.problem ? parser.problem : "bad YAML");
			break;
		}
		r = builder_event(&b, &ev, &done, err);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&parser);
	if (r < 0)
		node_free(b.root);
	else
		*ret = b.root;
	return r;
}

static bool node_is_null(const struct node *n)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

	if (!n)
		return true;
	for (size_t i = 0; n->kind == NODE_SCALAR && n->plain && i < ARRAY_SIZE(nulls); i++)
		if (streq(n->text, nulls[i]))
			return true;
	return false;
}

/* The value of the last @key in a map, or NULL. */
static const struct node *map_get(const struct node *map, const char *key)
{
	for (size_t i = map->len; i >= 2; i -= 2)
		if (map->items[i - 2]->kind == NODE_SCALAR && streq(map->items[i - 2]->text, key))
			return map->items[i - 1];
	return NULL;
}

static int wrong_type(const struct node *n, const char *path, const char *want, struct error *err)
{
	auto_free char *field = member_escape(path);
	auto_free char *text = member_escape(n->text);
	auto_free char *shown = n->kind == NODE_SCALAR ? xasprintf("\"%s\"", text) : xstrdup(kind_name(n));

	return error_set(err, 400, "Invalid metadata.yaml: line %zu: %s must be %s, not %s", n->line, field, want,
			 shown);
}

/* A scalar of any type as text; null and absent are "". Borrowed from the tree. */
static int get_text(const struct node *n, const char *path, const char **ret, struct error *err)
{
	*ret = "";
	if (node_is_null(n))
		return 0;
	if (n->kind != NODE_SCALAR)
		return wrong_type(n, path, "a string", err);
	*ret = n->text;
	return 0;
}

/* Integers as YAML 1.1 writes them (sign, underscores, 0x); a float is cut, as the reference does. */
static int parse_yaml_int(const char *text, int64_t *ret)
{
	auto_strbuf struct strbuf digits = STRBUF_INIT;
	const char *hex;
	char *end;
	double d;

	for (const char *p = text; *p; p++)
		if (*p != '_')
			strbuf_append_char(&digits, *p);
	text = strbuf_str(&digits);
	if (!*text || strspn(text, "0123456789abcdefxABCDEFX+-.") != strlen(text))
		return -EINVAL;
	if (*text == '+')
		text++;
	if (parse_i64(text, ret) == 0)
		return 0;
	hex = startswith(text, "0x");
	errno = 0;
	if (hex) {
		unsigned long long v = strtoull(hex, &end, 16);

		if (*end || !*hex || errno || v > INT64_MAX || *hex == '-' || *hex == '+')
			return -EINVAL;
		*ret = (int64_t)v;
		return 0;
	}
	d = strtod(text, &end);
	if (*end || end == text || !isfinite(d) || d >= 9.2e18 || d <= -9.2e18)
		return -EINVAL;
	*ret = (int64_t)d;
	return 0;
}

static int get_int(const struct node *n, const char *path, int64_t *ret, struct error *err)
{
	*ret = 0;
	if (node_is_null(n))
		return 0;
	if (n->kind != NODE_SCALAR || !n->plain || parse_yaml_int(n->text, ret) < 0)
		return wrong_type(n, path, "an integer", err);
	return 0;
}

static int get_bool(const struct node *n, const char *path, bool *ret, struct error *err)
{
	static const struct {
		const char *text;
		bool value;
	} words[] = {{"true", true},   {"yes", true}, {"on", true},   {"y", true},
		     {"false", false}, {"no", false}, {"off", false}, {"n", false}};

	*ret = false;
	if (node_is_null(n))
		return 0;
	for (size_t i = 0; n->kind == NODE_SCALAR && n->plain && i < ARRAY_SIZE(words); i++) {
		if (strcasecmp(n->text, words[i].text) == 0) {
			*ret = words[i].value;
			return 0;
		}
	}
	return wrong_type(n, path, "a boolean", err);
}

/* Write one value of a map under the key that was written before it. */
typedef int (*write_value_fn)(struct jsonw *w, const struct node *value, const char *path, struct error *err);

static int write_text(struct jsonw *w, const struct node *n, const char *path, struct error *err)
{
	const char *text;
	int r = get_text(n, path, &text, err);

	if (r == 0)
		jsonw_str(w, text);
	return r;
}

struct pair {
	const struct node *key;
	const struct node *value;
	size_t index;
};

static int pair_compare(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int r = strcmp(x->key->text, y->key->text);

	/* equal keys: the later one first, so that the others can be passed over */
	return r ? r : x->index < y->index ? 1 : -1;
}

/* The pairs of a map, sorted by key; keys must be text. */
static int map_pairs(const struct node *map, const char *path, struct pair **ret, size_t *ret_len, struct error *err)
{
	auto_free struct pair *pairs = NULL;
	size_t n;

	*ret_len = 0;
	if (node_is_null(map))
		return 0;
	if (map->kind != NODE_MAP)
		return wrong_type(map, path, "a map", err);
	n = map->len / 2;
	pairs = xnew_array(struct pair, n + 1);
	for (size_t i = 0; i < n; i++) {
		pairs[i] = (struct pair){map->items[2 * i], map->items[2 * i + 1], i};
		if (pairs[i].key->kind != NODE_SCALAR)
			return wrong_type(pairs[i].key, path, "a map with text as keys", err);
	}
	qsort(pairs, n, sizeof(*pairs), pair_compare);
	*ret = TAKE_PTR(pairs);
	*ret_len = n;
	return 0;
}

/* Write a YAML map with free keys as a JSON object, keys sorted; null gives {}. */
static int write_map(struct jsonw *w, const struct node *map, const char *path, write_value_fn fn, struct error *err)
{
	auto_free struct pair *pairs = NULL;
	size_t n;
	int r;

	r = map_pairs(map, path, &pairs, &n, err);
	if (r < 0)
		return r;
	jsonw_object_begin(w);
	for (size_t i = 0; i < n; i++) {
		auto_free char *sub = NULL;

		if (i && streq(pairs[i - 1].key->text, pairs[i].key->text))
			continue;
		sub = xasprintf("%s.%s", path, pairs[i].key->text);
		jsonw_key(w, pairs[i].key->text);
		r = fn(w, pairs[i].value, sub, err);
		if (r < 0)
			return r;
	}
	jsonw_object_end(w);
	return 0;
}

static int write_when(struct jsonw *w, const struct node *list, const char *path, struct error *err)
{
	int r = 0;

	if (!node_is_null(list) && list->kind != NODE_LIST)
		return wrong_type(list, path, "a list", err);
	jsonw_array_begin(w);
	for (size_t i = 0; !node_is_null(list) && i < list->len && r == 0; i++)
		r = write_text(w, list->items[i], path, err);
	jsonw_array_end(w);
	return r;
}

/* A template is named by its file in templates/: one plain name, so that it cannot lead elsewhere. */
static int check_template_name(const char *name, const char *path, struct error *err)
{
	auto_free char *shown = member_escape(name);
	auto_free char *field = member_escape(path);

	if (strchr(name, '/') || streq(name, ".") || streq(name, "..") || strlen(name) > MEMBER_NAME_MAX)
		return error_set(err, 400, "Invalid metadata.yaml: %s: bad template file name \"%s\"", field, shown);
	return 0;
}

/* A template is written to this path of the container: it must not climb. @path is "templates./etc/x". */
static bool path_has_dotdot(const char *path)
{
	for (const char *p = strchr(path, '.') + 1; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.')
			return true;
		p += n;
		p += strspn(p, "/");
	}
	return false;
}

static int bad_template_path(const char *path, struct error *err)
{
	auto_free char *field = member_escape(path);

	return error_set(err, 400, "Invalid metadata.yaml: %s: the path must not contain \"..\"", field);
}

static int write_template(struct jsonw *w, const struct node *n, const char *path, struct error *err)
{
	static const struct node empty = {.kind = NODE_MAP};
	const char *name = "";
	bool create_only = false;
	int r;

	if (path_has_dotdot(path))
		return bad_template_path(path, err);
	if (node_is_null(n))
		n = &empty;
	if (n->kind != NODE_MAP)
		return wrong_type(n, path, "a map", err);
	r = get_bool(map_get(n, "create_only"), path, &create_only, err);
	if (r == 0)
		r = get_text(map_get(n, "template"), path, &name, err);
	if (r == 0)
		r = check_template_name(name, path, err);
	if (r < 0)
		return r;
	jsonw_object_begin(w);
	jsonw_key(w, "when");
	r = write_when(w, map_get(n, "when"), path, err);
	if (r < 0)
		return r;
	jsonw_kv_bool(w, "create_only", create_only);
	jsonw_kv_str(w, "template", name);
	jsonw_key(w, "properties");
	r = write_map(w, map_get(n, "properties"), path, write_text, err);
	jsonw_object_end(w);
	return r;
}

/* Canonical kernel names with the other names that distributions use. */
static const struct {
	const char *name;
	const char *aliases[8];
} architectures[] = {
	{"i686", {"i386", "i586", "386", "x86", "generic_32"}},
	{"x86_64", {"amd64", "generic_64"}},
	{"armv7l", {"armel", "armhf", "arm", "armhfp", "armv7a_hardfp", "armv7", "armv7a_vfpv3_hardfp"}},
	{"aarch64", {"arm64", "arm64_generic"}},
	{"ppc", {"powerpc"}},
	{"ppc64", {"powerpc64"}},
	{"ppc64le", {"ppc64el"}},
	{"s390x", {0}},
	{"mips", {"mipsel"}},
	{"mips64", {"mips64el"}},
	{"riscv32", {0}},
	{"riscv64", {0}},
};

const char *metadata_architecture(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(architectures); i++) {
		if (streq(architectures[i].name, name))
			return architectures[i].name;
		for (const char *const *a = architectures[i].aliases; *a; a++)
			if (streq(*a, name))
				return architectures[i].name;
	}
	return NULL;
}

static int write_document(struct jsonw *w, const struct node *root, struct error *err)
{
	const char *arch_text = "", *arch;
	int64_t created = 0, expires = 0;
	int r;

	r = get_text(map_get(root, "architecture"), "architecture", &arch_text, err);
	if (r == 0)
		r = get_int(map_get(root, "creation_date"), "creation_date", &created, err);
	if (r == 0)
		r = get_int(map_get(root, "expiry_date"), "expiry_date", &expires, err);
	if (r < 0)
		return r;
	arch = metadata_architecture(arch_text);
	if (!arch) {
		auto_free char *shown = member_escape(arch_text);

		return error_set(err, 400, "Architecture isn't supported: %s", shown);
	}
	if (created <= 0)
		return error_set(err, 400, "Missing creation date");
	jsonw_object_begin(w);
	jsonw_kv_str(w, "architecture", arch);
	jsonw_kv_int(w, "creation_date", created);
	jsonw_kv_int(w, "expiry_date", expires);
	jsonw_key(w, "properties");
	r = write_map(w, map_get(root, "properties"), "properties", write_text, err);
	if (r < 0)
		return r;
	jsonw_key(w, "templates");
	r = write_map(w, map_get(root, "templates"), "templates", write_template, err);
	jsonw_object_end(w);
	return r;
}

int metadata_yaml_to_json(const char *text, size_t len, char **ret_json, struct error *err)
{
	static const struct node empty = {.kind = NODE_MAP};
	CLEANUP(node_freep) struct node *root = NULL;
	auto_strbuf struct strbuf out = STRBUF_INIT;
	struct jsonw w = JSONW(&out);
	int r;

	if (len > METADATA_SIZE_MAX)
		return error_set(err, 400, "metadata.yaml is larger than %u bytes", METADATA_SIZE_MAX);
	r = tree_parse(text, len, &root, err);
	if (r < 0)
		return r;
	if (!node_is_null(root) && root->kind != NODE_MAP)
		return wrong_type(root, "the document", "a map", err);
	r = write_document(&w, node_is_null(root) ? &empty : root, err);
	if (r < 0)
		return r;
	*ret_json = strbuf_take(&out);
	return 0;
}
