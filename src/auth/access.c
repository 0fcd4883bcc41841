#include "auth/access.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"

#define SUBJECT_MAX (IDENTITY_USER_MAX + 16)

/* One caller: "tls/<fingerprint>", "candid/<user>". */
struct subject {
	char *name;
	struct access_rights rights;
	uint64_t lost_at; /* the load that took something from it last, or found it anew */
};

struct access {
	struct db *db;
	struct access_provider provider;           /* is_on NULL: none */
	struct mutex change;                       /* one load at a time; held across the database */
	struct mutex lock;                         /* taken last, never held across anything */
	struct subject *subjects GUARDED_BY(lock); /* sorted by name */
	size_t n GUARDED_BY(lock);
	uint64_t loads GUARDED_BY(lock);
	bool has_users GUARDED_BY(lock); /* among the subjects: then the default role is nobody's */
	enum role default_role GUARDED_BY(lock);
	uint64_t default_lost_at GUARDED_BY(lock);
	unsigned login GUARDED_BY(lock);
};

/* --- sets of rights --- */

void access_rights_done(struct access_rights *r)
{
	for (size_t k = 0; k < r->n; k++)
		free(r->in[k].project);
	free(r->in);
	*r = ACCESS_RIGHTS_INIT;
}

/* Where @project is, or would be; *@ret_there tells which. */
static size_t locate(const struct access_rights *r, const char *project, bool *ret_there)
{
	size_t from = 0, to = r->n;

	while (from < to) {
		size_t mid = from + (to - from) / 2;
		int order = strcmp(r->in[mid].project, project);

		if (order == 0) {
			*ret_there = true;
			return mid;
		}
		if (order < 0)
			from = mid + 1;
		else
			to = mid;
	}
	*ret_there = false;
	return from;
}

void access_rights_add(struct access_rights *r, const char *project, permission_set may)
{
	bool there;
	size_t at = locate(r, project, &there);

	if (there) {
		r->in[at].may |= may;
		return;
	}
	r->in = xreallocarray(r->in, r->n + 1, sizeof(*r->in));
	memmove(&r->in[at + 1], &r->in[at], (r->n - at) * sizeof(*r->in));
	r->in[at] = (struct access_right){.project = xstrdup(project), .may = may};
	r->n++;
}

static permission_set held_in(const struct access_rights *r, const char *project)
{
	bool there;
	size_t at = locate(r, project, &there);

	return r->everywhere | (there ? r->in[at].may : 0);
}

bool access_rights_hold(const struct access_rights *r, enum permission perm, const char *project)
{
	permission_set may = project ? held_in(r, project) : r->everywhere;

	/* who holds something anywhere is known on the server */
	if (perm == PERM_TRUSTED)
		return r->everywhere || r->n > 0;
	return may & PERMISSION_BIT(perm);
}

bool access_rights_cover(const struct access_rights *a, const struct access_rights *b)
{
	if (b->everywhere & ~a->everywhere)
		return false;
	for (size_t k = 0; k < b->n; k++)
		if (b->in[k].may & ~held_in(a, b->in[k].project))
			return false;
	return true;
}

/* --- the table --- */

static void subjects_free(struct subject *list, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		free(list[k].name);
		access_rights_done(&list[k].rights);
	}
	free(list);
}

struct access *access_new(struct db *db)
{
	struct access *a = xnew(struct access);

	a->db = db;
	mutex_init(&a->change);
	mutex_init(&a->lock);
	return a;
}

void access_free(struct access *a) UNSHARED
{
	if (!a)
		return;
	subjects_free(a->subjects, a->n);
	mutex_done(&a->change);
	mutex_done(&a->lock);
	free(a);
}

void access_set_provider(struct access *a, const struct access_provider *p)
{
	a->provider = *p;
}

static const struct subject *find_in(const struct subject *list, size_t n, const char *name)
{
	size_t from = 0, to = n;

	while (from < to) {
		size_t mid = from + (to - from) / 2;
		int order = strcmp(list[mid].name, name);

		if (order == 0)
			return &list[mid];
		if (order < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return NULL;
}

struct table {
	struct subject *list;
	size_t n;
};

/* Rows come sorted by subject. */
static void take_row(const struct db_right *row, void *arg)
{
	struct table *t = arg;
	auto_error struct error unknown = ERROR_INIT;
	enum role_scope scope;
	enum role role;
	permission_set may;

	if (role_parse(row->role, /* or_none= */ false, &role, &unknown) < 0 || !role_scope_parse(row->scope, &scope)) {
		log_warn("role in the database is not known: it grants nothing", LOG_STR("role", row->role));
		error_ignore(&unknown, "nothing is granted");
		return;
	}
	if (!t->n || !streq(t->list[t->n - 1].name, row->subject)) {
		t->list = xreallocarray(t->list, t->n + 1, sizeof(*t->list));
		t->list[t->n++] = (struct subject){.name = xstrdup(row->subject)};
	}
	may = role_permissions(role, scope);
	if (scope == SCOPE_PROJECT)
		access_rights_add(&t->list[t->n - 1].rights, row->project, may);
	else
		t->list[t->n - 1].rights.everywhere |= may;
}

static void replace_locked(struct access *a, struct table *t) REQUIRES(a->lock)
{
	bool has_users = false;

	a->loads++;
	for (size_t k = 0; k < t->n; k++)
		has_users = has_users || startswith(t->list[k].name, "candid/");
	if (has_users && !a->has_users && a->default_role != ROLE_NONE)
		a->default_lost_at = a->loads;
	a->has_users = has_users;
	for (size_t k = 0; k < t->n; k++) {
		const struct subject *was = find_in(a->subjects, a->n, t->list[k].name);
		bool kept = was && access_rights_cover(&t->list[k].rights, &was->rights);

		t->list[k].lost_at = kept ? was->lost_at : a->loads;
	}
	subjects_free(a->subjects, a->n);
	a->subjects = t->list;
	a->n = t->n;
}

int access_load(struct access *a, struct error *err)
{
	struct table t = {0};
	int r;

	mutex_lock(&a->change);
	r = db_rights_load(a->db, take_row, &t, err);
	if (r < 0) {
		subjects_free(t.list, t.n);
		t = (struct table){0};
	}
	mutex_lock(&a->lock);
	replace_locked(a, &t);
	mutex_unlock(&a->lock);
	mutex_unlock(&a->change);
	return r;
}

void access_set_default_role(struct access *a, enum role role)
{
	mutex_lock(&a->lock);
	a->loads++;
	if (role_permissions(a->default_role, SCOPE_SERVER) & ~role_permissions(role, SCOPE_SERVER))
		a->default_lost_at = a->loads;
	a->default_role = role;
	mutex_unlock(&a->lock);
}

enum role access_default_role(struct access *a)
{
	enum role role;

	mutex_lock(&a->lock);
	role = a->default_role;
	mutex_unlock(&a->lock);
	return role;
}

void access_end_logins(struct access *a)
{
	mutex_lock(&a->lock);
	a->login++;
	mutex_unlock(&a->lock);
}

unsigned access_login(struct access *a)
{
	unsigned login;

	mutex_lock(&a->lock);
	login = a->login;
	mutex_unlock(&a->lock);
	return login;
}

/* --- asking --- */

static bool provider_answers(const struct identity *id)
{
	const struct access_provider *p = &id->access->provider;

	return id->kind == IDENTITY_CANDID && p->is_on && p->is_on(p->arg);
}

static const struct subject *find_locked(const struct identity *id) REQUIRES(id->access->lock)
{
	char name[SUBJECT_MAX];

	if (id->kind == IDENTITY_CANDID)
		snprintf(name, sizeof(name), "candid/%s", id->user);
	else
		snprintf(name, sizeof(name), "tls/%s", id->fingerprint);
	return find_in(id->access->subjects, id->access->n, name);
}

static bool default_allows_locked(const struct identity *id, enum permission perm) REQUIRES(id->access->lock)
{
	return id->kind == IDENTITY_CANDID && !id->access->has_users &&
	       role_permissions(id->access->default_role, SCOPE_SERVER) & PERMISSION_BIT(perm);
}

bool access_allows(const struct identity *id, enum permission perm, const char *project)
{
	const struct access_provider *p;
	const struct subject *s;
	bool may;

	if (!id->access)
		return false;
	p = &id->access->provider;
	if (provider_answers(id))
		return p->allows(p->arg, id->user, perm, project);
	mutex_lock(&id->access->lock);
	s = find_locked(id);
	may = default_allows_locked(id, perm) || (s && access_rights_hold(&s->rights, perm, project));
	mutex_unlock(&id->access->lock);
	return may;
}

bool access_knows(const struct identity *id)
{
	return access_allows(id, PERM_TRUSTED, NULL);
}

/*
 * access_seen(): the number of the load, and whether the caller had rights of its own then; or the provider's number.
 */
#define SEEN_PROVIDER (UINT64_C(1) << 63)
#define SEEN_OWN UINT64_C(1)

uint64_t access_seen(const struct identity *id)
{
	const struct access_provider *p;
	uint64_t seen = 0;

	if (!id->access)
		return 0;
	p = &id->access->provider;
	if (provider_answers(id))
		return SEEN_PROVIDER | p->seen(p->arg, id->user);
	mutex_lock(&id->access->lock);
	if (find_locked(id))
		seen = id->access->loads << 1 | SEEN_OWN;
	else if (default_allows_locked(id, PERM_TRUSTED))
		seen = id->access->loads << 1;
	mutex_unlock(&id->access->lock);
	return seen;
}

static bool still_holds_locked(const struct identity *id) REQUIRES(id->access->lock)
{
	uint64_t load = id->rights_seen >> 1;
	const struct subject *s = find_locked(id);

	if (id->rights_seen & SEEN_OWN && (!s || s->lost_at > load))
		return false;
	return id->kind != IDENTITY_CANDID || id->access->default_lost_at <= load;
}

bool access_still_holds(const struct identity *id)
{
	const struct access_provider *p;
	bool ok, provided;

	if (!id->access)
		return true; /* it held nothing */
	if (id->kind == IDENTITY_CANDID && id->login != access_login(id->access))
		return false;
	if (id->rights_seen == 0)
		return true;
	provided = provider_answers(id);
	if (provided != ((id->rights_seen & SEEN_PROVIDER) != 0))
		return false;
	p = &id->access->provider;
	if (provided)
		return p->still_holds(p->arg, id->user, id->rights_seen & ~SEEN_PROVIDER);
	mutex_lock(&id->access->lock);
	ok = still_holds_locked(id);
	mutex_unlock(&id->access->lock);
	return ok;
}
