/* Queries on the root keys of macaroons. */
#include <string.h>

#include "base/alloc.h"
#include "db/db_internal.h"

void db_macaroon_key_done(struct db_macaroon_key *r)
{
	free(r->id);
	if (r->key)
		explicit_bzero(r->key, strlen(r->key));
	free(r->key);
	*r = (struct db_macaroon_key){0};
}

struct load {
	void (*fn)(struct db_macaroon_key *row, void *arg);
	void *arg;
};

static int load_key(sqlite3_stmt *s, void *arg, struct error *err UNUSED)
{
	struct load *l = arg;
	struct db_macaroon_key r = {.id = db_col_dup(s, 0),
				    .key = db_col_dup(s, 1),
				    .created_ns = db_col_int(s, 2),
				    .expires_ns = db_col_int(s, 3)};

	l->fn(&r, l->arg);
	db_macaroon_key_done(&r);
	return 0;
}

int db_macaroon_keys_load(struct db *db, void (*fn)(struct db_macaroon_key *row, void *arg), void *arg,
			  struct error *err)
{
	struct load l = {.fn = fn, .arg = arg};

	return db_select(db, err, "SELECT id, key, created_at, expires_at FROM macaroon_keys ORDER BY created_at",
			 load_key, &l);
}

int db_macaroon_key_insert(struct db *db, const struct db_macaroon_key *r, struct error *err)
{
	static const char sql[] = "INSERT INTO macaroon_keys (id, key, created_at, expires_at) VALUES (?,?,?,?)";

	return db_run(db, err, sql, "ssii", r->id, r->key, r->created_ns, r->expires_ns);
}

int db_macaroon_keys_delete(struct db *db, int64_t expired_ns, struct error *err)
{
	static const char sql[] = "DELETE FROM macaroon_keys WHERE expires_at<=?";

	return db_run(db, err, sql, "i", expired_ns);
}
