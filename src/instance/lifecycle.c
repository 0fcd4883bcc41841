/*
 * Start, stop and what lies between. The container's monitor and init are watched through pidfds in the event loop:
 * its thread only notes that something ended; the work is done by whoever holds the instance's busy lock.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "device/device.h"
#include "instance/apparmor.h"
#include "instance/nics.h"
#include "instance/project_check.h"
#include "instance/seccomp.h"
#include "instance/snapshot_internal.h"
#include "storage/shift.h"

#define KILL_TIMEOUT_MS 30000
#define GROUPS_TIMEOUT_MS 2000 /* for processes that are still dying in a stopped container's control groups */

int instance_save_volatile(struct instance *i, const struct strmap *changes, bool used_now, struct error *err)
{
	struct db_instance row = {0};
	int r;

	mutex_lock(&i->all->lock);
	for (size_t k = 0; k < changes->len; k++)
		strmap_set(&i->row.volatile_, changes->items[k].key,
			   *changes->items[k].value ? changes->items[k].value : NULL);
	if (used_now)
		i->row.last_used_ns = time_now_ns();
	instance_touch_locked(i);
	row.id = i->row.id;
	row.last_used_ns = i->row.last_used_ns;
	strmap_copy(&row.volatile_, &i->row.volatile_);
	mutex_unlock(&i->all->lock);
	r = db_instance_set_volatile(i->all->store->db, &row, err);
	db_instance_done(&row);
	return r;
}

static int start_busy(struct instance *i, struct error *err);

/* --- watching --- */

static void set_stopped_locked(struct instance *i) REQUIRES(i->all->lock)
{
	i->state = CONTAINER_STOPPED;
	i->stops++;
	i->stopped_by_itself = true;
	container_process_done(&i->proc);
	i->proc = CONTAINER_PROCESS_INIT;
	instance_touch_locked(i);
	cond_broadcast(&i->all->changed);
}

static void set_rebooting(struct instance *i, bool rebooting)
{
	mutex_lock(&i->all->lock);
	i->rebooting = rebooting;
	mutex_unlock(&i->all->lock);
}

static bool has_stopped(struct instance *i)
{
	bool stopped;

	mutex_lock(&i->all->lock);
	stopped = i->stopped_by_itself && !i->gone;
	mutex_unlock(&i->all->lock);
	return stopped;
}

static void *after_stop_thread(void *arg)
{
	struct instance *i = arg;
	auto_error struct error err = ERROR_INIT;
	bool reboot;

	mutex_lock(&i->busy);
	/* its NICs have changed since the start, so that liblxc could not do it */
	reboot = has_stopped(i) && instance_reboot_failed(i) && !i->all->stopping;
	set_rebooting(i, reboot);
	instance_after_stop(i);
	set_rebooting(i, false);
	if (reboot && start_busy(i, &err) < 0)
		log_error("container that wanted to reboot does not start", LOG_STR("instance", i->row.name),
			  LOG_ERR(&err));
	mutex_unlock(&i->busy);
	instance_unref(i);
	return NULL;
}

static void on_monitor_gone(struct loop_source *src UNUSED, uint32_t events UNUSED, void *arg)
{
	struct instance *i = arg;
	auto_error struct error err = ERROR_INIT;

	loop_remove(i->monitor_src);
	loop_remove(i->init_src);
	i->monitor_src = i->init_src = NULL;
	mutex_lock(&i->all->lock);
	set_stopped_locked(i);
	mutex_unlock(&i->all->lock);
	/* the watch's reference goes to the thread; a stop operation may be quicker to clean up, which is fine */
	if (thread_start("after-stop", after_stop_thread, i, &err) < 0) {
		log_error("cannot clean up after a container", LOG_ERR(&err));
		instance_unref(i);
	}
}

/* In the loop's thread: exchange the watches for those of the processes that were just taken over. */
struct adopt {
	struct instance *i;
	struct container_process p;
};

static void adopt_in_loop(void *arg)
{
	auto_free struct adopt *a = arg;
	struct instance *i = a->i;

	if (i->monitor_src)
		instance_unref(i); /* the earlier watch's reference; this one brought its own */
	loop_remove(i->monitor_src);
	loop_remove(i->init_src);
	i->monitor_src = loop_add(i->all->loop, a->p.monitor_pidfd, EPOLLIN, on_monitor_gone, i);
	i->init_src = loop_add(i->all->loop, a->p.init_pidfd, EPOLLIN, instance_on_init_gone, i);
	mutex_lock(&i->all->lock);
	container_process_done(&i->proc);
	i->proc = a->p;
	mutex_unlock(&i->all->lock);
}

void instance_adopt_process(struct instance *i, struct container_process *p)
{
	struct adopt *a = xnew(struct adopt);

	instance_mark_log(i);
	a->i = instance_ref(i);
	a->p = *p;
	mutex_lock(&i->all->lock);
	i->state = p->state;
	i->stopped_by_itself = false;
	/* the numbers are known at once; the fds change hands in the loop, which watches the old ones */
	i->proc.init_pid = p->init_pid;
	i->proc.monitor_pid = p->monitor_pid;
	if (i->proc.init_pidfd < 0) {
		i->proc.init_pidfd = fcntl(p->init_pidfd, F_DUPFD_CLOEXEC, 3);
		i->proc.monitor_pidfd = fcntl(p->monitor_pidfd, F_DUPFD_CLOEXEC, 3);
	}
	instance_touch_locked(i);
	cond_broadcast(&i->all->changed);
	mutex_unlock(&i->all->lock);
	*p = CONTAINER_PROCESS_INIT;
	loop_post(i->all->loop, adopt_in_loop, a);
}

/* --- starting --- */

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

static int start_busy(struct instance *i, struct error *err)
{
	CLEANUP(start_done) struct start s = {.i = i, .pool = STORAGE_POOL_INIT};
	auto_container_process struct container_process p = CONTAINER_PROCESS_INIT;
	auto_strmap struct strmap changes = STRMAP_INIT;
	int r;

	if (i->gone)
		return error_set(err, 404, "Instance not found");
	if (instance_state(i) != CONTAINER_STOPPED)
		return error_set(err, 400, "The instance is already running");
	if (i->stopped_by_itself)
		instance_after_stop(i);
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

int instance_start(struct instance *i, struct error *err)
{
	int r;

	mutex_lock(&i->busy);
	r = start_busy(i, err);
	mutex_unlock(&i->busy);
	if (r == 0)
		snapshots_at_startup(i);
	return r;
}

/* --- stopping --- */

void instance_after_stop(struct instance *i)
{
	struct instances *all = i->all;
	auto_strmap struct strmap changes = STRMAP_INIT;
	auto_free char *name = instance_lxc_name(i);
	auto_free char *devices = path_join(all->devices_dir, name);
	auto_error struct error err = ERROR_INIT;
	bool mine, ephemeral;
	int r;

	mutex_lock(&all->lock);
	mine = i->stopped_by_itself && !i->gone;
	i->stopped_by_itself = false;
	ephemeral = i->row.ephemeral && !i->restarting && !i->rebooting;
	mutex_unlock(&all->lock);
	if (!mine)
		return;
	if (!cgroup_remove_left(&all->lxc_host.cgroup, name, GROUPS_TIMEOUT_MS))
		log_warn("control groups of a stopped container stay", LOG_STR("instance", name));
	all->event(all->event_arg, i->row.project, name, "instance-shutdown");
	nics_stop(i, &changes);
	if (ephemeral) {
		r = instance_delete_busy(i, &err);
		if (r == 0)
			all->event(all->event_arg, i->row.project, name, "instance-deleted");
	} else {
		r = path_remove_tree(AT_FDCWD, devices, &err);
		if (!all->stopping)
			strmap_set(&changes, "volatile.last_state.power", "STOPPED");
		strmap_set(&changes, "volatile.idmap.current", "");
		if (r == 0)
			r = instance_save_volatile(i, &changes, false, &err);
	}
	if (r < 0)
		log_error("cleaning up after a container failed", LOG_STR("instance", name), LOG_ERR(&err));
}

/* Wait until it has stopped once more than @stops times. */
static bool wait_stopped(struct instance *i, unsigned stops, int64_t timeout_ms)
{
	struct instances *all = i->all;
	int64_t deadline = time_monotonic_ms() + timeout_ms;
	bool stopped;

	mutex_lock(&all->lock);
	while (i->stops == stops) {
		if (timeout_ms < 0)
			cond_wait(&all->changed, &all->lock);
		else if (!cond_wait_until(&all->changed, &all->lock, deadline))
			break;
	}
	stopped = i->stops != stops;
	mutex_unlock(&all->lock);
	return stopped;
}

/* Ask it to stop, or kill it: what can be done with busy held. *@ret_stops is for wait_stopped(). */
static int begin_stop(struct instance *i, bool force, unsigned *ret_stops, struct error *err)
{
	auto_free char *name = instance_lxc_name(i);
	enum container_state state;
	int r = 0;

	mutex_lock(&i->all->lock);
	state = i->state;
	*ret_stops = i->stops;
	mutex_unlock(&i->all->lock);
	if (i->gone)
		return error_set(err, 404, "Instance not found");
	if (state == CONTAINER_STOPPED)
		return error_set(err, 400, "The instance is already stopped");
	if (!force && state == CONTAINER_FROZEN)
		r = container_unfreeze(i->all->host, name, err);
	if (r < 0)
		return r;
	r = force ? container_kill(i->all->host, name, err) : container_halt(i->all->host, name, err);
	/* it may have ended by itself between the question and the signal */
	if (r < 0 && instance_state(i) != CONTAINER_STOPPED)
		return r;
	error_clear(err);
	return 0;
}

/*
 * The wait for a container that was asked politely may be endless, so others may work on the instance meanwhile: a
 * forced stop above all.
 */
int instance_stop(struct instance *i, bool force, int64_t timeout_ms, struct error *err)
{
	unsigned stops;
	int r;

	force = force || timeout_ms == 0;
	mutex_lock(&i->busy);
	r = begin_stop(i, force, &stops, err);
	mutex_unlock(&i->busy);
	if (r < 0)
		return r;
	if (!wait_stopped(i, stops, force ? KILL_TIMEOUT_MS : timeout_ms))
		return error_errno(err, ETIMEDOUT, "Failed shutting down instance, status is \"Running\"");
	mutex_lock(&i->busy);
	instance_after_stop(i);
	mutex_unlock(&i->busy);
	return 0;
}

void instance_set_restarting(struct instance *i, bool restarting)
{
	mutex_lock(&i->all->lock);
	i->restarting = restarting;
	mutex_unlock(&i->all->lock);
}

int instance_restart(struct instance *i, bool force, int64_t timeout_ms, struct error *err)
{
	int r;

	instance_set_restarting(i, true);
	r = instance_stop(i, force, timeout_ms, err);
	if (r == 0)
		r = instance_start(i, err);
	instance_set_restarting(i, false);
	return r;
}

/* --- freezing --- */

static int set_frozen(struct instance *i, bool freeze, struct error *err)
{
	auto_free char *name = instance_lxc_name(i);
	enum container_state state, from = freeze ? CONTAINER_RUNNING : CONTAINER_FROZEN;
	int r;

	mutex_lock(&i->busy);
	state = instance_state(i);
	if (state == from)
		r = freeze ? container_freeze(i->all->host, name, err) : container_unfreeze(i->all->host, name, err);
	else if (state == CONTAINER_STOPPED)
		r = error_set(err, 400, "The container is not running");
	else
		r = error_set(err, 400,
			      freeze ? "The container is already frozen" : "The container is already running");
	if (r == 0) {
		mutex_lock(&i->all->lock);
		if (i->state != CONTAINER_STOPPED)
			i->state = freeze ? CONTAINER_FROZEN : CONTAINER_RUNNING;
		instance_touch_locked(i);
		mutex_unlock(&i->all->lock);
	}
	mutex_unlock(&i->busy);
	return r;
}

int instance_freeze(struct instance *i, struct error *err)
{
	return set_frozen(i, true, err);
}

int instance_unfreeze(struct instance *i, struct error *err)
{
	return set_frozen(i, false, err);
}

/* --- with the daemon --- */

struct ordered {
	struct instance *i;
	int64_t priority;
	int64_t seconds; /* delay after a start, or time to stop in */
};

static int by_priority(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;

	return (x->priority < y->priority) - (x->priority > y->priority);
}

static int64_t int_key(const struct strmap *config, const char *key, int64_t def)
{
	const char *text = strmap_get(config, key);
	int64_t v;

	return text && parse_i64(text, &v) == 0 ? v : def;
}

/* It ran when the daemon went away, and ended while nobody looked. */
static void ended_meanwhile(struct instance *i)
{
	mutex_lock(&i->busy);
	mutex_lock(&i->all->lock);
	if (i->state == CONTAINER_STOPPED)
		i->stopped_by_itself = true;
	mutex_unlock(&i->all->lock);
	instance_after_stop(i);
	mutex_unlock(&i->busy);
}

void instances_autostart(struct instances *all, bool boot)
{
	struct instance **list;
	size_t n = instances_snapshot(all, &list), m = 0;
	struct ordered *order = xnew_array(struct ordered, n);

	for (size_t k = 0; k < n; k++) {
		auto_strmap struct strmap c = STRMAP_INIT;
		auto_error struct error err = ERROR_INIT;
		bool was_running;

		if (instance_expanded_config(list[k], &c, &err) < 0)
			log_error("instance is not looked at for the boot", LOG_STR("instance", list[k]->row.name),
				  LOG_ERR(&err));
		was_running = streq(strmap_get_or(&c, "volatile.last_state.power", ""), "RUNNING");
		if (was_running && !boot && instance_state(list[k]) == CONTAINER_STOPPED)
			ended_meanwhile(list[k]);
		if (instance_state(list[k]) == CONTAINER_STOPPED &&
		    parse_bool_or(strmap_get(&c, "boot.autostart"), was_running && boot))
			order[m++] = (struct ordered){.i = instance_ref(list[k]),
						      .priority = int_key(&c, "boot.autostart.priority", 0),
						      .seconds = int_key(&c, "boot.autostart.delay", 0)};
		instance_unref(list[k]);
	}
	free(list);
	qsort(order, m, sizeof(*order), by_priority);
	for (size_t k = 0; k < m; k++) {
		auto_error struct error err = ERROR_INIT;

		if (!all->stopping && instance_start(order[k].i, &err) < 0)
			log_error("cannot start instance at boot", LOG_STR("instance", order[k].i->row.name),
				  LOG_ERR(&err));
		if (order[k].seconds > 0 && !all->stopping)
			sleep((unsigned)MIN_OF(order[k].seconds, 3600));
		instance_unref(order[k].i);
	}
	free(order);
}

struct stopper {
	struct instance *i;
	int64_t seconds;
	bool force;
	pthread_t thread;
};

static void *stop_thread(void *arg)
{
	struct stopper *s = arg;
	auto_error struct error err = ERROR_INIT;

	if (instance_stop(s->i, s->force, s->seconds * 1000, &err) < 0 && instance_state(s->i) != CONTAINER_STOPPED) {
		error_clear(&err);
		if (instance_stop(s->i, true, 0, &err) < 0)
			log_error("cannot stop instance", LOG_STR("instance", s->i->row.name), LOG_ERR(&err));
	}
	return NULL;
}

/* Stop at once all that share one priority. */
static void stop_together(const struct ordered *order, size_t n, bool force)
{
	struct stopper *s = xnew_array(struct stopper, n);

	for (size_t k = 0; k < n; k++) {
		auto_error struct error err = ERROR_INIT;

		s[k] = (struct stopper){.i = order[k].i, .seconds = order[k].seconds, .force = force};
		if (thread_start_joinable("stop", stop_thread, &s[k], &s[k].thread, &err) < 0) {
			stop_thread(&s[k]);
			s[k].thread = 0;
		}
	}
	for (size_t k = 0; k < n; k++)
		if (s[k].thread)
			pthread_join(s[k].thread, NULL);
	free(s);
}

void instances_shutdown(struct instances *all, bool force)
{
	struct instance **list;
	size_t n, m = 0;
	struct ordered *order;

	all->stopping = true;
	n = instances_snapshot(all, &list);
	order = xnew_array(struct ordered, n);
	for (size_t k = 0; k < n; k++) {
		auto_strmap struct strmap c = STRMAP_INIT;
		auto_error struct error err = ERROR_INIT;

		if (instance_expanded_config(list[k], &c, &err) < 0)
			error_ignore(&err, "it is stopped with the default settings");
		if (instance_state(list[k]) != CONTAINER_STOPPED)
			order[m++] = (struct ordered){.i = instance_ref(list[k]),
						      .priority = int_key(&c, "boot.stop.priority", 0),
						      .seconds = int_key(&c, "boot.host_shutdown_timeout", 30)};
		instance_unref(list[k]);
	}
	free(list);
	qsort(order, m, sizeof(*order), by_priority);
	for (size_t k = 0, next; k < m; k = next) {
		for (next = k; next < m && order[next].priority == order[k].priority;)
			next++;
		stop_together(order + k, next - k, force);
	}
	for (size_t k = 0; k < m; k++)
		instance_unref(order[k].i);
	free(order);
}
