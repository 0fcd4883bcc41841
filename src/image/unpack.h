/*
 * The daemon's side of lxd-unpack: run the jail on one image and take its answer. The jail is not trusted: its
 * answer is bounded, checked and parsed again here.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

struct image_unpack_spec {
	int meta_fd;          /* unified tarball, or the metadata tarball of a split image; a regular file, borrowed */
	int rootfs_fd;        /* tarball or squashfs of a split image, borrowed; < 0: unified */
	int target_dirfd;     /* empty directory to unpack into, borrowed; < 0: only read metadata.yaml (probe) */
	uint64_t max_bytes;   /* logical bytes, holes of sparse files counted; 0: IMAGE_UNPACK_BYTES_MAX */
	uint64_t max_members; /* archive members; 0: IMAGE_UNPACK_MEMBERS_MAX */
	unsigned timeout_ms;  /* wall time; 0: IMAGE_UNPACK_TIMEOUT_MS */
};

#define IMAGE_UNPACK_BYTES_MAX (64ULL << 30)
#define IMAGE_UNPACK_MEMBERS_MAX 2000000ULL
#define IMAGE_UNPACK_TIMEOUT_MS 3600000U

/* All fields that mean "none" or "default". */
#define IMAGE_UNPACK_SPEC_INIT ((struct image_unpack_spec){.meta_fd = -1, .rootfs_fd = -1, .target_dirfd = -1})

struct image_unpack_result {
	/*
	 * {"architecture":"x86_64","creation_date":N,"expiry_date":N,"properties":{str:str},
	 *  "templates":{path:{"when":[str],"create_only":bool,"template":str,"properties":{str:str}}}}
	 */
	char *metadata_json;
	uint64_t members;       /* archive members seen */
	uint64_t bytes;         /* logical bytes of the files written */
	uint64_t skipped_nodes; /* device nodes (and sockets) that were left out */
	const char *meta_ext;   /* file name extension for export: ".tar", ".tar.gz", ".tar.xz" ...; static */
	const char *rootfs_ext; /* same, or ".squashfs"; NULL for unified images */
};

#define IMAGE_UNPACK_RESULT_INIT ((struct image_unpack_result){0})

void image_unpack_result_done(struct image_unpack_result *res);
#define auto_image_unpack_result CLEANUP(image_unpack_result_done)

/*
 * Unpack into @spec->target_dirfd: rootfs/, templates/ (both always there), metadata.yaml. The image files
 * are read from their start; their offsets are moved, so pass open file descriptions that nobody else reads from.
 *
 * Blocks until the jail has ended; holds no lock. Any failure leaves the target directory empty, and @ret untouched.
 * Errors: -EINVAL (400) the image is bad, the message names the member; -EFBIG (413) it exceeds a cap or the time
 * limit; -ENOSPC (507) the disk is full; otherwise 500: the jail could not be made or died ("Image unpacker was
 * killed by signal 9 (Killed)").
 */
int image_unpack(const struct image_unpack_spec *spec, struct image_unpack_result *ret, struct error *err);

/* The target-less form: check metadata.yaml only, cheap enough to answer an upload with 400 at once. */
int image_probe(int meta_fd, struct image_unpack_result *ret, struct error *err);
