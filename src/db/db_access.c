/* Queries on role bindings and groups, and what they come to: who holds what. */
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "db/db_internal.h"

/* --- all rights of callers that have any --- */

struct rights {
	void (*fn)(const struct db_right *row, void *arg);
	void *arg;
};

static int load_right(sqlite3_stmt *s, void *arg, struct error *err UNUSED)
{
	struct rights *l = arg;
	const struct db_right r = {
		.subject = db_col_str(s, 0),
		.role = db_col_str(s, 1),
		.scope = db_col_str(s, 2),
		.project = db_col_str(s, 3),
	};

	l->fn(&r, l->arg);
	return 0;
}

int db_rights_load(struct db *db, void (*fn)(const struct db_right *row, void *arg), void *arg, struct error *err)
{
	struct rights l = {.fn = fn, .arg = arg};

	return db_select(db, err,
			 "SELECT * FROM ("
			 "SELECT 'tls/' || c.fingerprint AS subject, 'operator', 'project', p.project"
			 " FROM certificate_projects p JOIN certificates c ON c.id = p.certificate_id"
			 " UNION ALL "
			 "SELECT coalesce('tls/' || c.fingerprint, 'candid/' || b.user), b.role, b.scope, b.project"
			 " FROM auth_bindings b LEFT JOIN certificates c ON c.id = b.certificate_id"
			 " WHERE b.group_name IS NULL"
			 " UNION ALL "
			 "SELECT coalesce('tls/' || c.fingerprint, 'candid/' || m.user), b.role, b.scope, b.project"
			 " FROM auth_members m JOIN auth_bindings b ON b.group_name = m.group_name"
			 " LEFT JOIN certificates c ON c.id = m.certificate_id"
			 ") ORDER BY subject",
			 load_right, &l);
}

/* --- identities by their text --- */

static const char *after(const char *identity, const char *prefix)
{
	return startswith(identity, prefix) ? identity + strlen(prefix) : NULL;
}

#define IDENTITY_SQL "coalesce('tls/' || c.fingerprint, 'candid/' || x.user"

/* --- bindings --- */

void db_binding_done(struct db_binding *r)
{
	free(r->identity);
	free(r->role);
	free(r->scope);
	free(r->project);
	*r = (struct db_binding){0};
}

struct bindings {
	void (*fn)(struct db_binding *row, void *arg);
	void *arg;
};

static int load_binding(sqlite3_stmt *s, void *arg, struct error *err UNUSED)
{
	struct bindings *l = arg;
	struct db_binding r = {
		.id = db_col_int(s, 0),
		.identity = db_col_dup(s, 1),
		.role = db_col_dup(s, 2),
		.scope = db_col_dup(s, 3),
		.project = db_col_dup(s, 4),
	};

	l->fn(&r, l->arg);
	db_binding_done(&r);
	return 0;
}

int db_bindings_load(struct db *db, void (*fn)(struct db_binding *row, void *arg), void *arg, struct error *err)
{
	struct bindings l = {.fn = fn, .arg = arg};

	return db_select(db, err,
			 "SELECT x.id, " IDENTITY_SQL ", 'group/' || x.group_name), x.role, x.scope, x.project"
			 " FROM auth_bindings x LEFT JOIN certificates c ON c.id = x.certificate_id ORDER BY x.id",
			 load_binding, &l);
}

int db_binding_insert(struct db *db, struct db_binding *r, struct error *err)
{
	static const char sql[] = "INSERT INTO auth_bindings (certificate_id, user, group_name, role, scope, project)"
				  " VALUES ((SELECT id FROM certificates WHERE fingerprint=?),?,?,?,?,?)";

	return db_insert(db, err, &r->id, sql, "ssssss", after(r->identity, "tls/"), after(r->identity, "candid/"),
			 after(r->identity, "group/"), r->role, r->scope, r->project);
}

int db_binding_delete(struct db *db, int64_t id, struct error *err)
{
	static const char sql[] = "DELETE FROM auth_bindings WHERE id=?";

	return db_run(db, err, sql, "i", id);
}

/* --- groups --- */

void db_group_done(struct db_group *r)
{
	free(r->name);
	free(r->description);
	strv_done(&r->members);
	*r = (struct db_group){0};
}

struct groups {
	void (*fn)(struct db_group *row, void *arg);
	void *arg;
};

static int load_group(sqlite3_stmt *s, void *arg, struct error *err)
{
	struct groups *l = arg;
	struct db_group r = {.name = db_col_dup(s, 0), .description = db_col_dup(s, 1)};
	int rc = json_text_to_strv(db_col_str(s, 2), &r.members, err);

	if (rc == 0)
		l->fn(&r, l->arg);
	db_group_done(&r);
	return rc;
}

int db_groups_load(struct db *db, void (*fn)(struct db_group *row, void *arg), void *arg, struct error *err)
{
	struct groups l = {.fn = fn, .arg = arg};

	return db_select(db, err,
			 "SELECT g.name, g.description, (SELECT json_group_array(" IDENTITY_SQL "))"
			 "  FROM (SELECT * FROM auth_members WHERE group_name = g.name ORDER BY id) x"
			 "  LEFT JOIN certificates c ON c.id = x.certificate_id)"
			 " FROM auth_groups g ORDER BY g.name",
			 load_group, &l);
}

static int insert_members_locked(struct db *db, const struct db_group *r, struct error *err) REQUIRES(db->lock)
{
	static const char sql[] = "INSERT INTO auth_members (group_name, certificate_id, user)"
				  " VALUES (?,(SELECT id FROM certificates WHERE fingerprint=?),?)"
				  " ON CONFLICT DO NOTHING";
	int rc = 0;

	for (size_t k = 0; k < r->members.len && rc == 0; k++)
		rc = db_run_locked(db, err, sql, "sss", r->name, after(r->members.items[k], "tls/"),
				   after(r->members.items[k], "candid/"));
	return rc;
}

int db_group_insert(struct db *db, const struct db_group *r, struct error *err)
{
	static const char sql[] = "INSERT INTO auth_groups (name, description) VALUES (?,?)";
	int rc = db_begin(db, err);

	if (rc == 0)
		rc = db_run_locked(db, err, sql, "ss", r->name, r->description);
	if (rc == 0)
		rc = insert_members_locked(db, r, err);
	return db_end(db, rc, err);
}

int db_group_update(struct db *db, const struct db_group *r, struct error *err)
{
	static const char update_sql[] = "UPDATE auth_groups SET description=? WHERE name=?";
	static const char drop_sql[] = "DELETE FROM auth_members WHERE group_name=?";
	int rc = db_begin(db, err);

	if (rc == 0)
		rc = db_run_locked(db, err, update_sql, "ss", r->description, r->name);
	if (rc == 0)
		rc = db_run_locked(db, err, drop_sql, "s", r->name);
	if (rc == 0)
		rc = insert_members_locked(db, r, err);
	return db_end(db, rc, err);
}

int db_group_delete(struct db *db, const char *name, struct error *err)
{
	static const char sql[] = "DELETE FROM auth_groups WHERE name=?";

	return db_run(db, err, sql, "s", name);
}
