/* Queries on storage pools and the server's own configuration. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "db/db_internal.h"

void db_pool_done(struct db_pool *r)
{
	free(r->name);
	free(r->driver);
	free(r->description);
	strmap_done(&r->config);
	*r = (struct db_pool){0};
}

struct load {
	void (*fn)(struct db_pool *row, void *arg);
	void *arg;
};

static int load_pool(sqlite3_stmt *s, void *arg, struct error *err)
{
	struct load *l = arg;
	struct db_pool r = {
		.id = db_col_int(s, 0),
		.name = db_col_dup(s, 1),
		.driver = db_col_dup(s, 2),
		.description = db_col_dup(s, 3),
	};
	int rc = json_text_to_strmap(db_col_str(s, 4), &r.config, err);

	if (rc == 0)
		l->fn(&r, l->arg);
	else
		error_wrap(err, "Read storage pool %s from database", r.name);
	db_pool_done(&r);
	return rc;
}

int db_pools_load(struct db *db, void (*fn)(struct db_pool *row, void *arg), void *arg, struct error *err)
{
	struct load l = {.fn = fn, .arg = arg};

	return db_select(db, err, "SELECT id, name, driver, description, config FROM storage_pools ORDER BY name",
			 load_pool, &l);
}

int db_pool_insert(struct db *db, struct db_pool *r, struct error *err)
{
	static const char sql[] = "INSERT INTO storage_pools (name, driver, description, config) VALUES (?,?,?,?)";
	auto_free char *config = strmap_to_json(&r->config);

	return db_insert(db, err, &r->id, sql, "ssss", r->name, r->driver, r->description, config);
}

int db_pool_update(struct db *db, const struct db_pool *r, struct error *err)
{
	static const char sql[] = "UPDATE storage_pools SET description=?, config=? WHERE id=?";
	auto_free char *config = strmap_to_json(&r->config);

	return db_run(db, err, sql, "ssi", r->description, config, r->id);
}

int db_pool_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM storage_pools WHERE id=?";

	return db_run(db, err, sql, "i", id);
}

static int load_config(sqlite3_stmt *s, void *arg, struct error *err UNUSED)
{
	strmap_set(arg, db_col_str(s, 0), db_col_str(s, 1));
	return 0;
}

int db_config_load(struct db *db, struct strmap *ret, struct error *err)
{
	return db_select(db, err, "SELECT key, value FROM config", load_config, ret);
}

int db_config_replace(struct db *db, const struct strmap *config, struct error *err)
{
	static const char clear_sql[] = "DELETE FROM config";
	static const char insert_sql[] = "INSERT INTO config (key, value) VALUES (?,?)";
	int r = db_begin(db, err);

	if (r == 0)
		r = db_run_locked(db, err, clear_sql, "");
	for (size_t i = 0; r == 0 && i < config->len; i++)
		r = db_run_locked(db, err, insert_sql, "ss", config->items[i].key, config->items[i].value);
	return db_end(db, r, err);
}

struct password_time {
	char *digest;
	int64_t set_ns;
};

static int load_password_time(sqlite3_stmt *s, void *arg, struct error *err UNUSED)
{
	struct password_time *t = arg;

	t->digest = db_col_dup(s, 0);
	t->set_ns = db_col_int(s, 1);
	return 0;
}

int db_trust_password_load(struct db *db, char **ret_digest, int64_t *ret_set_ns, struct error *err)
{
	struct password_time t = {0};
	int r = db_select(db, err, "SELECT digest, set_at FROM trust_password WHERE id=1", load_password_time, &t);

	if (r < 0)
		return r;
	*ret_digest = t.digest;
	*ret_set_ns = t.set_ns;
	return 0;
}

int db_trust_password_store(struct db *db, const char *digest, int64_t set_ns, struct error *err)
{
	static const char sql[] = "INSERT INTO trust_password (id, digest, set_at) VALUES (1,?,?)"
				  " ON CONFLICT (id) DO UPDATE SET digest=excluded.digest, set_at=excluded.set_at";

	return db_run(db, err, sql, "si", digest, set_ns);
}
