/*
 * The daemon's lasting state: one SQLite file in WAL mode, one connection, one lock. Above this folder nobody
 * sees SQL. Each function below is one transaction, durable when it returns.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strmap.h"
#include "base/strv.h"

struct db;

/*
 * Open or create @path (its folder exists). Errors name the file and what to do: damaged, from a newer
 * version, not writable, disk full. A damaged file is left as it is.
 */
int db_open(const char *path, struct db **ret, struct error *err);
void db_free(struct db *db);
/* Waits for a running transaction and keeps further ones out: for the end of the process. */
void db_checkpoint(struct db *db);

/* A row whose files are being made or removed: a restart finishes or undoes it. */
enum db_phase { DB_READY, DB_CREATING, DB_DELETING, DB_RENAMING, DB_RESTORING };

struct db_instance {
	int64_t id;
	char *project;
	char *name;
	char *architecture;
	char *description;
	char *pool;    /* where its root file system is */
	char *staging; /* uuid of its tree while creating or deleting, new name (PROJECT/NAME to another project) while
			  renaming, while restoring ID/BEFORE: of the snapshot, and of the volume there was
			  (storage_volume_id()), else NULL */
	bool ephemeral;
	struct strmap config;    /* without volatile.* */
	struct strmap volatile_; /* keys with their volatile. prefix */
	struct mapmap devices;
	struct strv profiles;
	int64_t created_ns;
	int64_t last_used_ns;
	enum db_phase phase;
};

/* What an instance was at a moment. */
struct db_snapshot {
	int64_t id;
	int64_t instance_id;
	char *name;    /* unique among those of the instance */
	char *volume;  /* uuid, in the pool of the instance */
	char *staging; /* uuid of its tree while creating or deleting, else NULL */
	char *architecture;
	bool ephemeral;
	struct strmap config;
	struct strmap volatile_;
	struct mapmap devices;
	struct strv profiles;
	int64_t created_ns;
	int64_t last_used_ns;
	int64_t expires_ns; /* TIME_GO_ZERO: never */
	bool frozen;        /* while creating: the running container is held still for it */
	enum db_phase phase;
};

struct db_project {
	int64_t id;
	char *name;
	char *description;
	struct strmap config;
};

struct db_profile {
	int64_t id;
	char *project;
	char *name;
	char *description;
	struct strmap config;
	struct mapmap devices;
};

struct db_image {
	int64_t id;
	char *project;
	char *fingerprint;
	char *filename;
	char *architecture;
	char *type; /* container */
	int64_t size_bytes;
	bool is_public;
	bool auto_update;
	bool cached;
	bool split; /* has a .rootfs file */
	int64_t created_ns;
	int64_t expires_ns;
	int64_t uploaded_ns;
	int64_t last_used_ns;
	struct strmap properties;
	struct strv profiles;
	char *meta_ext;   /* export extension of the (metadata) file, ".tar.xz" */
	char *rootfs_ext; /* of the .rootfs file; "" for unified */
	char *source;     /* JSON: the server it came from; "": none */
	char *staging;
	enum db_phase phase;
};

struct db_alias {
	int64_t id;
	char *project;
	char *name;
	char *description;
	int64_t image_id;
};

struct db_pool {
	int64_t id;
	char *name;
	char *driver;
	char *description;
	struct strmap config;
};

/* A managed network. */
struct db_network {
	int64_t id;
	char *name;
	char *type; /* "bridge" */
	char *description;
	struct strmap config;
	char *hwaddr;   /* of the bridge, unless the configuration has another */
	char *new_name; /* phase renaming; NULL: none */
	enum db_phase phase;
};

/* A root key of macaroons. */
struct db_macaroon_key {
	char *id;
	char *key; /* secret */
	int64_t created_ns;
	int64_t expires_ns; /* when the last macaroon that was made with it has expired */
};

/* Who may come from afar. */
struct db_certificate {
	int64_t id;
	char *fingerprint;
	char *type; /* "client", "metrics" */
	char *name;
	bool restricted;
	struct strv projects;
	char *certificate; /* PEM */
	int64_t added_ns;
};

/*
 * What a caller holds, as bindings, groups and restricted certificates grant it; borrowed. Subjects are
 * "tls/<fingerprint>" and "candid/<user>".
 */
struct db_right {
	const char *subject;
	const char *role;
	const char *scope;
	const char *project; /* "": the scope is no project */
};

/* A role that is granted. */
struct db_binding {
	int64_t id;     /* never used again */
	char *identity; /* "tls/<fingerprint>", "candid/<user>", "group/<name>" */
	char *role;
	char *scope;
	char *project; /* NULL: the scope is no project */
};

/* A group of identities, which are none themselves. */
struct db_group {
	char *name;
	char *description;
	struct strv members;
};

/* An invitation: whoever knows the secret may do once what @kind and @request say. */
struct db_token {
	int64_t id;
	char *uuid; /* of its operation */
	char *kind; /* "certificate", "image-secret", "image-upload" */
	char *secret;
	char *request; /* JSON text, by kind */
	int64_t created_ns;
	int64_t expires_ns; /* TIME_GO_ZERO: never */
};

void db_instance_done(struct db_instance *r);
void db_snapshot_done(struct db_snapshot *r);
void db_project_done(struct db_project *r);
void db_profile_done(struct db_profile *r);
void db_image_done(struct db_image *r);
void db_alias_done(struct db_alias *r);
void db_pool_done(struct db_pool *r);
void db_network_done(struct db_network *r);
void db_certificate_done(struct db_certificate *r);
void db_macaroon_key_done(struct db_macaroon_key *r); /* wipes the key */
void db_binding_done(struct db_binding *r);
void db_group_done(struct db_group *r);
void db_token_done(struct db_token *r); /* wipes the secret */

/* Load all rows of a table: @fn takes over the row's content (it is zeroed afterwards). */
int db_instances_load(struct db *db, void (*fn)(struct db_instance *row, void *arg), void *arg, struct error *err);
/* Oldest first. */
int db_snapshots_load(struct db *db, void (*fn)(struct db_snapshot *row, void *arg), void *arg, struct error *err);
int db_projects_load(struct db *db, void (*fn)(struct db_project *row, void *arg), void *arg, struct error *err);
int db_profiles_load(struct db *db, void (*fn)(struct db_profile *row, void *arg), void *arg, struct error *err);
int db_images_load(struct db *db, void (*fn)(struct db_image *row, void *arg), void *arg, struct error *err);
int db_aliases_load(struct db *db, void (*fn)(struct db_alias *row, void *arg), void *arg, struct error *err);
int db_pools_load(struct db *db, void (*fn)(struct db_pool *row, void *arg), void *arg, struct error *err);
int db_networks_load(struct db *db, void (*fn)(struct db_network *row, void *arg), void *arg, struct error *err);
int db_certificates_load(struct db *db, void (*fn)(struct db_certificate *row, void *arg), void *arg,
			 struct error *err);
/* Oldest first. */
int db_macaroon_keys_load(struct db *db, void (*fn)(struct db_macaroon_key *row, void *arg), void *arg,
			  struct error *err);
int db_bindings_load(struct db *db, void (*fn)(struct db_binding *row, void *arg), void *arg, struct error *err);
int db_groups_load(struct db *db, void (*fn)(struct db_group *row, void *arg), void *arg, struct error *err);
/* All rights, sorted by subject. Those of certificates that are not restricted are there too: they add nothing. */
int db_rights_load(struct db *db, void (*fn)(const struct db_right *row, void *arg), void *arg, struct error *err);
int db_tokens_load(struct db *db, void (*fn)(struct db_token *row, void *arg), void *arg, struct error *err);

/* Insert sets row->id. A name that is taken: -EEXIST (409). */
int db_instance_insert(struct db *db, struct db_instance *row, struct error *err);
/* Writes every column but id, project and the volatile keys. */
int db_instance_update(struct db *db, const struct db_instance *row, struct error *err);
/* The same with the volatile keys and the time of last use, at once. */
int db_instance_update_all(struct db *db, const struct db_instance *row, struct error *err);
/* Writes phase and staging only. */
int db_instance_set_phase(struct db *db, int64_t id, enum db_phase phase, const char *staging, struct error *err);
/* Writes the volatile keys and last_used only. */
int db_instance_set_volatile(struct db *db, const struct db_instance *row, struct error *err);
/* The new project and name, and phase ready. */
int db_instance_move(struct db *db, int64_t id, const char *project, const char *name, struct error *err);
int db_instance_delete(struct db *db, int64_t id, struct error *err);

/* Snapshots. insert fills in row->id; -EEXIST (409): the instance has one of that name. */
int db_snapshot_insert(struct db *db, struct db_snapshot *row, struct error *err);
int db_snapshot_set_phase(struct db *db, int64_t id, enum db_phase phase, const char *staging, struct error *err);
int db_snapshot_update(struct db *db, int64_t id, const char *name, int64_t expires_ns, struct error *err);
int db_snapshot_delete(struct db *db, int64_t id, struct error *err);
/* An instance is what a snapshot was: all that a restore changes, and phase ready. */
int db_instance_restored(struct db *db, const struct db_instance *row, struct error *err);

/*
 * Projects. insert fills in row->id; 409 when the name is taken. @profile, if not NULL, is the project's default
 * profile, made in the same step: its id is set.
 */
int db_project_insert(struct db *db, struct db_project *row, struct db_profile *profile, struct error *err);
/* Writes description and config; @drop_profile, if not negative, is the id of a profile that goes. */
int db_project_update(struct db *db, const struct db_project *row, struct db_profile *profile, int64_t drop_profile,
		      struct error *err);
/* Of a project with nothing but profiles in it. -EEXIST (409): the name is taken, or there is more in it. */
int db_project_rename(struct db *db, int64_t id, const char *old_name, const char *name, struct error *err);
/* With its profiles. -EEXIST (409): there is more in it. */
int db_project_delete(struct db *db, int64_t id, const char *name, struct error *err);

/* Profiles. insert fills in row->id; 409 when the name is taken. */
int db_profile_insert(struct db *db, struct db_profile *row, struct error *err);
int db_profile_update(struct db *db, const struct db_profile *row, struct error *err);
/* An instance, or a snapshot, that names a profile. */
struct db_profile_user {
	int64_t id;
	bool snapshot;
	struct strv *profiles; /* borrowed */
};
/* Rename, together with all that name it (given with their new lists). */
int db_profile_rename(struct db *db, const struct db_profile *row, const struct db_profile_user *users, size_t n_users,
		      struct error *err);
int db_profile_delete(struct db *db, int64_t id, struct error *err);

/* Images. insert fills in row->id. */
int db_image_insert(struct db *db, struct db_image *row, struct error *err);
int db_image_update(struct db *db, const struct db_image *row, struct error *err);
int db_image_delete(struct db *db, int64_t id, struct error *err); /* and its aliases */
int db_alias_insert(struct db *db, struct db_alias *row, struct error *err);
int db_alias_update(struct db *db, const struct db_alias *row, struct error *err);
int db_alias_delete(struct db *db, int64_t id, struct error *err);

/* Storage pools. insert fills in row->id; 409 when the name is taken. */
int db_pool_insert(struct db *db, struct db_pool *row, struct error *err);
int db_pool_update(struct db *db, const struct db_pool *row, struct error *err);
int db_pool_delete(struct db *db, int64_t id, struct error *err);

/* Networks. insert fills in row->id; 409 when the name is taken. Update writes every column but id, type and hwaddr. */
int db_network_insert(struct db *db, struct db_network *row, struct error *err);
int db_network_update(struct db *db, const struct db_network *row, struct error *err);
int db_network_delete(struct db *db, int64_t id, struct error *err);

/* Certificates. insert fills in row->id; 409 when the fingerprint is taken. */
int db_certificate_insert(struct db *db, struct db_certificate *row, struct error *err);
/* Writes every column but id, type and added_ns. */
int db_certificate_update(struct db *db, const struct db_certificate *row, struct error *err);
int db_certificate_delete(struct db *db, int64_t id, struct error *err);
int db_macaroon_key_insert(struct db *db, const struct db_macaroon_key *row, struct error *err);
/* Those that expire until @expired_ns; INT64_MAX: all. */
int db_macaroon_keys_delete(struct db *db, int64_t expired_ns, struct error *err);
/*
 * Bindings and groups. Names must have been checked to exist; what is gone meanwhile is -EEXIST, as is what is there
 * already.
 */
int db_binding_insert(struct db *db, struct db_binding *row, struct error *err);
int db_binding_delete(struct db *db, int64_t id, struct error *err);
int db_group_insert(struct db *db, const struct db_group *row, struct error *err);
/* The description and all members, by name. */
int db_group_update(struct db *db, const struct db_group *row, struct error *err);
int db_group_delete(struct db *db, const char *name, struct error *err); /* and its bindings */

/* Tokens. insert fills in row->id. */
int db_token_insert(struct db *db, struct db_token *row, struct error *err);
int db_token_delete(struct db *db, int64_t id, struct error *err);

/* Server configuration. Replace writes the whole map. */
int db_config_load(struct db *db, struct strmap *ret, struct error *err);
int db_config_replace(struct db *db, const struct strmap *config, struct error *err);

/* Where the audit log stands: its last line's number and hash, and the number of the oldest line that is still kept
 * with the hash of the one before that. */
struct db_audit {
	int64_t count; /* 0: no line yet */
	char head[65];
	int64_t first;
	char first_prev[65];
};

/* 1 when the row is there, 0 when it is not (@ret is untouched). */
int db_audit_load(struct db *db, struct db_audit *ret, struct error *err);
int db_audit_save(struct db *db, const struct db_audit *a, struct error *err);
/* The same as load from the file at @path, which is only read. -EBUSY: a daemon holds it. */
int db_audit_peek(const char *path, struct db_audit *ret, struct error *err);

struct db_warning {
	int64_t id;
	char *uuid;
	char *type;
	char *project; /* "": of the whole server */
	char *entity;
	char *message;
	char *severity;
	char *status;
	int64_t count;
	int64_t first_seen_ns;
	int64_t last_seen_ns;
};

void db_warning_done(struct db_warning *r);
/* Oldest first; @fn as above. */
int db_warnings_load(struct db *db, void (*fn)(struct db_warning *row, void *arg), void *arg, struct error *err);
/* Sets row->id. */
int db_warning_insert(struct db *db, struct db_warning *row, struct error *err);
/* Writes message, severity, status, count and last_seen. */
int db_warning_update(struct db *db, const struct db_warning *row, struct error *err);
int db_warning_delete(struct db *db, int64_t id, struct error *err);

/* Since when the trust password with this @digest is set; *@ret_digest is NULL when nothing was ever noted. */
int db_trust_password_load(struct db *db, char **ret_digest, int64_t *ret_set_ns, struct error *err);
int db_trust_password_store(struct db *db, const char *digest, int64_t set_ns, struct error *err);
