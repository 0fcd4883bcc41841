/* Queries on managed networks. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "db/db_internal.h"

void db_network_done(struct db_network *r)
{
	free(r->name);
	free(r->type);
	free(r->description);
	free(r->hwaddr);
	free(r->new_name);
	strmap_done(&r->config);
	*r = (struct db_network){0};
}

struct load {
	void (*fn)(struct db_network *row, void *arg);
	void *arg;
};

static int load_row(sqlite3_stmt *s, void *arg, struct error *err)
{
	struct load *l = arg;
	struct db_network r = {
		.id = db_col_int(s, 0),
		.name = db_col_dup(s, 1),
		.type = db_col_dup(s, 2),
		.description = db_col_dup(s, 3),
		.hwaddr = db_col_dup(s, 5),
		.new_name = db_col_dup(s, 6),
		.phase = (enum db_phase)db_col_int(s, 7),
	};
	int rc = json_text_to_strmap(db_col_str(s, 4), &r.config, err);

	if (rc == 0)
		l->fn(&r, l->arg);
	else
		error_wrap(err, "Read network %s from database", r.name);
	db_network_done(&r);
	return rc;
}

int db_networks_load(struct db *db, void (*fn)(struct db_network *row, void *arg), void *arg, struct error *err)
{
	static const char sql[] =
		"SELECT id, name, type, description, config, hwaddr, new_name, phase FROM networks ORDER BY name";
	struct load l = {.fn = fn, .arg = arg};

	return db_select(db, err, sql, load_row, &l);
}

int db_network_insert(struct db *db, struct db_network *r, struct error *err)
{
	static const char sql[] = "INSERT INTO networks (name, type, description, config, hwaddr, new_name, phase)"
				  " VALUES (?,?,?,?,?,?,?)";
	auto_free char *config = strmap_to_json(&r->config);

	return db_insert(db, err, &r->id, sql, "ssssssi", r->name, r->type, r->description, config, r->hwaddr,
			 r->new_name, (int64_t)r->phase);
}

int db_network_update(struct db *db, const struct db_network *r, struct error *err)
{
	static const char sql[] = "UPDATE networks SET name=?, description=?, config=?, new_name=?, phase=? WHERE id=?";
	auto_free char *config = strmap_to_json(&r->config);

	return db_run(db, err, sql, "ssssii", r->name, r->description, config, r->new_name, (int64_t)r->phase, r->id);
}

int db_network_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM networks WHERE id=?";

	return db_run(db, err, sql, "i", id);
}
