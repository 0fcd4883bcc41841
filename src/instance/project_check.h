/* Limits and restrictions of projects, on effective values. Part of the commit point (check.c); state, too. */
#pragma once

#include "db/db.h"
#include "device/plan.h"
#include "instance/instance_internal.h"

/*
 * May the row be in its project, with all the others? @x is its expansion; @old what it is now (of this or another
 * project), NULL when it is to be made. @override as instance_check(). The answer holds while the references are held.
 * Errors: 403 naming the limit or the restriction.
 */
int project_check_instance(struct instances *all, const struct db_instance *row, const struct db_instance *old,
			   const struct db_profile *override, const struct instance_expanded *x, struct error *err)
	REQUIRES(all->lock);
/* volatile.* keys that a client sends for an instance: 403 for those that it may not set. */
int project_check_volatile(struct instances *all, const char *project, const char *name, const struct strmap *before,
			   const struct strmap *after, struct error *err);
/* Remove them instead: what comes along with a copy. */
int project_drop_volatile(struct instances *all, const char *project, struct strmap *config, struct error *err);
/* Where disks must lie below certain paths: hold their sources against symbolic links. */
int project_confine_disks(struct instances *all, const char *project, struct device_plan *plan, struct error *err);
/* The sums of the projects whose instances use the changed profile. */
int project_check_profile_limits(struct instances *all, const struct db_profile *changed, struct error *err)
	REQUIRES(all->lock);
