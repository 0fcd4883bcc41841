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

/* Neither what it was nor what it shall be can be written down: nobody works on it until a restart has done so. */
static void set_aside(struct instance *i, const char *what, const struct error *why)
{
	log_error("an instance is out of reach until the daemon's next start, which ends its restore",
		  LOG_STR("instance", i->row.name), LOG_STR("failed", what), LOG_STR("error", error_msg(why)));
	mutex_lock(&i->all->lock);
	i->row.phase = DB_RESTORING;
	i->gone = true;
	mutex_unlock(&i->all->lock);
}

/* Staging holds the snapshot's tree, and the current one when it worked. */
static int exchange(struct instance *i, const struct storage_pool *pool, const struct db_instance *row,
		    const char *staging, struct error *err)
{
	auto_free char *volume = instance_lxc_name(i);
	auto_error struct error back = ERROR_INIT;
	int r = storage_volume_exchange(pool, staging, STORAGE_VOLUME_CONTAINER, volume, err);

	if (r == 0) {
		r = db_instance_restored(i->all->store->db, row, err);
		if (r < 0 && storage_volume_exchange(pool, staging, STORAGE_VOLUME_CONTAINER, volume, &back) < 0) {
			set_aside(i, "putting its file system back", &back);
			return r;
		}
	}
	if (r < 0 && db_instance_set_phase(i->all->store->db, i->row.id, DB_READY, NULL, &back) < 0)
		set_aside(i, "noting that nothing has changed", &back);
	return r;
}

/* The references are held. */
static int restore_held(struct instance *i, const struct storage_pool *pool, const char *name, const char *staging,
			struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot s = {0};
	CLEANUP(db_instance_done) struct db_instance row = {0};
	auto_free char *volume = instance_lxc_name(i);
	auto_free char *note = NULL;
	uint64_t before;
	int r = snapshot_get(i, name, &s, err);

	if (r < 0)
		return r;
	make_restored(i, &s, &row);
	r = check_restored(i, &row, err);
	if (r == 0)
		r = storage_volume_id(pool, STORAGE_VOLUME_CONTAINER, volume, &before, err);
	if (r < 0)
		return r;
	note = xasprintf("%" PRId64 "/%" PRIu64, s.id, before);
	r = db_instance_set_phase(i->all->store->db, i->row.id, DB_RESTORING, note, err);
	if (r == 0)
		r = exchange(i, pool, &row, staging, err);
	if (r == 0)
		instance_take_row(i, &row);
	return r;
}

/* Copying and writing out may take long, so nobody else waits for that. */
static int restore_staged(struct instance *i, const struct storage_pool *pool, const struct db_snapshot *s,
			  struct error *err)
{
	auto_free char *staging = uuid_new();
	auto_error struct error later = ERROR_INIT;
	int r = storage_volume_copy(pool, staging, pool, STORAGE_VOLUME_SNAPSHOT, s->volume, err);

	if (r == 0)
		r = storage_pool_sync(pool, err);
	if (r == 0) {
		instances_hold_references(i->all);
		r = restore_held(i, pool, s->name, staging, err);
		instances_release_references(i->all);
	}
	/* what was set aside may have its only tree there */
	if (i->gone)
		return r;
	if (storage_staging_discard(pool, staging, &later) < 0)
		log_warn("what was there before a restore is removed at the next start", LOG_ERR(&later));
	return r;
}

static int restore_busy(struct instance *i, void *arg, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	CLEANUP(db_snapshot_done) struct db_snapshot s = {0};
	int r = i->gone ? error_set(err, 404, "Instance not found") : snapshot_get(i, arg, &s, err);

	if (r == 0 && instance_state(i) != CONTAINER_STOPPED)
		r = error_set(err, 400, "The instance is running: it was started meanwhile");
	if (r == 0)
		r = instance_pool_open(i->all, i->row.pool, &pool, err);
	if (r == 0)
		r = restore_staged(i, &pool, &s, err);
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
	auto_free char *arg = xstrdup(name);
	int r = try_check(i, name, err);

	if (r < 0)
		return r;
	if (instance_state(i) != CONTAINER_STOPPED)
		return instance_restart_around(i, &(struct restart){.force = true, .between = restore_busy, .arg = arg},
					       err);
	instance_begin(i);
	r = restore_busy(i, arg, err);
	mutex_unlock(&i->busy);
	return r;
}

/* --- after a restart --- */

/* "ID/BEFORE": of the snapshot, and of the volume that was there before. */
static const struct db_snapshot *read_note(struct instance *i, uint64_t *ret_before) UNSHARED
{
	const char *note = i->row.staging ? i->row.staging : "", *slash = strchr(note, '/');
	auto_free char *text = slash ? xstrndup(note, (size_t)(slash - note)) : xstrdup("");
	uint64_t id;

	if (parse_u64(text, &id) < 0 || parse_u64(slash + 1, ret_before) < 0)
		return NULL;
	for (size_t k = 0; k < i->n_snapshots; k++)
		if (i->snapshots[k]->id == (int64_t)id)
			return i->snapshots[k];
	return NULL;
}

/* The old tree is in its place: nothing has changed. */
static int end_undone(struct instance *i, struct error *err) UNSHARED
{
	int r = db_instance_set_phase(i->all->store->db, i->row.id, DB_READY, NULL, err);

	log_info("undoing a restore", LOG_STR("instance", i->row.name));
	if (r < 0)
		return r;
	free(TAKE_PTR(i->row.staging));
	i->row.phase = DB_READY;
	return 0;
}

static int end_done(struct instance *i, const struct db_snapshot *s, struct error *err) UNSHARED
{
	CLEANUP(db_instance_done) struct db_instance row = {0};
	int r;

	log_info("finishing a restore", LOG_STR("instance", i->row.name), LOG_STR("snapshot", s->name));
	make_restored(i, s, &row);
	r = db_instance_restored(i->all->store->db, &row, err);
	if (r < 0)
		return r;
	row.phase = DB_READY;
	free(TAKE_PTR(i->row.staging));
	i->row.phase = DB_READY;
	instance_take_row(i, &row);
	return 0;
}

int snapshot_end_restore(struct instance *i, struct error *err) UNSHARED
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_free char *volume = instance_full_name(i->row.project, i->row.name);
	uint64_t before, now;
	const struct db_snapshot *s = read_note(i, &before);
	int r;

	if (!s)
		return error_set(err, 500, "The snapshot that instance %s was being restored from is missing",
				 i->row.name);
	r = instance_pool_open(i->all, i->row.pool, &pool, err);
	if (r == 0)
		r = storage_volume_id(&pool, STORAGE_VOLUME_CONTAINER, volume, &now, err);
	if (r < 0)
		return r;
	return now == before ? end_undone(i, err) : end_done(i, s, err);
}
