/*
 * The audit log, $LXD_DIR/logs/audit.log: one JSON line per security decision, on disk before the call returns. Each
 * line holds the hash of the one before; head and count are in the database too, so that editing and cutting shows.
 */
#pragma once

#include "auth/authorize.h"
#include "db/db.h"

struct audit;

/* Opens (or makes) the log below @log_dir, and checks that its end fits the database. */
int audit_new(const char *log_dir, struct db *db, struct audit **ret, struct error *err);
void audit_free(struct audit *a);

struct audit_entry {
	const char *event;   /* constant, "certificate-added" */
	const char *verdict; /* "allowed", "denied", "failed" */
	const struct identity *id;
	const char *method; /* of the request; NULL: none */
	const char *path;
	const char *detail; /* fingerprint, key name ...; never a secret; NULL: none */
};

/*
 * Append one entry. Strangers' denials are bounded: beyond a rate they are counted, and one line says how many. A
 * failure to write is an error (500): what was to be decided must then not take place.
 */
int audit_write(struct audit *a, const struct audit_entry *entry, struct error *err);
