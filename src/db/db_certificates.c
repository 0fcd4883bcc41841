/* Queries on the trust store. */
#include <errno.h>

#include "base/alloc.h"
#include "base/json.h"
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
			 "SELECT id, fingerprint, type, name, restricted,"
			 " (SELECT json_group_array(project) FROM (SELECT project FROM certificate_projects"
			 "   WHERE certificate_id = certificates.id ORDER BY id)),"
			 " certificate, added_at FROM certificates ORDER BY id",
			 load_certificate, &l);
}

static int insert_projects_locked(struct db *db, const struct db_certificate *r, struct error *err) REQUIRES(db->lock)
{
	static const char sql[] = "INSERT INTO certificate_projects (certificate_id, project) VALUES (?,?)"
				  " ON CONFLICT DO NOTHING";
	int rc = 0;

	for (size_t k = 0; k < r->projects.len && rc == 0; k++) {
		rc = db_run_locked(db, err, sql, "is", r->id, r->projects.items[k]);
		if (rc == -EEXIST) {
			error_clear(err);
			rc = error_set(err, 404, "Project \"%s\" not found", r->projects.items[k]);
		}
	}
	return rc;
}

int db_certificate_insert(struct db *db, struct db_certificate *r, struct error *err)
{
	static const char sql[] = "INSERT INTO certificates (fingerprint, type, name, restricted, certificate,"
				  " added_at) VALUES (?,?,?,?,?,?)";
	int rc = db_begin(db, err);

	if (rc == 0)
		rc = db_run_locked(db, err, sql, "sssbsi", r->fingerprint, r->type, r->name, r->restricted,
				   r->certificate, r->added_ns);
	if (rc == 0) {
		r->id = sqlite3_last_insert_rowid(db->handle);
		rc = insert_projects_locked(db, r, err);
	}
	return db_end(db, rc, err);
}

int db_certificate_update(struct db *db, const struct db_certificate *r, struct error *err)
{
	static const char update_sql[] = "UPDATE certificates SET fingerprint=?, name=?, restricted=?, certificate=?"
					 " WHERE id=?";
	static const char drop_sql[] = "DELETE FROM certificate_projects WHERE certificate_id=?";
	int rc = db_begin(db, err);

	if (rc == 0)
		rc = db_run_locked(db, err, update_sql, "ssbsi", r->fingerprint, r->name, r->restricted, r->certificate,
				   r->id);
	if (rc == 0)
		rc = db_run_locked(db, err, drop_sql, "i", r->id);
	if (rc == 0)
		rc = insert_projects_locked(db, r, err);
	return db_end(db, rc, err);
}

int db_certificate_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM certificates WHERE id=?";

	return db_run(db, err, sql, "i", id);
}
