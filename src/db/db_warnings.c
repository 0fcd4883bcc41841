/* Queries on warnings. */
#include "base/alloc.h"
#include "db/db_internal.h"

void db_warning_done(struct db_warning *r)
{
	free(r->uuid);
	free(r->type);
	free(r->project);
	free(r->entity);
	free(r->message);
	free(r->severity);
	free(r->status);
	*r = (struct db_warning){0};
}

struct load {
	void (*fn)(struct db_warning *row, void *arg);
	void *arg;
};

static int load_warning(sqlite3_stmt *s, void *arg, struct error *err UNUSED)
{
	struct load *l = arg;
	struct db_warning r = {
		.id = db_col_int(s, 0),
		.uuid = db_col_dup(s, 1),
		.type = db_col_dup(s, 2),
		.project = db_col_dup(s, 3),
		.entity = db_col_dup(s, 4),
		.message = db_col_dup(s, 5),
		.severity = db_col_dup(s, 6),
		.status = db_col_dup(s, 7),
		.count = db_col_int(s, 8),
		.first_seen_ns = db_col_int(s, 9),
		.last_seen_ns = db_col_int(s, 10),
	};

	l->fn(&r, l->arg);
	db_warning_done(&r);
	return 0;
}

int db_warnings_load(struct db *db, void (*fn)(struct db_warning *row, void *arg), void *arg, struct error *err)
{
	struct load l = {.fn = fn, .arg = arg};

	return db_select(db, err,
			 "SELECT id, uuid, type, project, entity, message, severity, status, count, first_seen,"
			 " last_seen FROM warnings ORDER BY id",
			 load_warning, &l);
}

int db_warning_insert(struct db *db, struct db_warning *r, struct error *err)
{
	static const char sql[] = "INSERT INTO warnings (uuid, type, project, entity, message, severity, status, count,"
				  " first_seen, last_seen) VALUES (?,?,?,?,?,?,?,?,?,?)";

	return db_insert(db, err, &r->id, sql, "sssssssiii", r->uuid, r->type, r->project, r->entity, r->message,
			 r->severity, r->status, r->count, r->first_seen_ns, r->last_seen_ns);
}

int db_warning_update(struct db *db, const struct db_warning *r, struct error *err)
{
	static const char sql[] =
		"UPDATE warnings SET message=?, severity=?, status=?, count=?, last_seen=? WHERE id=?";

	return db_run(db, err, sql, "sssiii", r->message, r->severity, r->status, r->count, r->last_seen_ns, r->id);
}

int db_warning_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM warnings WHERE id=?";

	return db_run(db, err, sql, "i", id);
}
