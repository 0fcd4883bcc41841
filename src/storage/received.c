#include "storage/received.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "storage/walk.h"

#define METADATA_MAX (4 << 20)

static int check_template(void *ctx UNUSED, int dirfd, const char *name, unsigned char type UNUSED, struct error *err)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, errno, "Look at a received template");
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return error_set(err, 400, "The received template \"%s\" is not a plain file", name);
	return 0;
}

static int check_templates(int dirfd, struct error *err)
{
	auto_close int fd = -EBADF;

	if (mkdirat(dirfd, "templates", 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "Create templates");
	fd = walk_open_dir(dirfd, "templates");
	if (fd < 0)
		return error_set(err, 400, "What was received as templates is not a folder");
	return walk_entries(fd, check_template, NULL, err);
}

static int check_metadata(int dirfd, struct error *err)
{
	struct stat st;

	if (fstatat(dirfd, "metadata.yaml", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : error_errno(err, errno, "Look at the received metadata.yaml");
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_size > METADATA_MAX)
		return error_set(err, 400, "What was received as metadata.yaml is not a plain file of a sane size");
	return 0;
}

static int drop_others(void *ctx UNUSED, int dirfd, const char *name, unsigned char type UNUSED, struct error *err)
{
	if (streq(name, "rootfs") || streq(name, "templates") || streq(name, "metadata.yaml"))
		return 0;
	return path_remove_tree(dirfd, name, err);
}

struct sweep {
	struct strv *subdirs;
	uint64_t removed;
};

static int sweep_entry(void *ctx, int dirfd, const char *name, unsigned char type, struct error *err)
{
	struct sweep *s = ctx;
	struct stat st;

	/* most entries are plain files, of which nothing more need be known */
	if (type == DT_REG || type == DT_LNK)
		return 0;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, errno, "Look at a received file");
	if (S_ISDIR(st.st_mode))
		strv_add(s->subdirs, name);
	if ((!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) || (S_ISCHR(st.st_mode) && st.st_rdev == 0))
		return 0;
	if (unlinkat(dirfd, name, 0) < 0)
		return error_errno(err, errno, "Remove the received device node %s", name);
	s->removed++;
	return 0;
}

static int sweep_folder(void *ctx, int src, int dst UNUSED, struct strv *subdirs, struct error *err)
{
	struct sweep *s = ctx;
	uint64_t before = s->removed;
	struct stat st;
	int r;

	if (fstat(src, &st) < 0)
		return error_errno(err, errno, "Look at a received folder");
	s->subdirs = subdirs;
	r = walk_entries(src, sweep_entry, s, err);
	if (r == 0 && s->removed > before && futimens(src, (struct timespec[]){st.st_atim, st.st_mtim}) < 0)
		return error_errno(err, errno, "Set the time of a received folder");
	return r;
}

int storage_received_check(int dirfd, bool devices, uint64_t *ret_removed, struct error *err)
{
	auto_close int rootfs = walk_open_dir(dirfd, "rootfs");
	struct sweep s = {0};
	int r;

	if (rootfs < 0)
		return error_set(err, 400, "What was received has no folder rootfs");
	r = walk_entries(dirfd, drop_others, NULL, err);
	if (r == 0)
		r = check_templates(dirfd, err);
	if (r == 0)
		r = check_metadata(dirfd, err);
	if (r == 0 && !devices)
		r = walk_tree(rootfs, -EBADF, sweep_folder, &s, NULL, err);
	/* the folder itself is ours again, whatever attributes the other server gave it */
	if (r == 0 && fchown(dirfd, 0, 0) < 0)
		r = error_errno(err, errno, "Take over the received folder");
	if (r == 0)
		*ret_removed = s.removed;
	return r;
}
