/* The roles, and what each may do: one table. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "auth/authorize.h"
#include "base/error.h"

/* A set of permissions: bit p is enum permission p. */
typedef uint32_t permission_set;

#define PERMISSION_BIT(p) (UINT32_C(1) << (p))

enum role { ROLE_NONE, ROLE_AUDITOR, ROLE_USER, ROLE_OPERATOR, ROLE_ADMIN, ROLE_MAX };

/* Where a role is held. */
enum role_scope {
	SCOPE_PROJECT,  /* in one project */
	SCOPE_PROJECTS, /* in every project, those to come too */
	SCOPE_SERVER,   /* the same; and an admin there is an administrator of the server */
	SCOPE_MAX,
};

/* "auditor". */
const char *role_name(enum role role);
/* For people: what the role is for. */
const char *role_description(enum role role);
/* Errors: 400, naming the roles that there are. "none" is one only where @or_none. */
int role_parse(const char *name, bool or_none, enum role *ret, struct error *err);
/* "project", "projects", "server". */
const char *role_scope_name(enum role_scope scope);
/* The scope of that name; false: there is none. */
bool role_scope_parse(const char *name, enum role_scope *ret);

/* What @role may do where it is held. */
permission_set role_permissions(enum role role, enum role_scope scope);
/*
 * The name of a permission on the wire ("operate-containers"), as the RBAC service and role tables spell it; NULL for
 * what no project's role holds under a name of its own.
 */
const char *permission_name(enum permission perm);
/* What the name grants in a project; 0: nothing that we know. */
permission_set permission_from_name(const char *name);
