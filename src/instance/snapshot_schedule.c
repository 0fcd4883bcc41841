/* Snapshots by the clock: made when snapshots.schedule says so, removed when they have expired. Once a minute. */
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "config/cron.h"
#include "instance/snapshot_internal.h"

#define MINUTE_NS (INT64_C(60) * 1000000000)
#define MISSED_MAX 120 /* minutes that are made up for, while copies took long */

struct schedule {
	struct mutex lock;
	struct cond ended;
	bool working GUARDED_BY(lock);
	_Atomic bool stopped;     /* what is being copied is given up, too */
	int64_t minute;           /* that was looked at last; of the thread */
	struct loop_timer *timer; /* loop's thread */
};

/* The event of a change that no request made; @snapshot is part of the instance's path. */
static void tell(struct instance *i, const char *snapshot, const char *action)
{
	auto_free char *name = instance_name_dup(i);
	auto_free char *path = xasprintf("%s/snapshots/%s", name, snapshot);

	if (i->all->event)
		i->all->event(i->all->event_arg, i->row.project, path, action);
}

/* --- removing --- */

static void expired_of(struct instance *i, int64_t now_ns, struct strv *ret)
{
	mutex_lock(&i->all->lock);
	for (size_t k = 0; k < i->n_snapshots; k++) {
		const struct db_snapshot *s = i->snapshots[k];

		if (s->phase == DB_READY && s->expires_ns != TIME_GO_ZERO && s->expires_ns <= now_ns)
			strv_add(ret, s->name);
	}
	mutex_unlock(&i->all->lock);
}

static void remove_expired(struct instance *i, int64_t now_ns)
{
	auto_strv struct strv names = STRV_INIT;

	expired_of(i, now_ns, &names);
	for (size_t k = 0; k < names.len && !i->all->schedule->stopped; k++) {
		auto_error struct error err = ERROR_INIT;
		int r = snapshot_delete_expired(i, names.items[k], now_ns, &err);

		if (r < 0)
			log_error("an expired snapshot is not removed", LOG_STR("instance", i->row.name),
				  LOG_STR("snapshot", names.items[k]), LOG_ERR(&err));
		else if (r > 0)
			tell(i, names.items[k], "instance-snapshot-deleted");
	}
}

/* --- making --- */

static void make_one(struct instance *i)
{
	auto_error struct error err = ERROR_INIT;
	auto_free char *name = NULL;

	if (snapshot_make_scheduled(i, i->all->schedule ? &i->all->schedule->stopped : NULL, &name, &err) < 0)
		log_error("a snapshot by schedule was not made", LOG_STR("instance", i->row.name), LOG_ERR(&err));
	else
		tell(i, name, "instance-snapshot-created");
}

/* In one of the minutes behind @from up to @to: large copies may have taken some. */
static bool matches_between(const char *schedule, int64_t from, int64_t to)
{
	for (int64_t minute = from + 1; minute <= to; minute++) {
		time_t seconds = (time_t)(minute * 60);
		struct tm tm;

		localtime_r(&seconds, &tm);
		if (schedule_matches(schedule, &tm))
			return true;
	}
	return false;
}

static bool is_due(struct instance *i, int64_t from, int64_t to)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_error struct error err = ERROR_INIT;

	if (instance_expanded_config(i, &config, &err) < 0) {
		error_ignore(&err, "what cannot be read asks for nothing");
		return false;
	}
	if (instance_state(i) == CONTAINER_STOPPED && !strmap_get_bool(&config, "snapshots.schedule.stopped", false))
		return false;
	return matches_between(strmap_get_or(&config, "snapshots.schedule", ""), from, to);
}

void snapshots_at_startup(struct instance *i)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_error struct error err = ERROR_INIT;

	if (instance_expanded_config(i, &config, &err) < 0)
		error_ignore(&err, "what cannot be read asks for nothing");
	else if (schedule_at_startup(strmap_get_or(&config, "snapshots.schedule", "")))
		make_one(i);
}

/* --- the clock --- */

static void look_at(struct instances *all, int64_t from, int64_t now_ns)
{
	struct instance **list;
	size_t n = instances_snapshot(all, &list);

	for (size_t k = 0; k < n; k++) {
		if (!all->schedule->stopped) {
			remove_expired(list[k], now_ns);
			if (is_due(list[k], from, now_ns / MINUTE_NS))
				make_one(list[k]);
		}
		instance_unref(list[k]);
	}
	free(list);
}

static void *work(void *arg)
{
	struct instances *all = arg;
	struct schedule *s = all->schedule;
	int64_t now_ns = time_now_ns(), now = now_ns / MINUTE_NS, from = s->minute;

	/* a minute is looked at once; after a jump of the clock, or at first, the present one alone */
	if (from >= now || now - from > MISSED_MAX)
		from = now - 1;
	if (now != s->minute) {
		s->minute = now;
		look_at(all, from, now_ns);
	}
	mutex_lock(&s->lock);
	s->working = false;
	cond_broadcast(&s->ended);
	mutex_unlock(&s->lock);
	return NULL;
}

static void arm(struct instances *all);

static void on_timer(void *arg)
{
	struct instances *all = arg;
	struct schedule *s = all->schedule;
	auto_error struct error err = ERROR_INIT;
	bool start;

	s->timer = NULL;
	mutex_lock(&s->lock);
	start = !s->working && !s->stopped;
	s->working = s->working || start;
	mutex_unlock(&s->lock);
	if (start && thread_start("snapshots", work, all, &err) < 0) {
		log_error("snapshots by schedule are not made", LOG_ERR(&err));
		mutex_lock(&s->lock);
		s->working = false;
		mutex_unlock(&s->lock);
	}
	arm(all);
}

/* At the beginning of the next minute. */
static void arm(struct instances *all)
{
	int64_t now_ns = time_now_ns();

	all->schedule->timer = loop_timer_add(all->loop, (MINUTE_NS - now_ns % MINUTE_NS) / 1000000 + 1, on_timer, all);
}

static void begin(void *arg)
{
	arm(arg);
}

void instances_snapshots_begin(struct instances *all)
{
	struct schedule *s = xnew(struct schedule);

	mutex_init(&s->lock);
	cond_init(&s->ended);
	all->schedule = s;
	loop_post(all->loop, begin, all);
}

void instances_snapshots_end(struct instances *all)
{
	struct schedule *s = all->schedule;

	if (!s)
		return;
	mutex_lock(&s->lock);
	s->stopped = true;
	while (s->working)
		cond_wait(&s->ended, &s->lock);
	mutex_unlock(&s->lock);
}
