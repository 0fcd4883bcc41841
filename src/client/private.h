/* What the framework's own files share; commands do not include this. */
#pragma once

#include "client/candid.h"
#include "client/client.h"

struct cli_connection {
	char *remote;
	struct api *api;
	struct candid *login; /* NULL: by certificate, or none is needed */
};
