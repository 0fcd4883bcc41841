/*
 * The database in memory: server configuration, projects, pools, networks, profiles, images and aliases. Reads never
 * touch the disk; every change is written first, then taken over here. Instances, which have a running side too, are
 * kept in src/instance.
 */
#pragma once

#include <stdatomic.h>

#include "base/thread.h"
#include "db/db.h"

struct store {
	struct db *db;
	struct mutex lock;
	struct strmap config GUARDED_BY(lock);
	struct db_project **projects GUARDED_BY(lock); /* not in order */
	size_t n_projects GUARDED_BY(lock);
	struct db_pool **pools GUARDED_BY(lock);
	size_t n_pools GUARDED_BY(lock);
	struct db_network **networks GUARDED_BY(lock); /* of every phase */
	size_t n_networks GUARDED_BY(lock);
	struct db_profile **profiles GUARDED_BY(lock);
	size_t n_profiles GUARDED_BY(lock);
	struct db_image **images GUARDED_BY(lock); /* of every phase */
	size_t n_images GUARDED_BY(lock);
	struct db_alias **aliases GUARDED_BY(lock);
	size_t n_aliases GUARDED_BY(lock);
	_Atomic unsigned generation; /* grows with each change: what was rendered from an older one is stale */
};

/* Load everything; @db stays the caller's. */
int store_new(struct db *db, struct store **ret, struct error *err);
void store_free(struct store *s);

/* What a project may have for itself; where it does not, the default project's is its own. */
enum project_feature {
	PROJECT_ITSELF, /* what every project has for itself: instances */
	PROJECT_IMAGES,
	PROJECT_PROFILES,
	PROJECT_VOLUMES,
	PROJECT_NETWORKS,
	PROJECT_FEATURE_MAX,
};

/* "features.images"; NULL for PROJECT_ITSELF. */
const char *project_feature_key(enum project_feature f);
/*
 * Where objects of a kind are that a request to @project is about: @project or "default". A project that is not there
 * has nothing but itself, so that nothing is found in it. Returns @project itself, or a constant.
 */
const char *store_effective_project_locked(struct store *s, const char *project, enum project_feature f)
	REQUIRES(s->lock);
const char *store_effective_project(struct store *s, const char *project, enum project_feature f);
/* Deep copies. Errors: 404 `Project not found`. */
int store_project_dup(struct store *s, const char *name, struct db_project *ret, struct error *err);
/* The URL that @fmt gives, with ?project= outside the default project; the caller frees. */
char *project_url(const char *project, const char *fmt, ...) PRINTF_LIKE(2, 3) __attribute__((returns_nonnull));
bool store_has_project(struct store *s, const char *name);
/* Appends the names of all projects, sorted. */
void store_project_names(struct store *s, struct strv *ret);

/* Borrowed while the lock is held; NULL when absent. */
struct db_project *store_project_locked(struct store *s, const char *name) REQUIRES(s->lock);
struct db_pool *store_pool_locked(struct store *s, const char *name) REQUIRES(s->lock);
struct db_network *store_network_locked(struct store *s, const char *name) REQUIRES(s->lock);
struct db_profile *store_profile_locked(struct store *s, const char *project, const char *name) REQUIRES(s->lock);
/* Only images that are ready. */
struct db_image *store_image_locked(struct store *s, const char *project, const char *fingerprint) REQUIRES(s->lock);
struct db_image *store_image_by_id_locked(struct store *s, int64_t id) REQUIRES(s->lock);
struct db_alias *store_alias_locked(struct store *s, const char *project, const char *name) REQUIRES(s->lock);
/*
 * Full fingerprint for a unique prefix; the caller frees. Errors: 404 `Image not found`, 400 several match.
 */
int store_image_resolve(struct store *s, const char *project, const char *prefix, char **ret, struct error *err);

/* Deep copies, for work outside the lock. Errors: 404. */
int store_pool_dup(struct store *s, const char *name, struct db_pool *ret, struct error *err);
int store_network_dup(struct store *s, const char *name, struct db_network *ret, struct error *err);
int store_profile_dup(struct store *s, const char *project, const char *name, struct db_profile *ret,
		      struct error *err);
int store_image_dup(struct store *s, const char *project, const char *fingerprint, struct db_image *ret,
		    struct error *err);
void store_config_copy(struct store *s, struct strmap *ret);

/* Changes: written to disk, then here. @row is copied (add: its id is set). */
int store_config_replace(struct store *s, const struct strmap *config, struct error *err);
/* Projects: as in db.h. Names stay what they are while somebody holds what instances name (instance.h). */
int store_project_add(struct store *s, struct db_project *row, struct db_profile *profile, struct error *err);
int store_project_update(struct store *s, const struct db_project *row, struct db_profile *profile,
			 int64_t drop_profile, struct error *err);
int store_project_rename(struct store *s, const char *old_name, const char *name, struct error *err);
int store_project_remove(struct store *s, const char *name, struct error *err);
int store_pool_add(struct store *s, struct db_pool *row, struct error *err);
int store_pool_update(struct store *s, const struct db_pool *row, struct error *err);
int store_pool_remove(struct store *s, const char *name, struct error *err);
int store_network_add(struct store *s, struct db_network *row, struct error *err);
int store_network_update(struct store *s, const struct db_network *row, struct error *err);
int store_network_remove(struct store *s, int64_t id, struct error *err);
int store_profile_add(struct store *s, struct db_profile *row, struct error *err);
int store_profile_update(struct store *s, const struct db_profile *row, struct error *err);
/* @users: as db_profile_rename(). */
int store_profile_rename(struct store *s, const struct db_profile *row, const struct db_profile_user *users,
			 size_t n_users, struct error *err);
int store_profile_remove(struct store *s, int64_t id, struct error *err);
int store_image_add(struct store *s, struct db_image *row, struct error *err);
int store_image_update(struct store *s, const struct db_image *row, struct error *err);
/* Take a ready image out of sight and into phase deleting, once: a second caller gets 404. @ret is a copy. */
int store_image_begin_delete(struct store *s, const char *project, const char *fingerprint, struct db_image *ret,
			     struct error *err);
int store_image_remove(struct store *s, int64_t id, struct error *err); /* and its aliases */
int store_alias_add(struct store *s, struct db_alias *row, struct error *err);
int store_alias_update(struct store *s, const struct db_alias *row, struct error *err);
int store_alias_remove(struct store *s, int64_t id, struct error *err);
