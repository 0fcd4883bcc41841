/* Parts of `lxc network` that have a file of their own. */
#pragma once

#include <stdbool.h>

#include "base/json.h"
#include "base/strmap.h"
#include "client/client.h"

extern const struct command cmd_network_info; /* network_info.c */
extern const struct command cmd_network_attach, cmd_network_attach_profile, cmd_network_detach,
	cmd_network_detach_profile; /* network_attach.c */

/*
 * Fill @ret with the NIC device that puts an instance on @network, an object of the API: its name as `network`
 * (@by_network, for managed ones), or as `parent` with the nictype that suits the interface.
 */
void network_nic(const struct json *network, bool by_network, struct strmap *ret);
