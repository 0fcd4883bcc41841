/* What `lxd init` does, whatever told it to: a preseed applied through the API, undone as a whole when a step fails. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "http/client_api.h"

/*
 * Apply @preseed: members config, networks, storage_pools, projects, profiles; a cluster, and networks outside
 * the default project, are refused (501).
 * Existing objects are merged with, missing ones created. On failure all that this call did is undone.
 */
int preseed_apply(struct api *a, const struct json *preseed, struct error *err);
/* The server's present state as preseed YAML. */
int preseed_dump(struct api *a, struct strbuf *out, struct error *err);
