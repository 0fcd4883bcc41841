/*
 * The RBAC service: who of the identity provider's users may do what in which project. It is told of our projects,
 * tells when something has changed, and is asked once per user; answers are kept, and count for some minutes when it is
 * away.
 */
#pragma once

#include "auth/trust.h"
#include "db/store.h"

struct rbac;

/* Off, until it is configured. @store and @trust stay the caller's. */
struct rbac *rbac_new(struct store *store, struct trust *trust);
/* Ends its threads. */
void rbac_free(struct rbac *r);
/* Do the keys of the configuration make sense, alone and beside those of Candid? 400. */
int rbac_check(const struct strmap *config, struct error *err);
/* rbac.* have been read, or changed. Ends what goes on with the service before. */
void rbac_configure(struct rbac *r, const struct strmap *config);
/* Is a service configured? Then it alone decides about users, also when it cannot be asked. */
bool rbac_is_on(struct rbac *r);
/* A request of @user begins: ask the service what is not known of it, at most ten seconds. Without locks. */
void rbac_prepare(struct rbac *r, const char *user);
/* Projects have been made, renamed or deleted: the service is told, in the background. */
void rbac_projects_changed(struct rbac *r);

/* --- parts, for tests --- */

/* One project's permissions, by its id there. */
struct rbac_grant {
	char *project_id;
	permission_set may;
};

struct rbac_grants {
	bool admin; /* of the server */
	struct rbac_grant *items;
	size_t n;
};

#define RBAC_GRANTS_INIT ((struct rbac_grants){0})
void rbac_grants_done(struct rbac_grants *g);
/* {"<project id>": ["view", ...], ...}; names that are not known grant nothing. 502. */
int rbac_read_grants(const char *text, size_t len, struct rbac_grants *ret, struct error *err);
/* {"": ["admin"]} makes an administrator. 502. */
int rbac_read_admin(const char *text, size_t len, bool *ret, struct error *err);
