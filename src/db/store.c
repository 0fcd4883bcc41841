#include "db/store.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

/* Deep copies of rows. */
static void pool_copy(struct db_pool *to, const struct db_pool *from)
{
	*to = (struct db_pool){.id = from->id,
			       .name = xstrdup(from->name),
			       .driver = xstrdup(from->driver),
			       .description = xstrdup(from->description)};
	strmap_copy(&to->config, &from->config);
}

static void project_copy(struct db_project *to, const struct db_project *from)
{
	*to = (struct db_project){
		.id = from->id, .name = xstrdup(from->name), .description = xstrdup(from->description)};
	strmap_copy(&to->config, &from->config);
}

static void network_copy(struct db_network *to, const struct db_network *from)
{
	*to = (struct db_network){.id = from->id,
				  .name = xstrdup(from->name),
				  .type = xstrdup(from->type),
				  .description = xstrdup(from->description),
				  .hwaddr = xstrdup(from->hwaddr),
				  .new_name = xstrdup_null(from->new_name),
				  .phase = from->phase};
	strmap_copy(&to->config, &from->config);
}

static void profile_copy(struct db_profile *to, const struct db_profile *from)
{
	*to = (struct db_profile){.id = from->id,
				  .project = xstrdup(from->project),
				  .name = xstrdup(from->name),
				  .description = xstrdup(from->description)};
	strmap_copy(&to->config, &from->config);
	mapmap_copy(&to->devices, &from->devices);
}

static void image_copy(struct db_image *to, const struct db_image *from)
{
	*to = *from;
	to->project = xstrdup(from->project);
	to->fingerprint = xstrdup(from->fingerprint);
	to->filename = xstrdup(from->filename);
	to->architecture = xstrdup(from->architecture);
	to->type = xstrdup(from->type);
	to->meta_ext = xstrdup(from->meta_ext);
	to->rootfs_ext = xstrdup(from->rootfs_ext);
	to->source = xstrdup(from->source ? from->source : "");
	to->staging = xstrdup_null(from->staging);
	to->properties = STRMAP_INIT;
	to->profiles = STRV_INIT;
	strmap_copy(&to->properties, &from->properties);
	strv_copy(&to->profiles, &from->profiles);
}

static void alias_copy(struct db_alias *to, const struct db_alias *from)
{
	*to = (struct db_alias){.id = from->id,
				.image_id = from->image_id,
				.project = xstrdup(from->project),
				.name = xstrdup(from->name),
				.description = xstrdup(from->description)};
}

/*
 * The lists are alike: rows behind pointers, found by id, added at the end, replaced whole. @kind is project,
 * pool, network, profile, image or alias; the macros give each its typed helpers.
 */
#define DEFINE_LIST(kind, kinds)                                                                             \
	static void kind##_append(struct store *s, const struct db_##kind *row) REQUIRES(s->lock)            \
	{                                                                                                    \
		struct db_##kind *copy = xnew(struct db_##kind);                                             \
                                                                                                             \
		kind##_copy(copy, row);                                                                      \
		s->kinds = xreallocarray(s->kinds, s->n_##kinds + 1, sizeof(*s->kinds));                     \
		s->kinds[s->n_##kinds++] = copy;                                                             \
	}                                                                                                    \
                                                                                                             \
	static void kind##_replace(struct store *s, const struct db_##kind *row) REQUIRES(s->lock)           \
	{                                                                                                    \
		for (size_t i = 0; i < s->n_##kinds; i++) {                                                  \
			if (s->kinds[i]->id == row->id) {                                                    \
				db_##kind##_done(s->kinds[i]);                                               \
				kind##_copy(s->kinds[i], row);                                               \
			}                                                                                    \
		}                                                                                            \
	}                                                                                                    \
                                                                                                             \
	static void kind##_drop(struct store *s, int64_t id) REQUIRES(s->lock)                               \
	{                                                                                                    \
		for (size_t i = 0; i < s->n_##kinds; i++) {                                                  \
			if (s->kinds[i]->id != id)                                                           \
				continue;                                                                    \
			db_##kind##_done(s->kinds[i]);                                                       \
			free(s->kinds[i]);                                                                   \
			memmove(&s->kinds[i], &s->kinds[i + 1], (s->n_##kinds - i - 1) * sizeof(*s->kinds)); \
			s->n_##kinds--;                                                                      \
			return;                                                                              \
		}                                                                                            \
	}                                                                                                    \
                                                                                                             \
	static void kind##_loaded(struct db_##kind *row, void *arg)                                          \
	{                                                                                                    \
		struct store *s = arg;                                                                       \
                                                                                                             \
		mutex_lock(&s->lock);                                                                        \
		kind##_append(s, row);                                                                       \
		mutex_unlock(&s->lock);                                                                      \
	}

/* The changes that are alike. */
#define DEFINE_CHANGES(kind)                                                                       \
	int store_##kind##_add(struct store *s, struct db_##kind *row, struct error *err)          \
	{                                                                                          \
		int r = db_##kind##_insert(s->db, row, err);                                       \
                                                                                                   \
		if (r < 0)                                                                         \
			return r;                                                                  \
		mutex_lock(&s->lock);                                                              \
		kind##_append(s, row);                                                             \
		mutex_unlock(&s->lock);                                                            \
		s->generation++;                                                                   \
		return 0;                                                                          \
	}                                                                                          \
                                                                                                   \
	int store_##kind##_update(struct store *s, const struct db_##kind *row, struct error *err) \
	{                                                                                          \
		int r = db_##kind##_update(s->db, row, err);                                       \
                                                                                                   \
		if (r < 0)                                                                         \
			return r;                                                                  \
		mutex_lock(&s->lock);                                                              \
		kind##_replace(s, row);                                                            \
		mutex_unlock(&s->lock);                                                            \
		s->generation++;                                                                   \
		return 0;                                                                          \
	}

DEFINE_LIST(project, projects)
DEFINE_LIST(pool, pools)
DEFINE_LIST(network, networks)
DEFINE_LIST(profile, profiles)
DEFINE_LIST(image, images)
DEFINE_LIST(alias, aliases)
DEFINE_CHANGES(pool)
DEFINE_CHANGES(network)
DEFINE_CHANGES(profile)
DEFINE_CHANGES(image)
DEFINE_CHANGES(alias)

int store_new(struct db *db, struct store **ret, struct error *err)
{
	struct store *s = xnew(struct store);
	int r;

	s->db = db;
	mutex_init(&s->lock);
	r = db_config_load(db, &s->config, err);
	if (r == 0)
		r = db_projects_load(db, project_loaded, s, err);
	if (r == 0)
		r = db_pools_load(db, pool_loaded, s, err);
	if (r == 0)
		r = db_networks_load(db, network_loaded, s, err);
	if (r == 0)
		r = db_profiles_load(db, profile_loaded, s, err);
	if (r == 0)
		r = db_images_load(db, image_loaded, s, err);
	if (r == 0)
		r = db_aliases_load(db, alias_loaded, s, err);
	if (r < 0) {
		store_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	mutex_lock(&s->lock);
	strmap_done(&s->config);
	while (s->n_projects)
		project_drop(s, s->projects[0]->id);
	while (s->n_pools)
		pool_drop(s, s->pools[0]->id);
	while (s->n_networks)
		network_drop(s, s->networks[0]->id);
	while (s->n_profiles)
		profile_drop(s, s->profiles[0]->id);
	while (s->n_images)
		image_drop(s, s->images[0]->id);
	while (s->n_aliases)
		alias_drop(s, s->aliases[0]->id);
	free(s->projects);
	free(s->pools);
	free(s->networks);
	free(s->profiles);
	free(s->images);
	free(s->aliases);
	mutex_unlock(&s->lock);
	mutex_done(&s->lock);
	free(s);
}

struct db_project *store_project_locked(struct store *s, const char *name)
{
	for (size_t i = 0; i < s->n_projects; i++)
		if (streq(s->projects[i]->name, name))
			return s->projects[i];
	return NULL;
}

struct db_pool *store_pool_locked(struct store *s, const char *name)
{
	for (size_t i = 0; i < s->n_pools; i++)
		if (streq(s->pools[i]->name, name))
			return s->pools[i];
	return NULL;
}

struct db_network *store_network_locked(struct store *s, const char *name)
{
	for (size_t i = 0; i < s->n_networks; i++)
		if (streq(s->networks[i]->name, name))
			return s->networks[i];
	return NULL;
}

struct db_profile *store_profile_locked(struct store *s, const char *project, const char *name)
{
	for (size_t i = 0; i < s->n_profiles; i++)
		if (streq(s->profiles[i]->name, name) && streq(s->profiles[i]->project, project))
			return s->profiles[i];
	return NULL;
}

struct db_image *store_image_locked(struct store *s, const char *project, const char *fingerprint)
{
	for (size_t i = 0; i < s->n_images; i++)
		if (s->images[i]->phase == DB_READY && streq(s->images[i]->fingerprint, fingerprint) &&
		    streq(s->images[i]->project, project))
			return s->images[i];
	return NULL;
}

struct db_image *store_image_by_id_locked(struct store *s, int64_t id)
{
	for (size_t i = 0; i < s->n_images; i++)
		if (s->images[i]->id == id)
			return s->images[i];
	return NULL;
}

struct db_alias *store_alias_locked(struct store *s, const char *project, const char *name)
{
	for (size_t i = 0; i < s->n_aliases; i++)
		if (streq(s->aliases[i]->name, name) && streq(s->aliases[i]->project, project))
			return s->aliases[i];
	return NULL;
}

int store_image_resolve(struct store *s, const char *project, const char *prefix, char **ret, struct error *err)
{
	const char *found = NULL;
	int r = 0;

	if (!*prefix)
		return error_set(err, 404, "Image not found");
	mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_images && r == 0; i++) {
		const struct db_image *img = s->images[i];

		if (img->phase != DB_READY || !streq(img->project, project) || !startswith(img->fingerprint, prefix))
			continue;
		if (found)
			r = error_set(err, 400, "More than one image matches fingerprint prefix \"%s\"", prefix);
		found = img->fingerprint;
	}
	if (r == 0 && !found)
		r = error_set(err, 404, "Image not found");
	if (r == 0)
		*ret = xstrdup(found);
	mutex_unlock(&s->lock);
	return r;
}

int store_project_dup(struct store *s, const char *name, struct db_project *ret, struct error *err)
{
	const struct db_project *p;

	mutex_lock(&s->lock);
	p = store_project_locked(s, name);
	if (p)
		project_copy(ret, p);
	mutex_unlock(&s->lock);
	return p ? 0 : error_set(err, 404, "Project not found");
}

int store_pool_dup(struct store *s, const char *name, struct db_pool *ret, struct error *err)
{
	const struct db_pool *p;

	mutex_lock(&s->lock);
	p = store_pool_locked(s, name);
	if (p)
		pool_copy(ret, p);
	mutex_unlock(&s->lock);
	return p ? 0 : error_set(err, 404, "Storage pool not found");
}

int store_network_dup(struct store *s, const char *name, struct db_network *ret, struct error *err)
{
	const struct db_network *n;

	mutex_lock(&s->lock);
	n = store_network_locked(s, name);
	if (n)
		network_copy(ret, n);
	mutex_unlock(&s->lock);
	return n ? 0 : error_set(err, 404, "Network not found");
}

int store_profile_dup(struct store *s, const char *project, const char *name, struct db_profile *ret, struct error *err)
{
	const struct db_profile *p;

	mutex_lock(&s->lock);
	p = store_profile_locked(s, project, name);
	if (p)
		profile_copy(ret, p);
	mutex_unlock(&s->lock);
	return p ? 0 : error_set(err, 404, "Profile not found");
}

int store_image_dup(struct store *s, const char *project, const char *fingerprint, struct db_image *ret,
		    struct error *err)
{
	const struct db_image *img;

	mutex_lock(&s->lock);
	img = store_image_locked(s, project, fingerprint);
	if (img)
		image_copy(ret, img);
	mutex_unlock(&s->lock);
	return img ? 0 : error_set(err, 404, "Image not found");
}

void store_config_copy(struct store *s, struct strmap *ret)
{
	mutex_lock(&s->lock);
	strmap_copy(ret, &s->config);
	mutex_unlock(&s->lock);
}

int store_config_replace(struct store *s, const struct strmap *config, struct error *err)
{
	int r = db_config_replace(s->db, config, err);

	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	strmap_copy(&s->config, config);
	mutex_unlock(&s->lock);
	s->generation++;
	return 0;
}

int store_project_add(struct store *s, struct db_project *row, struct db_profile *profile, struct error *err)
{
	int r = db_project_insert(s->db, row, profile, err);

	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	project_append(s, row);
	if (profile)
		profile_append(s, profile);
	mutex_unlock(&s->lock);
	s->generation++;
	return 0;
}

int store_project_update(struct store *s, const struct db_project *row, struct db_profile *profile,
			 int64_t drop_profile, struct error *err)
{
	int r = db_project_update(s->db, row, profile, drop_profile, err);

	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	project_replace(s, row);
	if (profile)
		profile_append(s, profile);
	profile_drop(s, drop_profile);
	mutex_unlock(&s->lock);
	s->generation++;
	return 0;
}

static int64_t project_id(struct store *s, const char *name)
{
	const struct db_project *p;
	int64_t id;

	mutex_lock(&s->lock);
	p = store_project_locked(s, name);
	id = p ? p->id : -1;
	mutex_unlock(&s->lock);
	return id;
}

int store_project_rename(struct store *s, const char *old_name, const char *name, struct error *err)
{
	int64_t id = project_id(s, old_name);
	struct db_project *p;
	int r = id < 0 ? error_set(err, 404, "Project not found") : db_project_rename(s->db, id, old_name, name, err);

	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_profiles; i++) {
		if (!streq(s->profiles[i]->project, old_name))
			continue;
		free(s->profiles[i]->project);
		s->profiles[i]->project = xstrdup(name);
	}
	p = store_project_locked(s, old_name);
	free(p->name);
	p->name = xstrdup(name);
	mutex_unlock(&s->lock);
	s->generation++;
	return 0;
}

int store_project_remove(struct store *s, const char *name, struct error *err)
{
	int64_t id = project_id(s, name);
	int r = id < 0 ? error_set(err, 404, "Project not found") : db_project_delete(s->db, id, name, err);

	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	for (size_t i = s->n_profiles; i-- > 0;)
		if (streq(s->profiles[i]->project, name))
			profile_drop(s, s->profiles[i]->id);
	project_drop(s, id);
	mutex_unlock(&s->lock);
	s->generation++;
	return 0;
}

int store_pool_remove(struct store *s, const char *name, struct error *err)
{
	struct db_pool *p;
	int64_t id;
	int r;

	mutex_lock(&s->lock);
	p = store_pool_locked(s, name);
	id = p ? p->id : -1;
	mutex_unlock(&s->lock);
	if (!p)
		return error_set(err, 404, "Storage pool not found");
	r = db_pool_delete(s->db, id, err);
	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	pool_drop(s, id);
	mutex_unlock(&s->lock);
	s->generation++;
	return 0;
}

int store_network_remove(struct store *s, int64_t id, struct error *err)
{
	int r = db_network_delete(s->db, id, err);

	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	network_drop(s, id);
	mutex_unlock(&s->lock);
	s->generation++;
	return 0;
}

int store_profile_rename(struct store *s, const struct db_profile *row, const struct db_profile_user *users,
			 size_t n_users, struct error *err)
{
	int r = db_profile_rename(s->db, row, users, n_users, err);

	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	profile_replace(s, row);
	mutex_unlock(&s->lock);
	s->generation++;
	return 0;
}

int store_profile_remove(struct store *s, int64_t id, struct error *err)
{
	int r = db_profile_delete(s->db, id, err);

	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	profile_drop(s, id);
	mutex_unlock(&s->lock);
	s->generation++;
	return 0;
}

int store_image_begin_delete(struct store *s, const char *project, const char *fingerprint, struct db_image *ret,
			     struct error *err)
{
	struct db_image *img;
	int r;

	mutex_lock(&s->lock);
	img = store_image_locked(s, project, fingerprint);
	if (img) {
		img->phase = DB_DELETING;
		image_copy(ret, img);
	}
	mutex_unlock(&s->lock);
	if (!img)
		return error_set(err, 404, "Image not found");
	r = db_image_update(s->db, ret, err);
	if (r < 0) {
		mutex_lock(&s->lock);
		img = store_image_by_id_locked(s, ret->id);
		if (img)
			img->phase = DB_READY;
		mutex_unlock(&s->lock);
	}
	return r;
}

int store_image_remove(struct store *s, int64_t id, struct error *err)
{
	int r = db_image_delete(s->db, id, err);

	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	image_drop(s, id);
	for (size_t i = s->n_aliases; i-- > 0;)
		if (s->aliases[i]->image_id == id)
			alias_drop(s, s->aliases[i]->id);
	mutex_unlock(&s->lock);
	return 0;
}

int store_alias_remove(struct store *s, int64_t id, struct error *err)
{
	int r = db_alias_delete(s->db, id, err);

	if (r < 0)
		return r;
	mutex_lock(&s->lock);
	alias_drop(s, id);
	mutex_unlock(&s->lock);
	return 0;
}
