/* Open addressing with linear probing; at most half full. */
#include "storage/inodeset.h"

#include <string.h>

#include "base/alloc.h"

struct inodeset_slot {
	uint64_t dev, ino, number;
	int64_t birth_sec;
	uint32_t birth_nsec;
	bool used;
};

void inodeset_done(struct inodeset *s)
{
	free(s->slots);
	*s = INODESET_INIT;
}

static struct inodeset_slot *find(const struct inodeset *s, const struct inodeset_slot *key)
{
	uint64_t h = (key->ino ^ (key->dev << 32) ^ (uint64_t)key->birth_nsec) * 0x9e3779b97f4a7c15ULL;
	uint64_t i = (h >> 20) & (s->room - 1);

	for (;; i = (i + 1) & (s->room - 1)) {
		struct inodeset_slot *e = &s->slots[i];

		if (!e->used || (e->ino == key->ino && e->dev == key->dev && e->birth_sec == key->birth_sec &&
				 e->birth_nsec == key->birth_nsec))
			return e;
	}
}

static void grow(struct inodeset *s)
{
	struct inodeset bigger = {.len = s->len, .room = s->room ? 2 * s->room : 64};

	bigger.slots = xnew_array(struct inodeset_slot, bigger.room);
	for (uint64_t i = 0; i < s->room; i++)
		if (s->slots[i].used)
			*find(&bigger, &s->slots[i]) = s->slots[i];
	free(s->slots);
	*s = bigger;
}

bool inodeset_add(struct inodeset *s, const struct statx *stx, uint64_t *ret_number)
{
	bool has_birth = stx->stx_mask & STATX_BTIME;
	struct inodeset_slot key = {
		.dev = ((uint64_t)stx->stx_dev_major << 32) | stx->stx_dev_minor,
		.ino = stx->stx_ino,
		.number = s->len,
		.birth_sec = has_birth ? stx->stx_btime.tv_sec : 0,
		.birth_nsec = has_birth ? stx->stx_btime.tv_nsec : 0,
		.used = true,
	};
	struct inodeset_slot *e;

	if (2 * (s->len + 1) > s->room)
		grow(s);
	e = find(s, &key);
	if (e->used) {
		*ret_number = e->number;
		return true;
	}
	*e = key;
	*ret_number = s->len++;
	return false;
}
