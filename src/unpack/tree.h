/*
 * Writes an unpacked tree. Every path is resolved beneath the root of its area with no symbolic link followed
 * (openat2), so that what an archive says cannot leave it; the caps on bytes and members are kept here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "base/error.h"

struct tree_counts {
	uint64_t members;
	uint64_t bytes;
	uint64_t skipped_nodes;
	uint64_t max_members;
	uint64_t max_bytes;
};

/* One extended attribute; @value is owned by struct tree_xattrs. */
struct tree_xattr {
	char *name;
	void *value;
	size_t size;
};

struct tree_xattrs {
	struct tree_xattr *items;
	size_t len;
};

#define TREE_XATTRS_INIT ((struct tree_xattrs){0})
#define auto_tree_xattrs CLEANUP(tree_xattrs_done)

/* Owner, mode, times and attributes of one member. */
struct tree_attr {
	uint32_t uid;
	uint32_t gid;
	mode_t mode; /* type and permission bits */
	struct timespec mtime;
	struct tree_xattrs xattrs;
};

struct tree;

/* Keep the attribute unless its class is dropped (trusted.*, security.* but capability, system.* but ACLs). */
void tree_xattrs_add(struct tree_xattrs *x, const char *name, const void *value, size_t size);
void tree_xattrs_done(struct tree_xattrs *x);

/* Count one member or @bytes of logical content; -EFBIG (413) beyond the cap. @path is for the message. */
int tree_count_member(struct tree_counts *c, struct error *err);
int tree_count_bytes(struct tree_counts *c, const char *path, uint64_t bytes, struct error *err);

/*
 * Make folder @name (0755, root) below @dirfd and begin a tree in it. @counts is borrowed.
 */
int tree_new(int dirfd, const char *name, struct tree_counts *counts, struct tree **ret, struct error *err);
void tree_free(struct tree *t);
DEFINE_CLEANUP(struct tree *, tree_free)

/*
 * Add one member; @path is clean (member.h) and "" means the root folder. Parents that are missing are made. All
 * errors name the member: 400 for what the archive did wrong, 507 disk full, 413 caps, 500 otherwise.
 */
int tree_add_dir(struct tree *t, const char *path, struct tree_attr *attr, struct error *err);
int tree_add_symlink(struct tree *t, const char *path, const char *target, const struct tree_attr *attr,
		     struct error *err);
/* @target is a clean path of an earlier member of the same tree. */
int tree_add_hardlink(struct tree *t, const char *path, const char *target, struct error *err);
/* Fifos and 0:0 character devices are made; other devices and sockets are counted and left out. */
int tree_add_node(struct tree *t, const char *path, dev_t dev, const struct tree_attr *attr, struct error *err);
/*
 * A regular file: begin, write pieces in any order (gaps stay holes), end. @size is its logical size, counted at
 * the start; a piece beyond it is refused.
 */
int tree_file_begin(struct tree *t, const char *path, uint64_t size, struct error *err);
int tree_file_write(struct tree *t, const void *data, size_t len, uint64_t offset, struct error *err);
int tree_file_end(struct tree *t, const struct tree_attr *attr, struct error *err);

/* Apply what had to wait: modes, attributes and times of folders. */
int tree_finish(struct tree *t, struct error *err);
