/* Making an image of an instance's volume: the daemon's side of lxd-pack. */
#pragma once

#include "image/image.h"

struct image_pack_spec {
	int dirfd;           /* of the volume */
	const char *uid_map; /* lines of the kernel's id maps by which owners are shifted on disk; NULL: not */
	const char *gid_map;
	const char *compression;      /* image_compression_known() */
	const char *metadata;         /* JSON: what metadata.yaml shall say besides templates */
	bool (*cancelled)(void *arg); /* asked now and then */
	void *arg;
};

/* One of gzip, xz, zstd, bzip2, none. */
bool image_compression_known(const char *name);
/* Write the volume, which nothing changes meanwhile, to @up as a unified image. Errors: 400 cancelled; else 500, 507.
 */
int image_pack(const struct image_pack_spec *spec, struct image_upload *up, struct error *err);
