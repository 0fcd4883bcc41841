/* The trust store. Changes are written to the database first; requests read the copy in memory alone. */
#include "auth/trust.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"
#include "base/wire_gate.h"

#define FINGERPRINT_HEX 64
#define LISTENERS_MAX 4
#define RENEWALS_MAX 10 /* of one entry by its own holder, in RENEWALS_SECONDS */
#define RENEWALS_SECONDS 3600

/* A fingerprint as four words: compared without a branch that depends on where two differ. */
struct digest {
	uint64_t word[4];
};

struct entry {
	struct digest digest;
	struct db_certificate row;
	/* stay with the entry when its certificate changes */
	unsigned renewals;
	int64_t renewals_since;
};

struct trust {
	struct db *db;
	struct access *access;
	int64_t (*clock)(void);
	struct mutex change; /* one change at a time; held across the database */
	struct mutex lock;
	struct entry *entries GUARDED_BY(lock); /* oldest first; changed with both locks held */
	size_t n GUARDED_BY(lock);
	bool ca_certificates GUARDED_BY(lock);
	bool pki GUARDED_BY(lock);
	struct {
		void (*fn)(void *arg);
		void *arg;
	} listeners[LISTENERS_MAX];
	size_t n_listeners;
};

static int64_t clock_seconds(void)
{
	return (int64_t)time(NULL);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool digest_parse(const char *hex, struct digest *ret)
{
	if (strlen(hex) != FINGERPRINT_HEX)
		return false;
	*ret = (struct digest){0};
	for (size_t i = 0; i < FINGERPRINT_HEX; i++) {
		int v = hex_value(hex[i]);

		if (v < 0)
			return false;
		ret->word[i / 16] = ret->word[i / 16] << 4 | (uint64_t)v;
	}
	return true;
}

static bool digest_equal(const struct digest *a, const struct digest *b)
{
	return ((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) | (a->word[2] ^ b->word[2]) |
		(a->word[3] ^ b->word[3])) == 0;
}

void trust_certificate_done(struct trust_certificate *c)
{
	free(c->fingerprint);
	free(c->type);
	free(c->name);
	strv_done(&c->projects);
	free(c->pem);
	*c = (struct trust_certificate){0};
}

static bool type_is_known(const char *type)
{
	return streq(type, "client") || streq(type, "metrics");
}

static void entry_push_locked(struct trust *t, const struct digest *digest, struct db_certificate *row)
	REQUIRES(t->lock)
{
	t->entries = xreallocarray(t->entries, t->n + 1, sizeof(*t->entries));
	t->entries[t->n++] = (struct entry){.digest = *digest, .row = *row};
	*row = (struct db_certificate){0};
}

static void load_row(struct db_certificate *row, void *arg)
{
	struct trust *t = arg;
	struct digest digest;

	if (!digest_parse(row->fingerprint, &digest) || !type_is_known(row->type)) {
		log_warn("certificate in the database is not usable", LOG_STR("fingerprint", row->fingerprint),
			 LOG_STR("type", row->type));
		return;
	}
	mutex_lock(&t->lock);
	entry_push_locked(t, &digest, row);
	mutex_unlock(&t->lock);
}

int trust_new(struct db *db, struct trust **ret, struct error *err)
{
	struct trust *t = xnew(struct trust);
	int r;

	t->db = db;
	t->access = access_new(db);
	t->clock = clock_seconds;
	mutex_init(&t->change);
	mutex_init(&t->lock);
	r = db_certificates_load(db, load_row, t, err);
	if (r == 0)
		r = access_load(t->access, err);
	if (r < 0) {
		trust_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void trust_free(struct trust *t) UNSHARED
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		db_certificate_done(&t->entries[i].row);
	free(t->entries);
	access_free(t->access);
	mutex_done(&t->change);
	mutex_done(&t->lock);
	free(t);
}

void trust_on_change(struct trust *t, void (*fn)(void *arg), void *arg)
{
	if (t->n_listeners == LISTENERS_MAX)
		abort();
	t->listeners[t->n_listeners].fn = fn;
	t->listeners[t->n_listeners++].arg = arg;
}

static void notify(struct trust *t)
{
	for (size_t i = 0; i < t->n_listeners; i++)
		t->listeners[i].fn(t->listeners[i].arg);
}

void trust_set_ca_certificates(struct trust *t, bool on)
{
	bool less;

	mutex_lock(&t->lock);
	less = t->ca_certificates && !on;
	t->ca_certificates = on;
	mutex_unlock(&t->lock);
	if (less)
		notify(t);
}

void trust_set_pki(struct trust *t, bool on)
{
	bool changed;

	mutex_lock(&t->lock);
	changed = t->pki != on;
	t->pki = on;
	mutex_unlock(&t->lock);
	/* either way somebody may lose: whom the CA alone let in, or whom it did not sign */
	if (changed)
		notify(t);
}

bool trust_pki_is_on(struct trust *t)
{
	bool on;

	mutex_lock(&t->lock);
	on = t->pki;
	mutex_unlock(&t->lock);
	return on;
}

void trust_set_clock(struct trust *t, int64_t (*fn)(void))
{
	t->clock = fn;
}

/* Every entry is looked at, so that the time tells nothing of how much of a fingerprint was right. */
static const struct entry *entry_find_locked(struct trust *t, const struct digest *digest) REQUIRES(t->lock)
{
	const struct entry *found = NULL;

	for (size_t i = 0; i < t->n; i++)
		if (digest_equal(&t->entries[i].digest, digest))
			found = &t->entries[i];
	return found;
}

static void copy_text(char *dst, size_t room, const char *src)
{
	size_t n = MIN_OF(strlen(src), room - 1);

	memcpy(dst, src, n);
	dst[n] = '\0';
}

/*
 * The PKI's word comes before the store's (CVE-2024-6156): with a CA, only what it issued and did not revoke gets
 * further. Verdicts that say "bad" are believed also after the CA has gone: such a connection is about to be judged
 * anew.
 */
static bool pki_lets_pass_locked(struct trust *t, unsigned verdict) REQUIRES(t->lock)
{
	if (t->pki)
		return verdict == WIRE_PKI_GOOD;
	return verdict == WIRE_PKI_OFF || verdict == WIRE_PKI_GOOD;
}

static void judge_locked(struct trust *t, const struct http_tls_peer *tls, struct identity *id) REQUIRES(t->lock)
{
	const struct entry *e;
	struct digest digest;

	if (!pki_lets_pass_locked(t, tls->verdict) || !digest_parse(tls->fingerprint, &digest))
		return;
	e = entry_find_locked(t, &digest);
	if (!e) {
		if (t->pki && t->ca_certificates)
			id->kind = IDENTITY_TLS;
		return;
	}
	/* what the store says of a certificate holds also when the CA would let it in (CVE-2024-6219) */
	id->restricted = e->row.restricted;
	if (streq(e->row.type, "client"))
		id->kind = IDENTITY_TLS;
	else if (streq(e->row.type, "metrics"))
		id->kind = IDENTITY_METRICS;
}

struct identity trust_identify(struct trust *t, const struct http_peer *peer)
{
	struct identity id = {.kind = IDENTITY_NONE, .uid = (uid_t)-1, .access = t->access};
	const struct http_tls_peer *tls = peer->tls;
	int64_t now;

	if (peer->local && tls)
		return id; /* no such connection exists */
	if (peer->local) {
		id.kind = IDENTITY_LOCAL;
		id.uid = peer->uid;
		copy_text(id.address, sizeof(id.address), "@");
		return id;
	}
	if (!tls)
		return id;
	copy_text(id.address, sizeof(id.address), tls->address ? tls->address : "");
	if (!tls->leaf || !tls->leaf_len)
		return id;
	copy_text(id.fingerprint, sizeof(id.fingerprint), tls->fingerprint);
	id.not_before = tls->not_before;
	id.not_after = tls->not_after;
	id.verdict = tls->verdict;
	now = t->clock();
	if (now < tls->not_before || now > tls->not_after)
		return id;
	mutex_lock(&t->lock);
	judge_locked(t, tls, &id);
	mutex_unlock(&t->lock);
	if (id.restricted)
		id.rights_seen = access_seen(&id);
	return id;
}

bool trust_still_holds(struct trust *t, const struct identity *id)
{
	unsigned char leaf = 0; /* there was one; what it was is known by its fingerprint */
	struct http_tls_peer tls = {
		.leaf = &leaf,
		.leaf_len = sizeof(leaf),
		.not_before = id->not_before,
		.not_after = id->not_after,
		.verdict = id->verdict,
	};
	const struct http_peer peer = {.uid = (uid_t)-1, .tls = &tls};
	struct identity now;

	if (id->kind == IDENTITY_LOCAL || id->kind == IDENTITY_NONE)
		return true;
	if (id->kind == IDENTITY_CANDID)
		return t->clock() <= id->not_after && access_still_holds(id);
	copy_text(tls.fingerprint, sizeof(tls.fingerprint), id->fingerprint);
	now = trust_identify(t, &peer);
	if (!identity_equal(id, &now))
		return false;
	if (!now.restricted)
		return true;
	return id->restricted && access_still_holds(id);
}

struct access *trust_access(struct trust *t)
{
	return t->access;
}

void trust_set_default_role(struct trust *t, enum role role)
{
	bool less = access_default_role(t->access) > role;

	access_set_default_role(t->access, role);
	if (less)
		notify(t);
}

/* After a change in the database that rights come from; to be followed by notify(). */
static void load_rights(struct trust *t)
{
	auto_error struct error err = ERROR_INIT;

	if (access_load(t->access, &err) < 0)
		log_error("cannot read who may do what: nobody but administrators may do anything", LOG_ERR(&err));
}

void trust_rights_changed(struct trust *t)
{
	load_rights(t);
	notify(t);
}

static void take_projects(struct db_certificate *row, void *arg)
{
	struct trust *t = arg;

	mutex_lock(&t->lock);
	for (size_t i = 0; i < t->n; i++) {
		if (t->entries[i].row.id != row->id)
			continue;
		strv_done(&t->entries[i].row.projects);
		t->entries[i].row.projects = row->projects;
		row->projects = STRV_INIT;
	}
	mutex_unlock(&t->lock);
}

void trust_projects_changed(struct trust *t)
{
	auto_error struct error err = ERROR_INIT;

	mutex_lock(&t->change);
	if (db_certificates_load(t->db, take_projects, t, &err) < 0)
		log_error("cannot read the projects of certificates", LOG_ERR(&err));
	mutex_unlock(&t->change);
	trust_rights_changed(t);
}

/* --- the store itself --- */

static void certificate_from_row(const struct db_certificate *row, struct trust_certificate *ret)
{
	*ret = (struct trust_certificate){
		.fingerprint = xstrdup(row->fingerprint),
		.type = xstrdup(row->type),
		.name = xstrdup(row->name),
		.restricted = row->restricted,
		.pem = xstrdup(row->certificate),
	};
	strv_copy(&ret->projects, &row->projects);
}

static void row_from_certificate(const struct trust_certificate *c, struct db_certificate *ret)
{
	*ret = (struct db_certificate){
		.fingerprint = xstrdup(c->fingerprint),
		.type = xstrdup(c->type),
		.name = xstrdup(c->name),
		.restricted = c->restricted,
		.certificate = xstrdup(c->pem),
	};
	for (size_t i = 0; i < c->projects.len; i++)
		if (!strv_contains(&ret->projects, c->projects.items[i]))
			strv_add(&ret->projects, c->projects.items[i]);
}

static bool row_is(const struct db_certificate *row, const struct trust_certificate *c)
{
	return streq(row->fingerprint, c->fingerprint) && streq(row->type, c->type) && streq(row->name, c->name) &&
	       row->restricted == c->restricted && strv_equal(&row->projects, &c->projects) &&
	       streq(row->certificate, c->pem);
}

static bool prefix_fits(const char *prefix)
{
	size_t n = strlen(prefix);

	if (n == 0 || n > FINGERPRINT_HEX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (hex_value((char)tolower((unsigned char)prefix[i])) < 0)
			return false;
	return true;
}

int trust_find(struct trust *t, const char *prefix, struct trust_certificate *ret, struct error *err)
{
	const struct db_certificate *found = NULL;
	size_t n = 0;

	if (!prefix_fits(prefix))
		return error_set(err, 404, "Certificate not found");
	mutex_lock(&t->lock);
	for (size_t i = 0; i < t->n; i++) {
		if (strncasecmp(t->entries[i].row.fingerprint, prefix, strlen(prefix)) != 0)
			continue;
		found = &t->entries[i].row;
		n++;
	}
	if (n == 1)
		certificate_from_row(found, ret);
	mutex_unlock(&t->lock);
	if (n == 0)
		return error_set(err, 404, "Certificate not found");
	return n == 1 ? 0 : error_set(err, 500, "More than one certificate matches");
}

struct trust_certificate *trust_list(struct trust *t, size_t *ret_n)
{
	struct trust_certificate *list;

	mutex_lock(&t->lock);
	list = xcalloc(t->n + 1, sizeof(*list));
	for (size_t i = 0; i < t->n; i++)
		certificate_from_row(&t->entries[i].row, &list[i]);
	*ret_n = t->n;
	mutex_unlock(&t->lock);
	return list;
}

static int check(const struct trust_certificate *c, struct digest *ret, struct error *err)
{
	if (streq(c->type, "server"))
		return error_set(err, 403, "Certificates of type \"server\" need a cluster; this server is in none");
	if (!type_is_known(c->type))
		return error_set(err, 400, "Invalid certificate type");
	if (!digest_parse(c->fingerprint, ret))
		return error_set(err, 500, "Invalid certificate fingerprint \"%s\"", c->fingerprint);
	return 0;
}

static bool is_taken(struct trust *t, const struct digest *digest)
{
	bool taken;

	mutex_lock(&t->lock);
	taken = entry_find_locked(t, digest) != NULL;
	mutex_unlock(&t->lock);
	return taken;
}

int trust_add(struct trust *t, const struct trust_certificate *c, struct error *err)
{
	CLEANUP(db_certificate_done) struct db_certificate row = {0};
	struct digest digest;
	int r = check(c, &digest, err);

	if (r < 0)
		return r;
	row_from_certificate(c, &row);
	row.added_ns = time_now_ns();
	mutex_lock(&t->change);
	if (is_taken(t, &digest))
		r = error_set(err, 409, "Certificate already in trust store");
	else
		r = db_certificate_insert(t->db, &row, err);
	if (r == 0) {
		/* rights first: who is known holds nothing before */
		load_rights(t);
		mutex_lock(&t->lock);
		entry_push_locked(t, &digest, &row);
		mutex_unlock(&t->lock);
	}
	mutex_unlock(&t->change);
	return r;
}

/* The index of @fingerprint, -1 when it is not there; stays so while the change lock is held. */
static ssize_t index_of_locked(struct trust *t, const char *fingerprint) REQUIRES(t->lock)
{
	for (size_t i = 0; i < t->n; i++)
		if (streq(t->entries[i].row.fingerprint, fingerprint))
			return (ssize_t)i;
	return -1;
}

/* Where @was stands, if it is still what it was. */
static int locate(struct trust *t, const struct trust_certificate *was, ssize_t *ret, int64_t *ret_id,
		  struct error *err)
{
	bool same = false;

	mutex_lock(&t->lock);
	*ret = index_of_locked(t, was->fingerprint);
	if (*ret >= 0) {
		same = row_is(&t->entries[*ret].row, was);
		*ret_id = t->entries[*ret].row.id;
	}
	mutex_unlock(&t->lock);
	if (*ret < 0)
		return error_set(err, 404, "Certificate not found");
	return same ? 0 : error_set(err, 412, "The certificate has been changed meanwhile");
}

static int update_locked(struct trust *t, const struct trust_certificate *was, const struct trust_certificate *now,
			 const struct digest *digest, struct error *err) REQUIRES(t->change)
{
	CLEANUP(db_certificate_done) struct db_certificate row = {0};
	struct db_certificate old;
	int64_t id = 0;
	ssize_t at;
	int r = locate(t, was, &at, &id, err);

	if (r < 0)
		return r;
	if (!streq(was->fingerprint, now->fingerprint) && is_taken(t, digest))
		return error_set(err, 409, "Certificate already in trust store");
	row_from_certificate(now, &row);
	row.id = id;
	r = db_certificate_update(t->db, &row, err);
	if (r < 0)
		return r;
	mutex_lock(&t->lock);
	old = t->entries[at].row;
	row.added_ns = old.added_ns;
	t->entries[at].row = row;
	t->entries[at].digest = *digest;
	mutex_unlock(&t->lock);
	row = old;
	load_rights(t);
	return 0;
}

int trust_update(struct trust *t, const struct trust_certificate *was, const struct trust_certificate *now,
		 struct error *err)
{
	struct digest digest;
	int r;

	if (!streq(was->type, now->type))
		return error_set(err, 403, "The certificate type cannot be changed");
	r = check(now, &digest, err);
	if (r < 0)
		return r;
	mutex_lock(&t->change);
	r = update_locked(t, was, now, &digest, err);
	mutex_unlock(&t->change);
	if (r == 0)
		notify(t);
	return r;
}

static int remove_locked(struct trust *t, const char *fingerprint, struct error *err) REQUIRES(t->change)
{
	int64_t id = 0;
	ssize_t at;
	int r;

	mutex_lock(&t->lock);
	at = index_of_locked(t, fingerprint);
	if (at >= 0)
		id = t->entries[at].row.id;
	mutex_unlock(&t->lock);
	if (at < 0)
		return error_set(err, 404, "Certificate not found");
	r = db_certificate_delete(t->db, id, err);
	if (r < 0)
		return r;
	mutex_lock(&t->lock);
	db_certificate_done(&t->entries[at].row);
	memmove(&t->entries[at], &t->entries[at + 1], (t->n - (size_t)at - 1) * sizeof(*t->entries));
	t->n--;
	mutex_unlock(&t->lock);
	load_rights(t);
	return 0;
}

bool trust_take_renewal(struct trust *t, const char *fingerprint)
{
	int64_t now = t->clock();
	bool ok = false;
	ssize_t at;

	mutex_lock(&t->lock);
	at = index_of_locked(t, fingerprint);
	if (at >= 0) {
		struct entry *e = &t->entries[at];

		if (!e->renewals || now - e->renewals_since >= RENEWALS_SECONDS || now < e->renewals_since) {
			e->renewals = 0;
			e->renewals_since = now;
		}
		ok = e->renewals < RENEWALS_MAX;
		e->renewals += ok;
	}
	mutex_unlock(&t->lock);
	return ok;
}

int trust_remove(struct trust *t, const char *fingerprint, struct error *err)
{
	int r;

	mutex_lock(&t->change);
	r = remove_locked(t, fingerprint, err);
	mutex_unlock(&t->change);
	if (r == 0)
		notify(t);
	return r;
}
