/*
 * What lxd and lxd-unpack say to each other: one request on the jail's standard input, one reply on its standard
 * output, both of fixed size; the reply is followed by text_len bytes (JSON of metadata.yaml, or an error message).
 *
 * The jail's fds: 3 the image or metadata tarball, 4 the target directory (unless probing), 5 the rootfs file of a
 * split image.
 */
#pragma once

#include <stdint.h>

#define WIRE_UNPACK_MAGIC 0x4c58554eU
#define WIRE_UNPACK_TEXT_MAX (4U << 20)

#define WIRE_UNPACK_META_FD 3
#define WIRE_UNPACK_TARGET_FD 4
#define WIRE_UNPACK_ROOTFS_FD 5

enum wire_unpack_flags {
	WIRE_UNPACK_SPLIT = 1 << 0, /* a rootfs file is there */
	WIRE_UNPACK_PROBE = 1 << 1, /* stop after metadata.yaml, write nothing */
};

/* The compression of an image file, found by its first bytes. */
enum wire_unpack_format {
	WIRE_FORMAT_NONE,
	WIRE_FORMAT_TAR,
	WIRE_FORMAT_GZIP,
	WIRE_FORMAT_BZIP2,
	WIRE_FORMAT_XZ,
	WIRE_FORMAT_LZMA,
	WIRE_FORMAT_ZSTD,
	WIRE_FORMAT_LZ4,
	WIRE_FORMAT_SQUASHFS,
	WIRE_FORMAT_MAX,
};

struct wire_unpack_request {
	uint32_t magic;
	uint32_t flags;
	uint64_t max_bytes;
	uint64_t max_members;
	uint32_t cpu_seconds;
	uint32_t reserved;
};

struct wire_unpack_reply {
	uint32_t magic;
	uint32_t status; /* 0: done; otherwise the HTTP status of the error */
	uint32_t text_len;
	uint32_t meta_format;   /* enum wire_unpack_format */
	uint32_t rootfs_format; /* same; WIRE_FORMAT_NONE for unified images */
	uint32_t reserved;
	uint64_t members;
	uint64_t bytes;
	uint64_t skipped_nodes;
};
