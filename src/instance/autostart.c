/* With the daemon: which instances start when it does, in what order, and how all stop before it ends. */
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "instance/instance_internal.h"

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
