/* Inodes and folders of squashfs, turned into members of a tree. */
#include "unpack/squash.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "unpack/member.h"
#include "unpack/squash_internal.h"

#define LISTING_MAX (96U << 20) /* memory for folder listings and hard links */
#define EMPTY_DIR_SIZE 3

enum inode_type {
	TYPE_DIR = 1,
	TYPE_FILE,
	TYPE_SYMLINK,
	TYPE_BLOCK,
	TYPE_CHAR,
	TYPE_FIFO,
	TYPE_SOCKET,
	TYPE_COUNT = 7
};

/* An inode, with the place in the metadata where its variable part (block sizes, link text) begins. */
struct inode {
	enum inode_type type;
	struct tree_attr attr;
	uint32_t nlink;
	uint32_t xattr;
	uint64_t size; /* of a file, a listing or a link text */
	uint64_t start;
	uint32_t offset;
	uint32_t frag;
	uint32_t dev;
	struct squash_pos rest;
};

/* What was seen: folders (which may come once) and files with several names. Open addressing by inode reference. */
struct seen {
	uint64_t ref; /* + 1; 0: free */
	char *path;   /* NULL for a folder */
};

struct walk {
	struct squash sq;
	struct tree *tree;
	struct tree_counts *counts;
	struct seen *seen;
	size_t seen_len, seen_cap;
	size_t memory;
};

struct dir_entry {
	uint64_t ref;
	bool is_dir;
	char *name;
};

struct listing {
	struct dir_entry *items;
	size_t len, cap;
	size_t memory;
};

static void listing_done(struct listing *l)
{
	for (size_t i = 0; i < l->len; i++)
		free(l->items[i].name);
	free(l->items);
}

static void walk_done(struct walk *w)
{
	for (size_t i = 0; i < w->seen_cap; i++)
		free(w->seen[i].path);
	free(w->seen);
	squash_done(&w->sq);
}

static int memory_take(struct walk *w, size_t bytes, struct error *err)
{
	w->memory += bytes;
	return w->memory > LISTING_MAX ? error_set(err, 413, "Image has too many directory entries to keep in memory")
				       : 0;
}

static struct seen *seen_slot(struct seen *table, size_t cap, uint64_t ref)
{
	size_t i = (size_t)(ref * 0x9e3779b97f4a7c15ULL >> 20) & (cap - 1);

	while (table[i].ref && table[i].ref != ref + 1)
		i = (i + 1) & (cap - 1);
	return &table[i];
}

/* The slot of @ref, which is made (with ref set) when new; NULL path then. */
static int seen_get(struct walk *w, uint64_t ref, struct seen **ret, bool *ret_new, struct error *err)
{
	if (2 * w->seen_len >= w->seen_cap) {
		size_t cap = w->seen_cap ? 2 * w->seen_cap : 1024;
		struct seen *table = xcalloc(cap, sizeof(*table));
		int r = memory_take(w, (cap - w->seen_cap) * sizeof(*table), err);

		if (r < 0) {
			free(table);
			return r;
		}
		for (size_t i = 0; i < w->seen_cap; i++)
			if (w->seen[i].ref)
				*seen_slot(table, cap, w->seen[i].ref - 1) = w->seen[i];
		free(w->seen);
		w->seen = table;
		w->seen_cap = cap;
	}
	*ret = seen_slot(w->seen, w->seen_cap, ref);
	*ret_new = !(*ret)->ref;
	if (*ret_new) {
		(*ret)->ref = ref + 1;
		w->seen_len++;
	}
	return 0;
}

/* Field layouts after the common header: {bytes to read}, then the decoders below pick from them. */
static const uint8_t body_size[2][TYPE_COUNT + 1] = {
	{0, 16, 16, 8, 8, 8, 4, 4},
	{0, 24, 40, 8, 12, 12, 8, 8},
};

static void inode_body(struct inode *ino, bool ext, const uint8_t *b)
{
	switch (ino->type) {
	case TYPE_DIR:
		ino->nlink = 1;
		ino->start = squash_u32(b + (ext ? 8 : 0));
		ino->size = ext ? squash_u32(b + 4) : squash_u16(b + 8);
		ino->offset = squash_u16(b + (ext ? 18 : 10));
		ino->xattr = ext ? squash_u32(b + 20) : SQUASH_NONE;
		break;
	case TYPE_FILE:
		ino->nlink = ext ? squash_u32(b + 24) : 1;
		ino->start = ext ? squash_u64(b) : squash_u32(b);
		ino->size = ext ? squash_u64(b + 8) : squash_u32(b + 12);
		ino->frag = squash_u32(b + (ext ? 28 : 4));
		ino->offset = squash_u32(b + (ext ? 32 : 8));
		ino->xattr = ext ? squash_u32(b + 36) : SQUASH_NONE;
		break;
	case TYPE_SYMLINK:
		ino->nlink = squash_u32(b);
		ino->size = squash_u32(b + 4);
		break;
	case TYPE_BLOCK:
	case TYPE_CHAR:
		ino->nlink = squash_u32(b);
		ino->dev = squash_u32(b + 4);
		break;
	default:
		ino->nlink = squash_u32(b);
	}
}

static int inode_read(struct walk *w, uint64_t ref, struct inode *ino, struct error *err)
{
	static const mode_t types[] = {0, S_IFDIR, S_IFREG, S_IFLNK, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK};
	struct squash_pos pos = {w->sq.inode_table + (ref >> 16), (uint32_t)(ref & 0xffff)};
	uint8_t head[16], body[40];
	unsigned type;
	bool ext;
	int r;

	r = squash_meta_read(&w->sq, &pos, head, sizeof(head), err);
	if (r < 0)
		return r;
	type = squash_u16(head);
	ext = type > TYPE_COUNT;
	type -= ext ? TYPE_COUNT : 0;
	if (type == 0 || type > TYPE_COUNT)
		return squash_damaged("unknown type of an inode", err);
	*ino = (struct inode){.type = type, .frag = SQUASH_NONE, .xattr = SQUASH_NONE};
	ino->attr.mode = types[type] | (squash_u16(head + 2) & 07777);
	ino->attr.mtime.tv_sec = squash_u32(head + 8);
	r = squash_id_get(&w->sq, squash_u16(head + 4), &ino->attr.uid, err);
	if (r == 0)
		r = squash_id_get(&w->sq, squash_u16(head + 6), &ino->attr.gid, err);
	if (r == 0)
		r = squash_meta_read(&w->sq, &pos, body, body_size[ext][type], err);
	if (r < 0)
		return r;
	inode_body(ino, ext, body);
	ino->rest = pos;
	return 0;
}

/* One piece of a file: block @index, or the fragment at its end. */
static int copy_block(struct walk *w, uint64_t index, uint64_t *start, uint64_t want, struct squash_pos *sizes,
		      struct error *err)
{
	uint8_t raw[4];
	uint32_t field, got;
	int r;

	r = squash_meta_read(&w->sq, sizes, raw, sizeof(raw), err);
	if (r < 0)
		return r;
	field = squash_u32(raw);
	if (field == 0)
		return 0; /* a hole */
	r = squash_block_read(&w->sq, *start, field, w->sq.out, &got, err);
	if (r < 0)
		return r;
	if (got != want)
		return squash_damaged("a data block has the wrong length", err);
	*start += field & 0xffffff;
	return tree_file_write(w->tree, w->sq.out, got, index * w->sq.block_size, err);
}

static int copy_fragment(struct walk *w, const struct inode *ino, uint64_t offset, struct error *err)
{
	uint64_t len = ino->size - offset;
	int r = squash_fragment_load(&w->sq, ino->frag, err);

	if (r < 0)
		return r;
	if (ino->offset > w->sq.frag_len || len > w->sq.frag_len - ino->offset)
		return squash_damaged("a fragment is too short", err);
	return tree_file_write(w->tree, w->sq.frag + ino->offset, len, offset, err);
}

static int add_file(struct walk *w, const char *path, struct inode *ino, struct error *err)
{
	uint64_t bs = w->sq.block_size, start = ino->start;
	uint64_t blocks = ino->size / bs + (ino->frag == SQUASH_NONE && ino->size % bs != 0);
	int r = tree_file_begin(w->tree, path, ino->size, err);

	for (uint64_t i = 0; i < blocks && r == 0; i++)
		r = copy_block(w, i, &start, MIN_OF(bs, ino->size - i * bs), &ino->rest, err);
	if (r == 0 && ino->frag != SQUASH_NONE && ino->size % bs)
		r = copy_fragment(w, ino, blocks * bs, err);
	return r < 0 ? r : tree_file_end(w->tree, &ino->attr, err);
}

static int add_symlink(struct walk *w, const char *path, struct inode *ino, struct error *err)
{
	char target[MEMBER_LINK_MAX + 2] = {0};
	int r;

	if (ino->size > MEMBER_LINK_MAX)
		return member_check_symlink(path, NULL, err);
	r = squash_meta_read(&w->sq, &ino->rest, target, ino->size, err);
	if (r < 0)
		return r;
	if (strlen(target) != ino->size)
		return squash_damaged("NUL character in a symbolic link", err);
	return tree_add_symlink(w->tree, path, target, &ino->attr, err);
}

static int add_inode(struct walk *w, const char *path, struct inode *ino, struct error *err)
{
	dev_t dev = makedev(ino->dev >> 8 & 0xfff, (ino->dev & 0xff) | (ino->dev >> 12 & 0xfff00));
	int r;

	r = member_check_id(path, ino->attr.uid, err);
	if (r == 0)
		r = member_check_id(path, ino->attr.gid, err);
	if (r == 0)
		r = squash_xattrs_get(&w->sq, ino->xattr, &ino->attr.xattrs, err);
	if (r < 0)
		return r;
	switch (ino->type) {
	case TYPE_DIR:
		return tree_add_dir(w->tree, path, &ino->attr, err);
	case TYPE_FILE:
		return add_file(w, path, ino, err);
	case TYPE_SYMLINK:
		return add_symlink(w, path, ino, err);
	default:
		return tree_add_node(w->tree, path, dev, &ino->attr, err);
	}
}

/* Add a member that is no folder; further names of the same inode become hard links. */
static int add_member(struct walk *w, const char *path, uint64_t ref, struct error *err)
{
	struct inode ino;
	struct seen *seen;
	bool fresh;
	int r;

	r = inode_read(w, ref, &ino, err);
	if (r < 0)
		return r;
	if (ino.type == TYPE_DIR)
		return squash_damaged("a directory entry has the wrong type", err);
	if (ino.nlink > 1 && (ino.type == TYPE_FILE || ino.type == TYPE_SYMLINK || ino.type == TYPE_FIFO)) {
		r = seen_get(w, ref, &seen, &fresh, err);
		if (r < 0)
			return r;
		if (seen->path)
			return tree_add_hardlink(w->tree, path, seen->path, err);
		seen->path = xstrdup(path);
		r = memory_take(w, strlen(path) + 32, err);
		if (r < 0)
			return r;
	}
	r = add_inode(w, path, &ino, err);
	tree_xattrs_done(&ino.attr.xattrs);
	return r;
}

static int entry_read(struct walk *w, struct squash_pos *pos, uint32_t block, struct listing *l, size_t *left,
		      struct error *err)
{
	uint8_t head[8], name[MEMBER_NAME_MAX + 1];
	size_t len;
	int r;

	r = squash_meta_read(&w->sq, pos, head, sizeof(head), err);
	if (r < 0)
		return r;
	len = squash_u16(head + 6) + 1U;
	if (len > MEMBER_NAME_MAX || len + sizeof(head) > *left)
		return squash_damaged("a directory entry is too long", err);
	r = squash_meta_read(&w->sq, pos, name, len, err);
	if (r < 0)
		return r;
	if (memchr(name, '\0', len) || memchr(name, '/', len))
		return squash_damaged("a directory entry with \"/\" or NUL in its name", err);
	*left -= len + sizeof(head);
	l->memory += sizeof(*l->items) * 2 + len + 32;
	r = memory_take(w, sizeof(*l->items) * 2 + len + 32, err);
	if (r == 0)
		r = tree_count_member(w->counts, err);
	if (r < 0)
		return r;
	if (l->len == l->cap) {
		l->cap = MAX_OF(16, 2 * l->cap);
		l->items = xreallocarray(l->items, l->cap, sizeof(*l->items));
	}
	l->items[l->len++] = (struct dir_entry){(uint64_t)block << 16 | squash_u16(head),
						squash_u16(head + 4) == TYPE_DIR, xstrndup((const char *)name, len)};
	return 0;
}

static int listing_read(struct walk *w, const struct inode *dir, struct listing *l, struct error *err)
{
	struct squash_pos pos = {w->sq.dir_table + dir->start, dir->offset};
	size_t left = dir->size > EMPTY_DIR_SIZE ? dir->size - EMPTY_DIR_SIZE : 0;
	uint8_t head[12];
	int r = 0;

	while (left > 0 && r == 0) {
		uint32_t count;

		if (left < sizeof(head))
			return squash_damaged("a directory ends within a header", err);
		r = squash_meta_read(&w->sq, &pos, head, sizeof(head), err);
		if (r < 0)
			return r;
		left -= sizeof(head);
		count = squash_u32(head) + 1;
		if (count == 0 || count > 256)
			return squash_damaged("bad directory header", err);
		for (uint32_t i = 0; i < count && r == 0; i++)
			r = entry_read(w, &pos, squash_u32(head + 4), l, &left, err);
	}
	return r;
}

/* Each name passes the same check as a tar member's; "." and an empty result are refused too. */
static int child_path(const char *dir, const char *name, char **ret, struct error *err)
{
	auto_free char *raw = *dir ? xasprintf("%s/%s", dir, name) : xstrdup(name);

	if (strcmp(name, ".") == 0)
		return squash_damaged("a directory entry named \".\"", err);
	return member_path_clean(raw, "Member", ret, err);
}

static int walk_dir(struct walk *w, const char *path, uint64_t ref, struct error *err);

/* Files first, then folders: the writer keeps the parent of the last file open. */
static int walk_listing(struct walk *w, const char *path, const struct listing *l, struct error *err)
{
	for (int dirs = 0; dirs < 2; dirs++) {
		for (size_t i = 0; i < l->len; i++) {
			auto_free char *sub = NULL;
			int r;

			if (l->items[i].is_dir != (dirs == 1))
				continue;
			r = child_path(path, l->items[i].name, &sub, err);
			if (r == 0)
				r = dirs ? walk_dir(w, sub, l->items[i].ref, err)
					 : add_member(w, sub, l->items[i].ref, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* A folder and all below it; depth is bounded by the check of the path. */
static int walk_dir(struct walk *w, const char *path, uint64_t ref, struct error *err)
{
	CLEANUP(listing_done) struct listing l = {0};
	struct inode ino;
	struct seen *seen;
	bool fresh;
	int r;

	r = inode_read(w, ref, &ino, err);
	if (r < 0)
		return r;
	if (ino.type != TYPE_DIR)
		return squash_damaged("a directory entry has the wrong type", err);
	r = seen_get(w, ref, &seen, &fresh, err);
	if (r < 0)
		return r;
	if (!fresh)
		return squash_damaged("a directory is there twice", err);
	r = add_inode(w, path, &ino, err);
	tree_xattrs_done(&ino.attr.xattrs);
	if (r == 0)
		r = listing_read(w, &ino, &l, err);
	if (r == 0)
		r = walk_listing(w, path, &l, err);
	w->memory -= l.memory;
	return r;
}

int squash_read(int fd, struct tree *rootfs, struct tree_counts *counts, struct error *err)
{
	struct walk w = {.tree = rootfs, .counts = counts};
	int r = squash_open(fd, &w.sq, err);

	if (r == 0)
		r = walk_dir(&w, "", w.sq.root_ref, err);
	walk_done(&w);
	return r;
}
