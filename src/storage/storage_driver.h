/* The driver table. Only storage.c calls these slots, with names already checked; drivers never call each other. */
#pragma once

#include "storage/storage.h"

struct storage_driver {
	const char *name;
	unsigned features;            /* enum storage_features */
	const char *const *pool_keys; /* keys besides the common ones, NULL-terminated */

	/* All required. The pool is borrowed, no lock is held, errors carry no pool name (the caller adds it). */

	/* Make the pool's place; sets config "source" when it was left out. Must be repeatable. */
	int (*pool_create)(struct storage_pool *pool, struct error *err);
	/* Make an existing pool reachable at pool->path. Must be repeatable. */
	int (*pool_mount)(struct storage_pool *pool, struct error *err);
	int (*pool_umount)(struct storage_pool *pool, struct error *err);
	/* Remove the place; folders of the pool are gone already. */
	int (*pool_delete)(struct storage_pool *pool, struct error *err);
	int (*pool_resources)(const struct storage_pool *pool, struct storage_resources *ret, struct error *err);
	/* Make the folder @name below @staging_dirfd, mode 0700. */
	int (*volume_make)(const struct storage_pool *pool, int staging_dirfd, const char *name, struct error *err);
	/* Fill a volume made before with what is in the foreign tree @src. */
	int (*volume_fill)(const struct storage_pool *pool, int dirfd, int src, struct error *err);
	/* Remove the volume @name below @staging_dirfd; missing is fine. */
	int (*volume_remove)(const struct storage_pool *pool, int staging_dirfd, const char *name, struct error *err);
	int (*volume_usage)(const struct storage_pool *pool, int dirfd, uint64_t *ret_bytes, uint64_t *ret_inodes,
			    struct error *err);
	/* What stays the same for as long as the volume at @dirfd is there, under whatever name; no other has it. */
	int (*volume_id)(const struct storage_pool *pool, int dirfd, uint64_t *ret, struct error *err);
};

extern const struct storage_driver storage_driver_dir;
