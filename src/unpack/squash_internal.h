/* The two halves of the squashfs reader: blocks and tables (squash_table.c), inodes and folders (squash.c). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "unpack/tree.h"

#define SQUASH_META_SIZE 8192
#define SQUASH_NONE UINT32_MAX

/* A decoded metadata block. */
struct squash_meta {
	uint64_t start; /* 0: empty slot */
	uint64_t next;  /* where the following block begins */
	uint32_t len;
	uint8_t data[SQUASH_META_SIZE];
};

struct squash {
	int fd;
	uint64_t size; /* bytes_used */
	uint32_t block_size;
	uint32_t frag_count;
	uint32_t id_count;
	uint16_t compressor;
	uint64_t root_ref;
	uint64_t id_table, xattr_table, inode_table, dir_table, frag_table;
	uint64_t xattr_start; /* of the key-value blocks */
	uint32_t xattr_count;
	struct squash_meta *cache;
	unsigned cache_next;
	uint8_t *in;   /* compressed bytes, block_size or one metadata block */
	uint8_t *out;  /* a decoded data block */
	uint8_t *frag; /* a decoded fragment block, the one at frag_start */
	uint64_t frag_start;
	uint32_t frag_len;
};

/* A place in the metadata; reading moves it on. */
struct squash_pos {
	uint64_t block;
	uint32_t offset;
};

/* Little endian numbers at any alignment. */
uint16_t squash_u16(const uint8_t *p);
uint32_t squash_u32(const uint8_t *p);
uint64_t squash_u64(const uint8_t *p);

/* Sets the error "Damaged squashfs image: @what" (400) and returns its negative errno. */
int squash_damaged(const char *what, struct error *err);
/* Read and check the superblock. */
int squash_open(int fd, struct squash *sq, struct error *err);
void squash_done(struct squash *sq);
int squash_meta_read(struct squash *sq, struct squash_pos *pos, void *buf, size_t len, struct error *err);
/*
 * Decode the data block of @size_field (bit 24: stored as is) at @start into @out, which holds block_size bytes.
 */
int squash_block_read(struct squash *sq, uint64_t start, uint32_t size_field, uint8_t *out, uint32_t *ret_len,
		      struct error *err);
/* Make sq->frag, frag_len hold fragment block @index. */
int squash_fragment_load(struct squash *sq, uint32_t index, struct error *err);
int squash_id_get(struct squash *sq, uint16_t index, uint32_t *ret, struct error *err);
/* The attributes of xattr table row @index (SQUASH_NONE: none), filtered as tree_xattrs_add() does. */
int squash_xattrs_get(struct squash *sq, uint32_t index, struct tree_xattrs *ret, struct error *err);
