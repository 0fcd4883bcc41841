/* What the framework's own files share; commands do not include this. */
#pragma once

#include "client/client.h"

struct cli_connection {
	char *remote;
	struct api *api;
};
