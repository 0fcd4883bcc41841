#include "api/warnings.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"

#define WARNINGS_MAX 1000 /* what raises them may be driven by strangers */
#define SECOND_NS 1000000000LL
#define WRITE_PAUSE_NS (10 * SECOND_NS) /* a warning that is raised again and again is written this often */
#define RESOLVED_KEPT_NS (24 * 3600 * SECOND_NS)
#define EXPIRY_DAYS 30
#define DAY_SECONDS 86400

struct warning {
	struct db_warning row;
	int64_t written_ns; /* last write of the row */
};

struct warnings {
	struct db *db;
	struct mutex lock;
	struct warning **rows GUARDED_BY(lock); /* oldest first */
	size_t n GUARDED_BY(lock);
};

static void add_locked(struct warnings *w, struct warning *x) REQUIRES(w->lock)
{
	w->rows = xreallocarray(w->rows, w->n + 1, sizeof(*w->rows));
	w->rows[w->n++] = x;
}

static void remove_at_locked(struct warnings *w, size_t i) REQUIRES(w->lock)
{
	db_warning_done(&w->rows[i]->row);
	free(w->rows[i]);
	memmove(&w->rows[i], &w->rows[i + 1], (w->n - i - 1) * sizeof(*w->rows));
	w->n--;
}

/* Under the database's lock, which is below ours: so without ours, which nobody else can have yet. */
static void load_row(struct db_warning *row, void *arg) UNSHARED
{
	struct warnings *w = arg;
	struct warning *x = xnew(struct warning);

	x->row = *row;
	*row = (struct db_warning){0};
	add_locked(w, x);
}

int warnings_new(struct db *db, struct warnings **ret, struct error *err)
{
	struct warnings *w = xnew(struct warnings);
	int r;

	w->db = db;
	mutex_init(&w->lock);
	r = db_warnings_load(db, load_row, w, err);
	if (r < 0) {
		warnings_free(w);
		return r;
	}
	warnings_prune(w, time_now_ns());
	*ret = w;
	return 0;
}

void warnings_free(struct warnings *w) UNSHARED
{
	if (!w)
		return;
	while (w->n)
		remove_at_locked(w, w->n - 1);
	free(w->rows);
	mutex_done(&w->lock);
	free(w);
}

static struct warning *find_locked(struct warnings *w, const char *type, const char *entity) REQUIRES(w->lock)
{
	for (size_t i = 0; i < w->n; i++)
		if (streq(w->rows[i]->row.type, type) && streq(w->rows[i]->row.entity, entity))
			return w->rows[i];
	return NULL;
}

static int insert_locked(struct warnings *w, const char *type, const char *severity, const char *entity,
			 const char *message, struct error *err) REQUIRES(w->lock)
{
	struct warning *x;
	int64_t now = time_now_ns();
	int r;

	if (w->n >= WARNINGS_MAX)
		return error_set(err, 500, "There are %d warnings already: delete some", WARNINGS_MAX);
	x = xnew(struct warning);
	x->row = (struct db_warning){
		.uuid = uuid_new(),
		.type = xstrdup(type),
		.project = xstrdup(""),
		.entity = xstrdup(entity),
		.message = xstrdup(message),
		.severity = xstrdup(severity),
		.status = xstrdup("new"),
		.count = 1,
		.first_seen_ns = now,
		.last_seen_ns = now,
	};
	x->written_ns = now;
	r = db_warning_insert(w->db, &x->row, err);
	if (r == 0) {
		add_locked(w, x);
		return 0;
	}
	db_warning_done(&x->row);
	free(x);
	return r;
}

static void replace(char **text, const char *with)
{
	char *copy = xstrdup(with);

	free(*text);
	*text = copy;
}

static int count_locked(struct warnings *w, struct warning *x, const char *severity, const char *message,
			struct error *err) REQUIRES(w->lock)
{
	bool news = !streq(x->row.severity, severity) || streq(x->row.status, "resolved");
	int64_t now = time_now_ns();

	x->row.count++;
	x->row.last_seen_ns = now;
	replace(&x->row.message, message);
	replace(&x->row.severity, severity);
	/* an acknowledged one stays so */
	if (streq(x->row.status, "resolved"))
		replace(&x->row.status, "new");
	if (!news && now >= x->written_ns && now - x->written_ns < WRITE_PAUSE_NS)
		return 0;
	x->written_ns = now;
	return db_warning_update(w->db, &x->row, err);
}

void warnings_raise(struct warnings *w, const char *type, const char *severity, const char *entity, const char *message)
{
	auto_error struct error err = ERROR_INIT;
	struct warning *x;
	bool fresh;
	int r;

	mutex_lock(&w->lock);
	x = find_locked(w, type, entity);
	fresh = !x;
	r = x ? count_locked(w, x, severity, message, &err) : insert_locked(w, type, severity, entity, message, &err);
	mutex_unlock(&w->lock);
	if (fresh)
		log_warn("warning raised", LOG_STR("type", type), LOG_STR("entity", entity),
			 LOG_STR("message", message));
	if (r < 0)
		log_error("cannot store warning", LOG_STR("type", type), LOG_ERR(&err));
}

static int set_status_locked(struct warnings *w, struct warning *x, const char *status, struct error *err)
	REQUIRES(w->lock)
{
	auto_free char *old = x->row.status;
	int r;

	x->row.status = xstrdup(status);
	x->written_ns = time_now_ns();
	r = db_warning_update(w->db, &x->row, err);
	if (r < 0) {
		free(x->row.status);
		x->row.status = TAKE_PTR(old);
	}
	return r;
}

void warnings_resolve(struct warnings *w, const char *type, const char *entity)
{
	auto_error struct error err = ERROR_INIT;
	struct warning *x;
	int r = 0;

	mutex_lock(&w->lock);
	x = find_locked(w, type, entity);
	if (x && !streq(x->row.status, "resolved")) {
		/* the time from which it is kept */
		x->row.last_seen_ns = time_now_ns();
		r = set_status_locked(w, x, "resolved", &err);
	}
	mutex_unlock(&w->lock);
	if (r < 0)
		log_error("cannot store warning", LOG_STR("type", type), LOG_ERR(&err));
}

void warnings_prune(struct warnings *w, int64_t now_ns)
{
	mutex_lock(&w->lock);
	for (size_t i = w->n; i-- > 0;) {
		const struct db_warning *row = &w->rows[i]->row;
		auto_error struct error err = ERROR_INIT;

		if (!streq(row->status, "resolved") || row->last_seen_ns > now_ns - RESOLVED_KEPT_NS)
			continue;
		if (db_warning_delete(w->db, row->id, &err) < 0)
			log_error("cannot delete warning", LOG_STR("uuid", row->uuid), LOG_ERR(&err));
		else
			remove_at_locked(w, i);
	}
	mutex_unlock(&w->lock);
}

void warnings_check_certificate_expiry(struct warnings *w, int64_t not_after, int64_t now)
{
	static const char type[] = "Server certificate expires soon";
	auto_free char *message = NULL;
	char when[TIME_TEXT_MAX];
	int64_t days = (not_after - now) / DAY_SECONDS;

	if (not_after - now > (int64_t)EXPIRY_DAYS * DAY_SECONDS) {
		warnings_resolve(w, type, "");
		return;
	}
	time_format(not_after * SECOND_NS, when);
	if (not_after <= now)
		message = xasprintf("The server certificate has expired on %s: replace server.crt and server.key",
				    when);
	else
		message = xasprintf(
			"The server certificate expires on %s, in %lld days: replace server.crt and server.key", when,
			(long long)days);
	warnings_raise(w, type, not_after <= now ? "high" : "moderate", "", message);
}

/* --- for the API --- */

static void render(const struct db_warning *r, struct jsonw *j)
{
	jsonw_object_begin(j);
	jsonw_kv_str(j, "status", r->status);
	jsonw_kv_str(j, "uuid", r->uuid);
	jsonw_kv_str(j, "location", "none");
	jsonw_kv_str(j, "project", r->project);
	jsonw_kv_str(j, "type", r->type);
	jsonw_kv_int(j, "count", r->count);
	jsonw_kv_time(j, "first_seen_at", r->first_seen_ns);
	jsonw_kv_time(j, "last_seen_at", r->last_seen_ns);
	jsonw_kv_str(j, "last_message", r->message);
	jsonw_kv_str(j, "severity", r->severity);
	jsonw_kv_str(j, "entity_url", r->entity);
	jsonw_object_end(j);
}

void warnings_render_list(struct warnings *w, const char *project, bool objects, struct jsonw *j)
{
	warnings_prune(w, time_now_ns());
	jsonw_array_begin(j);
	mutex_lock(&w->lock);
	for (size_t i = 0; i < w->n; i++) {
		const struct db_warning *r = &w->rows[i]->row;

		if (project && !streq(r->project, project))
			continue;
		if (objects)
			render(r, j);
		else
			jsonw_strf(j, "/1.0/warnings/%s", r->uuid);
	}
	mutex_unlock(&w->lock);
	jsonw_array_end(j);
}

static struct warning *by_uuid_locked(struct warnings *w, const char *uuid, size_t *ret_i, struct error *err)
	REQUIRES(w->lock)
{
	for (size_t i = 0; i < w->n; i++) {
		if (!streq(w->rows[i]->row.uuid, uuid))
			continue;
		if (ret_i)
			*ret_i = i;
		return w->rows[i];
	}
	error_set(err, 404, "Warning not found");
	return NULL;
}

int warnings_render_one(struct warnings *w, const char *uuid, struct jsonw *j, struct error *err)
{
	struct warning *x;

	mutex_lock(&w->lock);
	x = by_uuid_locked(w, uuid, NULL, err);
	if (x)
		render(&x->row, j);
	mutex_unlock(&w->lock);
	return x ? 0 : -err->errnum;
}

int warnings_status(struct warnings *w, const char *uuid, char **ret, struct error *err)
{
	struct warning *x;

	mutex_lock(&w->lock);
	x = by_uuid_locked(w, uuid, NULL, err);
	if (x)
		*ret = xstrdup(x->row.status);
	mutex_unlock(&w->lock);
	return x ? 0 : -err->errnum;
}

int warnings_set_status(struct warnings *w, const char *uuid, const char *status, struct error *err)
{
	struct warning *x;
	int r;

	mutex_lock(&w->lock);
	x = by_uuid_locked(w, uuid, NULL, err);
	r = x ? set_status_locked(w, x, status, err) : -err->errnum;
	mutex_unlock(&w->lock);
	return r;
}

int warnings_delete(struct warnings *w, const char *uuid, struct error *err)
{
	struct warning *x;
	size_t i = 0;
	int r;

	mutex_lock(&w->lock);
	x = by_uuid_locked(w, uuid, &i, err);
	r = x ? db_warning_delete(w->db, x->row.id, err) : -err->errnum;
	if (r == 0)
		remove_at_locked(w, i);
	mutex_unlock(&w->lock);
	return r;
}

uint64_t warnings_count(struct warnings *w)
{
	uint64_t n;

	mutex_lock(&w->lock);
	n = w->n;
	mutex_unlock(&w->lock);
	return n;
}

uint64_t warnings_count_open(struct warnings *w)
{
	uint64_t n = 0;

	mutex_lock(&w->lock);
	for (size_t i = 0; i < w->n; i++)
		n += !streq(w->rows[i]->row.status, "resolved");
	mutex_unlock(&w->lock);
	return n;
}
