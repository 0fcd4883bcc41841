/* A remote that knows its users by an identity provider: cookies for its requests, and a login whenever it wants one.
 */
#pragma once

#include "base/error.h"
#include "http/client.h"

struct candid;

/*
 * @jar_path (NULL: not yet) is the file of the remote's cookies, which is read; @domain may be NULL. The login must
 * outlive the connections that use it.
 */
int candid_open(const char *host, unsigned port, const char *jar_path, const char *domain, struct candid **ret,
		struct error *err);
void candid_close(struct candid *c);
DEFINE_CLEANUP(struct candid *, candid_close)
#define auto_candid CLEANUP(candid_closep)
/* For http_client_set_login(); borrowed. */
const struct http_login *candid_login(const struct candid *c);
/* Write the cookies down there, now and after each login. */
int candid_keep(struct candid *c, const char *jar_path, struct error *err);
