#include "network/network.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "network/network_internal.h"

#define RETRY_MS (60 * 1000)
#define WARNING_UNAVAILABLE "Network unavailable"

/* --- the list --- */

static struct network *find_locked(struct networks *all, const char *name) REQUIRES(all->lock)
{
	for (size_t i = 0; i < all->n; i++)
		if (streq(all->list[i]->name, name))
			return all->list[i];
	return NULL;
}

struct network *network_find(struct networks *all, const char *name)
{
	struct network *n;

	mutex_lock(&all->lock);
	n = find_locked(all, name);
	mutex_unlock(&all->lock);
	return n;
}

struct network *network_add(struct networks *all, const char *name)
{
	const struct dnsmasq_spec spec = {
		.loop = all->loop, .dir = all->dir, .logs = all->logs, .warn = all->warn, .warn_arg = all->warn_arg};
	struct network *n = xnew(struct network);

	n->name = xstrdup(name);
	n->dnsmasq = dnsmasq_new(&spec, name);
	mutex_lock(&all->lock);
	all->list = xreallocarray(all->list, all->n + 1, sizeof(*all->list));
	all->list[all->n++] = n;
	mutex_unlock(&all->lock);
	return n;
}

void network_drop(struct networks *all, struct network *n)
{
	mutex_lock(&all->lock);
	for (size_t i = 0; i < all->n; i++) {
		if (all->list[i] != n)
			continue;
		memmove(&all->list[i], &all->list[i + 1], (all->n - i - 1) * sizeof(*all->list));
		all->n--;
		break;
	}
	mutex_unlock(&all->lock);
	dnsmasq_free(n->dnsmasq);
	free(n->name);
	free(n);
}

void network_set_available(struct networks *all, struct network *n, bool available)
{
	mutex_lock(&all->lock);
	n->available = available;
	mutex_unlock(&all->lock);
}

int networks_new(const struct networks_spec *spec, struct networks **ret, struct error *err)
{
	struct networks *all = xnew(struct networks);

	(void)err;
	all->dir = path_join(spec->lxd_dir, "networks");
	all->logs = path_join(spec->lxd_dir, "logs");
	all->store = spec->store;
	all->loop = spec->loop;
	all->firewall = spec->firewall;
	all->links = spec->links;
	all->warn = spec->warn;
	all->warn_arg = spec->warn_arg;
	mutex_init(&all->change);
	mutex_init(&all->lock);
	mutex_lock(&all->store->lock);
	for (size_t i = 0; i < all->store->n_networks; i++)
		network_add(all, all->store->networks[i]->name);
	mutex_unlock(&all->store->lock);
	*ret = all;
	return 0;
}

void networks_free(struct networks *all) UNSHARED
{
	if (!all)
		return;
	while (all->n)
		network_drop(all, all->list[0]);
	free(all->list);
	mutex_done(&all->change);
	mutex_done(&all->lock);
	free(all->dir);
	free(all->logs);
	free(all);
}

void networks_on_change(struct networks *all, network_check_fn check, void *arg)
{
	all->check = check;
	all->check_arg = arg;
}

void networks_on_up(struct networks *all, network_up_fn fn, void *arg)
{
	all->on_up = fn;
	all->up_arg = arg;
}

void networks_on_available(struct networks *all, network_available_fn fn, void *arg)
{
	all->on_available = fn;
	all->available_arg = arg;
}

struct link_ns *networks_links(struct networks *all)
{
	return all->links;
}

struct firewall *networks_firewall(struct networks *all)
{
	return all->firewall;
}

struct dnsmasq *networks_dnsmasq(struct networks *all, const char *name)
{
	struct network *n = network_find(all, name);

	return n ? n->dnsmasq : NULL;
}

/* 1 available, 0 not, -1 there is none. */
static int availability(struct networks *all, const char *name)
{
	const struct network *n;
	int r;

	mutex_lock(&all->lock);
	n = find_locked(all, name);
	r = n ? n->available : -1;
	mutex_unlock(&all->lock);
	return r;
}

int networks_available(struct networks *all, const char *name, struct error *err)
{
	int r = availability(all, name);

	if (r < 0)
		return error_set(err, 404, "Network not found");
	return r ? 0 : error_set(err, 503, "Network \"%s\" unavailable on this server", name);
}

const char *networks_status(struct networks *all, const char *name)
{
	const struct db_network *row;
	enum db_phase phase = DB_CREATING;

	mutex_lock(&all->store->lock);
	row = store_network_locked(all->store, name);
	if (row)
		phase = row->phase;
	mutex_unlock(&all->store->lock);
	if (!row)
		return "Unknown";
	if (phase != DB_READY)
		return "Pending";
	return availability(all, name) > 0 ? "Created" : "Unavailable";
}

void network_set_up(struct networks *all, struct network *n)
{
	network_set_available(all, n, true);
	if (all->on_up)
		all->on_up(all->up_arg, n->name);
}

void network_tell(struct networks *all, const char *name, const char *message)
{
	if (all->warn)
		all->warn(all->warn_arg, WARNING_UNAVAILABLE, "high", name, message);
}

/* --- start and end of the daemon --- */

static int start_one(struct networks *all, struct network *n, struct error *err)
{
	CLEANUP(db_network_done) struct db_network row = {0};
	int r = store_network_dup(all->store, n->name, &row, err);

	if (r < 0)
		return r;
	/* what a daemon that died had begun: a network that nobody was told of goes, as does one that was to go */
	if (row.phase == DB_CREATING || row.phase == DB_DELETING)
		return network_remove_all(all, &row, n, err);
	if (row.phase == DB_RENAMING)
		return network_undo_rename(all, &row, n, err);
	r = network_bring_up(all, &row, n->dnsmasq, NULL, err);
	if (r == 0)
		network_set_up(all, n);
	else
		network_set_available(all, n, false);
	return r;
}

/* Start what is not available; the names of those that are now are added. True: some are not. */
static bool start_all(struct networks *all, struct strv *started)
{
	auto_strv struct strv names = STRV_INIT;
	bool failed = false;

	mutex_lock(&all->lock);
	for (size_t i = 0; i < all->n; i++)
		if (!all->list[i]->available)
			strv_add(&names, all->list[i]->name);
	mutex_unlock(&all->lock);
	for (size_t i = 0; i < names.len; i++) {
		auto_error struct error err = ERROR_INIT;

		if (start_one(all, network_find(all, names.items[i]), &err) < 0) {
			log_error("cannot start network", LOG_STR("network", names.items[i]), LOG_ERR(&err));
			network_tell(all, names.items[i], error_msg(&err));
			failed = true;
		} else {
			network_tell(all, names.items[i], NULL);
			strv_add(started, names.items[i]);
		}
	}
	return failed;
}

static void *retry_thread(void *arg);

static void on_retry(void *arg)
{
	auto_error struct error err = ERROR_INIT;
	struct networks *all = arg;

	all->retry = NULL;
	if (thread_start("networks", retry_thread, all, &err) < 0) {
		log_error("cannot start networks again", LOG_ERR(&err));
		all->retry = loop_timer_add(all->loop, RETRY_MS, on_retry, all);
	}
}

static void set_retry(void *arg)
{
	struct networks *all = arg;

	if (!all->retry)
		all->retry = loop_timer_add(all->loop, RETRY_MS, on_retry, all);
}

static void *retry_thread(void *arg)
{
	auto_strv struct strv started = STRV_INIT;
	struct networks *all = arg;
	bool failed;

	mutex_lock(&all->change);
	failed = start_all(all, &started);
	mutex_unlock(&all->change);
	if (failed)
		loop_post(all->loop, set_retry, all);
	for (size_t i = 0; all->on_available && i < started.len; i++)
		all->on_available(all->available_arg, started.items[i]);
	return NULL;
}

void networks_start(struct networks *all)
{
	auto_strv struct strv started = STRV_INIT;
	bool failed;

	mutex_lock(&all->change);
	failed = start_all(all, &started);
	mutex_unlock(&all->change);
	if (failed)
		loop_post(all->loop, set_retry, all);
}

void networks_quiesce(struct networks *all) TSA(no_thread_safety_analysis)
{
	mutex_lock(&all->change); /* for good */
}

void networks_shutdown(struct networks *all)
{
	auto_strv struct strv names = STRV_INIT;

	mutex_lock(&all->lock);
	for (size_t i = 0; i < all->n; i++)
		strv_add(&names, all->list[i]->name);
	mutex_unlock(&all->lock);
	for (size_t i = 0; i < names.len; i++) {
		CLEANUP(db_network_done) struct db_network row = {0};
		auto_error struct error err = ERROR_INIT;
		struct network *n = network_find(all, names.items[i]);

		network_set_available(all, n, false);
		if (store_network_dup(all->store, n->name, &row, &err) < 0 ||
		    network_take_down(all, &row, n->dnsmasq, &err) < 0)
			log_error("cannot take network down", LOG_STR("network", n->name), LOG_ERR(&err));
	}
}
