/* The daemon's networks: what they are made with, and when they begin. */
#pragma once

#include "api/api.h"

/* Packet filters and networks; nothing is started. The loop, the store and the warnings are there. */
int network_side_open(struct api *api, const char *lxd_dir, struct error *err);
/* Networks and filters come up, before anything else can ask for them. Failures are logged and warned of. */
void network_side_start(struct api *api);
