/*
 * Snapshots: copies of an instance's root file system and configuration at a moment. Each has a volume of its own,
 * named by a uuid, so that renaming or moving the instance touches none of them. They go with the instance.
 */
#pragma once

#include "instance/instance.h"

/*
 * Make one. @name NULL or "": by the pattern snapshots.pattern. @expires_ns: TIME_GO_ZERO is never; NULL: by
 * snapshots.expiry. A running container is frozen meanwhile. *@ret_name is owned by the caller. Errors: 403 the project
 * does not allow them; 400 `... already exists`, the pattern.
 */
int instance_snapshot(struct instance *i, const char *name, const int64_t *expires_ns, char **ret_name,
		      struct error *err);
/* Errors: 404 `Snapshot not found`; 400 the name is taken. @new_name is checked. */
int snapshot_rename(struct instance *i, const char *name, const char *new_name, struct error *err);
int snapshot_set_expiry(struct instance *i, const char *name, int64_t expires_ns, struct error *err);
int snapshot_delete(struct instance *i, const char *name, struct error *err);
/*
 * Make the instance what it was then, also what is running: it is stopped for it and started again. What it is to be
 * must be something that may exist now: 400, 403 as of instance_update(). After a failure it is what it was before; a
 * daemon that is killed meanwhile finishes it when it comes back.
 */
int instance_restore(struct instance *i, const char *name, struct error *err);

/*
 * From now on snapshots are made as snapshots.schedule says, and removed when they have expired; until the second,
 * which waits for those under way. The loop has been started, and is still there.
 */
void instances_snapshots_begin(struct instances *all);
void instances_snapshots_end(struct instances *all);

/* Append its API object. Errors: 404. */
int snapshot_render(struct instance *i, const char *name, struct jsonw *w, struct error *err);
/* The list: URLs below /1.0/@prefix, or objects. */
void snapshots_render(struct instance *i, const char *prefix, bool objects, struct jsonw *w);
/* For PUT and its tag. Errors: 404. */
int snapshot_expiry(struct instance *i, const char *name, int64_t *ret_ns, struct error *err);
/* Owned by the caller; NULL: there is none of that name. */
char *snapshot_architecture(struct instance *i, const char *name);
bool snapshot_exists(struct instance *i, const char *name);
bool instance_has_snapshots(struct instance *i);
/*
 * Work on the volume of one. Nobody is kept from removing it meanwhile: then it fails at the end. Errors: 404, and
 * those of @fn.
 */
int snapshot_with_volume(struct instance *i, const char *name,
			 int (*fn)(void *arg, const struct instance_volume *volume, struct error *err), void *arg,
			 struct error *err);
