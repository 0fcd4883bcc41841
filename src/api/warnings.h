/* Warnings: lasting notes for administrators about what is wrong, one per type and entity, counted when it happens
 * again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/jsonw.h"
#include "db/db.h"

struct warnings;

/* Loads them from the database; those that were resolved a day ago are deleted. */
int warnings_new(struct db *db, struct warnings **ret, struct error *err);
void warnings_free(struct warnings *w);

/*
 * Raise (or count again). @type is the constant text that clients see ("Server certificate expires soon"), @severity
 * "low", "moderate" or "high", @entity "" or what it is about. A failure is logged: no caller depends on a warning.
 * May be called often: the database is written at most every 10 seconds for the same warning.
 */
void warnings_raise(struct warnings *w, const char *type, const char *severity, const char *entity,
		    const char *message);
/* The reason is gone: its status becomes resolved. */
void warnings_resolve(struct warnings *w, const char *type, const char *entity);

/* Raises the warning about the server's certificate from 30 days before its end, or resolves it. Seconds since the
 * epoch. */
void warnings_check_certificate_expiry(struct warnings *w, int64_t not_after, int64_t now);

/* Delete those that were resolved more than 24 hours before @now_ns; listing and warnings_new() do it. */
void warnings_prune(struct warnings *w, int64_t now_ns);

/* An array of URLs, or of objects; @project NULL: all. */
void warnings_render_list(struct warnings *w, const char *project, bool objects, struct jsonw *j);
/* The following: 404 `Warning not found`. */
int warnings_render_one(struct warnings *w, const char *uuid, struct jsonw *j, struct error *err);
/* Its status; the caller frees. */
int warnings_status(struct warnings *w, const char *uuid, char **ret, struct error *err);
/* @status is "new", "acknowledged" or "resolved". */
int warnings_set_status(struct warnings *w, const char *uuid, const char *status, struct error *err);
int warnings_delete(struct warnings *w, const char *uuid, struct error *err);
/* How many there are, of every status, and of those that are not resolved. */
uint64_t warnings_count(struct warnings *w);
uint64_t warnings_count_open(struct warnings *w);
