/*
 * The register of rights: what each caller may do who is neither local nor a full certificate, compiled from the
 * database (projects of restricted certificates, role bindings, groups) into one table in memory. It is read for every
 * request and never changed in place: a change in the database is followed by access_load().
 */
#pragma once

#include "auth/roles.h"
#include "db/db.h"

/* Rights of one project, by its name at the time. */
struct access_right {
	char *project;
	permission_set may;
};

/* What one caller may do. */
struct access_rights {
	permission_set everywhere; /* in all projects and on the server */
	struct access_right *in;   /* sorted by project */
	size_t n;
};

#define ACCESS_RIGHTS_INIT ((struct access_rights){0})
void access_rights_done(struct access_rights *r);
/* Add @may in @project. */
void access_rights_add(struct access_rights *r, const char *project, permission_set may);
/* Does @r hold @perm in @project (NULL: on the server)? */
bool access_rights_hold(const struct access_rights *r, enum permission perm, const char *project);
/* Is everything that @b holds held by @a? */
bool access_rights_cover(const struct access_rights *a, const struct access_rights *b);

/*
 * Who answers for Candid users in the place of bindings: the RBAC service. Called from any thread, also while the
 * caller holds locks: answers come from memory at once.
 */
struct access_provider {
	/* It answers, whatever the answer is: bindings count for no Candid user then. */
	bool (*is_on)(void *arg);
	/* May @user do @perm in @project (NULL: on the server)? What is not known is refused. */
	bool (*allows)(void *arg, const char *user, enum permission perm, const char *project);
	/* A number below 2^63 for what @user holds now; and whether the user has lost nothing since it was given. */
	uint64_t (*seen)(void *arg, const char *user);
	bool (*still_holds)(void *arg, const char *user, uint64_t seen);
	void *arg;
};

/* Nobody holds anything yet. @db stays the caller's. */
struct access *access_new(struct db *db);
void access_free(struct access *a);
/* Read the database anew. When that fails nobody holds anything, until it succeeds. */
int access_load(struct access *a, struct error *err);
/* candid.default_role: what every Candid user holds on the server while no user at all has a binding. */
void access_set_default_role(struct access *a, enum role role);
enum role access_default_role(struct access *a);
/* Before requests come. @p is copied. */
void access_set_provider(struct access *a, const struct access_provider *p);
/*
 * Who vouches for users has changed: what was begun in the name of a user before holds no longer. The number of the
 * present one is for id->login.
 */
void access_end_logins(struct access *a);
unsigned access_login(struct access *a);

/* The rest looks at id->access; without one nothing is held. For restricted certificates and Candid users. */

/* May @id do @perm in @project (NULL: on the server)? */
bool access_allows(const struct identity *id, enum permission perm, const char *project);
/* Does @id hold anything at all? */
bool access_knows(const struct identity *id);
/* For id->rights_seen: what access_still_holds() compares with. */
uint64_t access_seen(const struct identity *id);
/* Does @id still hold every right that it held when its rights_seen was taken? */
bool access_still_holds(const struct identity *id);
