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

bool authorize(const struct identity *id, enum permission perm, const char *project UNUSED)
{
	if (perm == PERM_ANYONE)
		return true;
	if (perm <= PERM_INVALID || perm >= PERM_MAX)
		return false;
	if (perm == PERM_INTERNAL)
		return id->kind == IDENTITY_LOCAL;
	return identity_is_admin(id);
}
