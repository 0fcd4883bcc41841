#include "firewall/state.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

/* --- copies --- */

/* A block that texts and arrays are put behind each other in. */
struct block {
	char *at;
};

static size_t text_size(const char *s)
{
	return s ? strlen(s) + 1 : 0;
}

static const char *put_text(struct block *b, const char *s)
{
	char *at = b->at;
	size_t n = text_size(s);

	if (!s)
		return NULL;
	memcpy(at, s, n);
	b->at += n;
	return at;
}

static size_t prefixes_size(const struct firewall_allowed *a)
{
	return a->n * sizeof(*a->prefix);
}

static void put_prefixes(struct block *b, struct firewall_allowed *a)
{
	size_t size = prefixes_size(a);

	if (size)
		memcpy(b->at, a->prefix, size);
	a->prefix = size ? (const struct ip_prefix *)(void *)b->at : NULL;
	b->at += size;
}

struct firewall_network *firewall_network_copy(const struct firewall_network *n)
{
	struct firewall_network *c = xmalloc(sizeof(*c) + text_size(n->name));
	struct block b = {(char *)(c + 1)};

	*c = *n;
	c->name = put_text(&b, n->name);
	return c;
}

struct firewall_nic *firewall_nic_copy(const struct firewall_nic *n)
{
	struct firewall_nic *c = xmalloc(sizeof(*c) + prefixes_size(&n->v4) + prefixes_size(&n->v6) +
					 text_size(n->label) + text_size(n->host_if) + text_size(n->parent));
	struct block b = {(char *)(c + 1)};

	*c = *n;
	/* first what needs alignment */
	put_prefixes(&b, &c->v4);
	put_prefixes(&b, &c->v6);
	c->label = put_text(&b, n->label);
	c->host_if = put_text(&b, n->host_if);
	c->parent = put_text(&b, n->parent);
	return c;
}

struct firewall_routed *firewall_routed_new(const char *label, const char *host_if)
{
	struct firewall_routed *c = xmalloc(sizeof(*c) + text_size(label) + text_size(host_if));
	struct block b = {(char *)(c + 1)};

	c->label = put_text(&b, label);
	c->host_if = put_text(&b, host_if);
	return c;
}

struct firewall_rate *firewall_rate_new(const char *label, const char *host_if, uint64_t bytes_per_second)
{
	struct firewall_rate *c = xmalloc(sizeof(*c) + text_size(label) + text_size(host_if));
	struct block b = {(char *)(c + 1)};

	c->label = put_text(&b, label);
	c->host_if = put_text(&b, host_if);
	c->bytes_per_second = bytes_per_second;
	return c;
}

/* --- lists --- */

static const char *key_of(const void *item)
{
	return *(const char *const *)item;
}

/* Where the key is, or belongs. */
static size_t find(const struct firewall_list *l, const char *key, bool *ret_found)
{
	size_t low = 0, high = l->len;

	*ret_found = false;
	while (low < high && !*ret_found) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(key_of(l->items[mid]), key);

		if (order == 0)
			*ret_found = true;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return high;
}

void *firewall_list_get(const struct firewall_list *l, const char *key)
{
	bool found;
	size_t i = find(l, key, &found);

	return found ? l->items[i] : NULL;
}

void firewall_list_put(struct firewall_list *l, void *item)
{
	bool found;
	size_t i = find(l, key_of(item), &found);

	if (found) {
		free(l->items[i]);
	} else {
		l->items = xreallocarray(l->items, l->len + 1, sizeof(*l->items));
		memmove(l->items + i + 1, l->items + i, (l->len - i) * sizeof(*l->items));
		l->len++;
	}
	l->items[i] = item;
}

void *firewall_list_take(struct firewall_list *l, const char *key)
{
	bool found;
	size_t i = find(l, key, &found);
	void *item;

	if (!found)
		return NULL;
	item = l->items[i];
	l->len--;
	memmove(l->items + i, l->items + i + 1, (l->len - i) * sizeof(*l->items));
	return item;
}

void firewall_state_done(struct firewall_state *s)
{
	for (size_t k = 0; k < FIREWALL_KINDS; k++) {
		struct firewall_list *l = &s->lists[k];

		for (size_t i = 0; i < l->len; i++)
			free(l->items[i]);
		free(l->items);
		*l = (struct firewall_list){0};
	}
}
