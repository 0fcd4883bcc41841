/* The kinds of network cards: which options each has, what a value must be, and what changes without unplugging. */
#pragma once

#include <stdint.h>

#include "base/strmap.h"
#include "config/keys.h"

/*
 * Volatile keys ("volatile.DEV.WHAT") that the daemon keeps while a NIC is there, ended by NULL: what a restart has to
 * know of the host.
 */
extern const char *const nic_volatile_notes[];

enum nic_type { NIC_BRIDGED, NIC_ROUTED, NIC_P2P, NIC_MACVLAN, NIC_PHYSICAL, NIC_TYPE_COUNT };

/*
 * The kind of a device with type=nic, by its nictype; one with a network is bridged, the only kind that managed
 * networks have. Negative: none that this server has (`ipvlan`, or neither option).
 */
int nic_type_of(const struct strmap *options);
/* "bridged" ... */
const char *nic_type_name(enum nic_type type);
/* Its options besides "type", ended by a row without name; CONFIG_LIVE: changes while the NIC is plugged in. */
const struct config_key *nic_type_keys(enum nic_type type);

/*
 * Bits a second: "100Mbit", "1Gibit", a plain number; decimal suffixes by 1000, binary ones by 1024. 400 `Invalid
 * value: 12q`.
 */
int nic_rate_parse(const char *text, uint64_t *ret, struct error *err);
