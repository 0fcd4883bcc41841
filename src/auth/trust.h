/*
 * The trust store: certificates that may use the API from afar, in the database and, for every request, in memory; and
 * who a caller is by it.
 */
#pragma once

#include "auth/access.h"
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

#define TRUST_CERTIFICATE_INIT ((struct trust_certificate){0})
#define auto_trust_certificate CLEANUP(trust_certificate_done)
void trust_certificate_done(struct trust_certificate *c);

/* Load the store. Rows that make no sense are skipped with a warning in the log: they let nobody in. */
int trust_new(struct db *db, struct trust **ret, struct error *err);
void trust_free(struct trust *t);
/* core.trust_ca_certificates has been read, or changed. Counts only while PKI mode is on. */
void trust_set_ca_certificates(struct trust *t, bool on);
/* There is a server.ca (again, or no longer). Off at first. */
void trust_set_pki(struct trust *t, bool on);
bool trust_pki_is_on(struct trust *t);
/* For tests: @fn gives the seconds since the epoch. */
void trust_set_clock(struct trust *t, int64_t (*fn)(void));

/*
 * Who is this? By the door first; of TLS callers by the leaf, its validity, the PKI verdict and the store. What is not
 * clear is IDENTITY_NONE. Called for every request. Takes a lock that is never held across the disk.
 */
struct identity trust_identify(struct trust *t, const struct http_peer *peer);
/*
 * Has @id still every right that it had: for what goes on beyond the moment in which it was made. Judged by what the
 * connection showed then; a certificate that was revoked by a CRL since is the gate's to cut. Strangers lose nothing.
 */
bool trust_still_holds(struct trust *t, const struct identity *id);
/* The register of rights; lives as long as @t. */
struct access *trust_access(struct trust *t);
/* candid.default_role has been read, or changed. */
void trust_set_default_role(struct trust *t, enum role role);
/* Bindings or groups have changed in the database: read them, and judge again what goes on by them. */
void trust_rights_changed(struct trust *t);
/* The same for a project that was renamed or deleted, which certificates may name. */
void trust_projects_changed(struct trust *t);
/* @fn(@arg) is called, without locks, after a change that may take rights away. At most 4; before requests come. */
void trust_on_change(struct trust *t, void (*fn)(void *arg), void *arg);

/*
 * The certificate whose fingerprint begins with @prefix (hex digits of any case), copied. Errors: 404 `Certificate not
 * found`, also for what is no hex; 500 `More than one certificate matches`.
 */
int trust_find(struct trust *t, const char *prefix, struct trust_certificate *ret, struct error *err);
/* All certificates, oldest first, copied; the caller frees each and the array. */
struct trust_certificate *trust_list(struct trust *t, size_t *ret_n);
/* Add, durably. @c is copied. Errors: 409 `Certificate already in trust store`; 400 type; 404 project. */
int trust_add(struct trust *t, const struct trust_certificate *c, struct error *err);
/*
 * Replace @was, as trust_find() gave it, by @now. Errors: 403 the type differs; 404 it is gone, or a project is not
 * there; 409 the new fingerprint is taken; 412 it has changed since.
 */
int trust_update(struct trust *t, const struct trust_certificate *was, const struct trust_certificate *now,
		 struct error *err);
/*
 * May the holder of @fingerprint try once more to renew it? False after 10 times in an hour, counted over all
 * certificates that the entry has had.
 */
bool trust_take_renewal(struct trust *t, const char *fingerprint);
/* Errors: 404 `Certificate not found`. */
int trust_remove(struct trust *t, const char *fingerprint, struct error *err);
