/*
 * Volatile keys of NICs, "volatile.DEVICE.WHAT". Two kinds: what a NIC keeps (hwaddr, name), made up when its options
 * do not say it, and what the daemon notes of the host while the NIC is there (nic_volatile_notes).
 */
#pragma once

#include <stdbool.h>

#include "base/strmap.h"
#include "base/strv.h"

/* "volatile.@device.@what"; the caller frees. */
char *nic_key(const char *device, const char *what);
/*
 * Volatile keys that the NICs among @devices lack ("volatile.eth0.hwaddr", "volatile.eth0.name"), and those ("") that
 * belong to no NIC any more or that its options now say. @old: the devices before a change, or NULL: another kind of
 * NIC under an old name gets a new hardware address.
 */
void nic_keys_complete(const struct mapmap *devices, const struct mapmap *old, const struct strmap *volatile_,
		       struct strmap *changes);
/* Put changed keys into a row's; "" removes. */
void nic_keys_merge(struct strmap *volatile_, const struct strmap *changes);
/* Keys that only the daemon sets: what is in force on the host. They come from @from, whatever @to has. */
void nic_keys_keep_own(struct strmap *to, const struct strmap *from);
/* Is there a device, and is it one? */
bool device_is_nic(const struct strmap *device);
/* The devices of which something on the host is noted. */
void nic_keys_noted(const struct strmap *volatile_, struct strv *ret);
