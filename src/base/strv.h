/* A NULL-terminated, owned array of strings. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct strv {
	char **items; /* NULL when empty, else NULL-terminated */
	size_t len;
};

#define STRV_INIT ((struct strv){0})
#define auto_strv CLEANUP(strv_done)

void strv_done(struct strv *v);
/* Append a copy. */
void strv_add(struct strv *v, const char *s);
void strv_addf(struct strv *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Append @s itself; the list owns it now. */
void strv_take(struct strv *v, char *s);
bool strv_contains(const struct strv *v, const char *s);
/* Remove the first item equal to @s; true when there was one. */
bool strv_remove(struct strv *v, const char *s);
void strv_sort(struct strv *v);
void strv_copy(struct strv *dst, const struct strv *src);
bool strv_equal(const struct strv *a, const struct strv *b);
/* Split at each @sep; empty parts are kept, an empty string gives no part. */
void strv_split(struct strv *v, const char *s, char sep);
/* Split at white space; no part is empty. */
void strv_split_words(struct strv *v, const char *s);
/* Split at commas as lists in configurations are: blanks around parts are cut, empty parts are left out. */
void strv_split_list(struct strv *v, const char *s);
/* Items joined by @sep; the caller frees. */
char *strv_join(const struct strv *v, const char *sep);
