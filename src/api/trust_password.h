/* The trust password as the API uses it: guesses of strangers, and the automatic unset. */
#pragma once

#include "api/api.h"

/*
 * Is @given the trust password? 403 `not authorized` whether it is wrong, unset, too long or not looked at because of
 * the throttle (auth/password.h); 503 when too many are being looked at. Failures are in the log, the audit log and the
 * warnings.
 */
int trust_password_check(struct api_call *c, const char *given, struct error *err);

/*
 * The server's configuration has been stored, or loaded at start: arm, move or drop the time at which the password
 * unsets itself (core.trust_password.expiry after it was set), also when that has passed while the daemon was away.
 */
int trust_password_configured(struct api *api, struct error *err) REQUIRES(api->config_lock);
