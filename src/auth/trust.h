/*
 * The trust store: certificates that may use the API from afar, in the database and, for every request, in memory; who
 * a caller is by it; tokens that let one more in; the trust password.
 */
#pragma once

#include "auth/authorize.h"
#include "base/strv.h"
#include "db/db.h"
#include "http/server.h"

struct trust;

struct trust_certificate {
	char *fingerprint;
	char *type; /* "client", "metrics" */
	char *name;
	bool restricted;
	struct strv projects;
	char *pem;
};

void trust_certificate_done(struct trust_certificate *c);

/* Load the store. */
int trust_new(struct db *db, struct trust **ret, struct error *err);
void trust_free(struct trust *t);
/* core.trust_ca_certificates has been read, or changed. */
void trust_set_ca_certificates(struct trust *t, bool on);

/*
 * Who is this? By the door first; of TLS callers by the leaf, its validity, the PKI verdict and the store. What is not
 * clear is IDENTITY_NONE. Called for every request.
 */
struct identity trust_identify(struct trust *t, const struct http_peer *peer);
/* Is the certificate @fingerprint still trusted as @id was: for what goes on beyond a request. */
bool trust_still_holds(struct trust *t, const struct identity *id, const struct http_peer *peer);
/* @fn(@arg) is called, without locks, after a change that may take rights away. */
void trust_on_change(struct trust *t, void (*fn)(void *arg), void *arg);
