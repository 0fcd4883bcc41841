/* Lists on standard output: ASCII grid, compact, CSV, or the API's objects as JSON or YAML. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "base/strbuf.h"
#include "base/strv.h"

enum table_format { TABLE_GRID, TABLE_COMPACT, TABLE_CSV, TABLE_JSON, TABLE_YAML };

struct table {
	struct strv header;
	struct strv *rows;
	size_t row_count;
};

#define TABLE_INIT ((struct table){0})
#define auto_table CLEANUP(table_done)
void table_done(struct table *t);

/* table, compact, csv, json, yaml; 400 `Invalid format "x"`. */
int table_format_parse(const char *name, enum table_format *ret, struct error *err);
/* Of @n columns. */
void table_set_header(struct table *t, const char *const *names, size_t n);
/* Add the cells of a row; @cells is emptied. */
void table_take_row(struct table *t, struct strv *cells);
/* Add a row of @n strings. */
void table_add(struct table *t, const char *const *cells, size_t n);
/* Sort rows by their cells from the left, digits by value, empty ones last. */
void table_sort(struct table *t);
/* Sort rows as lists of images are: letter by letter, those with empty cells last. */
void table_sort_empty_last(struct table *t);
/* As text in one of the first three formats. */
void table_render(const struct table *t, enum table_format format, struct strbuf *out);
/* Print on standard output; @objects are what JSON and YAML show. */
int table_print(const struct table *t, enum table_format format, const struct json *objects, struct error *err);

/* "c10" after "c9". Like strcmp. */
int natural_compare(const char *a, const char *b);

/* The option row that every list has. */
#define TABLE_FORMAT_OPTION                                                                                  \
	{                                                                                                    \
		"format", 'f', OPTION_STRING, "table", "Form of the list: csv, json, table, yaml or compact" \
	}
