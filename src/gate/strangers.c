#include "gate/strangers.h"

#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/thread.h"

#define HASH_SIZE 4096u
#define IDLE_MS 2000 /* a stranger whose request was answered may be dropped when it has been silent for so long */
#define NOTE_MS 1000

TAILQ_HEAD(stranger_list, stranger);

struct stranger_source {
	uint64_t key;
	bool v6;
	unsigned count;
	struct stranger_list early; /* handshake or request head unfinished */
	struct stranger_list late;
	struct gate_address address;
	TAILQ_ENTRY(stranger_source) hash_link;
	TAILQ_ENTRY(stranger_source) rank_link;
};

TAILQ_HEAD(source_list, stranger_source);

struct strangers {
	struct mutex lock;
	uint64_t seed;
	unsigned total;
	struct source_list hash[HASH_SIZE];
	struct source_list rank[STRANGERS_PER_SOURCE + 1]; /* by count */
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
	for (size_t i = 0; i <= STRANGERS_PER_SOURCE; i++)
		TAILQ_INIT(&t->rank[i]);
	for (int64_t *at = t->noted_ms; at < t->noted_ms + WIRE_NOTE_MAX; at++)
		*at = INT64_MIN / 2;
	return t;
}

void strangers_free(struct strangers *t)
{
	mutex_done(&t->lock);
	free(t);
}

/* IPv4: the address; IPv6: its first half, which one customer has for itself. */
static uint64_t key_of(const struct gate_address *a)
{
	uint64_t key = 0;

	memcpy(&key, a->bytes, a->v6 ? 8 : 4);
	return key;
}

static struct source_list *hash_of(struct strangers *t, uint64_t key)
{
	uint64_t h = (key ^ t->seed) * 0x9e3779b97f4a7c15ULL;

	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ULL;
	return &t->hash[(h >> 40) % HASH_SIZE];
}

static struct stranger_source *source_find(struct strangers *t, const struct gate_address *a)
{
	uint64_t key = key_of(a);
	struct stranger_source *s;

	TAILQ_FOREACH(s, hash_of(t, key), hash_link)
	if (s->key == key && s->v6 == a->v6)
		return s;
	return NULL;
}

static struct stranger_source *source_new(struct strangers *t, const struct gate_address *a)
{
	struct stranger_source *s = xnew(struct stranger_source);

	s->key = key_of(a);
	s->v6 = a->v6;
	s->address = *a;
	TAILQ_INIT(&s->early);
	TAILQ_INIT(&s->late);
	TAILQ_INSERT_TAIL(hash_of(t, s->key), s, hash_link);
	TAILQ_INSERT_TAIL(&t->rank[0], s, rank_link);
	return s;
}

static void count_change(struct strangers *t, struct stranger_source *s, int by)
{
	TAILQ_REMOVE(&t->rank[s->count], s, rank_link);
	s->count = (unsigned)((int)s->count + by);
	t->total = (unsigned)((int)t->total + by);
	TAILQ_INSERT_TAIL(&t->rank[s->count], s, rank_link);
}

/* Under the lock. */
static void remove_one(struct strangers *t, struct stranger *s)
{
	struct stranger_source *source = s->source;

	TAILQ_REMOVE(s->late ? &source->late : &source->early, s, link);
	s->source = NULL;
	count_change(t, source, -1);
	if (source->count > 0)
		return;
	TAILQ_REMOVE(hash_of(t, source->key), source, hash_link);
	TAILQ_REMOVE(&t->rank[0], source, rank_link);
	free(source);
}

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

/* End one connection of @source. */
static bool drop_from(struct strangers *t, struct stranger_source *source, enum wire_gate_note kind, int64_t now_ms)
{
	struct stranger *victim = TAILQ_FIRST(&source->early);

	if (!victim)
		victim = idle_longest(source, now_ms);
	if (!victim)
		return false;
	t->notes[kind].address = source->address;
	t->notes[kind].count++;
	/* its thread sees the end, and closes the fd only after it has asked for this lock */
	shutdown(victim->fd, SHUT_RDWR);
	remove_one(t, victim);
	return true;
}

static bool drop_from_largest(struct strangers *t, int64_t now_ms)
{
	struct stranger_source *source;

	for (unsigned n = STRANGERS_PER_SOURCE; n > 0; n--)
		TAILQ_FOREACH(source, &t->rank[n], rank_link)
	if (drop_from(t, source, WIRE_NOTE_TOTAL_FULL, now_ms))
		return true;
	return false;
}

static void note_refusal(struct strangers *t, enum wire_gate_note kind, const struct gate_address *address)
{
	t->notes[kind].address = *address;
	t->notes[kind].count++;
}

static bool make_room(struct strangers *t, const struct gate_address *address, int64_t now_ms)
{
	struct stranger_source *source = source_find(t, address);

	if (source && source->count >= STRANGERS_PER_SOURCE && !drop_from(t, source, WIRE_NOTE_SOURCE_FULL, now_ms)) {
		note_refusal(t, WIRE_NOTE_SOURCE_FULL, address);
		return false;
	}
	if (t->total >= STRANGERS_MAX && !drop_from_largest(t, now_ms)) {
		note_refusal(t, WIRE_NOTE_TOTAL_FULL, address);
		return false;
	}
	return true;
}

bool strangers_enter(struct strangers *t, struct stranger *s, int fd, const struct gate_address *address,
		     int64_t now_ms)
{
	struct stranger_source *source;
	bool room;

	mutex_lock(&t->lock);
	room = make_room(t, address, now_ms);
	if (room) {
		source = source_find(t, address) ?: source_new(t, address);
		s->source = source;
		s->fd = fd;
		s->late = false;
		atomic_store_explicit(&s->active_ms, now_ms, memory_order_relaxed);
		TAILQ_INSERT_TAIL(&source->early, s, link);
		count_change(t, source, 1);
	}
	mutex_unlock(&t->lock);
	return room;
}

void strangers_promote(struct strangers *t, struct stranger *s)
{
	mutex_lock(&t->lock);
	if (s->source && !s->late) {
		TAILQ_REMOVE(&s->source->early, s, link);
		TAILQ_INSERT_TAIL(&s->source->late, s, link);
		s->late = true;
	}
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
	dropped = drop_from_largest(t, now_ms);
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
