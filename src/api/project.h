/* Shared by the files of /1.0/projects. */
#pragma once

#include "api/api.h"

/* The project of the path, for callers that hold @perm there: 403 for others, whether it is there or not; 404. */
int project_find(struct api_call *c, enum permission perm, struct db_project *ret, struct error *err);
/* GET .../state (project_state.c). */
int project_state_get(struct api_call *c, struct error *err);
