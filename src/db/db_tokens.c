/* Queries on tokens. */
#include <string.h>

#include "base/alloc.h"
#include "db/db_internal.h"

void db_token_done(struct db_token *r)
{
	free(r->uuid);
	free(r->kind);
	if (r->secret)
		explicit_bzero(r->secret, strlen(r->secret));
	free(r->secret);
	free(r->request);
	*r = (struct db_token){0};
}

struct load {
	void (*fn)(struct db_token *row, void *arg);
	void *arg;
};

static int load_token(sqlite3_stmt *s, void *arg, struct error *err UNUSED)
{
	struct load *l = arg;
	struct db_token r = {
		.id = db_col_int(s, 0),
		.uuid = db_col_dup(s, 1),
		.kind = db_col_dup(s, 2),
		.secret = db_col_dup(s, 3),
		.request = db_col_dup(s, 4),
		.created_ns = db_col_int(s, 5),
		.expires_ns = db_col_int(s, 6),
	};

	l->fn(&r, l->arg);
	db_token_done(&r);
	return 0;
}

int db_tokens_load(struct db *db, void (*fn)(struct db_token *row, void *arg), void *arg, struct error *err)
{
	struct load l = {.fn = fn, .arg = arg};

	return db_select(db, err,
			 "SELECT id, uuid, kind, secret, request, created_at, expires_at FROM tokens ORDER BY id",
			 load_token, &l);
}

int db_token_insert(struct db *db, struct db_token *r, struct error *err)
{
	static const char sql[] = "INSERT INTO tokens (uuid, kind, secret, request, created_at, expires_at)"
				  " VALUES (?,?,?,?,?,?)";

	return db_insert(db, err, &r->id, sql, "ssssii", r->uuid, r->kind, r->secret, r->request, r->created_ns,
			 r->expires_ns);
}

int db_token_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM tokens WHERE id=?";

	return db_run(db, err, sql, "i", id);
}
