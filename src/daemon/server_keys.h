/*
 * The server's key pair (server.crt, server.key) and, in PKI mode, its authorities (server.ca, ca.crl): made, read and
 * watched. What changes on disk is in force a moment later; what is bad there leaves the old in force, with a warning.
 */
#pragma once

#include "api/api.h"

struct server_keys;

/*
 * Make the pair when a file of it is missing, read everything, and tell @api and its remote and trust. Errors: a
 * pair that cannot be read, an authority or CRL that is no good.
 */
int server_keys_new(struct api *api, struct server_keys **ret, struct error *err);
/* Watch the files, in a thread of its own. */
int server_keys_watch(struct server_keys *k, struct error *err);
