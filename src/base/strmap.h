/*
 * Ordered maps keyed by string: `struct strmap` (string to string, as configuration is) and
 * `struct mapmap` (string to strmap, as devices are). Keys are sorted, as JSON output wants them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct strmap_item {
	char *key;
	char *value;
};

struct strmap {
	struct strmap_item *items; /* sorted by key, read freely */
	size_t len;
};

#define STRMAP_INIT ((struct strmap){0})
#define auto_strmap CLEANUP(strmap_done)

void strmap_done(struct strmap *m);
/* The value, or NULL; borrowed until the next change. */
const char *strmap_get(const struct strmap *m, const char *key);
/* The value, or @def when absent or empty. */
const char *strmap_get_or(const struct strmap *m, const char *key, const char *def);
/* Set (copying both); a NULL value removes the key. */
void strmap_set(struct strmap *m, const char *key, const char *value);
/* True when the key was there. */
bool strmap_remove(struct strmap *m, const char *key);
void strmap_copy(struct strmap *dst, const struct strmap *src);
/* Set every item of @src in @dst. */
void strmap_merge(struct strmap *dst, const struct strmap *src);
/* Remove the items whose value is "": for configurations an unset key is an absent one. */
void strmap_drop_empty(struct strmap *m);
bool strmap_equal(const struct strmap *a, const struct strmap *b);
/* A boolean key; @def when absent, empty or not a boolean. */
bool strmap_get_bool(const struct strmap *m, const char *key, bool def);

struct mapmap_item {
	char *key;
	struct strmap map;
};

struct mapmap {
	struct mapmap_item *items; /* sorted by key, read freely */
	size_t len;
};

#define MAPMAP_INIT ((struct mapmap){0})
#define auto_mapmap CLEANUP(mapmap_done)

void mapmap_done(struct mapmap *m);
/* The map under @key, or NULL; borrowed. */
struct strmap *mapmap_get(const struct mapmap *m, const char *key);
/* The map under @key, made empty when absent; borrowed. */
struct strmap *mapmap_ensure(struct mapmap *m, const char *key);
/* Replace the whole map under @key by a copy of @value. */
void mapmap_set(struct mapmap *m, const char *key, const struct strmap *value);
bool mapmap_remove(struct mapmap *m, const char *key);
void mapmap_copy(struct mapmap *dst, const struct mapmap *src);
/* strmap_drop_empty() of every map in it; maps that are empty then stay. */
void mapmap_drop_empty(struct mapmap *m);
bool mapmap_equal(const struct mapmap *a, const struct mapmap *b);
