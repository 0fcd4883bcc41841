/* Changing what is stored of an instance, and using profiles. Live changes to running containers are in live.c. */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "instance/nic_check.h"
#include "instance/nics.h"
#include "instance/project_check.h"

void instance_row_copy(struct db_instance *to, const struct db_instance *from)
{
	*to = (struct db_instance){
		.id = from->id,
		.project = xstrdup(from->project),
		.name = xstrdup(from->name),
		.architecture = xstrdup(from->architecture),
		.description = xstrdup(from->description),
		.pool = xstrdup(from->pool),
		.ephemeral = from->ephemeral,
		.created_ns = from->created_ns,
		.last_used_ns = from->last_used_ns,
		.phase = from->phase,
	};
	strmap_copy(&to->config, &from->config);
	strmap_copy(&to->volatile_, &from->volatile_);
	mapmap_copy(&to->devices, &from->devices);
	strv_copy(&to->profiles, &from->profiles);
}

void instance_current(struct instance *i, char **architecture, char **description, bool *ephemeral,
		      struct strmap *config, struct mapmap *devices, struct strv *profiles)
{
	mutex_lock(&i->all->lock);
	*architecture = xstrdup(i->row.architecture);
	*description = xstrdup(i->row.description);
	*ephemeral = i->row.ephemeral;
	strmap_copy(config, &i->row.config);
	strmap_merge(config, &i->row.volatile_);
	mapmap_copy(devices, &i->row.devices);
	strv_copy(profiles, &i->row.profiles);
	mutex_unlock(&i->all->lock);
}

/* The daemon's own notes on ids must stay what they are, or a tree would be shifted from the wrong map. */
static int check_volatile(const struct strmap *before, const struct strmap *after, struct error *err)
{
	for (size_t k = 0; k < before->len; k++) {
		const char *key = before->items[k].key;
		const char *now = strmap_get(after, key);

		if (!startswith(key, "volatile.idmap.") && !streq(key, "volatile.last_state.idmap"))
			continue;
		if (!now)
			return error_set(err, 400, "Volatile idmap keys can't be deleted by the user");
		if (!streq(now, before->items[k].value))
			return error_set(err, 400, "Volatile idmap keys can't be changed by the user");
	}
	for (size_t k = 0; k < after->len; k++)
		if ((startswith(after->items[k].key, "volatile.idmap.") ||
		     streq(after->items[k].key, "volatile.last_state.idmap")) &&
		    !strmap_get(before, after->items[k].key))
			return error_set(err, 400, "Volatile idmap keys can't be set by the user");
	return 0;
}

static void apply_put(struct db_instance *row, const struct instance_put *put)
{
	free(row->description);
	row->description = xstrdup(put->description);
	if (!str_is_empty(put->architecture)) {
		free(row->architecture);
		row->architecture = xstrdup(put->architecture);
	}
	row->ephemeral = put->ephemeral;
	strmap_done(&row->config);
	strmap_done(&row->volatile_);
	for (size_t k = 0; k < put->config->len; k++) {
		const struct strmap_item *it = &put->config->items[k];

		if (*it->value)
			strmap_set(startswith(it->key, "volatile.") ? &row->volatile_ : &row->config, it->key,
				   it->value);
	}
	mapmap_copy(&row->devices, put->devices);
	strv_copy(&row->profiles, put->profiles);
}

static int write_row(struct instance *i, struct db_instance *row, struct error *err)
{
	return db_instance_update_all(i->all->store->db, row, err);
}

/* Was one renamed or deleted since the check? The caller holds the references. */
static int check_profiles_exist(struct instances *all, const struct db_instance *row, struct error *err)
{
	struct store *s = all->store;
	const char *home;
	int r = 0;

	mutex_lock(&s->lock);
	home = store_effective_project_locked(s, row->project, PROJECT_PROFILES);
	for (size_t k = 0; k < row->profiles.len && r == 0; k++)
		if (!store_profile_locked(s, home, row->profiles.items[k]))
			r = error_set(err, 400, "Requested profile \"%s\" doesn't exist", row->profiles.items[k]);
	mutex_unlock(&s->lock);
	return r;
}

/*
 * Has another instance taken an address since the check, or what the project had left? The caller holds the references,
 * as all do who store NICs, instances or projects.
 */
static int check_others_again(struct instance *i, const struct db_instance *row, const struct instance_expanded *x,
			      struct error *err)
{
	struct nic_check c = {.reason = NIC_CHECK_UPDATE, .row = row, .old = &i->row, .devices = &x->devices};
	int r;

	mutex_lock(&i->all->lock);
	r = nic_check(i->all, &c, err);
	if (r == 0)
		r = project_check_instance(i->all, row, &i->row, NULL, x, err);
	mutex_unlock(&i->all->lock);
	return r;
}

/* The new row in memory. Project and name keep their place: others read them without the lock. */
void instance_take_row(struct instance *i, struct db_instance *row)
{
	mutex_lock(&i->all->lock);
	free(row->project);
	free(row->name);
	row->project = i->row.project;
	row->name = i->row.name;
	i->row.project = i->row.name = NULL;
	row->phase = i->row.phase;
	db_instance_done(&i->row);
	i->row = *row;
	*row = (struct db_instance){0};
	instance_touch_locked(i);
	mutex_unlock(&i->all->lock);
}

/* What the change has done on the host is noted in the row that it replaces. */
static void keep_own_keys(struct instance *i, struct db_instance *row)
{
	mutex_lock(&i->all->lock);
	nic_keys_keep_own(&row->volatile_, &i->row.volatile_);
	mutex_unlock(&i->all->lock);
}

/* The new row with its expansion has passed the commit point: make it so, on disk and in a running container. */
static int commit(struct instance *i, struct db_instance *row, const struct instance_expanded *before,
		  const struct instance_expanded *after, struct error *err)
{
	auto_error struct error undo = ERROR_INIT;
	bool running = instance_state(i) != CONTAINER_STOPPED;
	int r = running ? instance_apply_live(i, before, after, err) : 0;

	if (r < 0)
		return r;
	instances_hold_references(i->all);
	r = check_profiles_exist(i->all, row, err);
	if (r == 0)
		r = check_others_again(i, row, after, err);
	keep_own_keys(i, row);
	if (r == 0)
		r = write_row(i, row, err);
	if (r == 0)
		instance_take_row(i, row);
	instances_release_references(i->all);
	if (r < 0 && running && instance_apply_live(i, after, before, &undo) < 0)
		log_error("refused change stays in the running container", LOG_STR("instance", i->row.name),
			  LOG_ERR(&undo));
	if (r == 0 && !mapmap_equal(&before->devices, &after->devices))
		nics_write_entries(i, &before->devices);
	return r;
}

/* Volatile keys that new NICs need, in the row and in its expansion. */
static void complete_nics(struct strmap *volatile_, const struct mapmap *old, struct instance_expanded *x)
{
	auto_strmap struct strmap changes = STRMAP_INIT;

	nic_keys_complete(&x->devices, old, volatile_, &changes);
	nic_keys_merge(volatile_, &changes);
	nic_keys_merge(&x->config, &changes);
}

static int update_busy(struct instance *i, const struct instance_put *put, struct error *err)
{
	CLEANUP(instance_expanded_done) struct instance_expanded before = {0};
	CLEANUP(instance_expanded_done) struct instance_expanded after = {0};
	CLEANUP(db_instance_done) struct db_instance row = {0};
	int r;

	if (i->gone)
		return error_set(err, 404, "Instance not found");
	mutex_lock(&i->all->lock);
	instance_row_copy(&row, &i->row);
	apply_put(&row, put);
	r = check_volatile(&i->row.volatile_, &row.volatile_, err);
	if (r == 0)
		r = project_check_volatile(i->all, row.project, row.name, &i->row.volatile_, &row.volatile_, err);
	if (r == 0)
		r = instance_expand(i->all, &i->row, NULL, &before, err);
	if (r == 0)
		r = instance_check(i->all, &row, &i->row, NULL, &after, err);
	if (r == 0)
		complete_nics(&row.volatile_, &before.devices, &after);
	mutex_unlock(&i->all->lock);
	return r < 0 ? r : commit(i, &row, &before, &after, err);
}

int instance_update(struct instance *i, const struct instance_put *put, struct error *err)
{
	int r;

	instance_begin(i);
	r = update_busy(i, put, err);
	mutex_unlock(&i->busy);
	return r;
}

/* One user of the profile: its volatile keys, and when it runs its container. */
static int apply_profile_to(struct instance *i, const struct db_profile *before, const struct db_profile *after,
			    struct error *err)
{
	CLEANUP(instance_expanded_done) struct instance_expanded old = {0};
	CLEANUP(instance_expanded_done) struct instance_expanded new = {0};
	auto_strmap struct strmap changes = STRMAP_INIT;
	int r;

	mutex_lock(&i->all->lock);
	r = instance_expand(i->all, &i->row, before, &old, err);
	if (r == 0)
		r = instance_expand(i->all, &i->row, after, &new, err);
	nic_keys_complete(&new.devices, &old.devices, &i->row.volatile_, &changes);
	mutex_unlock(&i->all->lock);
	if (r < 0)
		return r;
	nic_keys_merge(&new.config, &changes);
	if (instance_state(i) != CONTAINER_STOPPED)
		r = instance_apply_live(i, &old, &new, err);
	if (r == 0 && changes.len)
		r = instance_save_volatile(i, &changes, /* used_now= */ false, err);
	if (r == 0 && !mapmap_equal(&old.devices, &new.devices))
		nics_write_entries(i, &old.devices);
	return r;
}

int instances_apply_profile(struct instances *all, const struct db_profile *before, const struct db_profile *after,
			    struct error *err)
{
	auto_strbuf struct strbuf failures = STRBUF_INIT;
	struct instance **list;
	size_t n = instances_snapshot(all, &list);

	for (size_t k = 0; k < n; k++) {
		auto_error struct error e = ERROR_INIT;
		struct instance *i = list[k];
		bool uses;

		mutex_lock(&i->busy);
		mutex_lock(&all->lock);
		mutex_is_held(&i->all->lock);
		uses = !i->gone && instance_uses_profile_locked(i, after->project, after->name);
		mutex_unlock(&all->lock);
		if (uses && apply_profile_to(i, before, after, &e) < 0)
			strbuf_appendf(&failures, "\n - Project: %s, Instance: %s: %s", i->row.project, i->row.name,
				       error_msg(&e));
		mutex_unlock(&i->busy);
		instance_unref(i);
	}
	free(list);
	if (!failures.len)
		return 0;
	return error_set(err, 500, "The following instances failed to update (profile change still saved):%s",
			 strbuf_str(&failures));
}

bool instance_uses_profile_locked(struct instance *i, const char *project, const char *profile)
{
	return strv_contains(&i->row.profiles, profile) &&
	       streq(store_effective_project(i->all->store, i->row.project, PROJECT_PROFILES), project);
}

static void add_url(const struct db_instance *row, struct strv *urls)
{
	strv_take(urls, project_url(row->project, "/1.0/instances/%s", row->name));
}

void instances_using_profile(struct instances *all, const char *project, const char *profile, struct strv *urls)
{
	mutex_lock(&all->lock);
	for (size_t k = 0; k < all->n; k++) {
		const struct db_instance *row = &all->list[k]->row;

		mutex_is_held(&all->list[k]->all->lock);
		if (instance_uses_profile_locked(all->list[k], project, profile))
			add_url(row, urls);
	}
	mutex_unlock(&all->lock);
}

void instances_in_project(struct instances *all, const char *project, struct strv *urls)
{
	mutex_lock(&all->lock);
	for (size_t k = 0; k < all->n; k++)
		if (streq(all->list[k]->row.project, project))
			add_url(&all->list[k]->row, urls);
	mutex_unlock(&all->lock);
}

void instances_using_pool(struct instances *all, const char *pool, struct strv *urls)
{
	mutex_lock(&all->lock);
	for (size_t k = 0; k < all->n; k++)
		if (streq(all->list[k]->row.pool, pool))
			add_url(&all->list[k]->row, urls);
	mutex_unlock(&all->lock);
}

void instances_on_pool(struct instances *all, const char *project, const char *pool, struct strv *names)
{
	mutex_lock(&all->lock);
	for (size_t k = 0; k < all->n; k++) {
		const struct db_instance *row = &all->list[k]->row;

		if (row->phase == DB_READY && streq(row->pool, pool) && streq(row->project, project))
			strv_add(names, row->name);
	}
	mutex_unlock(&all->lock);
}

static void add_user(struct strv *profiles, const char *name, struct db_profile_user user,
		     struct db_profile_user **list, size_t *n)
{
	if (!strv_contains(profiles, name))
		return;
	user.profiles = profiles;
	*list = xreallocarray(*list, *n + 1, sizeof(**list));
	(*list)[(*n)++] = user;
}

/* Instances of the projects whose profiles are in @project, and their snapshots. Borrows from them. */
static size_t profile_users(struct instances *all, const char *project, const char *name, struct db_profile_user **ret)
	REQUIRES(all->lock)
{
	size_t n = 0;

	for (size_t k = 0; k < all->n; k++) {
		struct instance *i = all->list[k];

		if (!streq(store_effective_project(all->store, i->row.project, PROJECT_PROFILES), project))
			continue;
		mutex_is_held(&i->all->lock);
		instance_touch_locked(i);
		add_user(&i->row.profiles, name, (struct db_profile_user){.id = i->row.id}, ret, &n);
		for (size_t s = 0; s < i->n_snapshots; s++)
			add_user(&i->snapshots[s]->profiles, name,
				 (struct db_profile_user){.id = i->snapshots[s]->id, .snapshot = true}, ret, &n);
	}
	return n;
}

static void rename_in(const struct db_profile_user *users, size_t n, const char *from, const char *to)
{
	for (size_t k = 0; k < n; k++)
		for (size_t p = 0; p < users[k].profiles->len; p++) {
			char **name = &users[k].profiles->items[p];

			if (!streq(*name, from))
				continue;
			free(*name);
			*name = xstrdup(to);
		}
}

int instances_rename_profile(struct instances *all, const struct db_profile *renamed, const char *old_name,
			     struct error *err)
{
	auto_free struct db_profile_user *users = NULL;
	size_t n;
	int r;

	mutex_lock(&all->lock);
	n = profile_users(all, renamed->project, old_name, &users);
	rename_in(users, n, old_name, renamed->name);
	r = store_profile_rename(all->store, renamed, users, n, err);
	if (r < 0)
		rename_in(users, n, renamed->name, old_name);
	mutex_unlock(&all->lock);
	return r;
}
