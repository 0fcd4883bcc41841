/* `lxd audit`. */
#pragma once

#include "base/error.h"
#include "base/options.h"

/* `lxd audit verify`: reads the audit log and what the database knows of it; damage is an error. */
int audit_run(const struct options *o, struct error *err);
