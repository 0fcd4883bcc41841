/* The daemon's side of lxd-transfer: runs it and carries bytes between it and the fs websocket. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "migration/link.h"

/* Told about once a second how many bytes of rsync's stream have gone by, and how many in the last second. */
typedef void (*migration_progress_fn)(void *arg, uint64_t bytes, uint64_t per_second);

struct migration_transfer {
	bool sending;
	unsigned features;              /* enum migration_features, agreed */
	int dirfd;                      /* the tree, borrowed */
	migration_progress_fn progress; /* may be NULL */
	void *progress_arg;
};

/*
 * Blocks until rsync has ended on this side and its last bytes are out. Errors: the peer's reason, if it gives one;
 * else what our rsync says (507 for a full disk); -ECANCELED. After a failure the tree holds anything.
 */
int migration_transfer(struct migration_link *l, const struct migration_transfer *t, struct error *err);
