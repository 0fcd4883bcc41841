/* Who a caller is, and the one decision whether it may do something. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

enum permission {
	PERM_INVALID, /* a route row without a permission: the router refuses to start */
	PERM_ANYONE,  /* also untrusted callers */
	PERM_SERVER_VIEW,
	PERM_SERVER_EDIT,
	PERM_STORAGE_EDIT,
	PERM_PROJECT_VIEW,  /* anything that lives in a project: read */
	PERM_INSTANCE_EDIT, /* create, change, delete */
	PERM_INSTANCE_USE,  /* life cycle, exec */
	PERM_IMAGE_EDIT,
	PERM_PROFILE_EDIT,
	PERM_INTERNAL, /* the local administrator's tools only */
	PERM_MAX,
};

enum identity_kind {
	IDENTITY_NONE,  /* nobody we know */
	IDENTITY_LOCAL, /* came through the UNIX socket: root-equivalent */
};

struct identity {
	enum identity_kind kind;
	uid_t uid; /* IDENTITY_LOCAL */
};

/* May @id do @perm in @project (NULL: on the server)? Everything that is not allowed by a rule is refused. */
bool authorize(const struct identity *id, enum permission perm, const char *project);
