/* String questions and strict parsers: every parser refuses trailing rubbish. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

/* Equal texts; neither may be NULL. */
static inline bool streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* The rest of @s after @prefix, or NULL. */
static inline const char *startswith(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* Where @suffix begins in @s, or NULL. */
const char *endswith(const char *s, const char *suffix);
static inline bool str_is_empty(const char *s)
{
	return !s || !*s;
}

/* Length of the valid UTF-8 character that begins at @s, of which @left bytes may be read; 0: it is none. */
size_t utf8_char_len(const char *s, size_t left);

/* Strip white space at both ends, in place; returns the start. */
char *str_strip(char *s);

/* Decimal numbers; -EINVAL or -ERANGE, @ret untouched on failure. */
int parse_u64(const char *s, uint64_t *ret) MUST_USE;
int parse_i64(const char *s, int64_t *ret) MUST_USE;
int parse_u32(const char *s, uint32_t *ret) MUST_USE;
/* Octal number, such as a file mode. */
int parse_octal(const char *s, unsigned *ret) MUST_USE;
/* true/false, 1/0, yes/no, on/off in any case. "" is not a boolean. -EINVAL otherwise. */
int parse_bool(const char *s, bool *ret) MUST_USE;
/* Same, with a default for NULL, "" and invalid text. */
bool parse_bool_or(const char *s, bool def);
/*
 * Bytes with an optional suffix: B, kB, MB, GB, TB, PB, EB (powers of 1000) or KiB ... EiB (powers of
 * 1024); no fraction. Message: `Invalid value: bar`. -EINVAL.
 */
int parse_size(const char *s, uint64_t *ret_bytes, struct error *err) MUST_USE;
/* "12.34MB" (powers of 1000) and "12.34MiB" (powers of 1024), two decimals; the caller frees. */
char *format_size_si(uint64_t bytes);
char *format_size_iec(uint64_t bytes);
