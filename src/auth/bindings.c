#include "auth/bindings.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

/* --- identities --- */

static int resolve_certificate(struct trust *t, const char *prefix, char **ret, struct error *err)
{
	auto_trust_certificate struct trust_certificate c = TRUST_CERTIFICATE_INIT;
	int r = trust_find(t, prefix, &c, err);

	if (r < 0)
		return r;
	if (!streq(c.type, "client"))
		return error_set(err, 400, "Certificate %s is for metrics only", c.fingerprint);
	if (!c.restricted)
		return error_set(err, 400, "Certificate %s is not restricted: it may do everything. Restrict it first",
				 c.fingerprint);
	*ret = xasprintf("tls/%s", c.fingerprint);
	return 0;
}

bool user_name_is_valid(const char *user)
{
	size_t n = strlen(user);

	if (n == 0 || n > IDENTITY_USER_MAX)
		return false;
	for (size_t k = 0; k < n; k++)
		if (!isalnum((unsigned char)user[k]) && !strchr("-.+_@", user[k]))
			return false;
	return true;
}

int identity_resolve(struct trust *t, struct db *db, const char *text, bool or_group, char **ret, struct error *err)
{
	CLEANUP(db_group_done) struct db_group g = {0};
	int r;

	if (startswith(text, "tls/"))
		return resolve_certificate(t, text + strlen("tls/"), ret, err);
	if (startswith(text, "candid/")) {
		if (!user_name_is_valid(text + strlen("candid/")))
			return error_set(err, 400, "Invalid user name \"%s\"", text + strlen("candid/"));
		*ret = xstrdup(text);
		return 0;
	}
	if (or_group && startswith(text, "group/")) {
		r = group_load(db, text + strlen("group/"), &g, err);
		if (r == 0)
			*ret = xstrdup(text);
		return r;
	}
	return error_set(err, 400, "Invalid identity \"%s\": it is tls/FINGERPRINT%s candid/USER%s", text,
			 or_group ? "," : " or", or_group ? " or group/NAME" : "");
}

/* --- bindings --- */

int binding_add(struct trust *t, struct db *db, struct db_binding *b, struct error *err)
{
	int r = db_binding_insert(db, b, err);

	if (r == -EEXIST) {
		error_clear(err);
		return error_set(err, 409, "%s has this role already, or is gone", b->identity);
	}
	if (r == 0)
		trust_rights_changed(t);
	return r;
}

struct wanted {
	int64_t id;
	struct db_binding *ret;
	bool found;
};

static void pick_binding(struct db_binding *row, void *arg)
{
	struct wanted *w = arg;

	if (row->id != w->id)
		return;
	w->found = true;
	*w->ret = *row;
	*row = (struct db_binding){0};
}

int binding_remove(struct trust *t, struct db *db, int64_t id, struct db_binding *ret, struct error *err)
{
	struct wanted w = {.id = id, .ret = ret};
	int r = db_bindings_load(db, pick_binding, &w, err);

	if (r == 0 && !w.found)
		r = error_set(err, 404, "Binding not found");
	if (r == 0)
		r = db_binding_delete(db, id, err);
	if (r == 0)
		trust_rights_changed(t);
	return r;
}

/* --- groups --- */

struct wanted_group {
	const char *name;
	struct db_group *ret;
	bool found;
};

static void pick_group(struct db_group *row, void *arg)
{
	struct wanted_group *w = arg;

	if (!streq(row->name, w->name))
		return;
	w->found = true;
	*w->ret = *row;
	*row = (struct db_group){0};
}

int group_load(struct db *db, const char *name, struct db_group *ret, struct error *err)
{
	struct wanted_group w = {.name = name, .ret = ret};
	int r = db_groups_load(db, pick_group, &w, err);

	if (r < 0)
		return r;
	return w.found ? 0 : error_set(err, 404, "Group not found");
}

static int store_group(struct trust *t, struct db *db, const struct db_group *g,
		       int (*store)(struct db *db, const struct db_group *g, struct error *err), struct error *err)
{
	int r = store(db, g, err);

	if (r == -EEXIST) {
		error_clear(err);
		return error_set(err, 409, "Group \"%s\" already exists, or a member is gone", g->name);
	}
	if (r == 0)
		trust_rights_changed(t);
	return r;
}

int group_add(struct trust *t, struct db *db, const struct db_group *g, struct error *err)
{
	return store_group(t, db, g, db_group_insert, err);
}

int group_update(struct trust *t, struct db *db, const struct db_group *g, struct error *err)
{
	return store_group(t, db, g, db_group_update, err);
}

int group_remove(struct trust *t, struct db *db, const char *name, struct error *err)
{
	int r = db_group_delete(db, name, err);

	if (r == 0)
		trust_rights_changed(t);
	return r;
}
