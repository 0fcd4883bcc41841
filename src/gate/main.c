/*
 * The program lxd-gate: the only one that talks to strangers. It makes the handshakes and hands plain byte streams to
 * lxd (base/wire_gate.h). It has no rights: see confine.h; the private key is with lxd-signer. What a taken-over gate
 * can do all the same: read and change what passes through it, claim any client certificate, and have handshakes signed
 * while it lives. It cannot open, run, connect or keep anything.
 */
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "base/wire.h"
#include "gate/confinement.h"
#include "gate/gate.h"

#define LISTENERS_MAX 64u
#define ANSWER_MS 10000 /* lxd has for taking an answer when it is behind */
#define FDS_KEPT 64u    /* files of the gate itself: epolls, listeners, signer sockets ... */

static int refuse(struct error *err, const char *what)
{
	return error_set(err, 500, "Malformed message: %s", what);
}

/* CONFIG */

static void use_settings(struct worker *w, void *arg)
{
	struct settings *old = w->settings;
	struct settings *new = arg;
	bool same = old->pki_bytes.len ==
		    new->pki_bytes.len &&memcmp(old->pki_bytes.data, new->pki_bytes.data, old->pki_bytes.len) == 0;

	w->settings = settings_ref(new);
	settings_unref(old);
	for (uint32_t i = 0; i < w->n_slots && !same; i++)
		if (w->slots[i])
			conn_judge_again(w->slots[i]);
}

/* CONNECTION messages may have filled the socket: wait for lxd, but not for ever. */
static int send_patiently(const struct strbuf *b)
{
	const int64_t end = time_monotonic_ms() + ANSWER_MS;

	for (;;) {
		struct pollfd p = {.fd = WIRE_GATE_CONTROL_FD, .events = POLLOUT};
		int r = wire_send(WIRE_GATE_CONTROL_FD, b, NULL, 0);
		int64_t left = end - time_monotonic_ms();

		if (r != -EAGAIN || left <= 0)
			return r;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
	}
}

static int answer_config(const struct error *err, const struct settings *s)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_free char *warning = s ? pki_warning(s->pki, time(NULL)) : NULL;

	wire_put_u32(&b, WIRE_GATE_CONFIGURED);
	wire_put_u32(&b, (uint32_t)err->status);
	wire_put_str(&b, err->status ? error_msg(err) : warning);
	return send_patiently(&b);
}

static int config(struct gate *g, struct wire_message *m, struct error *err)
{
	CLEANUP(settings_unrefp) struct settings *s = NULL;
	auto_error struct error refusal = ERROR_INIT;
	int r = settings_new(m, &s, &refusal);

	if (r == 0 && g->n_workers && s->threads != g->n_workers)
		r = error_set(&refusal, 500, "The number of threads cannot change");
	if (r == 0 && g->n_workers)
		workers_run(g, use_settings, s);
	else if (r == 0)
		r = workers_start(g, s->threads, s, err);
	if (r < 0 && err->status)
		return r;
	r = answer_config(&refusal, s);
	return r < 0 ? error_errno(err, -r, "Answer lxd") : 0;
}

/* LISTEN, UNLISTEN: the list changes while no thread looks at it. */

static void hold_accepting(struct worker *w, void *arg)
{
	(void)arg;
	w->held = true;
	worker_accept(w, false);
}

static void release_accepting(struct worker *w, void *arg)
{
	(void)arg;
	w->held = false;
	worker_accept(w, true);
}

static int add_listener(struct gate *g, struct wire_message *m, struct error *err)
{
	uint32_t which = wire_get_u32(&m->reader);
	unsigned n = 0;
	struct listener *l;

	TAILQ_FOREACH(l, &g->listeners, link)
	n++;
	if (!wire_done(&m->reader) || which >= WIRE_LISTENER_MAX || m->fds[0] < 0 || n >= LISTENERS_MAX)
		return refuse(err, "LISTEN");
	l = xnew(struct listener);
	*l = (struct listener){.event = {EVENT_LISTENER}, .which = (unsigned char)which, .fd = TAKE_FD(m->fds[0])};
	/* all threads may be told that it can be read; those that come late must not wait */
	(void)fd_set_nonblock(l->fd, true);
	workers_run(g, hold_accepting, NULL);
	TAILQ_INSERT_TAIL(&g->listeners, l, link);
	workers_run(g, release_accepting, NULL);
	return 0;
}

static int remove_listeners(struct gate *g, struct wire_message *m, struct error *err)
{
	uint32_t which = wire_get_u32(&m->reader);
	struct listener *l, *next;

	if (!wire_done(&m->reader) || which >= WIRE_LISTENER_MAX)
		return refuse(err, "UNLISTEN");
	workers_run(g, hold_accepting, NULL);
	for (l = TAILQ_FIRST(&g->listeners); l; l = next) {
		next = TAILQ_NEXT(l, link);
		if (l->which != which)
			continue;
		TAILQ_REMOVE(&g->listeners, l, link);
		close(l->fd);
		free(l);
	}
	workers_run(g, release_accepting, NULL);
	return 0;
}

/* PROXIES */

static void use_proxies(struct worker *w, void *arg)
{
	w->proxies = *(const struct gate_proxies *)arg;
}

static int set_proxies(struct gate *g, struct wire_message *m, struct error *err)
{
	auto_strv struct strv texts = STRV_INIT;

	wire_get_list(&m->reader, &texts);
	if (!wire_done(&m->reader))
		return refuse(err, "PROXIES");
	g->proxies.n = 0;
	for (size_t i = 0; i < texts.len && g->proxies.n < GATE_PROXIES_MAX; i++)
		if (gate_address_parse(str_strip(texts.items[i]), &g->proxies.items[g->proxies.n]) == 0)
			g->proxies.n++;
	workers_run(g, use_proxies, &g->proxies);
	return 0;
}

static int trust(struct gate *g, struct wire_message *m, struct error *err)
{
	uint64_t id = wire_get_u64(&m->reader);

	if (!wire_done(&m->reader))
		return refuse(err, "TRUSTED");
	workers_trust(g, id);
	return 0;
}

static int parked(struct gate *g, struct wire_message *m, struct error *err)
{
	uint64_t id = wire_get_u64(&m->reader);
	uint32_t yes = wire_get_u32(&m->reader);

	if (!wire_done(&m->reader) || yes > 1)
		return refuse(err, "PARKED");
	workers_parked(g, id, yes);
	return 0;
}

static int obey(struct gate *g, struct wire_message *m, struct error *err)
{
	switch (wire_get_u32(&m->reader)) {
	case WIRE_GATE_CONFIG:
		return config(g, m, err);
	case WIRE_GATE_LISTEN:
		return add_listener(g, m, err);
	case WIRE_GATE_UNLISTEN:
		return remove_listeners(g, m, err);
	case WIRE_GATE_PROXIES:
		return set_proxies(g, m, err);
	case WIRE_GATE_TRUSTED:
		return trust(g, m, err);
	case WIRE_GATE_PARKED:
		return parked(g, m, err);
	default:
		return refuse(err, "unknown type");
	}
}

/* Until lxd closes its end (0), or something is wrong with it. */
static int serve(struct gate *g, struct error *err)
{
	for (;;) {
		auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
		struct pollfd p = {.fd = WIRE_GATE_CONTROL_FD, .events = POLLIN};
		int r;

		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return error_errno(err, errno, "Wait for lxd");
		r = wire_recv(WIRE_GATE_CONTROL_FD, &m);
		if (r == -EAGAIN)
			continue;
		if (r == 0 || r == -ECONNRESET)
			return 0;
		if (r < 0)
			return error_errno(err, -r, "Read from lxd");
		r = obey(g, &m, err);
		if (r < 0)
			return r;
	}
}

static void gate_init(struct gate *g)
{
	g->strangers = strangers_new();
	TAILQ_INIT(&g->listeners);
	mutex_init(&g->job_lock);
	cond_init(&g->job_done);
	/* two for each connection, and the end that is on its way to lxd */
	g->conns_max = (GATE_FILES - FDS_KEPT) / 3;
	/* one heap for each thread is enough, and memory goes back when connections do */
	mallopt(M_ARENA_MAX, WIRE_SIGNER_THREADS_MAX);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

int main(int argc, char **argv)
{
	auto_error struct error err = ERROR_INIT;
	static struct gate g;
	int r;

	if (argc == 3 && streq(argv[1], "--confinement-test"))
		return confinement_test(argv[2]);
	if (argc != 1 || fd_set_nonblock(WIRE_GATE_CONTROL_FD, true) < 0) {
		fprintf(stderr, "lxd-gate is started by lxd\n");
		return 2;
	}
	r = gate_confine(&err);
	if (r == 0) {
		gate_init(&g);
		r = serve(&g, &err);
	}
	if (r < 0)
		fprintf(stderr, "lxd-gate: %s\n", error_msg(&err));
	/* no exit handlers: the threads are still at work */
	_exit(r < 0);
}
