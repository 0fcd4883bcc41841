/* Keeps the rules in force: puts back what others take away, and tells of others' chains that networks suffer from. */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "firewall/foreign.h"
#include "firewall/internal.h"

#define WARNING_REMOVED "Packet filters changed by another program"
#define WARNING_FOREIGN "Another firewall drops forwarded traffic"

static void warn(struct firewall *fw, const char *type, const char *severity, const char *entity, const char *message)
{
	if (fw->warn)
		fw->warn(fw->warn_arg, type, severity, entity, message);
}

/* --- ours --- */

/* 1: they were made anew; 0: there was no need. */
static int restore_locked(struct firewall *fw, unsigned what, struct error *err) REQUIRES(fw->lock)
{
	bool touched = what & FIREWALL_WATCH_OURS;
	int r;

	/* xtables: others' tables of our name are nothing to us */
	if (!fw->driver || !fw->driver->untouched)
		return 0;
	if (!touched && (what & FIREWALL_WATCH_LOST))
		touched = !fw->driver->untouched(fw->driver_data);
	if (!touched)
		return 0;
	r = fw->driver->all(fw->driver_data, &fw->state, err);
	return r < 0 ? r : 1;
}

static bool restore(struct firewall *fw, unsigned what, const char *who)
{
	auto_error struct error err = ERROR_INIT;
	auto_free char *message = NULL;
	int r;

	mutex_lock(&fw->lock);
	r = restore_locked(fw, what, &err);
	mutex_unlock(&fw->lock);
	if (r < 0) {
		log_error("packet filters were changed and cannot be put back", LOG_ERR(&err));
		warn(fw, FIREWALL_WARNING_NOT_IN_FORCE, "high", "", error_msg(&err));
		return false;
	}
	if (r == 0)
		return true;
	warn(fw, FIREWALL_WARNING_NOT_IN_FORCE, "high", "", NULL);
	if (what & FIREWALL_WATCH_OURS) {
		message = xasprintf("%s%s%s removed or changed packet filters of instances and networks; they were put "
				    "back at once",
				    *who ? "The program \"" : "Some program", who, *who ? "\"" : "");
		log_warn("packet filters were put back", LOG_STR("changed_by", who));
		warn(fw, WARNING_REMOVED, "moderate", "", message);
	}
	return true;
}

/* --- others' --- */

/* Copies of the networks that have an address, ended by NULL; each one and the list are the caller's to free. */
static struct firewall_network **copy_networks(struct firewall *fw, size_t *ret_n)
{
	const struct firewall_list *l;
	struct firewall_network **nets;
	size_t n = 0;

	mutex_lock(&fw->lock);
	l = &fw->state.lists[FIREWALL_NETWORK];
	nets = xnew_array(struct firewall_network *, l->len + 1);
	for (size_t i = 0; i < l->len; i++)
		nets[n++] = firewall_network_copy(l->items[i]);
	mutex_unlock(&fw->lock);
	*ret_n = n;
	return nets;
}

static char *entity_of(const char *network)
{
	return xasprintf("/1.0/networks/%s", network);
}

static void resolve(struct firewall *fw, const char *network)
{
	auto_free char *entity = entity_of(network);

	warn(fw, WARNING_FOREIGN, "moderate", entity, NULL);
}

/* Warn of each network with a message that is new; where there was one, it is over. */
static void tell(struct firewall *fw, const struct foreign *f)
{
	struct strmap now = STRMAP_INIT;

	for (size_t i = 0; i < f->n_nets; i++) {
		const char *name = f->nets[i]->name;
		auto_free char *message = foreign_message(f, i);
		auto_free char *entity = entity_of(name);

		if (message && !streq(message, strmap_get_or(&fw->warned, name, "")))
			warn(fw, WARNING_FOREIGN, "moderate", entity, message);
		else if (!message && !fw->has_checked)
			resolve(fw, name); /* an earlier daemon may have warned */
		strmap_set(&now, name, message);
	}
	for (size_t i = 0; i < fw->warned.len; i++)
		if (!strmap_get(&now, fw->warned.items[i].key))
			resolve(fw, fw->warned.items[i].key);
	strmap_done(&fw->warned);
	fw->warned = now;
	fw->has_checked = true;
}

static void check_foreign(struct firewall *fw)
{
	CLEANUP(foreign_done) struct foreign f = {0};
	auto_error struct error err = ERROR_INIT;
	struct firewall_network **nets = copy_networks(fw, &f.n_nets);

	f.nets = (const struct firewall_network *const *)nets;
	if (foreign_read(&f, &err) == 0)
		tell(fw, &f);
	else
		log_warn("other firewalls are not known", LOG_ERR(&err));
	for (size_t i = 0; i < f.n_nets; i++)
		free(nets[i]);
	free(nets);
}

/* In the watch's thread. */
static bool on_change(void *arg, unsigned what, const char *who)
{
	struct firewall *fw = arg;

	if (what & FIREWALL_WATCH_OTHERS)
		check_foreign(fw);
	return what & (FIREWALL_WATCH_OURS | FIREWALL_WATCH_LOST) ? restore(fw, what, who) : true;
}

void firewall_watching_start(struct firewall *fw)
{
	auto_error struct error err = ERROR_INIT;

	if (!fw->watch && firewall_watch_new(on_change, fw, &fw->watch, &err) < 0)
		log_info("changes of packet filters by others are not watched", LOG_ERR(&err));
	firewall_watching_check(fw);
}

void firewall_watching_check(struct firewall *fw)
{
	if (fw->watch)
		firewall_watch_poke(fw->watch, FIREWALL_WATCH_OTHERS);
}
