/* Snapshots for the other files of src/instance. */
#pragma once

#include "instance/instance_internal.h"
#include "instance/snapshot.h"

/* Read all rows and give them to their instances; for the start. */
int snapshots_load(struct instances *all, struct error *err);
/* At the start: what a crash left half made or half removed. What cannot be undone now is logged. */
void snapshots_undo_unfinished(struct instances *all);
/* Finish a restore that a crash cut; the row is in phase restoring. */
int snapshot_finish_restore(struct instance *i, struct error *err);
/* The instance has started: make the snapshot that its schedule may want. */
void snapshots_at_startup(struct instance *i);
/* The ready one of that name, borrowed; NULL: none. */
struct db_snapshot *snapshot_find_locked(struct instance *i, const char *name) REQUIRES(i->all->lock);
/* Sets 404 `Snapshot not found`. */
int snapshot_not_found(struct error *err);
/* A copy of the row. Errors: 404. */
int snapshot_get(struct instance *i, const char *name, struct db_snapshot *ret, struct error *err);
/* Make copies of all snapshots of @from, for @to, which nobody else sees yet. */
int snapshots_copy(struct instance *to, struct instance *from, struct error *err);
/* Remove the volumes of all: their rows go with that of the instance, which is being deleted. */
int snapshots_discard(struct instance *i, const struct storage_pool *pool, struct error *err);
void snapshots_free(struct instance *i);
