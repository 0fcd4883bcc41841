/* The server's configuration as clients see and change it: secrets are masked, and changes reach what they govern. */
#pragma once

#include "api/api.h"

/* The "config" object: keys that are secret show as the boolean true. */
void server_config_write(const struct strmap *config, struct jsonw *w);
/* Tag of that object. */
void server_config_etag(const struct strmap *config, char etag[65]);
/*
 * PUT (@replace) or PATCH /1.0. What a change needs (a socket, a hash) is made first, then the change is written to
 * audit log and database, then it takes effect; an error leaves all as it was.
 */
int server_config_change(struct api_call *c, bool replace, struct error *err);
/*
 * Before a user of the identity provider gets a binding: whoever has none shall hold nothing from then on, also when
 * the binding goes again, unless the administrator has said otherwise: candid.default_role is set to none if it is not
 * set.
 */
int server_config_note_users(struct api_call *c, struct error *err);
/* At start: make everything as the stored configuration says. An address that cannot be bound yet is tried again. */
void server_config_apply_stored(struct api *api);
