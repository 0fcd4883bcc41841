/* Reads tarballs with libarchive (tar format only, a fixed list of compressions) and hands members to tree.h. */
#include "unpack/tarball.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "unpack/acl.h"
#include "unpack/member.h"
#include "unpack/metadata.h"

#define READ_BLOCK (256U << 10)

struct magic {
	enum wire_unpack_format format;
	size_t offset;
	size_t len;
	const char *bytes;
	int (*filter)(struct archive *a); /* NULL: no tarball */
};

static const struct magic magics[] = {
	{WIRE_FORMAT_GZIP, 0, 2, "\x1f\x8b", archive_read_support_filter_gzip},
	{WIRE_FORMAT_BZIP2, 0, 3, "BZh", archive_read_support_filter_bzip2},
	{WIRE_FORMAT_XZ, 0, 6, "\xfd\x37zXZ\0", archive_read_support_filter_xz},
	{WIRE_FORMAT_ZSTD, 0, 4, "\x28\xb5\x2f\xfd", archive_read_support_filter_zstd},
	{WIRE_FORMAT_LZ4, 0, 4, "\x04\x22\x4d\x18", archive_read_support_filter_lz4},
	{WIRE_FORMAT_SQUASHFS, 0, 4, "hsqs", NULL},
	{WIRE_FORMAT_LZMA, 0, 3, "\x5d\0\0", archive_read_support_filter_lzma},
	{WIRE_FORMAT_TAR, 257, 5, "ustar", archive_read_support_filter_none},
};

int tarball_format_detect(int fd, enum wire_unpack_format *ret, struct error *err)
{
	char head[262] = {0};
	ssize_t n = pread(fd, head, sizeof(head), 0);

	if (n < 0)
		return error_errno(err, errno, "Read image file");
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		const struct magic *m = &magics[i];

		if (m->offset + m->len <= (size_t)n && memcmp(head + m->offset, m->bytes, m->len) == 0) {
			*ret = m->format;
			return 0;
		}
	}
	return error_set(err, 400, "Unsupported compression");
}

static void archive_close(struct archive **a)
{
	if (*a)
		archive_read_free(*a);
}

/* libarchive's message, cleaned: it may quote the archive. */
static int fail_archive(struct archive *a, const char *what, struct error *err)
{
	const char *text = archive_error_string(a);
	auto_free char *shown = member_escape(text ? text : "unknown error");

	if (archive_errno(a) == ENOMEM)
		return error_set(err, 413, "%s: needs more memory than the unpacker may use", what);
	return error_set(err, 400, "%s: %s", what, shown);
}

static int archive_open(int fd, enum wire_unpack_format format, struct archive **ret, struct error *err)
{
	CLEANUP(archive_close) struct archive *a = archive_read_new();

	if (!a)
		return error_errno(err, ENOMEM, "Create archive reader");
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (magics[i].format == format && magics[i].filter && magics[i].filter(a) == ARCHIVE_FATAL)
			return fail_archive(a, "Unsupported compression", err);
	if (archive_read_support_format_tar(a) != ARCHIVE_OK)
		return fail_archive(a, "Prepare tar reader", err);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_errno(err, errno, "Rewind image file");
	if (archive_read_open_fd(a, fd, READ_BLOCK) != ARCHIVE_OK)
		return fail_archive(a, "Damaged image file", err);
	*ret = TAKE_PTR(a);
	return 0;
}

/* The next header: 1, 0 at the end of the archive, or an error. Counts the member. */
static int next_entry(struct archive *a, struct tree_counts *counts, struct archive_entry **ret, struct error *err)
{
	int r = archive_read_next_header(a, ret);

	if (r == ARCHIVE_EOF)
		return 0;
	/* a warning is about one header's decoration (an unknown keyword, a charset); the member is usable */
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
		return fail_archive(a, "Damaged image file", err);
	r = tree_count_member(counts, err);
	return r < 0 ? r : 1;
}

static int entry_attr(struct archive_entry *e, const char *path, struct tree_attr *attr, struct error *err)
{
	const void *value;
	const char *name;
	size_t size;
	int r;

	r = member_check_id(path, archive_entry_uid(e), err);
	if (r == 0)
		r = member_check_id(path, archive_entry_gid(e), err);
	if (r < 0)
		return r;
	attr->uid = (uint32_t)archive_entry_uid(e);
	attr->gid = (uint32_t)archive_entry_gid(e);
	attr->mode = archive_entry_mode(e);
	attr->mtime.tv_sec = archive_entry_mtime(e);
	attr->mtime.tv_nsec = archive_entry_mtime_nsec(e);
	archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK)
		tree_xattrs_add(&attr->xattrs, name, value, size);
	acl_from_entry(e, &attr->xattrs);
	return 0;
}

static int write_data(struct archive *a, struct tree *t, struct error *err)
{
	for (;;) {
		const void *block;
		size_t len;
		int64_t offset;
		int r = archive_read_data_block(a, &block, &len, &offset);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK)
			return fail_archive(a, "Damaged image file", err);
		if (len == 0)
			continue;
		r = tree_file_write(t, block, len, (uint64_t)offset, err);
		if (r < 0)
			return r;
	}
}

static int add_file(struct archive *a, struct archive_entry *e, struct tree *t, const char *path,
		    const struct tree_attr *attr, struct error *err)
{
	int64_t size = archive_entry_size(e);
	int r;

	if (size < 0)
		return error_set(err, 400, "Damaged image file: member with a negative size");
	r = tree_file_begin(t, path, (uint64_t)size, err);
	if (r == 0)
		r = write_data(a, t, err);
	if (r == 0)
		r = tree_file_end(t, attr, err);
	return r;
}

/* A hard link's target is a member name like any other, and must lie in the same tree. */
static int add_hardlink(struct archive_entry *e, struct tree *t, const char *path, enum member_area area, bool unified,
			struct error *err)
{
	auto_free char *target = NULL;
	const char *rest;
	int r;

	r = member_path_clean(archive_entry_hardlink(e), "Hard link target", &target, err);
	if (r < 0)
		return r;
	if (area == MEMBER_IGNORED)
		return tree_add_hardlink(t, path, target, err);
	if (member_path_area(target, unified, &rest) != area) {
		auto_free char *shown = member_escape(path), *to = member_escape(target);

		return error_set(err, 400, "Member \"%s\": hard link to \"%s\" leaves its tree", shown, to);
	}
	return tree_add_hardlink(t, path, rest, err);
}

/* Add one member to a tree. @area is MEMBER_IGNORED when the whole archive is the tree. */
static int add_member(struct archive *a, struct archive_entry *e, struct tree *t, const char *path,
		      enum member_area area, bool unified, struct error *err)
{
	struct tree_attr attr = {0};
	dev_t dev;
	int r;

	if (archive_entry_hardlink(e))
		return add_hardlink(e, t, path, area, unified, err);
	r = entry_attr(e, path, &attr, err);
	if (r < 0)
		goto out;
	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
		r = add_file(a, e, t, path, &attr, err);
		break;
	case AE_IFDIR:
		r = tree_add_dir(t, path, &attr, err);
		break;
	case AE_IFLNK:
		r = tree_add_symlink(t, path, archive_entry_symlink(e), &attr, err);
		break;
	default:
		dev = makedev(archive_entry_rdevmajor(e), archive_entry_rdevminor(e));
		r = tree_add_node(t, path, dev, &attr, err);
	}
out:
	tree_xattrs_done(&attr.xattrs);
	return r;
}

static int read_yaml(struct archive *a, struct archive_entry *e, struct tarball_sink *sink, struct error *err)
{
	ssize_t n;

	if (archive_entry_hardlink(e) || archive_entry_filetype(e) != AE_IFREG)
		return error_set(err, 400, "Member \"metadata.yaml\": must be a regular file");
	if (sink->yaml.data)
		return error_set(err, 400, "Member \"metadata.yaml\": is there twice");
	if (archive_entry_size(e) > METADATA_SIZE_MAX)
		return error_set(err, 400, "Member \"metadata.yaml\": is larger than %u bytes", METADATA_SIZE_MAX);
	strbuf_append(&sink->yaml, "");
	do {
		strbuf_reserve(&sink->yaml, 16384);
		n = archive_read_data(a, sink->yaml.data + sink->yaml.len, 16384);
		if (n < 0)
			return fail_archive(a, "Damaged image file", err);
		sink->yaml.len += (size_t)n;
		sink->yaml.data[sink->yaml.len] = '\0';
	} while (n > 0 && sink->yaml.len <= METADATA_SIZE_MAX);
	return tree_count_bytes(sink->counts, "metadata.yaml", sink->yaml.len, err);
}

/* Templates are plain files: a link there could make a later reader open something else. */
static int check_template_type(struct archive_entry *e, const char *path, struct error *err)
{
	auto_free char *shown = NULL;

	if (archive_entry_hardlink(e) || archive_entry_filetype(e) == AE_IFREG || archive_entry_filetype(e) == AE_IFDIR)
		return 0;
	shown = member_escape(path);
	return error_set(err, 400, "Member \"%s\": must be a regular file or directory", shown);
}

static int add_image_member(struct archive *a, struct archive_entry *e, bool unified, struct tarball_sink *sink,
			    struct error *err)
{
	auto_free char *path = NULL;
	enum member_area area;
	const char *rest;
	int r;

	r = member_path_clean(archive_entry_pathname(e), "Member", &path, err);
	if (r < 0)
		return r;
	area = member_path_area(path, unified, &rest);
	if (area == MEMBER_METADATA && !*rest)
		return read_yaml(a, e, sink, err);
	if (area == MEMBER_TEMPLATES && sink->templates) {
		r = check_template_type(e, path, err);
		return r < 0 ? r : add_member(a, e, sink->templates, rest, area, unified, err);
	}
	if (area == MEMBER_ROOTFS && sink->rootfs) {
		sink->rootfs_seen = true;
		return add_member(a, e, sink->rootfs, rest, area, unified, err);
	}
	/* not ours; but skipping it costs time, so it counts */
	return tree_count_bytes(sink->counts, path, (uint64_t)MAX_OF(archive_entry_size(e), 0), err);
}

int tarball_read_image(int fd, enum wire_unpack_format format, bool unified, struct tarball_sink *sink,
		       struct error *err)
{
	CLEANUP(archive_close) struct archive *a = NULL;
	struct archive_entry *e;
	int r;

	if (format == WIRE_FORMAT_SQUASHFS)
		return error_set(err, 400, "Unsupported compression");
	r = archive_open(fd, format, &a, err);
	if (r < 0)
		return r;
	for (;;) {
		r = next_entry(a, sink->counts, &e, err);
		if (r <= 0)
			return r;
		r = add_image_member(a, e, unified, sink, err);
		if (r < 0)
			return r;
		if (!sink->templates && sink->yaml.data)
			return 0;
	}
}

int tarball_read_rootfs(int fd, enum wire_unpack_format format, struct tree *rootfs, struct tree_counts *counts,
			struct error *err)
{
	CLEANUP(archive_close) struct archive *a = NULL;
	struct archive_entry *e;
	int r;

	r = archive_open(fd, format, &a, err);
	if (r < 0)
		return r;
	for (;;) {
		auto_free char *path = NULL;

		r = next_entry(a, counts, &e, err);
		if (r <= 0)
			return r;
		r = member_path_clean(archive_entry_pathname(e), "Member", &path, err);
		if (r == 0)
			r = add_member(a, e, rootfs, path, MEMBER_IGNORED, false, err);
		if (r < 0)
			return r;
	}
}
