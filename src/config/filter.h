/* The filter= parameter of lists: clauses joined by and/or, evaluated strictly from left to right. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct filter;

enum filter_kind { FILTER_MISSING, FILTER_STRING, FILTER_BOOL, FILTER_NUMBER };

struct filter_value {
	enum filter_kind kind;
	const char *str; /* borrowed until the next call */
	bool b;
	double num;
};

/* Look up a dotted path, such as "config.user.a", in the object that is judged. */
typedef struct filter_value (*filter_get_fn)(const char *path, void *arg);

/* Errors: 400 `Invalid filter: ...`. */
int filter_parse(const char *text, struct filter **ret, struct error *err);
void filter_free(struct filter *f);
DEFINE_CLEANUP(struct filter *, filter_free)
/* Does the object fit? An empty filter fits all. */
bool filter_match(const struct filter *f, filter_get_fn get, void *arg);

struct json;
/* filter_get_fn for a parsed JSON object (@arg: const struct json *); keys of maps may contain dots. */
struct filter_value filter_get_json(const char *path, void *arg);
