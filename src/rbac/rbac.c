/* What is known of users, and the two threads that keep it so: one waits for changes, one tells of our projects. */
#include "rbac/rbac.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "http/server.h"
#include "rbac/service.h"

#define ASK_PATIENCE_MS 10000
#define POLL_PATIENCE_MS 300000
#define RETRY_MS 5000
#define SYNC_RETRY_MS 60000
#define FRESH_MS 300000   /* an answer is asked for anew after this time, also without a change */
#define EXPIRES_MS 600000 /* and counts no more after this, when the service is away */
#define FAILED_FOR_MS 5000
#define USERS_MAX 10000

/* One user, as the service has last said. */
struct user {
	char *name;
	struct rbac_grants grants;
	bool known; /* it has answered at least once */
	bool stale; /* something has changed since */
	bool asking;
	int64_t asked_ms;  /* when the answer came */
	int64_t failed_ms; /* when none came; 0: it did */
	uint64_t losses;   /* answers that took something away */
};

struct rbac {
	struct store *store;
	struct trust *trust;
	struct mutex change; /* one configuration at a time */
	struct mutex lock;
	struct cond changed;
	bool on GUARDED_BY(lock);
	bool ready GUARDED_BY(lock); /* there is a service that can be asked */
	struct strmap config GUARDED_BY(lock);
	struct user *users GUARDED_BY(lock);
	size_t n_users GUARDED_BY(lock);
	unsigned generation GUARDED_BY(lock); /* of the configuration */
	bool sync_wanted GUARDED_BY(lock);
	bool threads;
	pthread_t poller, syncer;
	_Atomic bool stop;
};

/* --- configuration --- */

static const char *const agent_keys[] = {"rbac.api.url", "rbac.agent.url", "rbac.agent.username",
					 "rbac.agent.private_key", "rbac.agent.public_key"};

static int check_key(const struct strmap *config, const char *name, struct error *err)
{
	const char *value = strmap_get_or(config, name, "");
	unsigned char key[BAKERY_KEY];

	if (!*value || bakery_key_parse(value, key) == 0)
		return 0;
	return error_set(err, 400, "Invalid key in \"%s\": base64 of 32 bytes", name);
}

static int check_url(const struct strmap *config, const char *name, struct error *err)
{
	const char *value = strmap_get_or(config, name, "");
	bool plain = startswith(value, "http://127.") || startswith(value, "http://localhost") ||
		     startswith(value, "http://[::1]");

	if (!*value || ((plain || startswith(value, "https://")) && !strpbrk(value, " \"\\<>\t\r\n?#@")))
		return 0;
	return error_set(err, 400, "Invalid address \"%s\" in \"%s\": https://HOST[:PORT][/PATH]", value, name);
}

int rbac_check(const struct strmap *config, struct error *err)
{
	int r = 0;

	if (*strmap_get_or(config, "rbac.api.url", "") && *strmap_get_or(config, "candid.api.url", ""))
		return error_set(err, 400, "RBAC and Candid are mutually exclusive");
	r = check_url(config, "rbac.api.url", err);
	if (r == 0)
		r = check_url(config, "rbac.agent.url", err);
	if (r == 0)
		r = check_key(config, "rbac.api.key", err);
	if (r == 0)
		r = check_key(config, "rbac.agent.private_key", err);
	if (r == 0)
		r = check_key(config, "rbac.agent.public_key", err);
	return r;
}

static bool is_complete(const struct strmap *config)
{
	for (size_t k = 0; k < ARRAY_SIZE(agent_keys); k++)
		if (!*strmap_get_or(config, agent_keys[k], ""))
			return false;
	return true;
}

/* --- users --- */

static void user_done(struct user *u)
{
	free(u->name);
	rbac_grants_done(&u->grants);
}

static void forget_users_locked(struct rbac *r) REQUIRES(r->lock)
{
	for (size_t k = 0; k < r->n_users; k++)
		user_done(&r->users[k]);
	free(TAKE_PTR(r->users));
	r->n_users = 0;
}

static struct user *find_locked(struct rbac *r, const char *name) REQUIRES(r->lock)
{
	for (size_t k = 0; k < r->n_users; k++)
		if (streq(r->users[k].name, name))
			return &r->users[k];
	return NULL;
}

/* With too many, one that nobody has asked about for long makes room. */
static struct user *add_locked(struct rbac *r, const char *name) REQUIRES(r->lock)
{
	struct user *u;

	if (r->n_users == USERS_MAX) {
		size_t oldest = 0;

		for (size_t k = 1; k < r->n_users; k++)
			if (!r->users[k].asking && r->users[k].asked_ms < r->users[oldest].asked_ms)
				oldest = k;
		user_done(&r->users[oldest]);
		r->users[oldest] = r->users[--r->n_users];
	}
	r->users = xreallocarray(r->users, r->n_users + 1, sizeof(*r->users));
	u = &r->users[r->n_users++];
	*u = (struct user){.name = xstrdup(name), .losses = 1};
	return u;
}

static bool counts_locked(const struct user *u)
{
	return u->known && time_monotonic_ms() - u->asked_ms < EXPIRES_MS;
}

static permission_set granted(const struct rbac_grants *g, const char *project_id)
{
	for (size_t k = 0; k < g->n; k++)
		if (streq(g->items[k].project_id, project_id))
			return g->items[k].may;
	return 0;
}

static bool covers(const struct rbac_grants *a, const struct rbac_grants *b)
{
	if (a->admin)
		return true;
	if (b->admin)
		return false;
	for (size_t k = 0; k < b->n; k++)
		if (b->items[k].may & ~granted(a, b->items[k].project_id))
			return false;
	return true;
}

/* --- asking the service --- */

static bool is_stopping(void *arg)
{
	struct rbac *r = arg;

	return r->stop;
}

static struct rbac_service *service_of(struct rbac *r)
{
	struct rbac_service *s;

	mutex_lock(&r->lock);
	s = rbac_service_new(&r->config);
	mutex_unlock(&r->lock);
	return s;
}

static int call(struct rbac *r, struct rbac_service *s, const char *path, struct strbuf *ret, struct error *err)
{
	int status;
	int rc = rbac_service_call(s, "GET", path, NULL, ASK_PATIENCE_MS, is_stopping, r, &status, ret, err);

	if (rc == 0 && status != 200)
		rc = error_set(err, 502, "The RBAC service answered status %d", status);
	return rc;
}

static int ask(struct rbac *r, const char *name, struct rbac_grants *ret, struct error *err)
{
	struct rbac_service *s = service_of(r);
	auto_free char *user = http_encode(name);
	auto_free char *projects = xasprintf("/api/service/v1/resources/project/permissions-for-user?u=%s", user);
	auto_free char *server = xasprintf("/api/service/v1/resources/lxd/permissions-for-user?u=%s", user);
	auto_strbuf struct strbuf first = STRBUF_INIT, second = STRBUF_INIT;
	auto_error struct error none = ERROR_INIT;
	int rc = call(r, s, projects, &first, err);

	if (rc == 0)
		rc = rbac_read_grants(strbuf_str(&first), first.len, ret, err);
	/* that this is not known makes nobody an administrator */
	if (rc == 0 && (call(r, s, server, &second, &none) < 0 ||
			rbac_read_admin(strbuf_str(&second), second.len, &ret->admin, &none) < 0))
		error_ignore(&none, "no administrator then");
	rbac_service_free(s);
	return rc;
}

static void note_answer_locked(struct user *u, int rc, struct rbac_grants *g, bool *ret_less)
{
	u->asking = false;
	u->failed_ms = rc < 0 ? time_monotonic_ms() : 0;
	if (rc < 0)
		return;
	*ret_less = u->known && !covers(g, &u->grants);
	u->losses += *ret_less;
	rbac_grants_done(&u->grants);
	u->grants = *g;
	*g = RBAC_GRANTS_INIT;
	u->known = true;
	u->stale = false;
	u->asked_ms = time_monotonic_ms();
}

/* The one who asks; others wait for the same answer. */
static void ask_unlocked(struct rbac *r, const char *name) REQUIRES(r->lock)
{
	CLEANUP(rbac_grants_done) struct rbac_grants g = RBAC_GRANTS_INIT;
	auto_error struct error err = ERROR_INIT;
	unsigned generation = r->generation;
	bool less = false;
	struct user *u;
	int rc;

	mutex_unlock(&r->lock);
	rc = ask(r, name, &g, &err);
	if (rc < 0)
		log_warn("what a user may do is not known", LOG_STR("user", name), LOG_ERR(&err));
	mutex_lock(&r->lock);
	u = find_locked(r, name);
	if (u && generation == r->generation)
		note_answer_locked(u, rc, &g, &less);
	else if (u)
		u->asking = false;
	cond_broadcast(&r->changed);
	if (less) {
		mutex_unlock(&r->lock);
		trust_rights_changed(r->trust);
		mutex_lock(&r->lock);
	}
}

static bool is_fresh(const struct user *u)
{
	return u->known && !u->stale && time_monotonic_ms() - u->asked_ms < FRESH_MS;
}

static bool failed_lately(const struct user *u)
{
	return u->failed_ms && time_monotonic_ms() - u->failed_ms < FAILED_FOR_MS;
}

void rbac_prepare(struct rbac *r, const char *name)
{
	int64_t deadline = time_monotonic_ms() + ASK_PATIENCE_MS;
	struct user *u;

	mutex_lock(&r->lock);
	u = r->ready ? find_locked(r, name) : NULL;
	if (r->ready && !u)
		u = add_locked(r, name);
	while (u && u->asking && cond_wait_until(&r->changed, &r->lock, deadline))
		u = find_locked(r, name);
	if (u && !u->asking && !is_fresh(u) && !failed_lately(u)) {
		u->asking = true;
		ask_unlocked(r, name);
	}
	mutex_unlock(&r->lock);
}

/* --- answering (struct access_provider) --- */

static bool provider_is_on(void *arg)
{
	return rbac_is_on(arg);
}

/* Its id there is that of its row. */
static bool project_id(struct rbac *r, const char *name, char ret[32])
{
	const struct db_project *p;

	mutex_lock(&r->store->lock);
	p = store_project_locked(r->store, name);
	if (p)
		snprintf(ret, 32, "%" PRId64, p->id);
	mutex_unlock(&r->store->lock);
	return p != NULL;
}

static bool provider_allows(void *arg, const char *name, enum permission perm, const char *project)
{
	struct rbac *r = arg;
	const struct user *u;
	char id[32] = "";
	bool there = project && project_id(r, project, id), may = false;

	mutex_lock(&r->lock);
	u = find_locked(r, name);
	if (u && counts_locked(u)) {
		if (u->grants.admin)
			may = role_permissions(ROLE_ADMIN, SCOPE_SERVER) & PERMISSION_BIT(perm);
		else if (perm == PERM_TRUSTED)
			may = true; /* known, also where nothing is shown to it */
		else
			may = there && granted(&u->grants, id) & PERMISSION_BIT(perm);
	}
	mutex_unlock(&r->lock);
	return may;
}

static uint64_t provider_seen(void *arg, const char *name)
{
	struct rbac *r = arg;
	const struct user *u;
	uint64_t seen;

	mutex_lock(&r->lock);
	u = find_locked(r, name);
	seen = u && counts_locked(u) ? u->losses : 0;
	mutex_unlock(&r->lock);
	return seen;
}

static bool provider_still_holds(void *arg, const char *name, uint64_t seen)
{
	struct rbac *r = arg;
	const struct user *u;
	bool holds;

	mutex_lock(&r->lock);
	u = find_locked(r, name);
	holds = seen == 0 || (u && counts_locked(u) && u->losses == seen);
	mutex_unlock(&r->lock);
	return holds;
}

bool rbac_is_on(struct rbac *r)
{
	bool on;

	mutex_lock(&r->lock);
	on = r->on;
	mutex_unlock(&r->lock);
	return on;
}

/* --- waiting for changes --- */

static void nap(struct rbac *r, int64_t ms)
{
	int64_t deadline = time_monotonic_ms() + ms;

	mutex_lock(&r->lock);
	while (!r->stop && cond_wait_until(&r->changed, &r->lock, deadline))
		;
	mutex_unlock(&r->lock);
}

/* Everything is asked for anew: at once for those who were asked about, so that what goes on by a right now gone ends.
 */
static void refresh_all(struct rbac *r)
{
	auto_strv struct strv names = STRV_INIT;

	mutex_lock(&r->lock);
	for (size_t k = 0; k < r->n_users; k++) {
		r->users[k].stale = true;
		r->users[k].failed_ms = 0;
		strv_add(&names, r->users[k].name);
	}
	mutex_unlock(&r->lock);
	for (size_t k = 0; k < names.len && !r->stop; k++)
		rbac_prepare(r, names.items[k]);
}

/* 0: something has changed, 1: nothing has, so far. */
static int wait_change(struct rbac *r, struct rbac_service *s, char **last, struct error *err)
{
	auto_free char *encoded = *last ? http_encode(*last) : NULL;
	auto_free char *path = encoded ? xasprintf("/api/service/v1/changes?last-change=%s", encoded)
				       : xstrdup("/api/service/v1/changes");
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_json struct json *j = NULL;
	const char *text;
	int status, rc;

	rc = rbac_service_call(s, "GET", path, NULL, POLL_PATIENCE_MS, is_stopping, r, &status, &b, err);
	if (rc < 0)
		return rc;
	if (status == 504)
		return 1;
	if (status != 200 || json_parse(strbuf_str(&b), b.len, &j, err) < 0) {
		error_clear(err);
		return error_set(err, 502, "The RBAC service answered status %d to a wait for changes", status);
	}
	text = json_get_str(j, "last-change");
	free(*last);
	*last = xstrdup_null(text);
	return text ? 0 : error_set(err, 502, "The RBAC service does not say what its last change was");
}

static void *poll_thread(void *arg)
{
	struct rbac *r = arg;
	struct rbac_service *s = service_of(r);
	auto_free char *last = NULL;
	bool told = false;

	while (!r->stop) {
		auto_error struct error err = ERROR_INIT;
		int rc = wait_change(r, s, &last, &err);

		if (rc == 0)
			refresh_all(r);
		if (rc >= 0) {
			told = false;
			continue;
		}
		if (!told && !r->stop)
			log_warn("changes at the RBAC service are not heard of", LOG_ERR(&err));
		told = true;
		/* what was known expires meanwhile: sessions that it carried end */
		trust_rights_changed(r->trust);
		nap(r, RETRY_MS);
	}
	rbac_service_free(s);
	return NULL;
}

/* --- telling of our projects --- */

static char *projects_text(struct rbac *r)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_null(&w, "last-sync-id");
	jsonw_key(&w, "updates");
	jsonw_array_begin(&w);
	mutex_lock(&r->store->lock);
	for (size_t k = 0; k < r->store->n_projects; k++) {
		jsonw_object_begin(&w);
		jsonw_kv_strf(&w, "identifier", "%" PRId64, r->store->projects[k]->id);
		jsonw_kv_str(&w, "name", r->store->projects[k]->name);
		jsonw_object_end(&w);
	}
	mutex_unlock(&r->store->lock);
	jsonw_array_end(&w);
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

static int sync_once(struct rbac *r, struct rbac_service *s, struct error *err)
{
	auto_free char *body = projects_text(r);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	int status;
	int rc = rbac_service_call(s, "POST", "/api/service/v1/resources/project", body, ASK_PATIENCE_MS, is_stopping,
				   r, &status, &b, err);

	if (rc == 0 && status != 200)
		rc = error_set(err, 502, "The RBAC service answered status %d to our projects", status);
	return rc;
}

/* Wait until there is something to tell; false: it is over. */
static bool wait_sync(struct rbac *r)
{
	bool wanted;

	mutex_lock(&r->lock);
	while (!r->stop && !r->sync_wanted)
		cond_wait(&r->changed, &r->lock);
	wanted = !r->stop;
	r->sync_wanted = false;
	mutex_unlock(&r->lock);
	return wanted;
}

static void *sync_thread(void *arg)
{
	struct rbac *r = arg;
	struct rbac_service *s = service_of(r);

	while (wait_sync(r)) {
		auto_error struct error err = ERROR_INIT;

		if (sync_once(r, s, &err) == 0)
			continue;
		if (r->stop)
			break;
		log_warn("the RBAC service does not know our projects", LOG_ERR(&err));
		mutex_lock(&r->lock);
		r->sync_wanted = true;
		mutex_unlock(&r->lock);
		nap(r, SYNC_RETRY_MS);
	}
	rbac_service_free(s);
	return NULL;
}

void rbac_projects_changed(struct rbac *r)
{
	mutex_lock(&r->lock);
	r->sync_wanted = true;
	cond_broadcast(&r->changed);
	mutex_unlock(&r->lock);
}

/* --- life --- */

struct rbac *rbac_new(struct store *store, struct trust *trust)
{
	struct rbac *r = xnew(struct rbac);
	const struct access_provider p = {provider_is_on, provider_allows, provider_seen, provider_still_holds, r};

	r->store = store;
	r->trust = trust;
	mutex_init(&r->change);
	mutex_init(&r->lock);
	cond_init(&r->changed);
	access_set_provider(trust_access(trust), &p);
	return r;
}

static void end_threads(struct rbac *r)
{
	if (!r->threads)
		return;
	r->stop = true;
	mutex_lock(&r->lock);
	cond_broadcast(&r->changed);
	mutex_unlock(&r->lock);
	pthread_join(r->poller, NULL);
	pthread_join(r->syncer, NULL);
	r->threads = false;
	r->stop = false;
}

static void start_threads(struct rbac *r)
{
	auto_error struct error err = ERROR_INIT;

	if (thread_start_joinable("rbac-changes", poll_thread, r, &r->poller, &err) < 0) {
		log_error("changes at the RBAC service are not heard of", LOG_ERR(&err));
		return;
	}
	if (thread_start_joinable("rbac-projects", sync_thread, r, &r->syncer, &err) < 0) {
		log_error("the RBAC service does not hear of our projects", LOG_ERR(&err));
		r->stop = true;
		pthread_join(r->poller, NULL);
		r->stop = false;
		return;
	}
	r->threads = true;
}

void rbac_configure(struct rbac *r, const struct strmap *config)
{
	bool ready = is_complete(config);

	mutex_lock(&r->change);
	end_threads(r);
	mutex_lock(&r->lock);
	forget_users_locked(r);
	strmap_done(&r->config);
	strmap_copy(&r->config, config);
	r->on = *strmap_get_or(config, "rbac.api.url", "") != '\0';
	r->ready = ready;
	r->generation++;
	r->sync_wanted = true;
	mutex_unlock(&r->lock);
	if (ready)
		start_threads(r);
	mutex_unlock(&r->change);
	trust_rights_changed(r->trust);
}

void rbac_free(struct rbac *r) UNSHARED
{
	if (!r)
		return;
	end_threads(r);
	forget_users_locked(r);
	strmap_done(&r->config);
	cond_done(&r->changed);
	mutex_done(&r->lock);
	mutex_done(&r->change);
	free(r);
}
