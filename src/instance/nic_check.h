/* NICs at the commit point of instances and profiles (nic_check.c). */
#pragma once

#include "instance/instance_internal.h"

/* Why it is asked: which NICs are looked at, and how a refusal is called. */
enum nic_check_reason {
	NIC_CHECK_CREATE,
	NIC_CHECK_UPDATE,  /* conflicts: of those that differ from the old row's */
	NIC_CHECK_PROFILE, /* the same, a profile differs */
	NIC_CHECK_RENAME,  /* conflicts: of all, by the row's new name */
	NIC_CHECK_START,
};

struct nic_check {
	enum nic_check_reason reason;
	const struct db_instance *row;     /* as it shall be */
	const struct db_instance *old;     /* as it is stored; NULL: not yet */
	const struct db_profile *override; /* stands in for the stored profile of its name; NULL: none */
	const struct mapmap *devices;      /* of @row, expanded; valid each by itself */
};

/*
 * Do the networks exist, do the options fit them (400), and do the NICs get along with every other NIC of every
 * instance, running or not (409)? Fine without networks (tests).
 */
int nic_check(struct instances *all, const struct nic_check *c, struct error *err) REQUIRES(all->lock);
/* The first half for the devices of a profile. */
int nic_check_profile(struct instances *all, const struct db_profile *p, struct error *err);
