/*
 * The image store: files as uploaded (export gives them back byte for byte) and their tree, unpacked once by the
 * jail. Instances are made as copies of the tree.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "db/store.h"

struct images;

/* Open the store below @lxd_dir and finish or undo what a crash left behind. */
int images_new(struct store *store, const char *lxd_dir, struct images **ret, struct error *err);
void images_free(struct images *im);

/* What a client may say about an image that it uploads. */
struct image_params {
	const char *project;
	const char *filename; /* NULL: none */
	const char *expected; /* fingerprint that must result, or NULL */
	bool is_public;
	const struct strmap *properties; /* override those of metadata.yaml */
	/* of images that were fetched from another server */
	bool properties_all; /* @properties are all there are */
	bool auto_update;
	bool cached;
	const char *source;          /* image_source_to_json(); NULL: none */
	const struct strv *profiles; /* NULL: default */
	int64_t expires_ns;          /* 0: as metadata.yaml says */
};

/* An upload in progress: files in a staging folder of its own. */
struct image_upload;

enum image_part { IMAGE_PART_META, IMAGE_PART_ROOTFS };

/* Begins an upload: a staging folder of its own. @ret belongs to the caller (image_upload_free()). */
int image_upload_new(struct images *im, struct image_upload **ret, struct error *err);
/* Parts come one after the other, each in order. Errors: 507 disk full. */
int image_upload_write(struct image_upload *up, enum image_part part, const void *data, size_t len, struct error *err);
#define IMAGE_BYTES_MAX (64ull << 30) /* of its files, wherever they come from */

struct image_result {
	char *fingerprint; /* set as soon as it is known, also on failure */
	int64_t size_bytes;
	uint64_t skipped_nodes;
	bool downloaded; /* image_obtain(): it was not here before */
};
void image_result_done(struct image_result *r);
/*
 * Unpack, check and add the image. Errors: 400 bad image, `fingerprints don't match, got A expected B`;
 * 409 `Image with same fingerprint already exists`. On failure nothing stays but the upload, which the caller frees.
 */
int image_upload_finish(struct image_upload *up, const struct image_params *params, struct image_result *ret,
			struct error *err);
/* Removes what is still staged. NULL is fine. */
void image_upload_free(struct image_upload *up);

/* Remove an image and its files. Waits for instances being copied from it. Errors: 404. */
int image_delete(struct images *im, const char *project, const char *fingerprint, struct error *err);
/*
 * Open the tree for copying and hold it against deletion until image_tree_close(). A tree that is missing is
 * unpacked again. Returns an fd.
 */
int image_tree_open(struct images *im, const char *project, const char *fingerprint, struct error *err);
void image_tree_close(struct images *im, int fd);
/* Open the (metadata) file or the rootfs file for export. Returns an fd. */
int image_file_open(struct images *im, const char *project, const char *fingerprint, enum image_part part,
		    struct error *err);
