/* Shared by the files that make up src/instance/instance.h. */
#pragma once

#include <stdatomic.h>

#include "config/idmap.h"
#include "instance/instance.h"
#include "instance/lxcconf.h"
#include "storage/storage.h"

struct instances {
	char *lxd_dir;
	char *logs_dir;
	char *devices_dir;
	char *seccomp_dir;
	char *apparmor_dir;
	bool apparmor; /* the kernel has it */
	struct store *store;
	struct images *images;
	struct loop *loop;
	struct container_host *host;
	struct networks *networks; /* NULL: none (tests) */
	instance_event_fn event;
	void *event_arg;
	struct schedule *schedule; /* of snapshots; NULL: not begun */
	struct lxcconf_host lxc_host;
	struct idmap base_map; /* the host's range for containers; empty: none */
	/* from the choice of an isolated range until its row is in the list */
	struct mutex idmap_lock;
	/* profiles and pools that instances name: from a check until the change is in memory */
	struct mutex references;
	_Atomic bool stopping; /* the daemon shuts down: containers that stop shall start again at boot */

	struct mutex lock;
	/* pool name: can its file system be mounted with an idmap? asked once */
	struct strmap idmap_pools GUARDED_BY(lock);
	struct cond changed;                     /* some instance's state has */
	struct instance **list GUARDED_BY(lock); /* by project and name; each holds a reference */
	size_t n GUARDED_BY(lock);
};

struct link_ns;

struct instance {
	_Atomic int refs;
	struct instances *all;
	struct mutex busy; /* an operation is at work */
	/*
	 * Guarded by busy: keeps the network namespace of a container with a card of the host alive when the container
	 * ends, so that the card can be taken out of it. NULL: none.
	 */
	struct link_ns *inside;
	/* all below: guarded by all->lock */
	struct db_instance row; /* project and name stay readable for the life of the instance, also without the lock */
	struct strv old_names;  /* what renames left, for readers of row.name */
	unsigned stops;         /* how often it has stopped: for waiting */
	unsigned restarting;    /* operations for which a stop is half of a restart: an ephemeral one stays */
	bool rebooting;         /* it ended to reboot, and liblxc could not do it */
	off_t log_mark;         /* where liblxc's log of this run begins */
	bool gone;              /* deleted: whoever waited for busy gives up */
	enum container_state state;
	struct container_process proc;
	bool stopped_by_itself;          /* the monitor ended and nobody has cleaned up yet */
	struct loop_source *monitor_src; /* loop thread */
	struct loop_source *init_src;    /* loop thread */
	char *json;                      /* cached API object, NULL: to be made */
	size_t json_len;
	unsigned json_generation;       /* of the store, whose profiles it was made with */
	struct db_snapshot **snapshots; /* oldest first */
	size_t n_snapshots;
};

/* Forget the cached object. */
void instance_touch_locked(struct instance *i) REQUIRES(i->all->lock);
/* Insert into the sorted list; takes a reference. */
void instances_insert_locked(struct instances *all, struct instance *i) REQUIRES(all->lock);
void instances_remove_locked(struct instances *all, struct instance *i) REQUIRES(all->lock);
struct instance *instance_new(struct instances *all, struct db_instance *row);
/* References to all ready instances; the caller unrefs each and frees the array. */
size_t instances_snapshot(struct instances *all, struct instance ***ret);

/* An instance's configuration with its profiles: copies. Volatile keys are among config. */
struct instance_expanded {
	struct strmap config;
	struct mapmap devices;
};
void instance_expanded_done(struct instance_expanded *x);
/* 400 `Requested profile "x" doesn't exist`. @override, if not NULL, stands in for the stored profile of its name. */
int instance_expand(struct instances *all, const struct db_instance *row, const struct db_profile *override,
		    struct instance_expanded *ret, struct error *err);

/*
 * The one commit point: is this row, with its profiles, something that may exist? Every key by table, devices,
 * one root disk in a known pool, id map. @old: the row before a change, or NULL. Sets nothing.
 */
int instance_check(struct instances *all, const struct db_instance *row, const struct db_instance *old,
		   const struct db_profile *override, struct instance_expanded *ret, struct error *err)
	REQUIRES(all->lock);

/* Is it one of its profiles, the project being where its profiles are? */
bool instance_uses_profile_locked(struct instance *i, const char *project, const char *profile) REQUIRES(i->all->lock);
/* The pool of the root disk, opened. */
int instance_pool_open(struct instances *all, const char *pool, struct storage_pool *ret, struct error *err);
/* Name of its volume, liblxc's name and all else on disk: the name, with the project in front outside default. */
char *instance_full_name(const char *project, const char *name);
/* The id map that the container shall have now; empty for privileged ones. all->idmap_lock held for isolated ones. */
int instance_choose_idmap(struct instances *all, const struct db_instance *row, const struct strmap *expanded,
			  struct idmap *ret, struct error *err) REQUIRES(all->lock);

/* Watch a running container's two processes; from any thread. Takes the process fds into the instance. */
void instance_adopt_process(struct instance *i, struct container_process *p);
/* In the loop: a watched init has ended (reboot.c). */
void instance_on_init_gone(struct loop_source *src, uint32_t events, void *arg);
/* What liblxc logs of a container from now on is about this run of it. */
void instance_mark_log(struct instance *i);
/* Has the monitor of a container that has ended just now ended in trying to reboot it? */
bool instance_reboot_failed(struct instance *i);
/* After a stop, with busy held: volatile keys, device nodes, removal of ephemeral ones. */
void instance_after_stop(struct instance *i);
/* Logs and what else is kept of an instance beside its volume, under liblxc's name of it. */
int instance_remove_side_folders(struct instances *all, const char *volume, struct error *err);
/* Take busy for new work: what nobody has cleaned up yet after a container that ended by itself is done first. */
void instance_begin(struct instance *i) TSA(acquire_capability(i->busy));
/* The container has stopped, and has been cleaned up after. Errors: 400 it runs; those of a start. */
int instance_start_busy(struct instance *i, struct error *err);

struct restart {
	bool force;
	int64_t timeout_ms;
	/* with busy held, between stop and start; NULL: nothing. After its failure the container starts nevertheless */
	int (*between)(struct instance *i, void *arg, struct error *err);
	void *arg;
};
/* Stop and start a running instance, which stays if it is ephemeral. Errors: of the first step that fails. */
int instance_restart_around(struct instance *i, const struct restart *how, struct error *err);
/* The new row in memory; project and name are those of the old one. @row is taken. */
void instance_take_row(struct instance *i, struct db_instance *row);
/* A deep copy, but for the phase's staging. */
void instance_row_copy(struct db_instance *to, const struct db_instance *from);
int instance_delete_busy(struct instance *i, struct error *err);
/* Write changed volatile keys to the database. */
int instance_save_volatile(struct instance *i, const struct strmap *changes, bool used_now, struct error *err);
/* Apply changed devices and limits to a running container; lifecycle side of instance_update(). */
int instance_apply_live(struct instance *i, const struct instance_expanded *before,
			const struct instance_expanded *after, struct error *err);
