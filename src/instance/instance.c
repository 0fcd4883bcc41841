/* The list of instances: loading, finding, expanding; the rest of instance.h stands in the files named there. */
#include "instance/instance.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "config/expand.h"
#include "config/idmap_alloc.h"
#include "instance/apparmor.h"
#include "instance/instance_internal.h"
#include "instance/snapshot_internal.h"

#define SETTLE_MS 20000 /* a start that was cut from its daemon takes less */

struct instance *instance_new(struct instances *all, struct db_instance *row)
{
	struct instance *i = xnew(struct instance);

	i->refs = 1;
	i->all = all;
	i->row = *row;
	*row = (struct db_instance){0};
	i->proc = CONTAINER_PROCESS_INIT;
	mutex_init(&i->busy);
	return i;
}

struct instance *instance_ref(struct instance *i)
{
	i->refs++;
	return i;
}

void instance_unref(struct instance *i)
{
	if (!i || --i->refs > 0)
		return;
	container_process_done(&i->proc);
	link_ns_free(i->inside);
	db_instance_done(&i->row);
	snapshots_free(i);
	free(i->json);
	strv_done(&i->old_names);
	mutex_done(&i->busy);
	free(i);
}

void instance_touch_locked(struct instance *i)
{
	free(i->json);
	i->json = NULL;
}

static int compare(const struct instance *a, const char *project, const char *name)
{
	int c = strcmp(a->row.project, project);

	return c ? c : strcmp(a->row.name, name);
}

/* Where the instance stands, or would have to stand, in the sorted list. */
static size_t position(struct instances *all, const char *project, const char *name, bool *found) REQUIRES(all->lock)
{
	size_t lo = 0, hi = all->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = compare(all->list[mid], project, name);

		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*found = false;
	return lo;
}

void instances_insert_locked(struct instances *all, struct instance *i)
{
	bool found;
	size_t at = position(all, i->row.project, i->row.name, &found);

	all->list = xreallocarray(all->list, all->n + 1, sizeof(*all->list));
	memmove(&all->list[at + 1], &all->list[at], (all->n - at) * sizeof(*all->list));
	all->list[at] = instance_ref(i);
	all->n++;
}

void instances_remove_locked(struct instances *all, struct instance *i)
{
	for (size_t k = 0; k < all->n; k++) {
		if (all->list[k] != i)
			continue;
		memmove(&all->list[k], &all->list[k + 1], (all->n - k - 1) * sizeof(*all->list));
		all->n--;
		instance_unref(i);
		return;
	}
}

size_t instances_snapshot(struct instances *all, struct instance ***ret)
{
	size_t n = 0;

	mutex_lock(&all->lock);
	*ret = xnew_array(struct instance *, all->n);
	for (size_t k = 0; k < all->n; k++)
		if (all->list[k]->row.phase == DB_READY)
			(*ret)[n++] = instance_ref(all->list[k]);
	mutex_unlock(&all->lock);
	return n;
}

int instance_find(struct instances *all, const char *project, const char *name, struct instance **ret,
		  struct error *err)
{
	bool found;
	size_t at;

	mutex_lock(&all->lock);
	at = position(all, project, name, &found);
	found = found && all->list[at]->row.phase == DB_READY;
	if (found)
		*ret = instance_ref(all->list[at]);
	mutex_unlock(&all->lock);
	return found ? 0 : error_set(err, 404, "Instance not found");
}

const char *instance_project(const struct instance *i)
{
	return i->row.project;
}

char *instance_name_dup(struct instance *i)
{
	char *name;

	mutex_lock(&i->all->lock);
	name = xstrdup(i->row.name);
	mutex_unlock(&i->all->lock);
	return name;
}

enum container_state instance_state(struct instance *i)
{
	enum container_state state;

	mutex_lock(&i->all->lock);
	state = i->state;
	mutex_unlock(&i->all->lock);
	return state;
}

char *instance_full_name(const char *project, const char *name)
{
	return streq(project, "default") ? xstrdup(name) : xasprintf("%s_%s", project, name);
}

char *instance_lxc_name(struct instance *i)
{
	auto_free char *name = instance_name_dup(i);

	return instance_full_name(i->row.project, name);
}

char *instance_log_dir(struct instance *i)
{
	auto_free char *name = instance_lxc_name(i);

	return path_join(i->all->logs_dir, name);
}

void instance_expanded_done(struct instance_expanded *x)
{
	strmap_done(&x->config);
	mapmap_done(&x->devices);
}

int instance_expand(struct instances *all, const struct db_instance *row, const struct db_profile *override,
		    struct instance_expanded *ret, struct error *err)
{
	struct store *s = all->store;
	const char *home;
	int r = 0;

	mutex_lock(&s->lock);
	home = store_effective_project_locked(s, row->project, PROJECT_PROFILES);
	for (size_t k = 0; k < row->profiles.len && r == 0; k++) {
		const char *name = row->profiles.items[k];
		const struct db_profile *p = store_profile_locked(s, home, name);

		if (override && streq(override->name, name) && streq(override->project, home))
			p = override;
		if (!p) {
			r = error_set(err, 400, "Requested profile \"%s\" doesn't exist", name);
			break;
		}
		expand_config(&ret->config, &p->config);
		expand_devices(&ret->devices, &p->devices);
	}
	mutex_unlock(&s->lock);
	expand_config(&ret->config, &row->config);
	strmap_merge(&ret->config, &row->volatile_);
	expand_devices(&ret->devices, &row->devices);
	return r;
}

int instance_expanded_config(struct instance *i, struct strmap *ret, struct error *err)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
	int r;

	mutex_lock(&i->all->lock);
	r = instance_expand(i->all, &i->row, NULL, &x, err);
	mutex_unlock(&i->all->lock);
	if (r == 0)
		strmap_copy(ret, &x.config);
	return r;
}

void instances_hold_references(struct instances *all) TSA(no_thread_safety_analysis)
{
	mutex_lock(&all->references);
}

void instances_release_references(struct instances *all) TSA(no_thread_safety_analysis)
{
	mutex_unlock(&all->references);
}

int instance_pool_open(struct instances *all, const char *pool, struct storage_pool *ret, struct error *err)
{
	CLEANUP(db_pool_done) struct db_pool row = {0};
	int r = store_pool_dup(all->store, pool, &row, err);

	if (r < 0)
		return r;
	r = storage_pool_init(ret, all->lxd_dir, row.name, row.driver, &row.config, err);
	return r < 0 ? r : storage_pool_open(ret, err);
}

static void loaded(struct db_instance *row, void *arg)
{
	struct instances *all = arg;
	struct instance *i = instance_new(all, row);

	mutex_lock(&all->lock);
	instances_insert_locked(all, i);
	mutex_unlock(&all->lock);
	instance_unref(i);
}

/* A row that a crash left half made or half removed: its tree goes, then the row. */
static int undo_row(struct instances *all, struct instance *i, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_free char *volume = instance_full_name(i->row.project, i->row.name);
	int r = instance_pool_open(all, i->row.pool, &pool, err);

	log_info("removing unfinished instance", LOG_STR("instance", i->row.name));
	if (r == 0)
		r = snapshots_discard(i, &pool, err);
	if (r == 0)
		r = storage_volume_discard(&pool, i->row.staging, STORAGE_VOLUME_CONTAINER, volume, err);
	if (r == 0)
		r = instance_remove_side_folders(all, volume, err);
	if (r == 0)
		r = db_instance_delete(all->store->db, i->row.id, err);
	if (r < 0)
		return error_wrap(err, "Clean up unfinished instance %s", i->row.name);
	mutex_lock(&all->lock);
	instances_remove_locked(all, i);
	mutex_unlock(&all->lock);
	return 0;
}

/* The volume's name after the rename that was begun; to another project its staging is PROJECT/NAME. */
static char *renamed_volume(const struct instance *i)
{
	const char *slash = strchr(i->row.staging, '/');
	auto_free char *project = slash ? xstrndup(i->row.staging, (size_t)(slash - i->row.staging))
					: xstrdup(i->row.project);

	return instance_full_name(project, slash ? slash + 1 : i->row.staging);
}

/* A rename that a crash cut: the tree has its old or its new name, the row still the old one. */
static int undo_rename(struct instances *all, struct instance *i, struct error *err)
{
	CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
	auto_free char *old_volume = instance_full_name(i->row.project, i->row.name);
	auto_free char *new_volume = renamed_volume(i);
	auto_close int old_fd = -EBADF;
	auto_error struct error absent = ERROR_INIT;
	int r = instance_pool_open(all, i->row.pool, &pool, err);

	if (r < 0)
		return r;
	log_info("undoing unfinished rename", LOG_STR("instance", i->row.name));
	old_fd = storage_volume_open(&pool, STORAGE_VOLUME_CONTAINER, old_volume, &absent);
	if (old_fd < 0)
		r = storage_volume_rename(&pool, STORAGE_VOLUME_CONTAINER, new_volume, old_volume, err);
	if (r == 0)
		r = db_instance_set_phase(all->store->db, i->row.id, DB_READY, NULL, err);
	if (r < 0)
		return error_wrap(err, "Undo unfinished rename of instance %s", i->row.name);
	free(TAKE_PTR(i->row.staging));
	i->row.phase = DB_READY;
	return 0;
}

/* What cannot be undone now (its pool is away) stays out of sight, and is tried again at the next start. */
static void undo_unfinished(struct instances *all) UNSHARED
{
	for (size_t k = all->n; k-- > 0;) {
		struct instance *i = all->list[k];
		auto_error struct error err = ERROR_INIT;
		int r = 0;

		if (i->row.phase == DB_RENAMING)
			r = undo_rename(all, i, &err);
		else if (i->row.phase == DB_RESTORING)
			r = snapshot_end_restore(i, &err);
		else if (i->row.phase != DB_READY)
			r = undo_row(all, i, &err);
		if (r < 0)
			log_error("unfinished work of an earlier daemon stays", LOG_ERR(&err));
	}
}

/* Open every pool. One that fails is logged: its instances do not start, all else works. */
static void open_pools(struct instances *all) UNSHARED
{
	struct store *s = all->store;

	for (size_t k = 0; k < s->n_pools; k++) {
		CLEANUP(storage_pool_done) struct storage_pool pool = STORAGE_POOL_INIT;
		auto_error struct error err = ERROR_INIT;
		int r = storage_pool_init(&pool, all->lxd_dir, s->pools[k]->name, s->pools[k]->driver,
					  &s->pools[k]->config, &err);

		if (r == 0)
			r = storage_pool_open(&pool, &err);
		if (r == 0)
			r = storage_pool_sweep(&pool, STORAGE_VOLUME_CONTAINER, NULL, &err);
		if (r < 0)
			log_error("storage pool is not usable", LOG_STR("pool", s->pools[k]->name), LOG_ERR(&err));
	}
}

/*
 * Which containers may run: liblxc's monitors listen on abstract sockets named after path and container, so that
 * one look at /proc/net/unix spares asking for each. NULL when it cannot be read: then all are asked.
 */
static char *running_sockets(void)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(AT_FDCWD, "/proc/net/unix", 64 << 20, &text, &err) < 0)
		return NULL;
	return strbuf_take(&text);
}

/* One that was held still for a snapshot which a crash cut goes on. */
static void adopt(struct instance *i, const char *name, struct container_process *p)
{
	auto_error struct error err = ERROR_INIT;

	if (snapshots_were_freezing(i) && p->state == CONTAINER_FROZEN &&
	    container_unfreeze(i->all->host, name, &err) == 0)
		p->state = CONTAINER_RUNNING;
	instance_adopt_process(i, p);
}

static void find_running(struct instances *all) UNSHARED
{
	auto_error struct error late = ERROR_INIT;
	auto_free char *sockets = NULL;

	if (container_host_settle(all->host, SETTLE_MS, &late) < 0)
		log_warn("an earlier daemon's work goes on", LOG_ERR(&late));
	sockets = running_sockets();

	for (size_t k = 0; k < all->n; k++) {
		struct instance *i = all->list[k];
		auto_container_process struct container_process p = CONTAINER_PROCESS_INIT;
		auto_error struct error err = ERROR_INIT;
		auto_free char *name = instance_full_name(i->row.project, i->row.name);
		auto_free char *entry = xasprintf("%s/%s/command", all->lxd_dir, name);

		/* names too long for a socket address are hashed by liblxc */
		if (sockets && strlen(entry) < 100 && !strstr(sockets, name))
			continue;
		if (container_find(all->host, name, &p, &err) < 0)
			log_error("cannot tell whether the container runs", LOG_STR("instance", name), LOG_ERR(&err));
		else if (p.state != CONTAINER_STOPPED)
			adopt(i, name, &p);
	}
}

static int make_folders(struct instances *all, struct error *err)
{
	int r = dir_make_all(AT_FDCWD, all->logs_dir, 0700, err);

	if (r == 0)
		r = dir_make_all(AT_FDCWD, all->devices_dir, 0711, err);
	if (r == 0)
		r = dir_make_all(AT_FDCWD, all->seccomp_dir, 0700, err);
	if (r == 0)
		r = dir_make_all(AT_FDCWD, all->apparmor_dir, 0700, err);
	return r;
}

int instances_new(const struct instances_spec *spec, struct instances **ret, struct error *err)
{
	struct instances *all = xnew(struct instances);
	auto_free char *containers = path_join(spec->lxd_dir, "containers");
	auto_error struct error no_map = ERROR_INIT;
	int r;

	all->lxd_dir = xstrdup(spec->lxd_dir);
	all->logs_dir = path_join(spec->lxd_dir, "logs");
	all->devices_dir = path_join(spec->lxd_dir, "devices");
	all->seccomp_dir = path_join(spec->lxd_dir, "security", "seccomp");
	all->apparmor_dir = path_join(spec->lxd_dir, "security", "apparmor");
	all->apparmor = apparmor_is_available("");
	if (!all->apparmor)
		log_info("the kernel has no AppArmor: containers run without its profiles");
	all->store = spec->store;
	all->images = spec->images;
	all->loop = spec->loop;
	all->networks = spec->networks;
	all->event = spec->event;
	all->event_arg = spec->event_arg;
	mutex_init(&all->lock);
	mutex_init(&all->idmap_lock);
	mutex_init(&all->references);
	cond_init(&all->changed);
	r = make_folders(all, err);
	if (r == 0)
		r = dir_make_all(AT_FDCWD, containers, 0711, err);
	if (r == 0)
		r = lxcconf_probe_host("", &all->lxc_host, err);
	if (r == 0 && idmap_host_range(NULL, NULL, &all->base_map, &no_map) < 0)
		log_warn("unprivileged containers are not possible", LOG_ERR(&no_map));
	all->host = container_host_new(NULL, containers);
	if (r == 0)
		r = db_instances_load(spec->store->db, loaded, all, err);
	if (r == 0)
		r = snapshots_load(all, err);
	if (r == 0) {
		open_pools(all);
		undo_unfinished(all);
	}
	if (r < 0) {
		instances_free(all);
		return r;
	}
	find_running(all);
	snapshots_undo_unfinished(all);
	*ret = all;
	return 0;
}

void instances_free(struct instances *all) UNSHARED
{
	if (!all)
		return;
	container_host_free(all->host);
	for (size_t k = 0; k < all->n; k++)
		instance_unref(all->list[k]);
	free(all->list);
	strmap_done(&all->idmap_pools);
	lxcconf_host_done(&all->lxc_host);
	idmap_done(&all->base_map);
	cond_done(&all->changed);
	mutex_done(&all->idmap_lock);
	mutex_done(&all->references);
	mutex_done(&all->lock);
	free(all->lxd_dir);
	free(all->logs_dir);
	free(all->devices_dir);
	free(all->seccomp_dir);
	free(all->apparmor_dir);
	free(all);
}

struct container_host *instances_host(struct instances *all)
{
	return all->host;
}
