/*
 * Image servers of the "simplestreams" kind (images.linuxcontainers.org, cloud-images.ubuntu.com): what their index and
 * product files say. Pure functions over text that was fetched by somebody else; nothing in it is believed: names that
 * could leave the server's folder, odd hashes and the like make an item not exist.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strmap.h"
#include "base/strv.h"

#define STREAMS_INDEX "streams/v1/index.json"
#define STREAMS_INDEX_MAX (4u * 1024 * 1024)     /* bytes of an index worth reading */
#define STREAMS_PRODUCTS_MAX (16u * 1024 * 1024) /* and of a product file */
#define STREAMS_FILES_MAX 16u                    /* product files of an index */
#define STREAMS_IMAGES_MAX 20000u
#define STREAMS_STRING_MAX 1024u               /* longer ones make an item, property or alias not exist */
#define STREAMS_NAMES_MAX 64u                  /* aliases of a product, and requirements */
#define STREAMS_LIST_BYTES (64u * 1024 * 1024) /* memory of a whole list: what a product says is in each image */

/* One file of an image, relative to the server's address. */
struct streams_file {
	char *path;
	char sha256[65];
	uint64_t size;
};

struct streams_image {
	char fingerprint[65];
	char *architecture; /* as LXD names it: x86_64 */
	const char *type;   /* "container", "virtual-machine" */
	struct streams_file meta;
	struct streams_file root; /* path NULL: a unified image */
	struct strmap properties;
	struct strv aliases; /* of the product; of several images the newest of the wanted architecture is meant */
	int64_t created_ns;
	int64_t expires_ns; /* 0: never */
	bool squashfs;
};

struct streams_list {
	struct streams_image **items; /* newest first, squashfs before tar */
	size_t len;
	size_t bytes; /* about what it takes */
};

#define STREAMS_LIST_INIT ((struct streams_list){0})
#define auto_streams_list CLEANUP(streams_list_done)
void streams_list_done(struct streams_list *l);

/* Bytes to be fetched for it. */
uint64_t streams_image_size(const struct streams_image *img);

/* The product files (relative paths) that hold images. Errors: 400 no index. */
int streams_parse_index(const char *text, size_t len, struct strv *ret_paths, struct error *err);
/* Add the images of a product file to @ret and sort it. Errors: 400 no product file, or too many images. */
int streams_parse_products(const char *text, size_t len, struct streams_list *ret, struct error *err);
/*
 * The image that @name means: an alias of the newest image of @architecture (as in "x86_64"; an alias with "/amd64" at
 * its end names its own), or a fingerprint or the beginning of one. @type as in the struct, NULL or "": container. NULL
 * when there is none, or a fingerprint's beginning is shared.
 */
const struct streams_image *streams_find(const struct streams_list *l, const char *name, const char *architecture,
					 const char *type);
/* LXD's name of an architecture that may have another ("amd64"): a constant, or NULL. */
const char *streams_architecture(const char *name);
/* "<base>/<path>" with what URLs may not hold escaped; the caller frees. */
char *streams_url_path(const char *base, const char *path);
