#include "gate/strangers.h"

#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/thread.h"

#define HASH_SIZE 4096u
#define IDLE_MS 2000 /* a stranger whose request was answered may be dropped when it has been silent for so long */
#define LATE_MS 5000 /* and one whose request has taken so long, when its source needs room */
#define SMALL 4u     /* sources with so few connections give way only when no request of others can */
#define VOUCHED_MS (5 * 60000) /* how long lxd's word counts for the source */
#define REMEMBERED 4096u       /* sources without connections, of either kind, whose handshakes are remembered */
#define NOTE_MS 1000

TAILQ_HEAD(stranger_list, stranger);
TAILQ_HEAD(source_list, stranger_source);

/* From the single source to the network that it is part of; IPv4 has the first only. */
static const struct {
	unsigned bits;      /* of the first half of an IPv6 address */
	unsigned max;       /* connections */
	int64_t per_second; /* handshakes */
	int64_t burst;
} levels[] = {
	{64, STRANGERS_PER_SOURCE, 50, 200},
	{56, STRANGERS_PER_56, 100, 400},
	{48, STRANGERS_PER_48, 200, 800},
};

struct stranger_source {
	uint64_t key;
	unsigned level;
	bool v6;
	unsigned refs; /* a network: its sources, with connections or without */
	unsigned count, n_late;
	struct stranger_source *parent;
	struct source_list children; /* those that have connections */
	struct stranger_list early;  /* handshake or request head unfinished */
	struct stranger_list late;
	struct gate_address address;
	int64_t tokens; /* thousandths of handshakes that may be made now; negative: promised to those that wait */
	int64_t filled_ms;
	int64_t vouched_until_ms;
	struct source_list *remembered; /* without connections: in which list */
	TAILQ_ENTRY(stranger_source) hash_link;
	TAILQ_ENTRY(stranger_source) rank_link; /* without parent: among those with as many; else among the parent's */
	TAILQ_ENTRY(stranger_source) remembered_link;
};

struct strangers {
	struct mutex lock;
	uint64_t seed;
	unsigned total;
	struct source_list hash[HASH_SIZE];
	struct source_list rank[STRANGERS_PER_48 + 1]; /* those without parent, by count */
	struct source_list remembered[2];              /* without connections, oldest first; [1]: vouched for */
	unsigned n_remembered[2];
	struct stranger_note notes[WIRE_NOTE_MAX];
	int64_t noted_ms[WIRE_NOTE_MAX];
};

struct strangers *strangers_new(void)
{
	struct strangers *t = xnew(struct strangers);

	mutex_init(&t->lock);
	/* an attacker must not know which addresses share a list */
	(void)!getrandom(&t->seed, sizeof(t->seed), 0);
	for (size_t i = 0; i < HASH_SIZE; i++)
		TAILQ_INIT(&t->hash[i]);
	for (size_t i = 0; i < ARRAY_SIZE(t->rank); i++)
		TAILQ_INIT(&t->rank[i]);
	for (size_t i = 0; i < ARRAY_SIZE(t->remembered); i++)
		TAILQ_INIT(&t->remembered[i]);
	for (int64_t *at = t->noted_ms; at < t->noted_ms + WIRE_NOTE_MAX; at++)
		*at = INT64_MIN / 2;
	return t;
}

void strangers_free(struct strangers *t)
{
	struct stranger_source *s;

	for (size_t i = 0; i < HASH_SIZE; i++)
		while ((s = TAILQ_FIRST(&t->hash[i]))) {
			TAILQ_REMOVE(&t->hash[i], s, hash_link);
			free(s);
		}
	mutex_done(&t->lock);
	free(t);
}

/* Sources and networks. All of this under the lock. */

/* IPv4: the address; IPv6: as much of its first half as the level says. */
static uint64_t key_of(const struct gate_address *a, unsigned level)
{
	uint64_t key = 0;

	memcpy(&key, a->bytes, a->v6 ? levels[level].bits / 8 : 4);
	return key;
}

static struct source_list *hash_of(struct strangers *t, uint64_t key, unsigned level)
{
	uint64_t h = (key ^ t->seed ^ level) * 0x9e3779b97f4a7c15ULL;

	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ULL;
	return &t->hash[(h >> 40) % HASH_SIZE];
}

static struct stranger_source *source_find(struct strangers *t, const struct gate_address *a, unsigned level)
{
	uint64_t key = key_of(a, level);
	struct stranger_source *s;

	TAILQ_FOREACH(s, hash_of(t, key, level), hash_link)
	if (s->key == key && s->level == level && s->v6 == a->v6)
		return s;
	return NULL;
}

/* Found or made, with the networks that it belongs to. A new one must be used, or remembered. */
static struct stranger_source *source_get(struct strangers *t, const struct gate_address *a, unsigned level,
					  int64_t now_ms)
{
	struct stranger_source *s = source_find(t, a, level);

	if (s)
		return s;
	s = xnew(struct stranger_source);
	s->key = key_of(a, level);
	s->level = level;
	s->v6 = a->v6;
	s->address = *a;
	s->tokens = levels[level].burst * 1000;
	s->filled_ms = now_ms;
	TAILQ_INIT(&s->children);
	TAILQ_INIT(&s->early);
	TAILQ_INIT(&s->late);
	TAILQ_INSERT_TAIL(hash_of(t, s->key, level), s, hash_link);
	if (a->v6 && level + 1 < ARRAY_SIZE(levels)) {
		s->parent = source_get(t, a, level + 1, now_ms);
		s->parent->refs++;
	} else {
		TAILQ_INSERT_TAIL(&t->rank[0], s, rank_link);
	}
	return s;
}

/* Nothing is left of it, nor of networks that have no other. */
static void source_drop(struct strangers *t, struct stranger_source *s)
{
	while (s) {
		struct stranger_source *parent = s->parent;

		TAILQ_REMOVE(hash_of(t, s->key, s->level), s, hash_link);
		if (!parent)
			TAILQ_REMOVE(&t->rank[0], s, rank_link);
		free(s);
		s = parent && --parent->refs == 0 ? parent : NULL;
	}
}

static void forget(struct strangers *t, struct stranger_source *s)
{
	if (!s->remembered)
		return;
	TAILQ_REMOVE(s->remembered, s, remembered_link);
	t->n_remembered[s->remembered - t->remembered]--;
	s->remembered = NULL;
}

/* A source without connections: its handshakes, and lxd's word for it, still count. */
static void remember(struct strangers *t, struct stranger_source *s)
{
	unsigned which = s->vouched_until_ms > 0;

	forget(t, s);
	s->remembered = &t->remembered[which];
	TAILQ_INSERT_TAIL(s->remembered, s, remembered_link);
	if (++t->n_remembered[which] <= REMEMBERED)
		return;
	s = TAILQ_FIRST(&t->remembered[which]);
	forget(t, s);
	source_drop(t, s);
}

/* One connection more or less, for the source and its networks. */
static void count_change(struct strangers *t, struct stranger_source *source, int by)
{
	t->total = (unsigned)((int)t->total + by);
	for (struct stranger_source *s = source; s; s = s->parent) {
		if (!s->parent)
			TAILQ_REMOVE(&t->rank[s->count], s, rank_link);
		else if (s->count == 0)
			TAILQ_INSERT_TAIL(&s->parent->children, s, rank_link);
		s->count = (unsigned)((int)s->count + by);
		if (!s->parent)
			TAILQ_INSERT_TAIL(&t->rank[s->count], s, rank_link);
		else if (s->count == 0)
			TAILQ_REMOVE(&s->parent->children, s, rank_link);
	}
}

static void late_change(struct stranger_source *source, int by)
{
	for (struct stranger_source *s = source; s; s = s->parent)
		s->n_late = (unsigned)((int)s->n_late + by);
}

static void token_back(struct stranger *s)
{
	for (struct stranger_source *at = s->queued ? s->source : NULL; at; at = at->parent)
		at->tokens += 1000;
	s->queued = false;
}

static void remove_one(struct strangers *t, struct stranger *s)
{
	struct stranger_source *source = s->source;

	token_back(s);
	TAILQ_REMOVE(s->late ? &source->late : &source->early, s, link);
	if (s->late)
		late_change(source, -1);
	s->source = NULL;
	count_change(t, source, -1);
	if (source->count == 0)
		remember(t, source);
}

/* Who goes */

/* Of those whose request was answered, the one that was silent longest; NULL when none was for long. */
static struct stranger *idle_longest(struct stranger_source *source, int64_t now_ms)
{
	struct stranger *best = NULL, *s;
	int64_t best_ms = now_ms - IDLE_MS;

	TAILQ_FOREACH(s, &source->late, link)
	{
		int64_t active = atomic_load_explicit(&s->active_ms, memory_order_relaxed);

		if (active <= best_ms) {
			best_ms = active;
			best = s;
		}
	}
	return best;
}

/* @others: it is others that need room, so that even a request that has only just come gives way. */
static struct stranger *victim_of(struct stranger_source *source, bool others, int64_t now_ms)
{
	struct stranger *early = TAILQ_FIRST(&source->early), *late = TAILQ_FIRST(&source->late);
	struct stranger *idle;

	if (early && source->n_late <= source->count / 2)
		return early;
	idle = idle_longest(source, now_ms);
	if (idle)
		return idle;
	if (late && (others || now_ms - late->late_ms >= LATE_MS))
		return late;
	return early;
}

/* End one connection of @source. */
static bool drop_from(struct strangers *t, struct stranger_source *source, bool others, enum wire_gate_note kind,
		      int64_t now_ms)
{
	struct stranger *victim = source ? victim_of(source, others, now_ms) : NULL;

	if (!victim)
		return false;
	t->notes[kind].address = source->address;
	t->notes[kind].count++;
	/* its thread sees the end, and closes the fd only after it has asked for this lock */
	shutdown(victim->fd, SHUT_RDWR);
	remove_one(t, victim);
	return true;
}

/* What is asked of a source that is to give way. */
struct choice {
	bool spare_vouched; /* lxd has not vouched for it */
	bool has_late;      /* it has a connection whose request has come */
	int64_t now_ms;
};

/* The source with most connections in a network (or the source itself) that is as @c wants it; NULL when none is. */
static struct stranger_source *largest_in(struct stranger_source *s, const struct choice *c)
{
	struct stranger_source *best = NULL, *child;

	if ((c->has_late && s->n_late == 0) || (c->spare_vouched && s->vouched_until_ms > c->now_ms))
		return NULL;
	if (s->level == 0)
		return s->count ? s : NULL;
	TAILQ_FOREACH(child, &s->children, rank_link)
	{
		struct stranger_source *found = !best || child->count > best->count ? largest_in(child, c) : NULL;

		if (found && (!best || found->count > best->count))
			best = found;
	}
	return best;
}

/* In all, among those with more than @above connections; the networks with most first. */
static struct stranger_source *largest(struct strangers *t, unsigned above, const struct choice *c)
{
	struct stranger_source *top, *found;

	for (unsigned n = ARRAY_SIZE(t->rank) - 1; n > above; n--)
		TAILQ_FOREACH(top, &t->rank[n], rank_link)
		{
			found = largest_in(top, c);
			if (found)
				return found;
		}
	return NULL;
}

static bool drop_any(struct strangers *t, int64_t now_ms)
{
	struct stranger_source *s = largest(t, SMALL, &(struct choice){.spare_vouched = true, .now_ms = now_ms});

	if (!s)
		s = largest(t, 0, &(struct choice){.spare_vouched = true, .has_late = true, .now_ms = now_ms});
	if (!s)
		s = largest(t, 0, &(struct choice){.spare_vouched = true, .now_ms = now_ms});
	if (!s)
		s = largest(t, 0, &(struct choice){.now_ms = now_ms});
	return drop_from(t, s, true, WIRE_NOTE_TOTAL_FULL, now_ms);
}

/* Room in @node, which is @source or a network of it. */
static bool drop_in(struct strangers *t, struct stranger_source *source, struct stranger_source *node, int64_t now_ms)
{
	struct stranger_source *s = source;

	if (node != source)
		s = largest_in(node, &(struct choice){.spare_vouched = true, .now_ms = now_ms})
			    ?: largest_in(node, &(struct choice){.now_ms = now_ms});
	return drop_from(t, s, node != source, WIRE_NOTE_SOURCE_FULL, now_ms);
}

static void note_refusal(struct strangers *t, enum wire_gate_note kind, const struct gate_address *address)
{
	t->notes[kind].address = *address;
	t->notes[kind].count++;
}

static bool make_room(struct strangers *t, struct stranger_source *source, const struct gate_address *address,
		      int64_t now_ms)
{
	for (struct stranger_source *s = source; s; s = s->parent)
		if (s->count >= levels[s->level].max && !drop_in(t, source, s, now_ms)) {
			note_refusal(t, WIRE_NOTE_SOURCE_FULL, address);
			return false;
		}
	if (t->total >= STRANGERS_MAX && !drop_any(t, now_ms)) {
		note_refusal(t, WIRE_NOTE_TOTAL_FULL, address);
		return false;
	}
	return true;
}

static void add_one(struct strangers *t, struct stranger_source *source, struct stranger *s, int fd, int64_t now_ms)
{
	s->source = source;
	s->fd = fd;
	s->late = s->queued = false;
	atomic_store_explicit(&s->active_ms, now_ms, memory_order_relaxed);
	TAILQ_INSERT_TAIL(&source->early, s, link);
	count_change(t, source, 1);
}

bool strangers_enter(struct strangers *t, struct stranger *s, int fd, const struct gate_address *address,
		     int64_t now_ms)
{
	struct stranger_source *source;
	bool room;

	mutex_lock(&t->lock);
	source = source_get(t, address, 0, now_ms);
	/* it must not be forgotten while room is made */
	forget(t, source);
	room = make_room(t, source, address, now_ms);
	/* who made room may have been the last of this very source */
	forget(t, source);
	if (room)
		add_one(t, source, s, fd, now_ms);
	else if (source->count == 0)
		remember(t, source);
	mutex_unlock(&t->lock);
	return room;
}

/* Take one of @s, which may have to be waited for. */
static int64_t take_token(struct stranger_source *s, int64_t now_ms)
{
	const int64_t rate = levels[s->level].per_second;

	s->tokens = MIN_OF(s->tokens + MAX_OF(now_ms - s->filled_ms, 0) * rate, levels[s->level].burst * 1000);
	s->filled_ms = MAX_OF(s->filled_ms, now_ms);
	s->tokens -= 1000;
	return s->tokens < 0 ? (rate - 1 - s->tokens) / rate : 0;
}

int64_t strangers_handshake_wait(struct strangers *t, struct stranger *s, int64_t now_ms)
{
	int64_t wait = 0;

	mutex_lock(&t->lock);
	if (s->source && s->source->vouched_until_ms <= now_ms)
		for (struct stranger_source *at = s->source; at; at = at->parent) {
			int64_t its = take_token(at, now_ms);

			wait = MAX_OF(wait, its);
		}
	s->queued = wait > 0;
	mutex_unlock(&t->lock);
	return wait;
}

void strangers_handshake_begin(struct strangers *t, struct stranger *s)
{
	mutex_lock(&t->lock);
	s->queued = false;
	mutex_unlock(&t->lock);
}

void strangers_promote(struct strangers *t, struct stranger *s, int64_t now_ms)
{
	mutex_lock(&t->lock);
	if (s->source && !s->late) {
		TAILQ_REMOVE(&s->source->early, s, link);
		TAILQ_INSERT_TAIL(&s->source->late, s, link);
		s->late = true;
		s->late_ms = now_ms;
		late_change(s->source, 1);
	}
	mutex_unlock(&t->lock);
}

void strangers_vouch(struct strangers *t, struct stranger *s, const struct gate_address *address, int64_t now_ms)
{
	struct stranger_source *source;

	mutex_lock(&t->lock);
	source = source_get(t, address, 0, now_ms);
	source->vouched_until_ms = now_ms + VOUCHED_MS;
	if (s->source)
		remove_one(t, s);
	else if (source->count == 0)
		remember(t, source);
	mutex_unlock(&t->lock);
}

void strangers_leave(struct strangers *t, struct stranger *s)
{
	mutex_lock(&t->lock);
	if (s->source)
		remove_one(t, s);
	mutex_unlock(&t->lock);
}

bool strangers_drop_one(struct strangers *t, int64_t now_ms)
{
	bool dropped;

	mutex_lock(&t->lock);
	dropped = drop_any(t, now_ms);
	mutex_unlock(&t->lock);
	return dropped;
}

void strangers_note_full(struct strangers *t, const struct gate_address *address)
{
	mutex_lock(&t->lock);
	note_refusal(t, WIRE_NOTE_TOTAL_FULL, address);
	mutex_unlock(&t->lock);
}

bool strangers_note_take(struct strangers *t, int64_t now_ms, struct stranger_note *ret)
{
	bool found = false;

	mutex_lock(&t->lock);
	for (enum wire_gate_note k = 0; k < WIRE_NOTE_MAX && !found; k++) {
		if (t->notes[k].count == 0 || now_ms - t->noted_ms[k] < NOTE_MS)
			continue;
		*ret = t->notes[k];
		ret->kind = k;
		t->notes[k].count = 0;
		t->noted_ms[k] = now_ms;
		found = true;
	}
	mutex_unlock(&t->lock);
	return found;
}
