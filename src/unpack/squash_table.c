/* Blocks and tables of squashfs: superblock, compression, metadata, fragments, ids, extended attributes. */
#include <lz4.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "unpack/squash_internal.h"

#define CACHE_LEN 32
#define BLOCK_MAX (1U << 20)
#define BLOCK_STORED (1U << 24)
#define META_STORED 0x8000
#define XZ_MEMORY_MAX (128U << 20)
#define XATTRS_MAX 1024
#define XATTR_VALUE_MAX 65536
#define XATTR_OUT_OF_LINE 0x100

uint16_t squash_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t squash_u32(const uint8_t *p)
{
	return squash_u16(p) | (uint32_t)squash_u16(p + 2) << 16;
}

uint64_t squash_u64(const uint8_t *p)
{
	return squash_u32(p) | (uint64_t)squash_u32(p + 4) << 32;
}

int squash_damaged(const char *what, struct error *err)
{
	return error_set(err, 400, "Damaged squashfs image: %s", what);
}

/* Decoders: @in_len bytes to at most *@out_len; false when the data is bad. */
typedef bool (*decode_fn)(const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len);

static bool decode_gzip(const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len)
{
	uLongf n = *out_len;

	if (uncompress(out, &n, in, in_len) != Z_OK)
		return false;
	*out_len = n;
	return true;
}

static bool decode_lzma(const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_ret r = lzma_alone_decoder(&s, XZ_MEMORY_MAX);

	s.next_in = in;
	s.avail_in = in_len;
	s.next_out = out;
	s.avail_out = *out_len;
	if (r == LZMA_OK)
		r = lzma_code(&s, LZMA_FINISH);
	*out_len = s.total_out;
	lzma_end(&s);
	return r == LZMA_STREAM_END || (r == LZMA_OK && s.avail_out == 0);
}

static bool decode_lzo(const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len)
{
	lzo_uint n = *out_len;

	if (lzo1x_decompress_safe(in, in_len, out, &n, NULL) != LZO_E_OK)
		return false;
	*out_len = n;
	return true;
}

static bool decode_xz(const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len)
{
	uint64_t memory = XZ_MEMORY_MAX;
	size_t in_pos = 0, out_pos = 0;

	if (lzma_stream_buffer_decode(&memory, 0, NULL, in, &in_pos, in_len, out, &out_pos, *out_len) != LZMA_OK)
		return false;
	*out_len = out_pos;
	return true;
}

static bool decode_lz4(const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len)
{
	int n = LZ4_decompress_safe((const char *)in, (char *)out, (int)in_len, (int)*out_len);

	if (n < 0)
		return false;
	*out_len = (size_t)n;
	return true;
}

static bool decode_zstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len)
{
	size_t n = ZSTD_decompress(out, *out_len, in, in_len);

	if (ZSTD_isError(n))
		return false;
	*out_len = n;
	return true;
}

/* By the superblock's compressor number. */
static const decode_fn decoders[] = {NULL, decode_gzip, decode_lzma, decode_lzo, decode_xz, decode_lz4, decode_zstd};

static int read_at(struct squash *sq, uint64_t start, void *buf, size_t len, struct error *err)
{
	uint8_t *p = buf;

	if (start > sq->size || len > sq->size - start)
		return squash_damaged("a block lies outside the file", err);
	while (len > 0) {
		ssize_t n = pread(sq->fd, p, len, (off_t)start);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, errno, "Read image file");
		if (n == 0)
			return squash_damaged("the file is truncated", err);
		p += n;
		start += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int superblock_parse(struct squash *sq, const uint8_t *sb, struct error *err)
{
	unsigned log = squash_u16(sb + 22);

	sq->block_size = squash_u32(sb + 12);
	sq->frag_count = squash_u32(sb + 16);
	sq->compressor = squash_u16(sb + 20);
	sq->id_count = squash_u16(sb + 26);
	sq->root_ref = squash_u64(sb + 32);
	sq->id_table = squash_u64(sb + 48);
	sq->xattr_table = squash_u64(sb + 56);
	sq->inode_table = squash_u64(sb + 64);
	sq->dir_table = squash_u64(sb + 72);
	sq->frag_table = squash_u64(sb + 80);
	if (squash_u16(sb + 28) != 4)
		return error_set(err, 400, "Unsupported squashfs version %u", squash_u16(sb + 28));
	if (sq->compressor == 0 || sq->compressor >= ARRAY_SIZE(decoders))
		return error_set(err, 400, "Unsupported squashfs compression %u", sq->compressor);
	if (log < 12 || log > 20 || sq->block_size != 1U << log)
		return squash_damaged("bad block size", err);
	if (sq->inode_table >= sq->size || sq->dir_table >= sq->size)
		return squash_damaged("a table lies outside the file", err);
	return 0;
}

static int xattr_table_open(struct squash *sq, struct error *err)
{
	uint8_t head[16];
	int r;

	if (sq->xattr_table == UINT64_MAX)
		return 0;
	r = read_at(sq, sq->xattr_table, head, sizeof(head), err);
	if (r < 0)
		return r;
	sq->xattr_start = squash_u64(head);
	sq->xattr_count = squash_u32(head + 8);
	return 0;
}

int squash_open(int fd, struct squash *sq, struct error *err)
{
	uint8_t sb[96];
	struct stat st;
	int r;

	*sq = (struct squash){.fd = fd, .size = sizeof(sb)};
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "Look at the image file");
	r = read_at(sq, 0, sb, sizeof(sb), err);
	if (r < 0)
		return r;
	sq->size = squash_u64(sb + 40);
	if (sq->size > (uint64_t)st.st_size)
		return squash_damaged("the file is truncated", err);
	r = superblock_parse(sq, sb, err);
	if (r < 0)
		return r;
	if (lzo_init() != LZO_E_OK)
		return error_set(err, 500, "Prepare the LZO decoder");
	sq->cache = xcalloc(CACHE_LEN, sizeof(*sq->cache));
	sq->in = xmalloc(MAX_OF(sq->block_size, (uint32_t)SQUASH_META_SIZE));
	sq->out = xmalloc(sq->block_size);
	sq->frag = xmalloc(sq->block_size);
	return xattr_table_open(sq, err);
}

void squash_done(struct squash *sq)
{
	free(sq->cache);
	free(sq->in);
	free(sq->out);
	free(sq->frag);
}

static int meta_load(struct squash *sq, uint64_t start, struct squash_meta **ret, struct error *err)
{
	struct squash_meta *m;
	uint8_t head[2];
	size_t len;
	int r;

	for (unsigned i = 0; i < CACHE_LEN; i++) {
		if (sq->cache[i].start == start && start) {
			*ret = &sq->cache[i];
			return 0;
		}
	}
	m = &sq->cache[sq->cache_next++ % CACHE_LEN];
	m->start = 0;
	r = read_at(sq, start, head, 2, err);
	if (r < 0)
		return r;
	len = squash_u16(head) & ~META_STORED;
	if (len == 0 || len > SQUASH_META_SIZE)
		return squash_damaged("bad size of a metadata block", err);
	r = read_at(sq, start + 2, sq->in, len, err);
	if (r < 0)
		return r;
	m->next = start + 2 + len;
	if (squash_u16(head) & META_STORED) {
		memcpy(m->data, sq->in, len);
	} else {
		size_t out_len = SQUASH_META_SIZE;

		if (!decoders[sq->compressor](sq->in, len, m->data, &out_len))
			return squash_damaged("a metadata block does not decompress", err);
		len = out_len;
	}
	m->len = (uint32_t)len;
	m->start = start;
	*ret = m;
	return 0;
}

int squash_meta_read(struct squash *sq, struct squash_pos *pos, void *buf, size_t len, struct error *err)
{
	uint8_t *p = buf;

	while (len > 0) {
		struct squash_meta *m = NULL;
		size_t n;
		int r = meta_load(sq, pos->block, &m, err);

		if (r < 0)
			return r;
		if (pos->offset >= m->len) {
			if (pos->offset > m->len || m->len == 0)
				return squash_damaged("a reference points behind its block", err);
			*pos = (struct squash_pos){.block = m->next};
			continue;
		}
		n = MIN_OF(len, (size_t)m->len - pos->offset);
		memcpy(p, m->data + pos->offset, n);
		p += n;
		len -= n;
		pos->offset += (uint32_t)n;
	}
	return 0;
}

int squash_block_read(struct squash *sq, uint64_t start, uint32_t size_field, uint8_t *out, uint32_t *ret_len,
		      struct error *err)
{
	uint32_t len = size_field & (BLOCK_STORED - 1);
	bool stored = size_field & BLOCK_STORED;
	size_t out_len = sq->block_size;
	int r;

	if (len == 0 || len > sq->block_size || size_field >= 2 * BLOCK_STORED)
		return squash_damaged("bad size of a data block", err);
	r = read_at(sq, start, stored ? out : sq->in, len, err);
	if (r < 0)
		return r;
	if (stored)
		out_len = len;
	else if (!decoders[sq->compressor](sq->in, len, out, &out_len))
		return squash_damaged("a data block does not decompress", err);
	*ret_len = (uint32_t)out_len;
	return 0;
}

/* Row @index of a table whose rows of @row bytes lie in metadata blocks listed at @list. */
static int table_row(struct squash *sq, uint64_t list, uint32_t index, size_t row, void *buf, struct error *err)
{
	uint32_t per_block = (uint32_t)(SQUASH_META_SIZE / row);
	uint8_t where[8];
	struct squash_pos pos;
	int r;

	r = read_at(sq, list + 8ULL * (index / per_block), where, sizeof(where), err);
	if (r < 0)
		return r;
	pos = (struct squash_pos){squash_u64(where), (uint32_t)(index % per_block * row)};
	return squash_meta_read(sq, &pos, buf, row, err);
}

int squash_fragment_load(struct squash *sq, uint32_t index, struct error *err)
{
	uint8_t row[16];
	uint64_t start;
	int r;

	if (index >= sq->frag_count)
		return squash_damaged("bad fragment number", err);
	r = table_row(sq, sq->frag_table, index, sizeof(row), row, err);
	if (r < 0)
		return r;
	start = squash_u64(row);
	if (start == sq->frag_start && start)
		return 0;
	sq->frag_start = 0;
	r = squash_block_read(sq, start, squash_u32(row + 8), sq->frag, &sq->frag_len, err);
	if (r == 0)
		sq->frag_start = start;
	return r;
}

int squash_id_get(struct squash *sq, uint16_t index, uint32_t *ret, struct error *err)
{
	uint8_t row[4];
	int r;

	if (index >= sq->id_count)
		return squash_damaged("bad owner number", err);
	r = table_row(sq, sq->id_table, index, sizeof(row), row, err);
	if (r == 0)
		*ret = squash_u32(row);
	return r;
}

/* The value at @pos, or where it points when it is shared between attributes. */
static int xattr_value(struct squash *sq, struct squash_pos *pos, bool out_of_line, struct strbuf *ret,
		       struct error *err)
{
	struct squash_pos away;
	uint8_t num[8];
	uint32_t len;
	int r;

	r = squash_meta_read(sq, pos, num, 4, err);
	if (r < 0)
		return r;
	if (out_of_line) {
		if (squash_u32(num) != 8)
			return squash_damaged("bad extended attribute", err);
		r = squash_meta_read(sq, pos, num, 8, err);
		if (r < 0)
			return r;
		away = (struct squash_pos){sq->xattr_start + (squash_u64(num) >> 16),
					   (uint32_t)(squash_u64(num) & 0xffff)};
		pos = &away;
		r = squash_meta_read(sq, pos, num, 4, err);
		if (r < 0)
			return r;
	}
	len = squash_u32(num);
	if (len > XATTR_VALUE_MAX)
		return squash_damaged("an extended attribute is too large", err);
	strbuf_truncate(ret, 0);
	strbuf_reserve(ret, len + 1);
	r = squash_meta_read(sq, pos, ret->data, len, err);
	if (r == 0)
		ret->len = len;
	return r;
}

static int xattr_one(struct squash *sq, struct squash_pos *pos, struct strbuf *value, struct tree_xattrs *ret,
		     struct error *err)
{
	static const char *const prefixes[] = {"user.", "trusted.", "security."};
	auto_strbuf struct strbuf name = STRBUF_INIT;
	uint8_t head[4], text[256];
	unsigned type;
	size_t len;
	int r;

	r = squash_meta_read(sq, pos, head, sizeof(head), err);
	if (r < 0)
		return r;
	type = squash_u16(head);
	len = squash_u16(head + 2);
	if (len == 0 || len > 255 || (type & 0xff) >= ARRAY_SIZE(prefixes))
		return squash_damaged("bad name of an extended attribute", err);
	r = squash_meta_read(sq, pos, text, len, err);
	if (r < 0)
		return r;
	if (memchr(text, '\0', len))
		return squash_damaged("bad name of an extended attribute", err);
	strbuf_append(&name, prefixes[type & 0xff]);
	strbuf_append_len(&name, text, len);
	r = xattr_value(sq, pos, type & XATTR_OUT_OF_LINE, value, err);
	if (r == 0)
		tree_xattrs_add(ret, name.data, value->data, value->len);
	return r;
}

int squash_xattrs_get(struct squash *sq, uint32_t index, struct tree_xattrs *ret, struct error *err)
{
	auto_strbuf struct strbuf value = STRBUF_INIT;
	struct squash_pos pos;
	uint8_t row[16];
	uint32_t count;
	int r;

	if (index == SQUASH_NONE)
		return 0;
	if (index >= sq->xattr_count)
		return squash_damaged("bad extended attribute number", err);
	r = table_row(sq, sq->xattr_table + 16, index, sizeof(row), row, err);
	if (r < 0)
		return r;
	pos = (struct squash_pos){sq->xattr_start + (squash_u64(row) >> 16), (uint32_t)(squash_u64(row) & 0xffff)};
	count = squash_u32(row + 8);
	if (count > XATTRS_MAX)
		return squash_damaged("too many extended attributes", err);
	for (uint32_t i = 0; i < count && r == 0; i++)
		r = xattr_one(sq, &pos, &value, ret, err);
	return r;
}
