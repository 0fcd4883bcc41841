/*
 * The driver `dir`: a pool is a folder, a volume a folder in it. A `source` of the user's is used where it is: no bind
 * mount, so nothing is left behind by a daemon that was killed.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "storage/storage_driver.h"
#include "storage/tree.h"
#include "storage/walk.h"

/* pool->path follows from the source, which may have been left out. */
static char *default_path(const struct storage_pool *pool)
{
	return path_join(pool->lxd_dir, "storage-pools", pool->name);
}

static bool is_default(const struct storage_pool *pool)
{
	auto_free char *path = default_path(pool);
	const char *source = strmap_get_or(&pool->config, "source", path);

	return streq(source, path);
}

/* Anything but what a creation that was cut short would have left. */
static int refuse_entry(void *ctx, UNUSED int dirfd, const char *name, UNUSED unsigned char type, struct error *err)
{
	static const char *const ours[] = {"containers", "custom", "images", "staging"};

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (streq(name, ours[i]) && unlinkat(dirfd, name, AT_REMOVEDIR) == 0)
			return 0;
	return error_set(err, 400, "Source path \"%s\" isn't empty", (const char *)ctx);
}

static int check_source(struct storage_pool *pool, const char *source, struct error *err)
{
	auto_free char *real = NULL;
	auto_free char *lxd = NULL;
	auto_close int fd = -EBADF;
	const char *rest;

	if (source[0] != '/')
		return error_set(err, 400, "Source path \"%s\" isn't absolute", source);
	real = realpath(source, NULL);
	if (!real)
		return error_set(err, 400, "Source path \"%s\" doesn't exist", source);
	lxd = realpath(pool->lxd_dir, NULL);
	rest = lxd ? startswith(real, lxd) : NULL;
	if (rest && (*rest == '/' || !*rest))
		return error_set(err, 400, "Source path \"%s\" is within the LXD directory", source);
	fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, 400, "Source path \"%s\" isn't a directory", source);
	return walk_entries(fd, refuse_entry, (void *)(uintptr_t)source, err);
}

static int dir_pool_create(struct storage_pool *pool, struct error *err)
{
	auto_free char *path = default_path(pool);
	const char *source = strmap_get_or(&pool->config, "source", path);
	int r;

	if (!is_default(pool))
		return check_source(pool, source, err);
	r = dir_make_all(AT_FDCWD, path, 0711, err);
	if (r < 0)
		return r;
	if (chmod(path, 0711) < 0)
		return error_errno(err, errno, "Set the mode of %s", path);
	(void)removexattr(path, "system.posix_acl_default"); /* volumes must not inherit ACLs */
	strmap_set(&pool->config, "source", path);
	return 0;
}

static int dir_pool_mount(struct storage_pool *pool, UNUSED struct error *err)
{
	auto_free char *path = default_path(pool);

	free(pool->path);
	pool->path = xstrdup(strmap_get_or(&pool->config, "source", path));
	return 0;
}

static int dir_pool_umount(UNUSED struct storage_pool *pool, UNUSED struct error *err)
{
	return 0;
}

static int dir_pool_delete(struct storage_pool *pool, struct error *err)
{
	if (is_default(pool) && rmdir(pool->path) < 0 && errno != ENOENT)
		return error_errno(err, errno, "Remove %s", pool->path);
	return 0;
}

static int dir_pool_resources(const struct storage_pool *pool, struct storage_resources *ret, struct error *err)
{
	struct statvfs v;

	if (statvfs(pool->path, &v) < 0)
		return error_errno(err, errno, "Look at the file system of %s", pool->path);
	*ret = (struct storage_resources){
		.space_used = (v.f_blocks - v.f_bfree) * v.f_frsize,
		.space_total = v.f_blocks * v.f_frsize,
		.inodes_used = v.f_files - v.f_ffree,
		.inodes_total = v.f_files,
	};
	return 0;
}

static int dir_volume_make(UNUSED const struct storage_pool *pool, int staging_dirfd, const char *name,
			   struct error *err)
{
	return mkdirat(staging_dirfd, name, 0700) < 0 ? error_errno(err, errno, "Create staging/%s", name) : 0;
}

static int dir_volume_fill(const struct storage_pool *pool, int dirfd, int src, struct error *err)
{
	return tree_copy(src, dirfd, TREE_KEEP_TOP, pool->stop, NULL, err);
}

static int dir_volume_remove(UNUSED const struct storage_pool *pool, int staging_dirfd, const char *name,
			     struct error *err)
{
	return path_remove_tree(staging_dirfd, name, err);
}

static int dir_volume_usage(UNUSED const struct storage_pool *pool, int dirfd, uint64_t *ret_bytes,
			    uint64_t *ret_inodes, struct error *err)
{
	return tree_usage(dirfd, ret_bytes, ret_inodes, err);
}

static int dir_volume_id(UNUSED const struct storage_pool *pool, int dirfd, uint64_t *ret, struct error *err)
{
	struct stat st;

	if (fstat(dirfd, &st) < 0)
		return error_errno(err, errno, "Look at a volume");
	*ret = st.st_ino;
	return 0;
}

static const char *const pool_keys[] = {"source", "rsync.bwlimit", "rsync.compression", NULL};

const struct storage_driver storage_driver_dir = {
	.name = "dir",
	.features = 0,
	.pool_keys = pool_keys,
	.pool_create = dir_pool_create,
	.pool_mount = dir_pool_mount,
	.pool_umount = dir_pool_umount,
	.pool_delete = dir_pool_delete,
	.pool_resources = dir_pool_resources,
	.volume_make = dir_volume_make,
	.volume_fill = dir_volume_fill,
	.volume_remove = dir_volume_remove,
	.volume_usage = dir_volume_usage,
	.volume_id = dir_volume_id,
};
