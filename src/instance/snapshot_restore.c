/* Making an instance what a snapshot of it says: the trees change places, and the row says what a restart finishes. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/str.h"
#include "config/expand.h"
#include "instance/nics.h"
#include "instance/snapshot_internal.h"

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
