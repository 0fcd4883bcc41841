/*
 * Allocation. Small internal allocations abort when memory runs out (style: containers outlive the
 * daemon and lasting state is on disk); a size that a client chose goes through try_alloc().
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/macros.h"

/* Like malloc, calloc, realloc, strdup, strndup, memdup; never NULL, the caller frees. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *ptr, size_t size) __attribute__((returns_nonnull));
/* Grow @ptr to @count elements of @size bytes; aborts on overflow. */
void *xreallocarray(void *ptr, size_t count, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
void *xmemdup(const void *p, size_t n) __attribute__((malloc, returns_nonnull));
/* strdup that maps NULL to NULL. */
char *xstrdup_null(const char *s);
/* Formatted string owned by the caller. */
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((malloc, returns_nonnull));
char *xvasprintf(const char *fmt, va_list ap) PRINTF_LIKE(1, 0) __attribute__((malloc, returns_nonnull));

#define xnew(type) ((type *)xcalloc(1, sizeof(type)))
#define xnew_array(type, n) ((type *)xcalloc((n), sizeof(type)))

/* malloc for a size that came from outside: NULL when it exceeds @max or memory is short. */
void *try_alloc(size_t size, size_t max) MUST_USE;
