/*
 * The audit log, $LXD_DIR/logs/audit.log: one JSON line per security decision, on disk before the call returns. Each
 * line holds the hash of the one before; head and count are in the database too, so that editing and cutting shows.
 * doc/audit.md says what that proves and what it does not.
 */
#pragma once

#include "auth/authorize.h"
#include "db/db.h"

struct audit;

/*
 * Open (or make) the log in folder @log_dir and compare it with the database. What a crash left (lines that were
 * written but not acknowledged, a torn one) is healed, and a line says so. Anything else is damage: the old file is put
 * aside by rotation, and a new chain begins with a line that says what was found; see audit_on_damage().
 */
int audit_new(const char *log_dir, struct db *db, struct audit **ret, struct error *err);
/* Writes the counts that are still held back. */
void audit_free(struct audit *a);

/* Rotate at this size instead of AUDIT_SIZE_MAX. Before threads write. */
void audit_set_size_max(struct audit *a, off_t bytes);
/* @fn gets a sentence when the log is found damaged, from any thread; at once, if audit_new() has found it so. */
void audit_on_damage(struct audit *a, void (*fn)(void *arg, const char *message), void *arg);

struct audit_entry {
	const char *event;         /* constant, one of a few: "certificate-added" */
	const char *verdict;       /* "allowed", "denied", "failed" */
	const struct identity *id; /* NULL: the daemon itself */
	const char *method;        /* of the request; NULL: none */
	const char *path;
	const char *detail; /* fingerprint, key name ...; never a secret; NULL: none. Long texts are cut */
};

/*
 * Append one entry; threads that write at the same time share one sync. What non-administrators are denied or fail at
 * is bounded per event, for all strangers together and for each known certificate: beyond 60 in a row and one a minute
 * they are only counted, and a line says how many, from where. A failure to write is an error (507 when the disk is
 * full, else 500): what was to be decided must then not take place.
 */
int audit_write(struct audit *a, const struct audit_entry *entry, struct error *err);

/* The certificate with fingerprint @was has become @now: what is counted of its denials goes on. */
void audit_renewed(struct audit *a, const char *was, const char *now);
/* Write the counts that are held back: before the daemon ends. */
void audit_flush(struct audit *a);
/* Where the log stands now: what is acknowledged. */
void audit_state(struct audit *a, struct db_audit *ret);
