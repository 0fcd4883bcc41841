/* Decoding what lxd-unpack answered: a pure function, since the jail is not trusted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "image/unpack.h"

/*
 * Decode @len bytes of answer. An error that the jail tells of is returned with its status (400, 413, 500 or 507)
 * and its message, control characters removed; an answer that is not in order is a 500.
 */
int image_unpack_reply_decode(const char *data, size_t len, bool split, struct image_unpack_result *ret,
			      struct error *err);
