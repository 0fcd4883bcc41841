/* What shall be in force, which driver puts it there, and when: see firewall.h. */
#include "firewall/firewall.h"

#include <linux/netfilter.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "firewall/internal.h"

/* In the order in which they are tried. */
static const struct firewall_driver *const drivers[] = {&firewall_driver_nftables, &firewall_driver_xtables};

/* --- choice --- */

static int start_named(const char *name, const struct firewall *fw, const struct firewall_driver **ret, void **ret_data,
		       struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		if (streq(drivers[i]->name, name)) {
			*ret = drivers[i];
			return drivers[i]->start(fw->reaper, ret_data, err);
		}
	}
	return error_set(err, 400, "Unknown firewall driver \"%s\"", name);
}

/* The driver of this name, or the first that works. 400. */
static int start_driver(const char *name, const struct firewall *fw, const struct firewall_driver **ret,
			void **ret_data, struct error *err)
{
	auto_strbuf struct strbuf reasons = STRBUF_INIT;

	if (!str_is_empty(name))
		return start_named(name, fw, ret, ret_data, err);
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		auto_error struct error e = ERROR_INIT;

		if (drivers[i]->start(fw->reaper, ret_data, &e) == 0) {
			*ret = drivers[i];
			return 0;
		}
		strbuf_appendf(&reasons, "%s%s", i ? "; " : "", error_msg(&e));
	}
	return error_set(err, 400, "No firewall driver works here: %s", strbuf_str(&reasons));
}

int firewall_new(const struct firewall_spec *spec, struct firewall **ret, struct error *err UNUSED) UNSHARED
{
	struct firewall *fw = xnew(struct firewall);
	auto_error struct error e = ERROR_INIT;

	fw->reaper = reaper_new(spec->loop);
	fw->warn = spec->warn;
	fw->warn_arg = spec->warn_arg;
	mutex_init(&fw->lock);
	if (start_driver(spec->driver, fw, &fw->driver, &fw->driver_data, &e) < 0) {
		log_warn("no packet filters", LOG_ERR(&e));
		fw->driver = NULL;
		fw->why = xstrdup(error_msg(&e));
	}
	fw->driver_name = fw->driver ? fw->driver->name : "none";
	*ret = fw;
	return 0;
}

void firewall_free(struct firewall *fw) UNSHARED
{
	if (!fw)
		return;
	firewall_watch_free(fw->watch);
	strmap_done(&fw->warned);
	if (fw->driver)
		fw->driver->stop(fw->driver_data);
	reaper_free(fw->reaper);
	firewall_state_done(&fw->state);
	free(fw->why);
	mutex_done(&fw->lock);
	free(fw);
}

const char *firewall_driver(struct firewall *fw)
{
	return fw->driver_name;
}

/* --- what is in force --- */

static bool subnet_needs_rules(const struct firewall_subnet *s)
{
	return s->address.addr.family != AF_UNSPEC && (s->nat || s->firewall);
}

static bool needs_rules(enum firewall_kind kind, const void *item)
{
	const struct firewall_network *n = item;

	return item && (kind != FIREWALL_NETWORK || subnet_needs_rules(&n->v4) || subnet_needs_rules(&n->v6));
}

static bool state_needs_rules(const struct firewall_state *s)
{
	for (size_t k = 0; k < FIREWALL_KINDS; k++)
		for (size_t i = 0; i < s->lists[k].len; i++)
			if (needs_rules(k, s->lists[k].items[i]))
				return true;
	return false;
}

static int no_driver(const struct firewall *fw, struct error *err) REQUIRES(fw->lock)
{
	return error_set(err, 400, "%s", fw->why);
}

struct search {
	const struct firewall_driver *driver;
	bool found;
};

static void look_at_chain(const struct nfnl_chain *chain, void *arg)
{
	struct search *s = arg;

	s->found = s->found || s->driver->is_own_chain(chain);
}

static bool has_rules_of(const struct firewall_driver *driver)
{
	auto_error struct error err = ERROR_INIT;
	struct search s = {.driver = driver};
	auto_close int sock = nfnl_open(0, &err);

	if (sock < 0 || nfnl_chains(sock, NFPROTO_UNSPEC, look_at_chain, &s, &err) < 0)
		error_ignore(&err, "a kernel without nftables holds none");
	return s.found;
}

static int clear(const struct firewall *fw, const struct firewall_driver *driver, struct error *err)
{
	static const struct firewall_state nothing;
	void *data = NULL;
	int r = driver->start(fw->reaper, &data, err);

	if (r < 0)
		return r;
	r = driver->all(data, &nothing, err);
	driver->stop(data);
	return r;
}

/* What a daemon left that used another driver and could not remove it. */
static void clear_others(struct firewall *fw) REQUIRES(fw->lock)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		auto_error struct error err = ERROR_INIT;

		if (drivers[i] != fw->driver && has_rules_of(drivers[i]) && clear(fw, drivers[i], &err) < 0)
			log_warn("old rules stay", LOG_STR("driver", drivers[i]->name), LOG_ERR(&err));
	}
}

int firewall_start(struct firewall *fw, struct error *err)
{
	int r = 0;

	mutex_lock(&fw->lock);
	fw->started = true;
	/* first, so that nothing is missed */
	firewall_watching_start(fw);
	if (fw->driver)
		r = fw->driver->all(fw->driver_data, &fw->state, err);
	else if (state_needs_rules(&fw->state))
		r = no_driver(fw, err);
	if (fw->driver && r == 0)
		clear_others(fw);
	mutex_unlock(&fw->lock);
	return r < 0 ? error_wrap(err, "Put the packet filters in force") : 0;
}

static int apply(struct firewall *fw, enum firewall_kind kind, const void *before, const void *after, struct error *err)
	REQUIRES(fw->lock)
{
	if (!fw->started)
		return 0;
	if (fw->driver)
		return fw->driver->change(fw->driver_data, &fw->state, kind, before, after, err);
	return needs_rules(kind, after) ? no_driver(fw, err) : 0;
}

/* Note @item (owned; NULL: nothing) in place of the one with this key, and put it in force; or leave all as it was. */
static int change(struct firewall *fw, enum firewall_kind kind, const char *key, void *item, struct error *err)
{
	struct firewall_list *list;
	void *before;
	int r = 0;

	mutex_lock(&fw->lock);
	list = &fw->state.lists[kind];
	before = firewall_list_take(list, key);
	if (item)
		firewall_list_put(list, item);
	if (before || item)
		r = apply(fw, kind, before, item, err);
	if (r < 0 && item)
		free(firewall_list_take(list, key));
	if (r < 0 && before)
		firewall_list_put(list, before);
	else
		free(before);
	if (kind == FIREWALL_NETWORK)
		firewall_watching_check(fw);
	mutex_unlock(&fw->lock);
	return r;
}

int firewall_network_set(struct firewall *fw, const struct firewall_network *n, struct error *err)
{
	int r = change(fw, FIREWALL_NETWORK, n->name, firewall_network_copy(n), err);

	return r < 0 ? error_wrap(err, "Set firewall rules of network \"%s\"", n->name) : 0;
}

int firewall_network_remove(struct firewall *fw, const char *name, struct error *err)
{
	int r = change(fw, FIREWALL_NETWORK, name, NULL, err);

	return r < 0 ? error_wrap(err, "Remove firewall rules of network \"%s\"", name) : 0;
}

int firewall_nic_check(struct firewall *fw, const struct firewall_nic *nic, struct error *err)
{
	int r;

	mutex_lock(&fw->lock);
	r = fw->driver ? fw->driver->check(fw->driver_data, FIREWALL_NIC, nic, err) : no_driver(fw, err);
	mutex_unlock(&fw->lock);
	return r;
}

int firewall_nic_set(struct firewall *fw, const struct firewall_nic *nic, struct error *err)
{
	int r = change(fw, FIREWALL_NIC, nic->label, firewall_nic_copy(nic), err);

	return r < 0 ? error_wrap(err, "Set packet filter of \"%s\"", nic->label) : 0;
}

int firewall_nic_remove(struct firewall *fw, const char *label, struct error *err)
{
	int r = change(fw, FIREWALL_NIC, label, NULL, err);

	return r < 0 ? error_wrap(err, "Remove packet filter of \"%s\"", label) : 0;
}

int firewall_routed_set(struct firewall *fw, const char *label, const char *host_if, struct error *err)
{
	int r = change(fw, FIREWALL_ROUTED, label, firewall_routed_new(label, host_if), err);

	return r < 0 ? error_wrap(err, "Set reverse path check of \"%s\"", label) : 0;
}

int firewall_routed_remove(struct firewall *fw, const char *label, struct error *err)
{
	int r = change(fw, FIREWALL_ROUTED, label, NULL, err);

	return r < 0 ? error_wrap(err, "Remove reverse path check of \"%s\"", label) : 0;
}

int firewall_rate_set(struct firewall *fw, const char *label, const char *host_if, uint64_t bytes_per_second,
		      struct error *err)
{
	int r = change(fw, FIREWALL_RATE, label, firewall_rate_new(label, host_if, bytes_per_second), err);

	return r < 0 ? error_wrap(err, "Set rate limit of \"%s\"", label) : 0;
}

int firewall_rate_remove(struct firewall *fw, const char *label, struct error *err)
{
	int r = change(fw, FIREWALL_RATE, label, NULL, err);

	return r < 0 ? error_wrap(err, "Remove rate limit of \"%s\"", label) : 0;
}

/* --- another driver --- */

/* Rules by the new driver first, then none by the old: in between there are both. */
static int move_rules(struct firewall *fw, const struct firewall_driver *to, void *to_data, struct error *err)
	REQUIRES(fw->lock)
{
	static const struct firewall_state nothing;
	auto_error struct error e = ERROR_INIT;
	int r = to->all(to_data, &fw->state, err);

	if (r < 0) {
		if (to->all(to_data, &nothing, &e) < 0)
			log_warn("some rules stay", LOG_STR("driver", to->name), LOG_ERR(&e));
		return error_status(err, 400);
	}
	if (fw->driver && fw->driver->all(fw->driver_data, &nothing, &e) < 0)
		log_warn("some rules stay", LOG_STR("driver", fw->driver->name), LOG_ERR(&e));
	return 0;
}

static int take_driver(struct firewall *fw, const char *name, struct error *err) REQUIRES(fw->lock)
{
	const struct firewall_driver *driver = NULL;
	void *data = NULL;
	int r = start_driver(name, fw, &driver, &data, err);

	if (r < 0)
		return r;
	if (driver == fw->driver) {
		driver->stop(data);
		return 0;
	}
	r = fw->started ? move_rules(fw, driver, data, err) : 0;
	if (r < 0) {
		driver->stop(data);
		return r;
	}
	if (fw->driver)
		fw->driver->stop(fw->driver_data);
	fw->driver = driver;
	fw->driver_data = data;
	fw->driver_name = driver->name;
	if (fw->started)
		clear_others(fw);
	return 0;
}

int firewall_set_driver(struct firewall *fw, const char *driver, struct error *err)
{
	int r;

	mutex_lock(&fw->lock);
	r = take_driver(fw, driver, err);
	mutex_unlock(&fw->lock);
	return r;
}
