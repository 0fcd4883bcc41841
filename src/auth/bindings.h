/*
 * Role bindings and groups: what administrators grant beyond the projects of a certificate. The database is where they
 * are; the register of rights (access.h) follows each change before it returns.
 *
 * An identity is "tls/<fingerprint>", "candid/<user>" or "group/<name>".
 */
#pragma once

#include "auth/trust.h"

/* Can @user be a name at the identity provider: letters, digits and -.+_@ up to IDENTITY_USER_MAX? */
bool user_name_is_valid(const char *user);

/*
 * The full form of what an administrator wrote: a prefix of a fingerprint becomes the fingerprint; users are checked
 * for what can be a name, groups for being there. The caller frees. @or_group: false where only somebody will do.
 * Errors: 400, 404.
 */
int identity_resolve(struct trust *t, struct db *db, const char *text, bool or_group, char **ret, struct error *err);

/*
 * Grant. @b has identity (resolved), role, scope and project checked; its id is set. Errors: 409 there already, or the
 * certificate, group or project is gone.
 */
int binding_add(struct trust *t, struct db *db, struct db_binding *b, struct error *err);
/* Errors: 404. @ret is what was removed. */
int binding_remove(struct trust *t, struct db *db, int64_t id, struct db_binding *ret, struct error *err);

/* Errors: 404 `Group not found`. */
int group_load(struct db *db, const char *name, struct db_group *ret, struct error *err);
/* Members are resolved. Errors as of binding_add(). */
int group_add(struct trust *t, struct db *db, const struct db_group *g, struct error *err);
int group_update(struct trust *t, struct db *db, const struct db_group *g, struct error *err);
/* With what was granted to it. */
int group_remove(struct trust *t, struct db *db, const char *name, struct error *err);
