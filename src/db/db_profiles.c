/* Queries on profiles; a rename touches instances and stands with them. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "db/db_internal.h"

void db_profile_done(struct db_profile *r)
{
	free(r->project);
	free(r->name);
	free(r->description);
	strmap_done(&r->config);
	mapmap_done(&r->devices);
	*r = (struct db_profile){0};
}

struct load {
	void (*fn)(struct db_profile *row, void *arg);
	void *arg;
};

static int load_row(sqlite3_stmt *s, void *arg, struct error *err)
{
	struct load *l = arg;
	struct db_profile r = {
		.id = db_col_int(s, 0),
		.project = db_col_dup(s, 1),
		.name = db_col_dup(s, 2),
		.description = db_col_dup(s, 3),
	};
	int rc = json_text_to_strmap(db_col_str(s, 4), &r.config, err);

	if (rc == 0)
		rc = json_text_to_mapmap(db_col_str(s, 5), &r.devices, err);
	if (rc == 0)
		l->fn(&r, l->arg);
	else
		error_wrap(err, "Read profile %s from database", r.name);
	db_profile_done(&r);
	return rc;
}

int db_profiles_load(struct db *db, void (*fn)(struct db_profile *row, void *arg), void *arg, struct error *err)
{
	struct load l = {.fn = fn, .arg = arg};

	return db_select(db, err, "SELECT id, project, name, description, config, devices FROM profiles ORDER BY name",
			 load_row, &l);
}

int db_profile_insert(struct db *db, struct db_profile *r, struct error *err)
{
	static const char sql[] =
		"INSERT INTO profiles (project, name, description, config, devices) VALUES (?,?,?,?,?)";
	auto_free char *config = strmap_to_json(&r->config);
	auto_free char *devices = mapmap_to_json(&r->devices);

	return db_insert(db, err, &r->id, sql, "sssss", r->project, r->name, r->description, config, devices);
}

int db_profile_update(struct db *db, const struct db_profile *r, struct error *err)
{
	static const char sql[] = "UPDATE profiles SET description=?, config=?, devices=? WHERE id=?";
	auto_free char *config = strmap_to_json(&r->config);
	auto_free char *devices = mapmap_to_json(&r->devices);

	return db_run(db, err, sql, "sssi", r->description, config, devices, r->id);
}

int db_profile_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM profiles WHERE id=?";

	return db_run(db, err, sql, "i", id);
}
