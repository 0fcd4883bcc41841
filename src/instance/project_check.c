#include "instance/project_check.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/str.h"
#include "config/expand.h"
#include "config/restrictions.h"

/* --- what an instance counts for --- */

/* Each: 1 and the value, 0 when nothing is set, negative when the value cannot be summed. */
static int count_number(const char *value, uint64_t *ret, struct error *err)
{
	return parse_u64(value, ret) < 0 ? error_set(err, 400, "Invalid value: %s", value) : 1;
}

static int count_cpus(const char *value, uint64_t *ret, struct error *err)
{
	if (strpbrk(value, ",-"))
		return error_set(err, 400, "CPUs can't be pinned if project limits are used");
	return count_number(value, ret, err);
}

static int count_bytes(const char *value, uint64_t *ret, struct error *err)
{
	int r;

	if (endswith(value, "%"))
		return error_set(err, 400, "Value can't be a percentage");
	r = parse_size(value, ret, err);
	return r < 0 ? r : 1;
}

/* Limits on sums, one row each. */
enum { SUM_CPU, SUM_DISK, SUM_MEMORY, SUM_PROCESSES, N_SUMS };

static const struct sum {
	const char *key;
	int (*count)(const char *value, uint64_t *ret, struct error *err);
	bool of_root_disk; /* its size, not the key of that name */
	bool in_bytes;
} sums[N_SUMS] = {
	[SUM_CPU] = {"limits.cpu", count_cpus, false, false},
	[SUM_DISK] = {"limits.disk", count_bytes, true, true},
	[SUM_MEMORY] = {"limits.memory", count_bytes, false, true},
	[SUM_PROCESSES] = {"limits.processes", count_number, false, false},
};

static const char *value_for(const struct sum *s, const struct instance_expanded *x)
{
	auto_error struct error none = ERROR_INIT;
	const struct strmap *root = NULL;
	const char *name;

	if (!s->of_root_disk)
		return strmap_get_or(&x->config, s->key, NULL);
	return expand_root_disk(&x->devices, &name, &root, &none) < 0 ? NULL : strmap_get_or(root, "size", NULL);
}

/* Add what the instance has for @s; under a limit it must have something. */
static int add_value(const struct sum *s, const struct db_instance *row, const struct instance_expanded *x,
		     uint64_t *total, struct error *err)
{
	const char *value = value_for(s, x);
	uint64_t v = 0;

	if (!value && s->of_root_disk)
		return error_set(err, 403,
				 "Instance \"%s\" in project \"%s\" has no \"size\" config set on the root device, "
				 "either directly or via a profile",
				 row->name, row->project);
	if (!value)
		return error_set(err, 403,
				 "Instance \"%s\" in project \"%s\" has no \"%s\" config, either directly or via a "
				 "profile",
				 row->name, row->project, s->key);
	if (s->count(value, &v, err) < 0)
		return error_wrap(err, "Failed parsing \"%s\" for instance \"%s\" in project \"%s\"", s->key, row->name,
				  row->project);
	if (__builtin_add_overflow(*total, v, total))
		*total = UINT64_MAX;
	return 0;
}

/* --- sums --- */

/* The limits that a project's configuration sets on sums; false: none. */
static bool limits_of(const struct strmap *config, const char *limits[N_SUMS])
{
	bool any = false;

	for (size_t k = 0; k < N_SUMS; k++) {
		limits[k] = strmap_get_or(config, sums[k].key, NULL);
		any = any || limits[k];
	}
	return any;
}

static int add_instance(const char *const limits[N_SUMS], const struct db_instance *row,
			const struct instance_expanded *x, uint64_t totals[N_SUMS], struct error *err)
{
	int r = 0;

	for (size_t k = 0; k < N_SUMS && r == 0; k++)
		if (limits[k])
			r = add_value(&sums[k], row, x, &totals[k], err);
	return r;
}

/* The instances of the project but that with the id @but_id. */
static int add_others(struct instances *all, const char *project, int64_t but_id, const struct db_profile *override,
		      const char *const limits[N_SUMS], uint64_t totals[N_SUMS], struct error *err) REQUIRES(all->lock)
{
	int r = 0;

	for (size_t k = 0; k < all->n && r == 0; k++) {
		CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
		const struct db_instance *row = &all->list[k]->row;

		if (!streq(row->project, project) || row->id == but_id)
			continue;
		r = instance_expand(all, row, override, &x, err);
		if (r == 0)
			r = add_instance(limits, row, &x, totals, err);
	}
	return r;
}

/* The same unit for both: limits are written as the administrator wrote them. */
static int compare(const char *project, const char *const limits[N_SUMS], const uint64_t totals[N_SUMS],
		   struct error *err)
{
	for (size_t k = 0; k < N_SUMS; k++) {
		uint64_t max = 0;

		if (!limits[k])
			continue;
		if (sums[k].count(limits[k], &max, err) < 0)
			return error_wrap(err, "Invalid value for limit \"%s\"", sums[k].key);
		if (totals[k] > max)
			return error_set(err, 403,
					 "Reached maximum aggregate value \"%s\" for \"%s\" in project \"%s\"",
					 limits[k], sums[k].key, project);
	}
	return 0;
}

static int check_sums(struct instances *all, const struct strmap *config, const struct db_instance *row,
		      const struct db_profile *override, const struct instance_expanded *x, struct error *err)
	REQUIRES(all->lock)
{
	const char *limits[N_SUMS];
	uint64_t totals[N_SUMS] = {0};
	int r;

	if (!limits_of(config, limits))
		return 0;
	r = add_instance(limits, row, x, totals, err);
	if (r == 0)
		r = add_others(all, row->project, row->id, override, limits, totals, err);
	return r < 0 ? r : compare(row->project, limits, totals, err);
}

/* --- counts --- */

static size_t count_instances(struct instances *all, const char *project) REQUIRES(all->lock)
{
	size_t n = 0;

	for (size_t k = 0; k < all->n; k++)
		n += streq(all->list[k]->row.project, project);
	return n;
}

/* One more comes: is there room? There are only containers. */
static int check_count(struct instances *all, const struct strmap *config, const char *project, struct error *err)
	REQUIRES(all->lock)
{
	size_t n = count_instances(all, project);
	uint32_t max;

	if (parse_u32(strmap_get_or(config, "limits.containers", ""), &max) == 0 && n >= max)
		return error_set(err, 403,
				 "Reached maximum number of instances of type \"container\" in project \"%s\"",
				 project);
	if (parse_u32(strmap_get_or(config, "limits.instances", ""), &max) == 0 && n >= max)
		return error_set(err, 403, "Reached maximum number of instances in project \"%s\"", project);
	return 0;
}

/* --- one instance --- */

/* The project's configuration; nothing to look at when it is empty of limits and restrictions. */
static int project_config(struct instances *all, const char *project, struct strmap *ret, struct error *err)
{
	CLEANUP(db_project_done) struct db_project p = {0};
	int r = store_project_dup(all->store, project, &p, err);

	if (r < 0)
		return error_wrap(err, "Failed loading project \"%s\"", project);
	strmap_copy(ret, &p.config);
	return 0;
}

int project_check_instance(struct instances *all, const struct db_instance *row, const struct db_instance *old,
			   const struct db_profile *override, const struct instance_expanded *x, struct error *err)
{
	const struct restriction_subject subject = {row->project, "container", row->name};
	bool comes = !old || !streq(old->project, row->project);
	auto_strmap struct strmap config = STRMAP_INIT;
	int r = project_config(all, row->project, &config, err);

	if (r == 0)
		r = restrictions_check(&config, &subject, &x->config, &x->devices, err);
	if (r == 0 && comes)
		r = check_count(all, &config, row->project, err);
	/* a changed profile is looked at once for all its users, and a start changes nothing */
	if (r == 0 && !override && row != old)
		r = check_sums(all, &config, row, NULL, x, err);
	return r;
}

int project_check_volatile(struct instances *all, const char *project, const char *name, const struct strmap *before,
			   const struct strmap *after, struct error *err)
{
	const struct restriction_subject subject = {project, "container", name};
	auto_strmap struct strmap config = STRMAP_INIT;
	int r = project_config(all, project, &config, err);

	return r < 0 ? r : restrictions_check_volatile(&config, &subject, before, after, err);
}

int project_drop_volatile(struct instances *all, const char *project, struct strmap *given, struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	int r = project_config(all, project, &config, err);

	for (size_t k = given->len; k-- > 0 && r == 0;)
		if (!restrictions_allow_volatile(&config, given->items[k].key))
			strmap_remove(given, given->items[k].key);
	return r;
}

int project_confine_disks(struct instances *all, const char *project, struct device_plan *plan, struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	int r = project_config(all, project, &config, err);
	bool confine = restrictions_apply(&config) && strmap_get_or(&config, "restricted.devices.disk.paths", NULL);

	for (size_t k = 0; k < plan->n_mounts; k++)
		plan->mounts[k].nofollow = confine;
	return r;
}

int project_allows_snapshots(struct instances *all, const char *project, struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	int r = project_config(all, project, &config, err);

	if (r < 0 || restrictions_allow(&config, "restricted.snapshots"))
		return r;
	return error_set(err, 403, "Project \"%s\" doesn't allow for snapshot creation", project);
}

int project_allows_backups(struct instances *all, const char *project, struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	int r = project_config(all, project, &config, err);

	if (r < 0 || restrictions_allow(&config, "restricted.backups"))
		return r;
	return error_set(err, 403, "Project \"%s\" doesn't allow for backup creation", project);
}

static int check_all_sums(struct instances *all, const struct db_project *p, const struct db_profile *override,
			  struct error *err) REQUIRES(all->lock)
{
	const char *limits[N_SUMS];
	uint64_t totals[N_SUMS] = {0};
	int r;

	if (!limits_of(&p->config, limits))
		return 0;
	r = add_others(all, p->name, -1, override, limits, totals, err);
	return r < 0 ? r : compare(p->name, limits, totals, err);
}

int project_check_profile_limits(struct instances *all, const struct db_profile *changed, struct error *err)
{
	auto_strv struct strv names = STRV_INIT;
	int r = 0;

	store_project_names(all->store, &names);
	for (size_t k = 0; k < names.len && r == 0; k++) {
		CLEANUP(db_project_done) struct db_project p = {0};
		auto_error struct error gone = ERROR_INIT;

		if (!streq(store_effective_project(all->store, names.items[k], PROJECT_PROFILES), changed->project))
			continue;
		if (store_project_dup(all->store, names.items[k], &p, &gone) == 0)
			r = check_all_sums(all, &p, changed, err);
		else
			error_ignore(&gone, "deleted this moment");
	}
	return r;
}

int instances_check_profile_restrictions(struct instances *all, const struct db_profile *p, struct error *err)
{
	const struct restriction_subject subject = {p->project, "profile", p->name};
	auto_strmap struct strmap config = STRMAP_INIT;
	int r = project_config(all, p->project, &config, err);

	return r < 0 ? r : restrictions_check(&config, &subject, &p->config, &p->devices, err);
}

/* --- changes of the project --- */

static int check_counts_of(struct instances *all, const struct db_project *p, struct error *err) REQUIRES(all->lock)
{
	size_t n = count_instances(all, p->name);
	uint32_t max;

	if (parse_u32(strmap_get_or(&p->config, "limits.containers", ""), &max) == 0 && n > max)
		return error_set(err, 400,
				 "\"limits.containers\" is too low: there currently are %zu instances of type "
				 "container in project \"%s\"",
				 n, p->name);
	if (parse_u32(strmap_get_or(&p->config, "limits.instances", ""), &max) == 0 && n > max)
		return error_set(err, 400,
				 "\"limits.instances\" is too low: there currently are %zu total instances in project "
				 "\"%s\"",
				 n, p->name);
	return 0;
}

/* As check_all_sums(), but what is said is about the limit. */
static int check_new_limits(struct instances *all, const struct db_project *p, struct error *err) REQUIRES(all->lock)
{
	const char *limits[N_SUMS];
	uint64_t totals[N_SUMS] = {0};
	int r;

	if (!limits_of(&p->config, limits))
		return 0;
	r = add_others(all, p->name, -1, NULL, limits, totals, err);
	for (size_t k = 0; k < N_SUMS && r == 0; k++) {
		uint64_t max = 0;

		if (!limits[k])
			continue;
		r = sums[k].count(limits[k], &max, err) < 0 ? -err->errnum : 0;
		if (r == 0 && totals[k] > max) {
			auto_free char *current = sums[k].in_bytes ? format_size_si(totals[k])
								   : xasprintf("%" PRIu64, totals[k]);

			r = error_set(err, 400, "\"%s\" is too low: current maximum is \"%s\"", sums[k].key, current);
		}
	}
	return r;
}

static int check_new_restrictions(struct instances *all, const struct db_project *p, struct error *err)
	REQUIRES(all->lock)
{
	int r = 0;

	for (size_t k = 0; k < all->n && r == 0 && restrictions_apply(&p->config); k++) {
		CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
		const struct db_instance *row = &all->list[k]->row;
		const struct restriction_subject subject = {p->name, "container", row->name};

		if (!streq(row->project, p->name))
			continue;
		r = instance_expand(all, row, NULL, &x, err);
		if (r == 0)
			r = restrictions_check(&p->config, &subject, &x.config, &x.devices, err);
	}
	return r;
}

static int check_new_profiles(struct instances *all, const struct db_project *p, struct error *err)
{
	struct store *s = all->store;
	int r = 0;

	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_profiles && r == 0; k++) {
		const struct db_profile *profile = s->profiles[k];
		const struct restriction_subject subject = {p->name, "profile", profile->name};

		if (streq(profile->project, p->name))
			r = restrictions_check(&p->config, &subject, &profile->config, &profile->devices, err);
	}
	mutex_unlock(&s->lock);
	return r;
}

int instances_check_project(struct instances *all, const struct db_project *changed, struct error *err)
{
	int r;

	mutex_lock(&all->lock);
	r = check_counts_of(all, changed, err);
	if (r == 0)
		r = check_new_limits(all, changed, err);
	if (r == 0)
		r = check_new_restrictions(all, changed, err);
	if (r == 0)
		r = check_new_profiles(all, changed, err);
	mutex_unlock(&all->lock);
	return r;
}

/* --- state --- */

/* What a project uses of each sum; instances without the key count nothing. */
static void add_usage(struct instances *all, const char *project, uint64_t totals[N_SUMS]) REQUIRES(all->lock)
{
	for (size_t k = 0; k < all->n; k++) {
		CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
		const struct db_instance *row = &all->list[k]->row;
		auto_error struct error err = ERROR_INIT;

		if (!streq(row->project, project))
			continue;
		if (instance_expand(all, row, NULL, &x, &err) < 0)
			error_ignore(&err, "what its own options say still counts");
		for (size_t s = 0; s < N_SUMS; s++) {
			const char *value = value_for(&sums[s], &x);
			uint64_t v = 0;

			if (value && sums[s].count(value, &v, &err) > 0)
				totals[s] += v;
			error_clear(&err);
		}
	}
}

void instances_project_usage(struct instances *all, const char *project, struct instances_project_usage *ret)
{
	uint64_t totals[N_SUMS] = {0};

	mutex_lock(&all->lock);
	add_usage(all, project, totals);
	ret->instances = count_instances(all, project);
	mutex_unlock(&all->lock);
	ret->cpu = totals[SUM_CPU];
	ret->disk_bytes = totals[SUM_DISK];
	ret->memory_bytes = totals[SUM_MEMORY];
	ret->processes = totals[SUM_PROCESSES];
}
