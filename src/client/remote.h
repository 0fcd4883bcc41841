/* Servers on the network: how they are reached. */
#pragma once

#include "client/client.h"

extern const struct command cmd_remote_add; /* in remote_add.c */
