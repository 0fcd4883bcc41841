/* What several image commands share. */
#pragma once

#include "base/error.h"
#include "http/client_api.h"

/* Fingerprint of an alias, or of a full or partial fingerprint; the caller frees. 404 "Image not found". */
int image_resolve(struct api *a, const char *name, char **ret, struct error *err);
/* The import and export commands, in image_transfer.c; the alias group in image_alias.c. */
extern const struct command cmd_image_import, cmd_image_export, cmd_image_alias;
