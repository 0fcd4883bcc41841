/*
 * NICs of running containers: plugged in, changed in place, unplugged. A change has steps that are undone when a later
 * one fails, so that the container keeps what it had.
 */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "instance/netstate.h"
#include "instance/nics.h"

/* The container that NICs go into. */
struct target {
	struct instance *i;
	int netns;
	struct link_ns *inside; /* opened when it is needed: that costs a process */
};

static void target_done(struct target *t)
{
	if (t->netns >= 0)
		close(t->netns);
	link_ns_free(t->inside);
}

static int open_target(struct target *t, struct error *err)
{
	struct instance *i = t->i;
	auto_close int pidfd = -EBADF;
	pid_t pid;

	mutex_lock(&i->all->lock);
	pidfd = i->proc.init_pidfd >= 0 ? fcntl(i->proc.init_pidfd, F_DUPFD_CLOEXEC, 3) : -EBADF;
	pid = i->proc.init_pid;
	mutex_unlock(&i->all->lock);
	if (pidfd < 0)
		return error_set(err, 400, "Instance is not running");
	t->netns = netstate_open_namespace(pidfd, pid, err);
	return t->netns < 0 ? t->netns : 0;
}

static int need_inside(struct target *t, struct error *err)
{
	int sock = -EBADF;
	int r = t->inside ? 0 : container_net_socket(t->i->all->host, t->netns, &sock, err);

	if (r == 0 && !t->inside)
		t->inside = link_ns_from_socket(sock);
	return r;
}

static void row_volatile(struct instance *i, struct strmap *ret)
{
	mutex_lock(&i->all->lock);
	strmap_copy(ret, &i->row.volatile_);
	mutex_unlock(&i->all->lock);
}

/* Once a card is inside. */
static int keep_inside(struct target *t, struct error *err)
{
	int r = need_inside(t, err);

	if (r < 0)
		return r;
	link_ns_free(t->i->inside);
	t->i->inside = TAKE_PTR(t->inside);
	return 0;
}

/* --- one NIC --- */

static int unplug(struct target *t, const struct nic *n, struct error *err)
{
	auto_strmap struct strmap volatile_ = STRMAP_INIT;
	auto_strmap struct strmap changes = STRMAP_INIT;
	auto_error struct error later = ERROR_INIT;
	int r = 0;

	row_volatile(t->i, &volatile_);
	if (t->i->inside)
		r = nic_unplug(t->i->all->networks, n, t->i->inside, err);
	if (r == 0 && (n->type == NIC_MACVLAN || n->type == NIC_PHYSICAL))
		r = need_inside(t, err);
	if (r == 0)
		r = nic_unplug(t->i->all->networks, n, t->inside, err);
	if (r < 0)
		return r;
	r = nic_stop(t->i->all->networks, n, &volatile_, &changes, err);
	if (instance_save_volatile(t->i, &changes, false, &later) < 0 && r == 0)
		r = error_move(err, &later);
	return r;
}

static int move_in(struct target *t, const struct nic *n, const struct nic_guest *g, struct error *err)
{
	int r = g->inside || g->n_addresses ? need_inside(t, err) : 0;

	if (r == 0)
		r = nic_plug(t->i->all->networks, g, t->netns, t->inside, err);
	if (r == 0)
		r = nic_complete(t->i->all->networks, n, err);
	return r < 0 || n->type != NIC_PHYSICAL ? r : keep_inside(t, err);
}

/* @n->host_name is filled. */
static int plug(struct target *t, struct nic *n, struct error *err)
{
	struct networks *networks = t->i->all->networks;
	auto_strmap struct strmap changes = STRMAP_INIT;
	CLEANUP(nic_guest_done) struct nic_guest g = {0};
	auto_error struct error undo = ERROR_INIT;
	int r = nic_prepare(networks, n, &changes, err);

	if (r == 0)
		r = instance_save_volatile(t->i, &changes, false, err);
	if (r < 0)
		return r;
	r = nic_start(networks, n, t->netns, &g, err);
	if (r == 0) {
		r = move_in(t, n, &g, err);
		if (r == 0)
			return 0;
		if (unplug(t, n, &undo) == 0)
			return r;
	} else {
		for (size_t k = 0; k < changes.len; k++)
			strmap_set(&changes, changes.items[k].key, "");
		if (instance_save_volatile(t->i, &changes, false, &undo) == 0)
			return r;
	}
	log_error("network device that could not be added stays", LOG_STR("nic", n->label), LOG_ERR(&undo));
	return r;
}

/* In place. What either version has on other interfaces is noted until it is done. */
static int update(struct instance *i, const struct nic *before, const struct nic *after, struct error *err)
{
	auto_strmap struct strmap old = STRMAP_INIT;
	auto_strmap struct strmap new = STRMAP_INIT;
	auto_strmap struct strmap both = STRMAP_INIT;
	auto_error struct error later = ERROR_INIT;
	bool noted;
	int r = 0;

	nic_note(before, NULL, &old);
	nic_note(after, NULL, &new);
	nic_note(before, after, &both);
	noted = !strmap_equal(&old, &new);
	if (noted)
		r = instance_save_volatile(i, &both, false, err);
	if (r < 0)
		return r;
	r = nic_update(i->all->networks, before, after, err);
	/* when this fails more is noted than is there, which is fine */
	if (noted && instance_save_volatile(i, r < 0 ? &old : &new, false, &later) < 0)
		log_warn("volatile keys of a network device stay", LOG_STR("nic", after->label), LOG_ERR(&later));
	return r;
}

/* --- a change of several --- */

enum nic_change_kind { NIC_REMOVE, NIC_ADD, NIC_UPDATE };

struct change {
	const char *device;
	struct nic before;
	struct nic after;
	bool has_before;
	bool has_after;
	bool in_place;
};

struct changes {
	struct change *items;
	size_t n;
};

static void changes_done(struct changes *c)
{
	for (size_t k = 0; k < c->n; k++) {
		nic_done(&c->items[k].before);
		nic_done(&c->items[k].after);
	}
	free(c->items);
}

/* The hardware address may be among the volatile keys. */
static bool is_unchanged(const char *device, const struct strmap *old, const struct strmap *new,
			 const struct strmap *old_config, const struct strmap *new_config)
{
	auto_free char *key = nic_key(device, "hwaddr");

	return old && new &&strmap_equal(old, new) &&
	       streq(strmap_get_or(old_config, key, ""), strmap_get_or(new_config, key, ""));
}

static int read_before(struct instance *i, struct change *c, const struct strmap *options,
		       const struct strmap *volatile_, struct error *err)
{
	c->has_before = true;
	return nics_read(i, c->device, options, volatile_, &c->before, err);
}

/* A new one has not got its name on the host yet; one that changes in place keeps it. */
static int read_after(struct instance *i, struct change *c, const struct strmap *options, const struct strmap *config,
		      const struct strmap *volatile_, struct error *err)
{
	auto_strmap struct strmap now = STRMAP_INIT;

	strmap_copy(&now, config);
	nic_keys_keep_own(&now, c->in_place ? volatile_ : &(struct strmap){0});
	c->has_after = true;
	return nics_read(i, c->device, options, &now, &c->after, err);
}

/* What differs for device @name between the two; nothing is done yet. */
static int add_change(struct instance *i, struct changes *list, const char *name,
		      const struct instance_expanded *before, const struct instance_expanded *after,
		      const struct strmap *volatile_, struct error *err)
{
	const struct strmap *old = mapmap_get(&before->devices, name);
	const struct strmap *new = mapmap_get(&after->devices, name);
	struct change *c = &list->items[list->n];
	int r = 0;

	old = device_is_nic(old) ? old : NULL;
	new = device_is_nic(new) ? new : NULL;
	if ((!old && !new) || is_unchanged(name, old, new, &before->config, &after->config))
		return 0;
	list->n++;
	c->device = name;
	c->in_place = old && new && !strmap_equal(old, new) && nic_change_is_live(old, new);
	if (old)
		r = read_before(i, c, old, volatile_, err);
	if (r == 0 && new)
		r = read_after(i, c, new, &after->config, volatile_, err);
	return r < 0 ? error_wrap(err, "Failed %s validation for device \"%s\"", old && new ? "update" : "add", name)
		     : 0;
}

static int collect(struct instance *i, struct changes *list, const struct instance_expanded *before,
		   const struct instance_expanded *after, struct error *err)
{
	auto_strmap struct strmap volatile_ = STRMAP_INIT;
	int r = 0;

	row_volatile(i, &volatile_);
	list->items = xnew_array(struct change, before->devices.len + after->devices.len);
	for (size_t k = 0; k < before->devices.len && r == 0; k++)
		r = add_change(i, list, before->devices.items[k].key, before, after, &volatile_, err);
	for (size_t k = 0; k < after->devices.len && r == 0; k++)
		if (!mapmap_get(&before->devices, after->devices.items[k].key))
			r = add_change(i, list, after->devices.items[k].key, before, after, &volatile_, err);
	return r;
}

static bool has_step(const struct change *c, enum nic_change_kind kind)
{
	switch (kind) {
	case NIC_REMOVE:
		return c->has_before && !c->in_place;
	case NIC_ADD:
		return c->has_after && !c->in_place;
	case NIC_UPDATE:
		return c->in_place;
	}
	return false;
}

static int do_step(struct target *t, struct change *c, enum nic_change_kind kind, struct error *err)
{
	int r;

	switch (kind) {
	case NIC_REMOVE:
		r = *c->before.host_name ? unplug(t, &c->before, err) : 0;
		return r < 0 ? error_wrap(err, "Failed to stop device \"%s\"", c->device) : 0;
	case NIC_ADD:
		r = plug(t, &c->after, err);
		return r < 0 ? error_wrap(err, "Failed to start device \"%s\"", c->device) : 0;
	case NIC_UPDATE:
		r = update(t->i, &c->before, &c->after, err);
		return r < 0 ? error_wrap(err, "Failed to update device \"%s\"", c->device) : 0;
	}
	return 0;
}

static void undo_step(struct target *t, struct change *c, enum nic_change_kind kind)
{
	auto_error struct error err = ERROR_INIT;
	int r = 0;

	switch (kind) {
	case NIC_REMOVE:
		r = plug(t, &c->before, &err);
		break;
	case NIC_ADD:
		r = unplug(t, &c->after, &err);
		break;
	case NIC_UPDATE:
		r = update(t->i, &c->after, &c->before, &err);
		break;
	}
	if (r < 0)
		log_error("network device could not be put back", LOG_STR("instance", t->i->row.name),
			  LOG_STR("device", c->device), LOG_ERR(&err));
}

struct step {
	struct change *change;
	enum nic_change_kind kind;
};

/* Removals in reverse order, then additions, then changes in place. */
static size_t order_steps(struct changes *list, struct step *ret)
{
	size_t n = 0;

	for (size_t k = list->n; k-- > 0;)
		if (has_step(&list->items[k], NIC_REMOVE))
			ret[n++] = (struct step){&list->items[k], NIC_REMOVE};
	for (enum nic_change_kind kind = NIC_ADD; kind <= NIC_UPDATE; kind++)
		for (size_t k = 0; k < list->n; k++)
			if (has_step(&list->items[k], kind))
				ret[n++] = (struct step){&list->items[k], kind};
	return n;
}

static int apply(struct target *t, struct changes *list, struct error *err)
{
	auto_free struct step *steps = xnew_array(struct step, 2 * list->n);
	size_t n = order_steps(list, steps), done;
	int r = 0;

	for (done = 0; done < n; done++) {
		r = do_step(t, steps[done].change, steps[done].kind, err);
		if (r < 0)
			break;
	}
	while (r < 0 && done-- > 0)
		undo_step(t, steps[done].change, steps[done].kind);
	return r;
}

int nics_apply_live(struct instance *i, const struct instance_expanded *before, const struct instance_expanded *after,
		    struct error *err)
{
	CLEANUP(target_done) struct target t = {.i = i, .netns = -EBADF};
	CLEANUP(changes_done) struct changes list = {0};
	int r = collect(i, &list, before, after, err);

	if (r < 0 || list.n == 0)
		return r;
	r = open_target(&t, err);
	return r < 0 ? r : apply(&t, &list, err);
}

/* --- after a reboot of the container --- */

/* A NIC that was added while the container ran has gone with the network namespace before. */
static int plug_again(struct target *t, const char *device, const struct strmap *options,
		      const struct strmap *volatile_, struct error *err)
{
	auto_nic struct nic n = NIC_INIT;
	int r = nics_read(t->i, device, options, volatile_, &n, err);

	if (r == 0)
		r = need_inside(t, err);
	if (r == 0)
		r = nic_is_inside(&n, t->inside, err);
	if (r != 0)
		return MIN_OF(r, 0);
	r = unplug(t, &n, err);
	return r < 0 ? r : plug(t, &n, err);
}

void nics_after_reboot(struct instance *i, int init_pidfd, pid_t init_pid)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
	CLEANUP(target_done) struct target t = {.i = i, .netns = -EBADF};
	auto_error struct error err = ERROR_INIT;
	int r = 0;

	nics_expand(i, &x);
	for (size_t k = 0; k < x.devices.len; k++) {
		const struct mapmap_item *d = &x.devices.items[k];

		if (!device_is_nic(&d->map))
			continue;
		if (t.netns < 0)
			t.netns = netstate_open_namespace(init_pidfd, init_pid, &err);
		r = MIN_OF(t.netns, 0);
		if (r == 0)
			r = plug_again(&t, d->key, &d->map, &x.config, &err);
		if (r < 0)
			log_error("network device is missing after a reboot", LOG_STR("instance", i->row.name),
				  LOG_STR("device", d->key), LOG_ERR(&err));
		error_clear(&err);
	}
}

/* --- after a restart of the daemon --- */

/* A macvlan may be in the container already. */
static int sweep_one(struct instance *i, struct target *t, const char *device, const struct strmap *volatile_,
		     const char *label, struct strmap *changes, struct error *err)
{
	struct networks *networks = i->all->networks;
	int r = t->netns < 0 ? open_target(t, err) : 0;

	if (r == 0)
		r = need_inside(t, err);
	if (r == 0)
		r = nic_unplug_unknown(networks, device, volatile_, t->inside, err);
	return r < 0 ? r : nic_sweep(networks, label, device, volatile_, changes, err);
}

/* Of a running instance: what a crash left of NICs that are not its own (any more). */
static void sweep_unknown(struct instance *i, const struct instance_expanded *x)
{
	CLEANUP(target_done) struct target t = {.i = i, .netns = -EBADF};
	auto_free char *full = instance_lxc_name(i);
	auto_strmap struct strmap changes = STRMAP_INIT;
	auto_strv struct strv noted = STRV_INIT;
	auto_error struct error err = ERROR_INIT;

	nic_keys_noted(&x->config, &noted);
	for (size_t k = 0; k < noted.len; k++) {
		auto_free char *label = xasprintf("%s.%s", full, noted.items[k]);

		if (device_is_nic(mapmap_get(&x->devices, noted.items[k])))
			continue;
		if (sweep_one(i, &t, noted.items[k], &x->config, label, &changes, &err) < 0)
			log_error("network device of a cut change stays", LOG_STR("nic", label), LOG_ERR(&err));
		error_clear(&err);
	}
	if (changes.len && instance_save_volatile(i, &changes, false, &err) < 0)
		log_error("volatile keys of a cut change stay", LOG_STR("instance", full), LOG_ERR(&err));
}

/* A card that liblxc does not know of has to be taken out by us. */
static int keep_card(struct instance *i, struct error *err)
{
	CLEANUP(target_done) struct target t = {.i = i, .netns = -EBADF};
	int r = open_target(&t, err);

	return r < 0 ? r : keep_inside(&t, err);
}

/* Its filters and routes again; a NIC that is not there is for repair_one(). */
static void resume_running(struct instance *i)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};

	nics_expand(i, &x);
	for (size_t k = 0; k < x.devices.len; k++) {
		const struct mapmap_item *d = &x.devices.items[k];
		auto_error struct error err = ERROR_INIT;
		auto_nic struct nic n = NIC_INIT;
		int r;

		if (!device_is_nic(&d->map))
			continue;
		r = nics_read(i, d->key, &d->map, &x.config, &n, &err);
		if (r == 0)
			r = nic_resume(i->all->networks, &n, &x.config, &err);
		if (r == 1 && n.type == NIC_PHYSICAL)
			r = keep_card(i, &err);
		if (r < 0)
			log_error("network device is not as it should be", LOG_STR("instance", i->row.name),
				  LOG_STR("device", d->key), LOG_ERR(&err));
	}
	sweep_unknown(i, &x);
}

static void clean_stopped(struct instance *i)
{
	auto_strmap struct strmap changes = STRMAP_INIT;
	auto_error struct error err = ERROR_INIT;

	nics_stop(i, &changes);
	if (changes.len && instance_save_volatile(i, &changes, false, &err) < 0)
		log_error("volatile keys of a stopped instance stay", LOG_STR("instance", i->row.name), LOG_ERR(&err));
}

/* A macvlan leaves nothing on the host that tells whether it is in the container, or was never made. */
static int is_in_place(struct target *t, const struct nic *n, struct error *err)
{
	int r = nic_is_in_place(t->i->all->networks, n, err);

	if (r <= 0 || n->type != NIC_MACVLAN)
		return r;
	r = open_target(t, err);
	if (r == 0)
		r = need_inside(t, err);
	return r < 0 ? r : nic_is_inside(n, t->inside, err);
}

/* A NIC that a cut change has taken out of a running container. */
static void repair_one(struct instance *i, const char *device, const struct strmap *options,
		       const struct strmap *volatile_)
{
	CLEANUP(target_done) struct target t = {.i = i, .netns = -EBADF};
	auto_strmap struct strmap changes = STRMAP_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_nic struct nic n = NIC_INIT;
	int r = nics_read(i, device, options, volatile_, &n, &err);

	if (r == 0)
		r = is_in_place(&t, &n, &err);
	if (r == 1)
		return;
	if (r == 0 && t.inside) /* the one of a cut replacement */
		r = nic_unplug(i->all->networks, &n, t.inside, &err);
	if (r == 0)
		r = nic_stop(i->all->networks, &n, volatile_, &changes, &err);
	if (r == 0 && t.netns < 0)
		r = open_target(&t, &err);
	if (r == 0)
		r = plug(&t, &n, &err);
	if (r < 0)
		log_error("network device of a running instance is missing", LOG_STR("instance", i->row.name),
			  LOG_STR("device", device), LOG_ERR(&err));
}

static void repair_running(struct instance *i)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};

	nics_expand(i, &x);
	for (size_t k = 0; k < x.devices.len; k++)
		if (device_is_nic(&x.devices.items[k].map))
			repair_one(i, x.devices.items[k].key, &x.devices.items[k].map, &x.config);
}

static void for_each(struct instances *all, void (*running)(struct instance *i), void (*stopped)(struct instance *i))
{
	struct instance **list;
	size_t n = instances_snapshot(all, &list);

	for (size_t k = 0; k < n; k++) {
		void (*fn)(struct instance * i);

		mutex_lock(&list[k]->busy);
		fn = instance_state(list[k]) == CONTAINER_STOPPED ? stopped : running;
		if (fn)
			fn(list[k]);
		mutex_unlock(&list[k]->busy);
		instance_unref(list[k]);
	}
	free(list);
}

void instances_resume_nics(struct instances *all)
{
	for_each(all, resume_running, clean_stopped);
}

void instances_repair_nics(struct instances *all)
{
	for_each(all, repair_running, NULL);
}
