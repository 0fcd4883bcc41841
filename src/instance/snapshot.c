/* Making, changing and removing snapshots: the row says what a restart has to undo or finish. */
#include "instance/snapshot.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "config/expiry.h"
#include "config/names.h"
#include "config/snapshot_name.h"
#include "instance/project_check.h"
#include "instance/snapshot_internal.h"

/* --- the list --- */

struct db_snapshot *snapshot_find_locked(struct instance *i, const char *name) REQUIRES(i->all->lock)
{
	for (size_t k = 0; k < i->n_snapshots; k++)
		if (i->snapshots[k]->phase == DB_READY && streq(i->snapshots[k]->name, name))
			return i->snapshots[k];
	return NULL;
}

int snapshot_not_found(struct error *err)
{
	return error_set(err, 404, "Snapshot not found");
}

static void push_locked(struct instance *i, struct db_snapshot *row) REQUIRES(i->all->lock)
{
	struct db_snapshot *s = xnew(struct db_snapshot);

	*s = *row;
	*row = (struct db_snapshot){0};
	i->snapshots = xreallocarray(i->snapshots, i->n_snapshots + 1, sizeof(*i->snapshots));
	i->snapshots[i->n_snapshots++] = s;
}

static void drop_locked(struct instance *i, int64_t id) REQUIRES(i->all->lock)
{
	for (size_t k = 0; k < i->n_snapshots; k++) {
		if (i->snapshots[k]->id != id)
			continue;
		db_snapshot_done(i->snapshots[k]);
		free(i->snapshots[k]);
		memmove(&i->snapshots[k], &i->snapshots[k + 1], (i->n_snapshots - k - 1) * sizeof(*i->snapshots));
		i->n_snapshots--;
		return;
	}
}

void snapshots_free(struct instance *i) UNSHARED
{
	for (size_t k = 0; k < i->n_snapshots; k++) {
		db_snapshot_done(i->snapshots[k]);
		free(i->snapshots[k]);
	}
	free(i->snapshots);
}

static void copy_row(struct db_snapshot *to, const struct db_snapshot *from)
{
	*to = (struct db_snapshot){
		.id = from->id,
		.instance_id = from->instance_id,
		.name = xstrdup(from->name),
		.volume = xstrdup(from->volume),
		.architecture = xstrdup(from->architecture),
		.ephemeral = from->ephemeral,
		.created_ns = from->created_ns,
		.last_used_ns = from->last_used_ns,
		.expires_ns = from->expires_ns,
	};
	strmap_copy(&to->config, &from->config);
	strmap_copy(&to->volatile_, &from->volatile_);
	mapmap_copy(&to->devices, &from->devices);
	strv_copy(&to->profiles, &from->profiles);
}

/* A copy for work without the lock. */
int snapshot_get(struct instance *i, const char *name, struct db_snapshot *ret, struct error *err)
{
	const struct db_snapshot *s;

	mutex_lock(&i->all->lock);
	s = snapshot_find_locked(i, name);
	if (s)
		copy_row(ret, s);
	mutex_unlock(&i->all->lock);
	return s ? 0 : snapshot_not_found(err);
}

bool snapshot_exists(struct instance *i, const char *name)
{
	bool there;

	mutex_lock(&i->all->lock);
	there = snapshot_find_locked(i, name) != NULL;
	mutex_unlock(&i->all->lock);
	return there;
}

int snapshot_expiry(struct instance *i, const char *name, int64_t *ret_ns, struct error *err)
{
	const struct db_snapshot *s;

	mutex_lock(&i->all->lock);
	s = snapshot_find_locked(i, name);
	if (s)
		*ret_ns = s->expires_ns;
	mutex_unlock(&i->all->lock);
	return s ? 0 : snapshot_not_found(err);
}

/* --- making --- */

/* The instance as it is at this moment. */
static void take_state(struct instance *i, struct db_snapshot *row)
{
	mutex_lock(&i->all->lock);
	row->instance_id = i->row.id;
	row->architecture = xstrdup(i->row.architecture);
	row->ephemeral = i->row.ephemeral;
	strmap_copy(&row->config, &i->row.config);
	strmap_copy(&row->volatile_, &i->row.volatile_);
	mapmap_copy(&row->devices, &i->row.devices);
	strv_copy(&row->profiles, &i->row.profiles);
	row->last_used_ns = i->row.last_used_ns;
	mutex_unlock(&i->all->lock);
}

static void names_of(struct instance *i, struct strv *ret)
{
	mutex_lock(&i->all->lock);
	for (size_t k = 0; k < i->n_snapshots; k++)
		strv_add(ret, i->snapshots[k]->name);
	mutex_unlock(&i->all->lock);
}

static int choose_name(struct instance *i, const char *wanted, const struct strmap *config, struct db_snapshot *row,
		       struct error *err)
{
	auto_strv struct strv taken = STRV_INIT;
	int r;

	names_of(i, &taken);
	if (str_is_empty(wanted)) {
		r = snapshot_name_make(strmap_get_or(config, "snapshots.pattern", "snap%d"), row->created_ns, &taken,
				       &row->name, err);
		return r < 0 ? r : name_check_snapshot(row->name, err);
	}
	r = name_check_snapshot(wanted, err);
	if (r < 0)
		return r;
	if (strv_contains(&taken, wanted))
		return error_set(err, 409, "Snapshot \"%s\" already exists", wanted);
	row->name = xstrdup(wanted);
	return 0;
}

static int make_row(struct instance *i, const char *name, const int64_t *expires_ns, struct db_snapshot *row,
		    struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	int r = project_allows_snapshots(i->all, i->row.project, err);

	row->created_ns = time_now_ns();
	if (r == 0)
		r = instance_expanded_config(i, &config, err);
	if (r == 0)
		r = choose_name(i, name, &config, row, err);
	if (r == 0 && expires_ns)
		row->expires_ns = *expires_ns;
	else if (r == 0)
		r = expiry_from(strmap_get_or(&config, "snapshots.expiry", ""), row->created_ns, &row->expires_ns, err);
	if (r < 0)
		return r;
	take_state(i, row);
	row->volume = uuid_new();
	row->staging = uuid_new();
	row->phase = DB_CREATING;
	return 0;
}

/* What is written meanwhile would be there in part: a running container is held still. */
static int copy_volume(struct instance *i, const struct storage_pool *pool, const struct db_snapshot *row,
		       struct error *err)
{
	auto_free char *volume = instance_lxc_name(i);
	auto_error struct error thaw = ERROR_INIT;
	bool freeze = instance_state(i) == CONTAINER_RUNNING;
	int r = freeze ? container_freeze(i->all->host, volume, err) : 0;

	if (r < 0)
		return r;
	r = storage_volume_copy(pool, row->staging, pool, STORAGE_VOLUME_CONTAINER, volume, err);
	if (freeze && container_unfreeze(i->all->host, volume, &thaw) < 0)
		log_error("the container stays frozen after a snapshot", LOG_STR("instance", volume), LOG_ERR(&thaw));
	return r;
}

/* The tree and the row of one that came to nothing. */
static void undo(struct instance *i, const struct storage_pool *pool, const struct db_snapshot *row)
{
	auto_error struct error err = ERROR_INIT;
	int r = storage_volume_discard(pool, row->staging, STORAGE_VOLUME_SNAPSHOT, row->volume, &err);

	if (r == 0)
		r = db_snapshot_delete(i->all->store->db, row->id, &err);
	if (r < 0)
		log_error("unfinished snapshot is removed at the next start", LOG_STR("instance", i->row.name),
			  LOG_STR("snapshot", row->name), LOG_ERR(&err));
}

static int create_busy(struct instance *i, struct db_snapshot *row, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	struct db *db = i->all->store->db;
	int r = instance_pool_open(i->all, i->row.pool, &pool, err);

	if (r == 0)
		r = db_snapshot_insert(db, row, err);
	if (r < 0)
		return r;
	r = copy_volume(i, &pool, row, err);
	if (r == 0)
		r = storage_volume_commit(&pool, row->staging, STORAGE_VOLUME_SNAPSHOT, row->volume, err);
	if (r == 0)
		r = db_snapshot_set_phase(db, row->id, DB_READY, NULL, err);
	if (r < 0) {
		undo(i, &pool, row);
		return r;
	}
	row->phase = DB_READY;
	mutex_lock(&i->all->lock);
	push_locked(i, row);
	mutex_unlock(&i->all->lock);
	return 0;
}

int instance_snapshot(struct instance *i, const char *name, const int64_t *expires_ns, char **ret_name,
		      struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot row = {0};
	auto_free char *made = NULL;
	int r;

	mutex_lock(&i->busy);
	r = i->gone ? error_set(err, 404, "Instance not found") : make_row(i, name, expires_ns, &row, err);
	made = xstrdup_null(row.name);
	if (r == 0)
		r = create_busy(i, &row, err);
	mutex_unlock(&i->busy);
	if (r == 0)
		*ret_name = TAKE_PTR(made);
	return r;
}

/* One snapshot of another instance, as one of ours. */
static int copy_one(struct instance *to, const struct storage_pool *pool, const struct storage_pool *src,
		    struct db_snapshot *row, struct error *err)
{
	auto_free char *volume = TAKE_PTR(row->volume);
	struct db *db = to->all->store->db;
	int r;

	row->instance_id = to->row.id;
	row->volume = uuid_new();
	row->staging = uuid_new();
	row->phase = DB_CREATING;
	r = db_snapshot_insert(db, row, err);
	if (r < 0)
		return r;
	r = storage_volume_copy(pool, row->staging, src, STORAGE_VOLUME_SNAPSHOT, volume, err);
	if (r == 0)
		r = storage_volume_commit(pool, row->staging, STORAGE_VOLUME_SNAPSHOT, row->volume, err);
	if (r == 0)
		r = db_snapshot_set_phase(db, row->id, DB_READY, NULL, err);
	if (r < 0) {
		undo(to, pool, row);
		return r;
	}
	row->phase = DB_READY;
	mutex_lock(&to->all->lock);
	push_locked(to, row);
	mutex_unlock(&to->all->lock);
	return 0;
}

int snapshots_copy(struct instance *to, struct instance *from, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT, src = STORAGE_POOL_INIT;
	auto_strv struct strv names = STRV_INIT;
	int r = instance_pool_open(to->all, to->row.pool, &pool, err);

	mutex_lock(&from->busy);
	if (r == 0)
		r = instance_pool_open(from->all, from->row.pool, &src, err);
	names_of(from, &names);
	for (size_t k = 0; k < names.len && r == 0; k++) {
		CLEANUP(db_snapshot_done) struct db_snapshot row = {0};

		r = snapshot_get(from, names.items[k], &row, err);
		if (r == 0)
			r = copy_one(to, &pool, &src, &row, err);
	}
	mutex_unlock(&from->busy);
	return r;
}

/* --- for those who read one --- */

int snapshot_with_volume(struct instance *i, const char *name,
			 int (*fn)(void *arg, const struct instance_volume *volume, struct error *err), void *arg,
			 struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	CLEANUP(db_snapshot_done) struct db_snapshot s = {0};
	auto_idmap struct idmap map = IDMAP_INIT;
	struct instance_volume volume = {.idmap = &map};
	auto_close int fd = -EBADF;
	int r;

	mutex_lock(&i->busy);
	r = snapshot_get(i, name, &s, err);
	if (r == 0)
		r = idmap_from_json(strmap_get_or(&s.volatile_, "volatile.last_state.idmap", "[]"), &map, err);
	if (r == 0)
		r = instance_pool_open(i->all, i->row.pool, &pool, err);
	if (r == 0) {
		fd = storage_volume_open(&pool, STORAGE_VOLUME_SNAPSHOT, s.volume, err);
		volume.dirfd = fd;
		r = fd < 0 ? fd : fn(arg, &volume, err);
	}
	mutex_unlock(&i->busy);
	return r;
}

bool instance_has_snapshots(struct instance *i)
{
	auto_strv struct strv names = STRV_INIT;

	names_of(i, &names);
	return names.len > 0;
}

/* --- changing and removing --- */

static int change_busy(struct instance *i, const struct db_snapshot *was, const char *name, int64_t expires_ns,
		       struct error *err)
{
	struct db_snapshot *s;
	int r = db_snapshot_update(i->all->store->db, was->id, name, expires_ns, err);

	if (r == -EEXIST) {
		error_clear(err);
		return error_set(err, 409, "Snapshot \"%s\" already exists", name);
	}
	if (r < 0)
		return r;
	mutex_lock(&i->all->lock);
	s = snapshot_find_locked(i, was->name);
	if (s) {
		free(s->name);
		s->name = xstrdup(name);
		s->expires_ns = expires_ns;
	}
	mutex_unlock(&i->all->lock);
	return 0;
}

int snapshot_rename(struct instance *i, const char *name, const char *new_name, struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot row = {0};
	int r;

	mutex_lock(&i->busy);
	r = snapshot_get(i, name, &row, err);
	if (r == 0)
		r = change_busy(i, &row, new_name, row.expires_ns, err);
	mutex_unlock(&i->busy);
	return r;
}

int snapshot_set_expiry(struct instance *i, const char *name, int64_t expires_ns, struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot row = {0};
	int r;

	mutex_lock(&i->busy);
	r = snapshot_get(i, name, &row, err);
	if (r == 0)
		r = change_busy(i, &row, row.name, expires_ns, err);
	mutex_unlock(&i->busy);
	return r;
}

/* From the change of phase on it is gone for everybody; what fails below is finished at the next start. */
static int delete_busy(struct instance *i, const struct db_snapshot *row, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_free char *staging = uuid_new();
	struct db *db = i->all->store->db;
	int r = instance_pool_open(i->all, i->row.pool, &pool, err);

	if (r == 0)
		r = db_snapshot_set_phase(db, row->id, DB_DELETING, staging, err);
	if (r < 0)
		return r;
	mutex_lock(&i->all->lock);
	drop_locked(i, row->id);
	mutex_unlock(&i->all->lock);
	r = storage_volume_discard(&pool, staging, STORAGE_VOLUME_SNAPSHOT, row->volume, err);
	return r < 0 ? r : db_snapshot_delete(db, row->id, err);
}

int snapshot_delete(struct instance *i, const char *name, struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot row = {0};
	int r;

	mutex_lock(&i->busy);
	r = snapshot_get(i, name, &row, err);
	if (r == 0)
		r = delete_busy(i, &row, err);
	mutex_unlock(&i->busy);
	return r;
}

int snapshots_discard(struct instance *i, const struct storage_pool *pool, struct error *err)
{
	auto_strv struct strv volumes = STRV_INIT;
	int r = 0;

	mutex_lock(&i->all->lock);
	for (size_t k = 0; k < i->n_snapshots; k++)
		strv_add(&volumes, i->snapshots[k]->volume);
	mutex_unlock(&i->all->lock);
	for (size_t k = 0; k < volumes.len && r == 0; k++) {
		auto_free char *staging = uuid_new();

		r = storage_volume_discard(pool, staging, STORAGE_VOLUME_SNAPSHOT, volumes.items[k], err);
	}
	return r;
}

/* --- after a restart --- */

struct by_id {
	struct instances *all;
};

static void take_loaded(struct db_snapshot *row, void *arg)
{
	struct by_id *b = arg;

	mutex_lock(&b->all->lock);
	for (size_t k = 0; k < b->all->n; k++) {
		struct instance *i = b->all->list[k];

		mutex_is_held(&i->all->lock);
		if (i->row.id == row->instance_id) {
			push_locked(i, row);
			break;
		}
	}
	mutex_unlock(&b->all->lock);
}

int snapshots_load(struct instances *all, struct error *err)
{
	return db_snapshots_load(all->store->db, take_loaded, &(struct by_id){all}, err);
}

static int undo_one(struct instance *i, const struct db_snapshot *s, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	int r = instance_pool_open(i->all, i->row.pool, &pool, err);

	log_info("removing unfinished snapshot", LOG_STR("instance", i->row.name), LOG_STR("snapshot", s->name));
	if (r == 0)
		r = storage_volume_discard(&pool, s->staging, STORAGE_VOLUME_SNAPSHOT, s->volume, err);
	return r < 0 ? r : db_snapshot_delete(i->all->store->db, s->id, err);
}

/* A container that was held still for it goes on. */
static void undo_of(struct instance *i) UNSHARED
{
	for (size_t k = i->n_snapshots; k-- > 0;) {
		struct db_snapshot *s = i->snapshots[k];
		auto_error struct error err = ERROR_INIT;

		if (s->phase == DB_READY)
			continue;
		i->thaw = i->thaw || s->phase == DB_CREATING;
		if (undo_one(i, s, &err) < 0)
			log_error("unfinished snapshot of an earlier daemon stays", LOG_STR("instance", i->row.name),
				  LOG_ERR(&err));
		else
			drop_locked(i, s->id);
	}
}

void snapshots_undo_unfinished(struct instances *all) UNSHARED
{
	for (size_t k = 0; k < all->n; k++)
		undo_of(all->list[k]);
}
