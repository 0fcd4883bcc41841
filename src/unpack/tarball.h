/* Reads tarballs with libarchive (tar format only, a fixed list of compressions) and hands members to tree.h. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/wire_unpack.h"
#include "unpack/tree.h"

/* The compression of the file @fd by its first bytes; 400 "Unsupported compression" for anything else. */
int tarball_format_detect(int fd, enum wire_unpack_format *ret, struct error *err);

/* Where the members of a metadata or unified tarball go. */
struct tarball_sink {
	struct tree *rootfs;    /* NULL: a metadata tarball, without rootfs/ */
	struct tree *templates; /* NULL: probe, stop after metadata.yaml */
	struct tree_counts *counts;
	bool rootfs_seen;   /* a member of rootfs/ was there */
	struct strbuf yaml; /* metadata.yaml as read; data is NULL while it was not seen */
};

/* Read a metadata or unified tarball into @sink. @unified: rootfs/ is expected in it. */
int tarball_read_image(int fd, enum wire_unpack_format format, bool unified, struct tarball_sink *sink,
		       struct error *err);
/* Read the rootfs tarball of a split image: all of it goes into @rootfs. */
int tarball_read_rootfs(int fd, enum wire_unpack_format format, struct tree *rootfs, struct tree_counts *counts,
			struct error *err);
