/* The threads: an epoll each, accepting, deadlines, and the orders of the main thread. */
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/timeutil.h"
#include "base/wire.h"
#include "gate/gate.h"

#define EVENTS 64
#define ACCEPTS 16          /* connections taken at once, before the others have their turn */
#define ACCEPT_PAUSE_MS 100 /* when there are no files or no memory for another */
#define WORDS_MAX 65536u

/* Slots and numbers: a number is the slot's, the thread's and how many there were before. */

#define SLOT_BITS 24

bool worker_slot_take(struct worker *w, struct conn *c)
{
	if (w->n_free == 0) {
		uint32_t n = w->n_slots ? w->n_slots * 2 : 64;

		if (n > 1u << SLOT_BITS)
			return false;
		w->slots = xreallocarray(w->slots, n, sizeof(struct conn *));
		w->free_slots = xreallocarray(w->free_slots, n, sizeof(uint32_t));
		for (uint32_t i = n; i > w->n_slots; i--) {
			w->slots[i - 1] = NULL;
			w->free_slots[w->n_free++] = i - 1;
		}
		w->n_slots = n;
	}
	c->slot = w->free_slots[--w->n_free];
	w->slots[c->slot] = c;
	c->id = (++w->generation << (SLOT_BITS + 3)) | (uint64_t)c->slot << 3 | w->index;
	return true;
}

void worker_slot_give(struct worker *w, struct conn *c)
{
	w->slots[c->slot] = NULL;
	w->free_slots[w->n_free++] = c->slot;
}

static struct conn *find(struct worker *w, uint64_t id)
{
	uint32_t slot = (uint32_t)(id >> 3) & ((1u << SLOT_BITS) - 1);
	struct conn *c = slot < w->n_slots ? w->slots[slot] : NULL;

	return c && c->id == id ? c : NULL;
}

/* Deadlines: within a phase they come in nearly the order in which they were set. */

void worker_no_deadline(struct conn *c)
{
	if (c->timed)
		TAILQ_REMOVE(&c->worker->timers[c->timer_phase], c, timer);
	c->timed = false;
}

void worker_deadline(struct conn *c, int64_t deadline_ms)
{
	struct conn_list *list = &c->worker->timers[c->phase];
	struct conn *before;

	worker_no_deadline(c);
	c->deadline_ms = deadline_ms;
	c->timer_phase = c->phase;
	c->timed = true;
	before = TAILQ_LAST(list, conn_list);
	while (before && before->deadline_ms > deadline_ms)
		before = TAILQ_PREV(before, conn_list, timer);
	if (before)
		TAILQ_INSERT_AFTER(list, before, c, timer);
	else
		TAILQ_INSERT_HEAD(list, c, timer);
}

static void expire(struct worker *w)
{
	for (unsigned p = 0; p < CONN_PHASES; p++) {
		struct conn *c;

		while ((c = TAILQ_FIRST(&w->timers[p])) && c->deadline_ms <= w->now_ms) {
			worker_no_deadline(c);
			conn_expired(c);
		}
	}
}

static int next_timeout(const struct worker *w)
{
	int64_t next = w->accepting || w->held ? INT64_MAX : w->accept_again_ms;

	for (unsigned p = 0; p < CONN_PHASES; p++)
		if (!TAILQ_EMPTY(&w->timers[p]))
			next = MIN_OF(next, TAILQ_FIRST(&w->timers[p])->deadline_ms);
	if (next == INT64_MAX)
		return -1;
	return (int)MIN_OF(MAX_OF(next - w->now_ms, 0) + 1, 60000);
}

/* Accepting */

void worker_accept(struct worker *w, bool on)
{
	struct listener *l;

	if (w->accepting == on)
		return;
	TAILQ_FOREACH(l, &w->gate->listeners, link)
	{
		/* one thread wakes up for a connection, not all */
		struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = &l->event};

		epoll_ctl(w->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, l->fd, on ? &e : NULL);
	}
	w->accepting = on;
	w->accept_again_ms = on ? 0 : w->now_ms + ACCEPT_PAUSE_MS;
}

static void address_of(const struct sockaddr_storage *sa, struct gate_address *ret)
{
	const struct sockaddr_in *v4 = (const void *)sa;
	const struct sockaddr_in6 *v6 = (const void *)sa;

	*ret = (struct gate_address){0};
	if (sa->ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		ret->v6 = true;
		memcpy(ret->bytes, &v6->sin6_addr, 16);
		ret->port = ntohs(v6->sin6_port);
	} else if (sa->ss_family == AF_INET6) {
		memcpy(ret->bytes, (const char *)&v6->sin6_addr + 12, 4);
		ret->port = ntohs(v6->sin6_port);
	} else {
		memcpy(ret->bytes, &v4->sin_addr, 4);
		ret->port = ntohs(v4->sin_port);
	}
}

/* Is there room for one more at all? Strangers make room. */
static bool has_room(struct worker *w, const struct gate_address *peer)
{
	struct gate *g = w->gate;

	if (atomic_load(&g->conns) < g->conns_max || strangers_drop_one(g->strangers, w->now_ms))
		return true;
	strangers_note_full(g->strangers, peer);
	return false;
}

/* False: no more for now. */
static bool accept_one(struct worker *w, const struct listener *l)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);
	struct gate_address peer;
	int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
		worker_accept(w, false);
	if (fd < 0)
		return errno == ECONNABORTED || errno == EINTR || errno == EPROTO;
	address_of(&sa, &peer);
	if (!has_room(w, &peer)) {
		close(fd);
		return true;
	}
	conn_new(w, fd, &peer, l->which);
	return true;
}

/* Orders */

static void take_word(struct worker *w, const struct word *word)
{
	struct conn *c = find(w, word->id);

	if (!c || c->phase == CONN_DEAD)
		return;
	if (word->kind != WORD_TRUSTED) {
		relay_parked(c, word->kind == WORD_PARKED);
		return;
	}
	strangers_vouch(w->gate->strangers, &c->stranger, &c->address, w->now_ms);
	relay_vouched(c);
}

static void take_words(struct worker *w)
{
	auto_free struct word *words = NULL;
	size_t n;

	mutex_lock(&w->inbox_lock);
	words = TAKE_PTR(w->words);
	n = w->n_words;
	w->n_words = 0;
	mutex_unlock(&w->inbox_lock);
	for (size_t i = 0; i < n; i++)
		take_word(w, &words[i]);
}

static void take_job(struct worker *w)
{
	struct gate *g = w->gate;
	void (*job)(struct worker *, void *);
	void *arg;

	mutex_lock(&g->job_lock);
	job = w->job_seen == g->job_number ? NULL : g->job;
	arg = g->job_arg;
	w->job_seen = g->job_number;
	mutex_unlock(&g->job_lock);
	if (!job)
		return;
	job(w, arg);
	mutex_lock(&g->job_lock);
	if (--g->job_left == 0)
		cond_broadcast(&g->job_done);
	mutex_unlock(&g->job_lock);
}

static void take_inbox(struct worker *w)
{
	uint64_t n;

	(void)!read(w->inbox_fd, &n, sizeof(n));
	take_words(w);
	take_job(w);
}

static void wake(struct worker *w)
{
	const uint64_t one = 1;

	(void)!write(w->inbox_fd, &one, sizeof(one));
}

static void say(struct gate *g, uint64_t id, enum word_kind kind)
{
	unsigned index = (unsigned)(id & 7);
	struct worker *w;

	if (index >= g->n_workers)
		return;
	w = g->workers[index];
	mutex_lock(&w->inbox_lock);
	if (w->n_words < WORDS_MAX) {
		w->words = xreallocarray(w->words, w->n_words + 1, sizeof(*w->words));
		w->words[w->n_words++] = (struct word){id, kind};
	}
	mutex_unlock(&w->inbox_lock);
	wake(w);
}

void workers_trust(struct gate *g, uint64_t id)
{
	say(g, id, WORD_TRUSTED);
}

void workers_parked(struct gate *g, uint64_t id, bool yes)
{
	say(g, id, yes ? WORD_PARKED : WORD_NOT_PARKED);
}

void workers_run(struct gate *g, void (*fn)(struct worker *w, void *arg), void *arg)
{
	mutex_lock(&g->job_lock);
	g->job = fn;
	g->job_arg = arg;
	g->job_number++;
	g->job_left = g->n_workers;
	for (unsigned i = 0; i < g->n_workers; i++)
		wake(g->workers[i]);
	while (g->job_left > 0)
		cond_wait(&g->job_done, &g->job_lock);
	mutex_unlock(&g->job_lock);
}

void gate_tell_notes(struct gate *g, int64_t now_ms)
{
	struct stranger_note note;

	while (strangers_note_take(g->strangers, now_ms, &note)) {
		auto_free char *address = gate_address_text(&note.address, false);
		auto_strbuf struct strbuf b = STRBUF_INIT;

		wire_put_u32(&b, WIRE_GATE_NOTE);
		wire_put_u32(&b, note.kind);
		wire_put_str(&b, address);
		wire_put_u64(&b, note.count);
		/* a reader that is behind misses it */
		(void)!wire_send(WIRE_GATE_CONTROL_FD, &b, NULL, 0);
	}
}

/* The loop */

static void dispatch(struct worker *w, const struct epoll_event *e)
{
	struct gate_event *event = e->data.ptr;

	switch (event->kind) {
	case EVENT_INBOX:
		take_inbox(w);
		break;
	case EVENT_LISTENER:
		for (unsigned i = 0; i < ACCEPTS && w->accepting; i++)
			if (!accept_one(w, container_of(event, struct listener, event)))
				break;
		gate_tell_notes(w->gate, w->now_ms);
		break;
	case EVENT_NET:
		conn_event(container_of(event, struct conn, net_event), false, e->events);
		break;
	case EVENT_PLAIN:
		conn_event(container_of(event, struct conn, plain_event), true, e->events);
		break;
	}
}

static void bury(struct worker *w)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&w->dead))) {
		TAILQ_REMOVE(&w->dead, c, timer);
		conn_free(c);
	}
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct epoll_event events[EVENTS];

	settings_thread_is(w->index);
	for (;;) {
		int n = epoll_wait(w->epoll, events, EVENTS, next_timeout(w));

		w->now_ms = time_monotonic_ms();
		/* the inbox last: it may take away listeners that other events of this turn point to */
		for (int i = 0; i < n; i++)
			if (((struct gate_event *)events[i].data.ptr)->kind != EVENT_INBOX)
				dispatch(w, &events[i]);
		for (int i = 0; i < n; i++)
			if (((struct gate_event *)events[i].data.ptr)->kind == EVENT_INBOX)
				dispatch(w, &events[i]);
		expire(w);
		bury(w);
		if (!w->accepting && !w->held && w->now_ms >= w->accept_again_ms)
			worker_accept(w, true);
	}
	return NULL;
}

static int worker_new(struct gate *g, unsigned index, struct settings *settings, struct worker **ret, struct error *err)
{
	struct worker *w = xnew(struct worker);
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = &w->inbox_event};

	w->gate = g;
	w->index = index;
	w->settings = settings_ref(settings);
	w->inbox_event.kind = EVENT_INBOX;
	w->proxies = g->proxies;
	w->now_ms = time_monotonic_ms();
	mutex_init(&w->inbox_lock);
	TAILQ_INIT(&w->dead);
	for (unsigned p = 0; p < CONN_PHASES; p++)
		TAILQ_INIT(&w->timers[p]);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->inbox_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*ret = w;
	if (w->epoll < 0 || w->inbox_fd < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->inbox_fd, &e) < 0)
		return error_errno(err, errno, "Prepare a thread");
	return 0;
}

int workers_start(struct gate *g, unsigned n, struct settings *settings, struct error *err)
{
	for (unsigned i = 0; i < n; i++) {
		int r = worker_new(g, i, settings, &g->workers[i], err);

		if (r == 0)
			r = thread_start("gate", run, g->workers[i], err);
		if (r < 0)
			return r;
		g->n_workers++;
	}
	return 0;
}
