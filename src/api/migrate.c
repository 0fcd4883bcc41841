#include "api/migrate.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"
#include "base/wire_dial.h"
#include "http/client.h"
#include "http/ws.h"

#define CONNECT_MS 10000 /* how long the other side may take to connect */

static const char *const socket_names[] = {[MIGRATION_CONTROL] = "control", [MIGRATION_FS] = "fs"};

/* A socket on its way from the connection's thread to the operation's. */
struct slot {
	char *secret;
	bool taken;   /* the secret was used */
	bool arrived; /* the fields below are set */
	int fd;
	void *handle;
	void *extra;
	size_t extra_len;
};

struct migration_session {
	_Atomic int refs;
	int cancel_fd;            /* eventfd */
	bool dials;               /* fixed, as are the next two */
	struct dial_target where; /* of the other server */
	char *path;               /* of its operation's websocket, up to the secret */
	struct mutex lock;
	struct cond changed;
	struct slot slots[MIGRATION_SOCKETS] GUARDED_BY(lock);
	bool over GUARDED_BY(lock); /* nothing may connect any more */
	bool cancelled GUARDED_BY(lock);
};

static void free_secret(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

static struct migration_session *session_new(void) UNSHARED
{
	struct migration_session *s = xnew(struct migration_session);

	s->refs = 1;
	s->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	mutex_init(&s->lock);
	cond_init(&s->changed);
	return s;
}

struct migration_session *migration_session_new(void) UNSHARED
{
	struct migration_session *s = session_new();

	for (int k = 0; k < MIGRATION_SOCKETS; k++)
		s->slots[k].secret = random_hex(32);
	return s;
}

static struct migration_session *session_ref(struct migration_session *s)
{
	s->refs++;
	return s;
}

void migration_session_unref(struct migration_session *s) UNSHARED
{
	if (!s || --s->refs > 0)
		return;
	for (int k = 0; k < MIGRATION_SOCKETS; k++) {
		if (s->slots[k].arrived)
			http_upgrade_close(s->slots[k].handle);
		free_secret(s->slots[k].secret);
		free(s->slots[k].extra);
	}
	dial_target_done(&s->where);
	free(s->path);
	fd_close(s->cancel_fd);
	cond_done(&s->changed);
	mutex_done(&s->lock);
	free(s);
}

bool migration_session_is_waiting(const struct migration_session *s)
{
	return !s->dials;
}

/* --- the other server's address --- */

/* Whom to believe: the one certificate that the client has seen there, else what the system trusts. */
static int set_trust(struct migration_session *s, const char *pem, struct error *err)
{
	char fingerprint[SHA256_HEX + 1];
	int r;

	if (str_is_empty(pem)) {
		s->where.flags = WIRE_DIAL_SYSTEM_ROOTS;
		return 0;
	}
	r = dial_pem_fingerprint(pem, fingerprint, err);
	if (r < 0)
		return r;
	strv_add(&s->where.pins, fingerprint);
	s->where.flags = WIRE_DIAL_PIN;
	return 0;
}

static int set_secrets(struct migration_session *s, const struct json *secrets, struct error *err) UNSHARED
{
	for (int k = 0; k < MIGRATION_SOCKETS; k++) {
		const char *secret = json_get_str(secrets, socket_names[k]);

		if (str_is_empty(secret))
			return error_set(err, 400, "Missing %s secret", socket_names[k]);
		s->slots[k].secret = xstrdup(secret);
	}
	return 0;
}

static int set_operation(struct migration_session *s, const char *url, struct error *err)
{
	auto_free char *path = NULL;
	int r = dial_target_parse(url, 8443, &s->where, &path, err);

	if (r < 0)
		return error_wrap(err, "Operation of the migration");
	if (!startswith(path, "/1.0/operations/") || strpbrk(path, "?#"))
		return error_set(err, 400, "Operation of the migration: \"%s\" is not the URL of an operation", url);
	s->path = xasprintf("%s/websocket?secret=", path);
	return 0;
}

int migration_session_new_dial(const struct json *j, struct migration_session **ret, struct error *err)
{
	struct migration_session *s = session_new();
	const char *url = json_get_str(j, "operation");
	int r;

	s->dials = true;
	r = str_is_empty(url) ? error_set(err, 400, "Missing the operation to connect to") : set_operation(s, url, err);
	if (r == 0)
		r = set_trust(s, json_get_str(j, "certificate"), err);
	if (r == 0)
		r = set_secrets(s, json_get(j, "secrets"), err);
	if (r < 0) {
		migration_session_unref(s);
		return r;
	}
	*ret = s;
	return 0;
}

static int cancelled_error(struct error *err)
{
	error_set(err, 400, "The migration was cancelled");
	err->errnum = ECANCELED;
	return -ECANCELED;
}

static int dial(struct migration_session *s, struct migration_link *l, struct error *err) UNSHARED
{
	auto_http_client struct http_client *http = http_client_new_remote(&s->where);
	int r = 0;

	for (int k = 0; k < MIGRATION_SOCKETS && r == 0; k++) {
		auto_free char *secret = url_escaped(s->slots[k].secret);
		auto_free char *path = xasprintf("%s%s", s->path, secret);

		r = migration_link_dial(l, k, http, path, err);
		explicit_bzero(path, strlen(path));
		explicit_bzero(secret, strlen(secret));
		if (r < 0)
			error_wrap(err, "Connect to the other server's operation (%s)", socket_names[k]);
	}
	return r;
}

/* --- the side that waits --- */

void migration_session_publish(struct migration_session *s, struct operation *op)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	mutex_lock(&s->lock);
	strbuf_appendf(&b, "\"control\":\"%s\",\"fs\":\"%s\"", s->slots[MIGRATION_CONTROL].secret,
		       s->slots[MIGRATION_FS].secret);
	mutex_unlock(&s->lock);
	operation_set_private(op, b.data);
	explicit_bzero(b.data, b.len);
}

/* What a socket's upgrade needs to know. */
struct arrival {
	struct migration_session *session;
	int slot;
};

static void on_upgraded(int fd, void *handle, const void *extra, size_t extra_len, void *arg)
{
	struct arrival *a = arg;
	struct migration_session *s = a->session;
	struct slot *slot = &s->slots[a->slot];
	bool late;

	mutex_lock(&s->lock);
	late = s->over;
	if (!late) {
		slot->arrived = true;
		slot->fd = fd;
		slot->handle = handle;
		slot->extra = xmemdup(extra, extra_len);
		slot->extra_len = extra_len;
	}
	cond_broadcast(&s->changed);
	mutex_unlock(&s->lock);
	if (late)
		http_upgrade_close(handle);
	migration_session_unref(s);
	free(a);
}

static int take_secret(struct migration_session *s, const char *secret, struct error *err)
{
	int found = -1;

	mutex_lock(&s->lock);
	/* every secret is compared, so that time tells nothing */
	for (int k = 0; k < MIGRATION_SOCKETS; k++)
		if (secret_equal(s->slots[k].secret, secret))
			found = k;
	if (found >= 0 && (s->over || s->slots[found].taken))
		found = -1;
	if (found >= 0)
		s->slots[found].taken = true;
	mutex_unlock(&s->lock);
	return found >= 0 ? found : error_set(err, 403, "permission denied");
}

int migration_session_connect(struct migration_session *s, const char *secret, const struct http_request *req,
			      struct http_response *resp, struct error *err)
{
	struct arrival *a;
	int slot = take_secret(s, secret, err), r;

	if (slot < 0)
		return slot;
	a = xnew(struct arrival);
	a->session = session_ref(s);
	a->slot = slot;
	r = ws_accept(req, resp, on_upgraded, a, err);
	if (r < 0) {
		/* not even a websocket request: the secret is still good */
		mutex_lock(&s->lock);
		s->slots[slot].taken = false;
		mutex_unlock(&s->lock);
		migration_session_unref(s);
		free(a);
	}
	return r;
}

void migration_session_cancel(struct migration_session *s)
{
	uint64_t one = 1;

	mutex_lock(&s->lock);
	s->cancelled = true;
	cond_broadcast(&s->changed);
	mutex_unlock(&s->lock);
	(void)!write(s->cancel_fd, &one, sizeof(one));
}

/* Hand what has arrived to the link; the sockets' handles go back through it. */
static void attach_locked(struct migration_session *s, struct migration_link *l) REQUIRES(s->lock)
{
	for (int k = 0; k < MIGRATION_SOCKETS; k++) {
		struct slot *slot = &s->slots[k];

		migration_link_attach(l, k, slot->fd, /* server= */ true, slot->extra, slot->extra_len,
				      http_upgrade_close, slot->handle);
		slot->arrived = false;
		free(TAKE_PTR(slot->extra));
	}
}

static int wait_for_sockets(struct migration_session *s, struct migration_link *l, struct error *err)
{
	int64_t deadline = time_monotonic_ms() + CONNECT_MS;
	const struct slot *c = &s->slots[MIGRATION_CONTROL], *f = &s->slots[MIGRATION_FS];
	int r = 0;

	mutex_lock(&s->lock);
	while (!(c->arrived && f->arrived) && !s->cancelled && cond_wait_until(&s->changed, &s->lock, deadline))
		;
	s->over = true;
	if (s->cancelled)
		r = cancelled_error(err);
	else if (c->arrived && f->arrived)
		attach_locked(s, l);
	else
		r = error_set(err, 400, "Timed out waiting for connections");
	mutex_unlock(&s->lock);
	return r;
}

int migration_session_link(struct migration_session *s, struct migration_link **ret, struct error *err)
{
	CLEANUP(migration_link_freep) struct migration_link *l = migration_link_new(s->cancel_fd);
	int r = s->dials ? dial(s, l, err) : wait_for_sockets(s, l, err);

	if (r == 0)
		*ret = TAKE_PTR(l);
	return r;
}

/* --- progress --- */

void migration_progress_note(void *progress, uint64_t bytes, uint64_t per_second)
{
	struct migration_progress *p = progress;
	auto_free char *done = format_size_si(bytes);
	auto_free char *speed = format_size_si(per_second);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_strf(&w, "fs_progress", "%s: %s (%s/s)", p->name, done, speed);
	jsonw_object_end(&w);
	operation_set_metadata(p->op, b.data, /* publish= */ true);
}
