/* Queries on instances. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "db/db_internal.h"

void db_instance_done(struct db_instance *r)
{
	free(r->project);
	free(r->name);
	free(r->architecture);
	free(r->description);
	free(r->pool);
	free(r->staging);
	strmap_done(&r->config);
	strmap_done(&r->volatile_);
	mapmap_done(&r->devices);
	strv_done(&r->profiles);
	*r = (struct db_instance){0};
}

struct load {
	void (*fn)(struct db_instance *row, void *arg);
	void *arg;
};

static int load_row(sqlite3_stmt *s, void *arg, struct error *err)
{
	struct load *l = arg;
	struct db_instance r = {
		.id = db_col_int(s, 0),
		.project = db_col_dup(s, 1),
		.name = db_col_dup(s, 2),
		.architecture = db_col_dup(s, 3),
		.description = db_col_dup(s, 4),
		.pool = db_col_dup(s, 5),
		.staging = db_col_dup(s, 6),
		.ephemeral = db_col_int(s, 7) != 0,
		.created_ns = db_col_int(s, 12),
		.last_used_ns = db_col_int(s, 13),
		.phase = (enum db_phase)db_col_int(s, 14),
	};
	int rc = json_text_to_strmap(db_col_str(s, 8), &r.config, err);

	if (rc == 0)
		rc = json_text_to_strmap(db_col_str(s, 9), &r.volatile_, err);
	if (rc == 0)
		rc = json_text_to_mapmap(db_col_str(s, 10), &r.devices, err);
	if (rc == 0)
		rc = json_text_to_strv(db_col_str(s, 11), &r.profiles, err);
	if (rc == 0)
		l->fn(&r, l->arg);
	else
		error_wrap(err, "Read instance %s from database", r.name);
	db_instance_done(&r);
	return rc;
}

int db_instances_load(struct db *db, void (*fn)(struct db_instance *row, void *arg), void *arg, struct error *err)
{
	struct load l = {.fn = fn, .arg = arg};

	return db_select(db, err,
			 "SELECT id, project, name, architecture, description, pool, staging, ephemeral, config,"
			 " volatile, devices, profiles, created_at, last_used_at, phase FROM instances ORDER BY name",
			 load_row, &l);
}

/* The JSON columns of a row, as text. */
struct columns {
	char *config, *volatile_, *devices, *profiles;
};

static void columns_done(struct columns *c)
{
	free(c->config);
	free(c->volatile_);
	free(c->devices);
	free(c->profiles);
}

static struct columns columns_of(const struct db_instance *r)
{
	return (struct columns){.config = strmap_to_json(&r->config),
				.volatile_ = strmap_to_json(&r->volatile_),
				.devices = mapmap_to_json(&r->devices),
				.profiles = strv_to_json(&r->profiles)};
}

int db_instance_insert(struct db *db, struct db_instance *r, struct error *err)
{
	static const char sql[] =
		"INSERT INTO instances (project, name, architecture, description, pool, staging, ephemeral, config,"
		" volatile, devices, profiles, created_at, last_used_at, phase)"
		" VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
	CLEANUP(columns_done) struct columns c = columns_of(r);

	return db_insert(db, err, &r->id, sql, "ssssssbssssiii", r->project, r->name, r->architecture, r->description,
			 r->pool, r->staging, (int)r->ephemeral, c.config, c.volatile_, c.devices, c.profiles,
			 r->created_ns, r->last_used_ns, (int64_t)r->phase);
}

static const char update_sql[] = "UPDATE instances SET name=?, architecture=?, description=?, pool=?, ephemeral=?,"
				 " config=?, devices=?, profiles=? WHERE id=?";

int db_instance_update(struct db *db, const struct db_instance *r, struct error *err)
{
	CLEANUP(columns_done) struct columns c = columns_of(r);

	return db_run(db, err, update_sql, "ssssbsssi", r->name, r->architecture, r->description, r->pool,
		      (int)r->ephemeral, c.config, c.devices, c.profiles, r->id);
}

int db_instance_update_all(struct db *db, const struct db_instance *r, struct error *err)
{
	static const char sql[] = "UPDATE instances SET name=?, architecture=?, description=?, pool=?, ephemeral=?,"
				  " config=?, devices=?, profiles=?, volatile=?, last_used_at=? WHERE id=?";
	CLEANUP(columns_done) struct columns c = columns_of(r);

	return db_run(db, err, sql, "ssssbssssii", r->name, r->architecture, r->description, r->pool, (int)r->ephemeral,
		      c.config, c.devices, c.profiles, c.volatile_, r->last_used_ns, r->id);
}

int db_instance_set_phase(struct db *db, int64_t id, enum db_phase phase, const char *staging, struct error *err)
{
	static const char sql[] = "UPDATE instances SET phase=?, staging=? WHERE id=?";

	return db_run(db, err, sql, "isi", (int64_t)phase, staging, id);
}

int db_instance_set_volatile(struct db *db, const struct db_instance *r, struct error *err)
{
	static const char sql[] = "UPDATE instances SET volatile=?, last_used_at=? WHERE id=?";
	auto_free char *text = strmap_to_json(&r->volatile_);

	return db_run(db, err, sql, "sii", text, r->last_used_ns, r->id);
}

int db_instance_move(struct db *db, int64_t id, const char *project, const char *name, struct error *err)
{
	static const char sql[] = "UPDATE instances SET project=?, name=?, phase=0, staging=NULL WHERE id=?";

	return db_run(db, err, sql, "ssi", project, name, id);
}

int db_instance_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM instances WHERE id=?";

	return db_run(db, err, sql, "i", id);
}

int db_profile_rename(struct db *db, const struct db_profile *row, const struct db_profile_user *users, size_t n_users,
		      struct error *err)
{
	static const char rename_sql[] = "UPDATE profiles SET name=? WHERE id=?";
	static const char *const users_sql[] = {"UPDATE instances SET profiles=? WHERE id=?",
						"UPDATE instance_snapshots SET profiles=? WHERE id=?"};
	int r = db_begin(db, err);

	if (r == 0)
		r = db_run_locked(db, err, rename_sql, "si", row->name, row->id);
	for (size_t i = 0; r == 0 && i < n_users; i++) {
		auto_free char *profiles = strv_to_json(users[i].profiles);

		r = db_run_locked(db, err, users_sql[users[i].snapshot], "si", profiles, users[i].id);
	}
	return db_end(db, r, err);
}
