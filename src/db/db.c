/* The engine: opening, statements, transactions. The entities' queries stand in files of their own. */
#include "db/db.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "db/db_internal.h"
#include "db/schema.h"

static int sql_error(struct db *db, int code, const char *what, struct error *err) REQUIRES(db->lock)
{
	const char *text = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code);

	switch (code & 0xff) {
	case SQLITE_CONSTRAINT:
		return error_set(err, 409, "%s: the name is already in use (%s)", what, text);
	case SQLITE_FULL:
		return error_set(err, 507, "%s database %s: No space left on device", what, db->path);
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return error_set(err, 500, "%s: database %s cannot be written: %s", what, db->path, text);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return error_set(err, 500,
				 "%s: database %s is damaged (%s); it was left as it is: restore it from a backup",
				 what, db->path, text);
	default:
		return error_set(err, 500, "%s: database %s: %s", what, db->path, text);
	}
}

static int exec(struct db *db, const char *sql, const char *what, struct error *err) REQUIRES(db->lock)
{
	int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : sql_error(db, code, what, err);
}

static sqlite3_stmt *prepare(struct db *db, const char *sql, struct error *err) REQUIRES(db->lock)
{
	sqlite3_stmt *stmt;
	int code;

	for (size_t i = 0; i < db->n_statements; i++)
		if (db->statements[i].sql == sql)
			return db->statements[i].stmt;
	code = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
	if (code != SQLITE_OK) {
		sql_error(db, code, "Prepare statement", err);
		return NULL;
	}
	if (db->n_statements == DB_STATEMENTS_MAX)
		abort();
	db->statements[db->n_statements].sql = sql;
	db->statements[db->n_statements++].stmt = stmt;
	return stmt;
}

static void bind(sqlite3_stmt *stmt, const char *types, va_list ap)
{
	for (int i = 1; *types; i++, types++) {
		const char *s;

		switch (*types) {
		case 'i':
			sqlite3_bind_int64(stmt, i, va_arg(ap, int64_t));
			break;
		case 'b':
			sqlite3_bind_int64(stmt, i, va_arg(ap, int) != 0);
			break;
		case 's':
			s = va_arg(ap, const char *);
			if (s)
				sqlite3_bind_text(stmt, i, s, -1, SQLITE_TRANSIENT);
			else
				sqlite3_bind_null(stmt, i);
			break;
		default:
			abort();
		}
	}
}

int db_vrun_locked(struct db *db, struct error *err, const char *sql, const char *types, va_list ap)
{
	sqlite3_stmt *stmt = prepare(db, sql, err);
	int code, r = 0;

	if (!stmt)
		return -err->errnum;
	bind(stmt, types, ap);
	code = sqlite3_step(stmt);
	if (code != SQLITE_DONE && code != SQLITE_ROW)
		r = sql_error(db, code, "Write", err);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return r;
}

int db_run_locked(struct db *db, struct error *err, const char *sql, const char *types, ...)
{
	va_list ap;
	int r;

	va_start(ap, types);
	r = db_vrun_locked(db, err, sql, types, ap);
	va_end(ap);
	return r;
}

int db_run(struct db *db, struct error *err, const char *sql, const char *types, ...)
{
	va_list ap;
	int r;

	mutex_lock(&db->lock);
	va_start(ap, types);
	r = db_vrun_locked(db, err, sql, types, ap);
	va_end(ap);
	mutex_unlock(&db->lock);
	return r;
}

int db_insert(struct db *db, struct error *err, int64_t *ret_id, const char *sql, const char *types, ...)
{
	va_list ap;
	int r;

	mutex_lock(&db->lock);
	va_start(ap, types);
	r = db_vrun_locked(db, err, sql, types, ap);
	va_end(ap);
	if (r == 0)
		*ret_id = sqlite3_last_insert_rowid(db->handle);
	mutex_unlock(&db->lock);
	return r;
}

int db_begin(struct db *db, struct error *err)
{
	int r;

	mutex_lock(&db->lock);
	r = exec(db, "BEGIN IMMEDIATE", "Begin transaction", err);
	return r;
}

int db_end(struct db *db, int r, struct error *err)
{
	if (r == 0) {
		r = exec(db, "COMMIT", "Commit transaction", err);
	}
	if (r < 0 && !sqlite3_get_autocommit(db->handle))
		sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
	mutex_unlock(&db->lock);
	return r;
}

int db_select(struct db *db, struct error *err, const char *sql,
	      int (*fn)(sqlite3_stmt *row, void *arg, struct error *err), void *arg)
{
	sqlite3_stmt *stmt;
	int code = SQLITE_DONE, r = 0;

	mutex_lock(&db->lock);
	stmt = prepare(db, sql, err);
	if (!stmt)
		r = -err->errnum;
	while (r == 0 && (code = sqlite3_step(stmt)) == SQLITE_ROW)
		r = fn(stmt, arg, err);
	if (r == 0 && code != SQLITE_DONE)
		r = sql_error(db, code, "Read", err);
	if (stmt)
		sqlite3_reset(stmt);
	mutex_unlock(&db->lock);
	return r;
}

int64_t db_col_int(sqlite3_stmt *row, int col)
{
	return sqlite3_column_int64(row, col);
}

const char *db_col_str(sqlite3_stmt *row, int col)
{
	const char *s = (const char *)sqlite3_column_text(row, col);

	return s ? s : "";
}

char *db_col_dup(sqlite3_stmt *row, int col)
{
	return xstrdup_null((const char *)sqlite3_column_text(row, col));
}

static int version_row(sqlite3_stmt *row, void *arg, struct error *err UNUSED)
{
	*(int64_t *)arg = db_col_int(row, 0);
	return 0;
}

static int check_row(sqlite3_stmt *row, void *arg, struct error *err)
{
	struct db *db = arg;

	if (strcmp(db_col_str(row, 0), "ok") == 0)
		return 0;
	return error_set(err, 500, "Database %s is damaged (%s); it was left as it is: restore it from a backup",
			 db->path, db_col_str(row, 0));
}

/* Brings the schema up to date; each step is one transaction, so a crash leaves the old or the new one. */
static int migrate(struct db *db, int64_t version, struct error *err) UNSHARED
{
	for (; version < schema_version(); version++) {
		auto_free char *sql = xasprintf("BEGIN IMMEDIATE;%s;PRAGMA user_version=%lld;COMMIT",
						schema_step((size_t)version), (long long)version + 1);
		int r = exec(db, sql, "Update database schema", err);

		if (r < 0) {
			sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
			return r;
		}
	}
	return 0;
}

static int setup(struct db *db, struct error *err) UNSHARED
{
	int64_t version = 0;
	int r;

	/* FULL: what was acknowledged survives a power cut, not just a crash of ours */
	r = exec(db,
		 "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA foreign_keys=ON;"
		 "PRAGMA cache_size=-256;PRAGMA temp_store=MEMORY;PRAGMA locking_mode=EXCLUSIVE",
		 "Open database", err);
	if (r == 0)
		r = db_select(db, err, "PRAGMA quick_check(1)", check_row, db);
	if (r == 0)
		r = db_select(db, err, "PRAGMA user_version", version_row, &version);
	if (r < 0)
		return r;
	if (version > schema_version())
		return error_set(err, 500, "Database %s has schema %lld, made by a newer version; this one knows %lld",
				 db->path, (long long)version, (long long)schema_version());
	return migrate(db, version, err);
}

int db_open(const char *path, struct db **ret, struct error *err) UNSHARED
{
	struct db *db = xnew(struct db);
	int code, r;

	mutex_init(&db->lock);
	db->path = xstrdup(path);
	code = sqlite3_open_v2(path, &db->handle,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			       NULL);
	r = code == SQLITE_OK ? setup(db, err) : sql_error(db, code, "Open database", err);
	if (r < 0) {
		db_free(db);
		return r;
	}
	*ret = db;
	return 0;
}

void db_free(struct db *db) UNSHARED
{
	if (!db)
		return;
	for (size_t i = 0; i < db->n_statements; i++)
		sqlite3_finalize(db->statements[i].stmt);
	sqlite3_close(db->handle);
	mutex_done(&db->lock);
	free(db->path);
	free(db);
}

/* The lock stays taken: see the header. */
void db_checkpoint(struct db *db) TSA(no_thread_safety_analysis)
{
	mutex_lock(&db->lock);
	sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}
