#include "base/strmap.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

/*
 * Both maps are sorted arrays whose elements begin with the key, so one search serves both: the
 * index of @key, or where it would have to stand, with *@found telling which.
 */
static size_t search(const void *items, size_t len, size_t size, const char *key, bool *found)
{
	size_t lo = 0, hi = len;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const char *k = *(char *const *)(const void *)((const char *)items + mid * size);
		int c = strcmp(k, key);

		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*found = false;
	return lo;
}

void strmap_done(struct strmap *m)
{
	int saved = errno;

	for (size_t i = 0; i < m->len; i++) {
		free(m->items[i].key);
		free(m->items[i].value);
	}
	free(m->items);
	*m = STRMAP_INIT;
	errno = saved;
}

const char *strmap_get(const struct strmap *m, const char *key)
{
	bool found;
	size_t i = search(m->items, m->len, sizeof(*m->items), key, &found);

	return found ? m->items[i].value : NULL;
}

const char *strmap_get_or(const struct strmap *m, const char *key, const char *def)
{
	const char *v = strmap_get(m, key);

	return str_is_empty(v) ? def : v;
}

bool strmap_remove(struct strmap *m, const char *key)
{
	bool found;
	size_t i = search(m->items, m->len, sizeof(*m->items), key, &found);

	if (!found)
		return false;
	free(m->items[i].key);
	free(m->items[i].value);
	memmove(&m->items[i], &m->items[i + 1], (m->len - i - 1) * sizeof(*m->items));
	m->len--;
	return true;
}

void strmap_set(struct strmap *m, const char *key, const char *value)
{
	bool found;
	size_t i;

	if (!value) {
		strmap_remove(m, key);
		return;
	}
	i = search(m->items, m->len, sizeof(*m->items), key, &found);
	if (found) {
		char *copy = xstrdup(value);

		free(m->items[i].value);
		m->items[i].value = copy;
		return;
	}
	m->items = xreallocarray(m->items, m->len + 1, sizeof(*m->items));
	memmove(&m->items[i + 1], &m->items[i], (m->len - i) * sizeof(*m->items));
	m->items[i] = (struct strmap_item){.key = xstrdup(key), .value = xstrdup(value)};
	m->len++;
}

void strmap_copy(struct strmap *dst, const struct strmap *src)
{
	struct strmap copy = STRMAP_INIT;

	if (src->len) {
		copy.items = xreallocarray(NULL, src->len, sizeof(*copy.items));
		copy.len = src->len;
		for (size_t i = 0; i < src->len; i++)
			copy.items[i] = (struct strmap_item){.key = xstrdup(src->items[i].key),
							     .value = xstrdup(src->items[i].value)};
	}
	strmap_done(dst);
	*dst = copy;
}

void strmap_merge(struct strmap *dst, const struct strmap *src)
{
	for (size_t i = 0; i < src->len; i++)
		strmap_set(dst, src->items[i].key, src->items[i].value);
}

void strmap_drop_empty(struct strmap *m)
{
	for (size_t i = m->len; i-- > 0;)
		if (!*m->items[i].value)
			strmap_remove(m, m->items[i].key);
}

bool strmap_equal(const struct strmap *a, const struct strmap *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++)
		if (!streq(a->items[i].key, b->items[i].key) || !streq(a->items[i].value, b->items[i].value))
			return false;
	return true;
}

bool strmap_get_bool(const struct strmap *m, const char *key, bool def)
{
	return parse_bool_or(strmap_get(m, key), def);
}

void mapmap_done(struct mapmap *m)
{
	int saved = errno;

	for (size_t i = 0; i < m->len; i++) {
		free(m->items[i].key);
		strmap_done(&m->items[i].map);
	}
	free(m->items);
	*m = MAPMAP_INIT;
	errno = saved;
}

struct strmap *mapmap_get(const struct mapmap *m, const char *key)
{
	bool found;
	size_t i = search(m->items, m->len, sizeof(*m->items), key, &found);

	return found ? &m->items[i].map : NULL;
}

struct strmap *mapmap_ensure(struct mapmap *m, const char *key)
{
	bool found;
	size_t i = search(m->items, m->len, sizeof(*m->items), key, &found);

	if (!found) {
		m->items = xreallocarray(m->items, m->len + 1, sizeof(*m->items));
		memmove(&m->items[i + 1], &m->items[i], (m->len - i) * sizeof(*m->items));
		m->items[i] = (struct mapmap_item){.key = xstrdup(key)};
		m->len++;
	}
	return &m->items[i].map;
}

void mapmap_set(struct mapmap *m, const char *key, const struct strmap *value)
{
	strmap_copy(mapmap_ensure(m, key), value);
}

bool mapmap_remove(struct mapmap *m, const char *key)
{
	bool found;
	size_t i = search(m->items, m->len, sizeof(*m->items), key, &found);

	if (!found)
		return false;
	free(m->items[i].key);
	strmap_done(&m->items[i].map);
	memmove(&m->items[i], &m->items[i + 1], (m->len - i - 1) * sizeof(*m->items));
	m->len--;
	return true;
}

void mapmap_copy(struct mapmap *dst, const struct mapmap *src)
{
	struct mapmap copy = MAPMAP_INIT;

	for (size_t i = 0; i < src->len; i++)
		mapmap_set(&copy, src->items[i].key, &src->items[i].map);
	mapmap_done(dst);
	*dst = copy;
}

void mapmap_drop_empty(struct mapmap *m)
{
	for (size_t i = 0; i < m->len; i++)
		strmap_drop_empty(&m->items[i].map);
}

bool mapmap_equal(const struct mapmap *a, const struct mapmap *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++)
		if (!streq(a->items[i].key, b->items[i].key) || !strmap_equal(&a->items[i].map, &b->items[i].map))
			return false;
	return true;
}
