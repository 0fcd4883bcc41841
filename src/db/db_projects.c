/* Queries on projects; a project's default profile comes and goes with it. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "db/db_internal.h"

void db_project_done(struct db_project *r)
{
	free(r->name);
	free(r->description);
	strmap_done(&r->config);
	*r = (struct db_project){0};
}

struct load {
	void (*fn)(struct db_project *row, void *arg);
	void *arg;
};

static int load_row(sqlite3_stmt *s, void *arg, struct error *err)
{
	struct load *l = arg;
	struct db_project r = {
		.id = db_col_int(s, 0),
		.name = db_col_dup(s, 1),
		.description = db_col_dup(s, 2),
	};
	int rc = json_text_to_strmap(db_col_str(s, 3), &r.config, err);

	if (rc == 0)
		l->fn(&r, l->arg);
	else
		error_wrap(err, "Read project %s from database", r.name);
	db_project_done(&r);
	return rc;
}

int db_projects_load(struct db *db, void (*fn)(struct db_project *row, void *arg), void *arg, struct error *err)
{
	struct load l = {.fn = fn, .arg = arg};

	return db_select(db, err, "SELECT id, name, description, config FROM projects ORDER BY name", load_row, &l);
}

static int insert_profile_locked(struct db *db, struct db_profile *profile, struct error *err) REQUIRES(db->lock)
{
	static const char sql[] =
		"INSERT INTO profiles (project, name, description, config, devices) VALUES (?,?,?,'{}','{}')";
	int r = db_run_locked(db, err, sql, "sss", profile->project, profile->name, profile->description);

	if (r == 0)
		profile->id = sqlite3_last_insert_rowid(db->handle);
	return r;
}

int db_project_insert(struct db *db, struct db_project *row, struct db_profile *profile, struct error *err)
{
	static const char serial_sql[] = "UPDATE project_serial SET last = last + 1";
	static const char sql[] = "INSERT INTO projects (id, name, description, config)"
				  " VALUES ((SELECT last FROM project_serial),?,?,?)";
	auto_free char *config = strmap_to_json(&row->config);
	int r = db_begin(db, err);

	if (r == 0)
		r = db_run_locked(db, err, serial_sql, "");
	if (r == 0)
		r = db_run_locked(db, err, sql, "sss", row->name, row->description, config);
	if (r == 0)
		row->id = sqlite3_last_insert_rowid(db->handle);
	if (r == 0 && profile)
		r = insert_profile_locked(db, profile, err);
	return db_end(db, r, err);
}

int db_project_update(struct db *db, const struct db_project *row, struct db_profile *profile, int64_t drop_profile,
		      struct error *err)
{
	static const char update_sql[] = "UPDATE projects SET description=?, config=? WHERE id=?";
	static const char drop_sql[] = "DELETE FROM profiles WHERE id=?";
	auto_free char *config = strmap_to_json(&row->config);
	int r = db_begin(db, err);

	if (r == 0)
		r = db_run_locked(db, err, update_sql, "ssi", row->description, config, row->id);
	if (r == 0 && profile)
		r = insert_profile_locked(db, profile, err);
	if (r == 0 && drop_profile >= 0)
		r = db_run_locked(db, err, drop_sql, "i", drop_profile);
	return db_end(db, r, err);
}

/* Invitations into a project end with its name: under that name there may be another one some day. */
static int drop_tokens_locked(struct db *db, const char *name, struct error *err) REQUIRES(db->lock)
{
	static const char sql[] = "DELETE FROM tokens WHERE kind='certificate' AND EXISTS"
				  " (SELECT 1 FROM json_each(tokens.request, '$.projects') WHERE value=?)";

	return db_run_locked(db, err, sql, "s", name);
}

/*
 * Profiles name their project: the check of that waits for the end of the transaction. What grants rights in it follows
 * by itself.
 */
int db_project_rename(struct db *db, int64_t id, const char *old_name, const char *name, struct error *err)
{
	static const char defer_sql[] = "PRAGMA defer_foreign_keys=ON";
	static const char rename_sql[] = "UPDATE projects SET name=? WHERE id=?";
	static const char profiles_sql[] = "UPDATE profiles SET project=? WHERE project=?";
	int r = db_begin(db, err);

	if (r == 0)
		r = db_run_locked(db, err, defer_sql, "");
	if (r == 0)
		r = db_run_locked(db, err, rename_sql, "si", name, id);
	if (r == 0)
		r = db_run_locked(db, err, profiles_sql, "ss", name, old_name);
	if (r == 0)
		r = drop_tokens_locked(db, old_name, err);
	return db_end(db, r, err);
}

int db_project_delete(struct db *db, int64_t id, const char *name, struct error *err)
{
	static const char profiles_sql[] = "DELETE FROM profiles WHERE project=?";
	static const char project_sql[] = "DELETE FROM projects WHERE id=?";
	int r = db_begin(db, err);

	if (r == 0)
		r = db_run_locked(db, err, profiles_sql, "s", name);
	if (r == 0)
		r = drop_tokens_locked(db, name, err);
	if (r == 0)
		r = db_run_locked(db, err, project_sql, "i", id);
	return db_end(db, r, err);
}
