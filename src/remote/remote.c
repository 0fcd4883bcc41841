/*
 * One thread owns both programs and all sockets: it waits for messages, for their end, and for jobs that others have it
 * do. So the programs can be tied to its life, and nothing here needs a lock but the list of jobs and what is read
 * often.
 */
#include "remote/remote.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"
#include "remote/gate.h"
#include "remote/listen.h"

#define RESTART_MS_MIN 100
#define RESTART_MS_MAX 30000
#define SETTLED_MS 60000 /* a gate that lived that long has its next death forgiven */
#define SIGNER_ENDS_MAX 3
#define REBIND_MS 30000
#define NOTE_MS 1000    /* between notes of refused connections that are told on */
#define ADDRESS_MAX 64  /* bytes of an address in a note */
#define PARKED_MANY 16  /* connections let go: what they needed is worth giving back ... */
#define TRIM_MS 1000    /* ... when no more have followed for so long */
#define MESSAGES_MAX 64 /* of the gate, before anything else has its turn */
#define BIND_TRIES 10   /* 100 ms apart: until the gate has closed the old socket */

static const unsigned default_ports[] = {REMOTE_API_PORT, REMOTE_METRICS_PORT};

/* Something for the thread to do; its poster waits. */
struct job {
	int (*fn)(struct remote *r, void *arg, struct error *err);
	void *arg;
	struct error *err;
	int result;
	bool done;
	struct job *next;
};

struct remote {
	struct remote_spec spec;
	int wake; /* eventfd */
	struct mutex lock;
	struct cond finished;
	struct job *jobs GUARDED_BY(lock);
	int control GUARDED_BY(lock);    /* the gate's, for remote_vouch() */
	char *api_text GUARDED_BY(lock); /* of the API listener; NULL: none */
	/* the rest is the thread's own */
	struct gate gate;
	struct {
		char *chain, *ca;
		int key_fd;
		struct strbuf crl;
	} keys;
	struct listen_set listen[WIRE_LISTENER_MAX];
	char *pending[WIRE_LISTENER_MAX]; /* to be bound again at rebind_at */
	struct strv proxies;
	int64_t rebind_at;
	int64_t started_at;
	int64_t signer_ended_at;
	unsigned signer_ends; /* less than SETTLED_MS apart */
	int64_t restart_at;   /* 0: not due */
	int64_t restart_ms;
	int64_t noted_at;
	unsigned parked; /* since the last trim */
	int64_t trim_at; /* 0: not due */
	bool distrusted;
	bool in_trouble;
	bool ending;
};

static void trouble(struct remote *r, const char *message)
{
	if (!message && !r->in_trouble)
		return;
	r->in_trouble = message != NULL;
	if (r->spec.trouble)
		r->spec.trouble(r->spec.arg, message);
}

/* A gate of ours does not say such a thing: it was taken over. It ends when its messages have been looked at. */
static void distrust(struct remote *r, const char *what)
{
	if (!r->distrusted)
		log_error("lxd-gate is ended: it sent something that no gate sends", LOG_STR("what", what));
	r->distrusted = true;
}

static void on_connection(struct remote *r, struct wire_message *m)
{
	auto_error struct error err = ERROR_INIT;
	struct http_tls_peer *peer = gate_decode_peer(m);
	int fd = m->fds[0];

	if (!peer || fd < 0) {
		http_tls_peer_free(peer);
		distrust(r, "a connection that is none");
		return;
	}
	m->fds[0] = -EBADF;
	log_debug("remote connection", LOG_STR("peer", peer->address), LOG_STR("cipher", peer->cipher));
	if (http_server_add(*r->spec.http, fd, peer, &err) < 0)
		log_warn("remote connection refused", LOG_ERR(&err));
}

static void on_note(struct remote *r, struct wire_message *m)
{
	int64_t now = time_monotonic_ms();
	uint32_t kind = wire_get_u32(&m->reader);
	auto_free char *address = wire_get_str(&m->reader);
	uint64_t count = wire_get_u64(&m->reader);

	if (!wire_done(&m->reader) || kind >= WIRE_NOTE_MAX || !address || strlen(address) > ADDRESS_MAX) {
		distrust(r, "a note that is none");
		return;
	}
	/* each is a row in the database */
	if (now - r->noted_at < NOTE_MS)
		return;
	r->noted_at = now;
	if (r->spec.refused)
		r->spec.refused(r->spec.arg, kind, address, count);
}

/* The gate would rather keep a quiet connection alone. */
static void on_park(struct remote *r, struct wire_message *m)
{
	uint64_t id = wire_get_u64(&m->reader);
	struct pollfd p = {.fd = r->gate.control, .events = POLLOUT};
	auto_strbuf struct strbuf b = STRBUF_INIT;
	bool idle;

	if (!wire_done(&m->reader)) {
		distrust(r, "a question that is none");
		return;
	}
	wire_put_u32(&b, WIRE_GATE_PARKED);
	wire_put_u64(&b, id);
	/* without room for the answer the connection stays as it is, and the gate asks again */
	if (poll(&p, 1, 0) <= 0)
		return;
	idle = http_server_park(*r->spec.http, id);
	wire_put_u32(&b, idle);
	if (idle && ++r->parked >= PARKED_MANY)
		r->trim_at = time_monotonic_ms() + TRIM_MS;
	if (wire_send(r->gate.control, &b, NULL, 0) < 0)
		log_debug("lxd-gate does not take messages");
}

static void on_message(struct wire_message *m, void *arg)
{
	struct remote *r = arg;
	uint32_t type = wire_get_u32(&m->reader);

	if (type == WIRE_GATE_CONNECTION)
		on_connection(r, m);
	else if (type == WIRE_GATE_PARK)
		on_park(r, m);
	else if (type == WIRE_GATE_NOTE)
		on_note(r, m);
	else
		distrust(r, "an unknown message");
}

static struct remote_keys keys_of(const struct remote *r)
{
	return (struct remote_keys){
		.chain = r->keys.chain,
		.key_fd = r->keys.key_fd,
		.ca = r->keys.ca,
		.crl = r->keys.crl.data,
		.crl_len = r->keys.crl.len,
	};
}

static void publish(struct remote *r)
{
	mutex_lock(&r->lock);
	r->control = r->gate.control;
	free(r->api_text);
	r->api_text = xstrdup_null(r->listen[WIRE_LISTENER_API].text);
	mutex_unlock(&r->lock);
}

static void stop_gate(struct remote *r)
{
	mutex_lock(&r->lock);
	r->control = -EBADF;
	mutex_unlock(&r->lock);
	gate_stop(&r->gate);
	r->restart_at = 0;
}

static int hand_over_all(struct remote *r, struct error *err)
{
	int rc = gate_proxies(&r->gate, &r->proxies);

	for (unsigned i = 0; i < WIRE_LISTENER_MAX && rc == 0; i++)
		rc = gate_listen(&r->gate, i, r->listen[i].fds, r->listen[i].n);
	return rc < 0 ? error_errno(err, -rc, "Send to lxd-gate") : 0;
}

static int start_gate(struct remote *r, struct error *err)
{
	struct remote_keys keys = keys_of(r);
	int rc;

	r->distrusted = false;

	if (!keys.chain)
		return error_set(err, 500, "The server has no certificate yet");
	rc = gate_start(&r->gate, err);
	if (rc == 0)
		rc = gate_configure(&r->gate, &keys, on_message, r, err);
	if (rc == 0)
		rc = hand_over_all(r, err);
	if (rc < 0) {
		stop_gate(r);
		return rc;
	}
	r->started_at = time_monotonic_ms();
	r->restart_at = 0;
	publish(r);
	return 0;
}

static bool wanted(const struct remote *r)
{
	return r->listen[WIRE_LISTENER_API].n || r->listen[WIRE_LISTENER_METRICS].n;
}

/* The gate is gone, or cannot be started: again, later and later. */
static void schedule_restart(struct remote *r)
{
	int64_t now = time_monotonic_ms();

	stop_gate(r);
	if (!wanted(r) || r->ending)
		return;
	r->restart_ms = now - r->started_at > SETTLED_MS ? RESTART_MS_MIN
							 : MIN_OF(r->restart_ms * 2, (int64_t)RESTART_MS_MAX);
	r->restart_at = now + r->restart_ms;
}

static void restart(struct remote *r)
{
	auto_error struct error err = ERROR_INIT;

	if (start_gate(r, &err) == 0) {
		log_warn("lxd-gate was started again");
		trouble(r, NULL);
		return;
	}
	log_error("lxd-gate cannot be started", LOG_ERR(&err));
	trouble(r, error_msg(&err));
	schedule_restart(r);
}

static void on_gate_end(struct remote *r)
{
	log_error("lxd-gate ended");
	trouble(r, "lxd-gate ended unexpectedly; remote connections were dropped");
	schedule_restart(r);
}

/* Connections go on with a new signer; one that keeps ending takes the gate with it, whose restarts come later and
 * later. */
static void on_signer_end(struct remote *r)
{
	auto_error struct error err = ERROR_INIT;
	struct remote_keys keys = keys_of(r);
	int64_t now = time_monotonic_ms();

	log_error("lxd-signer ended");
	trouble(r, "lxd-signer ended unexpectedly");
	if (now - r->signer_ended_at > SETTLED_MS)
		r->signer_ends = 0;
	r->signer_ended_at = now;
	if (++r->signer_ends > SIGNER_ENDS_MAX) {
		schedule_restart(r);
		return;
	}
	if (gate_configure(&r->gate, &keys, on_message, r, &err) == 0) {
		trouble(r, NULL);
		return;
	}
	log_error("lxd-signer cannot be started", LOG_ERR(&err));
	schedule_restart(r);
}

/* Make the gate serve the sockets of @which, be it with the gate's start or end. */
static int serve(struct remote *r, enum wire_gate_listener which, struct error *err)
{
	int rc;

	if (!wanted(r)) {
		stop_gate(r);
		publish(r);
		return 0;
	}
	if (!r->gate.pid)
		return start_gate(r, err);
	rc = gate_listen(&r->gate, which, r->listen[which].fds, r->listen[which].n);
	publish(r);
	return rc < 0 ? error_errno(err, -rc, "Send to lxd-gate") : 0;
}

static void close_listener(struct remote *r, enum wire_gate_listener which)
{
	if (r->gate.pid && gate_unlisten(&r->gate, which) < 0)
		log_error("lxd-gate does not take messages");
	listen_set_done(&r->listen[which]);
}

/*
 * Bind @text. Where our own old socket is in the way (the same port, a wildcard over an address) it is closed first,
 * and bound again when that did not help.
 */
static int rebind(struct remote *r, enum wire_gate_listener which, const char *text, struct error *err)
{
	auto_free char *old = xstrdup_null(r->listen[which].text);
	struct listen_set set = LISTEN_SET_INIT;
	int rc = listen_set_open(text, default_ports[which], &set, err);

	if (rc == -EADDRINUSE && old) {
		close_listener(r, which);
		for (int i = 0; i < BIND_TRIES && rc == -EADDRINUSE; i++) {
			usleep(i ? 100 * 1000 : 10 * 1000);
			error_clear(err);
			rc = listen_set_open(text, default_ports[which], &set, err);
		}
		if (rc < 0) {
			auto_error struct error again = ERROR_INIT;

			if (listen_set_open(old, default_ports[which], &set, &again) < 0)
				log_error("the old address is lost too", LOG_ERR(&again));
			r->listen[which] = set;
			error_clear(&again);
			if (serve(r, which, &again) < 0)
				log_error("cannot go back to the old address", LOG_ERR(&again));
			return rc;
		}
	} else if (rc == 0 && old) {
		close_listener(r, which);
	}
	if (rc == 0)
		r->listen[which] = set;
	return rc;
}

struct address_job {
	enum wire_gate_listener which;
	const char *text;
};

static int job_set_address(struct remote *r, void *arg, struct error *err)
{
	const struct address_job *job = arg;
	auto_free char *old = xstrdup_null(r->listen[job->which].text);
	int rc = 0;

	r->pending[job->which] = (free(r->pending[job->which]), NULL);
	if (str_is_empty(job->text)) {
		close_listener(r, job->which);
		return serve(r, job->which, err);
	}
	if (old && streq(old, job->text))
		return 0;
	rc = rebind(r, job->which, job->text, err);
	if (rc < 0)
		return rc;
	rc = serve(r, job->which, err);
	if (rc < 0) {
		/* nobody would serve it */
		listen_set_done(&r->listen[job->which]);
		if (old) {
			auto_error struct error again = ERROR_INIT;

			if (listen_set_open(old, default_ports[job->which], &r->listen[job->which], &again) < 0)
				log_error("the old address is lost too", LOG_ERR(&again));
			schedule_restart(r);
		}
		publish(r);
	}
	return rc;
}

static int job_start_address(struct remote *r, void *arg, struct error *err)
{
	const struct address_job *job = arg;
	int rc;

	if (str_is_empty(job->text))
		return 0;
	rc = listen_set_open(job->text, default_ports[job->which], &r->listen[job->which], err);
	if (rc == 0 && serve(r, job->which, err) == 0) {
		r->pending[job->which] = (free(r->pending[job->which]), NULL);
		return 0;
	}
	log_error("cannot listen; trying again later", LOG_STR("address", job->text), LOG_ERR(err));
	trouble(r, error_msg(err));
	if (rc == 0) {
		schedule_restart(r);
		return -EIO;
	}
	if (!r->pending[job->which])
		r->pending[job->which] = xstrdup(job->text);
	r->rebind_at = time_monotonic_ms() + REBIND_MS;
	return rc;
}

static void retry_pending(struct remote *r)
{
	bool all = true;

	r->rebind_at = 0;
	for (unsigned i = 0; i < WIRE_LISTENER_MAX; i++) {
		auto_error struct error err = ERROR_INIT;
		auto_free char *text = xstrdup_null(r->pending[i]);
		struct address_job job = {i, text};

		if (text && job_start_address(r, &job, &err) < 0)
			all = false;
	}
	if (all)
		trouble(r, NULL);
}

static int job_set_keys(struct remote *r, void *arg, struct error *err)
{
	const struct remote_keys *k = arg;
	int fd = fcntl(k->key_fd, F_DUPFD_CLOEXEC, 3), rc = 0;

	if (fd < 0)
		return error_errno(err, errno, "Keep the server's key");
	if (r->gate.pid)
		rc = gate_configure(&r->gate, k, on_message, r, err);
	if (rc < 0) {
		fd_close(fd);
		return rc;
	}
	fd_close(r->keys.key_fd);
	r->keys.key_fd = fd;
	free(r->keys.chain);
	r->keys.chain = xstrdup(k->chain);
	free(r->keys.ca);
	r->keys.ca = xstrdup_null(k->ca);
	strbuf_done(&r->keys.crl);
	strbuf_append_len(&r->keys.crl, k->crl, k->crl_len);
	return 0;
}

static int job_set_proxies(struct remote *r, void *arg, struct error *err UNUSED)
{
	const struct strv *addresses = arg;

	strv_done(&r->proxies);
	strv_copy(&r->proxies, addresses);
	if (r->gate.pid && gate_proxies(&r->gate, &r->proxies) < 0)
		log_error("lxd-gate does not take messages");
	return 0;
}

static int job_stop(struct remote *r, void *arg UNUSED, struct error *err UNUSED)
{
	r->ending = true;
	for (unsigned i = 0; i < WIRE_LISTENER_MAX; i++)
		listen_set_done(&r->listen[i]);
	stop_gate(r);
	return 0;
}

static void run_jobs(struct remote *r)
{
	uint64_t n;

	(void)!read(r->wake, &n, sizeof(n));
	for (;;) {
		struct job *j;

		mutex_lock(&r->lock);
		j = r->jobs;
		if (j)
			r->jobs = j->next;
		mutex_unlock(&r->lock);
		if (!j)
			return;
		j->result = j->fn(r, j->arg, j->err);
		mutex_lock(&r->lock);
		j->done = true;
		cond_broadcast(&r->finished);
		mutex_unlock(&r->lock);
	}
}

/* Some of the messages that are there: jobs must not wait for the end of a flood. */
static void read_messages(struct remote *r)
{
	struct pollfd p = {.fd = r->gate.control, .events = POLLIN};

	for (int i = 0; i < MESSAGES_MAX && r->gate.pid && poll(&p, 1, 0) > 0; i++) {
		auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;

		if (wire_recv(r->gate.control, &m) <= 0) {
			on_gate_end(r);
			return;
		}
		on_message(&m, r);
		if (r->distrusted) {
			on_gate_end(r);
			return;
		}
	}
}

/* Many connections have gone quiet, and the threads they had are gone: the heap has mostly holes. */
static void trim(struct remote *r)
{
	r->trim_at = 0;
	r->parked = 0;
	malloc_trim(0);
}

static int time_left(const struct remote *r)
{
	int64_t due = 0, left;

	if (r->restart_at)
		due = r->restart_at;
	if (r->rebind_at && (!due || r->rebind_at < due))
		due = r->rebind_at;
	if (r->gate.old_signer && (!due || r->gate.old_signer_until < due))
		due = r->gate.old_signer_until;
	if (r->trim_at && (!due || r->trim_at < due))
		due = r->trim_at;
	if (!due)
		return -1;
	left = due - time_monotonic_ms();
	return left < 0 ? 0 : (int)left;
}

static void *remote_thread(void *arg)
{
	struct remote *r = arg;

	for (;;) {
		struct pollfd p[] = {
			{.fd = r->wake, .events = POLLIN},
			{.fd = r->gate.control, .events = POLLIN},
			{.fd = r->gate.pidfd, .events = POLLIN},
			{.fd = r->gate.signer_pidfd, .events = POLLIN},
		};

		if (poll(p, ARRAY_SIZE(p), time_left(r)) < 0)
			continue;
		if (p[0].revents)
			run_jobs(r);
		/* a job may have replaced what was polled */
		else if (p[1].revents)
			read_messages(r);
		else if (p[2].revents)
			on_gate_end(r);
		else if (p[3].revents)
			on_signer_end(r);
		gate_end_old_signer(&r->gate, time_monotonic_ms());
		if (r->restart_at && time_monotonic_ms() >= r->restart_at)
			restart(r);
		if (r->rebind_at && time_monotonic_ms() >= r->rebind_at)
			retry_pending(r);
		if (r->trim_at && time_monotonic_ms() >= r->trim_at)
			trim(r);
	}
	return NULL;
}

static int run(struct remote *r, int (*fn)(struct remote *r, void *arg, struct error *err), void *arg,
	       struct error *err)
{
	struct job job = {.fn = fn, .arg = arg, .err = err}, **at;
	const uint64_t one = 1;

	mutex_lock(&r->lock);
	for (at = &r->jobs; *at; at = &(*at)->next)
		;
	*at = &job;
	(void)!write(r->wake, &one, sizeof(one));
	while (!job.done)
		cond_wait(&r->finished, &r->lock);
	mutex_unlock(&r->lock);
	return job.result;
}

int remote_new(const struct remote_spec *spec, struct remote **ret, struct error *err) UNSHARED
{
	struct remote *r = xnew(struct remote);
	int rc;

	r->spec = *spec;
	r->gate = GATE_INIT;
	r->control = -EBADF;
	r->keys.key_fd = -EBADF;
	r->restart_ms = RESTART_MS_MIN / 2;
	mutex_init(&r->lock);
	cond_init(&r->finished);
	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->wake < 0) {
		rc = error_errno(err, errno, "Create eventfd");
		free(r);
		return rc;
	}
	rc = thread_start("gate", remote_thread, r, err);
	if (rc == 0)
		*ret = r;
	return rc;
}

int remote_set_keys(struct remote *r, const struct remote_keys *keys, struct error *err)
{
	struct remote_keys copy = *keys;

	return run(r, job_set_keys, &copy, err);
}

int remote_set_address(struct remote *r, enum wire_gate_listener which, const char *text, struct error *err)
{
	struct address_job job = {which, text};

	return run(r, job_set_address, &job, err);
}

void remote_start_address(struct remote *r, enum wire_gate_listener which, const char *text)
{
	struct address_job job = {which, text};
	auto_error struct error err = ERROR_INIT;

	if (run(r, job_start_address, &job, &err) < 0)
		error_ignore(&err, "it is logged, and tried again");
}

void remote_set_proxies(struct remote *r, const struct strv *addresses)
{
	struct strv copy = STRV_INIT;
	auto_error struct error err = ERROR_INIT;

	strv_copy(&copy, addresses);
	run(r, job_set_proxies, &copy, &err);
	strv_done(&copy);
}

void remote_vouch(struct remote *r, const struct http_tls_peer *peer)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct pollfd p = {.events = POLLOUT};

	wire_put_u32(&b, WIRE_GATE_TRUSTED);
	wire_put_u64(&b, peer->connection);
	mutex_lock(&r->lock);
	p.fd = r->control;
	/* a gate that does not read must not hold anybody up */
	if (p.fd >= 0 && (poll(&p, 1, 0) <= 0 || wire_send(p.fd, &b, NULL, 0) < 0))
		log_debug("lxd-gate does not take messages");
	mutex_unlock(&r->lock);
}

int remote_claim(struct remote *r, const struct http_tls_peer *peer, unsigned max)
{
	int rc = http_server_claim(*r->spec.http, peer, max);

	if (rc > 0)
		remote_vouch(r, peer);
	return rc < 0 ? rc : 0;
}

void remote_authority_changed(struct remote *r)
{
	if (*r->spec.http)
		http_server_recheck(*r->spec.http, /* authority= */ true);
}

void remote_addresses(struct remote *r, struct strv *ret)
{
	auto_free char *text = NULL;

	mutex_lock(&r->lock);
	text = xstrdup_null(r->api_text);
	mutex_unlock(&r->lock);
	if (text)
		listen_addresses(text, REMOTE_API_PORT, ret);
}

void remote_stop(struct remote *r)
{
	auto_error struct error err = ERROR_INIT;

	run(r, job_stop, NULL, &err);
}
