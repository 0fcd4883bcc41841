/*
 * Reading JSON. The library (json-c) appears only in json.c; depth and size are bounded there.
 * A request body is decoded by a table of fields into a plain struct, so that missing and mistyped
 * fields fail alike, with the field's path in the message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strmap.h"
#include "base/strv.h"

struct json; /* one value; the root owns all below it */

#define JSON_DEPTH_MAX 64

/* Parse one whole value, nothing behind it. Errors: 400 with position. */
int json_parse(const char *text, size_t len, struct json **ret, struct error *err);
/* The same where strings stand for bytes: they may hold "\u0000", and are to be read with json_str_len(). */
int json_parse_bytes(const char *text, size_t len, struct json **ret, struct error *err);
void json_free(struct json *j);
DEFINE_CLEANUP(struct json *, json_free)
#define auto_json CLEANUP(json_freep)

enum json_kind { JSON_NULL, JSON_BOOL, JSON_INT, JSON_FLOAT, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

enum json_kind json_kind(const struct json *j); /* NULL counts as JSON_NULL */
/* Go's name of the type as the reference prints it: string, bool, float64, map, slice, nil. */
const char *json_kind_name(const struct json *j);
/* Accessors; borrowed; NULL, 0 or false when @j is not of that type. */
const struct json *json_get(const struct json *obj, const char *key);
const char *json_str(const struct json *j);
size_t json_str_len(const struct json *j); /* its bytes, among which may be zeros; 0 for what is no string */
int64_t json_int(const struct json *j);    /* floats are cut */
bool json_is_true(const struct json *j);
size_t json_len(const struct json *j); /* of an array, or members of an object */
const struct json *json_at(const struct json *arr, size_t i);
/* json_str(json_get(obj, key)), or NULL. */
const char *json_get_str(const struct json *obj, const char *key);

/* Call @fn for each member; stops at the first negative result and returns it. */
typedef int (*json_member_fn)(const char *key, const struct json *value, void *arg);
int json_each(const struct json *obj, json_member_fn fn, void *arg);

/* The value as compact JSON text; the caller frees. */
char *json_to_text(const struct json *j);
/* Indented with tabs, as `lxc query` prints; the caller frees. */
char *json_to_pretty(const struct json *j);

enum json_field_type {
	JSON_FIELD_STRING, /* char *, owned */
	JSON_FIELD_BOOL,   /* bool */
	JSON_FIELD_INT,    /* int64_t */
	JSON_FIELD_STRV,   /* struct strv */
	JSON_FIELD_STRMAP, /* struct strmap; values must be strings */
	JSON_FIELD_MAPMAP, /* struct mapmap */
	JSON_FIELD_TIME,   /* int64_t ns; "" is TIME_GO_ZERO */
	JSON_FIELD_RAW,    /* const struct json *, borrowed from the parsed body */
};

enum json_field_flags {
	JSON_REQUIRED = 1 << 0,
};

struct json_field {
	const char *name;
	enum json_field_type type;
	size_t offset;
	unsigned flags;
};

#define JSON_FIELD(kind, strct, member, key, fl)                                                \
	{                                                                                       \
		.name = (key), .type = (kind), .offset = offsetof(strct, member), .flags = (fl) \
	}

#define JSON_FIELD_END       \
	{                    \
		.name = NULL \
	}

/*
 * Decode @obj into @dst by @fields (ended by JSON_FIELD_END). null counts as absent; unknown members are ignored.
 * Bit i of *@ret_given (may be NULL) tells that row i was present. Errors: 400 naming @path.field. On failure
 * what was filled so far stays in @dst: the caller cleans with json_decode_done().
 */
int json_decode(const struct json *obj, const char *path, const struct json_field *fields, void *dst,
		uint64_t *ret_given, struct error *err);
/* Free all that json_decode() allocated in @dst. */
void json_decode_done(const struct json_field *fields, void *dst);

/* Decode an object of strings, or of objects of strings; null gives an empty map. 400 naming @path. */
int json_to_strmap(const struct json *j, const char *path, struct strmap *ret, struct error *err);
int json_to_mapmap(const struct json *j, const char *path, struct mapmap *ret, struct error *err);
int json_to_strv(const struct json *j, const char *path, struct strv *ret, struct error *err);
/* The same from JSON text, for database columns. */
int json_text_to_strmap(const char *text, struct strmap *ret, struct error *err);
int json_text_to_mapmap(const char *text, struct mapmap *ret, struct error *err);
int json_text_to_strv(const char *text, struct strv *ret, struct error *err);
