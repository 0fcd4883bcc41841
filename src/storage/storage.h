/*
 * Storage pools and volumes. A driver is a const table (storage_driver.h); callers use the functions below, which
 * check names, add context to errors and call the driver.
 *
 * kill -9 and the database. Every volume is made and removed in <pool>/staging/<uuid>, and one rename makes it appear
 * or vanish. The caller's order: create  1. row in phase creating with the staging uuid   2.
 * storage_volume_create_from_tree / _create_empty / _copy
 *           3. storage_volume_commit                         4. row to phase ready
 *   delete  1. row to phase deleting with a staging uuid     2. storage_volume_discard   3. row away
 *   rename  1. storage_volume_rename                         2. row (undo the rename when the row fails)
 * At start: storage_pool_sweep() of each pool, then for each row: creating -> storage_volume_discard (fine when absent)
 * and row away; deleting -> the same; ready with no folder of its name, and a folder without row: a rename was cut
 * between its two steps (rename it back if exactly one of each), else report it; never remove a folder without row.
 *
 * Locks: none inside. The caller holds whatever serialises operations on one volume; different volumes are independent.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/strmap.h"
#include "base/strv.h"

struct storage_driver;

enum storage_features {
	STORAGE_SNAPSHOT = 1 << 0, /* snapshots without copying */
	STORAGE_CLONE = 1 << 1,    /* volumes from trees and volumes without copying */
	STORAGE_QUOTA = 1 << 2,    /* the key size is enforced */
	STORAGE_REMOTE = 1 << 3,   /* volumes can be reached from other hosts */
};

enum storage_volume_type {
	STORAGE_VOLUME_CONTAINER,
	STORAGE_VOLUME_CUSTOM,
	STORAGE_VOLUME_IMAGE,
	STORAGE_VOLUME_SNAPSHOT, /* of a container */
	_STORAGE_VOLUME_TYPE_MAX,
};

struct storage_pool {
	char *name;
	const struct storage_driver *driver;
	char *path;           /* where its folders are reached: $LXD_DIR/storage-pools/<name> */
	char *lxd_dir;        /* $LXD_DIR, absolute */
	struct strmap config; /* as in the database; storage_pool_create fills in what was left out (source) */
	/* borrowed: copies into it end with -ECANCELED when this is set; NULL: never */
	const _Atomic bool *stop;
};

#define STORAGE_POOL_INIT ((struct storage_pool){0})

struct storage_resources {
	uint64_t space_used; /* bytes */
	uint64_t space_total;
	uint64_t inodes_used; /* 0 of 0 on file systems that do not count */
	uint64_t inodes_total;
};

/* The driver, or -ENOENT (500) `Unknown driver "x"`; borrowed, static. */
int storage_driver_find(const char *name, const struct storage_driver **ret, struct error *err);
/* Names of all drivers in a NULL-terminated array, and of one driver; static. */
const char *const *storage_driver_names(void);
const char *storage_driver_name(const struct storage_driver *driver);
/* Bits of enum storage_features. */
unsigned storage_driver_features(const struct storage_driver *driver);
/* Config keys that pools of this driver know besides the common ones, NULL-terminated; static. */
const char *const *storage_driver_pool_keys(const struct storage_driver *driver);

/*
 * Fill @pool (STORAGE_POOL_INIT, or done) for the driver named @driver; no disk access. @config is copied.
 * Errors: -EINVAL (400) bad name, unknown driver (500).
 */
int storage_pool_init(struct storage_pool *pool, const char *lxd_dir, const char *name, const char *driver,
		      const struct strmap *config, struct error *err);
void storage_pool_done(struct storage_pool *pool);

/*
 * Make a new pool on disk. `source` is an existing empty directory outside $LXD_DIR, or empty (then it is set in
 * pool->config to the default). Repeating it after a crash is fine. -EINVAL (400) bad source.
 */
int storage_pool_create(struct storage_pool *pool, struct error *err);
/* Make an existing pool usable (daemon start): mounts what must be mounted, makes missing folders. Repeatable. */
int storage_pool_open(struct storage_pool *pool, struct error *err);
/* Undo storage_pool_open: unmounts. Volumes stay. */
int storage_pool_close(struct storage_pool *pool, struct error *err);
/* Remove an unused pool from disk; a source of the user's is emptied, not removed. -EBUSY (400) volumes are left. */
int storage_pool_delete(struct storage_pool *pool, struct error *err);
/* Write everything out: what was made is there after a loss of power. */
int storage_pool_sync(const struct storage_pool *pool, struct error *err);
int storage_pool_resources(const struct storage_pool *pool, struct storage_resources *ret, struct error *err);
/*
 * At daemon start, after storage_pool_open: empties staging/, and appends to @volumes (may be NULL) the names of all
 * volume folders of @type.
 */
int storage_pool_sweep(const struct storage_pool *pool, enum storage_volume_type type, struct strv *volumes,
		       struct error *err);

/*
 * Three ways to make a volume in staging/<staging>; @staging is a uuid of the caller's (see above). On failure nothing
 * is left there. -EEXIST when the uuid is taken; ENOSPC is 507.
 * From a tree: what is in @src_dirfd (an image's tree: rootfs/, templates/, metadata.yaml), owners as they are.
 */
int storage_volume_create_from_tree(const struct storage_pool *pool, const char *staging, int src_dirfd,
				    struct error *err);
/* With an empty rootfs/ (0755) and templates/. */
int storage_volume_create_empty(const struct storage_pool *pool, const char *staging, struct error *err);
/* A copy of volume @name of @src, which may be another pool, and may be in use. */
int storage_volume_copy(const struct storage_pool *pool, const char *staging, const struct storage_pool *src,
			enum storage_volume_type type, const char *name, struct error *err);
/* A folder fd of staging/<staging>, to work on before the commit; the caller closes it. */
int storage_staging_open(const struct storage_pool *pool, const char *staging, struct error *err);
/* Remove staging/<staging>; missing is fine. */
int storage_staging_discard(const struct storage_pool *pool, const char *staging, struct error *err);

/* staging/<staging> becomes the volume @name, atomically and durably. -EEXIST (409) when there is one already. */
int storage_volume_commit(const struct storage_pool *pool, const char *staging, enum storage_volume_type type,
			  const char *name, struct error *err);
/* staging/<staging> and the volume @name change places, at once. -ENOENT (404) no such volume. */
int storage_volume_exchange(const struct storage_pool *pool, const char *staging, enum storage_volume_type type,
			    const char *name, struct error *err);
/* -EEXIST (409) @new_name is there already; -ENOENT (404) no such volume. */
int storage_volume_rename(const struct storage_pool *pool, enum storage_volume_type type, const char *name,
			  const char *new_name, struct error *err);
/*
 * Remove the volume: it is gone from its name by one rename to staging/<staging>, then removed. Missing is fine; after
 * a failure in the second half the name is free and the next sweep removes the rest.
 */
int storage_volume_discard(const struct storage_pool *pool, const char *staging, enum storage_volume_type type,
			   const char *name, struct error *err);

/* A folder fd (O_RDONLY) of the volume, which the caller closes; -ENOENT (404) no such volume. */
int storage_volume_open(const struct storage_pool *pool, enum storage_volume_type type, const char *name,
			struct error *err);
/* What tells volumes of a pool apart whatever their names: it stays with the volume. -ENOENT (404) no such volume. */
int storage_volume_id(const struct storage_pool *pool, enum storage_volume_type type, const char *name, uint64_t *ret,
		      struct error *err);
/*
 * Owner and mode of the volume's folder: @uid is the host id of the container's root (0: privileged or stopped). Mode
 * is always 0100, so that no other user of the host can enter and use setuid files in it.
 */
int storage_volume_set_owner(const struct storage_pool *pool, enum storage_volume_type type, const char *name,
			     uid_t uid, struct error *err);
/* "<pool>/containers/<name>" and the same with "/rootfs"; the caller frees. */
char *storage_volume_dir(const struct storage_pool *pool, enum storage_volume_type type, const char *name)
	__attribute__((returns_nonnull));
char *storage_volume_path(const struct storage_pool *pool, enum storage_volume_type type, const char *name)
	__attribute__((returns_nonnull));
/* Bytes on disk and inodes of a volume; walks the whole tree with the dir driver. */
int storage_volume_usage(const struct storage_pool *pool, enum storage_volume_type type, const char *name,
			 uint64_t *ret_bytes, uint64_t *ret_inodes, struct error *err);
