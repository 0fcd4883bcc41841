/* The network interfaces of a namespace as the "network" object of an instance's state. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/rtnetlink.h"

#define INTERFACES_HERE (-1) /* the namespace of the socket, in place of an id */

struct interfaces;

/* An empty set that takes messages about the namespace @nsid, or about any for INTERFACES_HERE. */
struct interfaces *interfaces_new(int32_t nsid);
void interfaces_free(struct interfaces *s);
DEFINE_CLEANUP(struct interfaces *, interfaces_free)

/*
 * A rtnl_message_fn, @arg being the set: notes a RTM_NEWLINK, or adds a RTM_NEWADDR to its interface. -EOPNOTSUPP for
 * a message that does not say that it is about @nsid. Stops noting at 4096 interfaces or 16384 addresses.
 */
int interfaces_take(uint16_t type, struct rtnl_bytes body, void *arg);
/* {"lo":{...},"eth0":{...}} in the kernel's order; the caller frees. */
char *interfaces_json(const struct interfaces *s);

/*
 * Ask for the interfaces in the namespace that @sock knows as @nsid, or in its own, and write them; the caller frees
 * *@ret_json. With an id @sock must be strict; -EOPNOTSUPP or -EINVAL: the kernel cannot look into other namespaces.
 */
int interfaces_read(int sock, int32_t nsid, char **ret_json, struct error *err);
