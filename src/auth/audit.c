#include "auth/audit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "auth/audit_chain.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"

#define NUMBERS_SKIPPED_MAX 1000000
#define TEXT_MAX 512 /* bytes of a path or detail that are kept */

/* Denials of one event: DENIALS_BURST lines, then one per DENIALS_REFILL_MS; counts are written after SUMMARY_MS. */
#define DENIALS_BURST 60
#define DENIALS_REFILL_MS 60000
#define SUMMARY_MS 60000
#define SUMMARY_PAUSE_MS 600000 /* while it goes on, a summary at most this often */
#define SOURCES_MAX 8
#define KNOWN_MAX 128 /* events of known certificates that are counted apart; further ones share */

struct source {
	char host[64];
	uint64_t count;
};

/* The denials of one event: of strangers, or of one certificate. */
struct bucket {
	const char *event;
	struct identity id; /* whose; kind IDENTITY_NONE: all strangers'. Without name: of many callers */
	int64_t tokens;
	int64_t refilled_ms;
	/* held back since the last summary */
	uint64_t held;
	struct source sources[SOURCES_MAX];
	size_t n_sources;
	uint64_t others; /* from further sources */
	struct bucket *next;
};

/* One waiting writer. */
struct waiting {
	const char *fields;
	bool done;
	struct error err;
	int r;
	struct waiting *next;
};

struct audit {
	struct db *db;
	int dirfd;
	struct mutex lock;
	struct cond changed;
	struct waiting *queue GUARDED_BY(lock);
	struct waiting **tail GUARDED_BY(lock);
	bool busy GUARDED_BY(lock); /* somebody is writing: fields below are that thread's */
	struct bucket *buckets GUARDED_BY(lock);
	size_t n_known GUARDED_BY(lock); /* buckets with a name */
	bool summary_running GUARDED_BY(lock);
	bool stopping GUARDED_BY(lock);
	int64_t summary_ms GUARDED_BY(lock);    /* of the last one; 0: none */
	struct db_audit known GUARDED_BY(lock); /* copy of state, for readers */
	void (*on_damage)(void *arg, const char *message) GUARDED_BY(lock);
	void *on_damage_arg GUARDED_BY(lock);
	char *damage GUARDED_BY(lock); /* found, and nobody was there to hear of it */
	/* the writer's */
	int fd;
	off_t size;
	off_t size_max;
	struct db_audit state;
	bool tail_dirty; /* a failed write could not be cut off */
};

/* --- the text of an entry --- */

/* At most TEXT_MAX bytes of @text, whole characters. */
static void put_text(struct jsonw *w, const char *key, const char *text)
{
	auto_free char *cut = NULL;
	size_t at = 0;

	if (!text || strlen(text) <= TEXT_MAX) {
		jsonw_kv_str(w, key, text);
		return;
	}
	while (at < TEXT_MAX - 3) {
		size_t n = utf8_char_len(text + at, strlen(text + at));

		at += n ? n : 1;
	}
	cut = xasprintf("%.*s...", (int)at, text);
	jsonw_kv_str(w, key, cut);
}

static void put_identity(struct jsonw *w, const struct identity *id)
{
	jsonw_kv_str(w, "protocol", id ? identity_protocol(id) : "daemon");
	if (id && id->kind == IDENTITY_LOCAL)
		jsonw_kv_strf(w, "identity", id->uid == 0 ? "root" : "uid=%u", (unsigned)id->uid);
	else
		jsonw_kv_str(w, "identity", id ? identity_name(id) : "");
	jsonw_kv_str(w, "address", !id ? "" : id->kind == IDENTITY_LOCAL ? "@" : id->address);
}

static char *render(const struct audit_entry *e, uint64_t count)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_kv_str(&w, "event", e->event);
	jsonw_kv_time(&w, "time", time_now_ns());
	jsonw_kv_str(&w, "verdict", e->verdict);
	put_identity(&w, e->id);
	put_text(&w, "method", e->method);
	put_text(&w, "path", e->path);
	put_text(&w, "detail", e->detail);
	jsonw_kv_uint(&w, "count", count);
	return strbuf_take(&b);
}

/* --- files --- */

static bool file_is_there(struct audit *a, unsigned i)
{
	struct stat st;
	char name[32];

	audit_file_name(i, name);
	return fstatat(a->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int open_current(struct audit *a, struct error *err)
{
	struct stat st;
	int fd = openat(a->dirfd, AUDIT_FILE, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_errno(err, errno, "Open audit log");
	fd_close(a->fd);
	a->fd = fd;
	if (fstat(fd, &st) < 0 || fchmod(fd, 0600) < 0)
		return error_errno(err, errno, "Open audit log");
	a->size = st.st_size;
	return dir_sync(a->dirfd, ".", err);
}

/* The oldest file goes: what is the oldest entry then is stored first, so that a crash in between shows as what it is.
 */
static int drop_oldest(struct audit *a, struct error *err)
{
	struct db_audit state = a->state;
	char name[32];
	int r;

	audit_file_name(AUDIT_ROTATED_MAX, name);
	if (audit_file_start(a->dirfd, AUDIT_ROTATED_MAX - 1, &state.first, state.first_prev) &&
	    state.first > a->state.first) {
		r = db_audit_save(a->db, &state, err);
		if (r < 0)
			return r;
		a->state = state;
	}
	if (unlinkat(a->dirfd, name, 0) < 0 && errno != ENOENT)
		return error_errno(err, errno, "Remove %s", name);
	return 0;
}

/* audit.log becomes audit.log.1 and so on; a gap that an interrupted rotation left is closed. */
static int rotate(struct audit *a, struct error *err)
{
	unsigned gap = 1;
	int r;

	while (gap <= AUDIT_ROTATED_MAX && file_is_there(a, gap))
		gap++;
	if (gap > AUDIT_ROTATED_MAX) {
		gap = AUDIT_ROTATED_MAX;
		r = drop_oldest(a, err);
		if (r < 0)
			return r;
	}
	for (; gap > 0; gap--) {
		char from[32], to[32];

		audit_file_name(gap - 1, from);
		audit_file_name(gap, to);
		if (renameat2(a->dirfd, from, a->dirfd, to, RENAME_NOREPLACE) < 0)
			return error_errno(err, errno, "Rename %s to %s", from, to);
	}
	return open_current(a, err);
}

/* --- writing --- */

/* Put @len bytes behind the end and the state into the database; all or nothing. */
static int commit(struct audit *a, const struct strbuf *lines, const struct db_audit *next, struct error *err)
{
	int r;

	if (a->tail_dirty && ftruncate(a->fd, a->size) < 0)
		return error_errno(err, errno, "Cut off a failed write to the audit log");
	a->tail_dirty = false;
	r = fd_write_full(a->fd, lines->data, lines->len);
	if (r == 0 && fdatasync(a->fd) < 0)
		r = -errno;
	if (r < 0) {
		error_errno(err, -r, "Write audit log");
		if (r == -ENOSPC || r == -EDQUOT)
			error_status(err, 507);
	} else {
		r = db_audit_save(a->db, next, err);
	}
	if (r < 0) {
		/* what nobody was told of shall not stay, and the next line shall begin where this one did */
		a->tail_dirty = ftruncate(a->fd, a->size) < 0 || fdatasync(a->fd) < 0;
		return r;
	}
	a->size += (off_t)lines->len;
	a->state = *next;
	return 0;
}

static void append(struct strbuf *out, struct db_audit *state, const char *prev, const char *fields)
{
	char hash[65];

	audit_line_append(out, state->count + 1, prev, fields, hash);
	state->count++;
	memcpy(state->head, hash, sizeof(hash));
}

static void tell_damage(struct audit *a, const char *message)
{
	void (*fn)(void *arg, const char *message);
	void *arg;

	log_error("audit log is damaged", LOG_STR("found", message));
	mutex_lock(&a->lock);
	fn = a->on_damage;
	arg = a->on_damage_arg;
	if (!fn) {
		free(a->damage);
		a->damage = xstrdup(message);
	}
	mutex_unlock(&a->lock);
	if (fn)
		fn(arg, message);
}

/* Put what is there aside and begin a new chain behind number @last. */
static int begin_segment(struct audit *a, int64_t last, const char *message, struct error *err)
{
	const struct audit_entry e = {.event = AUDIT_EVENT_SEGMENT, .verdict = "failed", .detail = message};
	auto_free char *fields = render(&e, 1);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct db_audit next;
	int r = 0;

	if (file_is_there(a, 0))
		r = rotate(a, err);
	else
		r = open_current(a, err);
	if (r < 0)
		return r;
	next = a->state;
	/* numbers go on behind all that were seen; a forged one may be anything */
	next.count = MIN_OF(MAX_OF(next.count, last), next.count + NUMBERS_SKIPPED_MAX);
	append(&b, &next, audit_no_hash, fields);
	next.first = next.count;
	memcpy(next.first_prev, audit_no_hash, sizeof(next.first_prev));
	r = commit(a, &b, &next, err);
	if (r == 0)
		tell_damage(a, message);
	return r;
}

/* Is the file still the one we wrote? Anybody who may write there could have replaced or cut it meanwhile. */
static int check_file(struct audit *a, struct error *err)
{
	struct stat ours, there;
	bool same;

	if (fstat(a->fd, &ours) < 0)
		return error_errno(err, errno, "Look at audit log");
	same = fstatat(a->dirfd, AUDIT_FILE, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_ino == ours.st_ino &&
	       there.st_dev == ours.st_dev;
	if (!same)
		return begin_segment(a, 0, "audit.log was moved, replaced or removed while the daemon ran", err);
	if (ours.st_size != a->size && !a->tail_dirty)
		return begin_segment(a, 0, "audit.log was cut or added to while the daemon ran", err);
	return 0;
}

static int write_batch(struct audit *a, const struct waiting *batch, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct db_audit next;
	int r = check_file(a, err);

	if (r == 0 && a->size >= a->size_max)
		r = rotate(a, err);
	if (r < 0)
		return r;
	next = a->state;
	for (; batch; batch = batch->next) {
		char prev[65];

		memcpy(prev, next.head, sizeof(prev));
		append(&b, &next, prev, batch->fields);
	}
	return commit(a, &b, &next, err);
}

/* Takes the writer's part for all that wait at this moment. */
static void lead_locked(struct audit *a) REQUIRES(a->lock)
{
	auto_error struct error err = ERROR_INIT;
	struct waiting *batch = a->queue, *last = batch, *next;
	struct db_audit state;
	int r;

	for (size_t n = 1; n < AUDIT_GROUP_MAX && last->next; n++)
		last = last->next;
	a->queue = last->next;
	if (!a->queue)
		a->tail = &a->queue;
	last->next = NULL;
	a->busy = true;
	mutex_unlock(&a->lock);
	r = write_batch(a, batch, &err);
	state = a->state;
	mutex_lock(&a->lock);
	a->known = state;
	a->busy = false;
	for (; batch; batch = next) {
		next = batch->next;
		batch->r = r;
		if (r < 0) {
			error_set(&batch->err, err.status, "%s", error_msg(&err));
			batch->err.errnum = err.errnum;
		}
		batch->done = true;
	}
	cond_broadcast(&a->changed);
}

static int write_fields(struct audit *a, const char *fields, struct error *err)
{
	struct waiting me = {.fields = fields};

	mutex_lock(&a->lock);
	*a->tail = &me;
	a->tail = &me.next;
	while (!me.done) {
		if (a->busy)
			cond_wait(&a->changed, &a->lock);
		else
			lead_locked(a);
	}
	mutex_unlock(&a->lock);
	return me.r < 0 ? error_move(err, &me.err) : 0;
}

/* --- who is no administrator --- */

static void refill(struct bucket *b)
{
	int64_t due = (time_monotonic_ms() - b->refilled_ms) / DENIALS_REFILL_MS;

	b->tokens = MIN_OF(b->tokens + due, DENIALS_BURST);
	b->refilled_ms += due * DENIALS_REFILL_MS;
}

/* A known certificate's bucket that is as good as a new one goes. */
static void drop_idle_locked(struct audit *a) REQUIRES(a->lock)
{
	for (struct bucket **at = &a->buckets; *at;) {
		struct bucket *b = *at;

		refill(b);
		if (!*identity_name(&b->id) || b->held || b->tokens < DENIALS_BURST) {
			at = &b->next;
			continue;
		}
		*at = b->next;
		free(b);
		a->n_known--;
	}
}

static struct bucket *find_locked(struct audit *a, const char *event, const struct identity *id) REQUIRES(a->lock)
{
	for (struct bucket *b = a->buckets; b; b = b->next)
		if (b->id.kind == id->kind && streq(b->event, event) && streq(identity_name(&b->id), identity_name(id)))
			return b;
	return NULL;
}

/*
 * Strangers choose the fingerprint that they show: they share one bucket for each event. A known certificate has its
 * own, so that nobody else's denials hide it; when there are too many of those, the rest share too.
 */
static struct bucket *bucket_for_locked(struct audit *a, const char *event, const struct identity *whose)
	REQUIRES(a->lock)
{
	struct identity id = {.kind = whose->kind};
	struct bucket *b;

	if (id.kind == IDENTITY_CANDID)
		memcpy(id.user, whose->user, sizeof(id.user));
	else if (id.kind != IDENTITY_NONE)
		memcpy(id.fingerprint, whose->fingerprint, sizeof(id.fingerprint));
	b = find_locked(a, event, &id);
	if (!b && *identity_name(&id) && a->n_known == KNOWN_MAX)
		drop_idle_locked(a);
	if (!b && *identity_name(&id) && a->n_known == KNOWN_MAX) {
		id = (struct identity){.kind = whose->kind};
		b = find_locked(a, event, &id);
	}
	if (b)
		return b;
	b = xnew(struct bucket);
	b->event = event;
	b->id = id;
	b->tokens = DENIALS_BURST;
	b->refilled_ms = time_monotonic_ms();
	b->next = a->buckets;
	a->buckets = b;
	a->n_known += *identity_name(&id) != '\0';
	return b;
}

static bool take_token(struct bucket *b)
{
	refill(b);
	if (b->tokens == 0)
		return false;
	b->tokens--;
	return true;
}

/* "192.0.2.1:4000" without its port. */
static void host_of(const char *address, char host[64])
{
	const char *colon = strrchr(address, ':');
	size_t len = colon ? (size_t)(colon - address) : strlen(address);

	snprintf(host, 64, "%.*s", (int)MIN_OF(len, (size_t)63), address);
}

static void hold_back(struct bucket *b, const struct identity *id)
{
	char host[64];

	host_of(id->address, host);
	b->held++;
	for (size_t i = 0; i < b->n_sources; i++) {
		if (streq(b->sources[i].host, host)) {
			b->sources[i].count++;
			return;
		}
	}
	if (b->n_sources == SOURCES_MAX) {
		b->others++;
		return;
	}
	memcpy(b->sources[b->n_sources].host, host, sizeof(host));
	b->sources[b->n_sources++].count = 1;
}

static char *summary_text(const struct bucket *b)
{
	struct strbuf s = STRBUF_INIT;

	strbuf_appendf(&s, "%s: counted, not written one by one; from", b->event);
	for (size_t i = 0; i < b->n_sources; i++)
		strbuf_appendf(&s, "%s %s (%llu)", i ? "," : "", b->sources[i].host,
			       (unsigned long long)b->sources[i].count);
	if (b->others)
		strbuf_appendf(&s, ", others (%llu)", (unsigned long long)b->others);
	return strbuf_take(&s);
}

struct summary {
	char *text;
	uint64_t held;
	struct identity id;
};

/* Takes what is held back out of the buckets. */
static struct summary *take_summaries(struct audit *a, size_t *ret_n)
{
	struct summary *list = NULL;

	*ret_n = 0;
	mutex_lock(&a->lock);
	for (struct bucket *b = a->buckets; b; b = b->next) {
		if (!b->held)
			continue;
		list = xreallocarray(list, *ret_n + 1, sizeof(*list));
		list[(*ret_n)++] = (struct summary){summary_text(b), b->held, b->id};
		b->held = b->others = 0;
		b->n_sources = 0;
	}
	mutex_unlock(&a->lock);
	return list;
}

/* One line for each event, and each certificate, of which some were held back. */
static void write_summaries(struct audit *a)
{
	size_t n;
	auto_free struct summary *list = take_summaries(a, &n);

	for (size_t i = 0; i < n; i++) {
		auto_error struct error err = ERROR_INIT;
		struct audit_entry e = {.event = "audit-summary", .verdict = "denied", .detail = list[i].text};
		auto_free char *fields = NULL;

		e.id = *identity_name(&list[i].id) ? &list[i].id : NULL;
		fields = render(&e, list[i].held);
		if (write_fields(a, fields, &err) < 0)
			log_error("cannot write to the audit log", LOG_STR("lost", list[i].text), LOG_ERR(&err));
		free(list[i].text);
	}
}

static void *summary_thread(void *arg)
{
	struct audit *a = arg;
	int64_t deadline;

	mutex_lock(&a->lock);
	deadline = time_monotonic_ms() + SUMMARY_MS;
	if (a->summary_ms)
		deadline = MAX_OF(deadline, a->summary_ms + SUMMARY_PAUSE_MS);
	while (!a->stopping && time_monotonic_ms() < deadline)
		cond_wait_until(&a->changed, &a->lock, deadline);
	a->summary_ms = time_monotonic_ms();
	mutex_unlock(&a->lock);
	write_summaries(a);
	mutex_lock(&a->lock);
	a->summary_running = false;
	cond_broadcast(&a->changed);
	mutex_unlock(&a->lock);
	return NULL;
}

/* True: this entry is only counted. */
static bool is_held_back(struct audit *a, const struct audit_entry *e)
{
	auto_error struct error err = ERROR_INIT;
	bool start = false, held = false;
	struct bucket *b;

	if (!e->id || identity_is_admin(e->id) || streq(e->verdict, "allowed"))
		return false;
	mutex_lock(&a->lock);
	b = bucket_for_locked(a, e->event, e->id);
	if (!take_token(b)) {
		held = true;
		hold_back(b, e->id);
		start = !a->summary_running && !a->stopping;
		a->summary_running |= start;
	}
	mutex_unlock(&a->lock);
	if (start && thread_start("audit", summary_thread, a, &err) < 0) {
		log_error("denials stay uncounted in the audit log for now", LOG_ERR(&err));
		mutex_lock(&a->lock);
		a->summary_running = false;
		mutex_unlock(&a->lock);
	}
	return held;
}

int audit_write(struct audit *a, const struct audit_entry *entry, struct error *err)
{
	auto_free char *fields = NULL;

	if (is_held_back(a, entry))
		return 0;
	fields = render(entry, 1);
	return write_fields(a, fields, err);
}

void audit_renewed(struct audit *a, const char *was, const char *now)
{
	mutex_lock(&a->lock);
	for (struct bucket *b = a->buckets; b; b = b->next)
		if (*b->id.fingerprint && streq(b->id.fingerprint, was))
			snprintf(b->id.fingerprint, sizeof(b->id.fingerprint), "%s", now);
	mutex_unlock(&a->lock);
}

void audit_flush(struct audit *a)
{
	write_summaries(a);
}

void audit_state(struct audit *a, struct db_audit *ret)
{
	mutex_lock(&a->lock);
	*ret = a->known;
	mutex_unlock(&a->lock);
}

/* --- start --- */

/* Lines that were written but not acknowledged are kept, the beginning of one is cut off; a line says so. */
static int heal(struct audit *a, const struct audit_report *found, struct error *err)
{
	auto_free char *detail = NULL, *fields = NULL;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct audit_entry e = {.event = "audit-healed", .verdict = "allowed"};
	struct db_audit next = a->state;

	detail = xasprintf("after a crash or on a full disk: the %lld entries before this one were never acknowledged, "
			   "%zu bytes of a torn entry were cut off",
			   (long long)found->ahead, found->torn_bytes);
	e.detail = detail;
	fields = render(&e, 1);
	if (found->torn_bytes && ftruncate(a->fd, found->good_size) < 0)
		return error_errno(err, errno, "Cut off a torn entry of the audit log");
	a->size = found->good_size;
	if (found->ahead) {
		next.count = found->last;
		memcpy(next.head, found->last_hash, sizeof(next.head));
	}
	append(&b, &next, found->ahead ? found->last_hash : a->state.head, fields);
	return commit(a, &b, &next, err);
}

static int settle(struct audit *a, struct error *err)
{
	CLEANUP(audit_report_done) struct audit_report found = AUDIT_REPORT_INIT;
	int r = db_audit_load(a->db, &a->state, err);

	if (r < 0)
		return r;
	audit_examine(a->dirfd, &a->state, /* growing= */ false, &found);
	if (!found.n_damage) {
		r = open_current(a, err);
		if (r == 0 && (found.ahead || found.torn_bytes))
			r = heal(a, &found, err);
		return r;
	}
	return begin_segment(a, found.last, found.damage.items[0], err);
}

int audit_new(const char *log_dir, struct db *db, struct audit **ret, struct error *err) UNSHARED
{
	struct audit *a = xnew(struct audit);
	int r = dir_make_all(AT_FDCWD, log_dir, 0700, err);

	a->db = db;
	a->fd = -EBADF;
	a->size_max = AUDIT_SIZE_MAX;
	a->tail = &a->queue;
	a->state = audit_state_empty();
	mutex_init(&a->lock);
	cond_init(&a->changed);
	a->dirfd = open(log_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && a->dirfd < 0)
		r = error_errno(err, errno, "Open %s", log_dir);
	if (r == 0)
		r = settle(a, err);
	a->known = a->state;
	if (r < 0) {
		audit_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void audit_set_size_max(struct audit *a, off_t bytes)
{
	a->size_max = bytes;
}

void audit_on_damage(struct audit *a, void (*fn)(void *arg, const char *message), void *arg)
{
	auto_free char *message = NULL;

	mutex_lock(&a->lock);
	a->on_damage = fn;
	a->on_damage_arg = arg;
	message = TAKE_PTR(a->damage);
	mutex_unlock(&a->lock);
	if (message)
		fn(arg, message);
}

void audit_free(struct audit *a) UNSHARED
{
	if (!a)
		return;
	mutex_lock(&a->lock);
	a->stopping = true;
	cond_broadcast(&a->changed);
	while (a->summary_running)
		cond_wait(&a->changed, &a->lock);
	mutex_unlock(&a->lock);
	cond_done(&a->changed);
	mutex_done(&a->lock);
	fd_close(a->fd);
	fd_close(a->dirfd);
	free(a->damage);
	while (a->buckets) {
		struct bucket *b = a->buckets;

		a->buckets = b->next;
		free(b);
	}
	free(a);
}
