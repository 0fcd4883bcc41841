/*
 * Login by an identity provider that speaks Candid's protocol: a caller without ticket is sent there with a macaroon of
 * ours, and comes back with a discharge that says who it is.
 */
#pragma once

#include "auth/access.h"
#include "base/strmap.h"
#include "db/db.h"
#include "http/server.h"

struct candid;

/* Off, until it is configured. @db and @access stay the caller's. */
int candid_new(struct db *db, struct access *access, struct candid **ret, struct error *err);
void candid_free(struct candid *c);

/* Do the keys of the configuration make sense: an address with http or https, base64 of 32 bytes? 400. */
int candid_check(const struct strmap *config, struct error *err);

/*
 * candid.* and core.proxy_* have been read, or changed. Unless @keep_logins (at the start of the daemon) whoever was
 * logged in is no more: root keys are forgotten, in the database too. Cannot fail; what cannot be removed is logged.
 */
void candid_configure(struct candid *c, const struct strmap *config, bool keep_logins);
bool candid_is_on(struct candid *c);

/* Is the request one that macaroons alone decide about: it speaks the bakery's protocol, over TLS, and Candid is on? */
bool candid_concerns(struct candid *c, const struct http_request *req);
/*
 * Who sends it? 1: a user, whose kind, name and what trust_still_holds() looks at are filled into @id, whatever that
 * user may; 0: nobody that we know, so that candid_challenge() is the answer. Errors: 500, a ticket is good, but its
 * user is not one for this server.
 */
int candid_identify(struct candid *c, const struct http_request *req, struct identity *id, struct error *err);
/*
 * The body (JSON, owned by the caller) of a 401 that says where to log in. The first one asks the provider for its
 * public key, unless that is configured: at most ten seconds, one request at a time. Errors: 503, the provider cannot
 * be asked; 400, another version of the protocol.
 */
int candid_challenge(struct candid *c, const struct http_request *req, char **ret, struct error *err);
