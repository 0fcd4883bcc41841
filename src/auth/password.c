/* The trust password's guard: who may guess, how often, and at what price to us. */
#include "auth/password.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"

/*
 * 24 MiB and two passes: about 40 ms of one processor. The memory is mapped for the call and unmapped after it, at most
 * twice at once, so that an idle daemon is no larger for it; OWASP's floor for argon2id is 19 MiB and two passes.
 */
#define HASH_PASSES 2
#define HASH_MEMORY ((size_t)24 << 20)
#define HASH_PREFIX "$argon2id$"

/* Of a random text that nobody kept: compared with when no password is set. Same price as the hashes we make. */
static const char dummy_hash[] = "$argon2id$v=19$m=24576,t=2,p=1$PGbO6KURwAeLHusUQVvNow$"
				 "FXqPkcsxZRaMcEBCiQldBZptg7LbPAx5uqm1XpNtzX4";

#define ACTIVE_MAX 2
#define WAITING_MAX 16

#define WINDOW_MS (10 * 60 * 1000)
#define SOURCE_FREE 5
#define SOURCE_DELAY_MS 2000
#define SOURCE_DELAY_MAX_MS 60000
#define SOURCES_MAX 16384
#define BUCKETS 1024

#define MINUTE_MS 60000
#define SHARED_MAX 30
#define RESERVE_MAX 10
#define RESERVE_PER_MINUTE 4

/* What comes back to the shared budget each minute, by how long it has been exhausted. */
static const unsigned shared_per_minute[] = {12, 6, 3, 2};

enum scope { SCOPE_NEAR, SCOPE_IPV4, SCOPE_IPV6, SCOPE_MAX };
enum charge { CHARGE_SHARED, CHARGE_RESERVE };

struct source {
	uint64_t net; /* IPv4 address, or the upper half of an IPv6 one */
	enum scope scope;
	bool ipv6;
	uint16_t next;     /* of its bucket: index + 1, 0 ends */
	unsigned failures; /* within the window before failed_ms */
	unsigned pending;  /* being looked at */
	unsigned delays;   /* how many have been imposed */
	int64_t failed_ms;
	int64_t blocked_ms; /* until then */
	int64_t seen_ms;
};

/* Counted in thousandths of an attempt. */
struct budget {
	int64_t shared;
	int64_t reserve;
	int64_t filled_ms;
	unsigned level; /* of shared_per_minute */
	int64_t level_ms;
	int64_t refused_ms;
};

struct password_guard {
	struct password_guard_spec spec;
	struct mutex lock;
	struct cond freed;
	struct source *sources GUARDED_BY(lock); /* oldest first */
	uint16_t buckets[BUCKETS] GUARDED_BY(lock);
	size_t n GUARDED_BY(lock);
	size_t room GUARDED_BY(lock);
	struct budget budgets[SCOPE_MAX] GUARDED_BY(lock);
	unsigned active GUARDED_BY(lock);
	unsigned waiting GUARDED_BY(lock);
	struct password_stats stats GUARDED_BY(lock);
};

int password_hash(const char *plain, char **ret, struct error *err)
{
	char hash[crypto_pwhash_STRBYTES];

	if (!*plain)
		return error_set(err, 400, "The trust password is empty");
	if (strlen(plain) > PASSWORD_MAX)
		return error_set(err, 400, "The trust password is longer than %d bytes", PASSWORD_MAX);
	if (crypto_pwhash_str_alg(hash, plain, strlen(plain), HASH_PASSES, HASH_MEMORY, crypto_pwhash_ALG_ARGON2ID13) <
	    0)
		return error_set(err, 500, "Not enough memory for hashing the trust password");
	*ret = xstrdup(hash);
	return 0;
}

bool password_is_hash(const char *text)
{
	return startswith(text, HASH_PREFIX) && strlen(text) < crypto_pwhash_STRBYTES;
}

static int64_t real_now(void *arg UNUSED)
{
	return time_monotonic_ms();
}

static bool real_verify(const char *hash, const char *plain, void *arg UNUSED)
{
	return crypto_pwhash_str_verify(hash, plain, strlen(plain)) == 0;
}

struct password_guard *password_guard_new(const struct password_guard_spec *spec) UNSHARED
{
	struct password_guard *g = xnew(struct password_guard);

	if (spec)
		g->spec = *spec;
	if (!g->spec.now_ms)
		g->spec.now_ms = real_now;
	if (!g->spec.verify)
		g->spec.verify = real_verify;
	mutex_init(&g->lock);
	cond_init(&g->freed);
	for (int k = 0; k < SCOPE_MAX; k++)
		g->budgets[k] = (struct budget){.shared = SHARED_MAX * 1000,
						.reserve = RESERVE_MAX * 1000,
						.filled_ms = g->spec.now_ms(g->spec.arg)};
	return g;
}

void password_guard_free(struct password_guard *g) UNSHARED
{
	if (!g)
		return;
	free(g->sources);
	cond_done(&g->freed);
	mutex_done(&g->lock);
	free(g);
}

/* --- where it comes from --- */

static bool is_near_ipv4(uint32_t a)
{
	return a >> 24 == 127 || a >> 24 == 10 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8 || a >> 16 == 0xa9fe;
}

static void source_ipv4(uint32_t address, struct source *ret)
{
	ret->net = address;
	ret->scope = is_near_ipv4(address) ? SCOPE_NEAR : SCOPE_IPV4;
}

static void source_ipv6(const struct in6_addr *a, struct source *ret)
{
	static const struct in6_addr loopback = IN6ADDR_LOOPBACK_INIT;
	const unsigned char *b = a->s6_addr;
	bool near = memcmp(a, &loopback, sizeof(*a)) == 0 || (b[0] & 0xfe) == 0xfc ||
		    (b[0] == 0xfe && (b[1] & 0xc0) == 0x80);

	ret->ipv6 = true;
	for (int k = 0; k < 8; k++)
		ret->net = ret->net << 8 | b[k];
	ret->scope = near ? SCOPE_NEAR : SCOPE_IPV6;
}

/* What is no address counts as one source of its own. */
static struct source source_parse(const char *host)
{
	struct source s = {.ipv6 = true, .scope = SCOPE_IPV6};
	char text[INET6_ADDRSTRLEN] = "";
	size_t len = strcspn(host, "%");
	struct in6_addr a6;
	struct in_addr a4;

	if (len < sizeof(text))
		memcpy(text, host, len);
	if (inet_pton(AF_INET, text, &a4) == 1) {
		s.ipv6 = false;
		source_ipv4(ntohl(a4.s_addr), &s);
	} else if (inet_pton(AF_INET6, text, &a6) == 1) {
		if (IN6_IS_ADDR_V4MAPPED(&a6)) {
			s.ipv6 = false;
			source_ipv4((uint32_t)a6.s6_addr[12] << 24 | (uint32_t)a6.s6_addr[13] << 16 |
					    (uint32_t)a6.s6_addr[14] << 8 | a6.s6_addr[15],
				    &s);
		} else {
			source_ipv6(&a6, &s);
		}
	}
	return s;
}

static unsigned bucket_of(const struct source *s)
{
	uint64_t mixed = (s->net ^ (s->ipv6 ? 0x5555 : 0)) * UINT64_C(0x9e3779b97f4a7c15);

	return (unsigned)(mixed >> 54); /* BUCKETS is 2^10 */
}

static struct source *find_locked(struct password_guard *g, const struct source *key) REQUIRES(g->lock)
{
	for (unsigned i = g->buckets[bucket_of(key)]; i; i = g->sources[i - 1].next)
		if (g->sources[i - 1].net == key->net && g->sources[i - 1].ipv6 == key->ipv6)
			return &g->sources[i - 1];
	return NULL;
}

static void link_locked(struct password_guard *g, size_t i) REQUIRES(g->lock)
{
	uint16_t *head = &g->buckets[bucket_of(&g->sources[i])];

	g->sources[i].next = *head;
	*head = (uint16_t)(i + 1);
}

/* Forget who has been quiet; when the table is full all the same, the eighth of it that is oldest. */
static void make_room_locked(struct password_guard *g, int64_t now) REQUIRES(g->lock)
{
	size_t kept = 0, drop = 0;

	for (size_t i = 0; i < g->n; i++)
		if (g->sources[i].pending || now - g->sources[i].seen_ms < WINDOW_MS)
			g->sources[kept++] = g->sources[i];
	g->n = kept;
	if (g->n == SOURCES_MAX)
		drop = SOURCES_MAX / 8;
	kept = 0;
	for (size_t i = 0; i < g->n; i++)
		if (i >= drop || g->sources[i].pending)
			g->sources[kept++] = g->sources[i];
	g->n = kept;
	memset(g->buckets, 0, sizeof(g->buckets));
	for (size_t i = 0; i < g->n; i++)
		link_locked(g, i);
}

static struct source *insert_locked(struct password_guard *g, const struct source *key, int64_t now) REQUIRES(g->lock)
{
	if (g->n == g->room) {
		make_room_locked(g, now);
		if (g->n * 2 >= g->room) {
			g->room = MIN_OF(g->n * 2 + 16, (size_t)SOURCES_MAX);
			g->sources = xreallocarray(g->sources, g->room, sizeof(*g->sources));
		}
	}
	g->sources[g->n] = *key;
	link_locked(g, g->n);
	return &g->sources[g->n++];
}

/* --- what is left to spend --- */

static void refill(struct budget *b, int64_t now)
{
	int64_t passed = MIN_OF(now - b->filled_ms, (int64_t)WINDOW_MS * 6);

	/* calm again: two minutes without a refusal for each level */
	while (b->level && now - b->refused_ms >= 2 * MINUTE_MS && now - b->level_ms >= 2 * MINUTE_MS) {
		b->level--;
		b->level_ms += 2 * MINUTE_MS;
	}
	b->shared = MIN_OF(b->shared + passed * shared_per_minute[b->level] * 1000 / MINUTE_MS, SHARED_MAX * 1000);
	b->reserve = MIN_OF(b->reserve + passed * RESERVE_PER_MINUTE * 1000 / MINUTE_MS, RESERVE_MAX * 1000);
	b->filled_ms = now;
}

static bool spend(struct budget *b, bool newcomer, int64_t now, enum charge *ret)
{
	/* often enough that nothing is lost by rounding, seldom enough that a flood does not round all away */
	if (now - b->filled_ms >= 1000)
		refill(b, now);
	if (b->shared >= 1000) {
		b->shared -= 1000;
		*ret = CHARGE_SHARED;
		return true;
	}
	if (newcomer && b->reserve >= 1000) {
		b->reserve -= 1000;
		*ret = CHARGE_RESERVE;
		return true;
	}
	b->refused_ms = now;
	if (b->level + 1 < ARRAY_SIZE(shared_per_minute) && now - b->level_ms >= MINUTE_MS) {
		b->level++;
		b->level_ms = now;
	}
	return false;
}

static void refund(struct budget *b, enum charge charge)
{
	if (charge == CHARGE_SHARED)
		b->shared = MIN_OF(b->shared + 1000, SHARED_MAX * 1000);
	else
		b->reserve = MIN_OF(b->reserve + 1000, RESERVE_MAX * 1000);
}

/* --- a guess --- */

/* May @s try now, by its own record? What is being looked at counts as failed until it is known. */
static bool source_may(struct source *s, int64_t now)
{
	if (s->failures && now - s->failed_ms >= WINDOW_MS) {
		s->failures = 0;
		s->delays = 0;
	}
	if (s->failures + s->pending < SOURCE_FREE)
		return true;
	return s->pending == 0 && now >= s->blocked_ms;
}

static bool admit_locked(struct password_guard *g, const struct source *key, enum charge *ret) REQUIRES(g->lock)
{
	int64_t now = g->spec.now_ms(g->spec.arg);
	struct source *s = find_locked(g, key);
	bool newcomer = !s || now - s->seen_ms >= WINDOW_MS;

	if (!s)
		s = insert_locked(g, key, now);
	s->seen_ms = now;
	if (!source_may(s, now) || !spend(&g->budgets[key->scope], newcomer, now, ret))
		return false;
	s->pending++;
	return true;
}

/* Wait for a turn; false: the queue is full. */
static bool enter_locked(struct password_guard *g) REQUIRES(g->lock)
{
	if (g->active == ACTIVE_MAX) {
		if (g->waiting == WAITING_MAX)
			return false;
		g->waiting++;
		while (g->active == ACTIVE_MAX)
			cond_wait(&g->freed, &g->lock);
		g->waiting--;
	}
	g->active++;
	g->stats.evaluated++;
	return true;
}

static void conclude_locked(struct password_guard *g, const struct source *key, enum charge charge, bool right)
	REQUIRES(g->lock)
{
	struct source *s = find_locked(g, key); /* kept while it is pending */
	int64_t now = g->spec.now_ms(g->spec.arg);
	int64_t delay;

	s->pending--;
	if (right) {
		s->failures = s->delays = 0;
		s->blocked_ms = 0;
		refund(&g->budgets[key->scope], charge);
		return;
	}
	s->failures++;
	s->failed_ms = now;
	if (s->failures < SOURCE_FREE)
		return;
	delay = MIN_OF((int64_t)SOURCE_DELAY_MS << MIN_OF(s->delays, 10u), (int64_t)SOURCE_DELAY_MAX_MS);
	s->delays++;
	s->blocked_ms = now + delay;
}

enum password_verdict password_guard_check(struct password_guard *g, const char *hash, const char *host,
					   const char *given)
{
	struct source key = source_parse(host);
	bool set = !str_is_empty(hash) && password_is_hash(hash), right;
	enum charge charge = CHARGE_SHARED;

	mutex_lock(&g->lock);
	if (strlen(given) > PASSWORD_MAX || !admit_locked(g, &key, &charge)) {
		g->stats.throttled++;
		mutex_unlock(&g->lock);
		return PASSWORD_THROTTLED;
	}
	if (!enter_locked(g)) {
		find_locked(g, &key)->pending--;
		refund(&g->budgets[key.scope], charge);
		g->stats.busy++;
		mutex_unlock(&g->lock);
		return PASSWORD_BUSY;
	}
	mutex_unlock(&g->lock);
	right = g->spec.verify(set ? hash : dummy_hash, given, g->spec.arg) && set;
	mutex_lock(&g->lock);
	g->active--;
	cond_broadcast(&g->freed);
	conclude_locked(g, &key, charge, right);
	mutex_unlock(&g->lock);
	return right ? PASSWORD_RIGHT : PASSWORD_WRONG;
}

void password_guard_stats(struct password_guard *g, struct password_stats *ret)
{
	mutex_lock(&g->lock);
	*ret = g->stats;
	ret->sources = g->n;
	mutex_unlock(&g->lock);
}
