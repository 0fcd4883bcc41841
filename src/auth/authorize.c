#include "auth/authorize.h"

#include "auth/access.h"
#include "base/str.h"

const char *identity_protocol(const struct identity *id)
{
	static const char *const protocols[] = {
		[IDENTITY_NONE] = "none",   [IDENTITY_LOCAL] = "unix",    [IDENTITY_TLS] = "tls",
		[IDENTITY_METRICS] = "tls", [IDENTITY_CANDID] = "candid",
	};

	return protocols[id->kind];
}

const char *identity_name(const struct identity *id)
{
	return id->kind == IDENTITY_CANDID ? id->user : id->fingerprint;
}

bool identity_is_admin(const struct identity *id)
{
	return authorize(id, PERM_ADMIN, NULL);
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
	if (a->kind == IDENTITY_LOCAL)
		return b->kind == IDENTITY_LOCAL;
	/* which certificate a user shows says nothing */
	return a->kind != IDENTITY_NONE && a->kind == b->kind && streq(identity_name(a), identity_name(b));
}

static bool authorize_tls(const struct identity *id, enum permission perm, const char *project)
{
	if (!id->restricted)
		return perm != PERM_INTERNAL;
	/* known, also where nothing is shown to it */
	return perm == PERM_TRUSTED || access_allows(id, perm, project);
}

static bool authorize_metrics(const struct identity *id, enum permission perm, const char *project)
{
	return perm == PERM_METRICS && (!id->restricted || access_allows(id, perm, project));
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
	case IDENTITY_CANDID:
		return access_allows(id, perm, project);
	case IDENTITY_NONE:
		break;
	}
	return false;
}
