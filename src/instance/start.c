/* A start: its configuration, ids, devices and policies are gathered, then the container is made. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "device/device.h"
#include "instance/apparmor.h"
#include "instance/nics.h"
#include "instance/project_check.h"
#include "instance/seccomp.h"
#include "storage/shift.h"

/* All that a start gathers; freed in one place. */
struct start {
	struct instance *i;
	char *name; /* liblxc's */
	char *logs;
	char *devices;
	char *seccomp_path;
	char *apparmor;
	struct db_instance row; /* a copy of what matters: config, devices, profiles, volatile */
	struct instance_expanded x;
	struct storage_pool pool;
	struct idmap map;
	bool idmapped;
	struct device_plan plan;
	struct instance_nics nics;
};

static void start_done(struct start *s)
{
	free(s->name);
	free(s->logs);
	free(s->devices);
	free(s->seccomp_path);
	free(s->apparmor);
	instance_expanded_done(&s->x);
	storage_pool_done(&s->pool);
	idmap_done(&s->map);
	device_plan_done(&s->plan);
	instance_nics_done(&s->nics);
}

/* 1 or 0; the probe starts a process, so its answer is kept. */
static int pool_supports_idmap(struct start *s, struct error *err)
{
	struct instances *all = s->i->all;
	int known;

	mutex_lock(&all->lock);
	known = strmap_get(&all->idmap_pools, s->pool.name) ? strmap_get_bool(&all->idmap_pools, s->pool.name, false)
							    : -1;
	mutex_unlock(&all->lock);
	if (known >= 0)
		return known;
	/* for tests, and for hosts whose kernel has it but badly */
	known = getenv("LXD_IDMAPPED_MOUNTS_DISABLE") ? 0 : storage_idmap_supported(s->pool.path, err);
	if (known < 0)
		return known;
	mutex_lock(&all->lock);
	strmap_set(&all->idmap_pools, s->pool.name, known ? "true" : "false");
	mutex_unlock(&all->lock);
	return known;
}

/* On disk the tree holds container ids (an idmapped mount shifts them) unless the kernel cannot do that. */
static int prepare_ids(struct start *s, struct strmap *changes, struct error *err)
{
	struct instance *i = s->i;
	auto_idmap struct idmap on_disk = IDMAP_INIT;
	auto_idmap struct idmap target = IDMAP_INIT;
	auto_close int volume = -EBADF;
	auto_close int fd = -EBADF;
	auto_free char *text = NULL;
	const char *last = strmap_get_or(&s->x.config, "volatile.last_state.idmap", "[]");
	int r = idmap_from_json(last, &on_disk, err);

	if (r < 0)
		return error_wrap(err, "volatile.last_state.idmap");
	r = s->map.len ? pool_supports_idmap(s, err) : 1;
	if (r < 0)
		return r;
	s->idmapped = r == 1 && s->map.len;
	if (!r)
		idmap_copy(&target, &s->map);
	if (idmap_equal(&on_disk, &target))
		return 0;
	if (strmap_get_bool(&s->x.config, "security.protection.shift", false))
		return error_set(err, 400, "Container is protected against filesystem shifting");
	volume = storage_volume_open(&s->pool, STORAGE_VOLUME_CONTAINER, s->name, err);
	if (volume < 0)
		return volume;
	fd = path_open_nofollow(volume, "rootfs", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return error_errno(err, -fd, "Open rootfs of instance %s", s->name);
	log_info("remapping container file system", LOG_STR("instance", s->name));
	r = shift_tree(fd, &on_disk, &target, NULL, err);
	if (r < 0)
		return error_wrap(err, "Remap container file system");
	text = idmap_to_json(&target);
	strmap_set(changes, "volatile.last_state.idmap", text);
	return instance_save_volatile(i, changes, false, err);
}

static int choose_map(struct start *s, struct strmap *changes, struct error *err)
{
	struct instances *all = s->i->all;
	auto_free char *text = NULL;
	auto_free char *base = NULL;
	bool isolated = strmap_get_bool(&s->x.config, "security.idmap.isolated", false);
	int r;

	mutex_lock(&all->idmap_lock);
	mutex_lock(&all->lock);
	r = instance_choose_idmap(all, &s->i->row, &s->x.config, &s->map, err);
	if (r == 0) {
		text = idmap_to_json(&s->map);
		base = xasprintf("%u", isolated && s->map.len ? s->map.entries[0].host : 0);
		strmap_set(&s->i->row.volatile_, "volatile.idmap.next", text);
		strmap_set(&s->i->row.volatile_, "volatile.idmap.base", base);
		strmap_set(changes, "volatile.idmap.next", text);
		strmap_set(changes, "volatile.idmap.base", base);
		strmap_set(changes, "volatile.idmap.current", text);
	}
	mutex_unlock(&all->lock);
	mutex_unlock(&all->idmap_lock);
	return r;
}

/* Device nodes for unix-char and unix-block are made on the host and bound into the container. */
static int make_nodes(struct start *s, struct error *err)
{
	auto_close int fd = -EBADF;
	int r = path_remove_tree(AT_FDCWD, s->devices, err);

	if (r == 0)
		r = dir_make_all(AT_FDCWD, s->devices, 0711, err);
	if (r < 0 || !s->plan.n_nodes)
		return r;
	fd = open(s->devices, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "Open %s", s->devices);
	for (size_t k = 0; k < s->plan.n_nodes && r == 0; k++)
		r = device_node_create(fd, &s->plan.nodes[k], &s->map, err);
	return r;
}

static int write_policies(struct start *s, struct error *err)
{
	struct instances *all = s->i->all;
	auto_free char *policy = seccomp_policy(&s->x.config, s->i->row.architecture);
	auto_free char *profile = NULL;
	auto_free char *path = NULL;
	int r = 0;

	if (policy) {
		s->seccomp_path = path_join(all->seccomp_dir, s->name);
		r = file_write_at(AT_FDCWD, s->seccomp_path, policy, strlen(policy), 0600, err);
	}
	if (r < 0 || !all->apparmor)
		return r;
	s->apparmor = apparmor_profile_name(s->name, all->lxd_dir);
	profile = apparmor_profile_text(s->apparmor, &s->x.config);
	path = path_join(all->apparmor_dir, s->apparmor);
	return apparmor_load(path, profile, err);
}

static int start_gather(struct start *s, struct strmap *changes, struct error *err)
{
	struct instance *i = s->i;
	struct instances *all = i->all;
	auto_free char *pool = NULL;
	int r;

	s->name = instance_lxc_name(i);
	s->logs = path_join(all->logs_dir, s->name);
	s->devices = path_join(all->devices_dir, s->name);
	mutex_lock(&all->lock);
	r = instance_check(all, &i->row, &i->row, NULL, &s->x, err);
	pool = xstrdup(i->row.pool);
	mutex_unlock(&all->lock);
	if (r == 0)
		r = instance_pool_open(all, pool, &s->pool, err);
	if (r == 0)
		r = choose_map(s, changes, err);
	if (r == 0)
		r = prepare_ids(s, changes, err);
	if (r == 0)
		r = devices_plan(&s->x.devices, &s->plan, err);
	if (r == 0)
		r = project_confine_disks(all, i->row.project, &s->plan, err);
	if (r == 0)
		r = dir_make_all(AT_FDCWD, s->logs, 0700, err);
	if (r == 0)
		r = make_nodes(s, err);
	if (r == 0)
		r = write_policies(s, err);
	return r < 0 ? r : nics_start(i, &s->x, &s->nics, err);
}

static int launch(struct start *s, struct container_process *p, struct error *err)
{
	struct instances *all = s->i->all;
	auto_lxcconf struct lxcconf conf = LXCCONF_INIT;
	auto_free char *rootfs = storage_volume_path(&s->pool, STORAGE_VOLUME_CONTAINER, s->name);
	auto_free char *log_path = path_join(s->logs, "lxc.log");
	auto_free char *console_log = path_join(s->logs, "console.log");
	auto_free char *conf_path = path_join(s->logs, "lxc.conf");
	struct lxcconf_input in = {
		.name = s->i->row.name,
		.architecture = s->i->row.architecture,
		.log_path = log_path,
		.console_log = console_log,
		.rootfs_path = rootfs,
		.rootfs_idmapped = s->idmapped,
		.idmap = &s->map,
		.config = &s->x.config,
		.plan = &s->plan,
		.seccomp_path = s->seccomp_path,
		.apparmor_profile = s->apparmor,
		.host = &all->lxc_host,
		.mounts_dir = s->devices,
		.nics = s->nics.guests,
		.n_nics = s->nics.n,
	};
	struct container_start_spec spec = {
		.name = s->name, .conf = &conf, .conf_path = conf_path, .log_path = log_path};
	uint32_t owner = s->map.len ? (uint32_t)idmap_uid_to_host(&s->map, 0) : 0;
	int r = lxcconf_build(&in, &conf, err);

	if (r == 0)
		r = storage_volume_set_owner(&s->pool, STORAGE_VOLUME_CONTAINER, s->name, owner, err);
	return r < 0 ? r : container_start(all->host, &spec, p, err);
}

int instance_start_busy(struct instance *i, struct error *err)
{
	CLEANUP(start_done) struct start s = {.i = i, .pool = STORAGE_POOL_INIT};
	auto_container_process struct container_process p = CONTAINER_PROCESS_INIT;
	auto_strmap struct strmap changes = STRMAP_INIT;
	int r;

	if (i->gone)
		return error_set(err, 404, "Instance not found");
	if (instance_state(i) != CONTAINER_STOPPED)
		return error_set(err, 400, "The instance is already running");
	r = start_gather(&s, &changes, err);
	if (r < 0)
		return r;
	r = launch(&s, &p, err);
	if (r < 0) {
		nics_undo(i, &s.nics);
		return r;
	}
	instance_adopt_process(i, &p);
	strmap_set(&changes, "volatile.last_state.power", "RUNNING");
	strmap_set(&changes, "volatile.apply_template", "");
	return instance_save_volatile(i, &changes, true, err);
}
