#include "auth/roles.h"

#include "base/macros.h"
#include "base/str.h"

#define BIT(p) PERMISSION_BIT(PERM_##p)

#define AUDITOR (BIT(TRUSTED) | BIT(METRICS) | BIT(PROJECT_VIEW))
#define USER (AUDITOR | BIT(INSTANCE_USE))
#define OPERATOR \
	(USER | BIT(INSTANCE_EDIT) | BIT(IMAGE_EDIT) | BIT(NETWORK_EDIT) | BIT(PROFILE_EDIT) | BIT(VOLUME_EDIT))
#define ADMIN (OPERATOR | BIT(PROJECT_EDIT))

static const struct {
	const char *name;
	const char *description;
	permission_set may;
} roles[ROLE_MAX] = {
	[ROLE_NONE] = {"none", "Nothing", 0},
	[ROLE_AUDITOR] = {"auditor", "Looks at everything in the project", AUDITOR},
	[ROLE_USER] = {"user", "Uses instances: start, stop, exec, console, files, snapshots", USER},
	[ROLE_OPERATOR] = {"operator", "Makes, changes and deletes instances, images, profiles, networks, volumes",
			   OPERATOR},
	[ROLE_ADMIN] = {"admin", "Changes the project itself too; on the server: everything", ADMIN},
};

static const char *const scopes[SCOPE_MAX] = {
	[SCOPE_PROJECT] = "project",
	[SCOPE_PROJECTS] = "projects",
	[SCOPE_SERVER] = "server",
};

/* As the reference and the RBAC service spell them; "instances" does not occur there. */
static const struct {
	const char *name;
	enum permission perm;
} names[] = {
	{"view", PERM_PROJECT_VIEW},
	{"operate-containers", PERM_INSTANCE_USE},
	{"manage-containers", PERM_INSTANCE_EDIT},
	{"manage-images", PERM_IMAGE_EDIT},
	{"manage-networks", PERM_NETWORK_EDIT},
	{"manage-profiles", PERM_PROFILE_EDIT},
	{"manage-storage-volumes", PERM_VOLUME_EDIT},
	{"manage-projects", PERM_PROJECT_EDIT},
};

const char *role_name(enum role role)
{
	return roles[role].name;
}

const char *role_description(enum role role)
{
	return roles[role].description;
}

int role_parse(const char *name, bool or_none, enum role *ret, struct error *err)
{
	for (enum role r = or_none ? ROLE_NONE : ROLE_AUDITOR; r < ROLE_MAX; r++) {
		if (streq(roles[r].name, name)) {
			*ret = r;
			return 0;
		}
	}
	return error_set(err, 400, "Unknown role \"%s\": it is one of %sauditor, user, operator, admin", name,
			 or_none ? "none, " : "");
}

const char *role_scope_name(enum role_scope scope)
{
	return scopes[scope];
}

bool role_scope_parse(const char *name, enum role_scope *ret)
{
	for (size_t k = 0; k < ARRAY_SIZE(scopes); k++) {
		if (streq(scopes[k], name)) {
			*ret = (enum role_scope)k;
			return true;
		}
	}
	return false;
}

permission_set role_permissions(enum role role, enum role_scope scope)
{
	return roles[role].may | (role == ROLE_ADMIN && scope == SCOPE_SERVER ? BIT(ADMIN) : 0);
}

const char *permission_name(enum permission perm)
{
	for (size_t k = 0; k < ARRAY_SIZE(names); k++)
		if (names[k].perm == perm)
			return names[k].name;
	return NULL;
}

permission_set permission_from_name(const char *name)
{
	for (size_t k = 0; k < ARRAY_SIZE(names); k++)
		if (streq(names[k].name, name))
			/* who may look at a project may read its metrics */
			return PERMISSION_BIT(names[k].perm) | (names[k].perm == PERM_PROJECT_VIEW ? BIT(METRICS) : 0);
	return 0;
}
