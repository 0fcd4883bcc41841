/*
 * Root keys of the macaroons that we mint: in the database, so that a restart logs nobody out, and in memory. A key is
 * minted with for a day, or as long as a ticket is good if that is longer, and stays until the last ticket has expired.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/str.h"
#include "candid/internal.h"
#include "macaroon/macaroon.h"

#define DAY_NS (INT64_C(86400) * 1000000000)
#define ID_BYTES 8

struct root_keys {
	struct db *db;
	struct mutex change; /* one at a time; held across the database */
	struct mutex lock;
	struct db_macaroon_key *list GUARDED_BY(lock); /* oldest first */
	size_t n GUARDED_BY(lock);
};

static void load(struct db_macaroon_key *row, void *arg)
{
	struct root_keys *k = arg;

	mutex_lock(&k->lock);
	k->list = xreallocarray(k->list, k->n + 1, sizeof(*k->list));
	k->list[k->n++] = *row;
	mutex_unlock(&k->lock);
	*row = (struct db_macaroon_key){0};
}

static void clear(struct root_keys *k)
{
	mutex_lock(&k->lock);
	for (size_t i = 0; i < k->n; i++)
		db_macaroon_key_done(&k->list[i]);
	free(k->list);
	k->list = NULL;
	k->n = 0;
	mutex_unlock(&k->lock);
}

int root_keys_new(struct db *db, struct root_keys **ret, struct error *err)
{
	struct root_keys *k = xnew(struct root_keys);
	int r;

	k->db = db;
	mutex_init(&k->change);
	mutex_init(&k->lock);
	r = db_macaroon_keys_load(db, load, k, err);
	if (r < 0) {
		root_keys_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void root_keys_free(struct root_keys *k)
{
	if (!k)
		return;
	clear(k);
	mutex_done(&k->change);
	mutex_done(&k->lock);
	free(k);
}

bool root_keys_find(struct root_keys *k, const struct strbuf *id, int64_t now_ns, struct strbuf *ret)
{
	bool found = false;

	mutex_lock(&k->lock);
	for (size_t i = 0; i < k->n && !found; i++) {
		const struct db_macaroon_key *row = &k->list[i];

		if (strlen(row->id) != id->len || memcmp(row->id, id->data, id->len) != 0)
			continue;
		found = row->created_ns <= now_ns && now_ns < row->expires_ns;
		if (found)
			strbuf_append(ret, row->key);
	}
	mutex_unlock(&k->lock);
	return found;
}

static int64_t rotation(int64_t expiry_ns)
{
	return MAX_OF(DAY_NS, expiry_ns);
}

static bool newest(struct root_keys *k, int64_t now_ns, int64_t expiry_ns, struct strbuf *ret_id,
		   struct strbuf *ret_key)
{
	bool found = false;

	mutex_lock(&k->lock);
	if (k->n) {
		const struct db_macaroon_key *row = &k->list[k->n - 1];

		found = row->created_ns <= now_ns && now_ns - row->created_ns < rotation(expiry_ns) &&
			row->expires_ns - expiry_ns >= now_ns;
		if (found) {
			strbuf_append(ret_id, row->id);
			strbuf_append(ret_key, row->key);
		}
	}
	mutex_unlock(&k->lock);
	return found;
}

/* Expired ones go on this occasion. */
static void drop_expired(struct root_keys *k, int64_t now_ns) REQUIRES(k->change)
{
	auto_error struct error err = ERROR_INIT;
	size_t kept = 0;

	if (db_macaroon_keys_delete(k->db, now_ns, &err) < 0) {
		log_warn("expired keys of macaroons stay", LOG_ERR(&err));
		return;
	}
	mutex_lock(&k->lock);
	for (size_t i = 0; i < k->n; i++) {
		if (k->list[i].expires_ns <= now_ns)
			db_macaroon_key_done(&k->list[i]);
		else
			k->list[kept++] = k->list[i];
	}
	k->n = kept;
	mutex_unlock(&k->lock);
}

static int add(struct root_keys *k, int64_t now_ns, int64_t expiry_ns, struct error *err) REQUIRES(k->change)
{
	CLEANUP(db_macaroon_key_done)
	struct db_macaroon_key row = {.id = random_hex(ID_BYTES),
				      .key = random_hex(MACAROON_ROOT_KEY),
				      .created_ns = now_ns,
				      .expires_ns = now_ns + rotation(expiry_ns) + expiry_ns};
	int r = db_macaroon_key_insert(k->db, &row, err);

	if (r == 0)
		load(&row, k);
	return r;
}

int root_keys_pick(struct root_keys *k, int64_t now_ns, int64_t expiry_ns, struct strbuf *ret_id,
		   struct strbuf *ret_key, struct error *err)
{
	int r = 0;

	if (newest(k, now_ns, expiry_ns, ret_id, ret_key))
		return 0;
	mutex_lock(&k->change);
	if (!newest(k, now_ns, expiry_ns, ret_id, ret_key)) {
		drop_expired(k, now_ns);
		r = add(k, now_ns, expiry_ns, err);
		if (r == 0 && !newest(k, now_ns, expiry_ns, ret_id, ret_key))
			r = error_set(err, 500, "The clock goes backwards");
	}
	mutex_unlock(&k->change);
	return r;
}

void root_keys_forget(struct root_keys *k)
{
	auto_error struct error err = ERROR_INIT;

	mutex_lock(&k->change);
	clear(k);
	if (db_macaroon_keys_delete(k->db, INT64_MAX, &err) < 0)
		log_error(
			"keys of macaroons stay in the database: tickets made with them are good again after a restart",
			LOG_ERR(&err));
	mutex_unlock(&k->change);
}
