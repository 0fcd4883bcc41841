/*
 * Start, stop and what lies between. The container's monitor and init are watched through pidfds in the event loop:
 * its thread only notes that something ended; the work is done by whoever takes the instance's busy lock next.
 */
#include <fcntl.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/timeutil.h"
#include "instance/nics.h"
#include "instance/snapshot_internal.h"

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

/* Clean up after a container that has ended by itself, if nobody has; start it when it ended to reboot. */
static void settle(struct instance *i) REQUIRES(i->busy)
{
	auto_error struct error err = ERROR_INIT;
	bool reboot;

	if (!has_stopped(i))
		return;
	/* its NICs have changed since the start, so that liblxc could not do it */
	reboot = instance_reboot_failed(i) && !i->all->stopping;
	set_rebooting(i, reboot);
	instance_after_stop(i);
	set_rebooting(i, false);
	if (reboot && instance_start_busy(i, &err) < 0)
		log_error("container that wanted to reboot does not start", LOG_STR("instance", i->row.name),
			  LOG_ERR(&err));
}

void instance_begin(struct instance *i)
{
	mutex_lock(&i->busy);
	settle(i);
}

static void *after_stop_thread(void *arg)
{
	struct instance *i = arg;

	instance_begin(i);
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

/* --- starting and stopping --- */

int instance_start(struct instance *i, struct error *err)
{
	int r;

	instance_begin(i);
	r = instance_start_busy(i, err);
	mutex_unlock(&i->busy);
	if (r == 0)
		snapshots_at_startup(i);
	return r;
}

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
	ephemeral = i->row.ephemeral && i->restarting == 0 && !i->rebooting;
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
	instance_begin(i);
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

static void add_restarting(struct instance *i, bool begins)
{
	mutex_lock(&i->all->lock);
	i->restarting += begins ? 1 : -1U;
	mutex_unlock(&i->all->lock);
}

int instance_restart_around(struct instance *i, const struct restart *how, struct error *err)
{
	auto_error struct error start = ERROR_INIT;
	int r, s;

	add_restarting(i, true);
	r = instance_stop(i, how->force, how->timeout_ms, err);
	mutex_lock(&i->busy);
	if (r < 0) {
		add_restarting(i, false);
		mutex_unlock(&i->busy);
		return r;
	}
	if (how->between)
		r = how->between(i, how->arg, err);
	s = instance_start_busy(i, &start);
	/* whoever comes next finds an instance that is what it is, not one in between */
	add_restarting(i, false);
	mutex_unlock(&i->busy);
	if (s == 0)
		snapshots_at_startup(i);
	return r == 0 && s < 0 ? error_move(err, &start) : r;
}

int instance_restart(struct instance *i, bool force, int64_t timeout_ms, struct error *err)
{
	return instance_restart_around(i, &(struct restart){.force = force, .timeout_ms = timeout_ms}, err);
}

/* --- freezing --- */

static int set_frozen(struct instance *i, bool freeze, struct error *err)
{
	auto_free char *name = instance_lxc_name(i);
	enum container_state state, from = freeze ? CONTAINER_RUNNING : CONTAINER_FROZEN;
	int r;

	instance_begin(i);
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
