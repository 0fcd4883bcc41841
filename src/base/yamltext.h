/*
 * YAML for people: JSON values printed as YAML, and YAML documents read as JSON values. libyaml appears only in
 * yamltext.c, which is linked by the client programs alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strbuf.h"

enum yaml_flags {
	YAML_SORT_KEYS = 1 << 0,  /* members in order of their names, else as they come */
	YAML_KEEP_NULL = 1 << 1,  /* null stays null, else it becomes {} or [] as the API's fields have it */
	YAML_QUOTE_TIMES = 1 << 2 /* times are text like any other */
};

/*
 * Append @j as one YAML document, ended by a newline. Text that YAML would read as something else (numbers, booleans,
 * null, times) is quoted; text of several lines becomes a literal block.
 */
int yaml_write(const struct json *j, unsigned flags, struct strbuf *out, struct error *err);

/*
 * Read one document. Scalars become strings, except that plain null is null and that, where the key is in @typed
 * (NULL-terminated, may be NULL), plain true/false and whole numbers become booleans and numbers. Refused: aliases,
 * more than one document, nesting over 32, keys that are no scalars. An empty document is null. Errors: 400 with line.
 */
int yaml_read(const char *text, size_t len, const char *const *typed, struct json **ret, struct error *err);
