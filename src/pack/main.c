/*
 * The program lxd-pack writes an instance's volume as an image: a compressed tarball on standard output. It reads a
 * tree that its owner has filled with whatever he likes, so it can do nothing but read files beneath it, without
 * following a link. Standard input has what metadata.yaml shall say, fd 3 is the volume; arguments are the compression
 * and, for a volume with shifted owners, the id maps by which the kernel shows the container's own ids.
 */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/landlock.h"
#include "base/rlimits.h"
#include "base/str.h"
#include "base/userns.h"
#include "unpack/member.h"
#include "unpack/metadata.h"

#define VOLUME_FD 3
#define CHUNK (256u * 1024)
#define XATTR_MAX 65536

struct pack {
	struct archive *archive;
	struct archive_entry_linkresolver *links;
	char *buf;
	int rootfs, templates, metadata; /* opened before the ids are others; the last two may be missing */
	bool as_root;                    /* whatever the owners are */
};

static const struct {
	const char *name;
	int (*add)(struct archive *a);
} compressions[] = {
	{"none", archive_write_add_filter_none},   {"gzip", archive_write_add_filter_gzip},
	{"xz", archive_write_add_filter_xz},       {"zstd", archive_write_add_filter_zstd},
	{"bzip2", archive_write_add_filter_bzip2},
};

static int fail(struct pack *p, const char *what, struct error *err)
{
	const char *text = archive_error_string(p->archive);

	return error_set(err, 500, "%s: %s", what, text ? text : "unknown error");
}

/* --- the jail --- */

static int drop_rights(struct error *err)
{
	static const cap_value_t kept[] = {CAP_DAC_READ_SEARCH};
	cap_t caps = cap_init();
	int r = 0;

	if (!caps || cap_set_flag(caps, CAP_PERMITTED, 1, kept, CAP_SET) < 0 ||
	    cap_set_flag(caps, CAP_EFFECTIVE, 1, kept, CAP_SET) < 0 || cap_set_proc(caps) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = error_errno(err, errno, "Drop rights");
	if (caps)
		cap_free(caps);
	return r;
}

/* The folder of the volume may be entered by the host's root alone. */
static int open_volume(struct pack *p, struct error *err)
{
	p->rootfs = openat(VOLUME_FD, "rootfs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	p->templates = openat(VOLUME_FD, "templates", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	p->metadata = openat(VOLUME_FD, "metadata.yaml", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	close(VOLUME_FD);
	return p->rootfs < 0 ? error_errno(err, errno, "Open the volume's rootfs") : 0;
}

static int allow_folder(int set, int fd, struct error *err)
{
	if (set < 0 || fd < 0)
		return 0;
	if (fchdir(fd) < 0)
		return error_errno(err, errno, "Enter the volume");
	return landlock_allow(set, ".", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR, err);
}

static int enter_jail(struct pack *p, int argc, char **argv, struct error *err)
{
	static const struct process_limit limits[] = {
#ifndef SANITIZED
		{RLIMIT_AS, 1UL << 30, "memory"},
#endif
		{RLIMIT_NOFILE, 2 * MEMBER_DEPTH_MAX + 32 /* a folder holds two */, "open files"},
		{RLIMIT_FSIZE, 1 << 16, "size of what it says"},
		{RLIMIT_CORE, 0, "core file"},
		{RLIMIT_MEMLOCK, 0, "locked memory"},
		{RLIMIT_MSGQUEUE, 0, "message queues"},
	};
	auto_close int set = -EBADF;
	uint64_t handled;
	int r = open_volume(p, err);

	prctl(PR_SET_DUMPABLE, 0);
	if (r == 0)
		r = landlock_begin(&set, &handled, err);
	if (r == 0)
		r = allow_folder(set, p->rootfs, err);
	if (r == 0)
		r = allow_folder(set, p->templates, err);
	if (r == 0 && argc == 4)
		r = userns_enter(argv[2], argv[3], err);
	if (r < 0)
		return r;
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return error_errno(err, errno, "Leave the host's namespaces");
	r = process_limits_set(limits, ARRAY_SIZE(limits), err);
	if (r == 0)
		r = drop_rights(err);
	return r < 0 || set < 0 ? r : landlock_end(set, err);
}

/* --- members --- */

/* What belongs to the container; the rest is for the host's security modules. */
static void add_xattr(struct archive_entry *e, int fd, const char *name, char *value)
{
	static const char *const kept[] = {"security.capability", "system.posix_acl_access",
					   "system.posix_acl_default"};
	bool keep = startswith(name, "user.") != NULL;
	ssize_t n;

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		keep = keep || streq(name, kept[i]);
	if (!keep)
		return;
	n = fgetxattr(fd, name, value, XATTR_MAX);
	if (n >= 0)
		archive_entry_xattr_add_entry(e, name, value, (size_t)n);
}

/* Of files and folders, which are open. */
static void add_xattrs(struct archive_entry *e, int fd)
{
	auto_free char *names = xmalloc(XATTR_MAX);
	auto_free char *value = xmalloc(XATTR_MAX);
	ssize_t n = flistxattr(fd, names, XATTR_MAX);

	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
		add_xattr(e, fd, names + at, value);
}

static int write_content(struct pack *p, int fd, uint64_t size, const char *path, struct error *err)
{
	for (uint64_t done = 0; done < size;) {
		size_t want = (size_t)MIN_OF(size - done, (uint64_t)CHUNK);
		ssize_t n = fd_read_full(fd, p->buf, want);

		if (n < 0)
			return error_errno(err, (int)-n, "Read %s", path);
		if (n == 0)
			return error_set(err, 500, "%s has become shorter", path);
		if (archive_write_data(p->archive, p->buf, (size_t)n) < 0)
			return fail(p, "Write the image", err);
		done += (uint64_t)n;
	}
	return 0;
}

static int write_header(struct pack *p, struct archive_entry *e, struct error *err)
{
	int r = archive_write_header(p->archive, e);

	return r == ARCHIVE_OK || r == ARCHIVE_WARN ? 0 : fail(p, "Write the image", err);
}

static int write_file(struct pack *p, struct archive_entry *e, int fd, const struct stat *st, const char *path,
		      struct error *err)
{
	struct archive_entry *spare = NULL;
	int r;

	archive_entry_linkify(p->links, &e, &spare);
	r = write_header(p, e, err);
	if (r < 0 || archive_entry_hardlink(e) || archive_entry_size(e) == 0)
		return r;
	return write_content(p, fd, (uint64_t)st->st_size, path, err);
}

static int pack_folder(struct pack *p, int fd, const char *path, unsigned depth, struct error *err);

static void entry_free(struct archive_entry **e)
{
	archive_entry_free(*e);
}

/* A link, a device or a FIFO: nothing is opened. */
static int pack_node(struct pack *p, struct archive_entry *e, int dirfd, const char *name, const struct stat *st,
		     struct error *err)
{
	char target[PATH_MAX];
	ssize_t n;

	if (S_ISSOCK(st->st_mode))
		return 0;
	if (!S_ISLNK(st->st_mode)) {
		archive_entry_set_size(e, 0);
		return write_header(p, e, err);
	}
	n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	if (n < 0)
		return error_errno(err, errno, "Read link %s", archive_entry_pathname(e));
	target[n] = '\0';
	archive_entry_set_symlink(e, target);
	archive_entry_set_size(e, 0);
	return write_header(p, e, err);
}

static int pack_entry(struct pack *p, int dirfd, const char *name, const char *path, unsigned depth, struct error *err)
{
	CLEANUP(entry_free) struct archive_entry *e = archive_entry_new();
	auto_close int fd = -EBADF;
	struct stat st;
	int r;

	if (depth >= MEMBER_DEPTH_MAX)
		return error_set(err, 400, "An image cannot be more than %d folders deep: %s", MEMBER_DEPTH_MAX, path);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, errno, "Look at %s", path);
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
		fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0)
			return error_errno(err, errno, "Open %s", path);
	}
	archive_entry_copy_stat(e, &st);
	archive_entry_set_pathname(e, path);
	if (p->as_root) {
		archive_entry_set_uid(e, 0);
		archive_entry_set_gid(e, 0);
	}
	if (fd < 0)
		return pack_node(p, e, dirfd, name, &st, err);
	add_xattrs(e, fd);
	if (S_ISREG(st.st_mode))
		return write_file(p, e, fd, &st, path, err);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, 500, "%s has become another file", path);
	archive_entry_set_size(e, 0);
	r = write_header(p, e, err);
	return r < 0 ? r : pack_folder(p, fd, path, depth, err);
}

static int pack_folder(struct pack *p, int fd, const char *path, unsigned depth, struct error *err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	int r = 0;

	if (!d)
		return error_errno(err, errno, "List %s", path);
	while (r == 0 && (entry = readdir(d))) {
		auto_free char *below = NULL;

		if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
			continue;
		below = xasprintf("%s/%s", path, entry->d_name);
		r = pack_entry(p, fd, entry->d_name, below, depth + 1, err);
	}
	closedir(d);
	return r;
}

/* --- metadata --- */

/* The templates and properties of the image that the instance was made from, as far as they can be read. */
static struct json *read_old_metadata(int fd)
{
	auto_free char *yaml = xmalloc(METADATA_SIZE_MAX);
	auto_error struct error none = ERROR_INIT;
	auto_free char *text = NULL;
	struct json *j = NULL;
	ssize_t n = fd < 0 ? -EBADF : fd_read_full(fd, yaml, METADATA_SIZE_MAX);

	if (n <= 0)
		return NULL;
	if (metadata_yaml_to_json(yaml, (size_t)n, &text, &none) < 0 || json_parse(text, strlen(text), &j, &none) < 0) {
		error_ignore(&none, "an instance without image has none");
		return NULL;
	}
	return j;
}

static int add_member(const char *key, const struct json *value, void *arg)
{
	struct jsonw *w = arg;
	auto_free char *text = json_to_text(value);

	jsonw_kv_raw(w, key, text);
	return 0;
}

/* JSON is YAML. */
static int make_metadata(const struct pack *p, struct strbuf *b, struct error *err)
{
	CLEANUP(json_freep) struct json *old = read_old_metadata(p->metadata);
	CLEANUP(json_freep) struct json *wanted = NULL;
	auto_strbuf struct strbuf text = STRBUF_INIT;
	struct jsonw w = JSONW(b);
	const struct json *properties;
	char piece[4096];
	ssize_t n;
	int r;

	while ((n = fd_read_full(STDIN_FILENO, piece, sizeof(piece))) > 0)
		strbuf_append_len(&text, piece, (size_t)n);
	r = json_parse(strbuf_str(&text), text.len, &wanted, err);
	if (r < 0)
		return r;
	properties = json_get(wanted, "properties");
	jsonw_object_begin(&w);
	json_each(wanted, add_member, &w);
	if (!properties && json_get(old, "properties"))
		add_member("properties", json_get(old, "properties"), &w);
	if (json_get(old, "templates"))
		add_member("templates", json_get(old, "templates"), &w);
	jsonw_object_end(&w);
	strbuf_append_char(b, '\n');
	return 0;
}

static int write_metadata(struct pack *p, struct error *err)
{
	CLEANUP(entry_free) struct archive_entry *e = archive_entry_new();
	auto_strbuf struct strbuf text = STRBUF_INIT;
	int r = make_metadata(p, &text, err);

	if (r < 0)
		return r;
	archive_entry_set_pathname(e, "metadata.yaml");
	archive_entry_set_mode(e, S_IFREG | 0644);
	archive_entry_set_size(e, (la_int64_t)text.len);
	r = write_header(p, e, err);
	if (r == 0 && archive_write_data(p->archive, text.data, text.len) < 0)
		r = fail(p, "Write the image", err);
	return r;
}

/* --- the archive --- */

static int open_archive(struct pack *p, const char *compression, struct error *err)
{
	size_t k = 0;

	p->buf = xmalloc(CHUNK);
	p->archive = archive_write_new();
	p->links = archive_entry_linkresolver_new();
	while (k < ARRAY_SIZE(compressions) && !streq(compressions[k].name, compression))
		k++;
	if (k == ARRAY_SIZE(compressions))
		return error_set(err, 400, "Unknown compression \"%s\"", compression);
	if (archive_write_set_format_pax_restricted(p->archive) != ARCHIVE_OK ||
	    archive_write_set_format_option(p->archive, "pax", "xattrheader", "SCHILY") != ARCHIVE_OK ||
	    archive_write_set_format_option(p->archive, "pax", "hdrcharset", "BINARY") != ARCHIVE_OK ||
	    compressions[k].add(p->archive) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(p->archive, 1) != ARCHIVE_OK /* no zeros behind it */ ||
	    archive_write_open_fd(p->archive, STDOUT_FILENO) != ARCHIVE_OK)
		return fail(p, "Prepare the image", err);
	archive_entry_linkresolver_set_strategy(p->links, archive_format(p->archive));
	return 0;
}

static int pack(struct pack *p, struct error *err)
{
	int r = write_metadata(p, err);

	p->as_root = true;
	if (r == 0 && p->templates >= 0)
		r = pack_entry(p, p->templates, ".", "templates", 0, err);
	p->as_root = false;
	if (r == 0)
		r = pack_entry(p, p->rootfs, ".", "rootfs", 0, err);
	if (r == 0 && archive_write_close(p->archive) != ARCHIVE_OK)
		r = fail(p, "Write the image", err);
	return r;
}

int main(int argc, char **argv)
{
	auto_error struct error err = ERROR_INIT;
	struct pack p = {0}; /* freed by the end of the process */
	int r;

	if (argc != 2 && argc != 4) {
		fprintf(stderr, "lxd-pack is started by lxd\n");
		return 2;
	}
	r = enter_jail(&p, argc, argv, &err);
	if (r == 0)
		r = open_archive(&p, argv[1], &err);
	if (r == 0)
		r = pack(&p, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", error_msg(&err));
	_exit(r < 0); /* nothing is freed: the end of the process does that */
}
