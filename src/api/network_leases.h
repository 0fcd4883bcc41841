/* The leases of a network as clients see them. */
#pragma once

#include "api/api.h"

/*
 * Append an array: the bridge's own addresses, what NICs of the caller's project have by configuration, and what
 * dnsmasq has given away, without the IPv4 leases of other projects.
 */
int network_leases_write(struct api_call *c, const char *network, struct jsonw *w, struct error *err);
