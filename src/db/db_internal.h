/* Shared by the files of src/db: running statements with bound values. */
#pragma once

#include <sqlite3.h>

#include "base/thread.h"
#include "db/db.h"

#define DB_STATEMENTS_MAX 128

struct db {
	struct mutex lock;
	sqlite3 *handle GUARDED_BY(lock);
	char *path;
	/* prepared once; keyed by the address of the SQL constant */
	struct {
		const char *sql;
		sqlite3_stmt *stmt;
	} statements[DB_STATEMENTS_MAX] GUARDED_BY(lock);
	size_t n_statements GUARDED_BY(lock);
};

/*
 * Run a statement that yields no rows. @types has a letter per bound value: i int64_t, s const char * (NULL is
 * SQL NULL), b int as boolean. @sql must be a constant. Constraint violations: -EEXIST (409); full disk 507.
 */
int db_run_locked(struct db *db, struct error *err, const char *sql, const char *types, ...) REQUIRES(db->lock);
/* The same as a transaction of its own. */
int db_run(struct db *db, struct error *err, const char *sql, const char *types, ...) EXCLUDES(db->lock);
int db_vrun_locked(struct db *db, struct error *err, const char *sql, const char *types, va_list ap) REQUIRES(db->lock);
/* Same, and the id of the new row. */
int db_insert(struct db *db, struct error *err, int64_t *ret_id, const char *sql, const char *types, ...)
	EXCLUDES(db->lock);

/* Takes the lock and begins a transaction. db_end() must follow with the result, also when this failed. */
int db_begin(struct db *db, struct error *err) TSA(acquire_capability(db->lock));
/* Commits when @r is 0, else rolls back; returns the result. */
int db_end(struct db *db, int r, struct error *err) TSA(release_capability(db->lock));

/* Call @fn for each row; a negative result stops. */
int db_select(struct db *db, struct error *err, const char *sql,
	      int (*fn)(sqlite3_stmt *row, void *arg, struct error *err), void *arg) EXCLUDES(db->lock);

/* A column of the row at hand: 0 for NULL; others as they say. */
int64_t db_col_int(sqlite3_stmt *row, int col);
const char *db_col_str(sqlite3_stmt *row, int col); /* "" for NULL; borrowed until the next row */
char *db_col_dup(sqlite3_stmt *row, int col);       /* NULL for NULL */
