/*
 * Images that are on other servers: a LXD server, an image server of the simplestreams kind, or one file behind an
 * https address. First it is found out what is meant, then its files are fetched straight into an upload.
 */
#pragma once

#include "base/strmap.h"
#include "base/strv.h"
#include "image/fetch.h"
#include "image/image.h"

/* What a client asks for. Texts are owned. */
struct image_source {
	char *server;      /* "https://host:port" */
	char *protocol;    /* "lxd", "simplestreams", "direct" (a single file: server is its address) */
	char *certificate; /* PEM that the server must show; "" or NULL: the system's authorities decide */
	char *alias;       /* or the fingerprint, or its beginning: the name to look for */
	char *secret;
	char *image_type; /* "container" */
	char *project;    /* on that server */
};

void image_source_done(struct image_source *s);
/* @dst must be empty. */
void image_source_copy(struct image_source *dst, const struct image_source *src);
/* As it is stored with an image and shown as update_source: JSON text without the secret; the caller frees. */
char *image_source_to_json(const struct image_source *s);
/* From such text; false when it holds none. */
bool image_source_from_json(const char *text, struct image_source *ret);

/* What was found. */
struct image_found {
	char fingerprint[65];
	char *filename;
	uint64_t size; /* 0: not known before */
	struct strmap properties;
	struct strv aliases;
	int64_t expires_ns;
	bool is_public;
};

struct image_remote;

/*
 * Ask the server. @spec's certificate is taken from @src. Errors: 400 nonsense (protocol, address); 404 there is no
 * such image, or it is not for us; 503 not reachable.
 */
int image_remote_find(const struct image_source *src, const struct fetch_spec *spec, const char *architecture,
		      struct image_remote **ret, struct error *err);
void image_remote_free(struct image_remote *r);
DEFINE_CLEANUP(struct image_remote *, image_remote_free)
/* Borrowed, as long as @r lives. */
const struct image_found *image_remote_found(const struct image_remote *r);
/* Fetch the files into @up. That they are the image is for image_upload_finish() to see (params.expected). */
int image_remote_download(struct image_remote *r, struct image_upload *up, struct error *err);
