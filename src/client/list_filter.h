/* The filters of `lxc list`. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strv.h"

/* True when a filter looks at addresses. */
bool list_filter_needs_state(const struct strv *filters);
/* The instances of @list that match all @filters, as a new array. 400 for a bad address. */
int list_filter_apply(const struct strv *filters, const struct json *list, struct json **ret, struct error *err);
/* One instance against one filter: 1, 0 or an error. */
int list_filter_match(const char *filter, const struct json *inst, struct error *err);
