/* The device sub-commands of `lxc config` and `lxc profile`. */
#pragma once

#include "client/client.h"

extern const struct command cmd_config_device, cmd_profile_device;
