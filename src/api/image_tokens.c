/* Tokens for images: in memory only, since what they are for is under way within minutes. */
#include <string.h>

#include "api/image_remote.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"

#define TOKENS_MAX 1000u
#define TOKENS_EACH 100u /* of one identity */
#define LIFETIME_MS (24ll * 60 * 60 * 1000)

struct token {
	struct token *next;
	uint64_t serial; /* never the same again */
	struct identity owner;
	enum image_token_kind kind;
	char *project;
	char *fingerprint;
	char *secret;
	struct image_request request;
	int64_t ends_ms;      /* monotonic */
	struct operation *op; /* referenced */
};

struct image_tokens {
	struct mutex lock;
	struct token *list GUARDED_BY(lock);
	size_t n GUARDED_BY(lock);
	uint64_t last GUARDED_BY(lock); /* serial */
};

/* What an operation holds of its token. */
struct handle {
	struct image_tokens *all;
	uint64_t serial; /* of the token, which may have gone */
};

struct image_tokens *image_tokens_new(void)
{
	struct image_tokens *t = xnew(struct image_tokens);

	mutex_init(&t->lock);
	return t;
}

static void token_free(struct token *k)
{
	if (!k)
		return;
	free(k->project);
	free(k->fingerprint);
	explicit_bzero(k->secret, strlen(k->secret));
	free(k->secret);
	image_request_done(&k->request);
	free(k);
}

void image_tokens_free(struct image_tokens *t) UNSHARED
{
	if (!t)
		return;
	while (t->list) {
		struct token *k = t->list;

		t->list = k->next;
		operation_unref(k->op);
		token_free(k);
	}
	mutex_done(&t->lock);
	free(t);
}

/* Take the token out of the list; NULL when somebody else did. */
static struct token *take_locked(struct image_tokens *t, uint64_t serial) REQUIRES(t->lock)
{
	for (struct token **at = &t->list; *at; at = &(*at)->next) {
		struct token *found = *at;

		if (found->serial != serial)
			continue;
		*at = found->next;
		t->n--;
		return found;
	}
	return NULL;
}

/* The operation was cancelled: nobody may use the token any more. */
static int on_withdraw(struct operation *op UNUSED, void *arg, struct error *err UNUSED)
{
	struct handle *h = arg;
	struct token *k;

	mutex_lock(&h->all->lock);
	k = take_locked(h->all, h->serial);
	mutex_unlock(&h->all->lock);
	if (k)
		operation_unref(k->op);
	token_free(k);
	return 0;
}

/* Tokens whose day is over end. */
static void expire(struct image_tokens *t)
{
	int64_t now = time_monotonic_ms();

	for (;;) {
		struct token *k;
		struct operation *op;

		mutex_lock(&t->lock);
		for (k = t->list; k && k->ends_ms > now; k = k->next)
			;
		k = k ? take_locked(t, k->serial) : NULL;
		mutex_unlock(&t->lock);
		if (!k)
			return;
		op = k->op;
		token_free(k);
		operation_end(op);
		operation_unref(op);
	}
}

static struct token *token_new(const char *project, enum image_token_kind kind, const char *fingerprint,
			       struct image_request *q)
{
	struct token *k = xnew(struct token);

	k->kind = kind;
	k->project = xstrdup(project);
	k->fingerprint = xstrdup(fingerprint);
	k->secret = random_hex(32);
	k->ends_ms = time_monotonic_ms() + LIFETIME_MS;
	if (q) {
		k->request = *q;
		*q = (struct image_request){0};
	}
	return k;
}

/* Put @k in the list; if there are too many, the number that is allowed, else 0. */
static unsigned add(struct image_tokens *t, struct token *k)
{
	unsigned own = 0, max;

	mutex_lock(&t->lock);
	for (const struct token *o = t->list; o; o = o->next)
		own += identity_equal(&o->owner, &k->owner);
	max = t->n >= TOKENS_MAX ? TOKENS_MAX : own >= TOKENS_EACH ? TOKENS_EACH : 0;
	if (!max) {
		k->next = t->list;
		t->list = k;
		t->n++;
	}
	mutex_unlock(&t->lock);
	return max;
}

int image_token_new(struct api_call *c, enum image_token_kind kind, const char *fingerprint, struct image_request *q,
		    struct operation **ret, struct error *err)
{
	struct operation_spec spec = {.class = OPERATION_TOKEN,
				      .description = "Image download token",
				      .project = c->project,
				      .withdraw = on_withdraw,
				      .arg_free = free};
	struct image_tokens *t = c->api->image_tokens;
	auto_free char *url = xasprintf("/1.0/images/%s", fingerprint);
	auto_free char *members = NULL;
	struct handle *h = xnew(struct handle);
	struct token *k;
	unsigned max;

	expire(t);
	k = token_new(c->project, kind, fingerprint, q);
	h->all = t;
	k->owner = c->id;
	mutex_lock(&t->lock);
	h->serial = k->serial = ++t->last;
	mutex_unlock(&t->lock);
	spec.arg = h;
	members = xasprintf("\"secret\":\"%s\"", k->secret);
	*ret = api_operation_new(c, &spec);
	operation_add_resource(*ret, "images", url);
	operation_set_private(*ret, members);
	explicit_bzero(members, strlen(members));
	k->op = operation_ref(*ret);
	max = add(t, k);
	if (!max)
		return 0;
	token_free(k);
	operation_unref(*ret);
	operation_unref(TAKE_PTR(*ret));
	return error_set(err, 400, "There are %u unused image tokens: cancel some of them", max);
}

/* Every token is looked at, whatever comes of it, so that time tells nothing. */
static struct token *find_locked(struct image_tokens *t, enum image_token_kind kind, const char *project,
				 const char *fingerprint, const char *secret) REQUIRES(t->lock)
{
	struct token *found = NULL;
	int64_t now = time_monotonic_ms();

	for (struct token *k = t->list; k; k = k->next) {
		bool fits = secret_equal(k->secret, secret);

		if (fits && k->kind == kind && k->ends_ms > now && streq(k->project, project) &&
		    streq(k->fingerprint, fingerprint))
			found = k;
	}
	return found;
}

bool image_token_fits(struct image_tokens *t, enum image_token_kind kind, const char *project, const char *fingerprint,
		      const char *secret)
{
	bool fits;

	if (str_is_empty(secret) || str_is_empty(fingerprint))
		return false;
	mutex_lock(&t->lock);
	fits = find_locked(t, kind, project, fingerprint, secret) != NULL;
	mutex_unlock(&t->lock);
	return fits;
}

bool image_token_use(struct image_tokens *t, enum image_token_kind kind, const char *project, const char *fingerprint,
		     const char *secret, struct image_request *ret)
{
	struct token *k;
	struct operation *op;

	if (str_is_empty(secret) || str_is_empty(fingerprint))
		return false;
	mutex_lock(&t->lock);
	k = find_locked(t, kind, project, fingerprint, secret);
	if (k)
		take_locked(t, k->serial);
	mutex_unlock(&t->lock);
	if (!k)
		return false;
	op = k->op;
	if (ret) {
		*ret = k->request;
		k->request = (struct image_request){0};
	}
	token_free(k);
	operation_end(op);
	operation_unref(op);
	return true;
}
