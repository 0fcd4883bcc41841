/* What several image commands share. */
#pragma once

#include "base/error.h"
#include "client/client.h"
#include "http/client_api.h"

/* Fingerprint (all 64 digits) of an alias, or of a full or partial fingerprint; the caller frees. 404 "Image not
 * found". */
int image_resolve(struct api *a, const char *name, char **ret, struct error *err);

/* What a server says is a fingerprint becomes part of paths: exactly 64 lower-case hexadecimal digits. */
bool image_is_fingerprint(const char *text);
/* The extension of the file name that a server sent (may be NULL), out of those that images have; else "". */
const char *image_extension(const char *server_name);

/* A remote as a place to look for images. */
struct image_source {
	struct api *api;     /* borrowed; NULL for simplestreams */
	struct json *images; /* simplestreams: all it has, as the API would list them */
	bool is_public;      /* the remote is a public server */
	const char *type;    /* of images that are looked for by alias */
};

#define IMAGE_SOURCE_INIT ((struct image_source){0})
#define auto_image_source CLEANUP(image_source_done)
void image_source_done(struct image_source *s);
/* Open the remote of @t (parsed, connected or not). */
int image_source_open(struct cli *c, struct target *t, struct image_source *ret, struct error *err);
/* All images, all aliases, or the image that @name means, as the API's objects; the caller frees. */
int image_source_list(const struct image_source *s, struct json **ret, struct error *err);
int image_source_aliases(const struct image_source *s, struct json **ret, struct error *err);
int image_source_find(const struct image_source *s, const char *name, struct json **ret, struct error *err);

/* Point @alias at the image, moving it if it exists. */
int image_set_alias(struct cli *c, struct api *a, const char *alias, const char *fingerprint, struct error *err);
/* An unnamed file where large temporary data belongs. */
int image_open_temporary(int *ret_fd, struct error *err);

/* The import and export commands, in image_transfer.c; the alias group in image_alias.c. */
extern const struct command cmd_image_copy, cmd_image_import, cmd_image_export, cmd_image_alias;
