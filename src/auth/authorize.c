#include "auth/authorize.h"

#include "base/str.h"

bool identity_is_admin(const struct identity *id)
{
	return id->kind == IDENTITY_LOCAL || (id->kind == IDENTITY_TLS && !id->restricted);
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
	if (a->kind == IDENTITY_LOCAL)
		return b->kind == IDENTITY_LOCAL;
	return a->kind != IDENTITY_NONE && a->kind == b->kind && streq(a->fingerprint, b->fingerprint);
}

/* Does a restricted certificate hold anything in @project? Where it does, it holds the whole set. */
static bool holds_project(const struct identity *id, const char *project)
{
	return project && streq(project, "default") && id->has_default;
}

static bool authorize_metrics(const struct identity *id, enum permission perm, const char *project)
{
	return perm == PERM_METRICS && (!id->restricted || holds_project(id, project));
}

static bool authorize_tls(const struct identity *id, enum permission perm, const char *project)
{
	switch (perm) {
	case PERM_TRUSTED:
		return true;
	case PERM_METRICS:
	case PERM_PROJECT_VIEW:
	case PERM_INSTANCE_USE:
	case PERM_INSTANCE_EDIT:
	case PERM_IMAGE_EDIT:
	case PERM_NETWORK_EDIT:
	case PERM_PROFILE_EDIT:
		return !id->restricted || holds_project(id, project);
	case PERM_ADMIN:
		return !id->restricted;
	default:
		return false;
	}
}

bool authorize(const struct identity *id, enum permission perm, const char *project)
{
	if (perm <= PERM_INVALID || perm >= PERM_MAX)
		return false;
	if (perm == PERM_ANYONE)
		return true;
	switch (id->kind) {
	case IDENTITY_LOCAL:
		return true;
	case IDENTITY_TLS:
		return authorize_tls(id, perm, project);
	case IDENTITY_METRICS:
		return authorize_metrics(id, perm, project);
	case IDENTITY_NONE:
		break;
	}
	return false;
}
