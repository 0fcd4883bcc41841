#include "base/json.h"

#include <limits.h>
#include <string.h>

#include <json-c/json.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/timeutil.h"

/* struct json is never defined: a json_object by another name, so that nobody else needs the library. */
static json_object *raw(const struct json *j)
{
	return (json_object *)(uintptr_t)j;
}

static struct json *wrap(json_object *o)
{
	return (struct json *)(void *)o;
}

/*
 * What the library lets pass: raw control characters in strings, bad UTF-8, and NUL, escaped or not. Strings end at the
 * first NUL everywhere else, so that one which holds it would be taken for a shorter one. What is wrong, or NULL.
 */
static const char *bad_character(const char *text, size_t len, bool zeros)
{
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\0')
			return "NUL character";
		if (text[i] == '"') {
			in_string = !in_string;
		} else if (in_string && (unsigned char)text[i] < 0x20) {
			return "control character in a string";
		} else if (in_string && text[i] == '\\') {
			if (!zeros && len - i > 5 && memcmp(text + i + 1, "u0000", 5) == 0)
				return "NUL character";
			i++;
		} else if ((unsigned char)text[i] >= 0x80) {
			size_t n = utf8_char_len(text + i, len - i);

			if (n == 0)
				return "text that is not UTF-8";
			i += n - 1;
		}
	}
	return NULL;
}

static int parse(const char *text, size_t len, bool zeros, struct json **ret, struct error *err)
{
	struct json_tokener *tok;
	json_object *o;
	enum json_tokener_error e;
	const char *wrong;
	size_t end;
	int r = 0;

	if (len > INT_MAX - 1)
		return error_set(err, 413, "JSON text is too large");
	wrong = bad_character(text, len, zeros);
	if (wrong)
		return error_set(err, 400, "Invalid JSON: %s", wrong);
	tok = json_tokener_new_ex(JSON_DEPTH_MAX);
	if (!tok)
		return error_set(err, 507, "Out of memory");
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, text, (int)len);
	e = json_tokener_get_error(tok);
	end = json_tokener_get_parse_end(tok);
	/* a bare number, null, true or false needs to hear that nothing follows */
	if (e == json_tokener_continue && len && strchr("0123456789le", text[len - 1])) {
		o = json_tokener_parse_ex(tok, "", 1);
		e = json_tokener_get_error(tok);
		end = len;
	}
	if (e == json_tokener_continue)
		r = error_set(err, 400, "Invalid JSON: unexpected end of input");
	else if (e != json_tokener_success)
		r = error_set(err, 400, "Invalid JSON at byte %zu: %s", end, json_tokener_error_desc(e));
	else
		while (end < len && strchr(" \t\r\n", text[end]))
			end++;
	if (r == 0 && end < len)
		r = error_set(err, 400, "Invalid JSON at byte %zu: text after the value", end);
	json_tokener_free(tok);
	if (r < 0) {
		json_object_put(o);
		return r;
	}
	*ret = o ? wrap(o) : wrap(json_object_new_null());
	return 0;
}

int json_parse(const char *text, size_t len, struct json **ret, struct error *err)
{
	return parse(text, len, /* zeros= */ false, ret, err);
}

int json_parse_bytes(const char *text, size_t len, struct json **ret, struct error *err)
{
	return parse(text, len, /* zeros= */ true, ret, err);
}

void json_free(struct json *j)
{
	json_object_put(raw(j));
}

enum json_kind json_kind(const struct json *j)
{
	switch (json_object_get_type(raw(j))) {
	case json_type_boolean:
		return JSON_BOOL;
	case json_type_int:
		return JSON_INT;
	case json_type_double:
		return JSON_FLOAT;
	case json_type_string:
		return JSON_STRING;
	case json_type_array:
		return JSON_ARRAY;
	case json_type_object:
		return JSON_OBJECT;
	case json_type_null:
		break;
	}
	return JSON_NULL;
}

const char *json_kind_name(const struct json *j)
{
	static const char *const names[] = {"nil", "bool", "float64", "float64", "string", "slice", "map"};

	return names[json_kind(j)];
}

const struct json *json_get(const struct json *obj, const char *key)
{
	json_object *v;

	if (json_kind(obj) != JSON_OBJECT || !json_object_object_get_ex(raw(obj), key, &v))
		return NULL;
	return wrap(v);
}

const char *json_str(const struct json *j)
{
	return json_kind(j) == JSON_STRING ? json_object_get_string(raw(j)) : NULL;
}

size_t json_str_len(const struct json *j)
{
	return json_kind(j) == JSON_STRING ? (size_t)json_object_get_string_len(raw(j)) : 0;
}

int64_t json_int(const struct json *j)
{
	enum json_kind t = json_kind(j);

	return t == JSON_INT || t == JSON_FLOAT ? json_object_get_int64(raw(j)) : 0;
}

bool json_is_true(const struct json *j)
{
	return json_kind(j) == JSON_BOOL && json_object_get_boolean(raw(j));
}

size_t json_len(const struct json *j)
{
	if (json_kind(j) == JSON_ARRAY)
		return json_object_array_length(raw(j));
	if (json_kind(j) == JSON_OBJECT)
		return (size_t)json_object_object_length(raw(j));
	return 0;
}

const struct json *json_at(const struct json *arr, size_t i)
{
	if (json_kind(arr) != JSON_ARRAY || i >= json_len(arr))
		return NULL;
	return wrap(json_object_array_get_idx(raw(arr), i));
}

const char *json_get_str(const struct json *obj, const char *key)
{
	return json_str(json_get(obj, key));
}

int json_each(const struct json *obj, json_member_fn fn, void *arg)
{
	if (json_kind(obj) != JSON_OBJECT)
		return 0;
	json_object_object_foreach(raw(obj), key, value)
	{
		int r = fn(key, wrap(value), arg);

		if (r < 0)
			return r;
	}
	return 0;
}

char *json_to_text(const struct json *j)
{
	return xstrdup(json_object_to_json_string_ext(raw(j), JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

char *json_to_pretty(const struct json *j)
{
	const char *text = json_object_to_json_string_ext(
		raw(j), JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_PRETTY_TAB | JSON_C_TO_STRING_SPACED |
				JSON_C_TO_STRING_NOSLASHESCAPE);
	char *out = xmalloc(strlen(text) + 1);
	char *to = out;

	/* the library breaks the line inside an empty object; no string holds a raw newline */
	while (*text) {
		*to++ = *text;
		if ((*text == '{' || *text == '[') && text[1] == '\n') {
			const char *end = text + 1 + strspn(text + 1, "\n\t");

			if (*end == *text + 2)
				text = end - 1;
		}
		text++;
	}
	*to = '\0';
	return out;
}

static int type_error(const char *path, const char *want, const struct json *got, struct error *err)
{
	return error_set(err, 400, "Invalid JSON: field \"%s\" must be %s, not %s", path, want, json_kind_name(got));
}

struct member {
	const char *path;
	void *map;
	struct error *err;
};

static int strmap_member(const char *key, const struct json *value, void *arg)
{
	struct member *m = arg;
	auto_free char *path = NULL;

	if (json_kind(value) == JSON_STRING) {
		strmap_set(m->map, key, json_str(value));
		return 0;
	}
	/* null stands for "remove", as "" does */
	if (json_kind(value) == JSON_NULL) {
		strmap_set(m->map, key, "");
		return 0;
	}
	path = xasprintf("%s.%s", m->path, key);
	return type_error(path, "a string", value, m->err);
}

int json_to_strmap(const struct json *j, const char *path, struct strmap *ret, struct error *err)
{
	struct member m = {.path = path, .map = ret, .err = err};

	if (json_kind(j) == JSON_NULL)
		return 0;
	if (json_kind(j) != JSON_OBJECT)
		return type_error(path, "an object of strings", j, err);
	return json_each(j, strmap_member, &m);
}

static int mapmap_member(const char *key, const struct json *value, void *arg)
{
	struct member *m = arg;
	auto_free char *path = xasprintf("%s.%s", m->path, key);

	return json_to_strmap(value, path, mapmap_ensure(m->map, key), m->err);
}

int json_to_mapmap(const struct json *j, const char *path, struct mapmap *ret, struct error *err)
{
	struct member m = {.path = path, .map = ret, .err = err};

	if (json_kind(j) == JSON_NULL)
		return 0;
	if (json_kind(j) != JSON_OBJECT)
		return type_error(path, "an object of objects", j, err);
	return json_each(j, mapmap_member, &m);
}

int json_to_strv(const struct json *j, const char *path, struct strv *ret, struct error *err)
{
	if (json_kind(j) == JSON_NULL)
		return 0;
	if (json_kind(j) != JSON_ARRAY)
		return type_error(path, "an array of strings", j, err);
	for (size_t i = 0; i < json_len(j); i++) {
		const char *s = json_str(json_at(j, i));

		if (!s)
			return type_error(path, "an array of strings", json_at(j, i), err);
		strv_add(ret, s);
	}
	return 0;
}

static int decode_time(const struct json *j, const char *path, int64_t *ret, struct error *err)
{
	const char *s = json_str(j);

	if (!s)
		return type_error(path, "a time", j, err);
	if (!*s) {
		*ret = TIME_GO_ZERO;
		return 0;
	}
	if (time_parse(s, ret) < 0)
		return error_set(err, 400, "Invalid JSON: field \"%s\" is not an RFC 3339 time: %s", path, s);
	return 0;
}

static int decode_field(const struct json *v, const char *path, const struct json_field *f, void *at, struct error *err)
{
	switch (f->type) {
	case JSON_FIELD_STRING:
		if (json_kind(v) != JSON_STRING)
			return type_error(path, "a string", v, err);
		free(*(char **)at);
		*(char **)at = xstrdup(json_str(v));
		return 0;
	case JSON_FIELD_BOOL:
		if (json_kind(v) != JSON_BOOL)
			return type_error(path, "a boolean", v, err);
		*(bool *)at = json_is_true(v);
		return 0;
	case JSON_FIELD_INT:
		if (json_kind(v) != JSON_INT)
			return type_error(path, "an integer", v, err);
		*(int64_t *)at = json_int(v);
		return 0;
	case JSON_FIELD_STRV:
		return json_to_strv(v, path, at, err);
	case JSON_FIELD_STRMAP:
		return json_to_strmap(v, path, at, err);
	case JSON_FIELD_MAPMAP:
		return json_to_mapmap(v, path, at, err);
	case JSON_FIELD_TIME:
		return decode_time(v, path, at, err);
	case JSON_FIELD_RAW:
		*(const struct json **)at = v;
		return 0;
	}
	return -EINVAL;
}

int json_decode(const struct json *obj, const char *path, const struct json_field *fields, void *dst,
		uint64_t *ret_given, struct error *err)
{
	uint64_t given = 0;

	if (json_kind(obj) != JSON_OBJECT)
		return type_error(*path ? path : "body", "an object", obj, err);
	for (size_t i = 0; fields[i].name; i++) {
		const struct json_field *f = &fields[i];
		const struct json *v = json_get(obj, f->name);
		auto_free char *full = *path ? xasprintf("%s.%s", path, f->name) : xstrdup(f->name);
		int r;

		if (json_kind(v) == JSON_NULL) {
			if (f->flags & JSON_REQUIRED)
				return error_set(err, 400, "Invalid JSON: field \"%s\" is missing", full);
			continue;
		}
		r = decode_field(v, full, f, (char *)dst + f->offset, err);
		if (r < 0)
			return r;
		given |= 1ull << i;
	}
	if (ret_given)
		*ret_given = given;
	return 0;
}

void json_decode_done(const struct json_field *fields, void *dst)
{
	for (const struct json_field *f = fields; f->name; f++) {
		void *at = (char *)dst + f->offset;

		if (f->type == JSON_FIELD_STRING) {
			free(*(char **)at);
			*(char **)at = NULL;
		} else if (f->type == JSON_FIELD_STRV) {
			strv_done(at);
		} else if (f->type == JSON_FIELD_STRMAP) {
			strmap_done(at);
		} else if (f->type == JSON_FIELD_MAPMAP) {
			mapmap_done(at);
		}
	}
}

int json_text_to_strmap(const char *text, struct strmap *ret, struct error *err)
{
	auto_json struct json *j = NULL;
	int r = json_parse(text, strlen(text), &j, err);

	return r < 0 ? r : json_to_strmap(j, "config", ret, err);
}

int json_text_to_mapmap(const char *text, struct mapmap *ret, struct error *err)
{
	auto_json struct json *j = NULL;
	int r = json_parse(text, strlen(text), &j, err);

	return r < 0 ? r : json_to_mapmap(j, "devices", ret, err);
}

int json_text_to_strv(const char *text, struct strv *ret, struct error *err)
{
	auto_json struct json *j = NULL;
	int r = json_parse(text, strlen(text), &j, err);

	return r < 0 ? r : json_to_strv(j, "list", ret, err);
}
