/* What connects the API with the network: the gate's troubles become warnings, lost trust cuts websockets. */
#pragma once

#include "api/api.h"

/*
 * Make api->remote, with key pair and authorities in force and watched; nothing is listened on yet. *@http is read when
 * connections come. Errors as server_keys_new().
 */
int remote_side_prepare(struct api *api, struct http_server **http, struct error *err);
