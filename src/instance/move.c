/* Renaming instances, and moving them to other projects: the row says what a restart has to undo. */
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "instance/nic_check.h"
#include "instance/nics.h"
#include "instance/snapshot.h"

/* The instance as it is to be: what is not said here is borrowed from @i. */
struct moved {
	struct db_instance row;
	char *project;
	char *name;
	char *volume;
};

static void moved_done(struct moved *m)
{
	free(m->project);
	free(m->name);
	free(m->volume);
}

/* After a failure. When that fails, too, nobody works on the instance until a restart has put it back. */
static void move_back(struct instance *i, const struct storage_pool *pool, const char *new_volume,
		      const char *old_volume)
{
	auto_error struct error err = ERROR_INIT;
	int r = new_volume ? storage_volume_rename(pool, STORAGE_VOLUME_CONTAINER, new_volume, old_volume, &err) : 0;

	if (r == 0)
		r = db_instance_set_phase(i->all->store->db, i->row.id, DB_READY, NULL, &err);
	if (r == 0)
		return;
	log_error("an instance is out of reach until the daemon's next start, which undoes its move",
		  LOG_STR("instance", old_volume), LOG_ERR(&err));
	mutex_lock(&i->all->lock);
	i->row.phase = DB_RENAMING;
	i->gone = true;
	mutex_unlock(&i->all->lock);
}

/*
 * The tree gets its new name, then the row, which has said before what is under way: a restart finds the tree under
 * either name and puts the old one back. What fails is undone, or at the next start.
 */
static int move_tree(struct instance *i, const struct moved *m, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_free char *staging = xasprintf("%s/%s", m->project, m->name);
	auto_free char *old_volume = instance_lxc_name(i);
	struct db *db = i->all->store->db;
	int r = instance_pool_open(i->all, i->row.pool, &pool, err);

	if (r == 0)
		r = db_instance_set_phase(db, i->row.id, DB_RENAMING, staging, err);
	if (r < 0)
		return r;
	r = storage_volume_rename(&pool, STORAGE_VOLUME_CONTAINER, old_volume, m->volume, err);
	if (r < 0) {
		move_back(i, &pool, NULL, old_volume);
		return r;
	}
	r = db_instance_move(db, i->row.id, m->project, m->name, err);
	if (r < 0)
		move_back(i, &pool, m->volume, old_volume);
	return r;
}

/* --- within the project --- */

/* Its new name in memory: its place in the sorted list changes. */
static void set_name(struct instance *i, const char *name)
{
	struct instances *all = i->all;

	mutex_lock(&all->lock);
	mutex_is_held(&i->all->lock);
	instance_ref(i);
	instances_remove_locked(all, i);
	strv_take(&i->old_names, i->row.name);
	i->row.name = xstrdup(name);
	instances_insert_locked(all, i);
	instance_touch_locked(i);
	instance_unref(i);
	mutex_unlock(&all->lock);
}

/* Is the new name free among the names in DNS of its networks? */
static int check_new_name(struct instance *i, const char *name, struct error *err)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
	auto_free char *new_name = xstrdup(name);
	struct db_instance row;
	struct nic_check c = {.reason = NIC_CHECK_RENAME, .row = &row, .old = &i->row, .devices = &x.devices};
	int r;

	mutex_lock(&i->all->lock);
	row = i->row; /* borrows all but the name */
	row.name = new_name;
	r = instance_expand(i->all, &i->row, NULL, &x, err);
	if (r == 0)
		r = nic_check(i->all, &c, err);
	mutex_unlock(&i->all->lock);
	return r;
}

static int check_renamed(struct instance *i, const char *name, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *other = NULL;
	auto_error struct error absent = ERROR_INIT;

	if (instance_find(i->all, i->row.project, name, &other, &absent) == 0)
		return error_set(err, 409, "Name \"%s\" already in use", name);
	return check_new_name(i, name, err);
}

static int rename_busy(struct instance *i, const char *name, struct error *err)
{
	CLEANUP(moved_done)
	struct moved m = {.project = xstrdup(i->row.project),
			  .name = xstrdup(name),
			  .volume = instance_full_name(i->row.project, name)};
	auto_free char *old_volume = instance_lxc_name(i);
	auto_error struct error undo = ERROR_INIT;
	int r = check_renamed(i, name, err);

	if (r < 0)
		return r;
	nics_remove_entries(i);
	r = move_tree(i, &m, err);
	if (r == 0)
		set_name(i, name);
	nics_write_entries(i, NULL);
	if (r == 0 && instance_remove_side_folders(i->all, old_volume, &undo) < 0)
		log_warn("logs of a renamed instance stay", LOG_STR("instance", old_volume), LOG_ERR(&undo));
	return r;
}

int instance_rename(struct instance *i, const char *name, struct error *err)
{
	int r;

	instance_begin(i);
	if (i->gone)
		r = error_set(err, 404, "Instance not found");
	else if (instance_state(i) != CONTAINER_STOPPED)
		r = error_set(err, 400, "Renaming of running container not allowed");
	else
		r = rename_busy(i, name, err);
	mutex_unlock(&i->busy);
	return r;
}

/* --- to another project --- */

/* May it be there? As if it were made anew, and as if it were changed to what it is there. */
static int check_moved(struct instance *i, const struct moved *m, struct error *err)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
	struct nic_check c = {.reason = NIC_CHECK_RENAME, .row = &m->row, .old = &i->row, .devices = &x.devices};
	CLEANUP(instance_unrefp) struct instance *other = NULL;
	auto_error struct error absent = ERROR_INIT;
	int r;

	if (!store_has_project(i->all->store, m->project))
		return error_set(err, 404, "Failed loading project \"%s\": Project not found", m->project);
	if (instance_find(i->all, m->project, m->name, &other, &absent) == 0)
		return error_set(err, 409, "Name \"%s\" already in use", m->name);
	r = instance_has_snapshots(i) ? project_allows_snapshots(i->all, m->project, err) : 0;
	if (r < 0)
		return r;
	mutex_lock(&i->all->lock);
	r = instance_check(i->all, &m->row, &i->row, NULL, &x, err);
	if (r == 0)
		r = nic_check(i->all, &c, err);
	mutex_unlock(&i->all->lock);
	return r;
}

/* A project is fixed for an instance's life in memory: another takes its place. */
static struct instance *replace(struct instance *i, const struct moved *m)
{
	CLEANUP(db_instance_done) struct db_instance row = {0};
	struct instances *all = i->all;
	struct instance *now;

	mutex_lock(&all->lock);
	instance_row_copy(&row, &m->row);
	mutex_unlock(&all->lock);
	now = instance_new(all, &row);
	mutex_lock(&all->lock);
	mutex_is_held(&i->all->lock);
	i->gone = true;
	now->snapshots = TAKE_PTR(i->snapshots);
	now->n_snapshots = i->n_snapshots;
	i->n_snapshots = 0;
	instances_remove_locked(all, i);
	instances_insert_locked(all, now);
	mutex_unlock(&all->lock);
	return now;
}

static int move_busy(struct instance *i, struct moved *m, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *now = NULL;
	auto_free char *old_volume = instance_lxc_name(i);
	auto_error struct error undo = ERROR_INIT;
	int r;

	m->row = i->row;
	m->row.project = m->project;
	m->row.name = m->name;
	instances_hold_references(i->all);
	r = check_moved(i, m, err);
	if (r == 0) {
		nics_remove_entries(i);
		r = move_tree(i, m, err);
		if (r == 0)
			now = replace(i, m);
		nics_write_entries(now ? now : i, NULL);
	}
	instances_release_references(i->all);
	if (r == 0 && instance_remove_side_folders(i->all, old_volume, &undo) < 0)
		log_warn("logs of a moved instance stay", LOG_STR("instance", old_volume), LOG_ERR(&undo));
	return r;
}

int instance_move(struct instance *i, const char *project, const char *name, struct error *err)
{
	CLEANUP(moved_done)
	struct moved m = {
		.project = xstrdup(project), .name = xstrdup(name), .volume = instance_full_name(project, name)};
	int r;

	instance_begin(i);
	if (i->gone)
		r = error_set(err, 404, "Instance not found");
	else if (instance_state(i) != CONTAINER_STOPPED)
		r = error_set(err, 400, "The instance is running: stop it first");
	else
		r = move_busy(i, &m, err);
	mutex_unlock(&i->busy);
	return r;
}
