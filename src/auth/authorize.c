#include "auth/authorize.h"

#include "base/macros.h"

bool authorize(const struct identity *id, enum permission perm, const char *project UNUSED)
{
	if (perm == PERM_ANYONE)
		return true;
	if (perm <= PERM_INVALID || perm >= PERM_MAX)
		return false;
	return id->kind == IDENTITY_LOCAL;
}
