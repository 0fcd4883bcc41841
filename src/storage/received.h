/* A volume that came from another server, before anybody may use it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Make of the received folder @dirfd a container's volume: rootfs/ must be a folder, templates/ one of plain files
 * (made when missing), metadata.yaml a plain file if there; all else at the top is removed. Unless @devices, character
 * and block device nodes are removed from rootfs/ and counted in *@ret_removed: an unprivileged container could open
 * them, as it has no device filter. Whiteouts of overlay file systems (0:0) stay. Errors: 400 what cannot be a volume.
 */
int storage_received_check(int dirfd, bool devices, uint64_t *ret_removed, struct error *err);
