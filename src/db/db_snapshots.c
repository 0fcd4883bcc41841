/* Queries on snapshots of instances, which go with their instance. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "db/db_internal.h"

void db_snapshot_done(struct db_snapshot *r)
{
	free(r->name);
	free(r->volume);
	free(r->staging);
	free(r->architecture);
	strmap_done(&r->config);
	strmap_done(&r->volatile_);
	mapmap_done(&r->devices);
	strv_done(&r->profiles);
	*r = (struct db_snapshot){0};
}

struct load {
	void (*fn)(struct db_snapshot *row, void *arg);
	void *arg;
};

static int load_row(sqlite3_stmt *s, void *arg, struct error *err)
{
	struct load *l = arg;
	struct db_snapshot r = {
		.id = db_col_int(s, 0),
		.instance_id = db_col_int(s, 1),
		.name = db_col_dup(s, 2),
		.volume = db_col_dup(s, 3),
		.staging = db_col_dup(s, 4),
		.architecture = db_col_dup(s, 5),
		.ephemeral = db_col_int(s, 6) != 0,
		.created_ns = db_col_int(s, 11),
		.last_used_ns = db_col_int(s, 12),
		.expires_ns = db_col_int(s, 13),
		.phase = (enum db_phase)db_col_int(s, 14),
		.frozen = db_col_int(s, 15) != 0,
	};
	int rc = json_text_to_strmap(db_col_str(s, 7), &r.config, err);

	if (rc == 0)
		rc = json_text_to_strmap(db_col_str(s, 8), &r.volatile_, err);
	if (rc == 0)
		rc = json_text_to_mapmap(db_col_str(s, 9), &r.devices, err);
	if (rc == 0)
		rc = json_text_to_strv(db_col_str(s, 10), &r.profiles, err);
	if (rc == 0)
		l->fn(&r, l->arg);
	else
		error_wrap(err, "Read snapshot %s from database", r.name);
	db_snapshot_done(&r);
	return rc;
}

int db_snapshots_load(struct db *db, void (*fn)(struct db_snapshot *row, void *arg), void *arg, struct error *err)
{
	struct load l = {.fn = fn, .arg = arg};

	return db_select(
		db, err,
		"SELECT id, instance_id, name, volume, staging, architecture, ephemeral, config, volatile,"
		" devices, profiles, created_at, last_used_at, expires_at, phase, frozen FROM instance_snapshots"
		" ORDER BY id",
		load_row, &l);
}

int db_snapshot_insert(struct db *db, struct db_snapshot *r, struct error *err)
{
	static const char sql[] =
		"INSERT INTO instance_snapshots (instance_id, name, volume, staging, architecture, ephemeral, config,"
		" volatile, devices, profiles, created_at, last_used_at, expires_at, phase, frozen)"
		" VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
	auto_free char *config = strmap_to_json(&r->config), *volatile_ = strmap_to_json(&r->volatile_);
	auto_free char *devices = mapmap_to_json(&r->devices), *profiles = strv_to_json(&r->profiles);

	return db_insert(db, err, &r->id, sql, "issssbssssiiiib", r->instance_id, r->name, r->volume, r->staging,
			 r->architecture, (int)r->ephemeral, config, volatile_, devices, profiles, r->created_ns,
			 r->last_used_ns, r->expires_ns, (int64_t)r->phase, (int)r->frozen);
}

int db_snapshot_set_phase(struct db *db, int64_t id, enum db_phase phase, const char *staging, struct error *err)
{
	static const char sql[] = "UPDATE instance_snapshots SET phase=?, staging=? WHERE id=?";

	return db_run(db, err, sql, "isi", (int64_t)phase, staging, id);
}

int db_snapshot_update(struct db *db, int64_t id, const char *name, int64_t expires_ns, struct error *err)
{
	static const char sql[] = "UPDATE instance_snapshots SET name=?, expires_at=? WHERE id=?";

	return db_run(db, err, sql, "sii", name, expires_ns, id);
}

int db_snapshot_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM instance_snapshots WHERE id=?";

	return db_run(db, err, sql, "i", id);
}

/* The row as it is to be, ready, in one step. */
int db_instance_restored(struct db *db, const struct db_instance *r, struct error *err)
{
	static const char sql[] = "UPDATE instances SET architecture=?, ephemeral=?, config=?, volatile=?, devices=?,"
				  " profiles=?, phase=0, staging=NULL WHERE id=?";
	auto_free char *config = strmap_to_json(&r->config), *volatile_ = strmap_to_json(&r->volatile_);
	auto_free char *devices = mapmap_to_json(&r->devices), *profiles = strv_to_json(&r->profiles);

	return db_run(db, err, sql, "sbssssi", r->architecture, (int)r->ephemeral, config, volatile_, devices, profiles,
		      r->id);
}
