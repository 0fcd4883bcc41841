/* metadata.yaml of an image: hostile YAML in, strict JSON out. */
#pragma once

#include <stddef.h>

#include "base/error.h"

#define METADATA_SIZE_MAX (1U << 20)

/*
 * Parse @text and return the image's metadata as JSON (form: image/unpack.h), owned by the caller. Unknown fields
 * are ignored, of a repeated key the last one counts. Aliases are refused. Errors (400): not YAML, beyond the limits
 * of size, depth and node count, a field of the wrong type, unknown architecture, missing creation date.
 */
int metadata_yaml_to_json(const char *text, size_t len, char **ret_json, struct error *err);

/* The canonical name of an architecture ("amd64" gives "x86_64"), or NULL when it is not known. */
const char *metadata_architecture(const char *name);
