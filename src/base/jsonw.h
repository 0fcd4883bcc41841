/*
 * Writing JSON straight into a buffer, without a tree. Commas are placed by the writer.
 *
 *	jsonw_object_begin(&w);
 *	jsonw_kv_str(&w, "name", name);
 *	jsonw_object_end(&w);
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "base/strmap.h"
#include "base/strv.h"

struct jsonw {
	struct strbuf *out; /* borrowed */
	bool comma;         /* the next value needs one in front */
};

#define JSONW(buf) ((struct jsonw){.out = (buf)})

/* Brackets; every begin needs its end. */
void jsonw_object_begin(struct jsonw *w);
void jsonw_object_end(struct jsonw *w);
/* The same for arrays. */
void jsonw_array_begin(struct jsonw *w);
void jsonw_array_end(struct jsonw *w);
/* The name of the value that comes next. */
void jsonw_key(struct jsonw *w, const char *key);
/* One value each. */
void jsonw_null(struct jsonw *w);
/* true or false. */
void jsonw_bool(struct jsonw *w, bool v);
/* Whole numbers. */
void jsonw_int(struct jsonw *w, int64_t v);
/* The same without sign. */
void jsonw_uint(struct jsonw *w, uint64_t v);
/* Text is valid UTF-8 or has its bad bytes replaced by U+FFFD; NULL is written as "". */
void jsonw_str(struct jsonw *w, const char *s);
void jsonw_strf(struct jsonw *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void jsonw_time(struct jsonw *w, int64_t ns);
/* Text that is JSON already (a database column, a cached piece). */
void jsonw_raw(struct jsonw *w, const char *json, size_t len);
void jsonw_strmap(struct jsonw *w, const struct strmap *m);
void jsonw_mapmap(struct jsonw *w, const struct mapmap *m);
void jsonw_strv(struct jsonw *w, const struct strv *v); /* [] when empty */

/* key and value at once */
void jsonw_kv_str(struct jsonw *w, const char *key, const char *v);
void jsonw_kv_strf(struct jsonw *w, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);
void jsonw_kv_bool(struct jsonw *w, const char *key, bool v);
void jsonw_kv_int(struct jsonw *w, const char *key, int64_t v);
void jsonw_kv_uint(struct jsonw *w, const char *key, uint64_t v);
void jsonw_kv_time(struct jsonw *w, const char *key, int64_t ns);
void jsonw_kv_null(struct jsonw *w, const char *key);
void jsonw_kv_raw(struct jsonw *w, const char *key, const char *json);
void jsonw_kv_strmap(struct jsonw *w, const char *key, const struct strmap *m);
void jsonw_kv_mapmap(struct jsonw *w, const char *key, const struct mapmap *m);
void jsonw_kv_strv(struct jsonw *w, const char *key, const struct strv *v);

/* Whole values as text, for database columns; the caller frees. */
char *strmap_to_json(const struct strmap *m);
char *mapmap_to_json(const struct mapmap *m);
char *strv_to_json(const struct strv *v);
