/*
 * The NICs of instances: from devices to interfaces of the host and back. What is made is noted in volatile keys first,
 * so that whatever a crash leaves is found at the next start. The instance's busy lock is held by all callers.
 */
#pragma once

#include "instance/instance_internal.h"
#include "instance/nic_keys.h"
#include "network/nic.h"

struct instance_nics {
	struct nic *nics;
	struct nic_guest *guests; /* of those that are started */
	size_t n;
	size_t started;
};

#define INSTANCE_NICS_INIT ((struct instance_nics){0})
void instance_nics_done(struct instance_nics *s);

/* nic_read() for device @device of @i. */
int nics_read(struct instance *i, const char *device, const struct strmap *options, const struct strmap *volatile_,
	      struct nic *ret, struct error *err);

/* The host's side of all NICs of an instance that is about to start. On error nothing stays. */
int nics_start(struct instance *i, struct instance_expanded *x, struct instance_nics *ret, struct error *err);
/* The container did not start after all. */
void nics_undo(struct instance *i, struct instance_nics *s);
/* After a stop, or after a crash: all that is noted goes. @changes gets the keys to store. What fails is logged. */
void nics_stop(struct instance *i, struct strmap *changes);

/* The instance as it is stored now; without what a missing profile would add. */
void nics_expand(struct instance *i, struct instance_expanded *x);

/*
 * Fill in the host's names of NICs, found by hardware address, where interfaces_json() has left them empty; takes
 * @json, the caller frees what it gives back.
 */
char *nics_add_host_names(struct instance *i, char *json);

/* --- one NIC of a running container (live_nics.c) --- */

/* From the NICs among @before to those among @after. On error those of before are there. */
int nics_apply_live(struct instance *i, const struct instance_expanded *before, const struct instance_expanded *after,
		    struct error *err);

/*
 * The container has rebooted by itself, its init is another (borrowed): what liblxc knows nothing of goes in again.
 * Failures are logged.
 */
void nics_after_reboot(struct instance *i, int init_pidfd, pid_t init_pid);

/* --- host entries of dnsmasq; failures are logged --- */

/* Write those of the instance's NICs, and remove those of NICs that only @old has (NULL: none). */
void nics_write_entries(struct instance *i, const struct mapmap *old);
/* Remove all; before the instance goes or changes its name. */
void nics_remove_entries(struct instance *i);
