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
		.staging = xstrdup_null(from->staging),
		.architecture = xstrdup(from->architecture),
		.ephemeral = from->ephemeral,
		.created_ns = from->created_ns,
		.last_used_ns = from->last_used_ns,
		.expires_ns = from->expires_ns,
		.frozen = from->frozen,
		.phase = from->phase,
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

char *snapshot_architecture(struct instance *i, const char *name)
{
	const struct db_snapshot *s;
	char *architecture;

	mutex_lock(&i->all->lock);
	s = snapshot_find_locked(i, name);
	architecture = s ? xstrdup(s->architecture) : NULL;
	mutex_unlock(&i->all->lock);
	return architecture;
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

static struct db_snapshot *find_id_locked(struct instance *i, int64_t id) REQUIRES(i->all->lock)
{
	for (size_t k = 0; k < i->n_snapshots; k++)
		if (i->snapshots[k]->id == id)
			return i->snapshots[k];
	return NULL;
}

static bool is_gone(struct instance *i)
{
	bool gone;

	mutex_lock(&i->all->lock);
	gone = i->gone;
	mutex_unlock(&i->all->lock);
	return gone;
}

/*
 * For who has read a snapshot to the end without being alone with its instance: a removal begins by taking the volume's
 * name away, so what still has its name was whole.
 */
static int check_there(const struct storage_pool *pool, const struct db_snapshot *s, struct error *err)
{
	auto_error struct error absent = ERROR_INIT;
	auto_close int fd = storage_volume_open(pool, STORAGE_VOLUME_SNAPSHOT, s->volume, &absent);

	return fd < 0 ? error_set(err, 404, "Snapshot \"%s\" was removed while it was being read", s->name) : 0;
}

/* --- making --- */

/* The instance as it is at this moment. */
static void take_state(struct instance *i, struct db_snapshot *row)
{
	mutex_lock(&i->all->lock);
	row->architecture = xstrdup(i->row.architecture);
	row->ephemeral = i->row.ephemeral;
	strmap_copy(&row->config, &i->row.config);
	strmap_copy(&row->volatile_, &i->row.volatile_);
	mapmap_copy(&row->devices, &i->row.devices);
	strv_copy(&row->profiles, &i->row.profiles);
	row->last_used_ns = i->row.last_used_ns;
	mutex_unlock(&i->all->lock);
}

/* Ready ones, or all: also those whose removal has failed, for their names are taken. */
static void names_of(struct instance *i, bool ready, struct strv *ret)
{
	mutex_lock(&i->all->lock);
	for (size_t k = 0; k < i->n_snapshots; k++)
		if (!ready || i->snapshots[k]->phase == DB_READY)
			strv_add(ret, i->snapshots[k]->name);
	mutex_unlock(&i->all->lock);
}

static int choose_name(struct instance *i, const char *wanted, const struct strmap *config, struct db_snapshot *row,
		       struct error *err)
{
	auto_strv struct strv taken = STRV_INIT;
	int r;

	names_of(i, /* ready= */ false, &taken);
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
	return 0;
}

/* Is it running? Then it is held still while its tree is copied: what is written meanwhile would be there in part. */
static bool wants_freeze(struct instance *i)
{
	return instance_state(i) == CONTAINER_RUNNING;
}

/* A container that could not be let go on is shown as what it is, so that its user can. */
static void thaw(struct instance *i, const char *volume)
{
	auto_error struct error err = ERROR_INIT;

	if (container_unfreeze(i->all->host, volume, &err) == 0)
		return;
	log_error("the container stays frozen after a snapshot", LOG_STR("instance", volume), LOG_ERR(&err));
	mutex_lock(&i->all->lock);
	if (i->state == CONTAINER_RUNNING)
		i->state = CONTAINER_FROZEN;
	instance_touch_locked(i);
	mutex_unlock(&i->all->lock);
}

static int copy_volume(struct instance *i, const struct storage_pool *pool, const struct db_snapshot *row,
		       struct error *err)
{
	auto_free char *volume = instance_lxc_name(i);
	int r = row->frozen ? container_freeze(i->all->host, volume, err) : 0;

	if (r == 0)
		r = storage_volume_copy(pool, row->staging, pool, STORAGE_VOLUME_CONTAINER, volume, err);
	if (row->frozen)
		thaw(i, volume);
	return r;
}

/* The tree and the row of one that is not to be; it stays in the list, unready, for as long as the row does. */
static int clear_away(struct instance *i, const struct storage_pool *pool, const struct db_snapshot *row,
		      struct error *err)
{
	int64_t id = row->id;
	int r = storage_volume_discard(pool, row->staging, STORAGE_VOLUME_SNAPSHOT, row->volume, err);

	if (r == 0)
		r = db_snapshot_delete(i->all->store->db, id, err);
	if (r < 0)
		return r;
	mutex_lock(&i->all->lock);
	drop_locked(i, id);
	mutex_unlock(&i->all->lock);
	return 0;
}

/* The row is in the database and the list, in phase creating: now its volume, then it is ready. */
static int finish(struct instance *i, const struct storage_pool *pool, const struct db_snapshot *row, int copied,
		  struct error *err)
{
	auto_error struct error undo = ERROR_INIT;
	struct db_snapshot *s = NULL;
	int r = copied;

	if (r == 0)
		r = storage_volume_commit(pool, row->staging, STORAGE_VOLUME_SNAPSHOT, row->volume, err);
	if (r == 0)
		r = storage_pool_sync(pool, err);
	if (r == 0)
		r = db_snapshot_set_phase(i->all->store->db, row->id, DB_READY, NULL, err);
	if (r < 0 && clear_away(i, pool, row, &undo) < 0)
		log_error("unfinished snapshot is removed later", LOG_STR("instance", i->row.name),
			  LOG_STR("snapshot", row->name), LOG_ERR(&undo));
	if (r < 0)
		return r;
	mutex_lock(&i->all->lock);
	s = find_id_locked(i, row->id);
	free(TAKE_PTR(s->staging));
	s->phase = DB_READY;
	instance_touch_locked(i);
	mutex_unlock(&i->all->lock);
	return 0;
}

/* In phase creating. */
static int insert(struct instance *i, struct db_snapshot *row, struct error *err)
{
	struct db_snapshot copy;
	int r;

	row->instance_id = i->row.id;
	row->staging = uuid_new();
	row->phase = DB_CREATING;
	r = db_snapshot_insert(i->all->store->db, row, err);
	if (r < 0)
		return r;
	copy_row(&copy, row);
	mutex_lock(&i->all->lock);
	push_locked(i, &copy);
	mutex_unlock(&i->all->lock);
	return 0;
}

static int create_busy(struct instance *i, struct db_snapshot *row, const _Atomic bool *stop, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	int r = instance_pool_open(i->all, i->row.pool, &pool, err);

	pool.stop = stop;
	row->volume = uuid_new();
	row->frozen = wants_freeze(i);
	if (r == 0)
		r = insert(i, row, err);
	if (r < 0)
		return r;
	r = copy_volume(i, &pool, row, err);
	return finish(i, &pool, row, r, err);
}

/* What an earlier operation could not remove, and nobody sees. */
static void retry_clearing(struct instance *i)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_error struct error err = ERROR_INIT;
	struct db_snapshot row;
	bool left = true;
	int r = 0;

	while (left && r == 0) {
		left = false;
		mutex_lock(&i->all->lock);
		for (size_t k = 0; k < i->n_snapshots && !left; k++) {
			left = i->snapshots[k]->phase != DB_READY;
			if (left)
				copy_row(&row, i->snapshots[k]);
		}
		mutex_unlock(&i->all->lock);
		if (!left)
			return;
		r = pool.name ? 0 : instance_pool_open(i->all, i->row.pool, &pool, &err);
		if (r == 0)
			r = clear_away(i, &pool, &row, &err);
		db_snapshot_done(&row);
	}
	if (r < 0)
		log_error("unfinished snapshot is removed later", LOG_STR("instance", i->row.name), LOG_ERR(&err));
}

static int make(struct instance *i, const char *name, const int64_t *expires_ns, const _Atomic bool *stop,
		char **ret_name, struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot row = {0};
	int r;

	instance_begin(i);
	retry_clearing(i);
	r = i->gone ? error_set(err, 404, "Instance not found") : make_row(i, name, expires_ns, &row, err);
	if (r == 0)
		r = create_busy(i, &row, stop, err);
	mutex_unlock(&i->busy);
	if (r == 0)
		*ret_name = TAKE_PTR(row.name);
	return r;
}

int instance_snapshot(struct instance *i, const char *name, const int64_t *expires_ns, char **ret_name,
		      struct error *err)
{
	return make(i, name, expires_ns, NULL, ret_name, err);
}

int snapshot_make_scheduled(struct instance *i, const _Atomic bool *stop, char **ret_name, struct error *err)
{
	return make(i, NULL, NULL, stop, ret_name, err);
}

int snapshot_copy_volume(const struct storage_pool *pool, const char *staging, const struct storage_pool *src,
			 const struct db_snapshot *s, struct error *err)
{
	int r = storage_volume_copy(pool, staging, src, STORAGE_VOLUME_SNAPSHOT, s->volume, err);

	return r < 0 ? r : check_there(src, s, err);
}

/* One snapshot of another instance, as one of ours. */
static int copy_one(struct instance *to, const struct storage_pool *pool, const struct storage_pool *src,
		    const struct db_snapshot *original, struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot row = {0};
	int r;

	copy_row(&row, original);
	free(row.volume);
	row.volume = uuid_new();
	r = insert(to, &row, err);
	if (r < 0)
		return r;
	r = snapshot_copy_volume(pool, row.staging, src, original, err);
	return finish(to, pool, &row, r, err);
}

int snapshots_copy(struct instance *to, struct instance *from, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT, src = STORAGE_POOL_INIT;
	auto_strv struct strv names = STRV_INIT;
	int r = instance_pool_open(to->all, to->row.pool, &pool, err);

	if (r == 0)
		r = instance_pool_open(from->all, from->row.pool, &src, err);
	names_of(from, /* ready= */ true, &names);
	/* moved away: another has its snapshots */
	if (r == 0 && is_gone(from))
		r = error_set(err, 404, "Instance not found");
	for (size_t k = 0; k < names.len && r == 0; k++) {
		CLEANUP(db_snapshot_done) struct db_snapshot row = {0};

		r = snapshot_get(from, names.items[k], &row, err);
		if (r == 0)
			r = copy_one(to, &pool, &src, &row, err);
	}
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
	int r = snapshot_get(i, name, &s, err);

	if (r == 0)
		r = idmap_from_json(strmap_get_or(&s.volatile_, "volatile.last_state.idmap", "[]"), &map, err);
	if (r == 0)
		r = instance_pool_open(i->all, i->row.pool, &pool, err);
	if (r < 0)
		return r;
	fd = storage_volume_open(&pool, STORAGE_VOLUME_SNAPSHOT, s.volume, err);
	volume.dirfd = fd;
	r = fd < 0 ? fd : fn(arg, &volume, err);
	return r < 0 ? r : check_there(&pool, &s, err);
}

bool instance_has_snapshots(struct instance *i)
{
	auto_strv struct strv names = STRV_INIT;

	names_of(i, /* ready= */ true, &names);
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

	instance_begin(i);
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

	instance_begin(i);
	r = snapshot_get(i, name, &row, err);
	if (r == 0)
		r = change_busy(i, &row, row.name, expires_ns, err);
	mutex_unlock(&i->busy);
	return r;
}

/* From the change of phase on it is gone for everybody; what fails below is finished later. */
static int delete_busy(struct instance *i, struct db_snapshot *row, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	struct db_snapshot *s;
	int r = instance_pool_open(i->all, i->row.pool, &pool, err);

	row->staging = uuid_new();
	if (r == 0)
		r = db_snapshot_set_phase(i->all->store->db, row->id, DB_DELETING, row->staging, err);
	if (r < 0)
		return r;
	mutex_lock(&i->all->lock);
	s = find_id_locked(i, row->id);
	s->phase = DB_DELETING;
	s->staging = xstrdup(row->staging);
	instance_touch_locked(i);
	mutex_unlock(&i->all->lock);
	return clear_away(i, &pool, row, err);
}

int snapshot_delete(struct instance *i, const char *name, struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot row = {0};
	int r;

	instance_begin(i);
	r = snapshot_get(i, name, &row, err);
	if (r == 0)
		r = delete_busy(i, &row, err);
	mutex_unlock(&i->busy);
	return r;
}

int snapshot_delete_expired(struct instance *i, const char *name, int64_t now_ns, struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot row = {0};
	auto_error struct error absent = ERROR_INIT;
	bool expired;
	int r = 0;

	instance_begin(i);
	/* it may have been changed while others worked on the instance */
	expired = snapshot_get(i, name, &row, &absent) == 0 && row.expires_ns != TIME_GO_ZERO &&
		  row.expires_ns <= now_ns;
	if (expired)
		r = delete_busy(i, &row, err);
	mutex_unlock(&i->busy);
	return r < 0 ? r : expired;
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

bool snapshots_were_freezing(struct instance *i) UNSHARED
{
	for (size_t k = 0; k < i->n_snapshots; k++)
		if (i->snapshots[k]->phase == DB_CREATING && i->snapshots[k]->frozen)
			return true;
	return false;
}

void snapshots_undo_unfinished(struct instances *all) UNSHARED
{
	for (size_t k = 0; k < all->n; k++)
		if (all->list[k]->row.phase == DB_READY)
			retry_clearing(all->list[k]);
}
