/* Warnings: lasting notes for administrators about what is wrong, one per type and entity, counted when it happens
 * again. */
#pragma once

#include "db/db.h"

struct warnings;

/* Loads them from the database. */
int warnings_new(struct db *db, struct warnings **ret, struct error *err);
void warnings_free(struct warnings *w);

/*
 * Raise (or count again). @type is the constant text that clients see ("Server certificate expires soon"), @severity
 * "low", "moderate" or "high", @entity "" or what it is about. A failure is logged: no caller depends on a warning.
 */
void warnings_raise(struct warnings *w, const char *type, const char *severity, const char *entity,
		    const char *message);
/* The reason is gone: its status becomes resolved. */
void warnings_resolve(struct warnings *w, const char *type, const char *entity);
