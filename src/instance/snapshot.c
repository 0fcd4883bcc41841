/* Making, changing, removing and restoring snapshots: the row says what a restart has to undo or finish. */
#include "instance/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "config/expand.h"
#include "config/expiry.h"
#include "config/names.h"
#include "config/snapshot_name.h"
#include "instance/nics.h"
#include "instance/project_check.h"
#include "instance/snapshot_internal.h"

/* --- the list --- */

static struct db_snapshot *find_locked(struct instance *i, const char *name) REQUIRES(i->all->lock)
{
	for (size_t k = 0; k < i->n_snapshots; k++)
		if (i->snapshots[k]->phase == DB_READY && streq(i->snapshots[k]->name, name))
			return i->snapshots[k];
	return NULL;
}

static int not_found(struct error *err)
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
	s = find_locked(i, name);
	if (s)
		copy_row(ret, s);
	mutex_unlock(&i->all->lock);
	return s ? 0 : not_found(err);
}

bool snapshot_exists(struct instance *i, const char *name)
{
	bool there;

	mutex_lock(&i->all->lock);
	there = find_locked(i, name) != NULL;
	mutex_unlock(&i->all->lock);
	return there;
}

int snapshot_expiry(struct instance *i, const char *name, int64_t *ret_ns, struct error *err)
{
	const struct db_snapshot *s;

	mutex_lock(&i->all->lock);
	s = find_locked(i, name);
	if (s)
		*ret_ns = s->expires_ns;
	mutex_unlock(&i->all->lock);
	return s ? 0 : not_found(err);
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
	s = find_locked(i, was->name);
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

/* --- restoring --- */

/* The row as it is to be. Who the instance is on this host stays; how the tree's owners are shifted is the tree's. */
static void make_restored(struct instance *i, const struct db_snapshot *s, struct db_instance *ret)
{
	static const char idmap[] = "volatile.last_state.idmap";

	mutex_lock(&i->all->lock);
	instance_row_copy(ret, &i->row);
	mutex_unlock(&i->all->lock);
	free(ret->architecture);
	ret->architecture = xstrdup(s->architecture);
	ret->ephemeral = s->ephemeral;
	strmap_done(&ret->config);
	strmap_copy(&ret->config, &s->config);
	mapmap_copy(&ret->devices, &s->devices);
	strv_copy(&ret->profiles, &s->profiles);
	strmap_set(&ret->volatile_, idmap, strmap_get_or(&s->volatile_, idmap, "[]"));
}

/* May it be that now? The references are held. */
static int check_restored(struct instance *i, struct db_instance *row, struct error *err)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
	auto_strmap struct strmap changes = STRMAP_INIT;
	const struct strmap *root;
	const char *root_name;
	int r;

	mutex_lock(&i->all->lock);
	r = instance_check(i->all, row, &i->row, NULL, &x, err);
	mutex_unlock(&i->all->lock);
	if (r == 0)
		r = expand_root_disk(&x.devices, &root_name, &root, err);
	if (r < 0)
		return r;
	if (!streq(strmap_get_or(root, "pool", ""), i->row.pool))
		return error_set(err, 400,
				 "The root disk of the snapshot is on storage pool \"%s\", the instance on \"%s\"",
				 strmap_get_or(root, "pool", ""), i->row.pool);
	nic_keys_complete(&x.devices, NULL, &row->volatile_, &changes);
	nic_keys_merge(&row->volatile_, &changes);
	return 0;
}

/* The trees change places, then the row says so. */
static int exchange(struct instance *i, const struct storage_pool *pool, const struct db_snapshot *s,
		    const struct db_instance *row, const char *staging, struct error *err)
{
	auto_free char *volume = instance_lxc_name(i);
	auto_error struct error back = ERROR_INIT;
	int r = storage_volume_copy(pool, staging, pool, STORAGE_VOLUME_SNAPSHOT, s->volume, err);

	if (r == 0)
		r = storage_volume_exchange(pool, staging, STORAGE_VOLUME_CONTAINER, volume, err);
	if (r < 0)
		return r;
	r = db_instance_restored(i->all->store->db, row, err);
	if (r < 0 && storage_volume_exchange(pool, staging, STORAGE_VOLUME_CONTAINER, volume, &back) < 0)
		log_error("a restore is finished at the next start", LOG_STR("instance", volume), LOG_ERR(&back));
	return r;
}

static int restore_held(struct instance *i, const struct db_snapshot *s, struct db_instance *row, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_free char *staging = uuid_new();
	auto_free char *note = xasprintf("%s/%" PRId64, staging, s->id);
	auto_error struct error later = ERROR_INIT;
	struct db *db = i->all->store->db;
	int r = instance_pool_open(i->all, i->row.pool, &pool, err);

	if (r == 0)
		r = db_instance_set_phase(db, i->row.id, DB_RESTORING, note, err);
	if (r < 0)
		return r;
	r = exchange(i, &pool, s, row, staging, err);
	if (r == 0)
		instance_take_row(i, row);
	else if (db_instance_set_phase(db, i->row.id, DB_READY, NULL, &later) < 0)
		log_error("a restore is finished at the next start", LOG_STR("instance", i->row.name), LOG_ERR(&later));
	error_clear(&later);
	if (storage_staging_discard(&pool, staging, &later) < 0)
		log_warn("what was there before a restore is removed at the next start", LOG_ERR(&later));
	return r;
}

static int restore_busy(struct instance *i, const char *name, struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot s = {0};
	CLEANUP(db_instance_done) struct db_instance row = {0};
	int r = i->gone ? error_set(err, 404, "Instance not found") : snapshot_get(i, name, &s, err);

	if (r == 0 && instance_state(i) != CONTAINER_STOPPED)
		r = error_set(err, 400, "The instance is running: it was started meanwhile");
	if (r < 0)
		return r;
	make_restored(i, &s, &row);
	instances_hold_references(i->all);
	r = check_restored(i, &row, err);
	if (r == 0)
		r = restore_held(i, &s, &row, err);
	instances_release_references(i->all);
	if (r == 0)
		nics_write_entries(i, NULL);
	return r;
}

/* Would it be refused? Then nothing is stopped. */
static int try_check(struct instance *i, const char *name, struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot s = {0};
	CLEANUP(db_instance_done) struct db_instance row = {0};
	int r = snapshot_get(i, name, &s, err);

	if (r < 0)
		return r;
	make_restored(i, &s, &row);
	instances_hold_references(i->all);
	r = check_restored(i, &row, err);
	instances_release_references(i->all);
	return r;
}

int instance_restore(struct instance *i, const char *name, struct error *err)
{
	auto_error struct error start = ERROR_INIT;
	bool running = instance_state(i) != CONTAINER_STOPPED;
	int r = try_check(i, name, err);

	if (r < 0)
		return r;
	instance_set_restarting(i, running);
	if (running)
		r = instance_stop(i, /* force= */ true, 0, err);
	if (r == 0) {
		mutex_lock(&i->busy);
		r = restore_busy(i, name, err);
		mutex_unlock(&i->busy);
		if (running && instance_start(i, &start) < 0 && r == 0)
			r = error_move(err, &start);
	}
	instance_set_restarting(i, false);
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

static const struct db_snapshot *find_by_note(struct instance *i) UNSHARED
{
	const char *slash = strchr(i->row.staging ? i->row.staging : "", '/');
	uint64_t id = 0;

	if (!slash || parse_u64(slash + 1, &id) < 0)
		return NULL;
	for (size_t k = 0; k < i->n_snapshots; k++)
		if (i->snapshots[k]->id == (int64_t)id)
			return i->snapshots[k];
	return NULL;
}

/* Which of the two trees is in place is not known, but the snapshot is: it is put there (once more). */
int snapshot_finish_restore(struct instance *i, struct error *err) UNSHARED
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	CLEANUP(db_instance_done) struct db_instance row = {0};
	const struct db_snapshot *s = find_by_note(i);
	auto_free char *staging = uuid_new();
	int r;

	if (!s)
		return error_set(err, 500, "The snapshot that instance %s was being restored from is missing",
				 i->row.name);
	log_info("finishing a restore", LOG_STR("instance", i->row.name), LOG_STR("snapshot", s->name));
	make_restored(i, s, &row);
	r = instance_pool_open(i->all, i->row.pool, &pool, err);
	if (r == 0)
		r = exchange(i, &pool, s, &row, staging, err);
	if (r < 0)
		return r;
	row.phase = DB_READY;
	free(TAKE_PTR(i->row.staging));
	i->row.phase = DB_READY;
	instance_take_row(i, &row);
	return storage_staging_discard(&pool, staging, err);
}

/* --- rendering --- */

static void render_expanded(struct instance *i, const struct db_snapshot *s, struct jsonw *w) REQUIRES(i->all->lock)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
	auto_error struct error missing = ERROR_INIT;
	/* borrows everything */
	const struct db_instance view = {.project = i->row.project,
					 .name = i->row.name,
					 .config = s->config,
					 .volatile_ = s->volatile_,
					 .devices = s->devices,
					 .profiles = s->profiles};

	if (instance_expand(i->all, &view, NULL, &x, &missing) < 0)
		error_ignore(&missing, "a profile of then is gone: what is left");
	jsonw_kv_strmap(w, "expanded_config", &x.config);
	jsonw_kv_mapmap(w, "expanded_devices", &x.devices);
}

static void render_locked(struct instance *i, const struct db_snapshot *s, struct jsonw *w) REQUIRES(i->all->lock)
{
	auto_strmap struct strmap config = STRMAP_INIT;

	strmap_copy(&config, &s->config);
	strmap_merge(&config, &s->volatile_);
	jsonw_object_begin(w);
	jsonw_kv_time(w, "expires_at", s->expires_ns);
	jsonw_kv_str(w, "architecture", s->architecture);
	jsonw_kv_strmap(w, "config", &config);
	jsonw_kv_time(w, "created_at", s->created_ns);
	jsonw_kv_mapmap(w, "devices", &s->devices);
	jsonw_kv_bool(w, "ephemeral", s->ephemeral);
	render_expanded(i, s, w);
	jsonw_kv_time(w, "last_used_at", s->last_used_ns);
	jsonw_kv_str(w, "name", s->name);
	jsonw_kv_strv(w, "profiles", &s->profiles);
	jsonw_kv_bool(w, "stateful", false);
	jsonw_kv_int(w, "size", -1);
	jsonw_object_end(w);
}

int snapshot_render(struct instance *i, const char *name, struct jsonw *w, struct error *err)
{
	const struct db_snapshot *s;

	mutex_lock(&i->all->lock);
	s = find_locked(i, name);
	if (s)
		render_locked(i, s, w);
	mutex_unlock(&i->all->lock);
	return s ? 0 : not_found(err);
}

void snapshots_render(struct instance *i, const char *prefix, bool objects, struct jsonw *w)
{
	mutex_lock(&i->all->lock);
	jsonw_array_begin(w);
	for (size_t k = 0; k < i->n_snapshots; k++) {
		const struct db_snapshot *s = i->snapshots[k];
		auto_free char *url = NULL;

		if (s->phase != DB_READY)
			continue;
		if (objects) {
			render_locked(i, s, w);
			continue;
		}
		url = project_url(i->row.project, "/1.0/%s/%s/snapshots/%s", prefix, i->row.name, s->name);
		jsonw_str(w, url);
	}
	jsonw_array_end(w);
	mutex_unlock(&i->all->lock);
}
