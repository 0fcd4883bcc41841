/* Queries on images and their aliases. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "db/db_internal.h"

void db_image_done(struct db_image *r)
{
	free(r->project);
	free(r->fingerprint);
	free(r->filename);
	free(r->architecture);
	free(r->type);
	free(r->meta_ext);
	free(r->rootfs_ext);
	free(r->source);
	free(r->staging);
	strmap_done(&r->properties);
	strv_done(&r->profiles);
	*r = (struct db_image){0};
}

void db_alias_done(struct db_alias *r)
{
	free(r->project);
	free(r->name);
	free(r->description);
	*r = (struct db_alias){0};
}

struct load {
	void (*image)(struct db_image *row, void *arg);
	void (*alias)(struct db_alias *row, void *arg);
	void *arg;
};

static int load_image(sqlite3_stmt *s, void *arg, struct error *err)
{
	struct load *l = arg;
	struct db_image r = {
		.id = db_col_int(s, 0),
		.project = db_col_dup(s, 1),
		.fingerprint = db_col_dup(s, 2),
		.filename = db_col_dup(s, 3),
		.architecture = db_col_dup(s, 4),
		.type = db_col_dup(s, 5),
		.size_bytes = db_col_int(s, 6),
		.is_public = db_col_int(s, 7) != 0,
		.auto_update = db_col_int(s, 8) != 0,
		.cached = db_col_int(s, 9) != 0,
		.split = db_col_int(s, 10) != 0,
		.created_ns = db_col_int(s, 11),
		.expires_ns = db_col_int(s, 12),
		.uploaded_ns = db_col_int(s, 13),
		.last_used_ns = db_col_int(s, 14),
		.meta_ext = db_col_dup(s, 17),
		.rootfs_ext = db_col_dup(s, 18),
		.staging = db_col_dup(s, 19),
		.phase = (enum db_phase)db_col_int(s, 20),
		.source = db_col_dup(s, 21),
	};
	int rc = json_text_to_strmap(db_col_str(s, 15), &r.properties, err);

	if (rc == 0)
		rc = json_text_to_strv(db_col_str(s, 16), &r.profiles, err);
	if (rc == 0)
		l->image(&r, l->arg);
	else
		error_wrap(err, "Read image %s from database", r.fingerprint);
	db_image_done(&r);
	return rc;
}

int db_images_load(struct db *db, void (*fn)(struct db_image *row, void *arg), void *arg, struct error *err)
{
	struct load l = {.image = fn, .arg = arg};

	return db_select(db, err,
			 "SELECT id, project, fingerprint, filename, architecture, type, size, public, auto_update,"
			 " cached, split, created_at, expires_at, uploaded_at, last_used_at, properties, profiles,"
			 " meta_ext, rootfs_ext, staging, phase, source FROM images ORDER BY id",
			 load_image, &l);
}

int db_image_insert(struct db *db, struct db_image *r, struct error *err)
{
	static const char sql[] =
		"INSERT INTO images (project, fingerprint, filename, architecture, type, size, public, auto_update,"
		" cached, split, created_at, expires_at, uploaded_at, last_used_at, properties, profiles, meta_ext,"
		" rootfs_ext, staging, phase, source) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
	auto_free char *properties = strmap_to_json(&r->properties);
	auto_free char *profiles = strv_to_json(&r->profiles);

	return db_insert(db, err, &r->id, sql, "sssssibbbbiiiisssssis", r->project, r->fingerprint, r->filename,
			 r->architecture, r->type, r->size_bytes, (int)r->is_public, (int)r->auto_update,
			 (int)r->cached, (int)r->split, r->created_ns, r->expires_ns, r->uploaded_ns, r->last_used_ns,
			 properties, profiles, r->meta_ext, r->rootfs_ext, r->staging, (int64_t)r->phase,
			 r->source ? r->source : "");
}

int db_image_update(struct db *db, const struct db_image *r, struct error *err)
{
	static const char sql[] = "UPDATE images SET public=?, auto_update=?, cached=?, expires_at=?, last_used_at=?,"
				  " properties=?, profiles=?, staging=?, phase=? WHERE id=?";
	auto_free char *properties = strmap_to_json(&r->properties);
	auto_free char *profiles = strv_to_json(&r->profiles);

	return db_run(db, err, sql, "bbbiisssii", (int)r->is_public, (int)r->auto_update, (int)r->cached, r->expires_ns,
		      r->last_used_ns, properties, profiles, r->staging, (int64_t)r->phase, r->id);
}

int db_image_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM images WHERE id=?";

	return db_run(db, err, sql, "i", id);
}

static int load_alias(sqlite3_stmt *s, void *arg, struct error *err UNUSED)
{
	struct load *l = arg;
	struct db_alias r = {
		.id = db_col_int(s, 0),
		.project = db_col_dup(s, 1),
		.name = db_col_dup(s, 2),
		.description = db_col_dup(s, 3),
		.image_id = db_col_int(s, 4),
	};

	l->alias(&r, l->arg);
	db_alias_done(&r);
	return 0;
}

int db_aliases_load(struct db *db, void (*fn)(struct db_alias *row, void *arg), void *arg, struct error *err)
{
	struct load l = {.alias = fn, .arg = arg};

	return db_select(db, err, "SELECT id, project, name, description, image_id FROM image_aliases ORDER BY name",
			 load_alias, &l);
}

int db_alias_insert(struct db *db, struct db_alias *r, struct error *err)
{
	static const char sql[] = "INSERT INTO image_aliases (project, name, description, image_id) VALUES (?,?,?,?)";

	return db_insert(db, err, &r->id, sql, "sssi", r->project, r->name, r->description, r->image_id);
}

int db_alias_update(struct db *db, const struct db_alias *r, struct error *err)
{
	static const char sql[] = "UPDATE image_aliases SET name=?, description=?, image_id=? WHERE id=?";

	return db_run(db, err, sql, "ssii", r->name, r->description, r->image_id, r->id);
}

int db_alias_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM image_aliases WHERE id=?";

	return db_run(db, err, sql, "i", id);
}
