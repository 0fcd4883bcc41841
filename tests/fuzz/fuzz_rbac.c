/* Fuzz target: what an RBAC service answers. Nothing but known permissions comes of it. */
#include <stdlib.h>

#include "rbac/rbac.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const permission_set known = role_permissions(ROLE_ADMIN, SCOPE_PROJECT);
	CLEANUP(rbac_grants_done) struct rbac_grants g = RBAC_GRANTS_INIT;
	auto_error struct error err = ERROR_INIT;
	bool admin;

	if (rbac_read_grants((const char *)data, size, &g, &err) < 0)
		error_ignore(&err, "it makes no sense");
	for (size_t k = 0; k < g.n; k++)
		if (!g.items[k].project_id || !g.items[k].may || g.items[k].may & ~known)
			abort();
	if (rbac_read_admin((const char *)data, size, &admin, &err) < 0) {
		error_ignore(&err, "it makes no sense");
		if (admin)
			abort();
	}
	return 0;
}
