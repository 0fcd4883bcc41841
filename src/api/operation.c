#include "api/operation.h"

#include <malloc.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"
#include "db/store.h"

#define KEEP_MS 5000 /* how long an ended operation stays readable */

enum status { STATUS_PENDING, STATUS_RUNNING, STATUS_CANCELLING, STATUS_SUCCESS, STATUS_FAILURE, STATUS_CANCELLED };

static const struct {
	const char *name;
	int code;
} status_info[] = {
	{"Pending", 105}, {"Running", 103}, {"Cancelling", 104}, {"Success", 200}, {"Failure", 400}, {"Cancelled", 401},
};

static const char *const class_names[] = {"task", "websocket", "token"};

/* Which status may follow which; an operation ends exactly once. */
static const bool moves[6][6] = {
	[STATUS_PENDING] = {[STATUS_RUNNING] = true, [STATUS_FAILURE] = true},
	[STATUS_RUNNING] = {[STATUS_CANCELLING] = true, [STATUS_SUCCESS] = true, [STATUS_FAILURE] = true},
	/* back to running: it could not be withdrawn */
	[STATUS_CANCELLING] =
		{[STATUS_CANCELLED] = true, [STATUS_SUCCESS] = true, [STATUS_FAILURE] = true, [STATUS_RUNNING] = true},
};

struct resource {
	char *kind;
	struct strv urls;
};

struct operation {
	_Atomic int refs;
	struct operations *ops;
	struct operation *next; /* ops->lock */
	struct operation_spec spec;
	char *id;
	char *project;
	struct resource *resources; /* fixed after start */
	size_t n_resources;
	char *private_members; /* of the metadata; NULL: none; fixed after start, as is secret */
	char *secret;
	int64_t created_ns;

	struct mutex lock;
	struct cond changed;
	int64_t updated_ns GUARDED_BY(lock);
	enum status status GUARDED_BY(lock);
	bool ended_early GUARDED_BY(lock); /* operation_end() came before the start */
	char *metadata GUARDED_BY(lock);   /* JSON text or NULL */
	char *err GUARDED_BY(lock);
};

struct operations {
	struct loop *loop;
	struct events *events;
	struct mutex lock;
	struct operation *list GUARDED_BY(lock); /* newest first; holds a reference */
};

struct operations *operations_new(struct loop *l, struct events *e)
{
	struct operations *ops = xnew(struct operations);

	ops->loop = l;
	ops->events = e;
	mutex_init(&ops->lock);
	return ops;
}

void operations_free(struct operations *ops) UNSHARED
{
	if (!ops)
		return;
	while (ops->list) {
		struct operation *op = ops->list;

		ops->list = op->next;
		operation_unref(op);
	}
	mutex_done(&ops->lock);
	free(ops);
}

struct operation *operation_new(struct operations *ops, const struct operation_spec *spec) UNSHARED
{
	struct operation *op = xnew(struct operation);

	op->refs = 1; /* the caller's */
	op->ops = ops;
	op->spec = *spec;
	op->id = spec->id ? xstrdup(spec->id) : uuid_new();
	op->project = xstrdup_null(spec->project);
	op->created_ns = op->updated_ns = spec->id ? spec->created_ns : time_now_ns();
	mutex_init(&op->lock);
	cond_init(&op->changed);
	return op;
}

struct operation *operation_ref(struct operation *op)
{
	op->refs++;
	return op;
}

static void free_secret(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

void operation_unref(struct operation *op) UNSHARED
{
	if (!op || --op->refs > 0)
		return;
	if (op->spec.arg_free)
		op->spec.arg_free(op->spec.arg);
	for (size_t i = 0; i < op->n_resources; i++) {
		free(op->resources[i].kind);
		strv_done(&op->resources[i].urls);
	}
	free(op->resources);
	free_secret(op->private_members);
	free_secret(op->secret);
	free(op->id);
	free(op->project);
	free(op->metadata);
	free(op->err);
	cond_done(&op->changed);
	mutex_done(&op->lock);
	free(op);
}

void operation_add_resource(struct operation *op, const char *kind, const char *url)
{
	size_t i = 0;

	while (i < op->n_resources && !streq(op->resources[i].kind, kind))
		i++;
	if (i == op->n_resources) {
		op->resources = xreallocarray(op->resources, i + 1, sizeof(*op->resources));
		op->resources[i] = (struct resource){.kind = xstrdup(kind)};
		op->n_resources++;
	}
	strv_take(&op->resources[i].urls,
		  project_url(op->project && !strchr(url, '?') ? op->project : "default", "%s", url));
}

void operation_set_private(struct operation *op, const char *members)
{
	free_secret(op->private_members);
	op->private_members = xstrdup(members);
}

void operation_set_secret(struct operation *op, const char *secret)
{
	free_secret(op->secret);
	op->secret = xstrdup(secret);
}

const struct identity *operation_creator(const struct operation *op)
{
	return &op->spec.creator;
}

bool operation_visible(const struct operation *op, const struct identity *id)
{
	if (identity_is_admin(id) || identity_equal(&op->spec.creator, id))
		return true;
	return op->project && authorize(id, PERM_PROJECT_VIEW, op->project);
}

bool operation_cancellable_by(const struct operation *op, const struct identity *id)
{
	if (identity_is_admin(id) || identity_equal(&op->spec.creator, id))
		return true;
	return op->project && op->spec.cancel_perm != PERM_ANYONE && authorize(id, op->spec.cancel_perm, op->project);
}

bool operation_secret_fits(const struct operation *op, const char *secret)
{
	return !str_is_empty(secret) && op->secret && secret_equal(secret, op->secret);
}

static bool sees_private(const struct operation *op, const struct identity *viewer)
{
	if (!viewer)
		return false;
	return identity_equal(&op->spec.creator, viewer) ||
	       (op->spec.class == OPERATION_TOKEN && identity_is_admin(viewer));
}

static void render_metadata_locked(struct operation *op, const struct identity *viewer, struct jsonw *w)
	REQUIRES(op->lock)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	size_t len = op->metadata ? strlen(op->metadata) : 0;

	if (!op->private_members || !sees_private(op, viewer)) {
		jsonw_kv_raw(w, "metadata", len ? op->metadata : "null");
		return;
	}
	/* both are objects without their ends */
	strbuf_append_len(&b, len ? op->metadata : "{", len ? len - 1 : 1);
	if (len > 2)
		strbuf_append_char(&b, ',');
	strbuf_append(&b, op->private_members);
	strbuf_append_char(&b, '}');
	jsonw_kv_raw(w, "metadata", b.data);
	explicit_bzero(b.data, b.len);
}

static void render_locked(struct operation *op, const struct identity *viewer, struct jsonw *w) REQUIRES(op->lock)
{
	jsonw_object_begin(w);
	jsonw_kv_str(w, "id", op->id);
	jsonw_kv_str(w, "class", class_names[op->spec.class]);
	jsonw_kv_str(w, "description", op->spec.description);
	jsonw_kv_time(w, "created_at", op->created_ns);
	jsonw_kv_time(w, "updated_at", op->updated_ns);
	jsonw_kv_str(w, "status", status_info[op->status].name);
	jsonw_kv_int(w, "status_code", status_info[op->status].code);
	jsonw_key(w, "resources");
	if (op->n_resources) {
		jsonw_object_begin(w);
		for (size_t i = 0; i < op->n_resources; i++)
			jsonw_kv_strv(w, op->resources[i].kind, &op->resources[i].urls);
		jsonw_object_end(w);
	} else {
		jsonw_null(w);
	}
	render_metadata_locked(op, viewer, w);
	jsonw_kv_bool(w, "may_cancel", op->spec.cancel || op->spec.withdraw);
	jsonw_kv_str(w, "err", op->err);
	jsonw_kv_str(w, "location", "none");
	jsonw_object_end(w);
}

void operation_render(struct operation *op, const struct identity *viewer, struct jsonw *w)
{
	mutex_lock(&op->lock);
	render_locked(op, viewer, w);
	mutex_unlock(&op->lock);
}

static void publish_locked(struct operation *op) REQUIRES(op->lock)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	if (!events_wanted(op->ops->events, EVENT_OPERATION))
		return;
	render_locked(op, NULL, &JSONW(&b));
	events_publish(op->ops->events, EVENT_OPERATION, op->project, b.data);
}

static void move_locked(struct operation *op, enum status to) REQUIRES(op->lock)
{
	if (!moves[op->status][to])
		abort();
	op->status = to;
	op->updated_ns = time_now_ns();
	publish_locked(op);
	cond_broadcast(&op->changed);
}

static bool ended_locked(const struct operation *op) REQUIRES(op->lock)
{
	return op->status >= STATUS_SUCCESS;
}

static void forget(void *arg)
{
	struct operation *op = arg;
	struct operations *ops = op->ops;
	bool idle;

	mutex_lock(&ops->lock);
	for (struct operation **at = &ops->list; *at; at = &(*at)->next) {
		if (*at == op) {
			*at = op->next;
			break;
		}
	}
	idle = !ops->list;
	mutex_unlock(&ops->lock);
	operation_unref(op); /* the list's */
	/* what the work needed goes back to the system once there is no more of it */
	if (idle)
		malloc_trim(0);
}

static void arm_forget(void *arg)
{
	struct operation *op = arg;

	loop_timer_add(op->ops->loop, KEEP_MS, forget, op);
}

static void finish(struct operation *op, int r, const struct error *err)
{
	mutex_lock(&op->lock);
	if (r < 0) {
		op->err = xstrdup(error_msg(err));
		log_warn("operation failed", LOG_STR("operation", op->id), LOG_STR("description", op->spec.description),
			 LOG_ERR(err));
	}
	if (r < 0 && op->status == STATUS_CANCELLING)
		move_locked(op, STATUS_CANCELLED);
	else
		move_locked(op, r < 0 ? STATUS_FAILURE : STATUS_SUCCESS);
	mutex_unlock(&op->lock);
	loop_post(op->ops->loop, arm_forget, op);
}

static void *operation_thread(void *arg)
{
	struct operation *op = arg;
	auto_error struct error err = ERROR_INIT;
	int r = op->spec.run(op, op->spec.arg, &err);

	finish(op, r, &err);
	operation_unref(op);
	return NULL;
}

void operation_start(struct operation *op)
{
	struct operations *ops = op->ops;
	auto_error struct error err = ERROR_INIT;
	bool over;
	int r;

	/* complete only now: nobody may find it before */
	operation_ref(op); /* the list's */
	mutex_lock(&ops->lock);
	op->next = ops->list;
	ops->list = op;
	mutex_unlock(&ops->lock);
	mutex_lock(&op->lock);
	publish_locked(op);
	move_locked(op, STATUS_RUNNING);
	over = op->ended_early;
	mutex_unlock(&op->lock);
	if (over)
		operation_end(op);
	if (!op->spec.run)
		return;
	operation_ref(op); /* the thread's */
	r = thread_start("operation", operation_thread, op, &err);
	if (r < 0) {
		finish(op, r, &err);
		operation_unref(op);
	}
}

const char *operation_id(const struct operation *op)
{
	return op->id;
}

const char *operation_project(const struct operation *op)
{
	return op->project;
}

void operation_set_metadata(struct operation *op, const char *json, bool publish)
{
	mutex_lock(&op->lock);
	free(op->metadata);
	op->metadata = xstrdup(json);
	op->updated_ns = time_now_ns();
	if (publish)
		publish_locked(op);
	mutex_unlock(&op->lock);
}

bool operation_is_cancelled(struct operation *op)
{
	bool cancelled;

	mutex_lock(&op->lock);
	cancelled = op->status == STATUS_CANCELLING;
	mutex_unlock(&op->lock);
	return cancelled;
}

bool operation_wait(struct operation *op, int64_t timeout_ms)
{
	int64_t deadline = time_monotonic_ms() + timeout_ms;
	bool ended;

	mutex_lock(&op->lock);
	while (!ended_locked(op)) {
		if (timeout_ms < 0)
			cond_wait(&op->changed, &op->lock);
		else if (!cond_wait_until(&op->changed, &op->lock, deadline))
			break;
	}
	ended = ended_locked(op);
	mutex_unlock(&op->lock);
	return ended;
}

struct operation *operation_find(struct operations *ops, const char *id)
{
	struct operation *op;

	mutex_lock(&ops->lock);
	for (op = ops->list; op; op = op->next)
		if (streq(op->id, id))
			break;
	if (op)
		operation_ref(op);
	mutex_unlock(&ops->lock);
	return op;
}

static int withdraw(struct operation *op, struct error *err)
{
	bool ended;
	int r = op->spec.withdraw(op, op->spec.arg, err);

	mutex_lock(&op->lock);
	ended = ended_locked(op);
	if (!ended)
		move_locked(op, r < 0 ? STATUS_RUNNING : STATUS_CANCELLED);
	mutex_unlock(&op->lock);
	if (r == 0 && !ended)
		loop_post(op->ops->loop, arm_forget, op);
	return r;
}

int operation_cancel(struct operation *op, struct error *err)
{
	int r = 0;

	if (!op->spec.cancel && !op->spec.withdraw)
		return error_set(err, 400, "This operation can't be cancelled");
	mutex_lock(&op->lock);
	if (op->status != STATUS_RUNNING)
		r = error_set(err, 400, "Only running operations can be cancelled");
	else
		move_locked(op, STATUS_CANCELLING);
	mutex_unlock(&op->lock);
	if (r < 0)
		return r;
	if (op->spec.withdraw)
		return withdraw(op, err);
	op->spec.cancel(op, op->spec.arg);
	return 0;
}

void operation_end(struct operation *op)
{
	bool ends = false;

	mutex_lock(&op->lock);
	op->ended_early = op->status == STATUS_PENDING;
	if (op->status == STATUS_RUNNING)
		move_locked(op, STATUS_CANCELLING);
	if (op->status == STATUS_CANCELLING) {
		move_locked(op, STATUS_CANCELLED);
		ends = true;
	}
	mutex_unlock(&op->lock);
	if (ends)
		loop_post(op->ops->loop, arm_forget, op);
}

int operation_connect(struct operation *op, const char *secret, const struct http_request *req,
		      struct http_response *resp, struct error *err)
{
	if (!op->spec.connect)
		return error_set(err, 400, "Only websocket operations can be connected");
	if (str_is_empty(secret))
		return error_set(err, 500, "missing secret");
	return op->spec.connect(op, op->spec.arg, secret, req, resp, err);
}

void operations_each(struct operations *ops, const char *project, void (*fn)(struct operation *op, void *arg),
		     void *arg)
{
	struct operation **all = NULL;
	size_t n = 0;

	/* references are taken first: @fn may block or take locks */
	mutex_lock(&ops->lock);
	for (struct operation *op = ops->list; op; op = op->next) {
		if (project && op->project && !streq(project, op->project))
			continue;
		all = xreallocarray(all, n + 1, sizeof(*all));
		all[n++] = operation_ref(op);
	}
	mutex_unlock(&ops->lock);
	while (n > 0) {
		fn(all[--n], arg);
		operation_unref(all[n]);
	}
	free(all);
}

const char *operation_status_name(struct operation *op)
{
	const char *name;

	mutex_lock(&op->lock);
	name = status_info[op->status].name;
	mutex_unlock(&op->lock);
	return name;
}

static void count_running(struct operation *op, void *arg)
{
	mutex_lock(&op->lock);
	if (op->spec.run && !ended_locked(op))
		(*(size_t *)arg)++;
	mutex_unlock(&op->lock);
}

size_t operations_running(struct operations *ops)
{
	size_t n = 0;

	operations_each(ops, NULL, count_running, &n);
	return n;
}

struct count_of {
	const struct identity *id;
	size_t n;
};

static void count_running_of(struct operation *op, void *arg)
{
	struct count_of *c = arg;

	if (identity_equal(&op->spec.creator, c->id))
		count_running(op, &c->n);
}

size_t operations_running_of(struct operations *ops, const struct identity *id)
{
	struct count_of c = {.id = id};

	operations_each(ops, NULL, count_running_of, &c);
	return c.n;
}
