/* The commit point of instances and of the profiles they use: what may exist, whichever route asked for it. */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "config/expand.h"
#include "config/idmap_alloc.h"
#include "config/keys.h"
#include "device/device.h"
#include "instance/nic_check.h"
#include "instance/project_check.h"
#include "instance/seccomp.h"

static int check_profiles(const struct db_instance *row, struct error *err)
{
	for (size_t a = 0; a < row->profiles.len; a++)
		for (size_t b = a + 1; b < row->profiles.len; b++)
			if (streq(row->profiles.items[a], row->profiles.items[b]))
				return error_set(err, 400, "Duplicate profile found in request: %s",
						 row->profiles.items[a]);
	return 0;
}

/* Keys whose check needs more than their own value. */
static int check_combinations(const struct strmap *config, struct error *err)
{
	const char *raw_lxc = strmap_get(config, "raw.lxc");
	int r = seccomp_validate(config, err);

	if (r == 0 && !str_is_empty(raw_lxc))
		r = raw_lxc_validate(raw_lxc, err);
	return r;
}

static int check_root_disk(struct instances *all, const struct db_instance *row, const struct db_instance *old,
			   const struct instance_expanded *x, struct error *err)
{
	const struct strmap *root = NULL;
	const char *name, *pool;
	bool known;
	int r = expand_root_disk(&x->devices, &name, &root, err);

	if (r < 0)
		return error_wrap(err, "Failed getting root disk");
	pool = strmap_get_or(root, "pool", "");
	if (old && !streq(pool, row->pool))
		return error_set(err, 400, "Cannot update root disk device pool name to \"%s\"", pool);
	mutex_lock(&all->store->lock);
	known = store_pool_locked(all->store, pool) != NULL;
	mutex_unlock(&all->store->lock);
	return known ? 0 : error_set(err, 400, "Storage pool \"%s\" of device \"%s\" not found", pool, name);
}

static int check_idmap(struct instances *all, const struct db_instance *row, const struct instance_expanded *x,
		       struct error *err) REQUIRES(all->lock)
{
	auto_idmap struct idmap map = IDMAP_INIT;

	return instance_choose_idmap(all, row, &x->config, &map, err);
}

/* The instance's own devices first: an error says whose they are. */
static int check_devices(const struct db_instance *row, const struct mapmap *expanded, struct error *err)
{
	for (size_t k = 0; k < row->devices.len; k++)
		if (device_validate(row->devices.items[k].key, &row->devices.items[k].map, err) < 0)
			return error_wrap(err, "Invalid devices");
	return devices_validate(expanded, err) < 0 ? error_wrap(err, "Invalid expanded devices") : 0;
}

static int check_nics(struct instances *all, const struct db_instance *row, const struct db_instance *old,
		      const struct db_profile *override, const struct instance_expanded *x, struct error *err)
	REQUIRES(all->lock)
{
	struct nic_check c = {
		.reason = NIC_CHECK_UPDATE, .row = row, .old = old, .override = override, .devices = &x->devices};

	if (!old)
		c.reason = NIC_CHECK_CREATE;
	else if (override)
		c.reason = NIC_CHECK_PROFILE;
	else if (row == old)
		c.reason = NIC_CHECK_START;
	return nic_check(all, &c, err);
}

int instance_check(struct instances *all, const struct db_instance *row, const struct db_instance *old,
		   const struct db_profile *override, struct instance_expanded *ret, struct error *err)
{
	int r = check_profiles(row, err);

	if (r == 0)
		r = config_validate(CONFIG_SCOPE_INSTANCE, &row->config, err);
	if (r == 0)
		r = config_validate(CONFIG_SCOPE_INSTANCE, &row->volatile_, err);
	if (r == 0)
		r = instance_expand(all, row, override, ret, err);
	if (r == 0)
		r = check_combinations(&ret->config, err);
	if (r == 0)
		r = check_devices(row, &ret->devices, err);
	if (r == 0)
		r = check_root_disk(all, row, old, ret, err);
	if (r == 0)
		r = project_check_instance(all, row, old, override, ret, err);
	if (r == 0)
		r = check_nics(all, row, old, override, ret, err);
	if (r == 0)
		r = check_idmap(all, row, ret, err);
	return r;
}

int instances_check_profile(struct instances *all, const struct db_profile *changed, struct error *err)
{
	struct instance **list;
	size_t n = instances_snapshot(all, &list);
	int r = nic_check_profile(all, changed, err);

	if (r == 0)
		r = instances_check_profile_restrictions(all, changed, err);
	for (size_t k = 0; k < n; k++) {
		struct instance *i = list[k];

		if (r == 0) {
			CLEANUP(instance_expanded_done) struct instance_expanded x = {0};

			mutex_lock(&all->lock);
			mutex_is_held(&i->all->lock);
			if (instance_uses_profile_locked(i, changed->project, changed->name))
				r = instance_check(all, &i->row, &i->row, changed, &x, err);
			mutex_unlock(&all->lock);
			if (r < 0)
				error_wrap(err, "Profile is used by instance \"%s\"", i->row.name);
		}
		instance_unref(i);
	}
	free(list);
	mutex_lock(&all->lock);
	if (r == 0)
		r = project_check_profile_limits(all, changed, err);
	mutex_unlock(&all->lock);
	return r;
}

/* Maps of all other instances with a range of their own, running or not. */
static size_t taken_maps(struct instances *all, int64_t but_id, struct idmap **ret) REQUIRES(all->lock)
{
	struct idmap *maps;
	size_t n = 0;

	maps = xnew_array(struct idmap, all->n);
	for (size_t k = 0; k < all->n; k++) {
		const struct db_instance *row = &all->list[k]->row;
		auto_error struct error err = ERROR_INIT;
		const char *text = strmap_get(&row->volatile_, "volatile.idmap.next");
		const char *base = strmap_get(&row->volatile_, "volatile.idmap.base");

		/* base 0 is the map that all share */
		if (row->id == but_id || !text || !base || streq(base, "0"))
			continue;
		if (idmap_from_json(text, &maps[n], &err) == 0)
			n++;
		else
			error_ignore(&err, "not a map that we wrote: it holds no range");
	}
	*ret = maps;
	return n;
}

int instance_choose_idmap(struct instances *all, const struct db_instance *row, const struct strmap *expanded,
			  struct idmap *ret, struct error *err)
{
	auto_idmap struct idmap current = IDMAP_INIT;
	const char *text = strmap_get(&row->volatile_, "volatile.idmap.next");
	auto_error struct error ignored = ERROR_INIT;
	struct idmap *taken = NULL;
	size_t n;
	int r;

	if (text && idmap_from_json(text, &current, &ignored) < 0)
		error_ignore(&ignored, "a new map is chosen");
	n = taken_maps(all, row->id, &taken);
	r = idmap_choose(&all->base_map, expanded, &current, taken, n, ret, err);
	for (size_t k = 0; k < n; k++)
		idmap_done(&taken[k]);
	free(taken);
	return r;
}
