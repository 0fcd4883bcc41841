/*
 * NICs at the commit point: their networks, and what excludes them from each other there. Other instances' NICs are
 * looked at where they lie, without expanding anything: every change asks this of all of them.
 */
#include "instance/nic_check.h"

#include "base/alloc.h"
#include "base/str.h"
#include "network/nic.h"

static bool is_nic(const struct strmap *device)
{
	return device && streq(strmap_get_or(device, "type", ""), "nic");
}

/* --- devices in force, by reference --- */

/* The profile number @k of @row. */
static const struct db_profile *profile_of(struct instances *all, const struct db_instance *row, size_t k,
					   const struct db_profile *override)
{
	const char *name = row->profiles.items[k];
	const char *home;

	mutex_is_held(&all->store->lock);
	home = store_effective_project_locked(all->store, row->project, PROJECT_PROFILES);
	if (override && streq(override->name, name) && streq(override->project, home))
		return override;
	return store_profile_locked(all->store, home, name);
}

/* Device @name of one of the profiles from number @from on; the last one counts. */
static const struct strmap *device_of_profiles(struct instances *all, const struct db_instance *row, size_t from,
					       const struct db_profile *override, const char *name)
{
	for (size_t k = row->profiles.len; k-- > from;) {
		const struct db_profile *p = profile_of(all, row, k, override);
		const struct strmap *device = p ? mapmap_get(&p->devices, name) : NULL;

		if (device)
			return device;
	}
	return NULL;
}

/* One of other instances' NICs. */
struct other {
	const struct nic *nic; /* what is being checked */
	const struct db_instance *row;
	const char *device;
	const struct strmap *options;
};

static int check_other(const struct other *o, struct error *err)
{
	const struct nic_owner owner = {o->row->project, o->row->name, o->device};

	return is_nic(o->options) ? nic_check_conflict(o->nic, &owner, o->options, &o->row->volatile_, err) : 0;
}

/* The store's lock is held: profiles are read where they are. */
static int check_instance_locked(struct instances *all, const struct nic *n, const struct db_instance *row,
				 const struct db_profile *override, struct error *err)
{
	int r = 0;

	for (size_t d = 0; d < row->devices.len && r == 0; d++)
		r = check_other(&(struct other){n, row, row->devices.items[d].key, &row->devices.items[d].map}, err);
	for (size_t k = 0; k < row->profiles.len && r == 0; k++) {
		const struct db_profile *p = profile_of(all, row, k, override);

		for (size_t d = 0; p && d < p->devices.len && r == 0; d++) {
			const struct mapmap_item *item = &p->devices.items[d];

			if (!mapmap_get(&row->devices, item->key) &&
			    !device_of_profiles(all, row, k + 1, override, item->key))
				r = check_other(&(struct other){n, row, item->key, &item->map}, err);
		}
	}
	return r;
}

static int check_others(struct instances *all, const struct nic_check *c, const struct nic *n, struct error *err)
	REQUIRES(all->lock)
{
	int r = 0;

	mutex_lock(&all->store->lock);
	for (size_t k = 0; k < all->n && r == 0; k++) {
		const struct db_instance *row = &all->list[k]->row;
		bool own = c->row->id && row->id == c->row->id;

		if (!own && row->phase != DB_DELETING)
			r = check_instance_locked(all, n, row, c->override, err);
	}
	mutex_unlock(&all->store->lock);
	return r;
}

/* --- the instance's own --- */

static const char *inner_name(const struct nic_check *c, const struct mapmap_item *nic)
{
	auto_free char *key = xasprintf("volatile.%s.name", nic->key);

	return strmap_get_or(&nic->map, "name", strmap_get_or(&c->row->volatile_, key, NULL));
}

static int check_own(const struct nic_check *c, const struct nic *n, const struct mapmap_item *nic, struct error *err)
{
	const char *name = inner_name(c, nic);
	int r = 0;

	for (size_t k = 0; k < c->devices->len && r == 0; k++) {
		const struct mapmap_item *item = &c->devices->items[k];
		const char *other = is_nic(&item->map) ? inner_name(c, item) : NULL;

		if (item == nic)
			continue;
		if (name && other && streq(name, other))
			return error_set(err, 400, "Duplicate NIC name detected \"%s\"", name);
		r = check_other(&(struct other){n, c->row, item->key, &item->map}, err);
	}
	return r;
}

/* --- one NIC --- */

/* It is as it was before the change, so that it conflicts with nothing that it did not before. */
static bool is_unchanged(struct instances *all, const struct nic_check *c, const struct mapmap_item *nic,
			 bool *ret_is_new)
{
	auto_free char *key = xasprintf("volatile.%s.hwaddr", nic->key);
	const struct strmap *before = NULL;
	bool same = false;

	if (c->old) {
		mutex_lock(&all->store->lock);
		before = mapmap_get(&c->old->devices, nic->key);
		if (!before)
			before = device_of_profiles(all, c->old, 0, NULL, nic->key);
		*ret_is_new = !is_nic(before);
		same = before && strmap_equal(before, &nic->map);
		mutex_unlock(&all->store->lock);
	} else {
		*ret_is_new = true;
	}
	return same && streq(strmap_get_or(&c->old->volatile_, key, ""), strmap_get_or(&c->row->volatile_, key, ""));
}

static bool needs_conflict_check(const struct nic_check *c, bool unchanged)
{
	return !unchanged || (c->reason != NIC_CHECK_UPDATE && c->reason != NIC_CHECK_PROFILE);
}

/* It does not fit its network. */
static int wrap_misfit(const struct nic_check *c, const char *device, struct error *err)
{
	if (c->reason == NIC_CHECK_START)
		return error_wrap(err, "Failed start validation for device \"%s\"", device);
	return error_wrap(err, "%s: Device validation failed for \"%s\"",
			  mapmap_get(&c->row->devices, device) ? "Invalid devices" : "Invalid expanded devices",
			  device);
}

/* It does not fit others. */
static int wrap_conflict(const struct nic_check *c, const char *device, bool is_new, struct error *err)
{
	const char *step = is_new ? "add" : "update";

	return error_wrap(err, "Failed %s validation for device \"%s\"", c->reason == NIC_CHECK_START ? "start" : step,
			  device);
}

/* A project with networks of its own has none that this server could make. */
static int check_network(struct instances *all, const struct nic_owner *owner, const struct strmap *device,
			 struct error *err)
{
	const char *network = strmap_get_or(device, "network", NULL);

	if (!network || streq(store_effective_project(all->store, owner->project, PROJECT_NETWORKS), "default"))
		return 0;
	return error_set(err, 400,
			 "Failed loading device \"%s\": Failed to load network \"%s\" for project \"%s\": "
			 "Network not found",
			 owner->device, network, owner->project);
}

static int check_one(struct instances *all, const struct nic_check *c, const struct mapmap_item *nic, struct error *err)
	REQUIRES(all->lock)
{
	const struct nic_owner owner = {c->row->project, c->row->name, nic->key};
	auto_nic struct nic n = NIC_INIT;
	bool is_new, unchanged = is_unchanged(all, c, nic, &is_new);
	int r = check_network(all, &owner, &nic->map, err);

	if (r == 0)
		r = nic_read(all->networks, &owner, &nic->map, &c->row->volatile_, &n, err);
	if (r < 0)
		return wrap_misfit(c, nic->key, err);
	if (!needs_conflict_check(c, unchanged))
		return 0;
	r = check_own(c, &n, nic, err);
	if (r == 0)
		r = check_others(all, c, &n, err);
	return r < 0 ? wrap_conflict(c, nic->key, is_new, err) : 0;
}

int nic_check(struct instances *all, const struct nic_check *c, struct error *err)
{
	int r = 0;

	for (size_t k = 0; all->networks && k < c->devices->len && r == 0; k++)
		if (is_nic(&c->devices->items[k].map))
			r = check_one(all, c, &c->devices->items[k], err);
	return r;
}

int nic_check_profile(struct instances *all, const struct db_profile *p, struct error *err)
{
	for (size_t k = 0; all->networks && k < p->devices.len; k++) {
		const struct mapmap_item *item = &p->devices.items[k];
		const struct nic_owner owner = {p->project, "", item->key};
		auto_nic struct nic n = NIC_INIT;

		if (is_nic(&item->map) && (check_network(all, &owner, &item->map, err) < 0 ||
					   nic_read(all->networks, &owner, &item->map, NULL, &n, err) < 0))
			return error_wrap(err, "Device validation failed for \"%s\"", item->key);
	}
	return 0;
}
