/* Making, removing and renaming instances: the row says what a restart has to undo, the tree is staged. */
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "config/expand.h"
#include "instance/apparmor.h"
#include "instance/nic_check.h"
#include "instance/nics.h"
#include "instance/project_check.h"
#include "instance/snapshot_internal.h"
#include "storage/received.h"

/* What a copy has of its original, or of a snapshot of it. */
struct origin {
	const char *architecture;
	const struct strmap *config, *volatile_;
	const struct mapmap *devices;
	const struct strv *profiles;
};

static void take_origin(const struct origin *o, const struct instance_create_spec *spec, struct db_instance *row)
{
	static const char base_image[] = "volatile.base_image";

	if (!spec->profiles)
		strv_copy(&row->profiles, o->profiles);
	strmap_copy(&row->config, o->config);
	mapmap_copy(&row->devices, o->devices);
	row->architecture = xstrdup(o->architecture);
	strmap_set(&row->volatile_, base_image, strmap_get(o->volatile_, base_image));
}

static int take_from_original(struct instances *all, const struct instance_create_spec *spec, struct db_instance *row,
			      struct error *err)
{
	CLEANUP(db_snapshot_done) struct db_snapshot s = {0};
	const struct db_instance *from = &spec->original->row;
	int r = spec->snapshot ? snapshot_get(spec->original, spec->snapshot, &s, err) : 0;

	if (r < 0)
		return r;
	mutex_lock(&all->lock);
	take_origin(spec->snapshot ? &(struct origin){s.architecture, &s.config, &s.volatile_, &s.devices, &s.profiles}
				   : &(struct origin){from->architecture, &from->config, &from->volatile_,
						      &from->devices, &from->profiles},
		    spec, row);
	mutex_unlock(&all->lock);
	return 0;
}

/* Profiles and configuration that come from the image or the original. */
static int take_from_source(struct instances *all, const struct instance_create_spec *spec, struct db_instance *row,
			    struct error *err)
{
	CLEANUP(db_image_done) struct db_image img = {0};
	int r;

	if (spec->source == INSTANCE_SOURCE_IMAGE) {
		r = store_image_dup(all->store, store_effective_project(all->store, spec->project, PROJECT_IMAGES),
				    spec->fingerprint, &img, err);
		if (r < 0)
			return r;
		if (!spec->profiles)
			strv_copy(&row->profiles, &img.profiles);
		for (size_t k = 0; k < img.properties.len; k++) {
			auto_free char *key = xasprintf("image.%s", img.properties.items[k].key);

			strmap_set(&row->config, key, img.properties.items[k].value);
		}
		strmap_set(&row->volatile_, "volatile.base_image", img.fingerprint);
		row->architecture = xstrdup(img.architecture);
	} else if (spec->source == INSTANCE_SOURCE_COPY) {
		return take_from_original(all, spec, row, err);
	} else if (!spec->profiles) {
		strv_add(&row->profiles, "default");
	}
	return 0;
}

/* State of one instance on one server: id ranges, how its tree's owners are shifted, and whether it ran. */
static bool belongs_to_original(const char *key)
{
	return startswith(key, "volatile.idmap.") || startswith(key, "volatile.last_state.");
}

/* A new instance is somebody new. One that moved here (@received, and it says who it is) stays who it was. */
static void set_identity(struct db_instance *row, bool received)
{
	auto_free char *cloud_id = uuid_new();
	auto_free char *uuid = uuid_new();
	bool moved = received && strmap_get(&row->volatile_, "volatile.uuid");

	if (!moved)
		strmap_set(&row->volatile_, "volatile.uuid", uuid);
	if (!moved || !strmap_get(&row->volatile_, "volatile.cloud-init.instance-id"))
		strmap_set(&row->volatile_, "volatile.cloud-init.instance-id", cloud_id);
	if (received && !moved)
		strmap_set(&row->volatile_, "volatile.apply_template", "copy");
}

static bool is_copied(const struct instance_create_spec *spec)
{
	return spec->source == INSTANCE_SOURCE_COPY || spec->source == INSTANCE_SOURCE_RECEIVE;
}

/* The client's configuration, without what is not the client's to set: of a copy it is left out, else refused. */
static int take_config(struct instances *all, const struct instance_create_spec *spec, struct strmap *ret,
		       struct error *err)
{
	strmap_copy(ret, spec->config);
	if (is_copied(spec))
		return project_drop_volatile(all, spec->project, ret, err);
	return project_check_volatile(all, spec->project, spec->name, &STRMAP_INIT, ret, err);
}

/* The row as asked for; volatile keys that a new instance has. */
static int make_row(struct instances *all, const struct instance_create_spec *spec, struct db_instance *row,
		    struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	int r = take_from_source(all, spec, row, err);

	if (r == 0)
		r = take_config(all, spec, &config, err);
	if (r < 0)
		return r;
	row->project = xstrdup(spec->project);
	row->name = xstrdup(spec->name);
	row->description = xstrdup(spec->description ? spec->description : "");
	row->ephemeral = spec->ephemeral;
	row->created_ns = time_now_ns();
	row->last_used_ns = TIME_EPOCH;
	row->staging = uuid_new();
	row->phase = DB_CREATING;
	if (!str_is_empty(spec->architecture)) {
		free(row->architecture);
		row->architecture = xstrdup(spec->architecture);
	}
	if (str_is_empty(row->architecture)) {
		struct utsname u;

		uname(&u);
		free(row->architecture);
		row->architecture = xstrdup(u.machine);
	}
	if (spec->profiles)
		strv_copy(&row->profiles, spec->profiles);
	for (size_t k = 0; k < config.len; k++) {
		const struct strmap_item *it = &config.items[k];

		if (is_copied(spec) && belongs_to_original(it->key))
			continue;
		strmap_set(startswith(it->key, "volatile.") ? &row->volatile_ : &row->config, it->key,
			   *it->value ? it->value : NULL);
	}
	for (size_t k = 0; k < spec->devices->len; k++)
		mapmap_set(&row->devices, spec->devices->items[k].key, &spec->devices->items[k].map);
	set_identity(row, spec->source == INSTANCE_SOURCE_RECEIVE);
	if (!strmap_get(&row->volatile_, "volatile.last_state.idmap"))
		strmap_set(&row->volatile_, "volatile.last_state.idmap", "[]");
	if (spec->source != INSTANCE_SOURCE_RECEIVE)
		strmap_set(&row->volatile_, "volatile.apply_template",
			   spec->source == INSTANCE_SOURCE_COPY ? "copy" : "create");
	return 0;
}

/* Its id map, which nobody else gets from now on: all->idmap_lock is held until the row is in the list. */
static int set_idmap(struct instances *all, struct db_instance *row, const struct instance_expanded *x,
		     struct error *err)
{
	auto_idmap struct idmap map = IDMAP_INIT;
	auto_free char *text = NULL;
	auto_free char *base = NULL;
	bool isolated = strmap_get_bool(&x->config, "security.idmap.isolated", false);
	int r;

	mutex_lock(&all->lock);
	r = instance_choose_idmap(all, row, &x->config, &map, err);
	mutex_unlock(&all->lock);
	if (r < 0)
		return r;
	text = idmap_to_json(&map);
	base = xasprintf("%u", isolated && map.len ? map.entries[0].host : 0);
	strmap_set(&row->volatile_, "volatile.idmap.next", text);
	strmap_set(&row->volatile_, "volatile.idmap.base", base);
	return 0;
}

static void complete_nics(struct db_instance *row, const struct mapmap *devices)
{
	auto_strmap struct strmap changes = STRMAP_INIT;

	nic_keys_keep_own(&row->volatile_, &(struct strmap){0});
	nic_keys_complete(devices, NULL, &row->volatile_, &changes);
	nic_keys_merge(&row->volatile_, &changes);
}

/* Check, reserve the name and the id range: the row is in the database and the list, in phase creating. */
static int reserve(struct instances *all, const struct instance_create_spec *spec, struct instance **ret,
		   struct error *err)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
	CLEANUP(db_instance_done) struct db_instance row = {0};
	const struct strmap *root;
	const char *root_name;
	struct instance *i;
	int r = make_row(all, spec, &row, err);

	if (r < 0)
		return r;
	mutex_lock(&all->idmap_lock);
	instances_hold_references(all);
	mutex_lock(&all->lock);
	r = instance_check(all, &row, NULL, NULL, &x, err);
	mutex_unlock(&all->lock);
	if (r == 0 && spec->with_snapshots)
		r = project_allows_snapshots(all, row.project, err);
	if (r == 0)
		r = expand_root_disk(&x.devices, &root_name, &root, err);
	if (r == 0) {
		complete_nics(&row, &x.devices);
		row.pool = xstrdup(strmap_get_or(root, "pool", ""));
		r = set_idmap(all, &row, &x, err);
	}
	if (r == 0) {
		r = db_instance_insert(all->store->db, &row, err);
		if (r == -EEXIST)
			error_set(err, 409,
				  "Add instance info to the database: This \"instances\" entry already exists");
	}
	if (r == 0) {
		i = instance_new(all, &row);
		mutex_lock(&all->lock);
		instances_insert_locked(all, i);
		mutex_unlock(&all->lock);
		*ret = i;
	}
	instances_release_references(all);
	mutex_unlock(&all->idmap_lock);
	return r < 0 ? error_wrap(err, "Failed creating instance record") : 0;
}

static int fill_from_image(struct instances *all, const struct storage_pool *pool, const struct db_instance *row,
			   const char *fingerprint, struct error *err)
{
	int fd = image_tree_open(all->images, store_effective_project(all->store, row->project, PROJECT_IMAGES),
				 fingerprint, err);
	int r;

	if (fd < 0)
		return fd;
	r = storage_volume_create_from_tree(pool, row->staging, fd, err);
	image_tree_close(all->images, fd);
	return r;
}

/* How the owners of its tree are shifted: "[]" or a JSON list. */
static int note_idmap(struct instance *i, const char *text, struct error *err)
{
	static const char key[] = "volatile.last_state.idmap";

	if (streq(strmap_get_or(&i->row.volatile_, key, ""), text))
		return 0;
	/* nobody sees this row yet; the lock is for those who walk the list */
	mutex_lock(&i->all->lock);
	strmap_set(&i->row.volatile_, key, text);
	mutex_unlock(&i->all->lock);
	return db_instance_set_volatile(i->all->store->db, &i->row, err);
}

static int fill_from_snapshot(struct instance *i, const struct storage_pool *pool,
			      const struct instance_create_spec *spec, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool src = STORAGE_POOL_INIT;
	CLEANUP(db_snapshot_done) struct db_snapshot s = {0};
	int r = snapshot_get(spec->original, spec->snapshot, &s, err);

	if (r == 0)
		r = note_idmap(i, strmap_get_or(&s.volatile_, "volatile.last_state.idmap", "[]"), err);
	if (r == 0)
		r = instance_pool_open(i->all, spec->original->row.pool, &src, err);
	return r < 0 ? r : snapshot_copy_volume(pool, i->row.staging, &src, &s, err);
}

/* Its tree and what says how that is shifted, at one moment. */
static int fill_from_copy(struct instance *i, const struct storage_pool *pool, struct instance *original,
			  struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool src = STORAGE_POOL_INIT;
	struct instances *all = i->all;
	auto_free char *volume = NULL, *src_pool = NULL, *idmap = NULL;
	int r;

	instance_begin(original);
	mutex_lock(&all->lock);
	mutex_is_held(&original->all->lock);
	volume = instance_full_name(original->row.project, original->row.name);
	src_pool = xstrdup(original->row.pool);
	idmap = xstrdup(strmap_get_or(&original->row.volatile_, "volatile.last_state.idmap", "[]"));
	mutex_unlock(&all->lock);
	r = original->gone ? error_set(err, 404, "Instance not found") : note_idmap(i, idmap, err);
	if (r == 0)
		r = instance_pool_open(all, src_pool, &src, err);
	if (r == 0)
		r = storage_volume_copy(pool, i->row.staging, &src, STORAGE_VOLUME_CONTAINER, volume, err);
	mutex_unlock(&original->busy);
	return r;
}

static bool is_compressed(const struct storage_pool *pool)
{
	return strmap_get_bool(&pool->config, "rsync.compression", true);
}

static int fill_from_server(const struct storage_pool *pool, struct instance *i,
			    const struct instance_create_spec *spec, struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_idmap struct idmap map = IDMAP_INIT;
	struct instance_volume volume = {.idmap = &map, .compress = is_compressed(pool)};
	auto_free char *text = NULL;
	auto_close int fd = -EBADF;
	uint64_t removed = 0;
	int r = storage_volume_create_empty(pool, i->row.staging, err);

	if (r == 0)
		r = instance_expanded_config(i, &config, err);
	if (r < 0)
		return r;
	fd = storage_staging_open(pool, i->row.staging, err);
	if (fd < 0)
		return fd;
	volume.dirfd = fd;
	r = spec->receive(spec->receive_arg, &volume, &map, err);
	if (r == 0)
		r = storage_received_check(fd, strmap_get_bool(&config, "security.privileged", false), &removed, err);
	if (r == 0)
		text = idmap_to_json(&map);
	if (r == 0)
		r = note_idmap(i, text, err);
	if (r == 0 && removed)
		log_warn("device nodes of a received instance were left out, as it is unprivileged",
			 LOG_STR("instance", i->row.name), LOG_INT("nodes", removed));
	return r;
}

static int fill(struct instances *all, const struct instance_create_spec *spec, struct instance *i, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_free char *volume = instance_full_name(i->row.project, i->row.name);
	int r = instance_pool_open(all, i->row.pool, &pool, err);

	if (r < 0)
		return r;
	switch (spec->source) {
	case INSTANCE_SOURCE_NONE:
		r = storage_volume_create_empty(&pool, i->row.staging, err);
		break;
	case INSTANCE_SOURCE_IMAGE:
		r = fill_from_image(all, &pool, &i->row, spec->fingerprint, err);
		break;
	case INSTANCE_SOURCE_COPY:
		r = spec->snapshot ? fill_from_snapshot(i, &pool, spec, err)
				   : fill_from_copy(i, &pool, spec->original, err);
		break;
	case INSTANCE_SOURCE_RECEIVE:
		r = fill_from_server(&pool, i, spec, err);
		break;
	}
	if (r == 0)
		r = storage_volume_commit(&pool, i->row.staging, STORAGE_VOLUME_CONTAINER, volume, err);
	/* the other server may remove its own as soon as it hears that ours is there */
	if (r == 0 && spec->source == INSTANCE_SOURCE_RECEIVE)
		r = storage_pool_sync(&pool, err);
	return r;
}

/* What a failed creation leaves: tree, row, place in the list. */
static void unreserve(struct instances *all, struct instance *i)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_free char *volume = instance_full_name(i->row.project, i->row.name);
	auto_error struct error err = ERROR_INIT;
	int r = instance_pool_open(all, i->row.pool, &pool, &err);

	if (r == 0)
		r = snapshots_discard(i, &pool, &err);
	if (r == 0)
		r = storage_volume_discard(&pool, i->row.staging, STORAGE_VOLUME_CONTAINER, volume, &err);
	if (r == 0)
		r = db_instance_delete(all->store->db, i->row.id, &err);
	if (r < 0)
		log_error("failed creation is cleaned up at the next start", LOG_STR("instance", volume),
			  LOG_ERR(&err));
	mutex_lock(&all->lock);
	instances_remove_locked(all, i);
	mutex_unlock(&all->lock);
}

int instance_create_begin(struct instances *all, const struct instance_create_spec *spec, struct instance **ret,
			  struct error *err)
{
	return reserve(all, spec, ret, err);
}

void instance_create_abandon(struct instance *i)
{
	unreserve(i->all, i);
}

int instance_create_finish(struct instance *i, const struct instance_create_spec *spec, struct error *err)
{
	struct instances *all = i->all;
	int r = fill(all, spec, i, err);

	if (r == 0 && spec->with_snapshots)
		r = snapshots_copy(i, spec->original, err);
	if (r == 0)
		r = db_instance_set_phase(all->store->db, i->row.id, DB_READY, NULL, err);
	if (r < 0) {
		unreserve(all, i);
		return r;
	}
	mutex_lock(&all->lock);
	free(TAKE_PTR(i->row.staging));
	i->row.phase = DB_READY;
	mutex_unlock(&all->lock);
	nics_write_entries(i, NULL);
	return 0;
}

int instance_create(struct instances *all, const struct instance_create_spec *spec, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	int r = instance_create_begin(all, spec, &i, err);

	return r < 0 ? r : instance_create_finish(i, spec, err);
}

static int with_volume_busy(struct instance *i,
			    int (*fn)(void *arg, const struct instance_volume *volume, struct error *err), void *arg,
			    struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_free char *name = instance_lxc_name(i);
	auto_idmap struct idmap map = IDMAP_INIT;
	struct instance_volume volume = {.idmap = &map};
	auto_free char *text = NULL;
	auto_close int fd = -EBADF;
	int r;

	mutex_lock(&i->all->lock);
	text = xstrdup(strmap_get_or(&i->row.volatile_, "volatile.last_state.idmap", "[]"));
	mutex_unlock(&i->all->lock);
	r = idmap_from_json(text, &map, err);
	if (r == 0)
		r = instance_pool_open(i->all, i->row.pool, &pool, err);
	if (r < 0)
		return r;
	fd = storage_volume_open(&pool, STORAGE_VOLUME_CONTAINER, name, err);
	if (fd < 0)
		return fd;
	volume.dirfd = fd;
	volume.compress = is_compressed(&pool);
	return fn(arg, &volume, err);
}

int instance_with_volume(struct instance *i,
			 int (*fn)(void *arg, const struct instance_volume *volume, struct error *err), void *arg,
			 struct error *err)
{
	int r;

	instance_begin(i);
	if (i->gone)
		r = error_set(err, 404, "Instance not found");
	else if (instance_state(i) != CONTAINER_STOPPED)
		r = error_set(err, 400, "The instance is running: stop it first");
	else
		r = with_volume_busy(i, fn, arg, err);
	mutex_unlock(&i->busy);
	return r;
}

int instance_remove_side_folders(struct instances *all, const char *volume, struct error *err)
{
	auto_free char *logs = path_join(all->logs_dir, volume);
	auto_free char *devices = path_join(all->devices_dir, volume);
	auto_free char *seccomp = path_join(all->seccomp_dir, volume);
	auto_free char *lxc = path_join(all->lxd_dir, "containers", volume);
	auto_free char *profile = apparmor_profile_name(volume, all->lxd_dir);
	auto_free char *apparmor = path_join(all->apparmor_dir, profile);
	int r = path_remove_tree(AT_FDCWD, logs, err);

	if (r == 0)
		r = apparmor_unload(apparmor, err);
	if (r == 0)
		r = path_remove_tree(AT_FDCWD, devices, err);
	if (r == 0)
		r = path_remove_tree(AT_FDCWD, seccomp, err);
	if (r == 0)
		r = path_remove_tree(AT_FDCWD, lxc, err);
	return r;
}

int instance_delete_busy(struct instance *i, struct error *err)
{
	struct instances *all = i->all;
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_free char *volume = instance_lxc_name(i);
	auto_free char *staging = uuid_new();
	int r = instance_pool_open(all, i->row.pool, &pool, err);

	if (r == 0)
		r = db_instance_set_phase(all->store->db, i->row.id, DB_DELETING, staging, err);
	if (r < 0)
		return r;
	/* from here on it is gone for everybody; what fails below is finished at the next start */
	mutex_lock(&all->lock);
	i->row.phase = DB_DELETING;
	i->gone = true;
	mutex_unlock(&all->lock);
	nics_remove_entries(i);
	r = snapshots_discard(i, &pool, err);
	if (r == 0)
		r = storage_volume_discard(&pool, staging, STORAGE_VOLUME_CONTAINER, volume, err);
	if (r == 0)
		r = instance_remove_side_folders(all, volume, err);
	if (r == 0)
		r = db_instance_delete(all->store->db, i->row.id, err);
	if (r < 0)
		return r;
	mutex_lock(&all->lock);
	instances_remove_locked(all, i);
	mutex_unlock(&all->lock);
	return 0;
}

int instance_delete(struct instance *i, struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	int r;

	instance_begin(i);
	r = instance_expanded_config(i, &config, err);
	if (i->gone)
		r = error_set(err, 404, "Instance not found");
	else if (r < 0)
		error_wrap(err, "Is the instance protected");
	else if (instance_state(i) != CONTAINER_STOPPED)
		r = error_set(err, 400, "Instance is running");
	else if (strmap_get_bool(&config, "security.protection.delete", false))
		r = error_set(err, 400, "Container is protected");
	else
		r = instance_delete_busy(i, err);
	mutex_unlock(&i->busy);
	return r;
}
