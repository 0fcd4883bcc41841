/* `lxd init`. */
#pragma once

#include "base/error.h"
#include "base/options.h"

extern const struct option_row init_options[];
/* Run it with parsed options. */
int init_run(const struct options *o, struct error *err);
