/* Snapshots for the other files of src/instance. */
#pragma once

#include "instance/instance_internal.h"
#include "instance/snapshot.h"

/* Read all rows and give them to their instances; for the start. */
int snapshots_load(struct instances *all, struct error *err);
/* At the start: was it held still for a snapshot that a crash cut? */
bool snapshots_were_freezing(struct instance *i);
/* After that: what a crash left half made or half removed. What cannot be undone now is logged. */
void snapshots_undo_unfinished(struct instances *all);
/* End a restore that a crash cut, the one way or the other; the row is in phase restoring. */
int snapshot_end_restore(struct instance *i, struct error *err);
/* The instance has started: make the snapshot that its schedule may want. */
void snapshots_at_startup(struct instance *i);
/* The ready one of that name, borrowed; NULL: none. */
struct db_snapshot *snapshot_find_locked(struct instance *i, const char *name) REQUIRES(i->all->lock);
/* Sets 404 `Snapshot not found`. */
int snapshot_not_found(struct error *err);
/* A copy of the row. Errors: 404. */
int snapshot_get(struct instance *i, const char *name, struct db_snapshot *ret, struct error *err);
/*
 * A copy of its tree. Nobody is kept from removing the snapshot meanwhile: then it fails. Errors: 404; as of
 * storage_volume_copy().
 */
int snapshot_copy_volume(const struct storage_pool *pool, const char *staging, const struct storage_pool *src,
			 const struct db_snapshot *s, struct error *err);
/* Remove it if it has expired by @now_ns. 1: it was removed; 0: it has not expired, or is gone. */
int snapshot_delete_expired(struct instance *i, const char *name, int64_t now_ns, struct error *err);
/* instance_snapshot() by schedule; ends early (-ECANCELED) when *@stop is set. */
int snapshot_make_scheduled(struct instance *i, const _Atomic bool *stop, char **ret_name, struct error *err);
/* Make copies of all snapshots of @from, for @to, which nobody else sees yet. */
int snapshots_copy(struct instance *to, struct instance *from, struct error *err);
/* Remove the volumes of all: their rows go with that of the instance, which is being deleted. */
int snapshots_discard(struct instance *i, const struct storage_pool *pool, struct error *err);
void snapshots_free(struct instance *i);
