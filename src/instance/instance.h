/*
 * Instances: what is stored of them, whether they run, and everything that can be done to them. A change by any
 * route ends in instance_check(), the one commit point.
 *
 * Locks: struct instances.lock guards the list and every field of struct instance marked so; it is held briefly,
 * never across a call to the container host, the disk or a callback. instance.busy makes operations on one
 * instance wait for each other; it is taken before the list's lock, never after.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/jsonw.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "config/idmap.h"
#include "config/ip.h"
#include "db/store.h"
#include "image/image.h"
#include "instance/container.h"
#include "network/network.h"

struct instances;
struct network_view;
struct instance;

/* Told of changes that no request made (a container stopped by itself). Any thread. */
typedef void (*instance_event_fn)(void *arg, const char *project, const char *name, const char *action);

struct instances_spec {
	const char *lxd_dir;
	struct store *store;
	struct images *images;
	struct loop *loop;
	struct networks *networks; /* NULL: none (tests) */
	instance_event_fn event;
	void *event_arg;
};

/* Load all instances, finish or undo what a crash left, and find again those that run. */
int instances_new(const struct instances_spec *spec, struct instances **ret, struct error *err);
void instances_free(struct instances *all);
/*
 * Called once, when the daemon is ready. @boot: the host has booted, or the daemon was shut down with its instances:
 * start what ran before and what shall run at boot. Otherwise the daemon alone was away: start what shall run at boot,
 * and note which containers have ended meanwhile. Failures are logged.
 */
void instances_autostart(struct instances *all, bool boot);
/* Stop everything in boot.stop.priority order, for the shutdown of the daemon. @force: kill at once. */
void instances_shutdown(struct instances *all, bool force);
struct container_host *instances_host(struct instances *all);
/*
 * After a restart, with the networks up and before firewall_start(): note the filters of running instances' NICs, and
 * remove what stopped ones have left.
 */
void instances_resume_nics(struct instances *all);
/* From now on routes and proxy entries of NICs are put back when an interface that had lost them comes up. */
void instances_watch_links(struct instances *all);
/* After firewall_start(): NICs that a crash took out of running instances go in again. */
void instances_repair_nics(struct instances *all);
/*
 * Hold what instances name (profiles, pools) as it is: from the check whether something is used, or fits its users,
 * until the change of it is stored. After instance.busy and idmap_lock, before all other locks.
 */
void instances_hold_references(struct instances *all);
void instances_release_references(struct instances *all);

/* A reference to an instance; error 404 `Instance not found`. */
int instance_find(struct instances *all, const char *project, const char *name, struct instance **ret,
		  struct error *err);
struct instance *instance_ref(struct instance *i);
void instance_unref(struct instance *i);
DEFINE_CLEANUP(struct instance *, instance_unref)

/* Fixed for an instance's life, but for the name, which a rename changes. */
const char *instance_project(const struct instance *i);
char *instance_name_dup(struct instance *i); /* the caller frees */

/* --- rendering (render.c) --- */

/* Append the API object. */
void instance_render(struct instance *i, struct jsonw *w);
/* The same with state, backups and snapshots. */
void instance_render_full(struct instance *i, struct jsonw *w);
/* The state object. */
void instance_render_state(struct instance *i, struct jsonw *w);
/* Hash of the writable parts; 64 hex digits. */
void instance_etag(struct instance *i, char etag[65]);

enum instance_list_form { INSTANCE_LIST_NAMES, INSTANCE_LIST_OBJECTS, INSTANCE_LIST_FULL };

/*
 * Append an array of the instances of @project (NULL: all), sorted by name: URLs below /1.0/@prefix, or objects.
 * @keep, if not NULL, decides for each object by its JSON text.
 */
int instances_render(struct instances *all, const char *project, enum instance_list_form form, const char *prefix,
		     int (*keep)(const char *json, size_t len, void *arg, struct error *err), void *arg,
		     struct jsonw *w, struct error *err);

/*
 * Add metrics of the running instances of @project (NULL: all): control groups, network, root file system. Starts no
 * process. metrics.c.
 */
void instances_metrics(struct instances *all, const char *project, struct metrics *out);

/* --- creation and removal (create.c), renames (move.c) --- */

enum instance_source {
	INSTANCE_SOURCE_NONE,
	INSTANCE_SOURCE_IMAGE,
	INSTANCE_SOURCE_COPY,
	INSTANCE_SOURCE_RECEIVE, /* from another server */
};

/* An instance's volume for those who send or fill it. */
struct instance_volume {
	int dirfd;                 /* rootfs/, templates/, metadata.yaml */
	const struct idmap *idmap; /* by which its owners are shifted on disk; empty: not at all */
	bool compress;             /* on the way to or from other servers (rsync.compression) */
};

struct instance_create_spec {
	const char *project;
	const char *name;         /* checked */
	const char *architecture; /* NULL or "": the image's or the host's */
	const char *description;
	bool ephemeral;
	const struct strmap *config;
	const struct mapmap *devices;
	const struct strv *profiles; /* NULL: of the image or source */
	enum instance_source source;
	const char *fingerprint;   /* image */
	struct instance *original; /* copy; borrowed */
	const char *snapshot;      /* copy: of the original; NULL: what it is now */
	bool with_snapshots;       /* copy: all of the original's too */
	/* receive: fill the new volume, whose folder is empty; *@ret_idmap is how its owners are shifted */
	int (*receive)(void *arg, const struct instance_volume *volume, struct idmap *ret_idmap, struct error *err);
	void *receive_arg;
};

/* Errors: 400 what instance_check() refuses; 409 the name is taken; 404 image gone. Nothing stays after failure. */
int instance_create(struct instances *all, const struct instance_create_spec *spec, struct error *err);
/*
 * The same in two steps, for work that is to begin later: after the first the name and the id range are taken and
 * nobody sees the instance; then either of the others must follow. @spec is the same each time.
 */
int instance_create_begin(struct instances *all, const struct instance_create_spec *spec, struct instance **ret,
			  struct error *err);
int instance_create_finish(struct instance *i, const struct instance_create_spec *spec, struct error *err);
void instance_create_abandon(struct instance *i);
/*
 * Work on the volume of a stopped instance, which nothing else may use meanwhile. Errors: 404, 400 when it is running,
 * and those of @fn.
 */
int instance_with_volume(struct instance *i,
			 int (*fn)(void *arg, const struct instance_volume *volume, struct error *err), void *arg,
			 struct error *err);
/* Errors: 400 `Instance is running`, `Container is protected`. */
int instance_delete(struct instance *i, struct error *err);
/* Errors: 400 running; 409 the name is taken. @name is checked. */
int instance_rename(struct instance *i, const char *name, struct error *err);
/*
 * To another project, under @name (checked): in one step, and as if it were made there, with all that its limits and
 * restrictions ask. Whoever holds @i afterwards holds one that is gone. Errors: 400 running, or what instance_check()
 * refuses; 403 the project's; 404 no such project; 409 the name is taken.
 */
int instance_move(struct instance *i, const char *project, const char *name, struct error *err);

/* --- files (files.c) --- */

/* As container_file_read() and so on, wherever the instance's files are at this moment. */
int instance_file_read(struct instance *i, const char *path, struct container_file *ret, struct error *err);
int instance_file_make_folder(struct instance *i, const char *path, const struct container_file_owner *o,
			      struct error *err);
int instance_file_make_link(struct instance *i, const char *path, const char *target,
			    const struct container_file_owner *o, struct error *err);
int instance_file_remove(struct instance *i, const char *path, struct error *err);

/* A file that is written into an instance. When that starts or stops meanwhile a new file is not made: 409. */
struct instance_upload;
int instance_upload_new(struct instance *i, const char *path, bool append, const struct container_file_owner *o,
			struct instance_upload **ret, struct error *err);
int instance_upload_write(struct instance_upload *u, const void *data, size_t len, struct error *err);
int instance_upload_finish(struct instance_upload *u, struct error *err);
/* NULL is fine. */
void instance_upload_free(struct instance_upload *u);

/* --- change (update.c) --- */

struct instance_put {
	const char *architecture;
	const char *description;
	bool ephemeral;
	const struct strmap *config; /* with volatile keys, which must not change but for additions */
	const struct mapmap *devices;
	const struct strv *profiles;
};

/*
 * Replace the writable part, live where the keys allow it. On error the old state stands.
 */
int instance_update(struct instance *i, const struct instance_put *put, struct error *err);
/* Current writable part, for PATCH and edits; the caller cleans the copies. */
void instance_current(struct instance *i, char **architecture, char **description, bool *ephemeral,
		      struct strmap *config, struct mapmap *devices, struct strv *profiles);
/*
 * A profile has changed from @before to @after: apply it to every user. 500 `The following instances failed to update
 * (profile change still saved):` with a line for each; the others are up to date then.
 */
int instances_apply_profile(struct instances *all, const struct db_profile *before, const struct db_profile *after,
			    struct error *err);
/* Would the instances that use this profile still be valid with it? For the commit point of profiles. */
int instances_check_profile(struct instances *all, const struct db_profile *changed, struct error *err);

/* May the profile be in its project, if that is restricted? 403. Apart from its users, whom the check above looks at.
 */
int instances_check_profile_restrictions(struct instances *all, const struct db_profile *p, struct error *err);
/*
 * For the commit point of projects: do the instances and profiles in it keep its new limits and restrictions? 400
 * naming the limit, 403 the instance. The references are held.
 */
int instances_check_project(struct instances *all, const struct db_project *changed, struct error *err);

/* May snapshots of its instances, or exports of them, be made? 403 `Project "p" doesn't allow for snapshot creation`.
 */
int project_allows_snapshots(struct instances *all, const char *project, struct error *err);
int project_allows_backups(struct instances *all, const char *project, struct error *err);

/* What the instances of a project have been given, as far as they say. */
struct instances_project_usage {
	size_t instances;
	uint64_t cpu;
	uint64_t disk_bytes;
	uint64_t memory_bytes;
	uint64_t processes;
};
void instances_project_usage(struct instances *all, const char *project, struct instances_project_usage *ret);

/* What uses a profile, pool or image: appends URLs. */
void instances_using_profile(struct instances *all, const char *project, const char *profile, struct strv *urls);
/* All that are in the project, also such as are being made or removed. */
void instances_in_project(struct instances *all, const char *project, struct strv *urls);
void instances_using_pool(struct instances *all, const char *pool, struct strv *urls);
/* Names of the instances of @project whose root disk is on the pool: appended, sorted. */
void instances_on_pool(struct instances *all, const char *project, const char *pool, struct strv *names);
/* Does a NIC among them use the network (or the interface) @network? */
bool devices_use_network(const struct mapmap *devices, const char *network);
bool device_uses_network(const struct strmap *device, const char *network); /* one */
/* Instances with such a NIC, of their own or from a profile. Fails when a profile is missing. */
int instances_using_network(struct instances *all, const char *network, struct strv *urls, struct error *err);

/* A NIC on a network, as far as its configuration tells. */
struct instance_network_nic {
	char *instance;
	struct mac_addr mac;
	struct ip_addr v4; /* AF_UNSPEC: none is configured */
	struct ip_addr v6;
};

/* Those of the instances of @project; NICs that have no hardware address yet are left out. */
int instances_network_nics(struct instances *all, const char *project, const char *network,
			   struct instance_network_nic **ret, size_t *ret_n, struct error *err);
void instance_network_nics_free(struct instance_network_nic *nics, size_t n);
/* A network_check_fn, @arg being the instances: do the static addresses still lie in the subnet? */
int instances_check_network(void *arg, const struct network_view *before, const struct network_view *after,
			    struct error *err);

/* A network_up_fn, @arg being the instances: make the host entries of its dnsmasq be those of the NICs on it. */
void instances_write_entries(void *arg, const char *network);

/* Rename a profile in the store and in every instance that names it, at once. */
int instances_rename_profile(struct instances *all, const struct db_profile *renamed, const char *old_name,
			     struct error *err);

/* --- life cycle (lifecycle.c) --- */

/* Errors: 400 with the reference's texts when the state does not fit; 500 naming the failed step. */
int instance_start(struct instance *i, struct error *err);
/* @timeout_ms < 0: for ever; 0 or @force: kill. On timeout (-ETIMEDOUT) the container goes on running. */
int instance_stop(struct instance *i, bool force, int64_t timeout_ms, struct error *err);
int instance_restart(struct instance *i, bool force, int64_t timeout_ms, struct error *err);
int instance_freeze(struct instance *i, struct error *err);
int instance_unfreeze(struct instance *i, struct error *err);
enum container_state instance_state(struct instance *i);

/* --- exec (exec.c uses these) --- */

/* Expanded configuration at this moment; the caller cleans. Fails when a profile is missing: nothing may be read from a
 * part. */
int instance_expanded_config(struct instance *i, struct strmap *ret, struct error *err);
/* liblxc's name, and the folder of its logs ($LXD_DIR/logs/<name>); the caller frees. */
char *instance_lxc_name(struct instance *i);
char *instance_log_dir(struct instance *i);
