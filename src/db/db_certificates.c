/* Queries on the trust store. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "db/db_internal.h"

void db_certificate_done(struct db_certificate *r)
{
	free(r->fingerprint);
	free(r->type);
	free(r->name);
	strv_done(&r->projects);
	free(r->certificate);
	*r = (struct db_certificate){0};
}

struct load {
	void (*fn)(struct db_certificate *row, void *arg);
	void *arg;
};

static int load_certificate(sqlite3_stmt *s, void *arg, struct error *err)
{
	struct load *l = arg;
	struct db_certificate r = {
		.id = db_col_int(s, 0),
		.fingerprint = db_col_dup(s, 1),
		.type = db_col_dup(s, 2),
		.name = db_col_dup(s, 3),
		.restricted = db_col_int(s, 4) != 0,
		.certificate = db_col_dup(s, 6),
		.added_ns = db_col_int(s, 7),
	};
	int rc = json_text_to_strv(db_col_str(s, 5), &r.projects, err);

	if (rc == 0)
		l->fn(&r, l->arg);
	else
		error_wrap(err, "Read certificate %s from database", r.fingerprint);
	db_certificate_done(&r);
	return rc;
}

int db_certificates_load(struct db *db, void (*fn)(struct db_certificate *row, void *arg), void *arg, struct error *err)
{
	struct load l = {.fn = fn, .arg = arg};

	return db_select(db, err,
			 "SELECT id, fingerprint, type, name, restricted, projects, certificate, added_at"
			 " FROM certificates ORDER BY id",
			 load_certificate, &l);
}

int db_certificate_insert(struct db *db, struct db_certificate *r, struct error *err)
{
	static const char sql[] = "INSERT INTO certificates (fingerprint, type, name, restricted, projects,"
				  " certificate, added_at) VALUES (?,?,?,?,?,?,?)";
	auto_free char *projects = strv_to_json(&r->projects);

	return db_insert(db, err, &r->id, sql, "sssbssi", r->fingerprint, r->type, r->name, r->restricted, projects,
			 r->certificate, r->added_ns);
}

int db_certificate_update(struct db *db, const struct db_certificate *r, struct error *err)
{
	static const char sql[] = "UPDATE certificates SET fingerprint=?, name=?, restricted=?, projects=?,"
				  " certificate=? WHERE id=?";
	auto_free char *projects = strv_to_json(&r->projects);

	return db_run(db, err, sql, "ssbssi", r->fingerprint, r->name, r->restricted, projects, r->certificate, r->id);
}

int db_certificate_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM certificates WHERE id=?";

	return db_run(db, err, sql, "i", id);
}
