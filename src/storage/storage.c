/* Pools and volumes above the driver table: names, folders, staging, and the order of renames. */
#include "storage/storage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "storage/storage_driver.h"
#include "storage/tree.h"
#include "storage/walk.h"

#define STAGING "staging"

static const char *const driver_names[] = {"dir", NULL};
static const struct storage_driver *const drivers[] = {&storage_driver_dir};

/* The folders of a pool: volume types first, in the order of their enum. */
static const char *const folders[] = {
	[STORAGE_VOLUME_CONTAINER] = "containers",
	[STORAGE_VOLUME_CUSTOM] = "custom",
	[STORAGE_VOLUME_IMAGE] = "images",
	[STORAGE_VOLUME_SNAPSHOT] = "containers-snapshots",
	STAGING,
};

/* Names come checked; this is the last line of defence before one becomes a path. */
static int check_name(const char *what, const char *name, struct error *err)
{
	size_t len = name ? strlen(name) : 0;

	if (!len || len > 200 || name[0] == '.' || strpbrk(name, "/\n"))
		return error_set(err, 400, "Invalid %s \"%s\"", what, name ? name : "");
	return 0;
}

int storage_driver_find(const char *name, const struct storage_driver **ret, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (name && streq(drivers[i]->name, name)) {
			*ret = drivers[i];
			return 0;
		}
	error_set(err, 500, "Unknown driver \"%s\"", name);
	err->errnum = ENOENT;
	return -ENOENT;
}

const char *const *storage_driver_names(void)
{
	return driver_names;
}

const char *storage_driver_name(const struct storage_driver *driver)
{
	return driver->name;
}

unsigned storage_driver_features(const struct storage_driver *driver)
{
	return driver->features;
}

const char *const *storage_driver_pool_keys(const struct storage_driver *driver)
{
	return driver->pool_keys;
}

int storage_pool_init(struct storage_pool *pool, const char *lxd_dir, const char *name, const char *driver,
		      const struct strmap *config, struct error *err)
{
	const struct storage_driver *found;
	int r;

	r = check_name("storage pool name", name, err);
	if (r < 0)
		return r;
	r = storage_driver_find(driver, &found, err);
	if (r < 0)
		return r;
	*pool = (struct storage_pool){.driver = found, .name = xstrdup(name), .lxd_dir = xstrdup(lxd_dir)};
	pool->path = path_join(lxd_dir, "storage-pools", name);
	if (config)
		strmap_copy(&pool->config, config);
	return 0;
}

void storage_pool_done(struct storage_pool *pool)
{
	free(pool->name);
	free(pool->path);
	free(pool->lxd_dir);
	strmap_done(&pool->config);
	*pool = STORAGE_POOL_INIT;
}

static int open_folder(const struct storage_pool *pool, const char *folder, struct error *err)
{
	auto_free char *path = path_join(pool->path, folder);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? error_errno(err, errno, "Open %s", path) : fd;
}

/* Others may pass through (a container's root must), but not list; staging is nobody's business. */
static int make_folders(const struct storage_pool *pool, struct error *err)
{
	auto_close int top = open_folder(pool, "", err);

	if (top < 0)
		return top;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		mode_t mode = streq(folders[i], STAGING) ? 0700 : 0711;

		if (mkdirat(top, folders[i], 0700) < 0 && errno != EEXIST)
			return error_errno(err, errno, "Create %s/%s", pool->path, folders[i]);
		if (fchmodat(top, folders[i], mode, 0) < 0)
			return error_errno(err, errno, "Set the mode of %s/%s", pool->path, folders[i]);
	}
	return 0;
}

int storage_pool_create(struct storage_pool *pool, struct error *err)
{
	int r = pool->driver->pool_create(pool, err);

	if (r >= 0)
		r = storage_pool_open(pool, err);
	return r < 0 ? error_wrap(err, "Create storage pool %s", pool->name) : 0;
}

int storage_pool_open(struct storage_pool *pool, struct error *err)
{
	int r = pool->driver->pool_mount(pool, err);

	if (r >= 0)
		r = make_folders(pool, err);
	return r < 0 ? error_wrap(err, "Open storage pool %s", pool->name) : 0;
}

int storage_pool_close(struct storage_pool *pool, struct error *err)
{
	int r = pool->driver->pool_umount(pool, err);

	return r < 0 ? error_wrap(err, "Close storage pool %s", pool->name) : 0;
}

static int remove_staged(void *ctx, int dirfd, const char *name, UNUSED unsigned char type, struct error *err)
{
	const struct storage_pool *pool = ctx;

	return pool->driver->volume_remove(pool, dirfd, name, err);
}

static int empty_staging(const struct storage_pool *pool, struct error *err)
{
	auto_close int fd = open_folder(pool, STAGING, err);

	return fd < 0 ? fd : walk_entries(fd, remove_staged, (void *)(uintptr_t)pool, err);
}

int storage_pool_delete(struct storage_pool *pool, struct error *err)
{
	auto_close int top = -EBADF;
	int r;

	top = open(pool->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0 && errno == ENOENT)
		return 0; /* a deletion that was cut short, done again */
	if (top < 0)
		return error_errno(err, errno, "Open storage pool %s", pool->name);
	if (faccessat(top, STAGING, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		r = empty_staging(pool, err);
		if (r < 0)
			return error_wrap(err, "Delete storage pool %s", pool->name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		if (unlinkat(top, folders[i], AT_REMOVEDIR) == 0 || errno == ENOENT)
			continue;
		if (errno == ENOTEMPTY || errno == EEXIST) {
			error_set(err, 400, "The storage pool is currently in use: %s has volumes", folders[i]);
			err->errnum = EBUSY;
			return -EBUSY;
		}
		return error_errno(err, errno, "Remove %s/%s", pool->path, folders[i]);
	}
	r = pool->driver->pool_umount(pool, err);
	if (r >= 0)
		r = pool->driver->pool_delete(pool, err);
	return r < 0 ? error_wrap(err, "Delete storage pool %s", pool->name) : 0;
}

int storage_pool_resources(const struct storage_pool *pool, struct storage_resources *ret, struct error *err)
{
	int r = pool->driver->pool_resources(pool, ret, err);

	return r < 0 ? error_wrap(err, "Resources of storage pool %s", pool->name) : 0;
}

int storage_pool_sync(const struct storage_pool *pool, struct error *err)
{
	auto_close int fd = open_folder(pool, STAGING, err);

	if (fd < 0)
		return fd;
	return syncfs(fd) < 0 ? error_errno(err, errno, "Write out storage pool %s", pool->name) : 0;
}

static int list_volume(void *ctx, UNUSED int dirfd, const char *name, UNUSED unsigned char type,
		       UNUSED struct error *err)
{
	strv_add(ctx, name);
	return 0;
}

int storage_pool_sweep(const struct storage_pool *pool, enum storage_volume_type type, struct strv *volumes,
		       struct error *err)
{
	auto_close int fd = -EBADF;
	int r = empty_staging(pool, err);

	if (r < 0)
		return error_wrap(err, "Clean up storage pool %s", pool->name);
	if (!volumes)
		return 0;
	fd = open_folder(pool, folders[type], err);
	if (fd < 0)
		return fd;
	r = walk_entries(fd, list_volume, volumes, err);
	return r < 0 ? error_wrap(err, "List storage pool %s", pool->name) : 0;
}

/* Makes staging/<staging> and opens both. */
static int stage(const struct storage_pool *pool, const char *staging, int *ret_staging_fd, int *ret_fd,
		 struct error *err)
{
	auto_close int dir = -EBADF;
	int fd, r;

	r = check_name("staging name", staging, err);
	if (r < 0)
		return r;
	dir = open_folder(pool, STAGING, err);
	if (dir < 0)
		return dir;
	r = pool->driver->volume_make(pool, dir, staging, err);
	if (r < 0)
		return r;
	fd = walk_open_dir(dir, staging);
	if (fd < 0)
		return error_errno(err, -fd, "Open %s/" STAGING "/%s", pool->path, staging);
	*ret_staging_fd = TAKE_FD(dir);
	*ret_fd = fd;
	return 0;
}

/* After a failure: nothing is left, and the first error is the one that counts. */
static int unstage(const struct storage_pool *pool, int staging_fd, const char *staging, struct error *err)
{
	auto_error struct error second = ERROR_INIT;

	if (pool->driver->volume_remove(pool, staging_fd, staging, &second) < 0)
		error_ignore(&second, "the next sweep removes it");
	return error_wrap(err, "Create a volume in storage pool %s", pool->name);
}

int storage_volume_create_from_tree(const struct storage_pool *pool, const char *staging, int src_dirfd,
				    struct error *err)
{
	auto_close int dir = -EBADF, fd = -EBADF;
	int r = stage(pool, staging, &dir, &fd, err);

	if (r < 0)
		return r;
	r = pool->driver->volume_fill(pool, fd, src_dirfd, err);
	return r < 0 ? unstage(pool, dir, staging, err) : 0;
}

int storage_volume_create_empty(const struct storage_pool *pool, const char *staging, struct error *err)
{
	static const char *const parts[] = {"rootfs", "templates"};
	auto_close int dir = -EBADF, fd = -EBADF;
	int r = stage(pool, staging, &dir, &fd, err);

	if (r < 0)
		return r;
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(parts); i++)
		if (mkdirat(fd, parts[i], 0755) < 0 || fchmodat(fd, parts[i], 0755, 0) < 0)
			r = error_errno(err, errno, "Create %s", parts[i]);
	return r < 0 ? unstage(pool, dir, staging, err) : 0;
}

int storage_volume_copy(const struct storage_pool *pool, const char *staging, const struct storage_pool *src,
			enum storage_volume_type type, const char *name, struct error *err)
{
	auto_close int fd = storage_volume_open(src, type, name, err);

	return fd < 0 ? fd : storage_volume_create_from_tree(pool, staging, fd, err);
}

int storage_staging_open(const struct storage_pool *pool, const char *staging, struct error *err)
{
	auto_close int dir = -EBADF;
	int r = check_name("staging name", staging, err);

	if (r < 0)
		return r;
	dir = open_folder(pool, STAGING, err);
	if (dir < 0)
		return dir;
	r = walk_open_dir(dir, staging);
	return r < 0 ? error_errno(err, -r, "Open %s/" STAGING "/%s", pool->path, staging) : r;
}

int storage_staging_discard(const struct storage_pool *pool, const char *staging, struct error *err)
{
	auto_close int dir = -EBADF;
	int r = check_name("staging name", staging, err);

	if (r < 0)
		return r;
	dir = open_folder(pool, STAGING, err);
	return dir < 0 ? dir : pool->driver->volume_remove(pool, dir, staging, err);
}

static int exists_error(enum storage_volume_type type, const char *name, struct error *err)
{
	error_set(err, 409, "Volume %s/%s exists already", folders[type], name);
	err->errnum = EEXIST;
	return -EEXIST;
}

int storage_volume_commit(const struct storage_pool *pool, const char *staging, enum storage_volume_type type,
			  const char *name, struct error *err)
{
	auto_close int from = -EBADF, to = -EBADF;
	int r = check_name("staging name", staging, err);

	if (r >= 0)
		r = check_name("volume name", name, err);
	if (r < 0)
		return r;
	from = open_folder(pool, STAGING, err);
	if (from < 0)
		return from;
	to = open_folder(pool, folders[type], err);
	if (to < 0)
		return to;
	/* while it is still out of reach: see storage_volume_set_owner() */
	if (fchmodat(from, staging, 0100, 0) < 0)
		return error_errno(err, errno, "Set the mode of " STAGING "/%s", staging);
	if (renameat2(from, staging, to, name, RENAME_NOREPLACE) == 0)
		return 0;
	return errno == EEXIST ? exists_error(type, name, err)
			       : error_errno(err, errno, "Rename " STAGING "/%s to %s", staging, name);
}

static int not_found(enum storage_volume_type type, const char *name, struct error *err)
{
	return error_set(err, 404, "Volume %s/%s not found", folders[type], name);
}

int storage_volume_exchange(const struct storage_pool *pool, const char *staging, enum storage_volume_type type,
			    const char *name, struct error *err)
{
	auto_close int from = -EBADF, to = -EBADF;
	int r = check_name("staging name", staging, err);

	if (r >= 0)
		r = check_name("volume name", name, err);
	if (r < 0)
		return r;
	from = open_folder(pool, STAGING, err);
	if (from < 0)
		return from;
	to = open_folder(pool, folders[type], err);
	if (to < 0)
		return to;
	if (fchmodat(from, staging, 0100, 0) < 0)
		return error_errno(err, errno, "Set the mode of " STAGING "/%s", staging);
	if (renameat2(from, staging, to, name, RENAME_EXCHANGE) == 0)
		return 0;
	return errno == ENOENT ? not_found(type, name, err)
			       : error_errno(err, errno, "Exchange " STAGING "/%s with %s", staging, name);
}

int storage_volume_rename(const struct storage_pool *pool, enum storage_volume_type type, const char *name,
			  const char *new_name, struct error *err)
{
	auto_close int dir = -EBADF;
	int r = check_name("volume name", name, err);

	if (r >= 0)
		r = check_name("volume name", new_name, err);
	if (r < 0)
		return r;
	dir = open_folder(pool, folders[type], err);
	if (dir < 0)
		return dir;
	if (renameat2(dir, name, dir, new_name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EEXIST)
		return exists_error(type, new_name, err);
	if (errno == ENOENT)
		return not_found(type, name, err);
	return error_errno(err, errno, "Rename volume %s to %s", name, new_name);
}

int storage_volume_discard(const struct storage_pool *pool, const char *staging, enum storage_volume_type type,
			   const char *name, struct error *err)
{
	auto_close int from = -EBADF, to = -EBADF;
	int r = check_name("staging name", staging, err);

	if (r >= 0)
		r = check_name("volume name", name, err);
	if (r < 0)
		return r;
	from = open_folder(pool, folders[type], err);
	if (from < 0)
		return from;
	to = open_folder(pool, STAGING, err);
	if (to < 0)
		return to;
	if (renameat2(from, name, to, staging, RENAME_NOREPLACE) < 0 && errno != ENOENT)
		return error_errno(err, errno, "Rename volume %s to " STAGING "/%s", name, staging);
	r = pool->driver->volume_remove(pool, to, staging, err);
	return r < 0 ? error_wrap(err, "Remove volume %s", name) : 0;
}

int storage_volume_open(const struct storage_pool *pool, enum storage_volume_type type, const char *name,
			struct error *err)
{
	auto_close int dir = -EBADF;
	int r = check_name("volume name", name, err);

	if (r < 0)
		return r;
	dir = open_folder(pool, folders[type], err);
	if (dir < 0)
		return dir;
	r = walk_open_dir(dir, name);
	if (r == -ENOENT)
		return not_found(type, name, err);
	return r < 0 ? error_errno(err, -r, "Open volume %s", name) : r;
}

int storage_volume_id(const struct storage_pool *pool, enum storage_volume_type type, const char *name, uint64_t *ret,
		      struct error *err)
{
	auto_close int fd = storage_volume_open(pool, type, name, err);

	return fd < 0 ? fd : pool->driver->volume_id(pool, fd, ret, err);
}

int storage_volume_set_owner(const struct storage_pool *pool, enum storage_volume_type type, const char *name,
			     uid_t uid, struct error *err)
{
	auto_close int fd = storage_volume_open(pool, type, name, err);

	if (fd < 0)
		return fd;
	if (fchown(fd, uid, 0) < 0 || fchmod(fd, 0100) < 0)
		return error_errno(err, errno, "Set the owner of volume %s", name);
	return 0;
}

char *storage_volume_dir(const struct storage_pool *pool, enum storage_volume_type type, const char *name)
{
	return path_join(pool->path, folders[type], name);
}

char *storage_volume_path(const struct storage_pool *pool, enum storage_volume_type type, const char *name)
{
	return path_join(pool->path, folders[type], name, "rootfs");
}

int storage_volume_usage(const struct storage_pool *pool, enum storage_volume_type type, const char *name,
			 uint64_t *ret_bytes, uint64_t *ret_inodes, struct error *err)
{
	auto_close int fd = storage_volume_open(pool, type, name, err);

	return fd < 0 ? fd : pool->driver->volume_usage(pool, fd, ret_bytes, ret_inodes, err);
}
