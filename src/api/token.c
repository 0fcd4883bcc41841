#include "api/token.h"

#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/str.h"
#include "base/timeutil.h"

#define SECRET_BYTES 32
#define TIMER_MAX_MS (24 * 60 * 60 * 1000) /* the wall clock may be set meanwhile */

static const struct token_kind *const kinds[] = {&token_kind_certificate};

struct token {
	struct db_token row;
	const struct token_kind *kind;
	struct operation *op; /* referenced */
};

struct tokens {
	struct api *api;
	struct db *db;
	struct mutex lock;
	struct cond idle;
	struct token *list GUARDED_BY(lock);
	size_t n GUARDED_BY(lock);
	bool expiring GUARDED_BY(lock); /* a thread removes what has expired */
	bool stopped GUARDED_BY(lock);
	struct loop_timer *timer; /* loop's thread */
};

static void token_done(struct token *t)
{
	db_token_done(&t->row);
	operation_unref(t->op);
	*t = (struct token){0};
}

static void view_done(struct token_view *v)
{
	free(v->project);
	free(v->metadata);
	free(v->resource_kind);
	free(v->resource_url);
}

static bool is_expired(const struct db_token *row)
{
	return row->expires_ns != TIME_GO_ZERO && row->expires_ns <= time_now_ns();
}

/* --- leaving the list: whoever takes a token out has it alone --- */

static struct token claim_at_locked(struct tokens *t, size_t i) REQUIRES(t->lock)
{
	struct token got = t->list[i];

	memmove(&t->list[i], &t->list[i + 1], (t->n - i - 1) * sizeof(*t->list));
	t->n--;
	return got;
}

static void put(struct tokens *t, struct token *token)
{
	mutex_lock(&t->lock);
	t->list = xreallocarray(t->list, t->n + 1, sizeof(*t->list));
	t->list[t->n++] = *token;
	mutex_unlock(&t->lock);
	*token = (struct token){0};
}

/* Remove a claimed token's row; on failure it goes back and can still be used. */
static int destroy(struct tokens *t, struct token *token, struct error *err)
{
	int r = db_token_delete(t->db, token->row.id, err);

	if (r < 0)
		put(t, token);
	return r;
}

static int token_withdraw(struct operation *op, void *arg, struct error *err)
{
	struct tokens *t = arg;
	struct token got = {0};
	int r;

	mutex_lock(&t->lock);
	for (size_t i = 0; i < t->n; i++) {
		if (t->list[i].op == op) {
			got = claim_at_locked(t, i);
			break;
		}
	}
	mutex_unlock(&t->lock);
	if (!got.op)
		return error_set(err, 400, "Only running operations can be cancelled");
	r = destroy(t, &got, err);
	token_done(&got);
	return r;
}

/* --- expiry: one timer, for the next --- */

static void rearm(void *arg);

static struct token claim_expired(struct tokens *t)
{
	struct token got = {0};

	mutex_lock(&t->lock);
	for (size_t i = 0; i < t->n && !got.op; i++)
		if (is_expired(&t->list[i].row))
			got = claim_at_locked(t, i);
	mutex_unlock(&t->lock);
	return got;
}

static void *expire_thread(void *arg)
{
	struct tokens *t = arg;
	auto_error struct error err = ERROR_INIT;
	struct token got;
	int r = 0;

	for (got = claim_expired(t); got.op; got = claim_expired(t)) {
		r = destroy(t, &got, &err);
		if (r < 0)
			break;
		operation_end(got.op);
		token_done(&got);
	}
	/* no timer then: again with the next token, or at the next start */
	if (r < 0)
		log_error("an expired token is not removed", LOG_ERR(&err));
	else
		loop_post(t->api->loop, rearm, t);
	mutex_lock(&t->lock);
	t->expiring = false;
	cond_broadcast(&t->idle);
	mutex_unlock(&t->lock);
	return NULL;
}

static void on_timer(void *arg)
{
	struct tokens *t = arg;
	auto_error struct error err = ERROR_INIT;
	bool start;

	t->timer = NULL;
	mutex_lock(&t->lock);
	start = !t->expiring && !t->stopped;
	t->expiring = t->expiring || start;
	mutex_unlock(&t->lock);
	if (!start || thread_start("tokens", expire_thread, t, &err) == 0)
		return;
	log_error("expired tokens are not removed", LOG_ERR(&err));
	mutex_lock(&t->lock);
	t->expiring = false;
	mutex_unlock(&t->lock);
}

static void rearm(void *arg)
{
	struct tokens *t = arg;
	int64_t now = time_now_ns(), next = INT64_MAX, delay_ms;

	mutex_lock(&t->lock);
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].row.expires_ns != TIME_GO_ZERO)
			next = MIN_OF(next, t->list[i].row.expires_ns);
	mutex_unlock(&t->lock);
	loop_timer_cancel(t->timer);
	t->timer = NULL;
	if (next == INT64_MAX)
		return;
	delay_ms = next <= now ? 0 : (next - now) / 1000000 + 1;
	t->timer = loop_timer_add(t->api->loop, MIN_OF(delay_ms, (int64_t)TIMER_MAX_MS), on_timer, t);
}

/* --- coming into it --- */

static void write_private(struct operation *op, const char *secret)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_kv_str(&w, "secret", secret);
	operation_set_private(op, b.data);
	operation_set_secret(op, secret);
	explicit_bzero(b.data, b.len);
}

/* The operation of a token; @c is NULL for one that comes back. */
static struct operation *make_operation(struct tokens *t, const struct token *token, struct api_call *c)
{
	CLEANUP(view_done) struct token_view v = {0};
	struct operation_spec spec = {
		.class = OPERATION_TOKEN,
		.description = token->kind->description,
		.withdraw = token_withdraw,
		.arg = t,
		.id = token->row.uuid,
		.created_ns = token->row.created_ns,
	};
	struct operation *op;

	token->kind->view(t->api, &token->row, &v);
	spec.project = v.project;
	op = c ? api_operation_new(c, &spec) : operation_new(t->api->operations, &spec);
	if (v.resource_url)
		operation_add_resource(op, v.resource_kind, v.resource_url);
	operation_set_metadata(op, v.metadata ? v.metadata : "{}", /* publish= */ false);
	write_private(op, token->row.secret);
	return op;
}

void tokens_refresh(struct tokens *t)
{
	mutex_lock(&t->lock);
	for (size_t i = 0; i < t->n; i++) {
		CLEANUP(view_done) struct token_view v = {0};

		t->list[i].kind->view(t->api, &t->list[i].row, &v);
		operation_set_metadata(t->list[i].op, v.metadata ? v.metadata : "{}", /* publish= */ false);
	}
	mutex_unlock(&t->lock);
}

struct kept {
	int64_t *ids;
	size_t n;
};

static void note_kept(struct db_token *row, void *arg)
{
	struct kept *k = arg;

	k->ids = xreallocarray(k->ids, k->n + 1, sizeof(*k->ids));
	k->ids[k->n++] = row->id;
}

static bool is_kept(const struct kept *k, int64_t id)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->ids[i] == id)
			return true;
	return false;
}

/* One that is not in the database any more, out of the list; without an operation: none. */
static struct token claim_dropped(struct tokens *t, const struct kept *k)
{
	struct token got = {0};

	mutex_lock(&t->lock);
	for (size_t i = 0; i < t->n && !got.op; i++)
		if (!is_kept(k, t->list[i].row.id))
			got = claim_at_locked(t, i);
	mutex_unlock(&t->lock);
	return got;
}

void tokens_forget_dropped(struct tokens *t)
{
	auto_error struct error err = ERROR_INIT;
	struct kept k = {0};

	/* when it cannot be read all end: an invitation into nowhere is worse than one too few */
	if (db_tokens_load(t->db, note_kept, &k, &err) < 0)
		log_error("cannot read the tokens: all that are there end", LOG_ERR(&err));
	for (struct token got = claim_dropped(t, &k); got.op; got = claim_dropped(t, &k)) {
		operation_end(got.op);
		token_done(&got);
	}
	free(k.ids);
}

int token_issue(struct api_call *c, const struct token_kind *kind, const char *request, int64_t expires_ns,
		struct operation **ret, struct error *err)
{
	struct tokens *t = c->api->tokens;
	struct token token = {.kind = kind,
			      .row = {.uuid = uuid_new(),
				      .kind = xstrdup(kind->name),
				      .secret = random_hex(SECRET_BYTES),
				      .request = xstrdup(request),
				      .created_ns = time_now_ns(),
				      .expires_ns = expires_ns}};
	int r = db_token_insert(t->db, &token.row, err);

	if (r < 0) {
		token_done(&token);
		return r;
	}
	token.op = make_operation(t, &token, c);
	*ret = operation_ref(token.op);
	put(t, &token);
	loop_post(t->api->loop, rearm, t);
	return 0;
}

static void load_row(struct db_token *row, void *arg)
{
	struct tokens *t = arg;
	struct token token = {0};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		if (streq(kinds[k]->name, row->kind))
			token.kind = kinds[k];
	if (!token.kind)
		return;
	token.row = *row;
	*row = (struct db_token){0};
	put(t, &token);
}

int tokens_new(struct api *api, struct db *db, struct tokens **ret, struct error *err) UNSHARED
{
	struct tokens *t = xnew(struct tokens);
	int r;

	t->api = api;
	t->db = db;
	mutex_init(&t->lock);
	cond_init(&t->idle);
	r = db_tokens_load(db, load_row, t, err);
	if (r < 0) {
		tokens_free(t);
		return r;
	}
	for (size_t i = 0; i < t->n; i++) {
		t->list[i].op = make_operation(t, &t->list[i], NULL);
		operation_start(t->list[i].op);
	}
	loop_post(api->loop, rearm, t);
	*ret = t;
	return 0;
}

void tokens_stop(struct tokens *t)
{
	mutex_lock(&t->lock);
	t->stopped = true;
	while (t->expiring)
		cond_wait(&t->idle, &t->lock);
	mutex_unlock(&t->lock);
}

void tokens_free(struct tokens *t) UNSHARED
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		token_done(&t->list[i]);
	free(t->list);
	cond_done(&t->idle);
	mutex_done(&t->lock);
	free(t);
}

int token_take(struct tokens *t, const struct token_kind *kind, const char *secret,
	       bool (*fits)(const struct db_token *row, void *arg), void *arg, struct db_token *ret, struct error *err)
{
	struct token got = {0};
	size_t at = SIZE_MAX;
	int r;

	mutex_lock(&t->lock);
	/* all are compared, so that time tells nothing */
	for (size_t i = 0; i < t->n; i++)
		if (secret_equal(t->list[i].row.secret, secret) && t->list[i].kind == kind &&
		    (!fits || fits(&t->list[i].row, arg)))
			at = i;
	if (at != SIZE_MAX)
		got = claim_at_locked(t, at);
	mutex_unlock(&t->lock);
	if (at == SIZE_MAX) {
		error_set(err, 403, "No matching token found");
		return -ENOENT;
	}
	r = destroy(t, &got, err);
	if (r < 0)
		return r;
	operation_end(got.op);
	if (is_expired(&got.row)) {
		error_set(err, 403, "Token has expired");
		r = -ETIME;
	} else {
		*ret = got.row;
		got.row = (struct db_token){0};
	}
	token_done(&got);
	return r;
}
