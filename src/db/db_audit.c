/* Queries on the audit log's place in the database: one row. */
#include <string.h>

#include "base/alloc.h"
#include "db/db_internal.h"

#define PEEK_WAIT_MS 200

static const char load_sql[] = "SELECT head, count, first, first_prev FROM audit WHERE id=1";

struct load {
	struct db_audit row;
	bool found;
};

static int copy_hash(const char *text, char to[65], struct error *err)
{
	if (strlen(text) != 64)
		return error_set(err, 500, "The database's row of the audit log holds no hash");
	memcpy(to, text, 65);
	return 0;
}

static int load_row(sqlite3_stmt *s, void *arg, struct error *err)
{
	struct load *l = arg;
	int r = copy_hash(db_col_str(s, 0), l->row.head, err);

	if (r == 0)
		r = copy_hash(db_col_str(s, 3), l->row.first_prev, err);
	l->row.count = db_col_int(s, 1);
	l->row.first = db_col_int(s, 2);
	l->found = true;
	return r;
}

int db_audit_load(struct db *db, struct db_audit *ret, struct error *err)
{
	struct load l = {0};
	int r = db_select(db, err, load_sql, load_row, &l);

	if (r < 0)
		return r;
	if (l.found)
		*ret = l.row;
	return l.found;
}

int db_audit_save(struct db *db, const struct db_audit *a, struct error *err)
{
	static const char sql[] =
		"INSERT OR REPLACE INTO audit (id, head, count, first, first_prev) VALUES (1,?,?,?,?)";

	return db_run(db, err, sql, "siis", a->head, a->count, a->first, a->first_prev);
}

static int peek(sqlite3 *handle, struct load *l, struct error *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = 0, code = sqlite3_prepare_v2(handle, load_sql, -1, &stmt, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		r = load_row(stmt, l, err);
	sqlite3_finalize(stmt);
	if ((code & 0xff) == SQLITE_BUSY) {
		r = error_set(err, 500, "The database is in use");
		err->errnum = EBUSY;
		return -EBUSY;
	}
	if (code != SQLITE_ROW && code != SQLITE_DONE)
		r = error_set(err, 500, "%s", sqlite3_errmsg(handle));
	return r;
}

int db_audit_peek(const char *path, struct db_audit *ret, struct error *err)
{
	struct load l = {0};
	sqlite3 *handle = NULL;
	int r, code = sqlite3_open_v2(path, &handle, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);

	if (code == SQLITE_OK) {
		sqlite3_busy_timeout(handle, PEEK_WAIT_MS);
		r = peek(handle, &l, err);
	} else {
		r = error_set(err, 500, "%s", handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code));
	}
	sqlite3_close(handle);
	if (r < 0)
		return error_wrap(err, "Read database %s", path);
	if (l.found)
		*ret = l.row;
	return l.found;
}
